"""Structured fields (RFC 9651): lists of strings, and targeted fields (RFC 9213)."""

from __future__ import annotations

from typing import NamedTuple

import http_sf
import pytest

from pagegen import fields


class Rule(NamedTuple):
    """A sentence of an RFC in our words, a value, and what is read from it."""

    id: str
    rfc: str
    says: str
    given: str | None
    expect: dict[str, str | None] | None


TARGETED = [
    Rule("2.1-1", "9213 §2.1", "a dictionary", "max-age=60, public",
         {"max-age": "60", "public": None}),
    Rule("2.1-2", "9213 §2.1", "no value: a Boolean", "no-store", {"no-store": None}),
    Rule("2.1-true", "9651 §3.3.6", "the same as true", "no-store=?1", {"no-store": None}),
    Rule("2.1-quoted", "9213 §2.1", "a quoted value: a String", 'private="a, b"',
         {"private": "a, b"}),
    Rule("2.1-token", "9213 §2.1", "a word: a Token", "x-tier=Edge", {"x-tier": "Edge"}),
    Rule("2.1-unknown", "9213 §2.2", "unknown directives are kept and hurt nobody", "none",
         {"none": None}),
    Rule("2.1-lines", "9651 §4.2", "lines are joined", "a,\tb ,c",
         {"a": None, "b": None, "c": None}),
    Rule("2.1-last", "9651 §3.2", "of a repeated member the last counts (MUST)",
         "max-age=1, max-age=2", {"max-age": "2"}),
    Rule("2.1-parameters", "9213 §2.1", "parameters are ignored", "max-age=5;x=1;y, b;z",
         {"max-age": "5", "b": None}),
    Rule("2.1-spaces", "9110 §5.5", "spaces around a value are no part of it", "\t no-store \t",
         {"no-store": None}),
    Rule("2.1-negative", "9213 §2.1", "left for the caller to refuse", "max-age=-5",
         {"max-age": "-5"}),
    Rule("2.1-most", "9651 §3.3.1", "fifteen digits", "max-age=" + "9" * 15, {"max-age": "9" * 15}),
    # Types that a directive has not (SHOULD NOT be consumed): unreadable, but there.
    Rule("2.1-string-number", "9213 §2.1", "a String is no number", 'max-age="60"',
         {"max-age": ""}),
    Rule("2.1-decimal", "9213 §2.1", "nor is a Decimal", "max-age=1.0", {"max-age": ""}),
    Rule("2.1-no-number", "9213 §2.1", "nor is true", "s-maxage, max-age=9",
         {"s-maxage": None, "max-age": "9"}),
    Rule("2.1-bytes", "9213 §2.1", "nor are bytes", "max-age=:NjA=:", {"max-age": ""}),
    Rule("2.1-date", "9213 §2.1", "nor is a Date", "max-age=@60", {"max-age": ""}),
    Rule("2.1-display", "9213 §2.1", "nor is a display string", 'max-age=%"60"', {"max-age": ""}),
    Rule("2.1-inner", "9213 §2.1", "field names are no inner list", 'no-cache=("a" "b")',
         {"no-cache": ""}),
    Rule("2.1-name-token", "9213 §2.1", "nor a Token", "no-cache=a", {"no-cache": ""}),
    Rule("2.1-name-number", "9213 §2.1", "nor a number", "private=5", {"private": ""}),
    Rule("2.1-closes", "9213 §2.1", "what closes still does", "no-store=5", {"no-store": "5"}),
    Rule("2.1-opens", "9213 §2.1", "what opens does not", 'public=5, must-understand="x", a',
         {"a": None}),
    Rule("2.1-false", "9213 §2.1", "false: not said", "no-store=?0, max-age=5", {"max-age": "5"}),
    Rule("2.1-all-false", "9213 §2.1", "valid, though it says nothing", "no-store=?0", {}),
    Rule("2.1-5-absent", "9213 §2.1", "no field", None, None),
    Rule("2.1-5-empty", "9213 §2.1", "an empty one is ignored (MUST)", "", None),
    Rule("2.1-5-blank", "9213 §2.1", "spaces are nothing (MUST)", " \t ", None),
    Rule("2.1-5-upper", "9651 §3.2", "keys are in lower case (MUST)", "Max-Age=60", None),
    Rule("2.1-5-comma", "9651 §4.2.2", "no comma at the end (MUST)", "no-store,", None),
    Rule("2.1-5-commas", "9651 §4.2.2", "nor two in a row (MUST)", "a,,b", None),
    Rule("2.1-5-semicolon", "9651 §4.2.2", "a semicolon begins a parameter", "a; b=1", {"a": None}),
    Rule("2.1-5-space", "9651 §4.2.2", "no space around = (MUST)", "max-age = 60", None),
    Rule("2.1-5-quote", "9651 §4.2.5", "quotes are closed (MUST)", 'a="b, no-store', None),
    Rule("2.1-5-zeros", "9651 §4.2.4", "sixteen digits are too many (MUST)", "a=" + "9" * 16, None),
    Rule("2.1-5-junk", "9651 §4.2", "nothing behind it (MUST)", "no-store x", None),
    Rule("2.1-5-latin", "9651 §4.2", "ASCII only (MUST)", "no-store, \xe9", None),
    Rule("2.1-5-wide", "9651 §4.2", "ASCII only (MUST)", "no-store, \u20ac", None),
]  # fmt: skip


@pytest.mark.parametrize("rule", TARGETED, ids=lambda row: row.id)
def test_a_targeted_field_is_a_dictionary_or_ignored(rule: Rule) -> None:
    assert fields.targeted(rule.given) == rule.expect, rule.says


@pytest.mark.parametrize("directive", ["max-age", "s-maxage", "stale-if-error"])
@pytest.mark.parametrize(
    "text", ['"60"', '" 60 "', "6.0", "-6", "?1", ":NjA=:", "@60", '%"60"', "(60)", "sixty"]
)
def test_only_an_integer_is_a_number_of_seconds(directive: str, text: str) -> None:
    found = fields.targeted(f"{directive}={text}")
    assert found is not None
    assert fields.delta_seconds(found[directive]) is None


@pytest.mark.parametrize("directive", ["no-cache", "private"])
@pytest.mark.parametrize("text", ["a", "5", "5.5", "?1", ":YQ==:", "@5", '("a")', '"a b"', '""'])
def test_only_a_string_of_names_qualifies(directive: str, text: str) -> None:
    found = fields.targeted(f"{directive}={text}")
    assert found is not None
    assert fields.field_names(found[directive]) == ()
    assert directive in found


def test_a_targeted_field_too_long_to_be_read_closes_everything() -> None:
    # To ignore it would leave Cache-Control alone, which may open what it closed.
    assert fields.targeted("a, " * fields.MAX_VALUE + "a") == {"no-store": None}
    whole = ("a, " * fields.MAX_VALUE)[: fields.MAX_VALUE - 1] + "a"
    assert fields.targeted(whole.replace(" a", "aa")) is not None


@pytest.mark.parametrize(
    ("value", "expect"),
    [
        (None, ()),
        ("", ()),
        ('"a", "b c"', ("a", "b c")),
        ('\t"a" ', ("a",)),
        ('"a";x=1, "b"', ("a", "b")),
        ('"a", token, 5, ?1, %"d", ("in" "ner"), "b"', ("a", "b")),
        ('"a\\"b\\\\"', ('a"b\\',)),
        ('"a", "open', ()),
        ('"a",', ()),
        ('"a" "b"', ()),
        ('"a\\b"', ()),
        ('"\xe9"', ()),
        ('"\u20ac"', ()),
    ],
)
def test_strings_of_a_structured_list_are_all_or_none(
    value: str | None, expect: tuple[str, ...]
) -> None:
    assert fields.strings(value) == expect


def test_more_groups_than_rfc_9875_asks_for_are_read() -> None:
    # §2.1 of it wants 32 groups of 32 characters at the least.
    names = [f"{number:064}" for number in range(512)]
    assert fields.strings(http_sf.ser([(name, {}) for name in names])) == tuple(names)
