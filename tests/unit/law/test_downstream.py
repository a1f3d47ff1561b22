"""What clients are told where the application is silent (RFC 9111 §5.2.2.4, the design's §5)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pagegen.law.downstream import added, page_fields
from pagegen.law.validation import strong_etag
from pagegen.messages import Fields, ResponseHead
from pagegen.rules import Rule

NO_CACHE: Fields = (("Cache-Control", "no-cache"),)
EXPIRES = ("Expires", "Sun, 06 Nov 2094 08:49:37 GMT")


def rule(*namespaces: str) -> Rule:
    """A rule with these namespaces."""
    return Rule(path="/page", share="public", namespaces=namespaces)


class Case(NamedTuple):
    """A response, its namespaces, and what is added to it."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: Fields
    namespaces: tuple[str, ...] = ("a",)


CASES = [
    Case("silent", "§5.2.2.4", "no copy outlives an invalidation", (), NO_CACHE),
    Case("no-group", "design §5", "a page that nobody forgets", (), (), ()),
    Case("said", "design §5", "the application said so", (("cache-control", "max-age=5"),), ()),
    Case("empty", "design §5", "even an empty word is one", (("Cache-Control", ""),), ()),
    Case("expires", "§5.3", "Expires is a word too", (EXPIRES,), ()),
    Case("other", "design §5", "other fields say nothing of it", (("ETag", '"a"'),), NO_CACHE),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_clients_are_told_to_ask_where_the_application_is_silent(case: Case) -> None:
    assert added(ResponseHead(200, case.given), rule(*case.namespaces)) == case.expect, case.says


def test_a_page_is_sent_with_a_strong_validator_and_its_length() -> None:
    head = ResponseHead(200, (("Content-Type", "text/html"), ("Date", "x"), ("Set-Cookie", "a=1")))
    fields = page_fields(head, b"body", rule("a"))
    assert fields == (
        ("Content-Type", "text/html"),
        ("ETag", strong_etag(b"body", (("Content-Type", "text/html"),))),
        ("Cache-Control", "no-cache"),
        ("Accept-Ranges", "bytes"),
        ("Content-Length", "4"),
    )


@pytest.mark.parametrize(
    ("status", "said", "expect"),
    [
        (200, (), ["bytes"]),
        (200, (("accept-ranges", "none"),), ["none"]),
        (200, (("Accept-Ranges", "bytes"),), ["bytes"]),
        (203, (), []),
        (404, (), []),
    ],
)
def test_pages_that_have_parts_say_so_unless_the_application_spoke(
    status: int, said: Fields, expect: list[str]
) -> None:
    fields = page_fields(ResponseHead(status, said), b"body", rule())
    assert [value for name, value in fields if name.lower() == "accept-ranges"] == expect


@pytest.mark.parametrize("etag", ['"mine"', 'W/"mine"'])
def test_the_validator_of_the_application_stays(etag: str) -> None:
    fields = page_fields(ResponseHead(200, (("etag", etag),)), b"", rule("a"))
    assert [value for name, value in fields if name.lower() == "etag"] == [etag]


def test_a_wrong_length_of_the_application_never_leaves() -> None:
    fields = page_fields(ResponseHead(200, (("content-length", "99"),)), b"four", rule())
    lengths = [value for name, value in fields if name.lower() == "content-length"]
    assert lengths == ["4"]
