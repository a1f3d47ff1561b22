"""Templates declared for rows: which are right, and what is said about the others."""

from __future__ import annotations

from typing import Any

import pytest

from pagegen.contrib.declared import declare
from pagegen.errors import ConfigError, NamespaceError

KNOWN = ("id", "shop_id", "slug")
ROW = {"id": 7, "shop_id": 3, "slug": "a b"}


@pytest.mark.parametrize(
    ("templates", "names", "attributes", "general"),
    [
        (["item:{id}"], ["item:7"], ("id",), ()),
        (["items"], ["items"], (), ("items",)),
        (("item:{id}", "items"), ["item:7", "items"], ("id",), ("items",)),
        (["{shop_id}/{id}", "{id}"], ["3/7", "7"], ("shop_id", "id"), ()),
        (["{id}-{id}"], ["7-7"], ("id",), ()),
        (["slug:{slug}"], ["slug:a%20b"], ("slug",), ()),
        (["item:{id}", "item:{id}"], ["item:7"], ("id",), ()),
        ({"item:{id}": None}, ["item:7"], ("id",), ()),
        ((t for t in ["item:{id}"]), ["item:7"], ("id",), ()),
    ],
)
def test_right_declarations(
    templates: Any, names: list[str], attributes: tuple[str, ...], general: tuple[str, ...]
) -> None:
    declared = declare("shop.Item", templates, KNOWN, field="__pagegen__")
    assert list(declared.names(ROW)) == names
    assert tuple(dict.fromkeys(declared.attributes)) == declared.attributes == attributes
    assert declared.general == general
    assert declared.label == "shop.Item"


@pytest.mark.parametrize(
    ("templates", "problem"),
    [
        ("item:{id}", "is no list of templates"),
        (b"item", "is no list of templates"),
        (7, "is no list of templates"),
        (None, "is no list of templates"),
        ([], "names nothing"),
        ([7], "7 is no text"),
        ([None], "None is no text"),
        (["item:{id}", ""], "is no namespace"),
        (["item:{id"], "brace without its partner"),
        (["é"], "is no namespace"),
        ([" a"], "is no namespace"),
        (["pagegen:x"], "keeps for itself"),
        (["x" * 600], "is no namespace"),
        (["item:{}"], "refers to ''"),
        (["item:{pk}"], "refers to 'pk', which is no column of it"),
        (["item:{shop.id}"], "refers to 'shop.id', which is no column of it"),
        (["item:{id!r}"], "refers to 'id!r', which is no column of it"),
    ],
)
def test_wrong_declarations_name_class_field_and_remedy(templates: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declare("shop.Item", templates, KNOWN, field="__pagegen__")
    assert problem in str(caught.value)
    assert str(caught.value).startswith("shop.Item: __pagegen__: ")
    assert caught.value.remedy


def test_the_remedy_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match="such as id, shop_id, slug"):
        declare("Item", ["{pk}"], KNOWN, field="f")


def test_columns_that_are_not_known_yet_are_not_judged() -> None:
    assert declare("Item", ["{pk}"], None, field="f").attributes == ("pk",)
    with pytest.raises(ConfigError):
        declare("Item", ["{p.k}"], None, field="f")


def test_none_belongs_to_no_group_and_a_truth_value_is_refused() -> None:
    declared = declare("Item", ["item:{id}", "shop:{shop_id}", "all"], KNOWN, field="f")
    assert declared.names({**ROW, "shop_id": None}) == ("item:7", "all")
    with pytest.raises(NamespaceError, match="True is no value"):
        declared.names({**ROW, "shop_id": True})
    with pytest.raises(NamespaceError):
        declared.names({**ROW, "id": "x" * 600})


@pytest.mark.parametrize(
    ("changed", "moves"), [(["title"], False), (["shop_id", "title"], True), ([], False)]
)
def test_a_row_moves_when_what_its_templates_refer_to_changes(
    changed: list[str], moves: bool
) -> None:
    declared = declare("Item", ["item:{id}", "shop:{shop_id}"], KNOWN, field="f")
    assert declared.moves(changed) is moves
