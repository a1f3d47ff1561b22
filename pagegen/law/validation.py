"""Conditional requests answered from a stored response (RFC 9110 §13, RFC 9111 §4.3.2).

The steps of §13.2.2, in this order; the first that speaks ends it:

1. ``If-Match`` is there and false: 412.
2. ``If-Match`` is not, ``If-Unmodified-Since`` is there and false: 412.
3. ``If-None-Match`` is there and false: 304.
4. ``If-None-Match`` is not, ``If-Modified-Since`` is there and false: 304.
5. ``Range`` and ``If-Range`` are there, and ``If-Range`` is false: no range (see ``law/ranges``).

A cache may leave 1 and 2 to the origin server (§13.1.1). This one stands in its place: the handler
never sees the conditions, so nobody else would answer them.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Protocol

from ..fields import entity_tag, entity_tags, http_date
from ..messages import Fields, RequestFields, ResponseHead, StoredResponse

#: The request fields that make a response something else than the page (``Range`` among them).
CONDITIONS: Final = (
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "range",
)

#: Seconds that a page must be younger than its ``Last-Modified``, or its date is a weak validator
#: (§8.8.2.2): 60 s needs no belief that both come from one clock (RFC 7232 §2.2.2 named them).
SETTLED: Final = 60.0

#: What a 304 carries of the stored response (RFC 9110 §15.4.5), and what cookies and policies
#: outlive the page if it were left out.
_KEPT: Final = frozenset(
    ("cache-control", "content-location", "etag", "expires", "last-modified", "vary")
)
#: Fields of a response that describe its content (RFC 9110 §8.3 to §8.6, §14.4).
_OF_CONTENT: Final = frozenset(
    (
        "content-type", "content-encoding", "content-language", "content-length", "content-range",
        "content-digest", "content-md5",
    )
)  # fmt: skip
#: What an error made here carries of the page: without these, scripts of another origin could not
#: even read its status. Nothing that would let a cache store the error.
_KEPT_BY_ERRORS: Final = ("vary", "access-control-", "cross-origin-", "timing-allow-origin")


#: What is said of answers to one client's wish: some caches keep errors unasked, for everybody
#: (H. V. Nguyen et al., "Your Cache Has Fallen", 2019).
NO_STORE: Final[Fields] = (("Cache-Control", "no-store"),)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response made of a page that is not the page itself: a part of it, or an error."""

    status: int
    reason: str
    fields: Fields
    body: bytes


class Selected(Protocol):
    """What a condition is judged by: a page, or another response (RFC 9110 §13.2)."""

    @property
    def status(self) -> int:
        """Its status."""

    @property
    def etag(self) -> str | None:
        """Its entity tag, as it came."""

    @property
    def last_modified(self) -> float | None:
        """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Validators:
    """Those of a response that is no page; see :class:`Selected`."""

    status: int
    etag: str | None
    last_modified: float | None


def unchanged(fields: RequestFields, head: ResponseHead) -> bool:
    """Whether a 304 is the answer to this request in place of a response that is not stored.

    Its handler did not see the condition, so nobody else has judged it.
    """
    modified = http_date(head.get("last-modified"))
    return precondition(fields, Validators(head.status, head.get("etag"), modified)) == 304


def without_content(fields: Fields) -> Fields:
    """The fields of a response that leaves as a 304: all but those that describe its content."""
    return tuple(pair for pair in fields if pair[0].lower() not in _OF_CONTENT)


def precondition(fields: RequestFields, page: Selected) -> int | None:
    """The status that a GET or HEAD gets instead of this page: 304, 412, or None (§13.2.2).

    Only a page with a status of 2xx has anything to say about it (§13.2.1).
    """
    if not 200 <= page.status <= 299:
        return None
    if (wanted := fields.get("if-match")) is not None:
        if not _matches(wanted, page):
            return 412
    elif (until := fields.get("if-unmodified-since")) is not None and _modified(until, page):
        return 412
    if (known := fields.get("if-none-match")) is not None:
        return 304 if _is_known(known, page) else None
    since = fields.get("if-modified-since")
    return 304 if since is not None and _modified(since, page) is False else None


def _matches(wanted: str, page: Selected) -> bool:
    """``If-Match`` (§13.1.1), by strong comparison: two weak tags are never the same (§8.8.3.2)."""
    if wanted.strip(" \t") == "*":
        return True
    ours = entity_tag(page.etag)
    return ours is not None and not ours.weak and ours in entity_tags(wanted)


def _is_known(known: str, page: Selected) -> bool:
    """Whether ``If-None-Match`` is false (§13.1.2), by weak comparison (§8.8.3.2)."""
    known = known.strip(" \t")
    # An application that forgets the quotes gets its own text back from browsers.
    if known == "*" or (known and known == page.etag):
        return True
    ours = entity_tag(page.etag)
    return ours is not None and any(tag.opaque == ours.opaque for tag in entity_tags(known))


def _modified(since: str, page: Selected) -> bool | None:
    """Whether the page is younger than this date (§13.1.3, §13.1.4); None when nobody can tell."""
    moment = http_date(since)
    if moment is None or page.last_modified is None:
        return None
    return page.last_modified > moment


def may_be_ranged(fields: RequestFields, page: StoredResponse) -> bool:
    """Whether ``If-Range`` lets a part of this page be sent (§13.1.5); without one, it may be.

    Both kinds of validator are compared strongly. What is neither is false: the whole page is right
    for everybody.
    """
    value = fields.get("if-range")
    if value is None:
        return True
    if '"' in value[:3]:
        tag = entity_tag(value)
        return tag is not None and not tag.weak and tag == entity_tag(page.etag)
    return page.last_modified == http_date(value) and _dated_strongly(page)


def _dated_strongly(page: StoredResponse) -> bool:
    """Whether ``Last-Modified`` is a strong validator of this page (§8.8.2.2).

    What counts is when its handler began: what that read may have changed again within the same
    second, unless the second was over by then.
    """
    began = page.stored_at - page.render_seconds - page.initial_age
    settled = page.last_modified is not None and page.last_modified + SETTLED <= began
    # One date stands for all codings of a page, whose bytes differ (§8.8.1).
    return settled and not page.codings


def not_modified_fields(fields: Fields) -> Fields:
    """The fields of the 304 that stands for a response with these fields."""
    return tuple((name, value) for name, value in fields if name.lower() in _KEPT)


def failed(page: StoredResponse) -> Answer:
    """The 412 that a client gets whose condition is false (§15.5.13)."""
    return error(page, 412, "Precondition Failed")


def error(page: StoredResponse, status: int, reason: str, more: Fields = ()) -> Answer:
    """An error in place of this page, with a line for people (§15.5) and ``more`` fields."""
    body = f"{reason}\n".encode("ascii")
    kept = tuple(pair for pair in page.fields if pair[0].lower().startswith(_KEPT_BY_ERRORS))
    own = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))))
    return Answer(status, reason, (*kept, *more, *NO_STORE, *own), body)


def strong_etag(body: bytes, fields: Fields) -> str:
    """A strong validator for a page that has none: it changes when body or coding change (§8.8.1).

    Two spellings of a page (its content type, its coding) are two representations, so those fields
    take part.
    """
    digest = blake2b(b"%d\0" % len(body), digest_size=16)
    digest.update(body)
    for name, value in fields:
        if name.lower() in ("content-type", "content-encoding", "content-language"):
            digest.update(f"\0{name.lower()}\0{value}".encode("utf-8", "replace"))
    return f'"{digest.hexdigest()}"'
