"""How long a response may be served (RFC 9111 §4.2)."""

from __future__ import annotations

from ..fields import delta_seconds, directives, http_date
from ..messages import ResponseHead
from ..rules import Rule


def lifetime(head: ResponseHead, rule: Rule, now: float) -> float | None:
    """Freshness lifetime in seconds (§4.2.1); None when neither rule nor response gives one.

    The rule's ttl for this status comes first: it may lengthen or shorten what the application
    says. Then ``s-maxage``, ``max-age`` and ``Expires``, in the RFC's order for a shared cache.
    """
    ttl = rule.lifetimes.get(head.status)
    if ttl is not None:
        return ttl
    said = directives(head.get("cache-control"))
    for name in ("s-maxage", "max-age"):
        if name in said:
            # A directive that cannot be read makes the response stale, as §4.2.1 encourages.
            return float(delta_seconds(said[name]) or 0)
    if head.has("expires"):
        return _expires(head, now)
    return None


def _expires(head: ResponseHead, now: float) -> float:
    """``Expires`` minus ``Date``, or now (§5.3); a malformed date, such as 0, is in the past."""
    expires = http_date(head.get("expires"))
    if expires is None:
        return 0.0
    date = http_date(head.get("date"))
    return max(0.0, expires - (now if date is None else date))


def initial_age(head: ResponseHead) -> float:
    """Seconds the response was already old when it came, by its ``Age`` field (§4.2.3).

    Of a list the first member counts (§5.1); what cannot be read is no age.
    """
    first = (head.get("age") or "").partition(",")[0]
    return float(delta_seconds(first) or 0)
