"""How long past its lifetime a page may stand in (RFC 9111 §4.2.4, RFC 5861)."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..messages import ResponseHead, StoredResponse
from ..rules import Rule
from .said import Said, said

#: Directives that forbid a shared cache to serve a page past its lifetime (RFC 9111 §5.2.2.2,
#: §5.2.2.8, §5.2.2.10); no rule overrides them. Unqualified ``no-cache`` is the fourth.
NEVER_STALE: Final = ("must-revalidate", "proxy-revalidate", "s-maxage")

#: Seconds for which a page stands in for an application that cannot be reached, where neither rule
#: nor response states how long. §4.2.4 sets no end; Varnish's grace is 10 s, Squid's a week.
MAX_UNREACHABLE: Final = 3600.0

#: Answers that count as errors of the application (RFC 5861 §4).
ERRORS: Final = frozenset((500, 502, 503, 504))


class Windows(NamedTuple):
    """Seconds past its lifetime within which a page may be served, 0 for never.

    revalidate: while one refresh runs behind it.  error: instead of a 500, 502, 503 or 504.
    unreachable: when the application does not answer at all.
    """

    revalidate: float
    error: float
    unreachable: float


NONE: Final = Windows(0.0, 0.0, 0.0)


def windows(head: ResponseHead, rule: Rule) -> Windows:
    """The stale windows of a response: the rule's value comes before the response's own.

    What cannot be read counts as absent (RFC 5861 gives no other meaning to it).
    """
    words = said(head)
    if _never_stale(words):
        return NONE
    revalidate = _stated(rule.stale_while_revalidate, words, "stale-while-revalidate")
    error = _stated(rule.stale_if_error, words, "stale-if-error")
    unreachable = MAX_UNREACHABLE if error is None else error
    return Windows(revalidate or 0.0, error or 0.0, unreachable)


def newly_forbidden(page: StoredResponse, head: ResponseHead, rule: Rule) -> bool:
    """Whether the head that updates a page forbids to serve it stale, and the page still does not.

    That counts although the update may not be stored: it is the application's last word (§4.3.4).
    """
    allowed = (page.stale_while_revalidate, page.stale_if_error, page.stale_if_unreachable)
    return max(allowed) > 0 and windows(head, rule) == NONE


def _never_stale(words: Said) -> bool:
    return words.no_cache or any(name in words for name in NEVER_STALE)


def _stated(of_rule: float | None, words: Said, name: str) -> float | None:
    return words.seconds(name) if of_rule is None else of_rule
