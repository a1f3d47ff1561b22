"""The law: what no other test told from a small change (docs/reference/mutation-check.md)."""

from __future__ import annotations

import email
import email.policy

import pytest

from pagegen.law.unsafe import _without_dots
from pagegen.law.wishes import Wishes
from pagegen.queries import canonical
from pagegen.rules import Rule
from tests.unit.law.test_ranges import SECRET, ask, page, partial


@pytest.mark.parametrize("no_store", [False, True])
@pytest.mark.parametrize("only_if_cached", [False, True])
def test_who_wants_nothing_stored_or_nothing_asked_shares_nothing(
    no_store: bool, only_if_cached: bool
) -> None:
    wanted = Wishes(no_store=no_store, only_if_cached=only_if_cached)
    assert wanted.shares_nothing is (no_store or only_if_cached)


def test_each_part_of_a_page_has_its_type() -> None:
    answer = partial(ask("bytes=0-0,9-9"), page((("Content-Type", "image/png"),)), lambda: SECRET)
    assert answer is not None
    text = f"Content-Type: {dict(answer.fields)['Content-Type']}\r\n\r\n".encode() + answer.body
    message = email.message_from_bytes(text, policy=email.policy.HTTP)
    parts = list(message.iter_parts())  # type: ignore[attr-defined]
    assert [part["Content-Type"] for part in parts] == ["image/png"] * 2


def test_what_stands_behind_an_empty_parameter_is_read() -> None:
    rule = Rule(path="/", share="public", query={"a": {}, "b": {}})
    query = canonical("&a=1&&b=2&", rule)
    assert query is not None
    assert dict(query.values) == {"a": ("1",), "b": ("2",)}


@pytest.mark.parametrize(
    ("path", "plain"),
    [("/a/.", "/a/"), ("/a/..", "/"), ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/../a", "/a")],
)
def test_a_path_that_ends_with_dots_is_a_directory(path: str, plain: str) -> None:
    assert _without_dots(path) == plain
