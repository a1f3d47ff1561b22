"""Whether a stored response may answer a request (RFC 9111 §4, and the design's generations)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from ..messages import StoredResponse


class Fitness(StrEnum):
    """What a stored response is worth now.

    FRESH may be served. EXPIRED is over its ttl. INVALIDATED has lost a namespace. FOREIGN is
    another key's page that landed in this slot, or is unreadable. ABSENT: the slot is empty.
    """

    FRESH = "fresh"
    EXPIRED = "stale"
    INVALIDATED = "invalidated"
    FOREIGN = "foreign"
    ABSENT = "absent"


def fitness(
    page: StoredResponse | None, key: bytes, generation: Sequence[bytes | None], now: float
) -> Fitness:
    """Judge a page by its whole key, by its tokens one by one, and by its lifetime (§4.2)."""
    if page is None:
        return Fitness.ABSENT
    if page.key != key:
        return Fitness.FOREIGN
    if page.generation != generation:
        return Fitness.INVALIDATED
    return Fitness.FRESH if now < page.fresh_until else Fitness.EXPIRED


def within(page: StoredResponse, window: float, now: float) -> bool:
    """Whether an expired page is within this window, in seconds past its lifetime (§4.2.4).

    The page's own windows are made at admission, and are 0 where its response forbids stale use.
    """
    return now < page.fresh_until + window


def changed(
    page: StoredResponse | None, generation: Sequence[bytes | None], fitness: Fitness
) -> tuple[str, ...]:
    """Of an invalidated page the namespaces whose token is not the one it was rendered under."""
    if page is None or fitness is not Fitness.INVALIDATED:
        return ()
    pairs = zip(page.namespaces, page.generation, generation, strict=False)
    return tuple(name for name, then, now in pairs if then != now)


def stands_for_client_error(error: Exception | None) -> bool:
    """Whether an exception stands for a 4xx, as those of Starlette and Werkzeug do.

    Such an application did answer, so no stale page may stand in for it (RFC 5861 §4).
    """
    code = getattr(error, "status_code", getattr(error, "code", None))
    return isinstance(code, int) and 400 <= code < 500
