"""How long a response may be served (RFC 9111 §4.2 and §5)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from pagegen.law.freshness import initial_age, lifetime
from pagegen.messages import Fields, ResponseHead
from pagegen.rules import Rule

NOW = 784111777.0
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"  # NOW
LATER = "Sun, 06 Nov 1994 08:50:37 GMT"  # a minute after it


class Case(NamedTuple):
    """A response under a ttl, and its lifetime in seconds (None: nobody gives one)."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: float | None
    ttl: Any = None
    status: int = 200


def cc(value: str, *more: tuple[str, str]) -> Fields:
    """Fields of a response with this Cache-Control."""
    return (("Cache-Control", value), *more)


CASES = [
    Case("nothing", "§4.2.2", "no lifetime is guessed", (), None),
    Case("validator", "§4.2.2", "not from Last-Modified either", (("Last-Modified", DATE),), None),
    Case("max-age", "§5.2.2.1", "max-age is the lifetime", cc("max-age=7"), 7.0),
    Case("s-maxage", "§5.2.2.10", "s-maxage before max-age", cc("max-age=7, s-maxage=9"), 9.0),
    Case("s-maxage-0", "§5.2.2.10", "s-maxage of 0 counts", cc("max-age=7, s-maxage=0"), 0.0),
    Case("expires", "§5.3", "Expires minus Date", (("Expires", LATER), ("Date", DATE)), 60.0),
    Case(
        "date",
        "§4.2.1",
        "the response's Date, not our clock",
        (("Expires", LATER), ("Date", "Sun, 06 Nov 1994 08:50:07 GMT")),
        30.0,
    ),
    Case("no-date", "§5.3", "without a Date it is now", (("Expires", LATER),), 60.0),
    Case(
        "bad-date", "§5.3", "an unreadable Date is none", (("Expires", LATER), ("Date", "x")), 60.0
    ),
    Case("past", "§5.3", "an Expires before Date is 0", (("Expires", DATE), ("Date", LATER)), 0.0),
    Case("expires-0", "§5.3", "an unreadable Expires is past", (("Expires", "0"),), 0.0),
    Case(
        "expires-twice",
        "§4.2.1",
        "of two Expires the first",
        (("Expires", LATER), ("Expires", DATE)),
        60.0,
    ),
    Case(
        "max-age-first", "§5.3", "max-age before Expires", cc("max-age=5", ("Expires", LATER)), 5.0
    ),
    Case("twice", "§4.2.1", "of two values the first", cc("max-age=5, max-age=9"), 5.0),
    Case("quoted", "§5.2", "a quoted argument is read too", cc('max-age="5"'), 5.0),
    Case("unreadable", "§4.2.1", "an unreadable argument is stale", cc("max-age=5s"), 0.0),
    Case("negative", "§1.2.2", "there are no negative seconds", cc("max-age=-5"), 0.0),
    Case("argumentless", "§5.2.2.1", "no argument is unreadable", cc("max-age"), 0.0),
    Case("bad-s-maxage", "§4.2.1", "it does not fall back", cc("s-maxage=x, max-age=5"), 0.0),
    Case("huge", "§1.2.2", "what overflows is 2^31", cc("max-age=99999999999"), 2.0**31),
    Case("any-case", "§5.2", "directives have no case", cc("MAX-AGE=5"), 5.0),
    Case("ttl", "design §5", "the rule comes first", cc("max-age=5"), 3600.0, "1h"),
    Case("ttl-shorter", "design §5", "also when it is shorter", cc("s-maxage=9999"), 1.0, 1),
    Case("ttl-table", "design §5", "by status", (), 5.0, {200: 9, 404: 5}, 404),
    Case(
        "other-status", "design §5", "a table is silent of others", cc("max-age=3"), 3.0, {404: 5}
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_lifetime_comes_from_the_rule_then_from_the_response(case: Case) -> None:
    rule = Rule(path="/", share="public", ttl=case.ttl)
    found = lifetime(ResponseHead(case.status, case.given), rule, NOW)
    assert found == case.expect, case.says


@pytest.mark.parametrize(
    ("says", "given", "expect"),
    [
        ("no Age is no age", (), 0.0),
        ("an Age counts", (("Age", "5"),), 5.0),
        ("an unreadable Age is ignored (§5.1)", (("AGE", "x"),), 0.0),
        ("a negative one too", (("age", "-5"),), 0.0),
        ("what overflows is 2^31 (§1.2.2)", (("Age", "9" * 30),), 2.0**31),
        ("of a list the first member counts (§5.1)", (("Age", "100, 5"),), 100.0),
        ("of two lines the first counts (§5.1)", (("Age", "100"), ("Age", "5")), 100.0),
    ],
)
def test_the_age_that_a_response_came_with(says: str, given: Fields, expect: float) -> None:
    assert initial_age(ResponseHead(200, given)) == expect, says
