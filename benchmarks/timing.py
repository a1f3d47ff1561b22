"""The timing harness: what is measured is always compared with a floor measured beside it.

Rules of this file:

1. Floor and subject run in turn, batch by batch, and so does a fixed loop of plain Python, the
   *reference*: a machine that slows down for a while slows all three.
2. A figure is a median over the rounds, with its quartiles. Half the distance between these,
   relative to the median, is its *noise*; a figure with more than ``MAX_NOISE`` is not printed.
3. Garbage collection is off while a batch runs. Between rounds the youngest generation is
   collected, outside of the clock. (What a full collection costs is the table ``memory``'s.)
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from statistics import quantiles
from time import perf_counter_ns
from typing import Final, NamedTuple

Action = Callable[[], object]

#: Noise from which on a figure says nothing.
MAX_NOISE: Final = 0.15
#: Measurements that were too noisy are repeated this often.
RETRIES: Final = 1


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try: rounds, and nanoseconds that one batch shall take."""

    rounds: int
    batch_ns: int
    quick: bool = False


# Many short batches rather than few long ones: where others use the machine too, the scheduler
# takes it away for milliseconds, and a batch that is shorter by far has seldom such a hole.
FULL: Final = Effort(rounds=300, batch_ns=250_000)
QUICK: Final = Effort(rounds=40, batch_ns=100_000, quick=True)


class Case(NamedTuple):
    """Something to measure, and the floor that it stands on."""

    name: str
    floor: Action
    subject: Action


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of one figure. ``scale`` is what its noise is judged against.

    ``limit``: noise from which on it says nothing.
    """

    median: float
    low: float
    high: float
    scale: float
    limit: float = MAX_NOISE

    @property
    def noise(self) -> float:
        """Half the distance of the quartiles, relative to the scale."""
        return (self.high - self.low) / 2 / self.scale if self.scale else 0.0

    @property
    def noisy(self) -> bool:
        """Whether the figure says nothing."""
        return self.noise > self.limit

    def times(self, factor: float) -> Spread:
        """The same in another unit."""
        median, low, high = (factor * part for part in (self.median, self.low, self.high))
        return Spread(median, low, high, factor * self.scale, self.limit)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a subject costs against its floor.

    ``ratio``: subject over floor.  ``extra``: subject minus floor in reference loops.
    ``loop_ns``: what one of these took meanwhile, by the median.
    """

    ratio: Spread
    extra: Spread
    loop_ns: float

    @property
    def extra_us(self) -> Spread:
        """The extra in microseconds of this machine, at its usual speed during the run."""
        return self.extra.times(self.loop_ns / 1000)

    @property
    def noisy(self) -> bool:
        """Whether either comparison says nothing."""
        return self.ratio.noisy or self.extra.noisy


class _Sample(NamedTuple):
    floor: float
    subject: float
    reference: float


_WORDS: Final = tuple(f"word-{number}" for number in range(8))
_PLACES: Final = {word: number for number, word in enumerate(_WORDS)}


def _pair(left: int, right: str) -> tuple[int, str]:
    return left, right


def reference() -> int:
    """The reference loop: look-ups, calls, tuples and text, as a request has them."""
    total = 0
    for word in _WORDS:
        number, text = _pair(_PLACES[word], word)
        total += number + len(text.lower())
    return total


def spread(values: Sequence[float], scale: float | None = None, limit: float = MAX_NOISE) -> Spread:
    """Median and quartiles; noise is relative to ``scale``, or to the median itself."""
    low, median, high = quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, abs(median) if scale is None else scale, limit)


@contextmanager
def without_collector() -> Iterator[None]:
    """Run a block with the garbage collector off, and as it was afterwards."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def batch(action: Action, times: int) -> float:
    """Nanoseconds of one call, over a batch of them."""
    turns = repeat(None, times)
    start = perf_counter_ns()
    for _ in turns:
        action()
    return (perf_counter_ns() - start) / times


def calibrate(action: Action, batch_ns: int) -> int:
    """How many calls a batch of about ``batch_ns`` takes; warms the action up as it goes."""
    times = 1
    while (each := batch(action, times)) * times < batch_ns / 4 and times < 1_000_000:
        times *= 2
    return max(1, min(1_000_000, round(batch_ns / max(each, 1.0))))


def measure(cases: Iterable[Case], effort: Effort) -> dict[str, Measured]:
    """Every case by name; those that were too noisy are measured once more."""
    todo = list(cases)
    results: dict[str, Measured] = {}
    for _ in range(1 + RETRIES):
        results.update(_measure(todo, effort))
        todo = [case for case in todo if results[case.name].noisy]
        if not todo:
            break
    return results


def _measure(cases: Sequence[Case], effort: Effort) -> dict[str, Measured]:
    with without_collector():
        sizes = {c.name: _sizes(c, effort.batch_ns) for c in cases}
        samples: dict[str, list[_Sample]] = {case.name: [] for case in cases}
        for number in range(effort.rounds):
            start = number % len(cases)
            for case in (*cases[start:], *cases[:start]):
                samples[case.name].append(_turn(case, sizes[case.name], odd=bool(number % 2)))
            gc.collect(0)
    return {name: _judge(found) for name, found in samples.items()}


def _sizes(case: Case, batch_ns: int) -> tuple[int, int, int]:
    return (
        calibrate(case.floor, batch_ns),
        calibrate(case.subject, batch_ns),
        calibrate(reference, batch_ns // 3),
    )


def _turn(case: Case, sizes: tuple[int, int, int], *, odd: bool) -> _Sample:
    """One batch of each, the reference between the two, in an order that changes."""
    first, last = (case.subject, case.floor) if odd else (case.floor, case.subject)
    a = _warm_batch(first, sizes[1] if odd else sizes[0])
    middle = _warm_batch(reference, sizes[2])
    b = _warm_batch(last, sizes[0] if odd else sizes[1])
    return _Sample(b, a, middle) if odd else _Sample(a, b, middle)


def _warm_batch(action: Action, times: int) -> float:
    action()  # what other cases left in the processor's caches is not this one's cost
    return batch(action, times)


def _judge(samples: Sequence[_Sample]) -> Measured:
    # What a subject adds may be next to nothing: its noise is judged against the whole.
    whole = spread([s.subject / s.reference for s in samples]).median
    return Measured(
        ratio=spread([s.subject / s.floor for s in samples]),
        extra=spread([(s.subject - s.floor) / s.reference for s in samples], whole),
        loop_ns=spread([s.reference for s in samples]).median,
    )


def in_loops(action: Action, times: int) -> Spread:
    """What a slow action costs in reference loops, timed one call at a time."""
    loops = calibrate(reference, QUICK.batch_ns)
    found = []
    action()
    with without_collector():
        for _ in range(times):
            gc.collect(0)
            before = batch(reference, loops)
            taken = batch(action, 1)
            found.append(2 * taken / (before + batch(reference, loops)))
    return spread(found)


def reference_ns(effort: Effort) -> Spread:
    """What one reference loop takes on this machine, now."""
    with without_collector():
        times = calibrate(reference, effort.batch_ns)
        return spread([batch(reference, times) for _ in range(effort.rounds)])
