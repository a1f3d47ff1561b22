"""Validating with the application: RFC 9111 §3.2, §4.3.1, §4.3.3, §4.3.4 and §4.3.5."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import is_resource_modified

from pagegen.law.freshening import conditions, head_agrees, names_page, selects, updated
from pagegen.messages import Fields, ResponseHead, StoredResponse

AT = "Sun, 06 Nov 1994 08:49:37 GMT"
ASCTIME = "Sun Nov  6 08:49:37 1994"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"


def page(*fields: tuple[str, str], status: int = 200, body: bytes = b"12345") -> StoredResponse:
    """A page with these fields of the application's, and an ETag of ours behind them."""
    return StoredResponse(
        b"",
        (),
        (),
        status,
        f"{status} Some Reason",
        body,
        '"ours"',
        None,
        *(0.0,) * 4,
        (*fields, ("ETag", '"ours"'), ("Cache-Control", "no-cache")),
        (),
        (),
        (),
        own_fields=len(fields),
    )


def tag(value: str) -> tuple[str, str]:
    """An ETag field."""
    return ("ETag", value)


def modified(value: str) -> tuple[str, str]:
    """A Last-Modified field."""
    return ("Last-Modified", value)


class Rule(NamedTuple):
    """A sentence, a page's own fields, and the conditions that validate it."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: Fields
    status: int = 200


A_TAG, A_DATE = ("if-none-match", '"a"'), ("if-modified-since", AT)
CONDITIONS = [
    Rule("4.3.1-none", "§4.3.1", "no validator, no condition; ours is not sent", (), ()),
    Rule("4.3.1-9", "§4.3.1", "entity tags must be sent", (tag('"a"'),), (A_TAG,)),
    Rule("4.3.1-9-case", "§4.3.1", "in any case of the name", (("etag", '"a"'),), (A_TAG,)),
    Rule("4.3.1-9-weak", "§4.3.1", "weak", (tag('W/"a"'),), (("if-none-match", 'W/"a"'),)),
    Rule("4.3.1-9-empty", "§8.8.3", "of nothing", (tag('""'),), (("if-none-match", '""'),)),
    Rule("4.3.1-9-comma", "§8.8.3", "any", (tag('"a,*"'),), (("if-none-match", '"a,*"'),)),
    Rule("4.3.1-10", "§4.3.1", "dates should be sent", (modified(AT),), (A_DATE,)),
    Rule(
        "4.3.1-10-form", "§13.1.3", "as they came", (modified(ASCTIME),),
        (("if-modified-since", ASCTIME),),
    ),
    Rule("4.3.1-12", "§4.3.1", "and both", (modified(AT), tag('"a"')), (A_TAG, A_DATE)),
    Rule("word", "lenient", "a forgotten quote", (tag("a*b"),), (("if-none-match", "a*b"),)),
    Rule("star", "§13.1.2", "what matches everything is no tag", (tag("*"),), ()),
    Rule("list", "§13.1.2", "nor is a list", (tag("a,*"),), ()),
    Rule("quoted-list", "§8.8.3", "of any kind", (tag('"a", "b"'),), ()),
    Rule("half", "§8.8.3", "nor half a tag", (tag('"a'),), ()),
    Rule("words", "§8.8.3", "nor several words", (tag("a b"),), ()),
    Rule("empty", "§8.8.3", "nor nothing", (tag(" "),), ()),
    Rule("control", "§8.8.3", "nor what no field can hold", (tag("a\x01"),), ()),
    Rule("two-tags", "§8.8.3", "of two none is meant", (tag('"a"'), tag('"b"')), ()),
    Rule("two-dates", "§8.8.2", "nor of two dates", (modified(AT), modified(AT)), ()),
    Rule("no-date", "§8.8.2", "what is no date is not sent", (modified("yesterday"),), ()),
    Rule("301", "§15.4.5", "a 304 stands for a 200", (tag('"a"'), modified(AT)), (), 301),
    Rule("404", "§15.4.5", "and for nothing else", (tag('"a"'),), (), 404),
    Rule("204", "§15.4.5", "not even a 204", (tag('"a"'),), (), 204),
]  # fmt: skip


@pytest.mark.parametrize("rule", CONDITIONS, ids=lambda rule: rule.id)
def test_a_page_is_validated_with_the_applications_own_validators(rule: Rule) -> None:
    assert conditions(page(*rule.given, status=rule.status)) == rule.expect, rule.says


@given(st.text(st.characters(max_codepoint=255)), st.text())
def test_no_validator_makes_the_conditions_fail(etag: str, date: str) -> None:
    sent = dict(conditions(page(tag(etag), modified(date))))
    assert sent.get("if-none-match") in (None, etag.strip(" \t"))
    assert sent.get("if-none-match") != "*"


@pytest.mark.parametrize("etag", ['"a"', 'W/"a"', '""', '"a,b"'])
def test_werkzeug_finds_its_own_page_unchanged_by_our_conditions(etag: str) -> None:
    sent = conditions(page(tag(etag), modified(AT)))
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent}
    environ["REQUEST_METHOD"] = "GET"
    bare = etag.removeprefix("W/").strip('"')
    if bare:  # werkzeug 3 reads an empty tag as none
        assert not is_resource_modified(environ, etag=etag, last_modified=AT)
        assert is_resource_modified(environ, etag='"other"', last_modified=AT)


class Selection(NamedTuple):
    """A sentence, the stored and the new fields, and whether the 304 is about that page."""

    id: str
    rfc: str
    says: str
    stored: Fields
    given: Fields
    expect: bool
    status: int = 200


SELECTIONS = [
    Selection("4.3.4-5", "§4.3.4", "the same strong tag", (tag('"a"'),), (tag('"a"'),), True),
    Selection("4.3.4-6", "§4.3.4", "another strong tag", (tag('"a"'),), (tag('"b"'),), False),
    Selection("4.3.4-6-weak", "§8.8.3.2", "weak is not strong", (tag('W/"a"'),), (tag('"a"'),),
              False),
    Selection("4.3.4-6-none", "§4.3.4", "a tag that was not stored", (modified(AT),), (tag('"a"'),),
              False),
    Selection("4.3.4-6-date", "§4.3.4", "even with the same date", (tag('"a"'), modified(AT)),
              (tag('"b"'), modified(AT)), False),
    Selection("4.3.4-6-new", "§4.3.4", "or a new tag", (modified(AT),), (tag('"b"'), modified(AT)),
              False),
    Selection("4.3.4-6-ours", "§4.3.4", "our tag is not its own", (), (tag('"ours"'),), False),
    Selection("4.3.4-5-date", "§4.3.4", "another date with the same tag",
              (tag('"a"'), modified(AT)), (tag('"a"'), modified(AFTER)), True),
    Selection("4.3.4-7", "§4.3.4", "weak tags that match", (tag('W/"a"'),), (tag('W/"a"'),), True),
    Selection("4.3.4-7-s", "§8.8.3.2", "by weak comparison", (tag('"a"'),), (tag('W/"a"'),), True),
    Selection("4.3.4-7-no", "§4.3.4", "weak tags that do not", (tag('"a"'),), (tag('W/"b"'),),
              False),
    Selection("4.3.4-7-date", "§4.3.4", "the same date", (modified(AT),), (modified(AT),), True),
    Selection("4.3.4-7-form", "§5.6.7", "in another form", (modified(AT),), (modified(ASCTIME),),
              True),
    Selection("4.3.4-7-later", "§4.3.4", "another date", (modified(AT),), (modified(AFTER),),
              False),
    Selection("4.3.4-7-kind", "§4.3.4", "a date to compare, beside a weak tag", (modified(AT),),
              (tag('W/"a"'), modified(AT)), True),
    Selection("4.3.4-7-kind2", "§4.3.4", "a date that differs", (modified(AT),),
              (tag('W/"a"'), modified(AFTER)), False),
    Selection("4.3.4-7-kind3", "§4.3.4", "a weak tag alone, where there was none",
              (modified(AT),), (tag('W/"a"'),), False),
    Selection("4.3.4-7-other", "§4.3.4", "nothing to compare", (tag('"a"'),), (modified(AT),),
              False),
    Selection("4.3.4-7-text", "lenient", "misspelled alike", (tag("a"),), (tag("a"),), True),
    Selection("4.3.4-7-text2", "lenient", "or not", (tag('"a"'),), (tag("a"),), False),
    Selection("4.3.4-7-text3", "§4.3.4", "a strong one for a misspelled", (tag("a"),),
              (tag('"a"'),), False),
    Selection("4.3.4-7-text4", "§4.3.4", "a new misspelled one is not strong: by the date",
              (modified(AT),), (tag("a"), modified(AT)), True),
    Selection("4.3.4-7-bad", "§4.3.4", "an unread date", (modified(AT),), (modified("0"),), False),
    Selection("4.3.4-7-bads", "lenient", "unread alike", (modified("0"),), (modified("0"),), True),
    Selection("4.3.4-7-worse", "§4.3.4", "unread and not alike", (modified("0"),),
              (modified("-1"),), False),
    Selection("4.3.4-8", "§4.3.4", "no validator on either side", (), (), True),
    Selection("4.3.4-8-own", "§4.3.4", "none in the 304: we asked for one page (departs)",
              (tag('"a"'),), (), True),
    Selection("4.3.4-8-dated", "§4.3.4", "or by its date alone", (modified(AT),), (), True),
    Selection("two", "§8.8.3", "two tags are none", (tag('"a"'),), (tag('"a"'), tag('"a"')), False),
    Selection("301", "§15.4.5", "a 304 stands for a 200", (tag('"a"'),), (tag('"a"'),), False, 301),
]  # fmt: skip


@pytest.mark.parametrize("rule", SELECTIONS, ids=lambda rule: rule.id)
def test_a_304_is_about_the_page_that_its_validators_name(rule: Selection) -> None:
    stored = page(*rule.stored, status=rule.status)
    assert selects(stored, ResponseHead(304, rule.given)) is rule.expect, rule.says


class Update(NamedTuple):
    """A sentence, the stored and the new fields, and those of the updated page."""

    id: str
    rfc: str
    says: str
    stored: Fields
    given: Fields
    expect: Fields


X1, X2, Y1 = ("X-A", "1"), ("x-a", "2"), ("Y", "1")
TYPE, LATER = ("Content-Type", "text/html"), ("Content-Type", "text/plain")
UPDATES = [
    Update("3.2-2", "§3.2", "each field is added", (TYPE,), (X1,), (TYPE, X1)),
    Update("3.2-2-kept", "§3.2", "what is not said stays", (TYPE, Y1), (), (TYPE, Y1)),
    Update("3.2-2-new", "§3.2", "values are replaced", (X1, Y1), (X2,), (X2, Y1)),
    Update("3.2-2-all", "§3.2", "all lines of a name", (X1, Y1, X1), (X2,), (X2, Y1)),
    Update("3.2-2-more", "§3.2", "by all", (X1, Y1), (X2, ("X-A", "3")), (X2, ("X-A", "3"), Y1)),
    Update("3.2-2-same", "§3.2", "and lines of others stay", (Y1, X1, Y1), (X2,), (Y1, X2, Y1)),
    Update("3.2-2-cc", "§3.2", "directives too", (("Cache-Control", "max-age=1"),),
           (("cache-control", "max-age=2"),), (("cache-control", "max-age=2"),)),
    Update("3.2-14", "§3.2", "a Content- name is no exception", (TYPE,), (LATER,), (LATER,)),
    Update("3.2-6", "§3.2", "Content-Length is one", (), (("Content-Length", "0"),), ()),
    Update("3.2-4", "§3.2", "so is what the bytes are read by", (("Content-Encoding", "gzip"),),
           (("Content-Encoding", "br"),), (("Content-Encoding", "gzip"),)),
    Update("3.2-4-add", "§3.2", "also where there was none", (),
           (("content-encoding", "gzip"), ("Content-MD5", "x"), ("Content-Digest", "y")), ()),
    Update("3.2-5", "§3.2", "and what is processed on arrival", (),
           (("Content-Range", "bytes 0-1/2"),), ()),
    Update("3.2-3", "§3.1", "and what is of one connection", (X1,),
           (("Connection", "X-A, close"), X2, ("Keep-Alive", "1"), ("Transfer-Encoding", "x"),
            ("Proxy-Authenticate", "x"), ("Upgrade", "x"), ("TE", "x"), ("Trailer", "x")), (X1,)),
    Update("4.2-5", "§4.2", "the age is that of the validation", (),
           (("Date", AT), ("Age", "3")), (("Date", AT), ("Age", "3"))),
    Update("3.2-cookie", "§3.1", "Set-Cookie is left to admission", (), (("Set-Cookie", "a=1"),),
           (("Set-Cookie", "a=1"),)),
]  # fmt: skip


@pytest.mark.parametrize("rule", UPDATES, ids=lambda rule: rule.id)
def test_a_304_updates_the_stored_fields(rule: Update) -> None:
    head = updated(page(*rule.stored), ResponseHead(304, rule.given, "Not Modified"))
    assert head.fields == rule.expect, rule.says
    assert (head.status, head.reason) == (200, "Some Reason")


@pytest.mark.parametrize(
    ("stored", "given", "expect"),
    [
        ("", (), ()),
        ("max-age=9", (), ("max-age=9",)),
        ("max-age=9", (X1,), ("max-age=9",)),
        ("max-age=9", (("PAGEGEN-Cache-Control", "max-age=1"),), ("max-age=1",)),
        ("", (("pagegen-cache-control", "max-age=1"),), ("max-age=1",)),
    ],
)
def test_what_was_said_to_us_alone_stays_until_it_is_said_anew(
    stored: str, given: Fields, expect: tuple[str, ...]
) -> None:
    # §3.2: it is kept apart from the page's fields, which clients get.
    before = page(TYPE)
    before.control = stored
    head = updated(before, ResponseHead(304, given))
    assert tuple(head.lines("pagegen-cache-control")) == expect
    assert head.fields[0] == TYPE


@pytest.mark.parametrize(
    ("given", "expect"),
    [((), False), ((TYPE,), False), ((("etag", "x"),), True), ((modified("x"),), True)],
)
def test_a_response_says_of_which_page_it_is_by_either_validator(
    given: Fields, expect: bool
) -> None:
    assert names_page(ResponseHead(200, given)) is expect


NAMES = st.sampled_from(["A", "a", "B", "c"])
LINES = st.lists(st.tuples(NAMES, st.sampled_from("123")), max_size=5).map(tuple)


@given(LINES, LINES)
def test_an_update_is_the_union_by_name_and_doing_it_again_changes_nothing(
    stored: Fields, new: Fields
) -> None:
    head = updated(page(*stored), ResponseHead(304, new))
    told, known = ResponseHead(304, new), ResponseHead(200, stored)
    for name in "abc":
        assert head.lines(name) == (told.lines(name) or known.lines(name))
    assert updated(page(*head.fields), told).fields == head.fields


class Head(NamedTuple):
    """A sentence, the stored and a HEAD's fields, and whether they are of one page."""

    id: str
    rfc: str
    says: str
    stored: Fields
    given: Fields
    expect: bool
    statuses: tuple[int, int] = (200, 200)


HEADS = [
    Head("4.3.5-none", "§4.3.5", "nothing said, nothing against it", (tag('"a"'),), (), True),
    Head("4.3.5-4", "§4.3.5", "the same tag", (tag('"a"'),), (tag('"a"'),), True),
    Head("4.3.5-4-other", "§4.3.5", "another tag", (tag('"a"'),), (tag('"b"'),), False),
    Head("4.3.5-4-weak", "§4.3.5", "a weaker tag", (tag('"a"'),), (tag('W/"a"'),), False),
    Head("4.3.5-4-new", "§4.3.5", "a tag where there was none", (), (tag('"ours"'),), False),
    Head("4.3.5-4-date", "§4.3.5", "the same date", (modified(AT),), (modified(ASCTIME),), True),
    Head("4.3.5-4-late", "§4.3.5", "another date", (modified(AT),), (modified(AFTER),), False),
    Head("4.3.5-4-dated", "§4.3.5", "a date where there was none", (), (modified(AT),), False),
    Head("4.3.5-4-both", "§4.3.5", "both must match", (tag('"a"'), modified(AT)),
         (tag('"a"'), modified(AFTER)), False),
    Head("4.3.5-4-len", "§4.3.5", "the same length", (), (("Content-Length", "5"),), True),
    Head("4.3.5-4-long", "§4.3.5", "another length", (), (("Content-Length", "6"),), False),
    Head("4.3.5-4-bad", "§8.6", "lengths that differ", (),
         (("Content-Length", "5"), ("Content-Length", "6")), False),
    Head("4.3.5-4-tag-len", "§4.3.5", "a length against a tag", (tag('"a"'),),
         (tag('"a"'), ("Content-Length", "6")), False),
    Head("4.3.5-3", "§4.3.5", "only a 200 tells of it", (), (), False, (200, 404)),
    Head("4.3.5-3-page", "§4.3.5", "and of a 200", (), (), False, (404, 200)),
]  # fmt: skip


@pytest.mark.parametrize("rule", HEADS, ids=lambda rule: rule.id)
def test_a_head_agrees_with_the_page_or_makes_it_stale(rule: Head) -> None:
    stored = page(*rule.stored, status=rule.statuses[0])
    assert head_agrees(stored, ResponseHead(rule.statuses[1], rule.given)) is rule.expect, rule.says


@given(st.text(), st.text(), st.text())
def test_no_validator_makes_a_comparison_fail(etag: str, date: str, length: str) -> None:
    stored = page(tag(etag), modified(date))
    fields = (tag(etag), modified(date), ("Content-Length", length))
    assert selects(stored, ResponseHead(304, fields))
    assert head_agrees(stored, ResponseHead(200, fields[:2]))
    head_agrees(stored, ResponseHead(200, fields))
