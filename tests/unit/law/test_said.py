"""The field that governs a response, and how its directives read (RFC 9111 §5.2, RFC 9213 §2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.law.said import CACHE_CONTROL, OWN, TARGETS, said
from pagegen.messages import Fields, ResponseHead


class Row(NamedTuple):
    """A response, the field that governs it, and the directives it then has."""

    id: str
    rfc: str
    says: str
    given: Fields
    field: str
    expect: dict[str, str | None]


OURS = "Pagegen-Cache-Control"
CDN = "CDN-Cache-Control"
ROWS = (
    Row("9111-5.2-nothing", "§5.2", "no field, no directives", (), CACHE_CONTROL, {}),
    Row(
        "9111-5.2-plain",
        "§5.2",
        "alone, Cache-Control governs",
        (("cache-control", "Max-Age=5, public"),),
        CACHE_CONTROL,
        {"max-age": "5", "public": None},
    ),
    Row(
        "9110-5.3-lines",
        "RFC 9110 §5.3",
        "several lines are one value",
        (("Cache-Control", "max-age=5"), ("Vary", "a"), ("CACHE-CONTROL", "no-store")),
        CACHE_CONTROL,
        {"max-age": "5", "no-store": None},
    ),
    Row(
        "9111-5.2.3-1",
        "§5.2.3 s1",
        "an unknown directive is passed over, and takes nothing with it",
        (("Cache-Control", "xyzzy=1, max-age=5"),),
        CACHE_CONTROL,
        {"xyzzy": "1", "max-age": "5"},
    ),
    Row(
        "9213-2.2-1-ours",
        "RFC 9213 §2.2 s1",
        "our own field comes before all others",
        ((CDN, "max-age=2"), ("Cache-Control", "max-age=3"), (OURS, "max-age=1")),
        OWN,
        {"max-age": "1"},
    ),
    Row(
        "9213-2.2-1-cdn",
        "RFC 9213 §2.2 s1",
        "the CDN's comes before Cache-Control",
        (("Cache-Control", "no-store"), (CDN, "max-age=2")),
        "cdn-cache-control",
        {"max-age": "2"},
    ),
    Row(
        "9213-2.2-1-none",
        "RFC 9213 §3.1",
        "an unregistered directive makes it valid and silent",
        (("Cache-Control", "no-store"), (CDN, "none")),
        "cdn-cache-control",
        {"none": None},
    ),
    Row(
        "9213-2.1-3-malformed",
        "RFC 9213 §2.1 s3",
        "one that does not parse is as if it were absent",
        ((OURS, "max-age=1,"), (CDN, "max-age=2"), ("Cache-Control", "max-age=3")),
        "cdn-cache-control",
        {"max-age": "2"},
    ),
    Row(
        "9213-2.1-3-empty",
        "RFC 9213 §2.1 s3",
        "so is an empty one",
        ((OURS, ""), (CDN, "  "), ("Cache-Control", "max-age=3")),
        CACHE_CONTROL,
        {"max-age": "3"},
    ),
    Row(
        "9213-2.1-2-parameters",
        "RFC 9213 §2.1 s2",
        "parameters of a directive are passed over",
        ((CDN, "max-age=2;x=1, public;y"),),
        "cdn-cache-control",
        {"max-age": "2", "public": None},
    ),
    Row(
        "9213-2.1-lines",
        "RFC 9651 §4.2",
        "its lines are one dictionary, in which the last of two members counts",
        ((CDN, "max-age=2"), (CDN, "max-age=3, private")),
        "cdn-cache-control",
        {"max-age": "3", "private": None},
    ),
    Row(
        "9213-2.2-2-others",
        "RFC 9213 §2.2 s2",
        "a field that is aimed at other caches changes nothing",
        (("Fastly-Cache-Control", "no-store"), ("Surrogate-Control", "no-store")),
        CACHE_CONTROL,
        {},
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_one_field_governs(row: Row) -> None:
    words = said(ResponseHead(200, row.given))
    assert words.field == row.field, row.says
    assert dict(words.directives) == row.expect, row.says
    assert words.targeted == (row.field in TARGETS)


class Form(NamedTuple):
    """A Cache-Control value, and what its no-cache and private come to."""

    id: str
    says: str
    value: str
    no_cache: bool = False
    private: bool = False
    withheld: frozenset[str] = frozenset()


FORMS = (
    Form("9111-5.2.2.4-1", "no argument: all of it", "no-cache", no_cache=True),
    Form("9111-5.2.2.7-1", "no argument: all of it", "private", private=True),
    Form(
        "9111-5.2.2.4-3",
        "field names: these alone, in any case",
        'no-cache="X-A, x-b"',
        withheld=frozenset(("x-a", "x-b")),
    ),
    Form("9111-5.2.2.7-3", "the same", 'private="X-A"', withheld=frozenset(("x-a",))),
    Form(
        "9111-5.2.2.4-5",
        "the token form is not sent, but read",
        "no-cache=x-a",
        withheld=frozenset(("x-a",)),
    ),
    Form(
        "both",
        "the names of both",
        'no-cache="a", private="b"',
        withheld=frozenset("ab"),
    ),
    Form("malformed", "names that are none: all of it", 'no-cache="a b"', no_cache=True),
    Form("empty", "no name at all: all of it", 'private=""', private=True),
    Form("valueless", "nor here", "private=", private=True),
    Form("inside", "a quoted name of a directive is a field name", 'private="no-store"',
         withheld=frozenset(("no-store",))),
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.id)
def test_a_qualified_directive_names_fields(form: Form) -> None:
    words = said(ResponseHead(200, (("Cache-Control", form.value),)))
    found = (words.no_cache, words.private, words.withheld)
    assert found == (form.no_cache, form.private, form.withheld), form.says


@pytest.mark.parametrize(
    ("value", "expect"),
    [("s=5", 5.0), ('s="5"', 5.0), ("s", None), ("s=-1", None), ("s=1.5", None), ("t=5", None)],
)
def test_seconds_are_read_or_none(value: str, expect: float | None) -> None:
    assert said(ResponseHead(200, (("Cache-Control", value),))).seconds("s") == expect


def test_a_directive_with_an_argument_is_not_bare() -> None:
    words = said(ResponseHead(200, (("Cache-Control", "public=1, immutable"),)))
    assert (words.bare("public"), words.bare("immutable"), words.bare("private")) == (
        False,
        True,
        False,
    )
    assert "public" in words


def test_what_is_remembered_belongs_to_its_values_and_cannot_be_changed() -> None:
    one = said(ResponseHead(200, (("Cache-Control", "max-age=1"),)))
    assert said(ResponseHead(404, (("CACHE-control", "max-age=1"),))) is one
    aimed = said(ResponseHead(200, ((CDN, "max-age=1"),)))
    assert (aimed.field, one.field) == ("cdn-cache-control", "cache-control")
    changeable: Any = one.directives
    with pytest.raises(TypeError):
        changeable["max-age"] = "2"


LINES = st.sampled_from((OURS, CDN, "Cache-Control"))


@given(st.lists(st.tuples(LINES, st.text(st.characters(max_codepoint=255), max_size=40))))
def test_no_text_makes_reading_fail(lines: list[tuple[str, str]]) -> None:
    words = said(ResponseHead(200, tuple(lines)))
    assert not (words.withheld and words.private and words.no_cache)
    assert words.field in (*TARGETS, CACHE_CONTROL)


@given(st.text(st.characters(max_codepoint=255), max_size=30))
def test_no_field_beside_a_valid_targeted_one_changes_what_it_says(noise: str) -> None:
    alone = ResponseHead(200, ((OURS, "max-age=9, private"),))
    beside = ResponseHead(200, (("Cache-Control", noise), *alone.fields, (CDN, noise)))
    assert said(beside) == said(alone)
