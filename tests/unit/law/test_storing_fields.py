"""What of a response is stored: its fields (RFC 9111 §3.1) and its whole body (§3.3)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pagegen.law.storing import (
    Refusal,
    body_refusal,
    cookies_set,
    declared_length,
    end_to_end,
    stored_fields,
    withheld_fields,
)
from pagegen.messages import Fields, ResponseHead
from pagegen.rules import Rule

KEPT: Fields = (("Content-Type", "text/html"), ("ETag", '"a"'), ("X-A", "1"), ("x-a", "2"))


# RFC 9110 §7.6.1, and Proxy-Connection as clients of old times send it.
OF_ONE_CONNECTION = (
    *("Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"),
)


class Row(NamedTuple):
    """Fields of a response that are stored, and some that are not."""

    id: str
    rfc: str
    says: str
    kept: Fields = ()
    lost: Fields = ()
    withheld: Fields = ()


ROWS = (
    Row("9111-3.1-1", "§3.1 s1", "all, unknown ones too", (("X-Unheard-Of", "é"), ("a", ""))),
    Row("9111-3.1-1-lines", "§3.1 s1", "each line", (("Link", "x"), ("Link", "x"), ("LINK", "y"))),
    Row(
        "9111-3.1-1-cache",
        "RFC 9211 §2",
        "what caches behind us say",
        (("Cache-Status", "origin; hit"), ("Via", "1.1 x"), ("Warning", "110 - x")),
    ),
    Row(
        "9213-2.2-2",
        "RFC 9213 §2.2 s2, §3",
        "targeted fields of others, which pass",
        (("CDN-Cache-Control", "max-age=9"), ("Fastly-Cache-Control", "max-age=9")),
    ),
    Row(
        "9111-3.1-2",
        "§3.1 l1",
        "not Connection and what it names",
        (("Y-Mine", "1"),),
        (("Connection", "close, X-Mine"), ("X-MINE", "1"), ("connection", "X-Too"), ("X-Too", "")),
    ),
    Row(
        "9111-3.1-3",
        "§3.1 l2",
        "not the fields of one connection",
        lost=tuple((name, "x") for name in OF_ONE_CONNECTION),
    ),
    Row(
        "9111-3.1-4",
        "§3.1 l3",
        "not those that qualified no-cache and private name",
        (("Cache-Control", 'max-age=5, no-cache="x-b, X-c", private="x-d"'), ("X-E", "1")),
        withheld=(("X-B", "1"), ("x-c", "2"), ("X-D", "3"), ("X-D", "4")),
    ),
    Row(
        "9111-3.1-4-targeted",
        "RFC 9213 §2.2",
        "of the field that governs",
        (("Cache-Control", 'private="x-b"'), ("CDN-Cache-Control", 'private="x-c"'), ("X-B", "1")),
        withheld=(("X-C", "1"),),
    ),
    Row(
        "9111-3.1-4-hop",
        "RFC 9110 §7.6.1",
        "nor is one of the connection anybody's",
        (("Cache-Control", 'private="te, x-b"'),),
        (("Connection", "x-b"), ("X-B", "1"), ("TE", "x")),
    ),
    Row(
        "9111-3.1-5",
        "§3.1 l4 MUST NOT",
        "not those of a proxy",
        lost=(
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Authentication-Info", "x"),
            ("Proxy-Authorization", "x"),
        ),
    ),
    Row(
        "anew",
        "§5.1, RFC 9110 §6.6.1, §8.6",
        "not what is made anew for each response",
        lost=(("Age", "5"), ("Date", "x"), ("Content-Length", "5")),
    ),
    Row("cookie", "design §5", "not a visitor's cookie", lost=(("SET-COOKIE", "a=1"),)),
    Row(
        "ours", "design §5", "not what is said to us alone", lost=(("Pagegen-Cache-Control", "x"),)
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_page_keeps_its_fields_as_they_came_but_some(row: Row) -> None:
    for given in ((*row.lost, *row.withheld, *KEPT, *row.kept), (*KEPT, *row.kept, *row.lost)):
        assert stored_fields(ResponseHead(200, given)) == (*KEPT, *row.kept), row.says
    whole = ResponseHead(200, (*KEPT, *row.withheld, *row.kept, *row.lost))
    assert withheld_fields(whole) == row.withheld


def test_what_is_for_the_client_leaves_out_this_connection_and_what_is_said_to_us() -> None:
    kept = (*KEPT, ("Set-Cookie", "a=1"), ("Date", "x"), ("Age", "1"), ("Content-Length", "5"))
    lost = (
        ("Connection", "X-Mine, upgrade"),
        ("X-Mine", "1"),
        ("Transfer-Encoding", "chunked"),
        ("pagegen-cache-control", "max-age=5"),
    )
    assert end_to_end((*lost, *kept)) == kept
    assert end_to_end((*kept, *lost)) == kept
    assert end_to_end(kept) == kept


def test_the_cookies_of_a_response_are_all_their_lines_and_nothing_else() -> None:
    cookies = (("Set-Cookie", "a=1"), ("SET-COOKIE", "b=2"), ("set-cookie", "a=1"))
    assert cookies_set(ResponseHead(200, (*KEPT, *cookies, ("Set-Cookie2", "c")))) == cookies
    assert cookies_set(ResponseHead(200, KEPT)) == ()


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
    """§3.3: what is shorter than it says is incomplete, and no incomplete one is stored."""
    rule = Rule(path="/", share="public", max_body=10)
    fields = () if declared is None else (("content-length", declared),)
    assert body_refusal(ResponseHead(200, fields), length, rule) is expect


@pytest.mark.parametrize(("value", "expect"), [("7", 7), ("7, 7", 7), ("x", None), ("7, 8", None)])
def test_the_promised_length_is_none_when_it_cannot_be_read(value: str, expect: int | None) -> None:
    assert declared_length(ResponseHead(200, (("Content-Length", value),))) == expect
    assert declared_length(ResponseHead(200, ())) is None
