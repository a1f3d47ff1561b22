"""Whether a response may be stored (RFC 9111 §3), and what of it is."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from ..fields import content_length, directives, strings, tokens
from ..messages import Fields, ResponseHead
from ..rules import Rule
from . import freshness, vary


class Refusal(StrEnum):
    """Why a response is not stored."""

    STATUS = "status"
    NO_STORE = "no-store"
    PRIVATE = "private"
    NO_CACHE = "no-cache"
    SET_COOKIE = "set-cookie"
    VARY = "vary"
    NO_LIFETIME = "no-lifetime"
    PARTIAL = "partial"
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    INCOMPLETE = "incomplete"
    LENGTH = "length"
    GROUPS = "groups"
    EXTENSION = "extension"
    FAILED = "failed"
    OWED = "owed"


#: Connection-specific fields, never stored (RFC 9111 §3.1, RFC 9110 §7.6.1).
HOP_BY_HOP: Final = frozenset(
    (
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization",
    )
)  # fmt: skip
#: Fields that say something of one moment or one client, and are made anew for each response.
_OURS: Final = frozenset(("age", "cache-status", "content-length", "date"))


def refusal(
    head: ResponseHead,
    rule: Rule,
    keyed: Collection[str],
    namespaces: Collection[str],
    now: float,
) -> Refusal | None:
    """Why this head forbids storing, None when it does not (§3).

    ``keyed``: names of the request fields in the key.  ``namespaces``: those of the page; a
    response that names further groups (RFC 9875) could not be forgotten by them.
    """
    if head.status not in rule.lifetimes:
        return Refusal.STATUS
    said = directives(head.get("cache-control"))
    for name in (Refusal.NO_STORE, Refusal.PRIVATE, Refusal.NO_CACHE):
        if name.value in said:
            return name
    if rule.set_cookie == "refuse" and head.has("set-cookie"):
        return Refusal.SET_COOKIE
    if vary.uncovered(head, keyed) is not None:
        return Refusal.VARY
    if head.has("content-range"):
        return Refusal.PARTIAL
    if content_length(head.lines("content-length")) == -1:
        return Refusal.MALFORMED
    lifetime = freshness.lifetime(head, rule, now)
    if lifetime is None or lifetime <= freshness.initial_age(head):
        return Refusal.NO_LIFETIME
    if not set(strings(head.get("cache-groups"))) <= set(namespaces):
        return Refusal.GROUPS
    return None


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


def stored_fields(head: ResponseHead) -> Fields:
    """The fields that a stored response keeps (§3.1), in order and as the application wrote them.

    ``Set-Cookie`` is never among them: a rule that does not refuse such responses drops it.
    """
    named = set(tokens(head.get("connection")))
    return tuple(
        (name, value)
        for name, value in head.fields
        if (lower := name.lower()) not in HOP_BY_HOP
        and lower not in _OURS
        and lower not in named
        and lower != "set-cookie"
    )
