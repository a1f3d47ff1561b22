"""Choosing one of a rule's values for a header by the client's preferences (RFC 9110 §12.5).

A browser's ``Accept-Language: de-AT,de;q=0.9,en;q=0.5`` is one of thousands of spellings. A rule
that keys this header by ``values = ["en", "de"]`` wants two pages, not thousands.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_QUALITY: Final = re.compile(r"\s*[qQ]\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*")
# More members than any browser sends; what follows is ignored, so the work is bounded.
MAX_MEMBERS: Final = 64


def _members(value: str) -> list[tuple[str, float]]:
    found = []
    for raw in value.split(",")[:MAX_MEMBERS]:
        name, *parameters = raw.split(";")
        quality = 1.0
        for parameter in parameters:
            if match := _QUALITY.fullmatch(parameter):
                quality = float(match[1])
        if name := name.strip().lower():
            found.append((name, quality))
    return found


def _same(wanted: str, offer: str) -> int:
    return 2 if wanted == offer else 1 if wanted == "*" else 0


def _language(wanted: str, offer: str) -> int:
    """RFC 4647 §3.4 look-up in both directions: ``de-AT`` finds ``de``, ``de`` finds ``de-AT``."""
    if wanted == offer:
        return 4
    if wanted.startswith(offer + "-"):
        return 3
    if offer.startswith(wanted + "-"):
        return 2
    return 1 if wanted == "*" else 0


def _media(wanted: str, offer: str) -> int:
    if wanted == offer:
        return 3
    kind, _, subtype = wanted.partition("/")
    if subtype == "*" and offer.startswith(kind + "/"):
        return 2
    return 1 if wanted == "*/*" else 0


_MATCHERS = {
    "accept": _media,
    "accept-language": _language,
    "accept-encoding": _same,
    "accept-charset": _same,
}

NEGOTIATED: Final = frozenset(_MATCHERS)


#: Answers remembered. Browsers of one language and version all send the same value.
REMEMBERED: Final = 1024


@lru_cache(maxsize=REMEMBERED)
def preferred(header: str, value: str, offers: tuple[str, ...]) -> str | None:
    """The offer that the client likes best, None when it accepts none of them.

    Quality counts first, then the order of the offers: the server's own preference.
    """
    match = _MATCHERS[header]
    members = _members(value)
    best, best_quality = None, 0.0
    for offer in offers:
        closeness, quality = max(
            ((match(name, offer.lower()), quality) for name, quality in members),
            default=(0, 0.0),
        )
        if closeness and quality > best_quality:
            best, best_quality = offer, quality
    return best


def remembered() -> tuple[int, int]:
    """Answers remembered now, in the whole process, and those that were forgotten for others."""
    memo = preferred.cache_info()
    return memo.currsize, memo.misses - memo.currsize
