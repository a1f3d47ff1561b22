"""What the log calls namespaces: shapes, in which no value stands."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen import Invalidates, Rule, namespace
from pagegen.namespaces import is_name
from pagegen.rulebook import RuleBook
from pagegen.shapes import MAX_WORD, SHOWN, Shapes

BOOK = RuleBook(
    (
        Rule(path="/u/{user}", share="public", namespaces=["user:{user}/items", "home", "v2"]),
        Rule(path="/x/{slug}", share="public", namespaces=["{slug}/page"]),
    ),
    (Invalidates(path="/w/{id}", namespaces=["written-{id}"]),),
)
SHAPES = Shapes(BOOK)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("user:42/items", "user:{user}/items"),
        ("user:ada/items", "user:{user}/items"),
        ("home", "home"),
        ("v2", "v2"),  # a rule's own word
        ("ada/page", "{slug}/page"),
        ("written-ada", "written-{id}"),
        ("user:ada", "user:…"),
        ("user:ada/cart", "user:…/cart"),
        ("user:ada:cart", "user:…"),
        ("cart:ada/item:7", "cart:…/item:…"),
        ("items", "items"),
        ("v3", "…"),
        ("ada@example.com", "…"),
        ("ada@example.com:x", "…"),
        ("a%20b/list", "…/list"),
        ("x" * MAX_WORD, "x" * MAX_WORD),
        ("x" * (MAX_WORD + 1), "…"),
        ("url:shop.example/ada/secret", "url:…"),
        ("pagegen:sequence", "pagegen:…"),
    ],
)
def test_a_name_is_told_by_its_shape(name: str, shape: str) -> None:
    assert SHAPES.of(name) == shape
    assert Shapes(BOOK, whole=True).of(name) == name


@given(st.text(st.characters(), min_size=1, max_size=60))
def test_no_value_of_a_template_or_behind_a_colon_is_told(value: str) -> None:
    """Digits around it, so that it stands in no word of ours by chance."""
    marked = f"7{value}7"
    for template in ("user:{x}/items", "{x}/page", "written-{x}", "cart:{x}", "a:{x}/b:{x}/c"):
        name = namespace(template, x=marked)
        if is_name(name):
            assert "7" not in SHAPES.of(name)
            assert "7" not in SHAPES.join([name])


def test_names_of_one_shape_are_counted_and_many_are_bounded() -> None:
    assert SHAPES.join(["user:1/items", "home", "user:2/items"]) == (
        "user:{user}/items (2 of them), home"
    )
    assert SHAPES.join([]) == ""
    many = [f"user:{number}" for number in range(100_000)]
    assert SHAPES.join(many) == f"user:… ({SHOWN} of them) and {100_000 - SHOWN} more"
    words = ["x" * 30 + letter for letter in "abcdefghijklmnopqrstuvwxyz"] * 10
    assert len(SHAPES.join(words)) < 2_000


def test_whole_names_are_told_where_that_is_asked_for() -> None:
    assert Shapes(BOOK, whole=True).join(["user:1/items", "user:2/items"]) == (
        "user:1/items, user:2/items"
    )


@pytest.mark.parametrize("text", ["item:1", "a b", "x/y:z"])
def test_a_shape_can_be_printed(text: str) -> None:
    assert re.fullmatch(r"[ -~…]+", SHAPES.of(text))
