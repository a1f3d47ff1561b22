"""Conditional requests answered from a stored page (RFC 9110 §13, RFC 9111 §4.3.2)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pagegen.law.validation import not_modified, not_modified_fields, strong_etag
from pagegen.messages import StoredResponse

MODIFIED = 784111777.0
AT = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"


class Case(NamedTuple):
    """A request's conditions, the page, and whether it is answered 304."""

    id: str
    rfc: str
    says: str
    given: dict[str, str]
    expect: bool
    etag: str | None = '"a"'
    modified: float | None = MODIFIED
    status: int = 200


def none_match(value: str) -> dict[str, str]:
    """Request fields with this If-None-Match."""
    return {"if-none-match": value}


def since(value: str) -> dict[str, str]:
    """Request fields with this If-Modified-Since."""
    return {"if-modified-since": value}


CASES = [
    Case("none", "§13.1", "an unconditional request", {}, False),
    Case("same", "§13.1.2", "a listed tag", none_match('"a"'), True),
    Case("other", "§13.1.2", "another tag", none_match('"b"'), False),
    Case("list", "§13.1.2", "among others", none_match('"x", W/"y" , "a"'), True),
    Case("weak-theirs", "§8.8.3.2", "compared weakly", none_match('W/"a"'), True),
    Case("weak-ours", "§8.8.3.2", "on both sides", none_match('"a"'), True, etag='W/"a"'),
    Case("case", "§8.8.3", "tags have a case", none_match('"A"'), False),
    Case("star", "§13.1.2", "any page", none_match(" * "), True),
    Case("star-bare", "§13.1.2", "even without a tag", none_match("*"), True, etag=None),
    Case("star-listed", "§13.1.2", "a star in a list is none", none_match('"x", *'), False),
    Case("quoted-star", "§13.1.2", "a quoted star is a tag", none_match('"*"'), False),
    Case("unquoted", "§8.8.3", "an unquoted tag is none", none_match("a"), False),
    Case("empty", "§13.1.2", "an empty list", none_match(""), False),
    Case("untagged", "§13.1.2", "a page without a tag", none_match('"a"'), False, etag=None),
    Case("bad-etag", "§8.8.3", "a page whose tag is none", none_match('"a"'), False, etag="a"),
    Case("comma", "§8.8.3", "a comma inside a tag", none_match('"x,a"'), False),
    Case("comma-same", "§8.8.3", "is part of it", none_match('"y", "x,a"'), True, etag='"x,a"'),
    Case("at", "§13.1.3", "unchanged since", since(AT), True),
    Case("after", "§13.1.3", "unchanged for longer", since(AFTER), True),
    Case("before", "§13.1.3", "changed since", since(BEFORE), False),
    Case("bad-date", "§13.1.3", "an unreadable date is ignored", since("yesterday"), False),
    Case("undated", "§13.1.3", "a page without a date", since(AFTER), False, modified=None),
    Case("both", "§13.2.2", "tags decide", {**none_match('"b"'), **since(AFTER)}, False),
    Case("both-same", "§13.2.2", "in both ways", {**none_match('"a"'), **since(BEFORE)}, True),
    Case(
        "both-untagged",
        "§13.2.2",
        "even when the page has no tag",
        {**none_match('"a"'), **since(AFTER)},
        False,
        etag=None,
    ),
    Case("404", "§13.2.1", "only of a success", none_match('"a"'), False, status=404),
    Case("301", "§13.2.1", "not of a redirect", since(AFTER), False, status=301),
    Case("203", "§13.2.1", "of any success", none_match('"a"'), True, status=203),
    Case("if-match", "9111 §4.3.2", "not a cache's business", {"if-match": '"a"'}, False),
]


def page(case: Case) -> StoredResponse:
    """A stored page with the validators of this case."""
    return StoredResponse(
        b"", (), (), case.status, "", b"", case.etag, case.modified, *(0.0,) * 4, (), (), (), ()
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_condition_is_answered_from_the_page(case: Case) -> None:
    assert not_modified(case.given, page(case)) is case.expect, case.says


def test_a_304_has_the_fields_that_the_rfc_wants_and_no_others() -> None:
    kept = (
        ("Cache-Control", "no-cache"),
        ("Content-Location", "/a"),
        ("ETag", '"a"'),
        ("EXPIRES", "0"),
        ("Vary", "host"),
        ("Last-Modified", AT),
    )
    lost = (("Content-Type", "text/html"), ("Content-Length", "5"), ("X-A", "1"), ("Link", "x"))
    assert not_modified_fields((*lost, *kept)) == kept


def test_a_tag_of_ours_changes_with_body_type_coding_and_language() -> None:
    variants = [
        (b"a", ()),
        (b"b", ()),
        (b"a", (("Content-Type", "text/html"),)),
        (b"a", (("Content-Type", "text/plain"),)),
        (b"a", (("Content-Encoding", "gzip"),)),
        (b"a", (("Content-Language", "de"),)),
    ]
    tags = [strong_etag(body, fields) for body, fields in variants]
    assert len(set(tags)) == len(tags)
    assert strong_etag(b"a", (("X", "1"), ("content-TYPE", "text/html"))) == tags[2]
    assert all(tag[0] == tag[-1] == '"' and not tag.startswith("W/") for tag in tags)


def test_a_body_cannot_imitate_the_tag_of_another_representation() -> None:
    one = strong_etag(b"a", (("content-type", "b"),))
    two = strong_etag(b"a\0content-type\0b", ())
    assert one != two
