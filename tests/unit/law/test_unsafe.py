"""What the answer to a write invalidates (RFC 9111 §4.4, RFC 9875 §3)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pagegen.law.unsafe import forgotten
from pagegen.messages import Fields, ResponseHead
from pagegen.rulebook import RuleBook
from pagegen.rules import SAFE_METHODS, Invalidates

BOOK = RuleBook(
    (),
    (
        Invalidates(path="/items/{id}", namespaces=["item:{id}", "items"]),
        Invalidates(path="/items/**", namespaces=["items", "search"], methods=["DELETE"]),
        Invalidates(path="/users/{user:int}", namespaces=["user:{user}"], methods=["MOVE"]),
    ),
)


class Case(NamedTuple):
    """An answer to a request, and the namespaces that it forgets."""

    id: str
    rfc: str
    says: str
    request: tuple[str, str]
    expect: tuple[str, ...]
    status: int = 200
    given: Fields = ()


def group(value: str) -> Fields:
    """Fields of a response that invalidates these groups."""
    return (("Cache-Group-Invalidation", value),)


POST = ("POST", "/items/7")
CASES = [
    Case("post", "9111 §4.4", "a successful write", POST, ("item:7", "items")),
    Case("303", "9111 §4.4", "a redirect is no error", POST, ("item:7", "items"), 303),
    Case("399", "9111 §4.4", "up to the last one", POST, ("item:7", "items"), 399),
    Case("400", "9111 §4.4", "an error changed nothing", POST, (), 400),
    Case("503", "9111 §4.4", "nor did a failure", POST, (), 503),
    Case(
        "all",
        "design §2",
        "all entries take part, each name once",
        ("DELETE", "/items/7"),
        ("item:7", "items", "search"),
    ),
    Case(
        "deep", "design §2", "by their own patterns", ("DELETE", "/items/7/x"), ("items", "search")
    ),
    Case("method", "design §2", "by their own methods", ("PUT", "/items/7/x"), ()),
    Case("custom", "9111 §4.4", "methods that nobody knows", ("MOVE", "/users/007"), ("user:7",)),
    Case("elsewhere", "design §2", "another path", ("POST", "/other"), ()),
    Case(
        "escaped",
        "design §2",
        "values are escaped",
        ("POST", "/items/a b:é"),
        ("item:a%20b%3A%C3%A9", "items"),
    ),
    Case(
        "groups",
        "9875 §3",
        "the application says so itself",
        ("POST", "/x"),
        ("a", "b c"),
        200,
        group('"a", "b c";x=1, token'),
    ),
    Case(
        "groups-error", "9875 §3", "whatever the status", ("POST", "/x"), ("a",), 500, group('"a"')
    ),
    Case("groups-safe", "9875 §3", "never on a safe method", ("GET", "/x"), (), 200, group('"a"')),
    Case(
        "groups-bad",
        "9651 §4.2",
        "a list that does not parse is none",
        ("POST", "/x"),
        (),
        200,
        group('"a", "b'),
    ),
    Case(
        "groups-name",
        "design §2",
        "what is no name is left out",
        ("POST", "/x"),
        ("b",),
        200,
        group('" a", "b", ""'),
    ),
    Case(
        "groups-lines",
        "9110 §5.3",
        "two lines are one list",
        ("PUT", "/x"),
        ("a", "b"),
        200,
        (("cache-group-invalidation", '"a"'), ("Cache-Group-Invalidation", '"b", "a"')),
    ),
    Case(
        "both", "9875 §3", "both ways together", POST, ("a", "item:7", "items"), 201, group('"a"')
    ),
    Case(
        "cache-groups",
        "9875 §2",
        "Cache-Groups forgets nothing",
        ("POST", "/x"),
        (),
        200,
        (("Cache-Groups", '"a"'),),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_answer_forgets_what_it_must_and_nothing_else(case: Case) -> None:
    method, path = case.request
    head = ResponseHead(case.status, case.given)
    assert forgotten(BOOK, method, path, head) == case.expect, case.says


@pytest.mark.parametrize("method", sorted(SAFE_METHODS))
def test_a_safe_method_never_forgets_anything(method: str) -> None:
    head = ResponseHead(200, group('"a"'))
    assert forgotten(BOOK, method, "/items/7", head) == ()


def test_every_name_that_a_write_forgets_is_a_name() -> None:
    from pagegen.namespaces import check

    book = RuleBook((), (Invalidates(path="/files/{rest:path}", namespaces=["{rest}"]),))
    for name in forgotten(book, "POST", "/files/", ResponseHead(200, ())):
        check(name)
