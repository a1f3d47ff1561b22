"""Telling what happened: counters for machines, ``Cache-Status`` (RFC 9211) for people."""

from __future__ import annotations

from collections import Counter
from typing import Final

from .forks import fork_safe_lock
from .verdicts import Bypass, Hit, Refused, Stale, Ticket

#: The name that ``Cache-Status`` carries.
CACHE_NAME: Final = "pagegen"


class Counters:
    """Counts of events by name; exact under threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = fork_safe_lock(self)

    def count(self, event: str) -> None:
        """One more of this event."""
        with self._lock:
            self._counts[event] += 1

    def snapshot(self) -> dict[str, int]:
        """All counts so far."""
        with self._lock:
            return dict(self._counts)


def of_hit(hit: Hit | Stale) -> str:
    """``Cache-Status`` of a page from the cache. ``ttl`` below 0 says that it is stale."""
    value = f"{CACHE_NAME}; hit; ttl={hit.ttl}"
    if isinstance(hit, Hit) and hit.collapsed:
        # Not a hit in the RFC's sense: the request did cause a forward, somebody else's.
        return f"{CACHE_NAME}; fwd=miss; collapsed; stored; ttl={hit.ttl}"
    return value


def of_forward(ticket: Ticket, outcome: Refused | None, *, stored: bool) -> str:
    """``Cache-Status`` of a response that the application just made.

    Nothing is said of storing when the head leaves before the body is there.
    """
    value = f"{CACHE_NAME}; fwd={ticket.cause}"
    if stored:
        value += "; stored"
    if outcome is not None:
        value += f"; detail=refused-{outcome.refusal}"
    elif ticket.changed:
        # Namespaces are printable ASCII; only these two need a backslash in a string (RFC 9651).
        names = ", ".join(ticket.changed).replace("\\", "\\\\").replace('"', '\\"')
        value += f'; detail="changed: {names}"'
    return value


def of_bypass(bypass: Bypass) -> str:
    """``Cache-Status`` of a request that the cache did not look at."""
    cause = "method" if bypass.reason == "method" else "bypass"
    return f"{CACHE_NAME}; fwd={cause}; detail={bypass.reason}"
