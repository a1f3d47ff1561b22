"""How hot a package is, from the history of its stars.

1. A vote is a new star. Only a new highest number of stars counts, because some snapshots read
   another repository after a project moved, and people also take stars back.
2. Growth by half within a month is a project that moved into another one's repository, not votes.
3. Votes between two snapshots are spread evenly over the days between them.
4. Heat is the number of votes, each counting half as much every four weeks.
5. Before the first snapshot a package got votes at the pace of its first two months; without this
   rule every curve would start with a climb that never happened.
6. The catalogue lives on the day of its last snapshot. A vote made in the demo is of that day and
   weighs as much as `VOTE` stars, so that one click can be seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import log

HALF_LIFE = 28.0
VOTE = 25.0
LONG_GAP = timedelta(days=35)
_STEP = timedelta(days=7)
_OPENING = timedelta(days=60)
_MONTH = timedelta(days=31)
_MOVED = 100

Snapshot = tuple[date, int]


@dataclass(frozen=True, slots=True)
class Point:
    """The heat at the end of one day."""

    day: date
    heat: float


@dataclass(frozen=True, slots=True)
class Span:
    """Days without a snapshot, long enough to be worth telling."""

    first: date
    last: date


def curve(snapshots: Sequence[Snapshot]) -> list[Point]:
    """Heat from the first snapshot to the last one, about one point a week."""
    if len(snapshots) < 2:
        return []
    rising = list(_rising(snapshots))
    heat = _opening(rising)
    points = [Point(rising[0][0], heat)]
    for day, days, votes in _weeks(rising):
        heat = heat * 0.5 ** (days / HALF_LIFE) + votes
        points.append(Point(day, heat))
    return points


def gaps(snapshots: Sequence[Snapshot]) -> list[Span]:
    """The long holes in the history, where the curve is an assumption."""
    return [
        Span(before, after)
        for (before, _), (after, _) in pairwise(snapshots)
        if after - before > LONG_GAP
    ]


def _rising(snapshots: Sequence[Snapshot]) -> Iterator[Snapshot]:
    last_day, highest = snapshots[0]
    moved = 0
    for day, stars in snapshots:
        if stars > highest * 1.5 + _MOVED and day - last_day < _MONTH:
            moved += stars - highest
        highest = max(highest, stars)
        last_day = day
        yield day, highest - moved


def _opening(rising: Sequence[Snapshot]) -> float:
    first_day, first_stars = rising[0]
    until = first_day + _OPENING
    day, stars = next((reading for reading in rising if reading[0] >= until), rising[-1])
    pace = (stars - first_stars) / max((day - first_day).days, 1)
    return pace * HALF_LIFE / log(2)


def _weeks(rising: Sequence[Snapshot]) -> Iterator[tuple[date, int, float]]:
    for (before, fewer), (after, more) in pairwise(rising):
        pace = (more - fewer) / (after - before).days
        day = before
        while day < after:
            step = min(_STEP, after - day)
            day += step
            yield day, step.days, pace * step.days
