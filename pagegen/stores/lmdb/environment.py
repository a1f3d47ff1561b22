"""Opening LMDB so that all processes of a machine hold the same environment, whatever happens.

LMDB keeps processes coherent as long as they have *the same files* open. Files get replaced,
though: by us when they are damaged, written by another run of the machine or too full; by people
who clear a cache with ``rm -rf``. Two processes with different files would not see each other's
invalidations. So:

1. ``about`` names the generation in use and is the only truth. Replacing a generation is one
   rename; the old files are unlinked, never changed.
2. Before a read, a process that last looked more than 10 ms ago looks whether ``about`` and the
   files are still those it has open (four ``stat``), and otherwise opens what is there now.
3. Nobody uses a generation before ``about`` is 30 ms old: by then every process that still has
   another one open looks again before it reads (2.).
4. An invalidation looks *after* its commit. If the files are still the truth, every later reader
   finds the commit, by 2. and 3.; if not, it is made once more in the new ones.
5. A process that is stopped in the middle changes nothing of this: when it goes on its clock has
   gone on too, and it looks again.

Locks (`locks.py`) only save work: they let one process at a time open or replace. A generation of
another format or another run of the machine is replaced only when no living process has a byte of
the lock file; until then the verbs raise ``StoreError``, that is, all is a miss. Starting empty is
always safe: tokens are random, so no page of before is ever served again.

While a process forks no environment is open in it, so the child inherits nothing: LMDB's readers'
table would otherwise have the child give back places that its parent still uses.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import error as StructError  # noqa: N812 (it is an exception)
from threading import Lock
from time import monotonic, sleep
from typing import Final

import lmdb

from ...errors import ConfigError, StoreError
from .beginning import RETRY, SIZE_NOTICE, Beginning, Notices
from .eviction import Transaction
from .generation import BELIEVED, SETTLING, Generation, settled, signature
from .locks import OPENING, Gate, LockFile
from .place import About, prepare

#: Seconds that the start waits for other processes that open or make the environment.
OPENING_PATIENCE: Final = 5.0
#: Seconds between two looks for places of readers that died.
READER_CHECK: Final = 30.0
#: Seconds that a reader waits for others that open the environment, after a fork or when it was
#: replaced; if that is not enough, reads are misses until RETRY is over.
READ_PATIENCE: Final = 0.02
#: Seconds that a fork and a closing wait for readers and for the writer of this process.
SHUTTING_PATIENCE: Final = 1.0

#: What says that the files themselves are no good.
DAMAGE: Final = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
)
#: What passes by itself. Any other error has the environment opened anew.
_PASSING: Final = (
    *(lmdb.MapFullError, lmdb.ReadersFullError, lmdb.TxnFullError, lmdb.DiskError),
    *(lmdb.MemoryError, lmdb.BadValsizeError, lmdb.MapResizedError),
)


class Environment:
    """One directory in this process, shared by all stores that use it. Thread-safe.

    Raises ``ConfigError`` for a directory that cannot be one; that it cannot be opened *now* is
    told in the log, and the verbs try again.
    """

    def __init__(self, place: Path, size: int) -> None:
        prepare(place)
        self.place = place
        self.gate = Gate()
        self._opening = Lock()
        self._generation: Generation | None = None
        self._locks: LockFile | None = None
        self._notices = Notices(place)
        self._beginning = Beginning(place, size, self._notices)
        self._retry_at = 0.0
        #: The same for readers alone, who wait less than it takes to make a generation.
        self._read_at = 0.0
        self._check_at = monotonic() + READER_CHECK
        self._stopped: list[Lock] = []
        self._torn = False
        #: What was first seen when (monotonic seconds): inode and time of ``about``.
        self._sighted = ((0, 0), 0.0)
        try:
            self._reopen(OPENING_PATIENCE, making=True, starting=True)
        except StoreError as error:
            self._notices.say(
                "opening", "cannot be opened: %s. Until it can be, everything is a miss", error
            )
        except (OSError, lmdb.Error) as error:
            raise ConfigError(
                f"the store in {str(place)!r} cannot be opened: {error}",
                "See that the directory can be written to and that the disk has room for the size",
                field="store",
            ) from None

    def current(self, wait: float = READ_PATIENCE, *, making: bool = False) -> Generation:
        """The generation in use, opened if need be. Raises ``StoreError``.

        ``wait``: seconds for others that open it too. ``making``: make one where there is none,
        which is nothing for an event loop.
        """
        generation = self._generation
        if generation is not None and (
            monotonic() - generation.seen < BELIEVED or self.still(generation)
        ):
            return generation
        try:
            return self._reopen(wait, making=making)
        except (OSError, ConfigError, lmdb.Error) as error:
            if not isinstance(error, DAMAGE):
                self._retry_at = monotonic() + RETRY
            raise self._failed(error) from error

    def still(self, generation: Generation) -> bool:
        """Look whether this generation is the truth as of now."""
        seen = monotonic()
        if not generation.retired and generation.about.generation != self._beginning.condemned:
            with suppress(OSError):
                found = signature(self.place, generation.about.generation)
                if found == generation.signature:
                    generation.seen = seen
                    return True
        generation.seen = 0.0
        return False

    @contextmanager
    def writing(
        self, deadline: float, *, insist: bool = False
    ) -> Iterator[tuple[Generation, Transaction]]:
        """A write transaction, committed at the end. ``deadline`` in monotonic seconds.

        Raises ``StoreError``, and ``lmdb.MapFullError`` as it is.
        """
        self.current(max(0.0, deadline - monotonic()), making=True)
        with self.gate.held(self._present_locks(), deadline, insist=insist):
            generation = self.current(0.0)
            if monotonic() >= self._check_at:
                self.free_readers()
            try:
                with generation.env.begin(write=True) as txn:
                    yield generation, txn
            except lmdb.MapFullError:
                raise
            except lmdb.Error as error:
                raise self.blame(generation, error) from error
            except StructError as error:
                # A record of ours that has not its length.
                self.condemn(generation, "the files are damaged")
                raise self._failed(error) from error

    def lives(self, number: int) -> bool:
        """Whether the process of this number is still there."""
        return self._present_locks().lives(number)

    @property
    def number(self) -> int:
        """This process's own number; raises ``StoreError`` while nothing is open."""
        return self._present_locks().number

    def blame(self, generation: Generation, error: lmdb.Error) -> StoreError:
        """Draw the conclusions from an error of LMDB, and make a ``StoreError`` of it."""
        if isinstance(error, DAMAGE):
            self.condemn(generation, "the files are damaged")
        elif not isinstance(error, _PASSING):
            generation.retired = True
            generation.seen = 0.0
        return self._failed(error)

    def condemn(self, generation: Generation, why: str) -> None:
        """Have whoever writes next begin a new generation in place of this one."""
        self._beginning.condemn(generation.about.generation, why)
        generation.seen = 0.0

    def free_readers(self) -> None:
        """Give back the places of readers that died: what they read fills the map."""
        self._check_at = monotonic() + READER_CHECK
        generation = self._generation
        if generation is not None:
            with suppress(lmdb.Error):
                generation.env.reader_check()

    def statistics(self) -> dict[str, int]:
        """What the generation says, as far as it can be asked."""
        with suppress(StoreError, StructError, lmdb.Error), self.current().reading() as generation:
            return generation.statistics()
        return {}

    def remark_size(self, size: int) -> None:
        """Say it when somebody asks for another size than this has."""
        generation = self._generation
        if generation is not None and generation.about.size != size:
            self._notices.say("size", SIZE_NOTICE, generation.about.size, size)

    def _present_locks(self) -> LockFile:
        if self._locks is None:
            raise StoreError("the store is being opened")
        return self._locks

    def _reopen(self, wait: float, *, making: bool, starting: bool = False) -> Generation:
        deadline = monotonic() + wait
        if self._torn:
            self._notices.say(
                "torn",
                "was forked in the middle of a write that took too long: in this process (%d) "
                "everything is a miss",
                os.getpid(),
            )
            raise StoreError("this process was forked in the middle of a write")
        if not self._opening.acquire(timeout=wait):
            raise StoreError("the store is being opened")
        try:
            # After getting the lock, look again.
            generation = self._generation
            if generation is not None and self.still(generation):
                return generation
            if monotonic() < (self._retry_at if making else max(self._retry_at, self._read_at)):
                raise StoreError("the store could not be opened a moment ago")
            return self._open(deadline, making=making, starting=starting)
        finally:
            self._opening.release()

    def _open(self, deadline: float, *, making: bool, starting: bool) -> Generation:
        locks = self._lock_file()
        if not locks.take(OPENING, deadline):
            # That a reader did not wait is no reason to refuse an invalidation, which would.
            if making:
                self._retry_at = monotonic() + RETRY
            else:
                self._read_at = monotonic() + RETRY
            raise StoreError("another process is opening the store")
        try:
            try:
                self._generation = self._find(locks, deadline, making=making, starting=starting)
            except DAMAGE:
                if not making:
                    raise
                self._generation = self._find(locks, deadline, making=True, starting=False)
            locks.live()
            return self._generation
        finally:
            locks.give(OPENING)

    def _find(
        self, locks: LockFile, deadline: float, *, making: bool, starting: bool
    ) -> Generation:
        about = self._beginning.fit(locks, starting=starting)
        if about is None:
            if not making:
                raise StoreError("there is nothing to read yet")
            about = self._beginning.make()
            # Rule 3, whatever the wall clock does; nobody else opens it meanwhile.
            sleep(SETTLING)
        while left := self._settling():
            if not making:
                raise StoreError("the store is a moment old")
            sleep(left)
        return self._enter(about, locks, deadline)

    def _settling(self) -> float:
        """Seconds until it may be used: by the wall clock, which somebody may have set back, or by
        how long this process has seen it.
        """
        found = (self.place / "about").stat()
        seen = (found.st_ino, found.st_mtime_ns)
        if self._sighted[0] != seen:
            self._sighted = (seen, monotonic())
        return min(settled(self.place), max(0.0, self._sighted[1] + SETTLING - monotonic()))

    def _enter(self, about: About, locks: LockFile, deadline: float) -> Generation:
        before = self._generation
        if before is not None and before.about == about:
            if not before.retired and before.moved(self.place, about):
                return before
            # LMDB opens no file twice in a process.
            if not self._shut(before, 0.0):
                raise StoreError("the store is still being read")
        # Other files: the old ones are closed when their last reader is done.
        self._generation = None
        try:
            with self.gate.held(locks, deadline, insist=True):
                generation = Generation(self.place, about, monotonic())
        except DAMAGE as error:
            self._beginning.condemn(about.generation, f"the files are damaged ({error})")
            raise
        except lmdb.LockError as error:
            # LMDB tells processes apart by their number, which containers have each for itself.
            self._retry_at = monotonic() + RETRY
            raise StoreError(
                "a process of the same number has it open: let containers share the PID namespace"
            ) from error
        # The signature was taken before this look: it is that of the files that are open.
        if About.read(self.place) != about:
            raise StoreError("the store was replaced in this moment")
        return generation

    def _lock_file(self) -> LockFile:
        path = self.place / "lock"
        if self._locks is None or not self._locks.is_at(path):
            prepare(self.place)
            self._locks = LockFile(path)
        return self._locks

    def _failed(self, error: Exception) -> StoreError:
        kind = type(error).__name__
        if not isinstance(error, lmdb.ReadersFullError):
            self._notices.say(kind, "failed (%s: %s): misses, for the site", kind, error)
        return StoreError(f"{kind}: {error}")

    def _shut(self, generation: Generation, patience: float) -> bool:
        """Close an environment under nobody's hands; False when somebody keeps it in use."""
        deadline = monotonic() + patience
        if not self.gate.lock.acquire(timeout=patience):
            return False
        try:
            generation.retired = True
            generation.seen = 0.0
            while generation.busy:
                if monotonic() >= deadline:
                    return False
                sleep(0.0002)
            generation.env.close()
            return True
        finally:
            self.gate.lock.release()

    def close(self) -> None:
        """Close what is open; it can be opened again."""
        with self._opening:
            generation, self._generation = self._generation, None
            if generation is not None and not self._torn:
                self._shut(generation, SHUTTING_PATIENCE)
            if not self._torn:
                self._locks = None

    def before_fork(self) -> None:
        """Close the environment, and keep everybody out of it."""
        self._stopped = []
        self._torn = not self._opening.acquire(timeout=SHUTTING_PATIENCE)
        if self._torn:
            return
        self._stopped.append(self._opening)
        generation = self._generation
        if generation is not None:
            self._torn = not self._shut(generation, SHUTTING_PATIENCE)
            if not self._torn:
                self._generation = None
        if not self._torn and self.gate.lock.acquire(timeout=SHUTTING_PATIENCE):
            self._stopped.append(self.gate.lock)

    def after_fork_in_parent(self) -> None:
        """Let everybody in again."""
        self._torn = False
        for lock in self._stopped:
            lock.release()
        self._open_again()

    def after_fork_in_child(self) -> None:
        """Nothing of the parent's is used: not its locks, nor its number."""
        self._opening = Lock()
        self.gate = Gate()
        self._locks = None
        self._stopped = []
        if self._torn and self._generation is not None:
            self._generation.retired = True
            self._generation.seen = 0.0
        self._open_again()

    def _open_again(self) -> None:
        """At once, and not at the first read: that may be on an event loop, or be missed."""
        with suppress(StoreError):
            self.current(SHUTTING_PATIENCE)
