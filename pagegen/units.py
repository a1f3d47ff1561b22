"""Durations and sizes as people write them: ``"7d"``, ``"30s"``, ``"64MiB"``.

Both parsers raise ``ValueError`` with a sentence that says what was expected.
"""

from __future__ import annotations

import math
import re

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_DURATION = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d|w)")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*(B|kB|MB|GB|KiB|MiB|GiB)")

# RFC 9111 §1.2.2 asks caches to cope with 2^31 seconds (68 years); nobody means more.
MAX_SECONDS = 2**31


def parse_duration(value: object) -> float:
    """Seconds in a duration: a number of seconds, or text with a unit (ms, s, m, h, d, w)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value) if abs(value) <= MAX_SECONDS else math.inf
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2]]
    else:
        raise ValueError(f"{value!r} is not a duration")
    if not math.isfinite(seconds) or not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"{value!r} is not between 0 and 68 years")
    return seconds


def parse_size(value: object) -> int:
    """Bytes in a size: a whole number of bytes, or text with a unit (B, kB, KiB, MB, MiB, …)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(float(match[1]) * _BYTES[match[2]])
    raise ValueError(f"{value!r} is not a size")


DURATION_REMEDY = 'Write seconds as a number, or text such as "30s", "5m", "2h" or "7d"'
SIZE_REMEDY = 'Write bytes as a number, or text such as "500kB" or "64MiB"'
