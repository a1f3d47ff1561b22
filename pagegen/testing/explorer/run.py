"""One run of a small world: actors step one at a time, in an order that a chooser decides.

An actor is a coroutine. Wherever it awaits :func:`point` others may go first; what it does between
two points is one step, which nobody sees a half of. :func:`until` waits for a condition or a moment
of *virtual* time, which passes only when nobody can do anything else. So a run depends on its
choices alone, and the same choices give the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Hashable, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from math import inf
from types import coroutine
from typing import Any, Final, Protocol

#: Steps after which a run is taken to go round in circles. The worlds here take some dozens.
MAX_STEPS: Final = 5000

#: A place that every step of a process reads: who writes it, writes all that there is.
EVERYTHING: Final = "everything"

#: What a step read and what it wrote, so that independent steps can be told.
Footprint = tuple[set[Hashable], set[Hashable]]


class StuckError(Exception):
    """Nobody can go on, or it never ends: somebody waits for ever."""


class GoneError(BaseException):
    """The run is over for whoever awaits now: its process crashed, or all have stopped."""


class RedundantError(Exception):
    """Every way to go on from here is another order of steps that are independent of each other,
    and was seen before.
    """


@dataclass(slots=True, eq=False)
class Until:
    """What a blocked actor waits for: a condition that stays true once it is, or a moment.

    ``anytime``: the moment may come while others can still act, once for each step of theirs.
    """

    ready: Callable[[], bool]
    label: str
    moment: float = inf
    anytime: bool = False


@coroutine
def point(label: str) -> Generator[str, None, None]:
    """A scheduling point: others may act before what comes next. ``label`` says what that is."""
    yield label


@coroutine
def until(
    ready: Callable[[], bool], label: str, moment: float = inf, *, anytime: bool = False
) -> Generator[Until, None, None]:
    """Wait until a condition holds, or until a moment of virtual time (seconds of the run).

    ``anytime``: the moment may also come while others can act, so that a wait may end anywhere in
    what they do; but not twice without a step of theirs between, or it would never end.
    """
    yield Until(ready, label, moment, anytime)


class Home(Protocol):
    """A process: all that its actors share, as a place that steps touch, the same in each run."""

    @property
    def place(self) -> Hashable:
        """What stands for it in footprints."""


@dataclass(slots=True, eq=False)
class Actor:
    """Somebody who acts. ``home`` is the process that it dies with; ``optional`` ones may be left
    waiting at the end. ``number`` counts actors in the order of their coming.
    """

    name: str
    number: int
    coroutine: Coroutine[Any, Any, Any]
    home: Home | None = None
    optional: bool = False
    live: bool = True
    waiting: Until | None = None
    label: str = "begin"
    parked: int = 0
    context: Context = field(default_factory=Context)


class Chooser(Protocol):
    """Decides what happens next."""

    def pick(self, enabled: list[Actor], last: Actor | None) -> Actor:
        """Who steps next. ``last``: who stepped before, where it could go on; it stands first."""

    def value(self, count: int, cost: int) -> int:
        """One of ``count`` ways that a step may turn out; others than 0 cost that much."""

    def stepped(self, footprint: Footprint) -> None:
        """The step that was picked has ended."""


@dataclass(frozen=True, slots=True)
class Noted:
    """One line of the record: what an actor did in a step, at which virtual time."""

    step: int
    actor: str
    time: float
    text: str


class Run:
    """Actors, virtual time and the record of one run.

    ``recording`` keeps a note of every step, which a search leaves out for speed.
    """

    def __init__(self, chooser: Chooser, *, recording: bool = False) -> None:
        self.chooser = chooser
        self.recording = recording
        self.actors: list[Actor] = []
        self.time = 0.0
        self.steps = 0
        self.over = False
        self.current: Actor | None = None
        self.notes: list[Noted] = []
        #: What was chosen: names of actors, and numbers of values.
        self.trace: list[str | int] = []
        self._reads: set[Hashable] = set()
        self._writes: set[Hashable] = set()

    def spawn(
        self,
        name: str,
        work: Coroutine[Any, Any, Any],
        *,
        home: Home | None = None,
        optional: bool = False,
    ) -> Actor:
        """A new actor, which may step from now on."""
        actor = Actor(name, len(self.actors), work, home, optional)
        self.actors.append(actor)
        return actor

    def choose(self, count: int, *, cost: int = 0) -> int:
        """One of ``count`` ways that the present step may turn out, all of which are explored.

        ``cost`` counts ways other than the first against the bound, as a preemption does.
        """
        chosen = self.chooser.value(count, cost)
        self.trace.append(chosen)
        return chosen

    def reads(self, *places: Hashable) -> None:
        """The present step depends on these."""
        self._reads.update(places)

    def writes(self, *places: Hashable) -> None:
        """The present step changes these."""
        self._writes.update(places)

    def note(self, text: str) -> None:
        """Say in the record what the present step did. Ask :attr:`recording` before the work."""
        if self.recording:
            name = self.current.name if self.current is not None else "world"
            self.notes.append(Noted(self.steps, name, self.time, text))

    def go(self) -> None:
        """Step until everybody has ended. Raises ``StuckError``, and what the chooser raises."""
        last: Actor | None = None
        while True:
            enabled = self._enabled(last)
            if not enabled:
                if not self._pass_time():
                    return
                last = None
                continue
            able = last if last is not None and enabled[0] is last else None
            last = self.chooser.pick(enabled, able)
            self.trace.append(last.name)
            waiting = last.waiting
            woken = waiting is not None and waiting.anytime and not waiting.ready()
            if waiting is not None and woken and waiting.moment > self.time:
                self._now_is(waiting.moment)
            self.step(last)
            if self.steps > MAX_STEPS:
                raise StuckError(f"it did not end within {MAX_STEPS} steps")

    def step(self, actor: Actor) -> None:
        """One step of one actor."""
        self.steps += 1
        self.current = actor
        home = actor.home
        self._reads = {EVERYTHING}
        if home is not None:
            self._writes.add(home.place)
        try:
            said = actor.context.run(actor.coroutine.send, None)
        except (StopIteration, GoneError):
            actor.live = False
        else:
            if said.__class__ is str:
                actor.label, actor.waiting = said, None
            else:
                actor.label, actor.waiting = said.label, said
                actor.parked = self.steps
        self.chooser.stepped((self._reads, self._writes))
        self._writes = set()

    def kill(self, actors: Iterable[Actor]) -> None:
        """These step no more. Nothing of them runs, not even what stands in ``finally``."""
        for actor in actors:
            actor.live = False

    def close(self) -> None:
        """Let go of what is left; whatever still runs of it finds that the run is over."""
        self.over = True
        for actor in self.actors:
            try:
                actor.context.run(actor.coroutine.close)
            except (GoneError, RuntimeError):
                continue

    def _enabled(self, last: Actor | None) -> list[Actor]:
        time = self.time
        enabled = [
            actor
            for actor in self.actors
            if actor.live
            and (
                actor.waiting is None
                or actor.waiting.moment <= time
                or (actor.waiting.anytime and self.steps > actor.parked)
                or actor.waiting.ready()
            )
        ]
        if last is not None and last in enabled and enabled[0] is not last:
            enabled.remove(last)
            enabled.insert(0, last)
        return enabled

    def _pass_time(self) -> bool:
        """Let time pass to the next moment that somebody waits for; False when all have ended."""
        waiting = [actor for actor in self.actors if actor.live]
        if all(actor.optional for actor in waiting):
            return False
        moment = min(a.waiting.moment for a in waiting if a.waiting is not None)
        if moment == inf:
            names = ", ".join(f"{actor.name} ({actor.label})" for actor in waiting)
            raise StuckError(f"nobody can go on: {names}")
        self.time = moment
        return True

    def _now_is(self, moment: float) -> None:
        """Time has come to a moment while others could still act: all that reads it sees so."""
        self.time = moment
        self._writes.add(EVERYTHING)
