"""Searching the schedules of a world for one that breaks a promise.

:func:`explore` runs all of them up to a bound, :func:`explore_randomly` as many as it is told, and
:func:`replay` one. A breach comes back as a :class:`CounterExample`, which prints as a timeline and
holds the schedule that replays it.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Final

from .choosing import Priorities, Replay, Uniform, written
from .exhaustive import Exhaustive
from .promises import PROMISES, Promise
from .run import Chooser, RedundantError, Run, StuckError
from .timeline import timeline
from .world import World

#: Runs between two collections of garbage, of which each leaves some 100 kB.
COLLECT: Final = 400

Build = Callable[[World], object]


@dataclass(frozen=True, slots=True)
class CounterExample:
    """A schedule that breaks a promise. ``text`` is the whole story."""

    promise: str
    why: str
    schedule: str
    seed: int | None
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Report:
    """What a search saw. ``schedules`` ran to their end; ``redundant`` ones were left, being equal
    to others. ``complete``: nothing within the bound is left. ``seconds`` it took.
    """

    world: str
    schedules: int
    redundant: int
    steps: int
    longest: int
    seconds: float
    complete: bool
    preemptions: int | None
    found: CounterExample | None = None

    def __str__(self) -> str:
        bound = "any number of" if self.preemptions is None else f"at most {self.preemptions}"
        kind = f"all with {bound} preemptions" if self.complete else "some"
        rate = self.schedules / self.seconds if self.seconds else 0.0
        return (
            f"{self.world}: {self.schedules} schedules ({kind}) of up to {self.longest} steps in "
            f"{self.seconds:.1f} s, {rate:.0f}/s"
        )


class _Tally:
    """Counts of a search that is under way."""

    def __init__(self, build: Build, promises: Sequence[Promise], seconds: float) -> None:
        self.build = build
        self.promises = promises
        self.began = monotonic()
        self.until = self.began + seconds
        self.schedules = self.redundant = self.steps = self.longest = 0

    @property
    def late(self) -> bool:
        return monotonic() >= self.until

    def run(self, chooser: Chooser, seed: int | None = None) -> CounterExample | None:
        """One schedule, and what it broke."""
        run = Run(chooser)
        if (self.schedules + self.redundant) % COLLECT == COLLECT - 1:
            gc.collect()
        try:
            broken = judged(run, self.build, self.promises)
        except RedundantError:
            self.redundant += 1
            return None
        self.schedules += 1
        self.steps += run.steps
        self.longest = max(self.longest, run.steps)
        if broken is None:
            return None
        return replay(self.build, written(run.trace), self.promises, seed=seed) or _unsteady(
            broken, run, seed
        )

    def report(
        self, complete: bool, preemptions: int | None, found: CounterExample | None
    ) -> Report:
        return Report(
            getattr(self.build, "__name__", "world"),
            self.schedules,
            self.redundant,
            self.steps,
            self.longest,
            monotonic() - self.began,
            complete,
            preemptions,
            found,
        )


def judged(run: Run, build: Build, promises: Sequence[Promise]) -> tuple[str, str] | None:
    """Run a world to its end; the name of the promise that it broke, and how."""
    world = World(run)
    build(world)
    try:
        run.go()
        length = len(run.trace)
        world.probe()
        del run.trace[length:]
    except StuckError as error:
        return "everybody_is_answered", str(error)
    finally:
        run.close()
    for promise in promises:
        if (why := promise(world)) is not None:
            return promise.__name__, why
    return None


def explore(
    build: Build,
    *,
    preemptions: int | None = 2,
    promises: Sequence[Promise] = PROMISES,
    seconds: float = inf,
    schedules: float = inf,
) -> Report:
    """Every schedule with at most so many preemptions, fewer first; without a bound (None) every
    schedule but those that are equal to another one. Ends with the first breach, or when
    ``seconds`` or ``schedules`` are spent.
    """
    with _quiet():
        return _explored(_Tally(build, promises, seconds), preemptions, schedules)


def _explored(tally: _Tally, preemptions: int | None, schedules: float) -> Report:
    for bound in (None,) if preemptions is None else range(preemptions + 1):
        chooser = Exhaustive(bound)
        # The lower bounds' schedules are among those of the higher ones.
        tally.schedules = 0
        while chooser.advance():
            if tally.schedules >= schedules or tally.late:
                return tally.report(False, bound, None)
            if (found := tally.run(chooser)) is not None:
                return tally.report(False, bound, found)
    return tally.report(True, preemptions, None)


def explore_randomly(
    build: Build,
    *,
    schedules: int,
    seed: int = 0,
    promises: Sequence[Promise] = PROMISES,
    seconds: float = inf,
) -> Report:
    """So many schedules by chance: every second one with even odds, the others by priorities."""
    tally = _Tally(build, promises, seconds)
    with _quiet():
        for number in range(seed, seed + schedules):
            if tally.late:
                break
            if (found := tally.run(chooser_of(number), number)) is not None:
                return tally.report(False, None, found)
    return tally.report(False, None, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the engine's own words: each of a million engines would say its first one. And
    without the collector of garbage, which costs a fifth: :meth:`_Tally.run` calls it.
    """
    log = logging.getLogger("pagegen")
    level, collects = log.level, gc.isenabled()
    log.setLevel(logging.CRITICAL + 1)
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        log.setLevel(level)
        if collects:
            gc.enable()


def chooser_of(seed: int) -> Chooser:
    """The chooser that a seed stands for."""
    return Priorities(seed) if seed % 2 else Uniform(seed)


def replay(
    build: Build,
    schedule: str | int,
    promises: Sequence[Promise] = PROMISES,
    *,
    seed: int | None = None,
) -> CounterExample | None:
    """Run one schedule again, given as text or as the seed of a random one; None when it keeps
    every promise. Raises ``ValueError`` for a schedule of another world.
    """
    chooser = chooser_of(schedule) if isinstance(schedule, int) else Replay(schedule)
    run = Run(chooser, recording=True)
    with _quiet():
        broken = judged(run, build, promises)
    if broken is None:
        return None
    seed = schedule if isinstance(schedule, int) else seed
    text = written(run.trace)
    return CounterExample(*broken, text, seed, timeline(run, *broken, text, seed))


def _unsteady(broken: tuple[str, str], run: Run, seed: int | None) -> CounterExample:
    """A breach that the same schedule does not show again: the world is not deterministic."""
    text = written(run.trace)
    why = f"{broken[1]} (and not when it was replayed: something here is not deterministic)"
    return CounterExample(broken[0], why, text, seed, f"{broken[0]}: {why}\n{text}")
