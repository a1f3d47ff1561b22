"""Whether a response may be stored, and what of it (RFC 9111 §3, RFC 9875, the design's §5)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from pagegen.law.storing import (
    HOP_BY_HOP,
    Refusal,
    body_refusal,
    declared_length,
    refusal,
    stored_fields,
)
from pagegen.messages import Fields, ResponseHead
from pagegen.rules import Rule

NOW = 784111777.0
KEYED = ("host", "accept-language")
SPACES = ("item:1", "list")


class Case(NamedTuple):
    """A response under a rule, and why it is not stored (None: it is)."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: Refusal | None
    status: int = 200
    rule: dict[str, Any] = {}


def cc(value: str, *more: tuple[str, str]) -> Fields:
    """Fields of a response with this Cache-Control."""
    return (("Cache-Control", value), *more)


TTL: dict[str, Any] = {"ttl": "1h"}
DROP: dict[str, Any] = {"ttl": "1h", "set_cookie": "drop"}
CASES = [
    Case("ttl", "design §5", "a ttl makes a bare 200 storable", (), None, rule=TTL),
    Case("no-ttl", "9111 §4.2.2", "we never guess a lifetime", (), Refusal.NO_LIFETIME),
    Case("max-age", "9111 §3", "max-age makes it storable", cc("max-age=5"), None),
    Case("s-maxage", "9111 §3", "so does s-maxage", cc("s-maxage=5"), None),
    Case(
        "expires",
        "9111 §3",
        "so does Expires",
        (("Expires", "Sun, 06 Nov 2094 08:49:37 GMT"),),
        None,
    ),
    Case("zero", "9111 §3", "a page born stale is useless", cc("max-age=0"), Refusal.NO_LIFETIME),
    Case(
        "bad-age",
        "9111 §4.2.1",
        "an unreadable lifetime is 0",
        cc("max-age=x"),
        Refusal.NO_LIFETIME,
    ),
    Case("public", "9111 §5.2.2.9", "public gives no lifetime", cc("public"), Refusal.NO_LIFETIME),
    Case(
        "old",
        "9111 §4.2",
        "it came older than it may get",
        cc("max-age=5", ("Age", "5")),
        Refusal.NO_LIFETIME,
    ),
    Case("younger", "9111 §4.2", "it came with life left", cc("max-age=5", ("Age", "4")), None),
    Case(
        "no-store", "9111 §5.2.2.5", "no-store forbids", cc("no-store"), Refusal.NO_STORE, rule=TTL
    ),
    Case(
        "no-store-first",
        "9111 §5.2.2.5",
        "whatever else it says",
        cc("max-age=9, No-Store"),
        Refusal.NO_STORE,
    ),
    Case(
        "two-lines",
        "9110 §5.3",
        "two lines are one value",
        (("cache-control", "max-age=9"), ("CACHE-CONTROL", "no-store")),
        Refusal.NO_STORE,
    ),
    Case(
        "garbled",
        "9111 §5.2",
        "rubbish hides no no-store",
        cc('a="b, no-store'),
        Refusal.NO_STORE,
        rule=TTL,
    ),
    Case(
        "understand",
        "9111 §5.2.2.3",
        "no-store beside must-understand forbids here too",
        cc("must-understand, no-store"),
        Refusal.NO_STORE,
        rule=TTL,
    ),
    Case(
        "private",
        "9111 §5.2.2.7",
        "private is not for shared caches",
        cc("private"),
        Refusal.PRIVATE,
        rule=TTL,
    ),
    Case(
        "private-field",
        "9111 §5.2.2.7",
        "nor in its qualified form",
        cc('private="x"'),
        Refusal.PRIVATE,
        rule=TTL,
    ),
    Case(
        "no-cache",
        "9111 §5.2.2.4",
        "what must be asked for each time is not stored",
        cc("no-cache"),
        Refusal.NO_CACHE,
        rule=TTL,
    ),
    Case(
        "no-cache-field",
        "9111 §5.2.2.4",
        "nor in its qualified form",
        cc('no-cache="set-cookie"'),
        Refusal.NO_CACHE,
        rule=TTL,
    ),
    Case(
        "cookie",
        "design §5",
        "a page that sets a cookie is one visitor's",
        (("Set-Cookie", "a=1"),),
        Refusal.SET_COOKIE,
        rule=TTL,
    ),
    Case(
        "cookie-dropped",
        "design §5",
        "unless the rule drops the field",
        (("SET-COOKIE", "a=1"),),
        None,
        rule=DROP,
    ),
    Case(
        "cookie-no-store",
        "design §5",
        "which never overrides no-store",
        cc("no-store", ("Set-Cookie", "a=1")),
        Refusal.NO_STORE,
        rule=DROP,
    ),
    Case(
        "vary-star",
        "9111 §4.1",
        "Vary: * never matches again",
        (("Vary", "*"),),
        Refusal.VARY,
        rule=TTL,
    ),
    Case(
        "vary-unkeyed",
        "9111 §4.1",
        "the key lacks what the page depends on",
        (("Vary", "Accept-Language, User-Agent"),),
        Refusal.VARY,
        rule=TTL,
    ),
    Case(
        "vary-keyed", "9111 §4.1", "the key has it", (("Vary", "ACCEPT-Language"),), None, rule=TTL
    ),
    Case("404", "9111 §3", "only 200 without a table", (), Refusal.STATUS, 404, TTL),
    Case("404-listed", "design §5", "a listed status", (), None, 404, {"ttl": {404: "1s"}}),
    Case(
        "200-unlisted",
        "design §5",
        "the table is the whole list",
        (),
        Refusal.STATUS,
        200,
        {"ttl": {404: "1s"}},
    ),
    Case(
        "500-max-age",
        "design §5",
        "an error with a lifetime is one",
        cc("max-age=9"),
        Refusal.STATUS,
        500,
    ),
    Case("206", "9111 §3.3", "a part is not stored", (), Refusal.STATUS, 206, TTL),
    Case("304", "9111 §3", "nor is a 304", (), Refusal.STATUS, 304, TTL),
    Case(
        "content-range",
        "9111 §3.3",
        "a 200 that says it is a part",
        (("Content-Range", "bytes 0-1/9"),),
        Refusal.PARTIAL,
        rule=TTL,
    ),
    Case(
        "lengths",
        "9110 §8.6",
        "lengths that contradict each other",
        (("Content-Length", "5"), ("Content-Length", "6")),
        Refusal.MALFORMED,
        rule=TTL,
    ),
    Case(
        "length",
        "9110 §8.6",
        "a length that is none",
        (("Content-Length", "-5"),),
        Refusal.MALFORMED,
        rule=TTL,
    ),
    Case(
        "same-lengths",
        "9110 §8.6",
        "one length twice is one",
        (("Content-Length", "5, 5"),),
        None,
        rule=TTL,
    ),
    Case(
        "groups",
        "9875 §2",
        "groups that the rule declares",
        (("Cache-Groups", '"list", "item:1"'),),
        None,
        rule=TTL,
    ),
    Case(
        "late-group",
        "9875 §2",
        "a group by which it could not be forgotten",
        (("Cache-Groups", '"list", "item:2"'),),
        Refusal.GROUPS,
        rule=TTL,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_head_is_stored_or_refused_for_one_reason(case: Case) -> None:
    rule = Rule(path="/", share="public", **case.rule)
    head = ResponseHead(case.status, case.given)
    assert refusal(head, rule, KEYED, SPACES, NOW) is case.expect, case.says


@pytest.mark.parametrize("directive", ["no-store", "private", "no-cache"])
@pytest.mark.parametrize("beside", ["", "public, ", "max-age=99, ", "s-maxage=9, ", "immutable,"])
def test_no_ttl_overrides_what_forbids_storing(directive: str, beside: str) -> None:
    rule = Rule(path="/", share="public", ttl={200: "9w", 404: "9w"})
    for status in (200, 404):
        head = ResponseHead(status, cc(beside + directive))
        assert refusal(head, rule, KEYED, SPACES, NOW) == directive


@pytest.mark.parametrize(
    ("declared", "length", "expect"),
    [
        (None, 0, None),
        (None, 10, None),
        (None, 11, Refusal.TOO_LARGE),
        ("10", 10, None),
        ("10", 9, Refusal.LENGTH),
        ("9", 10, Refusal.LENGTH),
        ("x", 5, Refusal.LENGTH),
    ],
)
def test_a_body_is_whole_and_not_too_large(
    declared: str | None, length: int, expect: Refusal | None
) -> None:
    rule = Rule(path="/", share="public", max_body=10)
    fields = () if declared is None else (("content-length", declared),)
    assert body_refusal(ResponseHead(200, fields), length, rule) is expect


@pytest.mark.parametrize(("value", "expect"), [("7", 7), ("7, 7", 7), ("x", None), ("7, 8", None)])
def test_the_promised_length_is_none_when_it_cannot_be_read(value: str, expect: int | None) -> None:
    assert declared_length(ResponseHead(200, (("Content-Length", value),))) == expect
    assert declared_length(ResponseHead(200, ())) is None


def test_what_belongs_to_a_connection_a_moment_or_a_client_is_not_stored() -> None:
    kept = (("Content-Type", "text/html"), ("ETag", '"a"'), ("X-A", "1"), ("x-a", "2"))
    lost = (
        *((name.title(), "x") for name in sorted(HOP_BY_HOP - {"connection"})),
        ("Connection", "close, X-Mine"),
        ("X-MINE", "1"),
        *((name, "1") for name in ("Age", "Date", "Content-Length", "Cache-Status", "Set-Cookie")),
    )
    assert stored_fields(ResponseHead(200, (*lost, *kept))) == kept
    assert stored_fields(ResponseHead(200, (*kept, *lost))) == kept


def test_the_fields_of_a_page_keep_order_case_and_duplicates() -> None:
    fields = (("b", "1"), ("A", "2"), ("B", "3"), ("Link", "x"), ("Link", "y"))
    assert stored_fields(ResponseHead(200, fields)) == fields
