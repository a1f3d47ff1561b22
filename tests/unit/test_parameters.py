"""Types of query parameters, keyed headers and cookies: one canonical text, or a bypass."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagegen.errors import ConfigError
from pagegen.parameters import KeyedField, Parameter, check_keys, declared


@pytest.mark.parametrize(
    ("values", "text", "expect"),
    [
        ({}, "", ""),
        ({}, "a b", "a b"),
        ({}, "é", "é"),
        ({}, "a\nb", None),
        ({}, "\u200b", None),
        ({"max_length": 3}, "abc", "abc"),
        ({"max_length": 3}, "abcd", None),
        ({"type": "int"}, "0", "0"),
        ({"type": "int"}, "007", "7"),
        ({"type": "int"}, "-0", "0"),
        ({"type": "int"}, "-12", "-12"),
        ({"type": "int"}, "", None),
        ({"type": "int"}, "+5", None),
        ({"type": "int"}, " 5", None),
        ({"type": "int"}, "5\n", None),
        ({"type": "int"}, "5_0", None),
        ({"type": "int"}, "５", None),
        ({"type": "int"}, "1e3", None),
        ({"type": "int"}, "1" * 18, "1" * 18),
        ({"type": "int"}, "1" * 19, None),
        ({"type": "int", "min": 1}, "0", None),
        ({"type": "int", "min": 1}, "1", "1"),
        ({"type": "int", "max": 9}, "9", "9"),
        ({"type": "int", "max": 9}, "10", None),
        ({"type": "bool"}, "On", "1"),
        ({"type": "bool"}, "TRUE", "1"),
        ({"type": "bool"}, "no", "0"),
        ({"type": "bool"}, "", None),
        ({"type": "bool"}, "2", None),
        ({"type": "enum", "values": ["a", "B"]}, "B", "B"),
        ({"type": "enum", "values": ["a", "B"]}, "b", None),
        ({"type": "enum", "values": ["a", "B"]}, "", None),
    ],
)
def test_a_value_is_read_by_its_type(values: dict[str, Any], text: str, expect: str | None) -> None:
    assert Parameter(**values).read(text) == expect


@pytest.mark.parametrize(
    ("values", "texts", "expect"),
    [
        ({}, [], ()),
        ({"default": ""}, [], ("",)),
        ({"type": "int", "default": 5}, [], ("5",)),
        ({"type": "int", "default": "05"}, [], ("5",)),
        ({"type": "bool", "default": True}, [], ("1",)),
        ({"type": "bool", "default": "off"}, [], ("0",)),
        ({"type": "enum", "values": ["a"], "default": "a"}, [], ("a",)),
        ({"type": "int", "default": 5}, ["6"], ("6",)),
        ({"type": "int", "default": 5}, ["x"], None),
        ({}, ["a", "a"], None),
        ({"repeat": "list"}, ["b", "a", "b"], ("b", "a", "b")),
        ({"repeat": "set"}, ["b", "a", "b"], ("a", "b")),
        ({"repeat": "list", "type": "int"}, ["1", "x"], None),
        ({"repeat": "list", "max_repeats": 2}, ["a", "b"], ("a", "b")),
        ({"repeat": "list", "max_repeats": 2}, ["a", "b", "c"], None),
        ({"repeat": "set", "max_repeats": 2}, ["a", "a", "a"], None),
    ],
)
def test_all_values_of_a_parameter_become_canonical(
    values: dict[str, Any], texts: list[str], expect: tuple[str, ...] | None
) -> None:
    assert Parameter(**values).canonical(texts) == expect


WRONG = [
    ({"type": "float"}, "type", "'float' is no type", "str, int, bool, enum"),
    ({"type": ["int"]}, "type", "is no type", "Choose one of"),
    ({"repeat": "yes"}, "repeat", "'yes' is no way", 'Choose "no", "list" or "set"'),
    ({"min": 1}, "min", "1 bounds a parameter of type str", 'Only type = "int"'),
    ({"type": "int", "max": 1.5}, "max", "1.5 bounds", "whole numbers"),
    ({"type": "int", "max": True}, "max", "True bounds", "whole numbers"),
    ({"type": "int", "min": "1"}, "min", "'1' bounds", "whole numbers"),
    ({"type": "int", "min": 2, "max": 1}, "min", "min 2 is above max 1", "Swap or correct"),
    ({"max_repeats": 0}, "max_repeats", "0 is no limit", "above 0"),
    ({"max_length": -1}, "max_length", "-1 is no limit", "above 0"),
    ({"max_length": True}, "max_length", "True is no limit", "above 0"),
    ({"type": "enum"}, "values", "values and type do not fit", 'type = "enum"'),
    ({"values": ["a"]}, "values", "values and type do not fit", 'type = "enum"'),
    ({"type": "enum", "values": "ab"}, "values", "'ab' is no list", "Write a list"),
    ({"type": "enum", "values": [1]}, "values", "1 is not text", "in quotes"),
    ({"type": "enum", "values": ["a", "a"]}, "values", "stands twice", "Remove one"),
    ({"type": "int", "default": "x"}, "default", "'x' is not a value", "allow"),
    ({"type": "int", "default": 0, "min": 1}, "default", "0 is not a value", "allow"),
    ({"type": "int", "default": True}, "default", "True is not a value", "allow"),
    ({"type": "int", "default": 1.0}, "default", "1.0 is neither text", "one value"),
    ({"type": "bool", "default": 2}, "default", "2 is not a value", "allow"),
    ({"type": "enum", "values": ["a"], "default": "b"}, "default", "'b' is not", "allow"),
    ({"default": "a\nb"}, "default", "is not a value", "allow"),
    ({"default": "abc", "max_length": 2}, "default", "is not a value", "allow"),
]


@pytest.mark.parametrize(("values", "field", "problem", "remedy"), WRONG)
def test_a_wrong_parameter_names_field_problem_and_remedy(
    values: dict[str, Any], field: str, problem: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Parameter(**values)
    assert caught.value.field == field
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("default", [["a"], {"a": 1}])
def test_a_default_is_text_a_number_or_a_truth_value(default: Any) -> None:
    with pytest.raises(ConfigError):
        Parameter(default=default)


PARAMETERS = st.one_of(
    st.builds(Parameter, max_length=st.integers(1, 5)),
    st.builds(Parameter, type=st.just("int"), min=st.integers(-9, 0), max=st.integers(1, 99)),
    st.just(Parameter(type="bool", default=False)),
    st.just(Parameter(type="enum", values=("a", "b", "0"), default="a")),
    st.just(Parameter(type="int", repeat="set", max_repeats=3)),
    st.just(Parameter(repeat="list", max_repeats=3)),
)
TEXTS = st.lists(st.one_of(st.text(max_size=6), st.text("ab01-", max_size=4)), max_size=4)


@settings(deadline=None, max_examples=300)
@given(PARAMETERS, TEXTS)
def test_canonical_values_are_canonical_themselves(parameter: Parameter, texts: list[str]) -> None:
    values = parameter.canonical(texts)
    if values is not None:
        assert parameter.canonical(values) == values
        assert all(parameter.read(value) == value for value in values)


@pytest.mark.parametrize(
    ("name", "values", "sent", "expect"),
    [
        ("x-a", {}, None, (True, None)),
        ("x-a", {}, "", (True, "")),
        ("x-a", {}, "any", (True, "any")),
        ("x-a", {}, "a\x00b", (False, "a\x00b")),
        ("x-a", {"max_length": 2}, "abc", (False, "abc")),
        ("x-a", {"default": "d"}, None, (True, "d")),
        ("x-a", {"default": "d"}, "", (True, "")),
        ("x-a", {"values": ["a", "b"]}, "b", (True, "b")),
        ("x-a", {"values": ["a", "b"]}, "B", (False, None)),
        ("x-a", {"values": ["a", "b"]}, None, (True, None)),
        ("x-a", {"values": ["a", "b"], "default": "a"}, "c", (True, "a")),
        ("accept-language", {"values": ["en", "de"]}, "de-AT, en;q=0.1", (True, "de")),
        ("accept-language", {"values": ["en", "de"]}, "fr", (False, None)),
        ("accept-language", {"values": ["en", "de"], "default": "en"}, "fr", (True, "en")),
        ("accept-language", {}, "de-AT, en", (True, "de-AT, en")),
        ("accept-encoding", {"values": ["gzip"]}, "br", (True, None)),
        ("accept-encoding", {"values": ["gzip"]}, "gzip;q=0.1", (True, "gzip")),
    ],
)
def test_a_keyed_field_is_read_to_what_the_page_is_keyed_by(
    name: str, values: dict[str, Any], sent: str | None, expect: tuple[bool, str | None]
) -> None:
    sure, value = KeyedField(**values).read(name, sent)
    assert sure is expect[0]
    assert not sure or value == expect[1]


@pytest.mark.parametrize(
    ("values", "field", "problem", "remedy"),
    [
        ({"values": "ab"}, "values", "'ab' is no list", "Write a list"),
        ({"values": [1]}, "values", "1 is not text", "in quotes"),
        ({"values": ["a", "a"]}, "values", "stands twice", "Remove one"),
        ({"values": ["é"]}, "values", "cannot stand in a header", "printable ASCII"),
        ({"values": ["a\r\nb"]}, "values", "cannot stand in a header", "printable ASCII"),
        ({"default": 5}, "default", "5 is not text", "in quotes"),
        ({"default": "é"}, "values", "cannot stand in a header", "printable ASCII"),
        ({"max_length": 0}, "max_length", "0 is no limit", "above 0"),
    ],
)
def test_a_wrong_keyed_field_names_field_problem_and_remedy(
    values: dict[str, Any], field: str, problem: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        KeyedField(**values)
    assert caught.value.field == field
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_a_table_is_built_from_tables_and_from_values() -> None:
    built = declared(Parameter, "query", {"a": {"type": "int"}, "b": Parameter(), "c": {}})
    assert built == {"a": Parameter(type="int"), "b": Parameter(), "c": Parameter()}
    assert list(built) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("table", "field", "problem", "remedy"),
    [
        ([], "query", "[] is no table", "Write [rule.query]"),
        ({"a": "int"}, "query.a", "'int' declares nothing", "Write {"),
        ({"a": KeyedField()}, "query.a", "declares nothing", "Write {"),
        ({"": {}}, "query.", "'' is no name here", "Header names"),
        ({7: {}}, "query.7", "7 is no name here", "Header names"),
        ({"a": {"typ": "int"}}, "query.a.typ", "unknown key 'typ'", "Did you mean 'type'?"),
        ({"a": {"xyzzy": 1}}, "query.a.xyzzy", "unknown key 'xyzzy'", "Known are default, max"),
        ({"a": {"type": "int", "min": "x"}}, "query.a.min", "'x' bounds", "whole numbers"),
    ],
)
def test_a_wrong_table_names_the_member(table: Any, field: str, problem: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declared(Parameter, "query", table)
    assert caught.value.field == field
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


UNKEYED = [
    *("authorization", "connection", "content-length", "cookie", "host", "if-match", "range"),
    *("if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "upgrade"),
    *("transfer-encoding", "X-Upper", "a b", "", "é", "a:b"),
]


@pytest.mark.parametrize("name", UNKEYED)
def test_a_header_with_a_place_of_its_own_is_not_keyed(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name here"):
        declared(KeyedField, "headers", {name: {}})


def test_an_asterisk_is_no_header_to_key_by() -> None:
    # It is a token, but keyed it would make "Vary: *" look covered.
    with pytest.raises(ConfigError):
        declared(KeyedField, "headers", {"*": {}})


@pytest.mark.parametrize("name", ["a b", "a;b", "a=b", "", "é"])
def test_a_cookie_is_named_by_a_token(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name here"):
        declared(KeyedField, "cookies", {name: {}})
    assert declared(KeyedField, "cookies", {"Session": {}}) == {"Session": KeyedField()}


def test_unknown_keys_are_refused_with_the_nearest_known_one() -> None:
    check_keys({"ttl": 1}, {"ttl"}, None)
    with pytest.raises(ConfigError) as caught:
        check_keys({"tll": 1}, {"ttl", "path"}, None)
    assert str(caught.value) == "tll: unknown key 'tll'. Did you mean 'ttl'?"
