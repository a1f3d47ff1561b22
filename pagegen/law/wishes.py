"""What a client wants of a cache: the request directives (RFC 9111 §5.2.1) and Pragma (§5.4).

1. All of it is advice (§5.2.1), and honoured unless the rule ignores reloads.
2. What can be read in two ways is read so that no client gets what it did not want: at worst that
   costs a forward, which everybody may ask for anyway.
3. A client may take a stale page that nobody else would get, but never one whose response forbids
   it (§4.2.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Final

from ..fields import MAX_VALUE, delta_seconds, directives
from ..messages import RequestFields, StoredResponse
from .reuse import within

#: Values whose reading is remembered. Clients know a handful of them; whoever sends more loses the
#: 3 µs that a reading takes.
_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class Wishes:
    """The directives of one request (RFC 9111 §5.2.1, RFC 5861 §4); None for what it did not say.

    All numbers are seconds. ``max_stale`` without an argument is infinite. ``no_store`` forbids to
    keep the answer to this request, not to give one that is kept already (§5.2.1.5). ``unread``:
    its value is too long to be read to its end.
    """

    no_cache: bool = False
    no_store: bool = False
    no_transform: bool = False
    only_if_cached: bool = False
    max_age: float | None = None
    min_fresh: float | None = None
    max_stale: float | None = None
    stale_if_error: float | None = None
    unread: bool = False

    @property
    def demands(self) -> bool:
        """Whether a fresh page may not do; then an answer on its way to others may not either."""
        return self.no_cache or self.max_age is not None or self.min_fresh is not None

    @property
    def shares_nothing(self) -> bool:
        """Whether no page may be made for this request that others get, too."""
        return self.no_store or self.only_if_cached

    def accepts_fresh(self, page: StoredResponse, now: float) -> bool:
        """Whether a fresh page will do as it is (§5.2.1.1, §5.2.1.3, §5.2.1.4)."""
        if self.no_cache or not self._young(page, now):
            return False
        return self.min_fresh is None or page.fresh_until - now >= self.min_fresh

    def accepts_stale(self, page: StoredResponse, now: float) -> bool:
        """Whether an expired page will do that only this client allows (§5.2.1.2, §4.2.4)."""
        if self.max_stale is None or page.stale_if_unreachable <= 0:
            return False
        return self.bears_stale(page, now)

    def bears_stale(self, page: StoredResponse, now: float) -> bool:
        """Whether nothing here speaks against an expired page that its response or rule allows.

        ``max-age`` alone asks for a fresh page (§5.2.1.1), as ``min-fresh`` does.
        """
        if self.no_cache or self.min_fresh is not None:
            return False
        if self.max_stale is None:
            return self.max_age is None
        return now <= page.fresh_until + self.max_stale and self._young(page, now)

    def accepts_on_error(self, page: StoredResponse, now: float) -> bool:
        """Whether an expired page may stand in for a failing application (RFC 5861 §4).

        The longer of two windows counts, this request's and the page's; no other word on freshness
        matters then. ``no-cache`` is none: it asks for the application's own answer, or its error.
        """
        if self.no_cache or page.stale_if_unreachable <= 0:
            return False
        return within(page, max(page.stale_if_error, self.stale_if_error or 0.0), now)

    def _young(self, page: StoredResponse, now: float) -> bool:
        """Whether the page is within ``max-age``.

        Its age has fractions here, and what is stored is never of age 0: ``max-age=0`` is how
        clients ask for a validation, also in the second after a page was stored.
        """
        if self.max_age is None:
            return True
        return 0 < self.max_age >= page.current_age(now)


#: What a request wants that says nothing of caching.
NOTHING: Final = Wishes()


def wishes(fields: RequestFields, *, reloads: bool = True) -> Wishes | None:
    """What this request says of caching, None when that is nothing.

    ``reloads``: whether the client may ask for better than a fresh page; without, ``no-cache``,
    ``max-age``, ``min-fresh`` and ``Pragma`` are passed over. ``Pragma: no-cache`` counts only
    where there is no ``Cache-Control`` (§5.4).
    """
    control = fields.get("cache-control")
    if control:
        return _read(control, reloads)
    pragma = fields.get("pragma")
    return _read_pragma(pragma) if pragma and reloads else None


@lru_cache(_REMEMBERED)
def _read(control: str, reloads: bool) -> Wishes | None:
    said = directives(control)
    # Nobody knows what stands behind the end of what is read.
    unread = len(control) > MAX_VALUE
    found = Wishes(
        no_cache=reloads and ("no-cache" in said or unread),
        no_store="no-store" in said,
        no_transform="no-transform" in said,
        only_if_cached="only-if-cached" in said,
        max_age=_seconds(said, "max-age", 0.0) if reloads else None,
        min_fresh=_seconds(said, "min-fresh", inf) if reloads else None,
        max_stale=_max_stale(said),
        stale_if_error=_seconds(said, "stale-if-error", None),
        unread=unread,
    )
    return None if found == NOTHING else found


@lru_cache(_REMEMBERED)
def _read_pragma(pragma: str) -> Wishes | None:
    return Wishes(no_cache=True) if "no-cache" in directives(pragma) else None


def _seconds(said: dict[str, str | None], name: str, malformed: float | None) -> float | None:
    """The argument of a directive; what is none is taken as the strictest there can be."""
    if name not in said:
        return None
    seconds = delta_seconds(said[name])
    return malformed if seconds is None else float(seconds)


def _max_stale(said: dict[str, str | None]) -> float | None:
    """``max-stale`` needs no argument (§5.2.1.2), but one that cannot be read allows nothing."""
    if "max-stale" in said and said["max-stale"] is None:
        return inf
    return _seconds(said, "max-stale", None)


def remembered() -> tuple[int, int]:
    """Readings remembered now, in the whole process, and those that were forgotten for others."""
    memos = _read.cache_info(), _read_pragma.cache_info()
    return sum(m.currsize for m in memos), sum(m.misses - m.currsize for m in memos)
