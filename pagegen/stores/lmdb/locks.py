"""Byte ranges of one file that processes lock (POSIX record locks), and the gate for writers.

POSIX locks, and not those of the open file: they die with the process that took them and a child
after ``fork`` has none of them. Their one trap, that closing *any* descriptor of the file gives
them all back, is avoided by having one descriptor in the process (`environment.py` sees to it).
No correctness rests on them: LMDB has its own lock for writers. They bound waiting, which LMDB's
does not, and they die at once with a killed lease holder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import random
from secrets import randbits
from threading import Lock
from time import monotonic, sleep
from typing import Any, Final

from ...errors import StoreError
from ..breaker import Breaker

fcntl: Any = None
with suppress(ImportError):  # Windows has none
    import fcntl

#: Whoever opens or replaces a generation holds this byte, whoever writes the next one.
OPENING: Final = 0
WRITING: Final = 1
#: From here on, each living process holds one byte, at a random place.
_LIVING: Final = 2**32
#: Seconds between two attempts, the first and the longest; a write takes about 0.1 ms.
_FIRST_PAUSE: Final = 0.0001
_LONGEST_PAUSE: Final = 0.002


class LockFile:
    """The descriptor of the file. ``number`` names this process to others that ask for it."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        self._descriptor: int = os.open(path, flags, 0o600)
        self.number = _LIVING + 1 + randbits(61)
        self._mine = False

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self._descriptor)

    def is_at(self, path: Path) -> bool:
        """Whether this is still the file of that name."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), path.stat())
        except OSError:
            return False

    def live(self) -> None:
        """Take this process's own byte."""
        if not self._mine:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self.number)
            self._mine = True

    def lives(self, number: int) -> bool:
        """Whether the process of that number lives. Several may ask at once."""
        if number == self.number:
            return True
        if not _LIVING < number < 2**63 - 1:
            return False
        return not self._free(number, 1, fcntl.LOCK_SH)

    def alone(self) -> bool:
        """Whether no other process has a byte of its own here."""
        below = self.number - _LIVING
        return self._free(_LIVING, below, fcntl.LOCK_EX) and self._free(
            self.number + 1, 0, fcntl.LOCK_EX
        )

    def take(self, byte: int, deadline: float) -> bool:
        """Lock a byte; False when it could not be had until ``deadline`` (monotonic seconds)."""
        pause = _FIRST_PAUSE
        while not self._try(byte, 1, fcntl.LOCK_EX):
            left = deadline - monotonic()
            if left <= 0:
                return False
            sleep(min(left, pause * (0.5 + random())))  # noqa: S311 (so that they do not step in time)
            pause = min(_LONGEST_PAUSE, pause * 2)
        return True

    def give(self, byte: int) -> None:
        """Unlock a byte."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)

    def _free(self, start: int, length: int, kind: int) -> bool:
        if not self._try(start, length, kind):
            return False
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, length, start)
        return True

    def _try(self, start: int, length: int, kind: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, kind | fcntl.LOCK_NB, length, start)
        except OSError as error:
            if isinstance(error, (BlockingIOError, PermissionError)):
                return False
            raise
        return True


class Gate:
    """One writer at a time, of all threads and processes; nobody waits longer than they said.

    LMDB's own lock for writers waits for ever: one worker that is stopped while it writes would
    stop all others. Behind a worker that stands still the breaker opens, and nobody waits at all.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.breaker = Breaker()
        self.timeouts = 0

    def ask(self) -> None:
        """Raise ``StoreError`` while nobody waits for a writer that stands still."""
        if self.breaker.refuses():
            raise _nobody_waits()

    @contextmanager
    def held(self, file: LockFile, deadline: float, *, insist: bool) -> Iterator[None]:
        """Within this block nobody else writes. Raises ``StoreError`` at the deadline.

        ``insist``: wait even when nobody else would (an invalidation).
        """
        if not self.breaker.allows() and not insist:
            raise _nobody_waits()
        if not self.lock.acquire(timeout=max(0.0, deadline - monotonic())):
            raise self._late()
        try:
            if not file.take(WRITING, deadline):
                raise self._late()
            try:
                self.breaker.succeeded()
                yield
            finally:
                file.give(WRITING)
        finally:
            self.lock.release()

    def _late(self) -> StoreError:
        self.timeouts += 1
        self.breaker.failed()
        return StoreError("another writer did not finish in time")


def _nobody_waits() -> StoreError:
    return StoreError("another process has been writing for too long: nobody waits for it")
