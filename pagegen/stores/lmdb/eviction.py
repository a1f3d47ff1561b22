"""Which pages stay: S3-FIFO between processes, its queues in LMDB, its counters in shared memory.

The policy is `s3fifo.py`'s (Yang et al., SOSP 2023), so its three queues are B-trees here and every
change of them is part of the writer's own transaction: a killed writer leaves nothing half done. A
reader takes no write transaction; it counts its hit in *marks*, a file of one byte for each hashed
name that all processes have mapped. Marks are written without locks: a lost hit, or one counted for
another name, costs a little precision.

What is measured is what LMDB itself says it uses (pages of its B-trees and overflow pages), not an
estimate: a budget in bytes of pages would overlook how B-trees fill.

::

    index   NAME          -> kind (s: small, m: main, g: ghost), place in the queue, bytes, expiry
            "state"       -> counters
    queue   KIND NUMBER   -> NAME, oldest first
    pages   NAME          -> expiry, stored page
"""

from __future__ import annotations

from mmap import mmap
from struct import Struct
from typing import Any, Final, TypeAlias
from zlib import crc32

import lmdb

from ..s3fifo import MAX_FREQUENCY, PROMOTION, SMALL_SHARE

#: Steps of eviction for one write, at about 10 µs each; a page for which that is not enough is
#: refused, and what was evicted for it helps the next one.
MAX_STEPS: Final = 384
#: Pages spared for their hits in one write; after that a hit saves nobody.
MAX_SPARED: Final = 128
#: Tokens looked at in one sweep, at about 2 µs each.
MAX_SWEPT: Final = 512
#: Where tokens take more than this multiple of their budget, so many of a sweep are spared at most:
#: they grow by a quarter, whatever is read.
MERCY: Final = 1.25
MAX_SWEPT_SPARED: Final = 128
#: A page larger than this share of the budget is refused: it would push out most of the others.
LARGEST_SHARE: Final = 0.125
#: A value larger than this (bytes) has map pages of its own (LMDB: two nodes to a leaf page).
_INLINE: Final = 1_900
#: Map pages kept in hand for what a write does to the B-trees' inner pages.
_TREES: Final = 4
_FEWEST_GHOSTS: Final = 16

_ENTRY: Final = Struct("<cQQd")
_STATE: Final = Struct("<QQQQQ")
_STATE_KEY: Final = b"state"
_NUMBER: Final = Struct(">Q")
EXPIRY: Final = Struct("<d")

Transaction: TypeAlias = "lmdb.Transaction[bytes]"
#: A database handle; the library does not export its type.
Tree = Any


class State:
    """The counters of all queues, as of one transaction. ``small_bytes`` are stored bytes."""

    __slots__ = ("ghosts", "main", "number", "small", "small_bytes")

    number: int
    small: int
    small_bytes: int
    main: int
    ghosts: int

    def __init__(self, stored: bytes | None) -> None:
        self.number, self.small, self.small_bytes, self.main, self.ghosts = (
            _STATE.unpack(stored) if stored else (0, 0, 0, 0, 0)
        )

    def pack(self) -> bytes:
        """As it is stored. Damage must not make numbers that cannot be."""
        return _STATE.pack(
            *(
                max(0, n)
                for n in (self.number, self.small, self.small_bytes, self.main, self.ghosts)
            )
        )


class Shelf:
    """The pages of one generation. Every method runs inside the writer's transaction.

    ``budget`` and ``unit`` (a map page) in bytes. ``evicted`` counts what this process evicted.
    """

    def __init__(
        self, pages: Tree, index: Tree, queue: Tree, marks: mmap, budget: int, unit: int
    ) -> None:
        self._pages, self._index, self._queue = pages, index, queue
        self._marks = marks
        self._slots = len(marks) // 2
        self._budget = budget // unit
        self._unit = unit
        self.evicted = 0

    def put(self, txn: Transaction, name: bytes, record: bytes, expires: float, now: float) -> bool:
        """Put or replace a page; False when there is no room for it, and then it is gone."""
        txn.delete(name, db=self._pages)
        state = State(txn.get(_STATE_KEY, None, self._index))
        size = len(record)
        fits = self._make_room(txn, state, self._need(size), now)
        if fits:
            self._enlist(txn, state, name, size, expires)
            txn.put(name, record, db=self._pages)
        else:
            self._remove(txn, state, name)
        txn.put(_STATE_KEY, state.pack(), db=self._index)
        return fits

    def delete(self, txn: Transaction, name: bytes) -> None:
        """Remove a page, if it is there."""
        state = State(txn.get(_STATE_KEY, None, self._index))
        if self._remove(txn, state, name):
            txn.put(_STATE_KEY, state.pack(), db=self._index)

    def shrink(self, txn: Transaction, size: int, now: float) -> None:
        """Evict as for a page of this many bytes, for which the map turned out to be too full."""
        state = State(txn.get(_STATE_KEY, None, self._index))
        self._make_room(txn, state, 2 * self._need(size) + self._budget // 64, now)
        txn.put(_STATE_KEY, state.pack(), db=self._index)

    def hit(self, name: bytes) -> None:
        """Count a hit. ``LmdbStore.read`` does it by hand: a call would cost more than the rest."""
        mark = crc32(name) % self._slots
        if self._marks[mark] < MAX_FREQUENCY:
            self._marks[mark] += 1

    def used(self, txn: lmdb.Transaction[Any]) -> int:
        """Bytes of the map that pages and their queues take."""
        return sum(map_pages(txn, tree) for tree in (self._pages, self._index, self._queue)) * (
            self._unit
        )

    def count(self, txn: lmdb.Transaction[Any]) -> tuple[int, int]:
        """Pages, and ghosts."""
        stored = txn.get(_STATE_KEY, None, self._index)
        state = State(bytes(stored) if stored is not None else None)
        return state.small + state.main, state.ghosts

    def _need(self, size: int) -> int:
        if size <= _INLINE:
            return 1 + _TREES
        return (size + 16 + self._unit - 1) // self._unit + _TREES

    def _make_room(self, txn: Transaction, state: State, need: int, now: float) -> bool:
        if need > self._budget * LARGEST_SHARE:
            return False
        room = self._budget - need
        # The queues shrink and grow by a leaf in dozens of steps: looked at once.
        room -= map_pages(txn, self._index) + map_pages(txn, self._queue)
        spared = 0
        for _ in range(MAX_STEPS):
            if map_pages(txn, self._pages) <= room:
                return True
            step = self._evict(txn, state, now, merciful=spared < MAX_SPARED)
            if step is None:
                return False
            spared += step
        return False

    def _enlist(
        self, txn: Transaction, state: State, name: bytes, size: int, expires: float
    ) -> None:
        """Give a page its place in a queue; one that has a place keeps it."""
        found = txn.get(name, None, self._index)
        kind, number, before = b"g", 0, 0
        if found is not None:
            kind, number, before, _ = _ENTRY.unpack(found)
        if kind == b"g":
            if found is not None:
                txn.delete(kind + _NUMBER.pack(number), db=self._queue)
                state.ghosts -= 1
            kind = b"s" if found is None else b"m"
            number = self._append(txn, state, kind, name)
            before = 0
            self._marks[crc32(name) % self._slots] = 0
            if kind == b"s":
                state.small += 1
            else:
                state.main += 1
        if kind == b"s":
            state.small_bytes += size - before
        txn.put(name, _ENTRY.pack(kind, number, size, expires), db=self._index)

    def _append(self, txn: Transaction, state: State, kind: bytes, name: bytes) -> int:
        state.number += 1
        txn.put(kind + _NUMBER.pack(state.number), name, db=self._queue)
        return state.number

    def _remove(self, txn: Transaction, state: State, name: bytes) -> bool:
        """Forget a page and its place. Ghosts stay. Whether there was a page."""
        found = txn.get(name, None, self._index)
        txn.delete(name, db=self._pages)
        if found is None:
            return False
        kind, number, size, _ = _ENTRY.unpack(found)
        if kind == b"g":
            return False
        txn.delete(kind + _NUMBER.pack(number), db=self._queue)
        txn.delete(name, db=self._index)
        if kind == b"s":
            state.small -= 1
            state.small_bytes -= size
        else:
            state.main -= 1
        return True

    def _evict(self, txn: Transaction, state: State, now: float, *, merciful: bool) -> bool | None:
        """One step: True when a page was spared, False when one left, None when there is none."""
        small = state.small_bytes > self._budget * self._unit * SMALL_SHARE
        head = self._head(txn, b"s" if small else b"m")
        if head is None:
            small = not small
            head = self._head(txn, b"s" if small else b"m")
        if head is None:
            return None
        place, name = head
        txn.delete(place, db=self._queue)
        entry = txn.get(name, None, self._index)
        if entry is None or entry[:1] == b"g":
            return False  # the queue names what the index does not: damage, mended by the way
        _, _, size, expires = _ENTRY.unpack(entry)
        mark = crc32(name) % self._slots
        hits = self._marks[mark] if merciful and expires > now else 0
        if small:
            state.small -= 1
            state.small_bytes -= size
        else:
            state.main -= 1
        if hits >= (PROMOTION if small else 1):
            self._marks[mark] = 0 if small else min(hits, MAX_FREQUENCY) - 1
            self._place(txn, state, b"m", name, size, expires)
            state.main += 1
            return True
        self._drop(txn, state, name, ghost=small and expires > now)
        return False

    def _place(
        self, txn: Transaction, state: State, kind: bytes, name: bytes, size: int, expires: float
    ) -> None:
        number = self._append(txn, state, kind, name)
        txn.put(name, _ENTRY.pack(kind, number, size, expires), db=self._index)

    def _drop(self, txn: Transaction, state: State, name: bytes, *, ghost: bool) -> None:
        txn.delete(name, db=self._pages)
        self.evicted += 1
        if ghost:
            self._place(txn, state, b"g", name, 0, 0.0)
            state.ghosts += 1
        else:
            txn.delete(name, db=self._index)
        for _ in range(2):
            # About as many ghosts as there are pages.
            if state.ghosts <= max(state.small + state.main, _FEWEST_GHOSTS):
                return
            head = self._head(txn, b"g")
            if head is None:
                state.ghosts = 0
                return
            txn.delete(head[0], db=self._queue)
            txn.delete(head[1], db=self._index)
            state.ghosts -= 1

    def _head(self, txn: Transaction, kind: bytes) -> tuple[bytes, bytes] | None:
        cursor = txn.cursor(self._queue)
        if not cursor.set_range(kind):
            return None
        place, name = cursor.item()
        return (place, name) if place[:1] == kind else None


class Register:
    """The tokens of one generation: bounded apart from the pages.

    From a place chosen at random on, tokens are looked at in the order of their names; what was
    read is spared and has one hit less (a clock with counters). That needs no queue, so that
    replacing a token touches one B-tree.
    """

    def __init__(self, tokens: Tree, marks: mmap, budget: int, unit: int) -> None:
        self._tokens = tokens
        self._marks = marks
        self._half = len(marks) // 2
        self._budget = budget // unit
        self._unit = unit
        self.evicted = 0

    def mark(self, name: bytes) -> int:
        """Where in the marks this token's is."""
        return self._half + crc32(name) % self._half

    def used(self, txn: lmdb.Transaction[Any]) -> int:
        """Bytes of the map that tokens take."""
        return map_pages(txn, self._tokens) * self._unit

    def sweep(self, txn: Transaction, start: bytes, keep: frozenset[bytes], now: float) -> None:
        """Evict tokens from ``start`` on until the others have room; never those of ``keep``."""
        used = map_pages(txn, self._tokens)
        if used <= self._budget:
            return
        spare = MAX_SWEPT if used <= self._budget * MERCY else MAX_SWEPT_SPARED
        cursor = txn.cursor(self._tokens)
        there = cursor.set_range(start) or cursor.first()
        spared = 0
        for _ in range(MAX_SWEPT):
            if not there:
                there = cursor.first()
                if not there:
                    return
            name, value = cursor.item()
            mark = self.mark(name)
            hits = self._marks[mark] if spared < spare else 0
            if name in keep or (hits and EXPIRY.unpack_from(value)[0] > now):
                self._marks[mark] = max(0, min(hits, MAX_FREQUENCY) - 1)
                spared += 1
                there = cursor.next()
                continue
            there = cursor.delete() and bool(cursor.key())
            self.evicted += 1
            if map_pages(txn, self._tokens) <= self._budget:
                return


def map_pages(txn: lmdb.Transaction[Any], tree: Tree) -> int:
    """Pages of the map that a B-tree takes."""
    numbers = txn.stat(tree)
    return numbers["branch_pages"] + numbers["leaf_pages"] + numbers["overflow_pages"]
