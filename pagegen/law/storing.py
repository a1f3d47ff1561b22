"""Whether a response may be stored (RFC 9111 §3), and what of it is.

A page needs all of these; the first that fails is its refusal:

1. Its status is one that the rule stores, and no RFC forbids to.
2. The field that governs says neither ``no-store`` (unless ``must-understand`` lifts it) nor
   ``private`` of the whole response.
3. It is not one visitor's: by credentials that the handler saw, or a cookie that it sets.
4. What it varies by is in the key, or can select among variants; and it hands back nothing else
   of a request where browsers act on it.
5. It is whole and well-formed, as far as its head tells.
6. It is of use later: fresh for a while, allowed to be stale, or fit to be validated.
7. It can be forgotten by all the groups that it names (RFC 9875).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ..fields import TOKEN, content_length, entity_tag, http_date, strings, tokens
from ..messages import OF_CONNECTION, Fields, ResponseHead
from ..rules import Rule
from ..steering import PERSONAL
from . import freshness, staleness, vary
from .said import OWN, Said, said


class Refusal(StrEnum):
    """Why a response is not stored."""

    STATUS = "status"
    NO_STORE = "no-store"
    PRIVATE = "private"
    NO_CACHE = "no-cache"
    AUTHORIZATION = "authorization"
    COOKIE = "cookie"
    PERSONAL = "personal"
    SET_COOKIE = "set-cookie"
    VARY = "vary"
    REFLECTS = "reflects"
    NO_LIFETIME = "no-lifetime"
    PARTIAL = "partial"
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    HEAD_TOO_LARGE = "head-too-large"
    CROWDED = "crowded"
    INCOMPLETE = "incomplete"
    LENGTH = "length"
    GROUPS = "groups"
    EXTENSION = "extension"
    FAILED = "failed"
    OWED = "owed"
    SEQUENCE = "sequence"
    STORE = "store"


#: Statuses whose definition forbids caches to store them (RFC 6585 §3 to §6), and those that ask
#: for credentials: stored, they would answer whoever brings them.
NEVER_STORED: Final = frozenset((401, 407, 428, 429, 431, 511))
#: Statuses whose requirements on caches this one meets (§5.2.2.3): those that RFC 9110 §15 defines,
#: and 451 (RFC 7725). Parts and 304 are never pages.
UNDERSTOOD: Final = frozenset(
    (*range(200, 206), *range(300, 304), 305, 307, 308, *range(400, 418), 421, 422, 426, 451)
) | frozenset(range(500, 506))

#: Connection-specific fields, never stored (RFC 9111 §3.1, RFC 9110 §7.6.1).
HOP_BY_HOP: Final = OF_CONNECTION | {
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
}
#: Fields of a response that end at this cache.
ENDING_HERE: Final = HOP_BY_HOP | {OWN}
#: Bytes of a head, each field counted with 32 more as RFC 9113 §6.5.2 does. (Squid refuses replies
#: over 64 kB of header, Varnish over 32 kB.)
MAX_HEAD: Final = 65_536
_FIELD_OVERHEAD: Final = 32
#: Text that no recipient reads as two lines or cuts short (RFC 9110 §5.5).
_TEXT: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
#: What browsers take for a cookie, or did once (RFC 2965 §3.2.2).
_COOKIES: Final = frozenset(("set-cookie", "set-cookie2"))
#: Fields of one moment or one client: made anew for each response, kept elsewhere, or nobody's.
#: ``Authentication-Info`` is about the client's credentials (RFC 9110 §11.6.3).
_OURS: Final = frozenset(("age", "authentication-info", "content-length", "date", *_COOKIES))
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def refusal(
    head: ResponseHead,
    rule: Rule,
    keyed: Collection[str],
    namespaces: Collection[str],
    now: float,
    credentials: Collection[str] = frozenset(),
    seen: Mapping[str, str] = _NOTHING,
) -> Refusal | None:
    """Why this head forbids storing, None when it does not (§3).

    ``keyed``: names of the request fields in the key.  ``namespaces``: those of the page; a
    response that names further groups (RFC 9875) could not be forgotten by them.  ``now``: when the
    head came, in seconds since the epoch.  ``credentials``: the request's fields that tell of a
    person and that the key does not hold, where the handler saw them.  ``seen``: all the request's
    fields that it saw, names in lower case.
    """
    words = said(head)
    return (
        _by_status(head.status, rule)
        or _by_form(head)
        or _by_directive(head.status, words)
        or _by_visitor(head, rule, words, credentials)
        or _by_variance(head, rule, keyed, seen)
        or _by_wholeness(head)
        or _by_lifetime(head, rule, words, now)
        or _by_groups(head, rule, namespaces)
    )


def _by_status(status: int, rule: Rule) -> Refusal | None:
    return None if rule.stores(status) and status not in NEVER_STORED else Refusal.STATUS


def _by_form(head: ResponseHead) -> Refusal | None:
    """What a server would read or write as something else than it is here is planted in no store:
    a name with a blank behind it, a line break in a value, text that has no bytes.
    """
    size = len(head.reason)
    for name, value in head.fields:
        size += len(name) + len(value) + _FIELD_OVERHEAD
        if not TOKEN.fullmatch(name) or not _TEXT.fullmatch(value):
            return Refusal.MALFORMED
    if not _TEXT.fullmatch(head.reason):
        return Refusal.MALFORMED
    return Refusal.HEAD_TOO_LARGE if size > MAX_HEAD else None


def _by_directive(status: int, words: Said) -> Refusal | None:
    if words.private:
        return Refusal.PRIVATE
    if words.bare("must-understand"):
        return None if status in UNDERSTOOD else Refusal.STATUS
    return Refusal.NO_STORE if "no-store" in words else None


def _by_visitor(
    head: ResponseHead, rule: Rule, words: Said, credentials: Collection[str]
) -> Refusal | None:
    """``Authorization`` as §3.5 says. A handler that saw cookies, or whom a proxy signed in, may
    have used that: no RFC minds, but its page must not reach another visitor unless it says that it
    is everybody's.
    """
    shared = words.bare("public") or words.seconds("s-maxage") is not None
    if "authorization" in credentials and not shared and not words.bare("must-revalidate"):
        return Refusal.AUTHORIZATION
    if "cookie" in credentials and not shared and "cookie" not in tokens(head.get("vary")):
        return Refusal.COOKIE
    if not shared and not PERSONAL.intersection(credentials).issubset(tokens(head.get("vary"))):
        return Refusal.PERSONAL
    # What empties a visitor's browser is about that visitor, whatever becomes of cookies.
    refused = rule.set_cookie == "refuse" and any(map(head.has, _COOKIES))
    return Refusal.SET_COOKIE if refused or head.has("clear-site-data") else None


def _by_variance(
    head: ResponseHead, rule: Rule, keyed: Collection[str], seen: Mapping[str, str]
) -> Refusal | None:
    covered = vary.selectable(head, keyed) if rule.open else vary.uncovered(head, keyed) is None
    if not covered:
        return Refusal.VARY
    # Of its own: what somebody had handed back says nothing of the page that is stored.
    return Refusal.REFLECTS if vary.reflects(head, keyed, seen) else None


def _by_wholeness(head: ResponseHead) -> Refusal | None:
    if head.has("content-range"):
        return Refusal.PARTIAL
    if head.has("transfer-encoding") and (
        tokens(head.get("transfer-encoding")) != ("chunked",) or head.has("content-length")
    ):
        # Bytes in a coding that is taken off with its field, or of two lengths (RFC 9112 §6.3).
        return Refusal.MALFORMED
    return Refusal.MALFORMED if content_length(head.lines("content-length")) == -1 else None


def _by_lifetime(head: ResponseHead, rule: Rule, words: Said, now: float) -> Refusal | None:
    """A page that is not fresh is of use where it can be validated, or may be served stale.

    What is of use fulfils the last condition of §3: where there is a lifetime, the response or its
    rule gives one, or it may be guessed; and what can be validated is a 200.
    """
    lifetime = freshness.lifetime(head, rule, now)
    if lifetime is not None:
        beyond = staleness.windows(head, rule)
        if lifetime + max(beyond.revalidate, beyond.error) > freshness.upstream_age(head, now):
            return None
    if has_validator(head):
        return None
    return Refusal.NO_CACHE if words.no_cache else Refusal.NO_LIFETIME


def _by_groups(head: ResponseHead, rule: Rule, namespaces: Collection[str]) -> Refusal | None:
    known = rule.groups or set(strings(head.get("cache-groups"))) <= set(namespaces)
    return None if known else Refusal.GROUPS


def has_validator(head: ResponseHead) -> bool:
    """Whether the application can be asked if this response still holds (§4.3.1).

    It can where its own ``ETag`` or ``Last-Modified`` is stored and can be read. A 304 stands for a
    200 alone (RFC 9110 §15.4.5).
    """
    if head.status != 200:
        return False
    withheld = said(head).withheld
    tagged = "etag" not in withheld and entity_tag(head.get("etag")) is not None
    return tagged or (
        "last-modified" not in withheld and http_date(head.get("last-modified")) is not None
    )


def body_refusal(head: ResponseHead, length: int, rule: Rule) -> Refusal | None:
    """Why a whole body of this many bytes forbids storing (§3.3), None when it does not."""
    declared = content_length(head.lines("content-length"))
    if declared is not None and declared != length:
        return Refusal.LENGTH
    if length > rule.body_limit:
        return Refusal.TOO_LARGE
    return None


def declared_length(head: ResponseHead) -> int | None:
    """The body length that the head promises, None when it promises none that can be read."""
    length = content_length(head.lines("content-length"))
    return None if length == -1 else length


def end_to_end(fields: Fields) -> Fields:
    """Those of an application's fields that are for its client (RFC 9110 §7.6.1), as they came.

    Fields of this connection stay here, and those that ``Connection`` names. So does what is said
    to this cache alone.
    """
    if ENDING_HERE.isdisjoint([name.lower() for name, _ in fields]):
        return fields
    nominations = (value for name, value in fields if name.lower() == "connection")
    unwanted = ENDING_HERE.union(*map(tokens, nominations))
    return tuple(pair for pair in fields if pair[0].lower() not in unwanted)


def stored_fields(head: ResponseHead) -> Fields:
    """The fields that a stored response keeps (§3.1), in order and as the application wrote them.

    ``Set-Cookie`` is never among them, whatever the rule makes of such responses. Nor are the
    fields that qualified ``no-cache`` and ``private`` name.
    """
    dropped = _OURS | said(head).withheld
    return tuple(pair for pair in end_to_end(head.fields) if pair[0].lower() not in dropped)


def withheld_fields(head: ResponseHead) -> Fields:
    """Fields that belong to the one client whose request was forwarded, and to no stored page.

    They are those that qualified ``no-cache`` and ``private`` name (§5.2.2.4, §5.2.2.7).
    """
    named = said(head).withheld - _OURS
    return tuple(pair for pair in end_to_end(head.fields) if pair[0].lower() in named)


def cookies_set(head: ResponseHead) -> Fields:
    """The ``Set-Cookie`` lines of a response: they are its one client's."""
    return tuple(pair for pair in head.fields if pair[0].lower() == "set-cookie")
