"""The newest version by time, in a bounded number of steps."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, Generic, TypeVar

T = TypeVar("T")

#: Steps of one timeline. When they are more, every other one of the older half is forgotten, which
#: can only make the judgement milder.
MAX_STEPS: Final = 4096


class Timeline(Generic[T]):
    """Steps that only rise: by this moment that version was there, and ``what`` tells of it."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._steps: list[tuple[int, T]] = []

    def add(self, time: int, version: int, what: T) -> None:
        """A version was there by this time. Times may come in any order."""
        place = bisect_left(self._times, time)
        if place and self._steps[place - 1][0] >= version:
            return
        end = place
        while end < len(self._steps) and self._steps[end][0] <= version:
            end += 1
        self._times[place:end] = [time]
        self._steps[place:end] = [(version, what)]
        if len(self._times) > MAX_STEPS:
            half = MAX_STEPS // 2
            self._times[:half] = self._times[:half:2]
            self._steps[:half] = self._steps[:half:2]

    def before(self, time: int) -> tuple[int, T] | None:
        """The newest version that was there before this time."""
        place = bisect_left(self._times, time)
        return self._steps[place - 1] if place else None

    def forget(self, time: int) -> None:
        """Nobody will ask for what was before this time any more, except for the last of it."""
        place = bisect_left(self._times, time) - 1
        if place > 0:
            del self._times[:place]
            del self._steps[:place]

    def __len__(self) -> int:
        return len(self._times)
