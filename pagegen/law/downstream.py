"""What the cache says to clients where the application is silent.

A page that can be invalidated must not outlive that in a browser: ``Cache-Control: no-cache`` makes
the browser ask each time (RFC 9111 §5.2.2.4), and a strong validator makes asking cheap. A page of
one visitor's must not be another's in a shared cache out there, which knows nothing of identities
and may guess a lifetime (§4.2.2): ``private`` keeps it out.
"""

from __future__ import annotations

from typing import Final

from ..fields import directives
from ..messages import Fields, Request, RequestFields, ResponseHead
from ..rules import Rule
from . import codings, storing, validation
from .said import CACHE_CONTROL, Said
from .validation import Answer

#: What clients are told of a page that can be invalidated.
NO_CACHE: Final[Fields] = (("Cache-Control", "no-cache"),)
#: What they are told besides of a page that is shared by identity.
PRIVATE: Final[Fields] = (("Cache-Control", "private"),)
#: It never matches, whatever a request says (RFC 9110 §12.5.5).
VARIES: Final[Fields] = (("Vary", "*"),)


def passing_fields(head: ResponseHead, rule: Rule, request: Request) -> Fields:
    """All fields of a response that leaves before its body is complete.

    The handler did not see the client's cookies, so where a rule drops ``Set-Cookie`` it is dropped
    here too: it would replace a session that the handler did not know of.
    """
    kept = tuple(
        pair
        for pair in storing.end_to_end(head.fields)
        if rule.set_cookie == "refuse" or pair[0].lower() != "set-cookie"
    )
    if rule.compress and codings.worth_coding(head, None):
        kept = codings.varied(kept)
    ours = added(head, rule)
    varies = NO_CACHE[0] in ours and navigates(request.fields)
    return kept + ours + (VARIES if varies else ())


def navigates(fields: RequestFields) -> bool:
    """Whether a browser opens the response as a document. Where the ``no-cache`` is ours, it gets
    ``VARIES`` too.

    Behind the back and forward buttons it shows what it stored without asking, and ``no-cache``
    means nothing there (RFC 9111 §6). What varies by everything it validates first, so the buttons
    do not show what was invalidated. Other caches are spared: many store no such page at all.
    """
    return fields.get("sec-fetch-mode") == "navigate"


def not_cached() -> Answer:
    """The 504 for a request that wants nothing but what is cached (RFC 9111 §5.2.1.7)."""
    body = b"Not in the cache\n"
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return Answer(504, "Gateway Timeout", (kind, ("Content-Length", str(len(body)))), body)


def added(head: ResponseHead, rule: Rule) -> Fields:
    """What the application did not say of caching, and clients should know."""
    silent = not head.has(CACHE_CONTROL) and not head.has("expires")
    asks = NO_CACHE if rule.namespaces and silent else ()
    return asks + (PRIVATE if rule.identities and not _decided(head) else ())


def _decided(head: ResponseHead) -> bool:
    """Whether the application says itself if shared caches may keep the response."""
    words = Said(directives(head.get(CACHE_CONTROL)), CACHE_CONTROL)
    allowed = words.bare("public") or words.seconds("s-maxage") is not None
    return allowed or words.private or "no-store" in words


def page_fields(head: ResponseHead, body: bytes, rule: Rule) -> Fields:
    """All fields that a stored page is sent with, its validator and length included."""
    fields = storing.stored_fields(head)
    if not head.has("etag"):
        fields += (("ETag", validation.strong_etag(body, fields)),)
    # Said here, so that a hit has nothing to look for. An application that says "none"
    # is believed (RFC 9110 §14.3): its pages have no parts.
    rangeable = head.status == 200 and not head.has("accept-ranges")
    ranges = (("Accept-Ranges", "bytes"),) if rangeable else ()
    # A 204 has no length at all (RFC 9110 §8.6).
    length = () if head.status == 204 else (("Content-Length", str(len(body))),)
    return (*fields, *added(head, rule), *ranges, *length)
