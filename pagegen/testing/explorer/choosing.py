"""Choosers that follow chance or a script. The exhaustive one is in :mod:`.exhaustive`.

A schedule is written as it is read: ``F*3 W ?1 R`` lets F step three times, then W, whose step
turns out in way 1, then R.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from random import Random
from typing import Final

from .run import Actor, Footprint

#: Chance that a step turns out in another way than the usual one, where that has a price.
ODD: Final = 0.1
#: Steps among which priorities change, after the length of a usual run.
LENGTH: Final = 60


def written(trace: Sequence[str | int]) -> str:
    """The text form of a schedule."""
    words = []
    for what, run in groupby(trace):
        count = len(list(run))
        if isinstance(what, int):
            words += [f"?{what}"] * count
        else:
            words.append(f"{what}*{count}" if count > 1 else what)
    return " ".join(words)


def parsed(schedule: str) -> Iterator[str | int]:
    """The choices that a text form stands for; raises ``ValueError``."""
    for word in schedule.split():
        if word.startswith("?"):
            yield int(word[1:])
            continue
        name, _, count = word.partition("*")
        yield from (name for _ in range(int(count or 1)))


class First:
    """No choice: whoever is first goes on."""

    def pick(self, enabled: list[Actor], last: Actor | None) -> Actor:
        """See :class:`Chooser`."""
        return enabled[0]

    def value(self, count: int, cost: int) -> int:
        """See :class:`Chooser`."""
        return 0

    def stepped(self, footprint: Footprint) -> None:
        """See :class:`Chooser`."""


class Replay:
    """Follows a schedule, and lets whoever is first go on where it ends."""

    def __init__(self, schedule: str) -> None:
        self._choices = parsed(schedule)

    def pick(self, enabled: list[Actor], last: Actor | None) -> Actor:
        """See :class:`Chooser`. Raises ``ValueError`` when the schedule is of another world."""
        wanted = next(self._choices, enabled[0].name)
        for actor in enabled:
            if actor.name == wanted:
                return actor
        able = ", ".join(actor.name for actor in enabled)
        raise ValueError(f"the schedule wants {wanted!r} to step, but only these can: {able}")

    def value(self, count: int, cost: int) -> int:
        """See :class:`Chooser`."""
        wanted = next(self._choices, 0)
        if not isinstance(wanted, int) or wanted >= count:
            raise ValueError(f"the schedule says {wanted!r} where one of {count} ways is chosen")
        return wanted

    def stepped(self, footprint: Footprint) -> None:
        """See :class:`Chooser`."""


class Uniform:
    """Anybody who can step is as likely as the others. ``seed`` decides everything."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - it has to repeat itself

    def pick(self, enabled: list[Actor], last: Actor | None) -> Actor:
        """See :class:`Chooser`."""
        return enabled[int(self._random.random() * len(enabled))]

    def value(self, count: int, cost: int) -> int:
        """See :class:`Chooser`."""
        if cost and self._random.random() >= ODD:
            return 0
        return int(self._random.random() * count)

    def stepped(self, footprint: Footprint) -> None:
        """See :class:`Chooser`."""


class Priorities(Uniform):
    """Whoever has the highest priority steps, and ``changes`` times in a run it falls to the last.

    After S. Burckhardt, P. Kothari, M. Musuvathi, S. Nagarakatti, "A randomized scheduler with
    probabilistic guarantees of finding bugs", ASPLOS 2010: it finds what needs few switches at
    the right places, which even odds find rarely in long runs.
    """

    def __init__(self, seed: int, changes: int = 3) -> None:
        super().__init__(seed)
        self._priorities: dict[int, float] = {}
        self._changes = {int(self._random.random() * LENGTH) for _ in range(changes)}
        self._step = 0

    def pick(self, enabled: list[Actor], last: Actor | None) -> Actor:
        """See :class:`Chooser`."""
        self._step += 1
        if self._step in self._changes:
            self._priorities[self._highest(enabled).number] = -self._step
        return self._highest(enabled)

    def _highest(self, enabled: list[Actor]) -> Actor:
        known = self._priorities
        for actor in enabled:
            if actor.number not in known:
                known[actor.number] = self._random.random()
        return max(enabled, key=lambda actor: known[actor.number])
