"""What the answer to a write invalidates by name: declared namespaces and groups (RFC 9875 §3).

The URLs that it invalidates are the matter of ``test_unsafe_urls.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.law.unsafe import forgotten, softly
from pagegen.messages import SAFE_METHODS, Fields, GivenFields, Request, ResponseHead
from pagegen.namespaces import check
from pagegen.rulebook import RuleBook
from pagegen.rules import Invalidates

BOOK = RuleBook(
    (),
    (
        Invalidates(path="/items/{id}", namespaces=["item:{id}", "items"]),
        Invalidates(path="/items/**", namespaces=["items", "search"], methods=["DELETE"]),
        Invalidates(path="/users/{user:int}", namespaces=["user:{user}"], methods=["MOVE"]),
    ),
)


class Rule(NamedTuple):
    """An answer to a request, and the namespaces that it forgets."""

    id: str
    rfc: str
    says: str
    request: tuple[str, str]
    expect: tuple[str, ...]
    status: int = 200
    given: Fields = ()


def answered(method: str, path: str, head: ResponseHead, book: RuleBook = BOOK) -> tuple[str, ...]:
    """What an answer forgets in a book whose rules cache nothing."""
    fields = GivenFields({"host": "shop.example"})
    return forgotten(book, Request(method, "http", "", path, None, "", fields, {}), head)


def group(value: str) -> Fields:
    """Fields of a response that invalidates these groups."""
    return (("Cache-Group-Invalidation", value),)


POST = ("POST", "/items/7")
RULES = [
    Rule("post", "9111 §4.4-2", "a successful write", POST, ("item:7", "items")),
    Rule("303", "9111 §4.4-8", "a redirect is no error", POST, ("item:7", "items"), 303),
    Rule("399", "9111 §4.4-8", "up to the last one", POST, ("item:7", "items"), 399),
    Rule("400", "9111 §4.4-8", "an error changed nothing", POST, (), 400),
    Rule("503", "9111 §4.4-8", "nor did a failure", POST, (), 503),
    Rule(
        "all",
        "design §2",
        "all entries take part, each name once",
        ("DELETE", "/items/7"),
        ("item:7", "items", "search"),
    ),
    Rule(
        "deep", "design §2", "by their own patterns", ("DELETE", "/items/7/x"), ("items", "search")
    ),
    Rule("method", "design §2", "by their own methods", ("PUT", "/items/7/x"), ()),
    Rule("custom", "9111 §4.4-2", "methods that nobody knows", ("MOVE", "/users/007"), ("user:7",)),
    Rule("elsewhere", "design §2", "another path", ("POST", "/other"), ()),
    Rule(
        "escaped",
        "design §2",
        "values are escaped",
        ("POST", "/items/a b:é"),
        ("item:a%20b%3A%C3%A9", "items"),
    ),
    Rule(
        "groups",
        "9875 §3-5",
        "the application says so itself",
        ("POST", "/x"),
        ("a", "b c"),
        200,
        group('"a", "b c";x=1, token'),
    ),
    Rule(
        "groups-error",
        "9875 §3-5",
        "whatever the status",
        ("POST", "/x"),
        ("a",),
        500,
        group('"a"'),
    ),
    Rule(
        "groups-safe", "9875 §3-4", "never on a safe method", ("GET", "/x"), (), 200, group('"a"')
    ),
    Rule(
        "groups-safe-any-case",
        "9875 §3-4",
        "as frameworks read the method",
        ("get", "/x"),
        (),
        200,
        group('"a"'),
    ),
    Rule(
        "groups-unknown",
        "9875 §3-5",
        "a method that nobody knows is not safe",
        ("BREW", "/x"),
        ("a",),
        200,
        group('"a"'),
    ),
    Rule(
        "groups-parameters",
        "9875 §3-9",
        "parameters that nobody knows say nothing",
        ("POST", "/x"),
        ("a", "b"),
        200,
        group('"a";x;y=1, "b";z="c"'),
    ),
    Rule(
        "groups-case",
        "9875 §2.1-2",
        "groups are compared character by character",
        ("POST", "/x"),
        ("A", "a"),
        200,
        group('"A", "a"'),
    ),
    Rule(
        "groups-bad",
        "9651 §4.2",
        "a list that does not parse is none",
        ("POST", "/x"),
        (),
        200,
        group('"a", "b'),
    ),
    Rule(
        "groups-name",
        "design §2",
        "what is no name is left out",
        ("POST", "/x"),
        ("b",),
        200,
        group('" a", "b", ""'),
    ),
    Rule(
        "groups-lines",
        "9110 §5.3",
        "two lines are one list",
        ("PUT", "/x"),
        ("a", "b"),
        200,
        (("cache-group-invalidation", '"a"'), ("Cache-Group-Invalidation", '"b", "a"')),
    ),
    Rule(
        "both", "9875 §3-5", "both ways together", POST, ("a", "item:7", "items"), 201, group('"a"')
    ),
    Rule(
        "cache-groups",
        "9875 §2-1",
        "Cache-Groups forgets nothing",
        ("POST", "/x"),
        (),
        200,
        (("Cache-Groups", '"a"'),),
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.rfc.replace(' §', '-')}-{rule.id}")
def test_an_answer_forgets_what_it_must_and_nothing_else(rule: Rule) -> None:
    method, path = rule.request
    head = ResponseHead(rule.status, rule.given)
    assert answered(method, path, head) == rule.expect, rule.says


def test_the_safe_methods_are_those_of_the_registry_that_frameworks_know() -> None:
    # RFC 9110 §9.2.1, RFC 4918 §9.1, RFC 3253 §3.6, RFC 5323 §2, and QUERY.
    expect = "GET HEAD OPTIONS TRACE QUERY PROPFIND REPORT SEARCH"
    assert set(expect.split()) == SAFE_METHODS


LEFT = Invalidates(path="/w", namespaces=["a", "b", "url:x"], soft=True)
TAKEN = Invalidates(path="/w", namespaces=["b", "c"])
WRITE = ("POST", "/w")


@pytest.mark.parametrize(
    ("says", "entries", "write", "status", "groups", "expect"),
    [
        ("what is soft is left", (LEFT,), WRITE, 200, "", {"a", "b"}),
        ("in any spelling", (LEFT,), ("post", "//w/"), 303, "", {"a", "b"}),
        ("to the last of the answers", (LEFT,), WRITE, 399, "", {"a", "b"}),
        ("that are no errors", (LEFT,), WRITE, 400, "", set()),
        ("unless another entry says hard", (LEFT, TAKEN), WRITE, 200, "", {"a"}),
        ("wherever that stands", (TAKEN, LEFT), WRITE, 200, "", {"a"}),
        ("or the application itself", (LEFT,), WRITE, 200, '"b"', {"a"}),
        ("of this write", (LEFT,), ("POST", "/x"), 200, "", set()),
        ("without a soft entry nothing is", (TAKEN,), WRITE, 200, "", set()),
    ],
)
def test_what_every_entry_leaves_to_others_is_left(
    says: str,
    entries: tuple[Invalidates, ...],
    write: tuple[str, str],
    status: int,
    groups: str,
    expect: set[str],
) -> None:
    method, path = write
    request = Request(method, "http", "", path, None, "", GivenFields(), {})
    head = ResponseHead(status, group(groups))
    assert softly(RuleBook((), entries), request, head) == frozenset(expect), says


@pytest.mark.parametrize("method", sorted(SAFE_METHODS))
def test_a_safe_method_never_forgets_anything(method: str) -> None:
    head = ResponseHead(200, group('"a"'))
    assert answered("POST", "/items/7", head)
    assert answered(method, "/items/7", head) == ()


def test_every_name_that_a_write_forgets_is_a_name() -> None:
    book = RuleBook((), (Invalidates(path="/files/{rest:path}", namespaces=["{rest}"]),))
    assert answered("POST", "/files/a", ResponseHead(200, ()), book) == ("a", "a%2F")
    for name in answered("POST", "/files/", ResponseHead(200, ()), book):
        check(name)
    # What is too long is the name of no page either.
    assert answered("POST", f"/files/{'a' * 600}", ResponseHead(200, ()), book) == ()


def test_an_entry_of_other_methods_hides_none_behind_it() -> None:
    entries = (
        Invalidates(path="/items/{id}", namespaces=["item:{id}"], methods=["PUT"]),
        Invalidates(path="/items/{id}", namespaces=["items"], methods=["DELETE"]),
    )
    book = RuleBook((), entries)
    for method, name in (("PUT", "item:7"), ("DELETE", "items")):
        assert answered(method, "/items/7", ResponseHead(200, ()), book) == (name,)


@pytest.mark.parametrize(("count", "length"), [(32, 32), (1, 512), (256, 32), (4096, 40)], ids=str)
def test_as_many_groups_as_the_application_names_are_forgotten(count: int, length: int) -> None:
    # RFC 9875 §3-10 asks for 32 of 32 characters. There is no bound of ours: one left out would
    # be served although the application said that it is old.
    names = tuple(f"{number:0{length}}" for number in range(count))
    head = ResponseHead(200, group(", ".join(f'"{name}"' for name in names)))
    assert answered("POST", "/x", head) == names


@given(st.lists(st.one_of(st.text(), st.sampled_from(['"a"', '"b"', ",", ";x", "("]))))
def test_no_field_raises_and_what_is_forgotten_are_names(lines: list[str]) -> None:
    fields = tuple(("Cache-Group-Invalidation", line) for line in lines)
    for name in answered("POST", "/x", ResponseHead(200, fields)):
        assert check(name)
