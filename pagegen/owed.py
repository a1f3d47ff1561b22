"""Invalidations that the store has not acknowledged.

What was owed is tried again in the background, with pauses that grow, always with new tokens: a
token that may have been delivered is never sent again. Until the store acknowledges, this process
neither serves nor stores pages of these namespaces.

Rules of this file:

1. A namespace leaves only when an invalidation that *began* after it came in is acknowledged.
2. More namespaces than can be remembered: everything bypasses until the process starts anew, since
   nobody knows any more which pages are old.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import count, islice
from random import random
from threading import Event, Thread, current_thread
from time import monotonic
from typing import Final
from weakref import WeakSet

from .forks import fork_safe_lock
from .logs import logger

log = logger("pagegen.engine")

#: Namespaces that are remembered (each at most 512 characters: some 20 MB when they are short).
MAX_OWED: Final = 100_000
#: Seconds of the first pause, and of the longest.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
#: Seconds that one round of trying namespaces one by one may take.
ROUND: Final = 2.0


class Owed:
    """The debts of one cache. Thread-safe. ``replace`` gives namespaces new tokens, or raises.

    ``pause`` waits for so many seconds or until the event is set; tests bring their own.
    """

    def __init__(
        self,
        replace: Callable[[Sequence[str]], None],
        pause: Callable[[Event, float], object] = Event.wait,
    ) -> None:
        self._replace = replace
        self._pause = pause
        #: What the log calls namespaces.
        self.told: Callable[[Collection[str]], str] = lambda names: ", ".join(islice(names, 5))
        self._lock = fork_safe_lock(self)
        self._serials = count(1)
        #: Namespaces, each with the number of its latest failure. Empty is the usual case.
        self.names: dict[str, int] = {}
        self.overflowed = False
        #: How often something was paid: who reads it before and after a look knows whether it was.
        self.payments = 0
        #: Whether the store acknowledged the latest invalidation.
        self.heard = True
        self._retried = 0
        self._tried = 0
        self._closed = Event()
        self._thread: Thread | None = None
        self._process = 0

    def mark(self) -> int:
        """A number to give to :meth:`paid`: taken before an invalidation begins."""
        return next(self._serials)

    def owe(self, names: Iterable[str], *, tried: bool = True) -> None:
        """These were not acknowledged: bypass and retry them. ``tried``: the store was asked."""
        with self._lock:
            self.heard = self.heard and not tried
            serial = next(self._serials)
            for name in names:
                if name not in self.names and len(self.names) >= MAX_OWED:
                    self._overflow()
                else:
                    self.names[name] = serial
        self._work()

    def paid(self, names: Iterable[str], mark: int) -> None:
        """An invalidation of these that began at ``mark`` was acknowledged."""
        with self._lock:
            self.heard = True
            # First: who sees the debt gone must see that it was paid.
            self.payments += 1
            for name in names:
                if self.names.get(name, mark) < mark:
                    del self.names[name]

    def touches(self, namespaces: Iterable[str]) -> bool:
        """Whether a page of these namespaces may be old. Ask only while :attr:`names` holds any."""
        if self._thread is None or self._process != os.getpid():
            self._work()  # a child after fork: its parent's debts, and no thread to pay them
        return self.overflowed or not self.names.keys().isdisjoint(namespaces)

    def statistics(self) -> dict[str, int]:
        """``owed``: namespaces at this moment; ``owed_retried``: attempts so far."""
        return {"owed": len(self.names), "owed_retried": self._retried}

    def close(self) -> None:
        """Try a last time, and say what is left."""
        _indebted.discard(self)
        with self._lock:
            closed, self._closed = self._closed, Event()  # what comes later is paid all the same
            self._thread = None
        closed.set()
        if self.names:
            self._try()
        if self.names:
            log.error(
                "ended with %d namespaces whose invalidation the store never acknowledged: %s … "
                "Other processes may serve their old pages until those expire",
                len(self.names),
                self.told(sorted(self.names)),
            )

    def _overflow(self) -> None:
        if not self.overflowed:
            self.overflowed = True
            log.error(
                "more than %d namespaces wait for the store to acknowledge their invalidation: "
                "nothing is served from the cache until this process is started anew",
                MAX_OWED,
            )

    def _work(self) -> None:
        """Have a thread that pays, unless there is one."""
        with self._lock:
            mine = self._process == os.getpid()
            if (mine and self._thread is not None) or not self.names:
                return
            _indebted.add(self)
            self._process = os.getpid()
            self._thread = Thread(target=self._pay, name="pagegen-owed", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no thread can be had now; the next request asks again
                self._thread = None
                self._process = 0

    def _pay(self) -> None:
        try:
            self._keep_paying(self._closed)
        finally:  # whatever ended it, the next request may start another one
            with self._lock:
                if self._thread is current_thread():
                    self._thread = None

    def _keep_paying(self, closed: Event) -> None:
        delay = FIRST_PAUSE
        while True:
            self._pause(closed, delay * (0.5 + random()))  # noqa: S311 - jitter, no secret
            if closed.is_set():
                return
            delay = min(LONGEST_PAUSE, delay * 2)
            self._try()
            with self._lock:
                if not self.names:
                    self._thread = None
                    return

    def _try(self) -> None:
        """All at once; where that fails one by one, for servers fail one by one."""
        names = list(self.names)
        if not names or self._attempt(names) or len(names) == 1:
            return
        until = monotonic() + ROUND
        # Where the last round ended: names of a silent server must not starve those behind them.
        first, self._tried = self._tried % len(names), 0
        for number, name in enumerate((*names[first:], *names[:first])):
            if monotonic() >= until:
                self._tried = first + number
                return
            self._attempt([name])

    def _attempt(self, names: Sequence[str]) -> bool:
        mark = self.mark()
        self._retried += 1
        try:
            self._replace(names)
        except Exception:
            self.heard = False
            return False
        self.paid(names, mark)
        return True


#: Who had debts and was not closed since.
_indebted: Final[WeakSet[Owed]] = WeakSet()


@atexit.register
def _close_all() -> None:
    """Most servers end without closing anything: try a last time then."""
    for owed in list(_indebted):
        if owed.names:
            owed.close()
