"""Where time and chance come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import random
from secrets import token_bytes
from time import monotonic, time

from .law.tokens import RANDOM_BYTES


def mint() -> bytes:
    """Chance for a new token or a lease's owner: never drawn twice; no counter, no clock."""
    return token_bytes(RANDOM_BYTES)


@dataclass(frozen=True, slots=True)
class Sources:
    """Wall clock and waiting clock (both seconds), what makes tokens new, and chance: a number in
    [0, 1). Tests bring their own.
    """

    now: Callable[[], float] = time
    monotonic: Callable[[], float] = monotonic
    mint: Callable[[], bytes] = mint
    chance: Callable[[], float] = random
