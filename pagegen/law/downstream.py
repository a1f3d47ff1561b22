"""What the cache says to clients where the application is silent.

A page that can be invalidated must not outlive that in a browser: ``Cache-Control: no-cache`` makes
the browser ask each time (RFC 9111 §5.2.2.4), and a strong validator makes asking cheap. A page of
one visitor's must not be another's in a shared cache out there, which knows nothing of identities
and may guess a lifetime (§4.2.2): ``private`` keeps it out. What the key holds of a request's
fields selects the page, out there as here: ``Vary`` says so (§4.1, RFC 9110 §12.5.5), also where
the application, which sees nothing else, had no reason to.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ..fields import directives
from ..messages import Fields, Request, RequestFields, ResponseHead
from ..rules import Rule
from . import codings, storing, validation
from .said import CACHE_CONTROL, OWN, Said
from .validation import Answer

#: What clients are told of a page that can be invalidated.
NO_CACHE: Final[Fields] = (("Cache-Control", "no-cache"),)
#: What they are told besides of a page that is shared by identity.
PRIVATE: Final[Fields] = (("Cache-Control", "private"),)
#: It never matches, whatever a request says (RFC 9110 §12.5.5).
VARIES: Final[Fields] = (("Vary", "*"),)
#: How the names of fields end that one kind of caches obeys before ``Cache-Control``.
_AIMED: Final = ("-cache-control", "surrogate-control")


def passing_fields(
    head: ResponseHead, rule: Rule, keyed: Collection[str], request: Request
) -> Fields:
    """All fields of a response that leaves before its body is complete. ``keyed``: names of the
    request fields in the key of its page.

    The handler did not see the client's cookies, so where a rule drops ``Set-Cookie`` it is dropped
    here too: it would replace a session that the handler did not know of.
    """
    kept = tuple(
        pair
        for pair in selected_by(head, rule, keyed, storing.end_to_end(head.fields))
        if rule.set_cookie == "refuse" or pair[0].lower() != "set-cookie"
    )
    if rule.compress and codings.worth_coding(head, None):
        kept = codings.varied(kept)
    ours = added(head, rule)
    varies = NO_CACHE[0] in ours and navigates(request.fields)
    return kept + ours + (VARIES if varies else ())


def refused_fields(head: ResponseHead, rule: Rule, keyed: Collection[str]) -> Fields:
    """All fields of a response that is not stored here, and may be elsewhere: the application's
    own, and what keeps it from other visitors.
    """
    kept = storing.end_to_end(head.fields)
    return selected_by(head, rule, keyed, kept) + _private(head, rule)


def selected_by(head: ResponseHead, rule: Rule, keyed: Collection[str], fields: Fields) -> Fields:
    """Fields of this head whose ``Vary`` names what is ``keyed``. ``Host`` selects for every cache
    (RFC 9111 §2).

    Of what is asked for an identity only where shared caches may keep the response: nobody else
    need know by which field a proxy says who it is.
    """
    names = set(keyed) - {"host"}
    if rule.identities and not _opened(head):
        names = {*rule.keyed_headers, *(("cookie",) if rule.keyed_cookies else ())}
    return codings.varied(fields, [name.title() for name in sorted(names)])


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
    length = ("Content-Length", str(len(body)))
    return Answer(504, "Gateway Timeout", (kind, length, *validation.NO_STORE), body)


def added(head: ResponseHead, rule: Rule) -> Fields:
    """What the application did not say of caching, and clients should know."""
    silent = not head.has(CACHE_CONTROL) and not head.has("expires")
    asks = NO_CACHE if rule.namespaces and silent else ()
    return asks + _private(head, rule)


def _private(head: ResponseHead, rule: Rule) -> Fields:
    return PRIVATE if rule.identities and not _decided(head) else ()


def _decided(head: ResponseHead) -> bool:
    """Whether the application says itself if shared caches may keep the response."""
    words = Said(directives(head.get(CACHE_CONTROL)), CACHE_CONTROL)
    return _public(words) or words.private or "no-store" in words


def _opened(head: ResponseHead) -> bool:
    """Whether the application may let shared caches keep the response; what it tells one kind of
    them in a field of their own (RFC 9213, ``Surrogate-Control``) is their business.
    """
    aimed = any(name.lower().endswith(_AIMED) and name.lower() != OWN for name, _ in head.fields)
    return aimed or _public(Said(directives(head.get(CACHE_CONTROL)), CACHE_CONTROL))


def _public(words: Said) -> bool:
    return words.bare("public") or words.seconds("s-maxage") is not None


def page_fields(own: Fields, head: ResponseHead, body: bytes, rule: Rule) -> Fields:
    """All fields that a stored page is sent with, its validator and length included. ``own``: what
    it keeps of the application's, with all that selects it.
    """
    fields = own
    if not head.has("etag"):
        fields += (("ETag", validation.strong_etag(body, fields)),)
    # Said here, so that a hit has nothing to look for. An application that says "none"
    # is believed (RFC 9110 §14.3): its pages have no parts.
    rangeable = head.status == 200 and not head.has("accept-ranges")
    ranges = (("Accept-Ranges", "bytes"),) if rangeable else ()
    # A 204 has no length at all (RFC 9110 §8.6).
    length = () if head.status == 204 else (("Content-Length", str(len(body))),)
    return (*fields, *added(head, rule), *ranges, *length)
