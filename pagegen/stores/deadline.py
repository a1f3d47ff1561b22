"""One deadline for all that a verb does: what is left of it is the time-out of the next step."""

from __future__ import annotations

from time import monotonic


def left(until: float) -> float:
    """Seconds until then (of the monotonic clock); raises ``TimeoutError`` when there are none."""
    seconds = until - monotonic()
    if seconds <= 0:
        raise TimeoutError("it took too long")
    return seconds
