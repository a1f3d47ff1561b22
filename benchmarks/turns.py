"""Timing in turns for what waits: sockets, threads and event loops.

The rules of :mod:`benchmarks.timing` for any number of actions that are compared, awaited or not:
those of a group run one after the other, the groups take turns, and a ratio is one of two batches
of the same round. Batches are longer there, because what waits takes so much longer.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import repeat
from time import perf_counter_ns
from typing import Final, NamedTuple

from .timing import MAX_NOISE, RETRIES, Spread, spread, without_collector

#: Nanoseconds of one call, over a batch of so many.
Timed = Callable[[int], float]
Call = Callable[[], Awaitable[object]]

#: Requests that are under way at one time where many are.
CROWD: Final = 32


class Group(NamedTuple):
    """Actions that are compared with each other, and pairs of names whose ratios matter.

    A batch of each shall take ``batch_ns`` nanoseconds: little for what only computes, as in
    ``timing``; more for what waits for others, whose single answers come soon or late.
    """

    name: str
    timed: Mapping[str, Timed]
    pairs: tuple[tuple[str, str], ...]
    batch_ns: int


class Turns(NamedTuple):
    """What one group took: nanoseconds of each action, round by round."""

    taken: Mapping[str, list[float]]

    def us(self, name: str) -> Spread:
        """Microseconds of a call."""
        return spread([each / 1000 for each in self.taken[name]])

    def per_second(self, name: str) -> Spread:
        """Calls a second."""
        return spread([1e9 / each for each in self.taken[name]])

    def ratio(self, name: str, floor: str) -> Spread:
        """One over the other, round by round."""
        return spread([a / b for a, b in zip(self.taken[name], self.taken[floor], strict=True)])


async def alone(call: Call, times: int) -> float:
    """Nanoseconds of one call, one awaited after the other."""
    turns = repeat(None, times)
    start = perf_counter_ns()
    for _ in turns:
        await call()
    return (perf_counter_ns() - start) / times


async def crowded(call: Call, times: int) -> float:
    """Nanoseconds for each call while ``CROWD`` tasks await one after the other."""
    each = max(1, times // CROWD)
    gate = asyncio.Event()

    async def one() -> None:
        await gate.wait()
        for _ in repeat(None, each):
            await call()

    tasks = [asyncio.create_task(one()) for _ in range(CROWD)]
    await asyncio.sleep(0)  # all of them are at the gate
    start = perf_counter_ns()
    gate.set()
    await asyncio.gather(*tasks)
    return (perf_counter_ns() - start) / (each * CROWD)


def take_turns(groups: Iterable[Group], rounds: int) -> dict[str, Turns]:
    """Every group by name; those with a ratio that was too noisy are measured once more."""
    todo = list(groups)
    results: dict[str, Turns] = {}
    for _ in range(1 + RETRIES):
        results.update(_take_turns(todo, rounds))
        todo = [group for group in todo if noise(group, results[group.name]) > MAX_NOISE]
        if not todo:
            break
    return results


def noise(group: Group, turns: Turns) -> float:
    """The largest noise of a group's ratios."""
    return max(turns.ratio(*pair).noise for pair in group.pairs)


def _take_turns(groups: list[Group], rounds: int) -> dict[str, Turns]:
    with without_collector():
        sizes = {g.name: {n: _size(t, g.batch_ns) for n, t in g.timed.items()} for g in groups}
        taken: dict[str, dict[str, list[float]]] = {
            group.name: {name: [] for name in group.timed} for group in groups
        }
        for number in range(rounds):
            start = number % len(groups)
            for group in (*groups[start:], *groups[:start]):
                names = list(group.timed)
                for name in reversed(names) if number % 2 else names:
                    timed = group.timed[name]
                    timed(1)  # what others left in the processor's caches is not its cost
                    taken[group.name][name].append(timed(sizes[group.name][name]))
            gc.collect(0)
    return {name: Turns(found) for name, found in taken.items()}


def _size(timed: Timed, batch_ns: int) -> int:
    """How many calls a batch of about ``batch_ns`` takes; warms them up as it goes."""
    times = 1
    while (each := timed(times)) * times < batch_ns / 4:
        times *= 2
    return max(1, round(batch_ns / each))
