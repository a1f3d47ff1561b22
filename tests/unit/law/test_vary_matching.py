"""When two requests agree in a field that selects (RFC 9111 §4.1; RFC 9110 §12.5)."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.http import parse_accept_header

from pagegen.law.vary import MAX_NORMALISED, normalised, visible

NEGOTIATING = ("accept", "accept-charset", "accept-encoding", "accept-language")


class Rule(NamedTuple):
    """One field of two requests, and whether they match. None is a field that is absent."""

    id: str
    rfc: str
    says: str
    field: str
    given: tuple[str | None, str | None]
    expect: bool


TYPES = "text/html;level=1;q=0.3, */*"
LONG = "a" * (MAX_NORMALISED - 2)
RULES = [
    Rule("same", "9111 §4.1-1", "the same text matches", "cookie", ("a=1", "a=1"), True),
    Rule("other", "9111 §4.1-1", "other text does not", "cookie", ("a=1", "a=2"), False),
    Rule("absent", "9111 §4.1-3", "absent matches absent", "cookie", (None, None), True),
    Rule("absent-present", "9111 §4.1-3", "and nothing else", "accept", (None, "*/*"), False),
    Rule("absent-empty", "9111 §4.1-3", "empty is present", "accept-encoding", (None, ""), False),
    Rule("absent-blank", "9111 §4.1-3", "and so is blank", "cookie", (None, " "), False),
    Rule("outer", "9111 §4.1-2a", "whitespace around a value", "x-any", ("a", " \ta\t"), True),
    Rule("empty-blank", "9111 §4.1-2a", "even if it is all", "x-any", ("", " \t"), True),
    Rule("other-space", "9110 §5.6.3", "other spaces are text", "x-any", ("a", "a\xa0"), False),
    Rule("letters", "9110 §5.6.3", "letters are text", "x-any", ("a", "XaX"), False),
    Rule("inner", "9111 §4.1-2a", "inside, where unknown", "x-any", ("a b", "a  b"), False),
    Rule("commas", "9111 §4.1-2a", "and around commas", "x-any", ("a,b", "a, b"), False),
    Rule("date", "9111 §4.1-2a", "it may be a date", "x-any", ("Sat, 1", "Sat,1"), False),
    Rule("case", "9111 §4.1-2c", "nor is the case known", "x-any", ("A", "a"), False),
    Rule("order", "9111 §4.1-2c", "nor the order", "x-any", ("a, b", "b, a"), False),
    Rule("agent", "9111 §4.1-2c", "weights in other fields", "prefer", ("a;q=1", "a"), False),
    Rule("list", "9111 §4.1-2a", "whitespace in a list", "accept", ("a/b,c/d", "a/b ,\tc/d"), True),
    Rule(
        "weight-space",
        "9110 §12.4.2",
        "around a semicolon",
        "accept",
        ("a/b;q=0", "a/b ; q=0"),
        True,
    ),
    Rule("empties", "9110 §5.6.1.2", "empty members", "accept-charset", ("a", ", ,a,"), True),
    Rule("no-member", "9110 §5.6.1.2", "none but these", "accept-encoding", ("", " , "), True),
    Rule("media-case", "9110 §8.3.1", "types have no case", "accept", ("A/B", "a/b"), True),
    Rule("parameter-case", "9110 §5.6.6", "nor parameters", "accept", ("a/b;V=1", "a/b;v=1"), True),
    Rule("values", "9110 §12.5.1", "each counts", "accept", ("a/b;v=1;w=2", "a/b;w=2"), False),
    Rule("value-case", "9110 §5.6.6", "values may have", "accept", ("a/b;v=X", "a/b;v=x"), False),
    Rule("coding-case", "9110 §8.4.1", "codings have none", "accept-encoding", ("BR", "br"), True),
    Rule("tag-case", "9110 §8.5.1", "nor tags", "accept-language", ("de-AT", "DE-at"), True),
    Rule("charset-case", "9110 §8.3.2", "nor charsets", "accept-charset", ("UTF-8", "utf-8"), True),
    Rule("one", "9110 §12.4.2", "no weight is 1", "accept-encoding", ("br", "br;q=1.000"), True),
    Rule(
        "zeros", "9110 §12.4.2", "zeros behind", "accept-encoding", ("a;q=0.5", "a;Q=0.500"), True
    ),
    Rule("zero", "9110 §12.4.2", "0 in any spelling", "accept", ("a/b;q=0", "a/b;q=0."), True),
    Rule("weights", "9110 §12.4.2", "weights count", "accept", ("a/b;q=0.5", "a/b;q=0.6"), False),
    Rule("excluded", "9110 §12.4.2", "0 is no absence", "accept-encoding", ("a", "a,b;q=0"), False),
    Rule(
        "media-order",
        "9110 §12.5.1",
        "no order",
        "accept",
        (TYPES, "*/*,text/html;level=1;q=.3"),
        False,
    ),
    Rule("types", "9110 §12.5.1", "types have no order", "accept", ("a/b,c/d", "c/d,a/b"), True),
    Rule(
        "weighted",
        "9110 §12.5.1",
        "with weights neither",
        "accept",
        (TYPES, "*/*,text/html;level=1;q=0.3"),
        True,
    ),
    Rule(
        "codings", "9110 §12.5.3", "nor codings", "accept-encoding", ("gzip, br", "br, gzip"), True
    ),
    Rule(
        "charsets", "9110 §12.5.2", "nor charsets", "accept-charset", ("a,b;q=0", "b;q=0,a"), True
    ),
    Rule(
        "languages",
        "9110 §12.5.4",
        "some read the order of languages",
        "accept-language",
        ("de, en", "en, de"),
        False,
    ),
    Rule(
        "languages-weighted",
        "9110 §12.5.4",
        "and not of equal ones only",
        "accept-language",
        ("de, en;q=0.5", "en;q=0.5, de"),
        False,
    ),
    Rule(
        "twice",
        "9110 §12.4.2",
        "the first or the last",
        "accept",
        ("a/b,a/b;q=0", "a/b;q=0,a/b"),
        False,
    ),
    Rule(
        "twice-quoted",
        "9110 §5.6.6",
        "in whatever spelling",
        "accept",
        ('a/b;v=1;q=0.1,a/b;v="1"', 'a/b;v="1",a/b;v=1;q=0.1'),
        False,
    ),
    Rule(
        "quoted", "9110 §5.6.4", "quotes hold commas", "accept", ('a/b;v=", "', 'a/b;v=","'), False
    ),
    Rule(
        "quoted-list",
        "9110 §5.6.4",
        "and no list",
        "accept",
        ('a/b;v="x,c/d"', 'c/d,a/b;v="x'),
        False,
    ),
    Rule(
        "quoted-rest",
        "9110 §5.6.4",
        "behind them it goes on",
        "accept",
        ('A/b;v="\\",X" , c/D', 'a/B;v="\\",X",c/d'),
        True,
    ),
    Rule(
        "rest",
        "9110 §12.5.1",
        "behind a weight comes none",
        "accept",
        ("A/b;q=1;x=1", "a/b;q=1;x=1"),
        False,
    ),
    Rule("bad-weight", "9110 §12.4.2", "no weight", "accept-encoding", ("A;q=2", "a;q=2"), False),
    Rule(
        "more-digits",
        "9110 §12.4.2",
        "three digits",
        "accept-charset",
        ("a;q=0.1111", "a;q=.1111"),
        False,
    ),
    Rule(
        "parameter",
        "9110 §12.5.4",
        "tags have none",
        "accept-language",
        ("de;x=1", "DE;x=1"),
        False,
    ),
    Rule("no-type", "9110 §12.5.1", "no slash", "accept", ("html", "HTML"), False),
    Rule("open-quote", "9110 §5.6.4", "no end", "accept", ('A/b;v="', 'a/b;v="'), False),
    Rule(
        "long", "design §6", "up to the bound", "accept-charset", (LONG + ",B", LONG + ",b"), True
    ),
    Rule(
        "too-long",
        "design §6",
        "not beyond",
        "accept-charset",
        (LONG + ",BC", LONG + ",bc"),
        False,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.rfc.replace(' §', '-')}-{rule.id}")
def test_requests_match_when_the_rfc_lets_one_be_turned_into_the_other(rule: Rule) -> None:
    first, second = (normalised(rule.field, value) for value in rule.given)
    assert (first == second) is rule.expect, rule.says


@pytest.mark.parametrize(
    ("field", "value", "expect"),
    [
        ("accept-encoding", "gzip, deflate, br;q=1.0, *;q=0.10", "br,deflate,gzip,*;q=0.1"),
        ("accept-language", "de-AT, de;q=0.9 ,EN;q=0.50", "de-at,de;q=0.9,en;q=0.5"),
        ("accept", "*/* ; q=0.8,text/html, a/b;V=b3;q=0.7", "text/html,*/*;q=0.8,a/b;v=b3;q=0.7"),
        ("user-agent", " Mozilla/5.0 (X; Y)  Z ", "Mozilla/5.0 (X; Y)  Z"),
    ],
)
def test_a_normal_form_is_short_and_readable(field: str, value: str, expect: str) -> None:
    assert normalised(field, value) == expect


@pytest.mark.parametrize(
    "name",
    [
        *("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"),
        *("range", "connection", "te", "upgrade", "proxy-authorization"),
        *("x-forwarded-host", "forwarded", "x-original-url", "X-HTTP-Method-Override", "X_Host"),
    ],
)
def test_what_no_handler_sees_selects_nothing(name: str) -> None:
    assert not visible(name)


@pytest.mark.parametrize(
    "name",
    [
        *("accept", "accept-encoding", "accept-language", "cookie", "user-agent", "origin"),
        *("authorization", "cache-control", "pragma", "prefer", "sec-ch-ua", "x-requested-with"),
    ],
)
def test_what_a_handler_sees_can_select(name: str) -> None:
    assert visible(name)


UNITS = [
    *(",", ";", '"', "\\", " ", "\t", "a", "a/b", "q=", ";q=0.5", ";q=1", "=", "*", "/", "A/B,"),
    *('a/b;v="', 'a/b;v="\\', ";v=x", "a;q=0.", "de,", "*;q=0,", "ß", "\n", "\xa0", "1"),
]
PIECES = st.lists(st.sampled_from(UNITS), max_size=30).map("".join)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([*NEGOTIATING, "cookie"]), st.one_of(PIECES, st.text()))
def test_a_normal_form_is_its_own_and_never_longer(field: str, value: str) -> None:
    form = normalised(field, value)
    assert form is not None
    assert normalised(field, form) == form
    assert len(form) <= len(value)


@pytest.mark.parametrize("field", NEGOTIATING)
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("size", [MAX_NORMALISED, 2**20])
def test_a_megabyte_of_one_thing_ends(field: str, unit: str, size: int) -> None:
    # Over the bound only the ends are looked at; below it no pattern nests two repetitions.
    value = unit * (size // len(unit))
    for tail in ("", '"', "@", ";"):
        assert normalised(field, value + tail) is not None


KINDS = ["a/b", "a/c", "a/*", "*/*", "d/e", "A/C", "D/e"]
MEMBERS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(["", ";q=1", "; q=0.5", ";Q=0.50", ";q=0"])),
    max_size=6,
)


def spelled(members: list[tuple[str, str]]) -> str:
    """These members as a value."""
    return ", ".join(kind + weight for kind, weight in members)


def read(value: str | None) -> list[tuple[str, float]]:
    """What werkzeug reads in an ``Accept``: kind and weight, in no order."""
    return sorted((kind.lower(), quality) for kind, quality in parse_accept_header(value))


@settings(deadline=None, max_examples=300)
@given(MEMBERS, MEMBERS)
def test_werkzeug_reads_the_same_preferences_in_two_values_of_one_form(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    first, second = spelled(one), spelled(other)
    form = normalised("accept", first)
    assert read(form) == read(first)
    if form == normalised("accept", second):
        assert read(first) == read(second)


@settings(deadline=None, max_examples=100)
@given(MEMBERS, st.randoms(use_true_random=False))
def test_members_that_differ_in_kind_may_come_in_any_order(
    members: list[tuple[str, str]], chance: random.Random
) -> None:
    each = list({kind.lower(): (kind, weight) for kind, weight in members}.values())
    shuffled = chance.sample(each, len(each))
    assert normalised("accept", spelled(each)) == normalised("accept", spelled(shuffled))
