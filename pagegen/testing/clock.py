"""Time for tests: it moves when told to."""

from __future__ import annotations


class FakeClock:
    """Wall clock and waiting clock in one, in seconds; it moves when told to."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.time = start

    def __call__(self) -> float:
        """Now."""
        return self.time

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds
