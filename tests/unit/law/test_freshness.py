"""How long a response is fresh, and how old it came (RFC 9111 §4.2, §5.1, §5.2.2, §5.3)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.law.freshness import (
    HEURISTICALLY_CACHEABLE,
    initial_age,
    is_explicit,
    lifetime,
    upstream_age,
)
from pagegen.messages import Fields, ResponseHead
from pagegen.rules import Rule

NOW = 784111777.0
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"  # NOW
LATER = "Sun, 06 Nov 1994 08:50:37 GMT"  # a minute after it
EARLIER = "Sun, 06 Nov 1994 08:48:37 GMT"  # a minute before it
WEEK = "Sun, 30 Oct 1994 08:49:37 GMT"  # a week before it


class Row(NamedTuple):
    """A response under a rule, and its lifetime in seconds (None: nobody gives one)."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: float | None
    rule: dict[str, Any] = {}
    status: int = 200


def cc(value: str, *more: tuple[str, str]) -> Fields:
    """Fields of a response with this Cache-Control."""
    return (("Cache-Control", value), *more)


def expires(value: str, *more: tuple[str, str]) -> Fields:
    """Fields of a response with this Expires."""
    return (("Expires", value), *more)


SENT = ("Date", DATE)
HOUR: dict[str, Any] = {"ttl": "1h"}
GUESS: dict[str, Any] = {"heuristic": "1h"}
MODIFIED = (("Last-Modified", WEEK), SENT)

FIRST_MATCH = (
    Row("9111-4.2.1-1", "§4.2.1 l1", "s-maxage", cc("max-age=7, s-maxage=9"), 9.0),
    Row("9111-4.2.1-1b", "§4.2.1 l1", "also when it is less", cc("max-age=7, s-maxage=0"), 0.0),
    Row("9111-4.2.1-2", "§4.2.1 l2", "else max-age", cc("max-age=7", *expires(LATER, SENT)), 7.0),
    Row("9111-4.2.1-3", "§4.2.1 l3", "else Expires minus Date", expires(LATER, SENT), 60.0),
    Row(
        "9111-4.2.1-3-origin",
        "§4.2.1 l3",
        "by the origin's clock, not by ours",
        expires(LATER, ("Date", "Sun, 06 Nov 1994 08:50:07 GMT")),
        30.0,
    ),
    Row("9111-4.2.1-3-dateless", "§4.2.1 l3", "without Date, since it came", expires(LATER), 60.0),
    Row(
        "9111-4.2.1-3-bad-date",
        "RFC 9110 §6.6.1",
        "an unreadable Date is replaced by the time it came",
        expires(LATER, ("Date", "x")),
        60.0,
    ),
    Row("9111-4.2.1-4", "§4.2.1 l4", "else none is explicit", cc("public"), None),
    Row("9111-4.2.1-5", "§4.2.1 s2", "of two max-age the first", cc("max-age=5, max-age=9"), 5.0),
    Row(
        "9111-4.2.1-5-lines",
        "§4.2.1 s2",
        "on two lines too",
        (*cc("max-age=5"), *cc("max-age=9")),
        5.0,
    ),
    Row(
        "9111-4.2.1-5-expires",
        "§4.2.1 s2",
        "two Expires make it stale",
        (*expires(LATER), *expires("Sun, 06 Nov 2044 08:50:37 GMT")),
        0.0,
    ),
    Row(
        "9111-4.2.1-6",
        "§4.2.1 s3",
        "max-age beside no-cache: the stricter one",
        cc("max-age=9, no-cache"),
        0.0,
    ),
    Row(
        "9111-4.2.1-6-qualified",
        "§5.2.2.4 s3",
        "a qualified no-cache is none",
        cc('max-age=9, no-cache="x"'),
        9.0,
    ),
    Row("9111-4.2.1-7", "§4.2.1 s4", "an unreadable one is stale", cc("max-age=5s"), 0.0),
    Row("9111-4.2.1-7-float", "§4.2.1 s4", "no fractions", cc("max-age=7.5"), 0.0),
    Row("9111-4.2.1-7-bare", "§4.2.1 s4", "nor without a number", cc("max-age"), 0.0),
    Row(
        "9111-4.2.1-7-next",
        "§4.2.1 s4",
        "it never falls back to the next",
        cc("s-maxage=x, max-age=5", *expires(LATER)),
        0.0,
    ),
)
DIRECTIVES = (
    Row("9111-1.2.2-1", "§1.2.2 s2", "what overflows is 2^31", cc("max-age=99999999999"), 2.0**31),
    Row("9111-1.2.2-2", "§1.2.2 s1", "there are no negative seconds", cc("max-age=-5"), 0.0),
    Row("9111-1.2.2-3", "§1.2.2 s1", "leading zeros are digits", cc("max-age=007"), 7.0),
    Row("9111-5.2-2", "§5.2 s2", "directives have no case", cc("MAX-AGE=5"), 5.0),
    Row("9111-5.2-3", "§5.2 s2", "both forms of an argument", cc('max-age="5"'), 5.0),
    Row("9111-5.2.2.1-1", "§5.2.2.1 s1", "stale once older than this", cc("max-age=7"), 7.0),
    Row(
        "9111-5.2.2.10-1",
        "§5.2.2.10 s1",
        "s-maxage overrides Expires",
        cc("s-maxage=5", *expires(LATER, SENT)),
        5.0,
    ),
    Row("8246-2-1", "RFC 8246 §2", "immutable gives no lifetime", cc("immutable"), None),
    Row("8246-2-2", "RFC 8246 §2", "nor lengthens it", cc("max-age=5, immutable"), 5.0),
)
EXPIRES = (
    Row("9111-5.3-1-zero", "§5.3 s1", "0 is in the past", expires("0"), 0.0),
    Row("9111-5.3-1-minus", "§5.3 s1", "so is -1", expires("-1"), 0.0),
    Row("9111-5.3-1-empty", "§5.3 s1", "so is nothing", expires(""), 0.0),
    Row("9111-5.3-1-iso", "§5.3 s1", "so is another form", expires("2094-11-06T08:49:37Z"), 0.0),
    Row("9111-5.3-1-words", "§5.3 s1", "so are words", expires("never"), 0.0),
    Row("9111-5.3-past", "§5.3", "before Date it is 0", expires(DATE, ("Date", LATER)), 0.0),
    Row("9111-5.3-2", "§5.3 s2", "ignored beside max-age", cc("max-age=5", *expires("0")), 5.0),
    Row("9111-5.3-3", "§5.3 s3", "ignored beside s-maxage", cc("s-maxage=5", *expires("0")), 5.0),
    Row(
        "9111-5.3-far",
        "§5.3",
        "more than a year is no mistake",
        expires("Sun, 06 Nov 2044 08:49:37 GMT", SENT),
        1577923200.0,
    ),
    Row(
        "9111-4.2-1",
        "§4.2 dates 1",
        "dates have no case",
        expires(LATER.upper(), ("Date", DATE.lower())),
        60.0,
    ),
    Row(
        "9111-4.2-4",
        "§4.2 dates 4",
        "another zone by its name is no date",
        expires(LATER.replace("GMT", "EST"), SENT),
        0.0,
    ),
)
HEURISTIC = (
    Row("9111-4.2.2-1", "§4.2.2 s1", "guessed where a rule asks", MODIFIED, 3600.0, GUESS),
    Row("9111-4.2.2-off", "§4.2.2 s1", "and never else", MODIFIED, None),
    Row(
        "9111-4.2.2-2-max-age",
        "§4.2.2 s3",
        "not where the response says so itself",
        cc("max-age=1", *MODIFIED),
        1.0,
        GUESS,
    ),
    Row(
        "9111-4.2.2-2-expires",
        "§4.2.2 s3",
        "even if that cannot be read",
        expires("0", *MODIFIED),
        0.0,
        GUESS,
    ),
    Row("9111-4.2.2-3-302", "§4.2.2 s4", "not any status", MODIFIED, None, GUESS, 302),
    Row("9111-4.2.2-3-404", "§4.2.2 s4", "404 is one", MODIFIED, 3600.0, GUESS, 404),
    Row(
        "9111-4.2.2-3-public",
        "§4.2.2 s4",
        "any, when it says public",
        cc("public", *MODIFIED),
        3600.0,
        GUESS,
        302,
    ),
    Row(
        "9111-4.2.2-4",
        "§4.2.2 s6",
        "a tenth of the time since",
        (("Last-Modified", EARLIER), SENT),
        6.0,
        GUESS,
    ),
    Row(
        "9111-4.2.2-4-dateless",
        "§4.2.2 s6",
        "which ends when it came",
        (("Last-Modified", EARLIER),),
        6.0,
        GUESS,
    ),
    Row(
        "9111-4.2.2-4-origin",
        "§4.2.2 s6",
        "or when the origin says it was made",
        (("Last-Modified", EARLIER), ("Date", LATER)),
        12.0,
        GUESS,
    ),
    Row(
        "9111-4.2.2-future",
        "RFC 9110 §8.8.2.1",
        "modified later than made",
        (("Last-Modified", LATER), SENT),
        0.0,
        GUESS,
    ),
    Row("9111-4.2.2-nothing", "§4.2.2", "no date, no guess", (SENT,), None, GUESS),
    Row("9111-4.2.2-bad", "§4.2.2", "nor from rubbish", (("Last-Modified", "x"),), None, GUESS),
    Row("9111-4.2.2-no-cache", "§5.2.2.4", "asked for", cc("no-cache", *MODIFIED), 0.0, GUESS),
)
RULES = (
    Row("ttl", "design §5", "the rule comes first", cc("max-age=5"), 3600.0, HOUR),
    Row("ttl-shorter", "design §5", "also when shorter", cc("s-maxage=9999"), 1.0, {"ttl": 1}),
    Row("ttl-table", "design §5", "by status", (), 5.0, {"ttl": {200: 9, 404: 5}}, 404),
    Row("ttl-other", "design §5", "silent of others", cc("max-age=3"), 3.0, {"ttl": {404: 5}}),
    Row("ttl-heuristic", "design §5", "before a guess", MODIFIED, 5.0, {"ttl": 5, **GUESS}),
    Row("ttl-no-cache", "§5.2.2.4", "no ttl overrides no-cache", cc("no-cache"), 0.0, HOUR),
)


@pytest.mark.parametrize(
    "row", (*FIRST_MATCH, *DIRECTIVES, *EXPIRES, *HEURISTIC, *RULES), ids=lambda row: row.id
)
def test_the_first_that_speaks_gives_the_lifetime(row: Row) -> None:
    rule = Rule(path="/", share="public", **row.rule)
    assert lifetime(ResponseHead(row.status, row.given), rule, NOW) == row.expect, row.says


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ((), False),
        (cc("public, must-revalidate"), False),
        (cc("max-age=0"), True),
        (cc("s-maxage=x"), True),
        (expires("0"), True),
        ((("CDN-Cache-Control", "none"), *expires(LATER)), False),
    ],
)
def test_an_expiration_time_is_explicit_even_when_it_cannot_be_read(
    given: Fields, expect: bool
) -> None:
    assert is_explicit(ResponseHead(200, given)) is expect


def test_the_statuses_that_may_be_stored_unasked_are_those_of_the_rfcs() -> None:
    # RFC 9110 §15.1 but 206, and RFC 7725 §3.
    listed = "200 203 204 300 301 308 404 405 410 414 451 501"
    assert set(map(int, listed.split())) == HEURISTICALLY_CACHEABLE


class Old(NamedTuple):
    """A response that came at NOW after a delay, and how old it then was in seconds."""

    id: str
    rfc: str
    says: str
    given: Fields
    delay: float
    expect: float


AGES = (
    Old("9111-4.2.3-0", "§4.2.3", "nothing says how old", (), 0.0, 0.0),
    Old("9111-4.2.3-1", "§4.2.3 age_value", "Age", (("Age", "5"),), 0.0, 5.0),
    Old("9111-4.2.3-2", "§4.2.3 date_value", "since Date", (("Date", EARLIER),), 0.0, 60.0),
    Old("9111-4.2.3-3", "§4.2.3 apparent", "0 at least", (("Date", LATER),), 0.0, 0.0),
    Old(
        "9111-4.2.3-4",
        "§4.2.3 s3 MUST",
        "Age counts from the request, so the delay adds to it",
        (("Age", "5"),),
        2.5,
        7.5,
    ),
    Old("9111-4.2.3-4-none", "§4.2.3 s3", "as it does without one", (SENT,), 2.5, 2.5),
    Old(
        "9111-4.2.3-5",
        "§4.2.3 max",
        "the older of both: by Age",
        (("Age", "90"), ("Date", EARLIER)),
        1.0,
        91.0,
    ),
    Old(
        "9111-4.2.3-5b",
        "§4.2.3 max",
        "by Date, for caches that do not tell",
        (("Age", "5"), ("Date", EARLIER)),
        1.0,
        60.0,
    ),
    Old("9111-4.2.3-6", "§4.2.3", "an unreadable Date tells nothing", (("Date", "x"),), 0.0, 0.0),
    Old("9111-4.2.3-7", "§4.2.3", "a clock that stepped back", (("Age", "5"),), -3.0, 5.0),
    Old("9111-5.1-1", "§5.1 s2", "of a list the first", (("Age", "100, 5"),), 0.0, 100.0),
    Old("9111-5.1-1b", "§5.1 s2", "of lines too", (("Age", "100"), ("Age", "5")), 0.0, 100.0),
    Old("9111-5.1-2", "§5.1 s3", "what is no number is ignored", (("AGE", "x"),), 0.0, 0.0),
    Old("9111-5.1-2b", "§5.1 s3", "so is a negative one", (("age", "-5"),), 0.0, 0.0),
    Old("9111-5.1-2c", "§5.1 s3", "and a broken one", (("Age", "5.0"),), 0.0, 0.0),
    Old("9111-1.2.2", "§1.2.2 s2", "what overflows is 2^31", (("Age", "9" * 30),), 0.0, 2.0**31),
)


@pytest.mark.parametrize("old", AGES, ids=lambda old: old.id)
def test_the_age_that_a_response_came_with(old: Old) -> None:
    head = ResponseHead(200, old.given)
    assert initial_age(head, NOW, old.delay) == old.expect, old.says


def test_a_date_of_this_second_makes_nothing_old() -> None:
    assert initial_age(ResponseHead(200, (SENT,)), NOW + 0.9) == 0.0
    assert initial_age(ResponseHead(200, (SENT,)), NOW + 1.0) == 1.0


def test_the_age_behind_us_leaves_our_own_delay_out() -> None:
    head = ResponseHead(200, (("Age", "5"), ("Date", DATE)))
    assert upstream_age(head, NOW + 2) == 5.0
    assert upstream_age(head, NOW + 9) == 9.0


TEXT = st.text(st.characters(max_codepoint=255), max_size=30)
NAMES = st.sampled_from(
    ("Cache-Control", "Expires", "Date", "Last-Modified", "Age", "CDN-Cache-Control")
)


@given(st.lists(st.tuples(NAMES, TEXT)), st.sampled_from((200, 302, 404)))
def test_no_text_gives_a_negative_lifetime_or_age(
    fields: list[tuple[str, str]], status: int
) -> None:
    head = ResponseHead(status, tuple(fields))
    rule = Rule(path="/", share="public", heuristic="1h")
    found = lifetime(head, rule, NOW)
    assert found is None or found >= 0
    assert initial_age(head, NOW) >= 0
