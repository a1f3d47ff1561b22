"""Conditional requests answered from a stored page (RFC 9110 §13, RFC 9111 §4.3.2)."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from werkzeug.wrappers import Response

from pagegen.law.validation import (
    failed,
    may_be_ranged,
    not_modified_fields,
    precondition,
    strong_etag,
    unchanged,
    without_content,
)
from pagegen.messages import Fields, ResponseHead, StoredResponse

MODIFIED = 784111777.0
AT = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
ASCTIME = "Sun Nov  6 08:49:37 1994"
RFC850 = "Sunday, 06-Nov-94 08:49:37 GMT"


class Case(NamedTuple):
    """A request's conditions, the page, and the status it gets instead of the page."""

    id: str
    rfc: str
    says: str
    given: dict[str, str]
    expect: int | None
    etag: str | None = '"a"'
    modified: float | None = MODIFIED
    status: int = 200


def none_match(value: str) -> dict[str, str]:
    """Request fields with this If-None-Match."""
    return {"if-none-match": value}


def since(value: str) -> dict[str, str]:
    """Request fields with this If-Modified-Since."""
    return {"if-modified-since": value}


def match(value: str) -> dict[str, str]:
    """Request fields with this If-Match."""
    return {"if-match": value}


def until(value: str) -> dict[str, str]:
    """Request fields with this If-Unmodified-Since."""
    return {"if-unmodified-since": value}


CASES = [
    Case("none", "§13.1", "an unconditional request", {}, None),
    Case("same", "§13.1.2", "a listed tag", none_match('"a"'), 304),
    Case("other", "§13.1.2", "another tag", none_match('"b"'), None),
    Case("list", "§13.1.2", "among others", none_match('"x", W/"y" , "a"'), 304),
    Case("weak-theirs", "§8.8.3.2", "compared weakly", none_match('W/"a"'), 304),
    Case("weak-ours", "§8.8.3.2", "on both sides", none_match('"a"'), 304, etag='W/"a"'),
    Case("case", "§8.8.3", "tags have a case", none_match('"A"'), None),
    Case("star", "§13.1.2", "any page", none_match(" * "), 304),
    Case("star-bare", "§13.1.2", "even without a tag", none_match("*"), 304, etag=None),
    Case("star-listed", "§13.1.2", "a star in a list is none", none_match('"x", *'), None),
    Case("quoted-star", "§13.1.2", "a quoted star is a tag", none_match('"*"'), None),
    Case("unquoted", "§8.8.3", "an unquoted tag is none", none_match("a"), None),
    Case("empty", "§13.1.2", "an empty list", none_match(""), None),
    Case("empty-both", "§13.1.2", "is no empty tag", none_match(""), None, etag=""),
    Case("untagged", "§13.1.2", "a page without a tag", none_match('"a"'), None, etag=None),
    Case("bad-etag", "§8.8.3", "a page whose tag is none", none_match('"a"'), None, etag="a"),
    Case("bad-both", "lenient", "misspelled alike", none_match(" a "), 304, etag="a"),
    Case("comma", "§8.8.3", "a comma inside a tag", none_match('"x,a"'), None),
    Case("comma-same", "§8.8.3", "is part of it", none_match('"y", "x,a"'), 304, etag='"x,a"'),
    Case("at", "§13.1.3", "unchanged since", since(AT), 304),
    Case("after", "§13.1.3", "unchanged for longer", since(AFTER), 304),
    Case("before", "§13.1.3", "changed since", since(BEFORE), None),
    Case("bad-date", "§13.1.3", "an unreadable date is ignored", since("yesterday"), None),
    Case("two-dates", "§13.1.3", "two dates are none", since(f"{AFTER}, {AFTER}"), None),
    Case("two-old", "§13.1.3", "in each form", since(", ".join([ASCTIME] * 2)), None),
    Case("long-day", "§5.6.7", "a comma after a long weekday", since(RFC850), 304),
    Case("undated", "§13.1.3", "a page without a date", since(AFTER), None, modified=None),
    Case("both", "§13.1.3", "tags decide", {**none_match('"b"'), **since(AFTER)}, None),
    Case("both-same", "§13.2.2", "in both ways", {**none_match('"a"'), **since(BEFORE)}, 304),
    Case(
        "both-untagged",
        "§13.2.2",
        "even when the page has no tag",
        {**none_match('"a"'), **since(AFTER)},
        None,
        etag=None,
    ),
    Case("404", "§13.2.1", "only of a success", none_match('"a"'), None, status=404),
    Case("301", "§13.2.1", "not of a redirect", since(AFTER), None, status=301),
    Case("203", "§13.2.1", "of any success", none_match('"a"'), 304, status=203),
    Case("200", "§13.2.1", "from the first of them", none_match('"a"'), 304, status=200),
    Case("299", "§13.2.1", "to the last", none_match('"a"'), 304, status=299),
    Case("300", "§13.2.1", "and no further", none_match('"a"'), None, status=300),
    Case("star-like", "§13.1.2", "a star with a letter is none", none_match("X*"), None),
    Case("star-space", "§5.6.3", "nor one behind another space", none_match("\xa0*"), None),
    Case("match-like", "§13.1.1", "nor does it match", match("X*"), 412),
    Case("match-space", "§5.6.3", "nor here", match("\xa0*"), 412),
    Case("match", "§13.1.1", "the page that is wanted", match('"a"'), None),
    Case("match-list", "§13.1.1", "among others", match('W/"a", "b","a"'), None),
    Case("match-other", "§13.1.1", "another one", match('"b"'), 412),
    Case("match-star", "§13.1.1", "any page", match("\t*"), None, etag=None),
    Case("match-weak-theirs", "§13.1.1", "compared strongly", match('W/"a"'), 412),
    Case("match-weak-ours", "§13.1.1", "on both sides", match('"a"'), 412, etag='W/"a"'),
    Case("match-weak-both", "§8.8.3.2", "equal is not strong", match('W/"a"'), 412, etag='W/"a"'),
    Case("match-unquoted", "§13.1.1", "what is no tag is no match", match("a"), 412),
    Case("match-bad-both", "§13.1.1", "nor if misspelled alike", match("a"), 412, etag="a"),
    Case("match-untagged", "§13.1.1", "nothing to compare", match('"a"'), 412, etag=None),
    Case("match-empty", "§13.1.1", "an empty list", match(""), 412),
    Case("match-404", "§13.2.1", "only of a success", match('"b"'), None, status=404),
    Case("until-at", "§13.1.4", "unchanged since", until(AT), None),
    Case("until-before", "§13.1.4", "changed since", until(BEFORE), 412),
    Case("until-bad", "§13.1.4", "an unreadable date is ignored", until("0"), None),
    Case("until-two", "§13.1.4", "two dates are none", until(f"{BEFORE}, {BEFORE}"), None),
    Case("until-undated", "§13.1.4", "a page without a date", until(BEFORE), None, modified=None),
    Case("1-over-2", "§13.2.2", "If-Match first", {**match('"a"'), **until(BEFORE)}, None),
    Case("1-over-3", "§13.2.2", "412 over 304", {**match('"b"'), **none_match('"b"')}, 412),
    Case("1-then-3", "§13.2.2", "then 304", {**match('"a"'), **none_match('"a"')}, 304),
    Case("1-then-4", "§13.2.2", "or by date", {**match('"a"'), **since(AT)}, 304),
    Case("2-over-3", "§13.2.2", "date over tag", {**until(BEFORE), **none_match('"a"')}, 412),
    Case("2-then-4", "§13.2.2", "both dates", {**until(AT), **since(AT)}, 304),
]


def page(case: Case) -> StoredResponse:
    """A stored page with the validators of this case."""
    return StoredResponse(
        b"", (), (), case.status, "", b"", case.etag, case.modified, *(0.0,) * 4, (), (), (), ()
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_condition_is_answered_from_the_page(case: Case) -> None:
    assert precondition(case.given, page(case)) == case.expect, case.says


TAG = st.sampled_from(['"a"', 'W/"a"', '"b"', 'W/"b"', '""', '"a,b"'])
TAGS = st.lists(TAG, min_size=1, max_size=3).map(", ".join) | st.just("*")
DATE = st.sampled_from([BEFORE, AT, AFTER, "yesterday", ASCTIME])


@settings(max_examples=300)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "if-match": TAGS,
            "if-none-match": TAGS,
            "if-modified-since": DATE,
            "if-unmodified-since": DATE,
        },
    ),
    st.sampled_from(['"a"', 'W/"a"', '""', '"a,b"']),
)
def test_conditions_are_answered_as_werkzeug_answers_them(given: dict[str, str], etag: str) -> None:
    # Not compared, as werkzeug 3.1 departs: it has no If-Unmodified-Since, takes "*" in If-Match as
    # false (§13.1.1), forgets that the page's own tag is weak there (§8.8.3.2), reads an empty tag
    # as none, and lets a true If-Match hide If-None-Match and If-Modified-Since (§13.2.2).
    fields = {name: v for name, v in given.items() if name != "if-unmodified-since"}
    assume('""' not in " ".join((*fields.values(), etag)))
    if "if-match" in fields:
        assume(fields["if-match"] != "*" and not etag.startswith("W/") and len(fields) == 1)
    environ = {"REQUEST_METHOD": "GET"}
    environ |= {f"HTTP_{n.upper().replace('-', '_')}": v for n, v in fields.items()}
    theirs = Response(b"x", headers={"ETag": etag, "Last-Modified": AT}).make_conditional(environ)
    ours = precondition(fields, page(Case("", "", "", {}, None, etag=etag)))
    assert (ours or 200) == theirs.status_code


class Unstored(NamedTuple):
    """A request's conditions, the fields of a response that is not stored, and if a 304 will do."""

    id: str
    rfc: str
    says: str
    given: dict[str, str]
    fields: Fields
    expect: bool
    status: int = 200


TAGGED, DATED = ("ETag", '"a"'), ("Last-Modified", AT)
UNSTORED = [
    Unstored("tag", "§13.1.2", "by its tag", none_match('"a"'), (TAGGED,), True),
    Unstored("tag-other", "§13.1.2", "or not", none_match('"b"'), (TAGGED,), False),
    Unstored("date", "§13.1.3", "by its date", since(AT), (DATED,), True),
    Unstored("date-old", "§13.1.3", "or not", since(BEFORE), (DATED,), False),
    Unstored("none", "§13.1", "not without a validator", none_match('"a"'), (), False),
    Unstored("asked", "§13.1", "nor without a condition", {}, (TAGGED, DATED), False),
    Unstored("412", "§13.1.1", "a 412 is no 304", match('"b"'), (TAGGED,), False),
    Unstored("404", "§13.2.1", "of a success alone", none_match('"a"'), (TAGGED,), False, 404),
]


@pytest.mark.parametrize("case", UNSTORED, ids=lambda case: case.id)
def test_a_304_answers_in_place_of_a_response_that_is_not_stored(case: Unstored) -> None:
    assert unchanged(case.given, ResponseHead(case.status, case.fields)) is case.expect, case.says


def test_such_a_304_has_nothing_that_describes_the_content_it_lacks() -> None:
    gone = ("Type", "Encoding", "Language", "Length", "Range", "Digest", "MD5")
    lost = tuple((f"Content-{name}", "x") for name in gone)
    kept = (TAGGED, ("Content-Location", "/a"), ("Content-Security-Policy", "x"), ("X-A", "1"))
    assert without_content((*lost, *kept, ("CONTENT-type", "y"))) == kept


class IfRange(NamedTuple):
    """An If-Range, the page's validators, when its handler began, and whether parts may be sent."""

    id: str
    rfc: str
    says: str
    given: str | None
    expect: bool
    etag: str | None = '"a"'
    modified: float | None = MODIFIED
    began: float = MODIFIED + 60


IF_RANGE = [
    IfRange("none", "§13.1.5", "an unconditional range", None, True),
    IfRange("same", "§13.1.5", "the page that the client has", '"a"', True),
    IfRange("other", "§13.1.5", "another one", '"b"', False),
    IfRange("weak-theirs", "§13.1.5", "never by a weak tag", 'W/"a"', False),
    IfRange("weak-ours", "§8.8.3.2", "nor against one", '"a"', False, etag='W/"a"'),
    IfRange("weak-both", "§8.8.3.2", "even an equal one", 'W/"a"', False, etag='W/"a"'),
    IfRange("unquoted", "§13.1.5", "neither tag nor date", "a", False),
    IfRange("unquoted-both", "§13.1.5", "though misspelled alike", "a", False, etag="a"),
    IfRange("list", "§13.1.5", "one tag, no list", '"a", "b"', False),
    IfRange("star", "§13.1.5", "no star", "*", False, etag=None, modified=None),
    IfRange("empty", "§13.1.5", "an empty value", "", False, etag=None, modified=None),
    IfRange("untagged", "§13.1.5", "a page without a tag", '"a"', False, etag=None),
    IfRange("date", "§13.1.5", "its exact date", AT, True),
    IfRange("date-form", "§5.6.7", "in any form", ASCTIME, True),
    IfRange("earlier", "§13.1.5", "not an earlier one", BEFORE, False),
    IfRange("later", "§13.1.5", "nor a later one", AFTER, False),
    IfRange("two-dates", "§13.1.5", "one date, no list", f"{AT}, {AT}", False),
    IfRange("undated", "§13.1.5", "a page without a date", AT, False, modified=None),
    IfRange("young", "§8.8.2.2", "it may have changed twice", AT, False, began=MODIFIED + 59),
    IfRange("future", "§8.8.2.2", "a date ahead of us", AT, False, began=MODIFIED - 9),
]


@pytest.mark.parametrize("case", IF_RANGE, ids=lambda case: case.id)
def test_if_range_compares_strongly(case: IfRange) -> None:
    stored = page(Case("", "", "", {}, None, etag=case.etag, modified=case.modified))
    # Rendered for 5 s, and already 3 s old when it came: began, not ended, is what counts.
    stored.stored_at, stored.render_seconds, stored.initial_age = case.began + 8, 5.0, 3.0
    given = {} if case.given is None else {"if-range": case.given}
    assert may_be_ranged(given, stored) is case.expect, case.says


def test_a_412_carries_nothing_of_the_page_but_what_scripts_need_to_read_it() -> None:
    stored = page(Case("", "", "", {}, None))
    kept = (
        ("Vary", "host"),
        ("access-control-allow-origin", "*"),
        ("Cross-Origin-Resource-Policy", "same-site"),
        ("Timing-Allow-Origin", "*"),
    )
    lost = (
        ("Content-Type", "text/html"),
        ("Content-Length", "99"),
        ("Cache-Control", "max-age=60"),
        ("ETag", '"a"'),
        ("Content-Encoding", "gzip"),
    )
    stored.body, stored.fields = b"<p>the page", (*lost, *kept)
    answer = failed(stored)
    assert (answer.status, answer.reason) == (412, "Precondition Failed")
    assert answer.body == b"Precondition Failed\n"
    own = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "20"))
    assert answer.fields == (*kept, ("Cache-Control", "no-store"), *own)


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


def test_a_tag_of_ours_stays_what_it_is_from_release_to_release() -> None:
    # Another form would make every browser load every page once more.
    fields = (("Content-TYPE", "text/é \ud800"), ("Content-Language", "de"), ("X", "1"))
    assert strong_etag(b"body", fields) == '"f20df53f74067e5555157492dadf1752"'


def test_a_body_cannot_imitate_the_tag_of_another_representation() -> None:
    one = strong_etag(b"a", (("content-type", "b"),))
    two = strong_etag(b"a\0content-type\0b", ())
    assert one != two
