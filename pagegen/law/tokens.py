"""What a token is made of: chance, which makes it equal to no other, and when it was written.

::

    random    16 bytes: 128 random bits are never drawn twice
    stamp     when it was minted (seconds since the epoch, a big-endian double)
    records   of soft invalidations (:mod:`pagegen.law.softness`), usually none

Tokens are compared whole, and no clock decides whether a page is served. The stamp serves pages
that are made from a replica, which may lag behind the write that a young token stands for: such a
page is not stored. Hold-off flags say the same by the store's own clock, but may be evicted; a
stamp is there as long as its token, but clocks of machines differ. Both are asked.
"""

from __future__ import annotations

from math import isfinite
from struct import Struct
from typing import Final

#: Seconds that clocks of machines may differ by for a stamp to be of use: so much longer a young
#: token holds off. (NTP keeps machines within some 10 ms of each other.)
SKEW: Final = 1.0
#: A moment further ahead than this (seconds) is of a clock that was set back since, and says
#: nothing. (Kerberos lets clocks differ by 5 minutes.)
MAX_AHEAD: Final = 60.0

_STAMP: Final = Struct(">d")
#: Random bytes of a token, and bytes before its records.
RANDOM_BYTES: Final = 16
HEAD_BYTES: Final = RANDOM_BYTES + _STAMP.size


def stamped(random: bytes, now: float) -> bytes:
    """A new token of these random bytes; ``now`` in seconds since the epoch."""
    return random + _STAMP.pack(now)


def young(token: bytes, lag: float, now: float) -> bool:
    """Whether this token may stand for a write that a replica ``lag`` seconds behind has not seen.

    ``now`` in seconds since the epoch. Never raises: what has no stamp is not young.
    """
    if len(token) < HEAD_BYTES:
        return False
    (written,) = _STAMP.unpack_from(token, RANDOM_BYTES)
    return isfinite(written) and now - lag - SKEW < written <= now + MAX_AHEAD
