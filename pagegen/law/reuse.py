"""Whether a stored response may answer a request (RFC 9111 §4, and the design's generations)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from ..fields import directives
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


#: Directives that forbid a shared cache to serve a page past its lifetime (RFC 9111 §4.2.4,
#: §5.2.2.2, §5.2.2.8, §5.2.2.10); no rule overrides them.
_NEVER_STALE: Final = frozenset(("must-revalidate", "proxy-revalidate", "s-maxage"))


def may_be_stale(page: StoredResponse, window: float, now: float) -> bool:
    """Whether an expired page may be served within this many seconds past its lifetime."""
    if now >= page.fresh_until + window:
        return False
    said = ", ".join(value for name, value in page.fields if name.lower() == "cache-control")
    return not _NEVER_STALE & directives(said).keys()


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
