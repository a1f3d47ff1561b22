"""A breaker in front of a server: after repeated failures nobody waits for it any more.

States (M. Nygard, "Release It!", ch. 5): *closed*, everybody may pass; *open*, nobody may; after a
pause one caller passes as the probe, and what becomes of it closes or opens the breaker again.
Pauses grow, with jitter, so that many processes do not probe in step.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random
from time import monotonic
from typing import Final

from ..forks import fork_safe_lock

#: Failures in a row that open it.
THRESHOLD: Final = 3
#: Seconds of the first pause, and of the longest.
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0
#: Seconds after which a probe that never came back is taken to be lost.
LOST_PROBE: Final = 5.0


class Breaker:
    """One breaker, shared by all who talk to one server. Thread-safe.

    Ask :meth:`allows` before a call; after a call that it allowed, say how it went. A call that was
    cancelled says :meth:`undecided`. ``told`` is called with whether it is open now, and why,
    whenever that changes.
    """

    def __init__(
        self,
        now: Callable[[], float] = monotonic,
        chance: Callable[[], float] = random,
        told: Callable[[bool, str], object] | None = None,
    ) -> None:
        self._now = now
        self._chance = chance
        self._told = told
        #: What the latest failure was said to be.
        self.cause = ""
        self._lock = fork_safe_lock(self)
        self._failures = 0
        self._pause = 0.0
        self._until: float | None = None
        self._probe: float | None = None
        self.opened = 0

    def allows(self) -> bool:
        """Whether a call may be made now; True makes the caller the probe when it is open."""
        if not self.is_open:
            return True
        with self._lock:
            if self.refuses():
                return False
            if self._until is not None:  # else closed while we waited for the lock
                self._probe = self._now()
            return True

    def refuses(self) -> bool:
        """Whether :meth:`allows` would say no. Makes nobody the probe."""
        now, until, probe = self._now(), self._until, self._probe
        if until is None:
            return False
        return now < until or (probe is not None and now - probe < LOST_PROBE)

    def succeeded(self) -> None:
        """A call was answered: closed."""
        if self._failures == 0 and self._until is None:
            return
        with self._lock:
            closed = self._until is not None
            self._failures = 0
            self._pause = 0.0
            self._until = self._probe = None
        if closed and self._told is not None:
            self._told(False, "")

    def failed(self, cause: str = "") -> None:
        """A call was not answered: open after enough of them, or at once after a probe."""
        self.cause = cause or self.cause
        if self._count_failure() and self._told is not None:
            self._told(True, self.cause)

    def _count_failure(self) -> bool:
        """Count one; True when it opened the breaker that was closed."""
        with self._lock:
            self._failures += 1
            probing, self._probe = self._probe is not None, None
            if self._until is not None and not probing:
                return False  # the answer to a call from before it opened
            if self._failures < THRESHOLD and not probing:
                return False
            closed = self._until is None
            self._pause = min(LONGEST_PAUSE, self._pause * 2 or FIRST_PAUSE)
            # Between half and one and a half times the pause.
            self._until = self._now() + self._pause * (0.5 + self._chance())
            self.opened += 1
            return closed

    def undecided(self) -> None:
        """A call was given up before anybody could know: the next one may be the probe."""
        with self._lock:
            self._probe = None

    @property
    def is_open(self) -> bool:
        """Whether calls are being refused."""
        return self._until is not None
