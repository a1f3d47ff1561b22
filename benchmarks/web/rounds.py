"""Rounds: every subject takes its turn, between two runs of the floor.

Rules of this file:

1. Within a round the floor runs first, last, and after every few subjects. A subject's share is its
   throughput over the mean of the floor's before it and the floor's after it: a machine that
   slows down for a while slows all of them.
2. The order changes from round to round.
3. A figure is a median over the rounds with its quartiles; half the distance between these,
   relative to it, is its noise. What is too noisy is measured once more, and then has no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final, NamedTuple

from ..timing import RETRIES, Spread, spread
from . import cpu, proof, wrk
from .cores import Cores, pin
from .groups import Group, Opened, Ready, explained

#: Noise of a share from which on it says nothing. A goal and the next one are 0.03 to 0.05 apart.
MAX_NOISE: Final = 0.05
#: Subjects between two runs of the floor.
BETWEEN_FLOORS: Final = 4
#: Seconds of load before a run, which are not counted: connections, caches and branch predictors.
WARM_UP: Final = 0.3
#: Runs without any answer before a server is given up. A machine may stall for a short one.
ATTEMPTS: Final = 3


class Run(NamedTuple):
    """One run of one subject; processor time in microseconds a request."""

    load: wrk.Load
    cpu_us: float
    store_us: float


@dataclass(slots=True)
class Result:
    """What one subject did, run by run. ``shares`` are of the floor's throughput."""

    ready: Ready
    runs: list[Run] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    cpu_shares: list[float] = field(default_factory=list)

    @property
    def share(self) -> Spread:
        """Throughput as a share of the floor's; 1 is as fast."""
        return spread(self.shares, limit=MAX_NOISE)

    @property
    def cpu_share(self) -> Spread | None:
        """The floor's processor time for a request over that of this one.

        On a machine that does nothing else it says what ``share`` says, for a subject that waits
        for nobody; where others take the processor away, it says it better. None where the runs
        are shorter than the kernel counts.
        """
        return spread(self.cpu_shares, limit=MAX_NOISE) if len(self.cpu_shares) > 1 else None

    def add(self, run: Run, before: Run, after: Run) -> None:
        """A run between two of the floor."""
        floor = fmean((before.load.per_second, after.load.per_second))
        self.runs.append(run)
        self.shares.append(run.load.per_second / floor)
        if run.cpu_us:
            self.cpu_shares.append(fmean((before.cpu_us, after.cpu_us)) / run.cpu_us)

    def figure(self, of: Callable[[Run], float]) -> Spread:
        """Another figure, for orientation: the machine's speed is in it."""
        return spread([of(run) for run in self.runs])


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to measure: seconds of a run, and rounds, of which there are at least two."""

    seconds: float
    rounds: int


def runs_in(subjects: int, rounds: int) -> int:
    """How many runs the rounds of a group with so many subjects take, floor included."""
    others = subjects - 1
    return rounds * (others + 1 + -(-others // BETWEEN_FLOORS))


class _Rounds:
    """What is under way in one group."""

    def __init__(self, group: Group, opened: Opened, turn: Callable[[Ready], Run]) -> None:
        self.group, self.opened, self.turn = group, opened, turn
        self.floor, *self.others = opened.ready
        self.results = {ready.subject.name: Result(ready) for ready in opened.ready}

    def go(self, number: int, subjects: Sequence[Ready]) -> None:
        """One round of these."""
        before = self._of_floor()
        for few in _few(order(subjects, number)):
            runs = {ready.subject.name: run for ready in few if (run := self._of(ready))}
            after = self._of_floor()
            for name, run in runs.items():
                self.results[name].add(run, before, after)
            before = after

    def _of_floor(self) -> Run:
        run = self._turned(self.floor)
        self.results[self.floor.subject.name].runs.append(run)
        return run

    def _of(self, ready: Ready) -> Run | None:
        """A run; none for others' software that fails, now or before."""
        name = ready.subject.name
        if name in self.opened.failed:
            return None
        try:
            return self._turned(ready)
        except (wrk.WrongAnswersError, proof.NoHitError) as error:
            if ready.subject.ours:
                raise
            self.opened.failed[name] = str(error)
            return None

    def _turned(self, ready: Ready) -> Run:
        try:
            return self.turn(ready)
        except (wrk.WrongAnswersError, proof.NoHitError) as error:
            raise type(error)(explained(self.group, ready, error)) from error

    def noisy(self) -> list[Ready]:
        """Those that have to be measured once more."""
        return [
            ready
            for ready in self.others
            if ready.subject.name not in self.opened.failed
            and self.results[ready.subject.name].share.noisy
        ]


def measure(group: Group, opened: Opened, pace: Pace, turn: Callable[[Ready], Run]) -> list[Result]:
    """What each subject did, the floor first. Those that were too noisy are measured once more.

    Others' software that fails joins ``opened.failed``. Raises ``WrongAnswersError`` or
    ``NoHitError`` where the floor or pagegen does.
    """
    rounds = _Rounds(group, opened, turn)
    todo = rounds.others
    for _ in range(1 + RETRIES):
        for ready in todo:
            rounds.results[ready.subject.name] = Result(ready)
        for number in range(pace.rounds):
            rounds.go(number, todo)
        todo = rounds.noisy()
        if not todo:
            break
    return [result for name, result in rounds.results.items() if name not in opened.failed]


def order(subjects: Sequence[Ready], number: int) -> list[Ready]:
    """The subjects as this round has them: each begins elsewhere, every second one backwards."""
    if not subjects:
        return []
    start = number * BETWEEN_FLOORS % len(subjects)
    turned = [*subjects[start:], *subjects[:start]]
    return turned[::-1] if number % 2 else turned


def _few(subjects: Sequence[Ready]) -> Iterator[Sequence[Ready]]:
    for start in range(0, len(subjects), BETWEEN_FLOORS):
        yield subjects[start : start + BETWEEN_FLOORS]


def turn(ready: Ready, seconds: float, cores: Cores) -> Run:
    """Load a subject for so many seconds, after a moment that does not count.

    Raises ``WrongAnswersError``, and ``NoHitError`` where its application had to run.
    """
    url, client = ready.up.url(proof.PATH), pin(cores.client)
    wrk.run(url, min(WARM_UP, seconds), client)
    for _ in range(ATTEMPTS):
        calls, own, store = ready.calls(), cpu.seconds(*ready.pids), cpu.seconds(*ready.store_pids)
        load = wrk.run(url, seconds, client)
        own, store = cpu.seconds(*ready.pids) - own, cpu.seconds(*ready.store_pids) - store
        if load.requests:
            proof.stayed(calls, ready.calls(), load.requests)
            return Run(load, own / load.requests * 1e6, store / load.requests * 1e6)
    raise wrk.WrongAnswersError(f"no answer in {ATTEMPTS} runs of {seconds:g} s")
