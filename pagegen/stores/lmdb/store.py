"""The verbs of the LMDB store."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from pathlib import Path
from time import monotonic, time
from typing import Final
from zlib import crc32

import lmdb

from ...errors import ConfigError, StoreError
from ...messages import StoredResponse
from ...units import DURATION_REMEDY, SIZE_REMEDY, parse_duration, parse_size
from ..base import Capabilities, Glimpse, Reading
from ..codec import Codec
from ..keyring import Keyring
from ..names import REMEMBERED_BYTES, Names
from ..options import Options
from ..s3fifo import MAX_FREQUENCY, S3Fifo
from . import registry
from .environment import Environment
from .eviction import EXPIRY, Transaction
from .generation import Generation
from .leases import Leases
from .twin import LoopStore

DEFAULT_SIZE: Final = "1GiB"
#: Below this the B-trees themselves leave no room worth having.
SMALLEST: Final = 2**22
#: Seconds that a write waits for other writers, as all stores wait for their servers.
DEFAULT_TIMEOUT: Final = 0.05
LONGEST_TIMEOUT: Final = 60.0
#: An expiry in seconds since the epoch stands in front of each page and token.
_AFTER: Final = EXPIRY.size
_ATTEMPTS: Final = 3
#: Measured: what a remembered name of a token weighs besides its namespace's text.
_MARKED_OVERHEAD: Final = 640


class LmdbStore:
    """Pages and tokens in a directory, for all processes of one machine. Thread-safe.

    ``size``: of the memory map in bytes (or text such as ``"1GiB"``), which the file never exceeds;
    four fifths of it are filled. The first process that opens a directory decides it. ``timeout``:
    seconds that a writing verb waits for other writers. Raises ``ConfigError``.

    Reading takes no lock and waits for nobody. Writing waits, so it is not for an event loop.
    """

    capabilities = Capabilities(
        blocking_reads=False,
        blocking_writes=True,
        shared=True,
        compare_and_set=True,
        leases=True,
    )

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: str | int = DEFAULT_SIZE,
        *,
        site: str = "default",
        site_key: str | Keyring = "",
        now: Callable[[], float] = time,
        timeout: float = DEFAULT_TIMEOUT,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if not 0 < timeout <= LONGEST_TIMEOUT:
            raise ConfigError(
                f"a store cannot wait {timeout} seconds for a write",
                'Give it at most a minute; "50ms" is the default',
                field="store",
            )
        self._timeout = timeout
        self._now = now
        self._names = Names(site, site_key)
        self._codec = Codec(site_key)
        self._marked: S3Fifo[str, tuple[bytes, int]] = S3Fifo(REMEMBERED_BYTES)
        self._refused = 0
        self._environment: Environment | None = registry.enter(
            Path(path).absolute(), _map_size(size)
        )
        self._leases = Leases(clock)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        site: str = "default",
        site_key: str | Keyring = "",
        directory: str | os.PathLike[str] = "",
        now: Callable[[], float] = time,
    ) -> LmdbStore:
        """The store of ``lmdb://DIR?size=1GiB&timeout=50ms``; DIR is relative to ``directory``."""
        options = Options(url)
        size = options.take("size", parse_size, parse_size(DEFAULT_SIZE), SIZE_REMEDY)
        timeout = options.take("timeout", parse_duration, DEFAULT_TIMEOUT, DURATION_REMEDY)
        options.finish()
        if not options.place:
            raise options.error(
                "names no directory", 'Write "lmdb://DIR", such as "lmdb://.pagegen"'
            )
        place = Path(directory) / options.place
        return cls(place, size, site=site, site_key=site_key, now=now, timeout=timeout)

    def on_loop(self) -> LoopStore:
        """See :meth:`HasTwin.on_loop`."""
        return LoopStore(self, self._ask)

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        """See :meth:`Store.read`."""
        return Reading(*self.glance(slot, namespaces))

    def glance(self, slot: bytes | None, namespaces: Sequence[str]) -> Glimpse:
        """See :meth:`Glances.glance`. One transaction: page and tokens are of the same moment."""
        environment = self._open()
        generation = environment.current()
        now = self._now()
        # `Generation.reading` by hand: a block would cost as much as a token.
        busy = generation.busy
        busy.append(None)
        try:
            if generation.retired:
                raise StoreError("the store is being opened")
            txn = generation.env.begin(buffers=True)
            try:
                tokens = self._tokens(generation, txn, namespaces, now)
                page = None if slot is None else self._page(generation, txn, slot, now)
            finally:
                txn.abort()
        except lmdb.Error as error:
            raise environment.blame(generation, error) from error
        finally:
            busy.pop()
        return page, tokens

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`."""
        names = {namespace: self._names.token(namespace) for namespace in tokens}
        deadline = monotonic() + self._timeout
        try:
            with self._open().writing(deadline) as (generation, txn):
                now = self._now()
                found = dict(tokens)
                for namespace, name in names.items():
                    there = txn.get(name, None, generation.tokens)
                    if there is not None and EXPIRY.unpack_from(there)[0] > now:
                        found[namespace] = there[_AFTER:]
                    else:
                        record = EXPIRY.pack(now + ttl) + tokens[namespace]
                        txn.put(name, record, db=generation.tokens)
                self._sweep(generation, txn, names, now)
        except lmdb.MapFullError as error:
            self._open().free_readers()
            raise StoreError("the map is full") from error
        self._verify(generation)
        return found

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """See :meth:`Store.replace_tokens`. All of them in one transaction.

        When readers that stand still keep the map full, a new generation begins: it has no page.
        Tokens that were committed to files that somebody replaced meanwhile are not sent again, as
        that could undo a later invalidation: in the new files the names are emptied.
        """
        names = {namespace: self._names.token(namespace) for namespace in tokens}
        environment = self._open()
        sent = False
        for attempt in range(_ATTEMPTS):
            deadline = monotonic() + self._timeout
            try:
                with environment.writing(deadline, insist=True) as (generation, txn):
                    now = self._now()
                    expiry = EXPIRY.pack(now + ttl)
                    for namespace, name in names.items():
                        if sent:
                            txn.delete(name, db=generation.tokens)
                        else:
                            txn.put(name, expiry + tokens[namespace], db=generation.tokens)
                    self._sweep(generation, txn, names, now)
            except lmdb.MapFullError:
                environment.free_readers()
                if attempt:
                    environment.condemn(generation, "the map is full of what readers hold")
                continue
            sent = True
            if environment.still(generation):
                return
        raise StoreError("the tokens could not be replaced: the store is full, or was replaced")

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        """See :meth:`Store.remove_tokens`. All of them in one transaction."""
        names = {namespace: self._names.token(namespace) for namespace in tokens}
        removed = []
        try:
            with self._open().writing(monotonic() + self._timeout) as (generation, txn):
                now = self._now()
                for namespace, name in names.items():
                    there = txn.get(name, None, generation.tokens)
                    if there is None or EXPIRY.unpack_from(there)[0] <= now:
                        continue
                    if there[_AFTER:] == tokens[namespace]:
                        txn.delete(name, db=generation.tokens)
                        removed.append(namespace)
        except lmdb.MapFullError as error:
            raise StoreError("the map is full") from error
        return removed

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """See :meth:`Store.write_page`. Makes room in the same transaction."""
        now = self._now()
        name = self._names.page(slot)
        try:
            record = EXPIRY.pack(now + ttl) + self._codec.encode(page, name)
        except ValueError as error:
            raise StoreError(str(error)) from error
        environment = self._open()
        deadline = monotonic() + self._timeout
        for attempt in range(2):
            try:
                with environment.writing(deadline) as (generation, txn):
                    placed = generation.shelf.put(txn, name, record, now + ttl, now)
            except lmdb.MapFullError:
                # What is evicted gives room to the next transaction at the earliest.
                if not attempt:
                    self._make_room(environment, deadline, name, len(record), now)
                continue
            self._refused += not placed
            return placed
        self._refused += 1
        return False

    async def delete_page(self, slot: bytes) -> None:
        """See :meth:`Store.delete_page`."""
        try:
            with self._open().writing(monotonic() + self._timeout) as (generation, txn):
                generation.shelf.delete(txn, self._names.page(slot))
        except lmdb.MapFullError as error:
            raise StoreError("the map is full") from error

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        """See :meth:`Leases.acquire`. The lease of a process that died is free at once."""
        environment = self._open()
        name = self._names.lease(slot)
        if self._leases.held(environment, name):
            return False
        deadline = monotonic() + self._timeout
        try:
            with environment.writing(deadline) as (generation, txn):
                return self._leases.take(environment, generation, txn, name, owner, term)
        except lmdb.MapFullError:
            self._leases.lost += 1
            return True  # as where there is no room for another one

    async def release(self, slot: bytes, owner: bytes) -> None:
        """See :meth:`Leases.release`."""
        name = self._names.lease(slot)
        try:
            with self._open().writing(monotonic() + self._timeout) as (generation, txn):
                self._leases.give(generation, txn, name, owner)
        except lmdb.MapFullError as error:
            raise StoreError("the map is full") from error

    def statistics(self) -> Mapping[str, int]:
        """Of the directory: ``pages_…`` and ``tokens_…`` (count, bytes, budget), ``pages_ghosts``,
        ``leases_count``, ``map_size``, ``map_reached`` (bytes), ``readers`` (places ever used).

        Of this process: ``pages_refused``, ``pages_evicted``, ``tokens_evicted`` (both since the
        directory was opened last), ``leases_lost``, ``write_timeouts`` and ``names_…``, the names
        of tokens that are remembered.
        """
        environment = self._environment
        numbers = {} if environment is None else environment.statistics()
        numbers["pages_refused"] = self._refused
        numbers["leases_lost"] = self._leases.lost
        numbers["write_timeouts"] = 0 if environment is None else environment.gate.timeouts
        numbers.update({f"names_{k}": v for k, v in self._marked.statistics().items()})
        return numbers

    def close(self) -> None:
        """Close the environment if this is the last store of this process that uses it."""
        environment, self._environment = self._environment, None
        if environment is not None:
            registry.leave(environment)

    def _ask(self) -> None:
        """Raise ``StoreError`` while nobody waits to write."""
        self._open().gate.ask()

    def _open(self) -> Environment:
        environment = self._environment
        if environment is None:
            raise StoreError("the store is closed")
        return environment

    def _verify(self, generation: Generation) -> None:
        if not self._open().still(generation):
            raise StoreError("the store was replaced in this moment")

    def _tokens(
        self,
        generation: Generation,
        txn: lmdb.Transaction[memoryview],
        namespaces: Sequence[str],
        now: float,
    ) -> tuple[bytes | None, ...]:
        tree, marks, half = generation.tokens, generation.marks, generation.page_marks
        known = self._marked
        found: list[bytes | None] = []
        for namespace in namespaces:
            name, digest = known.get(namespace, 0.0) or self._remember(namespace)
            value = txn.get(name, None, tree)
            if value is None or len(value) < _AFTER or EXPIRY.unpack_from(value)[0] <= now:
                found.append(None)
                continue
            mark = half + digest % half
            hits = marks[mark]
            if hits < MAX_FREQUENCY:
                marks[mark] = hits + 1
            found.append(bytes(value[_AFTER:]))
        return tuple(found)

    def _page(
        self, generation: Generation, txn: lmdb.Transaction[memoryview], slot: bytes, now: float
    ) -> StoredResponse | None:
        name = self._names.page(slot)
        value = txn.get(name, None, generation.pages)
        if value is None or len(value) < _AFTER or EXPIRY.unpack_from(value)[0] <= now:
            return None
        marks = generation.marks
        mark = crc32(name) % generation.page_marks
        hits = marks[mark]
        if hits < MAX_FREQUENCY:
            marks[mark] = hits + 1
        return self._codec.decode(value[_AFTER:], name)

    def _remember(self, namespace: str) -> tuple[bytes, int]:
        name = self._names.worked_out(namespace)
        known = name, crc32(name)
        self._marked.put(namespace, known, _MARKED_OVERHEAD + len(namespace), inf)
        return known

    def _sweep(
        self, generation: Generation, txn: Transaction, names: Mapping[str, bytes], now: float
    ) -> None:
        start = self._names.prefix + b"t:" + urlsafe_b64encode(os.urandom(3))
        generation.register.sweep(txn, start, frozenset(names.values()), now)

    def _make_room(
        self, environment: Environment, deadline: float, name: bytes, size: int, now: float
    ) -> None:
        """The map is full: evict, in a transaction of its own. An old page of this slot goes."""
        environment.free_readers()
        try:
            with environment.writing(deadline) as (generation, txn):
                generation.shelf.delete(txn, name)
                generation.shelf.shrink(txn, size, now)
        except lmdb.MapFullError:
            return


def _map_size(size: str | int) -> int:
    """Bytes of the map, in whole pages."""
    try:
        wanted = parse_size(size)
    except ValueError as error:
        raise ConfigError(str(error), SIZE_REMEDY, field="store") from None
    if wanted < SMALLEST:
        raise ConfigError(
            f"a store of {wanted} bytes has no room for pages",
            'Give it at least "4MiB"; "1GiB" is the default',
            field="store",
        )
    unit = 65_536
    return -(-wanted // unit) * unit
