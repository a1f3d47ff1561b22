"""Leases: a record in LMDB, which lapses, and the holder's byte in the lock file, which dies.

::

    NAME -> expiry (CLOCK_MONOTONIC, which all processes of a machine share), number of the
            holder's process, owner

A holder that was killed has lost its byte, so that its lease is free at once; one that hangs keeps
its byte, and the lease lapses with its term.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

import lmdb

from .environment import Environment
from .eviction import Transaction
from .generation import Generation

_RECORD: Final = Struct("<dQ")
#: Leases at one time (as in the memory store), and bytes of the map for which there may be one.
MAX_LEASES: Final = 10_000
BYTES_PER_LEASE: Final = 2**14
#: Records looked at when there are too many.
_SWEPT: Final = 256


class Leases:
    """What the store knows of leases. ``clock``: seconds, the same in all processes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        #: Leases that were lost at once, for want of room.
        self.lost = 0

    def held(self, environment: Environment, name: bytes) -> bool:
        """Whether somebody has it, without a lock: those who wait ask often. Raises
        ``StoreError``.
        """
        generation = environment.current()
        try:
            with generation.reading(), generation.env.begin() as txn:
                return self._held(environment, txn.get(name, None, generation.leases))
        except lmdb.Error as error:
            raise environment.blame(generation, error) from error

    def take(
        self,
        environment: Environment,
        generation: Generation,
        txn: Transaction,
        name: bytes,
        owner: bytes,
        term: float,
    ) -> bool:
        """Take a lease inside a write transaction; False while somebody else has it."""
        there = txn.get(name, None, generation.leases)
        if self._held(environment, there):
            return False
        if there is None and not self._room(environment, generation, txn):
            # As if it were lost at once: nobody may wait for somebody who is not there.
            self.lost += 1
            return True
        record = _RECORD.pack(self._clock() + term, environment.number) + owner
        txn.put(name, record, db=generation.leases)
        return True

    def give(self, generation: Generation, txn: Transaction, name: bytes, owner: bytes) -> None:
        """Give a lease back, if it is this owner's."""
        there = txn.get(name, None, generation.leases)
        if there is not None and there[_RECORD.size :] == owner:
            txn.delete(name, db=generation.leases)

    def _held(self, environment: Environment, record: bytes | None) -> bool:
        if record is None or len(record) < _RECORD.size:
            return False
        expires, number = _RECORD.unpack_from(record)
        return bool(expires > self._clock() and environment.lives(number))

    def _room(self, environment: Environment, generation: Generation, txn: Transaction) -> bool:
        tree = generation.leases
        most = min(MAX_LEASES, generation.about.size // BYTES_PER_LEASE)
        if txn.stat(tree)["entries"] < most:
            return True
        cursor = txn.cursor(tree)
        there = cursor.first()
        for _ in range(_SWEPT):
            if not there:
                break
            if self._held(environment, cursor.value()):
                there = cursor.next()
            else:
                there = cursor.delete() and bool(cursor.key())
        return txn.stat(tree)["entries"] < most
