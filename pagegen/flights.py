"""Flights: one request renders a page, the others that want the same one wait for it.

Rules of this file:

1. Flights are joined only on equal cache keys, that is on equal slot *and* equal tokens. Whoever
   joins has read its tokens after the write that it must see, so the page may be handed over.
   One with namespaces that were found while rendering may be on an equal sequence only.
2. A flight always ends. Its leader lands or cancels it; if the leader is lost, those who wait have
   a deadline of their own, and a newcomer takes over a flight that is overdue.
3. Nobody gets what could not be stored. A refused page sends everybody to the application for a
   while (Varnish calls it hit-for-miss), so that an uncacheable page never becomes a queue; and so
   does one whose rendering failed twice in that while, so that failures are not queued for.
4. Those who wait are bounded; who finds the bench full forwards its request itself.
5. Without tokens nobody may join what has begun, since a write may have ended meanwhile. There are
   *turns* then: one rendering at a time, and who comes while it runs shares the next one.

Threads and tasks share flights: a :class:`concurrent.futures.Future` wakes both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum, auto
from time import monotonic
from typing import Final, NamedTuple, TypeAlias

from .forks import fork_safe_lock
from .messages import StoredResponse

#: Seconds after which a flight without an end is taken to be lost (nginx proxy_cache_lock_age: 5 s;
#: pages that take longer are rendered twice, which costs less than waiting for the dead).
OVERDUE: Final = 15.0
#: Seconds for which a refused page is not collapsed again (Varnish's hit-for-miss: 120 s), unless
#: it is stored meanwhile.
APART: Final = 10.0
#: Refused slots remembered, and as many that failed: some 1 MB each.
MAX_APART: Final = 4096

#: A slot, and the tokens that its page is rendered under.
FlightKey: TypeAlias = tuple[bytes, tuple[bytes, ...]]

#: Stands for the tokens of those that have none, so that their flights have a key, too.
_RUNNING: Final = (b"turn",)
_NEXT: Final = (b"next",)


class Outcome(Enum):
    """How a flight ended without a page.

    FAILED: try again, unless it failed a moment ago too. REFUSED: forward yourself. RESCUED: the
    application failed and an expired page stood in for it; take yours. UNREACHABLE: the same, where
    it gave no answer at all. DECLINED: nobody tried.
    """

    FAILED = auto()
    REFUSED = auto()
    RESCUED = auto()
    UNREACHABLE = auto()
    DECLINED = auto()


class Flight:
    """One forward that others wait for. ``result`` is a page or an ``Outcome``.

    ``sequence`` is what its leader read of the register (:mod:`pagegen.groups`), ``followers`` how
    many share a turn with its leader.
    """

    __slots__ = ("_listeners", "followers", "future", "key", "sequence", "started")

    def __init__(
        self,
        key: FlightKey,
        started: float,
        sequence: bytes | None = None,
    ) -> None:
        self.key = key
        self.sequence = sequence
        self.started = started
        self.followers = 0
        self.future: Future[StoredResponse | Outcome] = Future()
        # A running future cannot be cancelled: a task that gives up waiting must not end the
        # flight of all the others.
        self.future.set_running_or_notify_cancel()
        self._listeners: set[Callable[[], object]] = set()

    def listen(self, wake: Callable[[], object]) -> None:
        """Have ``wake`` called when it ends, in whatever thread; maybe twice.

        Who waits no longer calls :meth:`unlisten`. A callback of the future could not be taken back
        and so would stay for as long as the flight lasts, one for each client that came and went.
        """
        self._listeners.add(wake)
        if self.future.done():
            wake()

    def unlisten(self, wake: Callable[[], object]) -> None:
        """Take a listener back, whether it was called or not."""
        self._listeners.discard(wake)

    def end(self, result: StoredResponse | Outcome) -> None:
        """It is over: wake all who wait. To be called once."""
        self.future.set_result(result)
        for wake in self._listeners.copy():
            wake()

    @property
    def is_turn(self) -> bool:
        """Whether it is a turn: its page is for those who share it, and is not stored."""
        return self.key[1] in (_RUNNING, _NEXT)

    @property
    def result(self) -> StoredResponse | Outcome | None:
        """What became of it, None while it is in the air."""
        return self.future.result() if self.future.done() else None


class Turn(NamedTuple):
    """One's place in the turns of a slot: in which ``flight``, whether one leads it, and the one
    ``before`` it that has to end first. No flight: render alone.
    """

    flight: Flight | None
    leads: bool = True
    before: Flight | None = None


class Flights:
    """All flights of one process. ``max_waiters`` bounds those who wait, over all flights."""

    def __init__(self, max_waiters: int, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._max_waiters = max_waiters
        self._waiting = 0
        #: Flights that have landed so far: who reads it before and after knows whether one has.
        self.landings = 0
        self._flying: dict[FlightKey, Flight] = {}
        self._apart: OrderedDict[bytes, float] = OrderedDict()
        self._stumbled: OrderedDict[bytes, float] = OrderedDict()
        self._forgotten = 0
        self._lock = fork_safe_lock(self)

    def join(
        self,
        slot: bytes,
        generation: tuple[bytes, ...],
        sequence: bytes | None = None,
        limit: float = OVERDUE,
    ) -> tuple[Flight | None, bool]:
        """The flight of this page and whether the caller leads it, with its ``sequence``. One that
        has been in the air for ``limit`` seconds is taken to be lost: the caller begins anew.

        ``(None, True)``: lead without followers, because the page was refused a moment ago.
        ``(None, False)``: too many wait already.
        """
        key = (slot, generation)
        now = self._now()
        with self._lock:
            if self._is_apart(slot, now):
                return None, True
            flight = self._in_the_air(key, now, limit)
            if flight is None:
                return self._fly(key, now, sequence), True
            if self._waiting >= self._max_waiters:
                return None, False
            self._waiting += 1
            return flight, False

    def restart(self, flight: Flight) -> None:
        """Who has led a flight without rendering begins to."""
        flight.started = self._now()

    def take_turn(self, slot: bytes) -> Turn:
        """A place in the turns of a slot: in a rendering that has not begun yet."""
        now = self._now()
        with self._lock:
            if self._is_apart(slot, now):
                return Turn(None)
            running = self._in_the_air((slot, _RUNNING), now)
            following = self._in_the_air((slot, _NEXT), now)
            if running is None and following is None:
                return Turn(self._fly((slot, _RUNNING), now))
            if self._waiting >= self._max_waiters:
                return Turn(None)
            self._waiting += 1
            if following is None:
                return Turn(self._fly((slot, _NEXT), now), before=running)
            following.followers += 1
            return Turn(following, leads=False)

    def begin(self, flight: Flight) -> bool:
        """Begin the rendering of a turn; nobody joins it any more.

        False, and the flight ends, where the one before was refused: everybody renders alone then.
        """
        slot, now = flight.key[0], self._now()
        with self._lock:
            if self._flying.get(flight.key) is flight:
                del self._flying[flight.key]
            if not self._is_apart(slot, now):
                flight.key, flight.started = (slot, _RUNNING), now
                self._flying[flight.key] = flight
                return True
        self._end(flight, Outcome.REFUSED)
        return False

    def _fly(self, key: FlightKey, now: float, sequence: bytes | None = None) -> Flight:
        flight = self._flying[key] = Flight(key, now, sequence)
        return flight

    def _in_the_air(self, key: FlightKey, now: float, limit: float = OVERDUE) -> Flight | None:
        """The flight of this key, None where it is taken to be lost."""
        flight = self._flying.get(key)
        return None if flight is None or now - flight.started >= limit else flight

    def sit(self) -> bool:
        """Somebody is going to wait for another process; False where too many wait already."""
        with self._lock:
            free = self._waiting < self._max_waiters
            self._waiting += free
        return free

    def left(self) -> None:
        """Somebody waits no longer."""
        with self._lock:
            self._waiting -= 1

    def land(self, flight: Flight, page: StoredResponse) -> None:
        """Hand the page to all who wait."""
        with self._lock:
            self.landings += 1
        self._end(flight, page)

    def cancel(self, flight: Flight, outcome: Outcome) -> None:
        """Wake all who wait, with nothing. Does nothing to a flight that has ended."""
        slot = flight.key[0]
        if outcome in (Outcome.RESCUED, Outcome.UNREACHABLE):
            self._stumbles(slot)
        if outcome is Outcome.REFUSED or (outcome is Outcome.FAILED and self._stumbles(slot)):
            self.keep_apart(slot)
        self._end(flight, outcome)

    def keep_apart(self, slot: bytes) -> None:
        """Let requests for this slot render side by side for a while."""
        with self._lock:
            self._apart[slot] = self._now() + APART
            self._apart.move_to_end(slot)
            self._shorten(self._apart)

    def apart(self, slot: bytes) -> bool:
        """Whether requests for this slot render side by side now."""
        with self._lock:
            return self._is_apart(slot, self._now())

    def rejoin(self, slot: bytes) -> None:
        """The page was stored: requests for it are worth collapsing again."""
        with self._lock:
            self._apart.pop(slot, None)
            self._stumbled.pop(slot, None)

    def stumbled(self, slot: bytes) -> bool:
        """Whether rendering this page failed a moment ago."""
        return self._stumbled.get(slot, 0.0) > self._now()

    def _stumbles(self, slot: bytes) -> bool:
        """Remember a failure; True when it is the second one within a while."""
        now = self._now()
        with self._lock:
            again = self._stumbled.pop(slot, 0.0) > now
            self._stumbled[slot] = now + APART
            self._shorten(self._stumbled)
        return again

    def _shorten(self, slots: OrderedDict[bytes, float]) -> None:
        while len(slots) > MAX_APART:
            slots.popitem(last=False)
            self._forgotten += 1

    def statistics(self) -> dict[str, int]:
        """``flying``, ``waiting`` and ``apart``: flights, requests and slots at this moment;
        ``apart_evicted``: slots that were forgotten for others, of pages refused or failed.
        """
        with self._lock:
            return {
                "flying": len(self._flying),
                "waiting": self._waiting,
                "apart": len(self._apart),
                "apart_evicted": self._forgotten,
            }

    def _is_apart(self, slot: bytes, now: float) -> bool:
        until = self._apart.get(slot)
        if until is None:
            return False
        if until <= now:
            del self._apart[slot]
            return False
        return True

    def _end(self, flight: Flight, result: StoredResponse | Outcome) -> None:
        ended = [flight]
        with self._lock:
            flying = self._flying.get(flight.key)
            if flying is flight:
                del self._flying[flight.key]
            elif flying is not None and isinstance(result, StoredResponse) and not flying.is_turn:
                # It was taken to be lost, and has landed all the same.
                del self._flying[flight.key]
                ended.append(flying)
            ended = [each for each in ended if not each.future.done()]
        for each in ended:
            each.end(result)
