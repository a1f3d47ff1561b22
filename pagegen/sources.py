"""Where time and chance come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import random
from secrets import token_bytes
from time import monotonic, time
from typing import Final

#: Bytes of a token: 128 random bits are never drawn twice.
TOKEN_BYTES: Final = 16


def mint() -> bytes:
    """A new token: random, so it never comes back; no counter, no clock."""
    return token_bytes(TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class Sources:
    """Wall clock and waiting clock (both seconds), new tokens, and chance: a number in [0, 1).
    Tests bring their own.
    """

    now: Callable[[], float] = time
    monotonic: Callable[[], float] = monotonic
    mint: Callable[[], bytes] = mint
    chance: Callable[[], float] = random
