"""How long a response may be served, and how old it came (RFC 9111 §4.2).

The first that speaks decides:

1. Unqualified ``no-cache``: never without asking, so its lifetime is 0. No ttl overrides it.
2. The rule's ttl for this status: it may lengthen or shorten what the application says.
3. ``s-maxage``, then ``max-age`` (§4.2.1), of the field that governs (RFC 9213 §2.2).
4. ``Expires`` minus ``Date`` (§5.3), unless a targeted field governs.
5. Where the rule asks for it, a tenth of the time since ``Last-Modified`` (§4.2.2).
"""

from __future__ import annotations

from math import floor
from typing import Final

from ..fields import age, http_date
from ..messages import ResponseHead
from ..rules import Rule
from .said import Said, said

#: Statuses that may be stored although nothing is said of it (RFC 9110 §15.1; RFC 7725 §3 for 451).
#: 206 is left out: no part is stored.
HEURISTICALLY_CACHEABLE: Final = frozenset(
    (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 451, 501)
)
#: Of the time since ``Last-Modified``: what §4.2.2 calls typical. Squid takes 20 %, browsers 10 %.
FRACTION: Final = 0.1


def lifetime(head: ResponseHead, rule: Rule, now: float) -> float | None:
    """Freshness lifetime in seconds; None when neither rule nor response gives one.

    ``now``: when the response came, in seconds since the epoch.
    """
    words = said(head)
    if words.no_cache:
        return 0.0
    ttl = rule.lifetimes.get(head.status)
    if ttl is not None:
        return ttl
    if is_explicit(head):
        return _explicit(head, words, now)
    return _heuristic(head, rule, words, now)


def is_explicit(head: ResponseHead) -> bool:
    """Whether the response itself gives an expiration time, be it one that cannot be read."""
    words = said(head)
    return "s-maxage" in words or "max-age" in words or (not words.targeted and head.has("expires"))


def _explicit(head: ResponseHead, words: Said, now: float) -> float:
    """What cannot be read makes the response stale (§4.2.1): it never falls back to the next."""
    for name in ("s-maxage", "max-age"):
        if name in words:
            return words.seconds(name) or 0.0
    # Two Expires lines, joined, are no date: of several §4.2.1 lets a cache take none.
    expires = http_date(head.get("expires"))
    if expires is None:
        return 0.0
    date = http_date(head.get("date"))
    return max(0.0, expires - (now if date is None else date))


def _heuristic(head: ResponseHead, rule: Rule, words: Said, now: float) -> float | None:
    """A lifetime guessed from ``Last-Modified``, where rule, status and response allow one."""
    if rule.heuristic_limit is None:
        return None
    if head.status not in HEURISTICALLY_CACHEABLE and not words.bare("public"):
        return None
    modified = http_date(head.get("last-modified"))
    if modified is None:
        return None
    date = http_date(head.get("date"))
    since = (now if date is None else date) - modified
    return max(0.0, min(FRACTION * since, rule.heuristic_limit))


def initial_age(head: ResponseHead, now: float, delay: float = 0.0) -> float:
    """Seconds that the response was old when it came, ``corrected_initial_age`` of §4.2.3.

    ``now``: when it came. ``delay``: seconds since its request left, which ``Age`` cannot count.
    """
    return max(_apparent_age(head, now), _age_value(head) + max(0.0, delay))


def upstream_age(head: ResponseHead, now: float) -> float:
    """The same without the delay: what was spent in caches behind us.

    By this a rule's own ttl is judged, which the handler's own time must not eat up.
    """
    return initial_age(head, now)


def _apparent_age(head: ResponseHead, now: float) -> float:
    """Seconds since ``Date``, below 0 when it is ahead of our clock, 0 without one.

    As it has whole seconds, so has ``now`` here.
    """
    date = http_date(head.get("date"))
    return 0.0 if date is None else floor(now) - date


def _age_value(head: ResponseHead) -> float:
    """``Age`` in seconds, 0 where there is none that can be read (§5.1)."""
    return float(age(head.get("age")) or 0)
