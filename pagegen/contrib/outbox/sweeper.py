"""The sweeper: applies what a worker left that died between its commit and its invalidation.

Rules of this file:

1. First a row's names are forgotten, and only when the store has acknowledged that, it is deleted.
   Who is killed in between leaves a row that is applied once more.
2. Several sweepers are harmless: to forget twice costs a miss. PostgreSQL gives each its own rows.
3. The *grace* keeps rows of live workers from being applied twice. It is measured by the database's
   clock alone, and spares work only: a row can be read when its transaction has committed, and from
   then on it is never too early to apply it.
4. A round passes through the ids once, and the next one begins where it was stopped: rows that
   cannot be applied do not starve those behind them.
5. A store that acknowledges nothing ends the round. What was tried is owed by this process, and
   that has a bound.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import random
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigError, InvalidationError
from ...logs import cause, logger
from .applying import now_of
from .opening import open_shelf
from .rows import Id, Row, merge
from .shelf import Batch, Shelf, Waiting

if TYPE_CHECKING:
    from ...cache import PageCache

log = logger("pagegen.contrib.outbox")

#: Rows of one batch at most: with 100 names each no more than a process can owe.
MAX_BATCH: Final = 1000
#: Names that the store is given at once.
MAX_AT_ONCE: Final = 1000
#: Seconds that one batch may take to try its rows one by one, after all at once have failed.
ROUND: Final = 2.0
#: Seconds of the longest pause after failures, unless ``every`` is longer.
LONGEST_PAUSE: Final = 30.0
#: Seconds of ``every`` and ``grace`` at most, a day: beyond it nothing would ever be swept, and
#: beyond 292 years no event can be waited for.
MAX_SECONDS: Final = 86_400.0
#: Doublings of the pause: 2**10 is far beyond the longest, and a float for all that comes.
MAX_DOUBLINGS: Final = 10
#: Seconds after which the age of the oldest row is a warning.
OLD: Final = 60.0
#: Seconds that :meth:`Sweeper.stop` waits for the batch that is under way.
ENDING: Final = 10.0


@dataclass(frozen=True, slots=True)
class Swept:
    """What one round did.

    rows: rows it met.  applied: those that were forgotten and deleted.  names: how many names the
    store was given.  aside: rows that were set aside, since nobody can read them.
    left: rows that the store did not acknowledge.  waiting: rows in the outbox afterwards, and
    ``oldest`` the age of the oldest in seconds; 0 where the database could not be asked.
    error: what the store or the database said, None when all went well.
    """

    rows: int = 0
    applied: int = 0
    names: int = 0
    aside: int = 0
    left: int = 0
    waiting: int = 0
    oldest: float = 0.0
    error: str | None = None


class Sweeper:
    """Applies rows that are ``grace`` seconds old, ``every`` so many seconds, in batches of rows.

    ``shelf``: an SQLAlchemy ``Engine``, a URL, a Django alias or connection, a function that opens
    a DB-API connection, or a :class:`~.shelf.Shelf`. Raises ``TypeError`` for anything else and
    ``ConfigError`` for numbers out of range. ``pause`` waits for seconds or the event.
    """

    def __init__(
        self,
        cache: PageCache,
        shelf: object,
        *,
        every: float = 1.0,
        grace: float = 5.0,
        batch: int = 500,
        pause: Callable[[Event, float], object] = Event.wait,
    ) -> None:
        _check(0 < every <= MAX_SECONDS, "every", every, f"Give seconds, to {MAX_SECONDS:.0f}")
        _check(0 <= grace <= MAX_SECONDS, "grace", grace, f"Give 0 to {MAX_SECONDS:.0f} seconds")
        _check(1 <= batch <= MAX_BATCH, "batch", batch, f"Give 1 to {MAX_BATCH} rows")
        self.cache = cache
        self.shelf: Shelf = open_shelf(shelf, cache.configuration.settings.site)
        self._every = every
        self._grace = grace
        self._size = batch
        self._pause = pause
        self._sweeping = Lock()
        self._ended = Event()
        self._thread: Thread | None = None
        self._process = os.getpid()
        self._begin: Id = ""
        self._failures = 0
        self._sums: dict[str, int] = dict.fromkeys(("sweeps", "applied", "aside", "failed"), 0)
        self._latest = Swept()

    def sweep(self) -> Swept:
        """One round, until no row is due or :meth:`stop` was called. Raises no ``Exception``."""
        self._fork()
        with self._sweeping:
            tally = _Tally()
            try:
                self._round(tally)
                waiting = self.shelf.waiting()
            except Exception as error:
                tally.error = cause(error)
                waiting = Waiting(0, 0, 0.0)
            swept = tally.swept(waiting)
            self._tell(swept)
            return swept

    def _round(self, tally: _Tally) -> None:
        after, self._begin = self._begin, ""
        while not self._ended.is_set():
            with self.shelf.batch(self._size, self._grace, after) as batch:
                if not batch.rows:
                    return
                after = batch.rows[-1].id
                heard = self._one(batch, tally)
            if not heard:
                self._begin = after
                return

    def _one(self, batch: Batch, tally: _Tally) -> bool:
        """Apply a batch, then delete what was acknowledged; whether anything was."""
        acknowledged = self._forget(batch.rows, tally)
        bad = {row.id: row.problem for row in acknowledged if row.problem}
        if bad:
            batch.set_aside(bad)
            first, problem = next(iter(bad.items()))
            log.error(
                "%d rows of the outbox hold what is no list of namespaces and were set aside; "
                "the first is %s: %s (its column problem says more)",
                len(bad),
                first,
                problem.partition(":")[0],
            )
        good = [row.id for row in acknowledged if not row.problem]
        if good:
            batch.done(good)
        tally.rows += len(batch.rows)
        tally.applied += len(good)
        tally.aside += len(bad)
        tally.left += len(batch.rows) - len(acknowledged)
        return bool(acknowledged)

    def _forget(self, rows: Sequence[Row], tally: _Tally) -> Sequence[Row]:
        """The rows that the store acknowledged: all at once, or else one by one for a while, since
        servers fail one by one.
        """
        if self._replace(merge(rows), tally):
            return rows
        until = monotonic() + ROUND
        acknowledged = []
        for row in rows if len(rows) > 1 else ():
            if monotonic() >= until or self._ended.is_set():
                break
            if self._replace(row.names, tally):
                acknowledged.append(row)
        return acknowledged

    def _replace(self, names: Sequence[str], tally: _Tally) -> bool:
        try:
            for start in range(0, len(names), MAX_AT_ONCE):
                part = names[start : start + MAX_AT_ONCE]
                now_of(self.cache)(*part)
                tally.names += len(part)
        except InvalidationError as error:
            tally.error = error.cause
            return False
        except Exception as error:  # of a store that breaks its contract: it starves no other row
            tally.error = cause(error)
            return False
        return True

    def _tell(self, swept: Swept) -> None:
        self._latest = swept
        failed = swept.error is not None
        self._failures = self._failures + 1 if failed else 0
        for name, more in (("sweeps", 1), ("applied", swept.applied), ("aside", swept.aside)):
            self._sums[name] += more
        self._sums["failed"] += failed
        if failed or swept.oldest > OLD:
            log.warning(
                "%d rows wait in the outbox, the oldest for %.0f s; %d were applied, %d were not "
                "acknowledged: %s",
                swept.waiting,
                swept.oldest,
                swept.applied,
                swept.left,
                swept.error or "no error",
            )
        elif swept.applied:
            log.info("applied %d rows that workers had left", swept.applied)

    def statistics(self) -> dict[str, float]:
        """``sweeps``, ``applied``, ``aside`` and ``failed`` (rounds) since the start; of the latest
        round ``waiting`` (rows) and ``oldest`` (seconds).
        """
        return {**self._sums, "waiting": self._latest.waiting, "oldest": self._latest.oldest}

    def delay(self) -> float:
        """Seconds until the next round: longer after failures, and never the same for all."""
        if not self._failures:
            return self._every
        longer = self._every * 2.0 ** min(self._failures, MAX_DOUBLINGS)
        longest = max(LONGEST_PAUSE, self._every)
        jitter = 0.5 + random()  # noqa: S311 - no secret
        return max(self._every, min(longest, longer) * jitter)

    def start(self) -> None:
        """Sweep in a daemon thread of this process; a second call does nothing.

        A child after ``fork`` has no such thread unless it calls this itself.
        """
        self._fork()
        if self._thread is None or not self._thread.is_alive():
            self._ended = Event()
            self._thread = Thread(target=self.loop, name="pagegen-outbox", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread, after the batch that is under way, and give back the connection."""
        self._fork()
        thread, self._thread = self._thread, None
        self._ended.set()
        if thread is not None:
            thread.join(ENDING)
        if self._sweeping.acquire(timeout=ENDING):
            try:
                self.shelf.close()
                self._ended = Event()
            finally:
                self._sweeping.release()

    def end(self) -> None:
        """Have :meth:`loop` return after the batch that is under way. For signal handlers."""
        self._ended.set()

    def loop(self, tell: Callable[[Swept], object] = lambda _: None) -> None:
        """Sweep again and again in this thread, until :meth:`end` or :meth:`stop`. ``tell`` hears
        of each round.
        """
        ended = self._ended
        while not ended.is_set():
            tell(self.sweep())
            self._pause(ended, self.delay())

    async def run(self) -> None:
        """Sweep again and again, each round in a thread, until the task is cancelled."""
        try:
            while True:
                await asyncio.to_thread(self.sweep)
                await asyncio.sleep(self.delay())
        except asyncio.CancelledError:
            self._ended.set()
            await asyncio.to_thread(self.stop)
            raise

    def _fork(self) -> None:
        """In a child, what its parent holds or waits for is open, and its thread is not alive."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._sweeping = Lock()
            self._ended = Event()


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    applied: int = 0
    names: int = 0
    aside: int = 0
    left: int = 0
    error: str | None = None

    def swept(self, waiting: Waiting) -> Swept:
        return Swept(
            self.rows,
            self.applied,
            self.names,
            self.aside,
            self.left,
            waiting.rows,
            waiting.oldest,
            self.error,
        )


def _check(right: Any, field: str, value: object, remedy: str) -> None:
    if not right:
        raise ConfigError(f"{value!r} is out of range", remedy, field=field, where="Sweeper()")
