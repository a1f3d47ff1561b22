"""Parsers of lists, Cache-Control, numbers and cookies: one row a sentence of the RFCs."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pagegen import fields
from pagegen.units import MAX_SECONDS

Directives = dict[str, str | None]


class Rule(NamedTuple):
    """A sentence of an RFC in our words, a value, and what is read from it."""

    id: str
    rfc: str
    says: str
    given: str | None
    expect: object


def rules(*rows: Rule) -> pytest.MarkDecorator:
    assert len({row.id for row in rows}) == len(rows)
    return pytest.mark.parametrize("rule", rows, ids=lambda row: row.id)


@rules(
    Rule("9110-5.6.1-absent", "9110 §5.6.1", "no field has no members", None, ()),
    Rule("9110-5.6.1-empty", "9110 §5.6.1.2", "an empty list has none", "", ()),
    Rule("9110-5.6.1-commas", "9110 §5.6.1.2", "empty members do not count", ", ,\t,", ()),
    Rule("9110-5.6.1-one", "9110 §5.6.1", "one member needs no comma", "close", ("close",)),
    Rule(
        "9110-5.6.1-many",
        "9110 §5.6.1.2",
        "spaces and tabs around members are no part of them",
        "Accept-Encoding,\tCookie ,, *",
        ("accept-encoding", "cookie", "*"),
    ),
)
def test_a_list_of_tokens_has_its_members_in_lower_case(rule: Rule) -> None:
    assert fields.tokens(rule.given) == rule.expect, rule.says


@rules(
    Rule("5.2-1-name", "9111 §5.2", "a directive is a token", "no-store", {"no-store": None}),
    Rule(
        "5.2-1-case",
        "9111 §5.2",
        "its name has no case",
        "NO-STORE, Max-Age=5",
        {"no-store": None, "max-age": "5"},
    ),
    Rule("5.2-1-quoted", "9111 §5.2", "an argument may be quoted", 'a="5"', {"a": "5"}),
    Rule(
        "5.2-1-quoted-list",
        "9111 §5.2",
        "a comma in quotes separates nothing",
        'private="a, b;c", x',
        {"private": "a, b;c", "x": None},
    ),
    Rule(
        "5.2-1-hidden",
        "9111 §5.2",
        "a directive's name inside of quotes is no directive",
        'foo="max-age=5, no-store", bar',
        {"foo": "max-age=5, no-store", "bar": None},
    ),
    Rule(
        "9110-5.6.4-pair",
        "9110 §5.6.4",
        "a backslash stands for the character behind it (MUST)",
        'a="b\\"c\\\\, \\5", d',
        {"a": 'b"c\\, 5', "d": None},
    ),
    Rule(
        "5.2.3-unknown",
        "9111 §5.2.3",
        "unknown directives are kept and hurt nobody",
        "x-new=1, max-age=5",
        {"x-new": "1", "max-age": "5"},
    ),
    Rule(
        "4.2.1-first",
        "9111 §4.2.1",
        "of a repeated directive the first counts",
        "max-age=1, max-age=2, max-age",
        {"max-age": "1"},
    ),
    Rule(
        "4.2.1-unqualified-later",
        "9111 §4.2.1",
        "of those that conflict the one that restricts more: here about everything",
        'private="a", private',
        {"private": None},
    ),
    Rule(
        "4.2.1-unqualified-first",
        "9111 §4.2.1",
        "in this order too",
        'no-cache, no-cache="a"',
        {"no-cache": None},
    ),
    Rule(
        "4.2.1-two-qualified",
        "9111 §4.2.1",
        "two that name different fields are about everything",
        'private="a", private="b"',
        {"private": None},
    ),
    Rule(
        "4.2.1-same-qualified",
        "9111 §4.2.1",
        "the same said twice is no conflict",
        'private="a", private=a',
        {"private": "a"},
    ),
    Rule(
        "9110-5.6.1.2-empty",
        "9110 §5.6.1.2",
        "empty members do not count",
        ", \t,no-store,,",
        {"no-store": None},
    ),
    Rule("empty-argument", "9111 §5.2", "an empty argument is one", "max-age=", {"max-age": ""}),
    Rule("empty", "9111 §5.2", "an empty value says nothing", "", {}),
    Rule("absent", "9111 §5.2", "no field says nothing", None, {}),
    Rule(
        "slip-semicolon",
        "seen in the wild",
        "a semicolon for a comma",
        "no-cache; max-age=3",
        {"no-cache": None, "max-age": "3"},
    ),
)
def test_directives_are_read(rule: Rule) -> None:
    assert fields.directives(rule.given) == rule.expect, rule.says


@rules(
    Rule("junk-before", "-", "rubbish before it", "@@@ , no-store", {"no-store": None}),
    Rule("junk-words", "-", "two words before it", "a b, no-store", {"no-store": None}),
    Rule("string", "-", "a bare string before it", '"quoted", private', {"private": None}),
    Rule("open-quote", "-", "a quote nobody closes", 'a="open, no-store', {"no-store": None}),
    Rule("lone-backslash", "-", "a backslash at the end", 'no-store, a="\\', {"no-store": None}),
    Rule("after-quote", "-", "text behind a quote", 'a="no-store"x', {"no-store": None}),
    Rule(
        "comma",
        "-",
        "a forgotten comma",
        "no-store no-cache",
        {"no-store": None, "no-cache": None},
    ),
    Rule("nbsp", "-", "a space that is none", "\xa0No-Store", {"no-store": None}),
    Rule("colon", "-", "a colon", "private: x", {"private": None}),
    Rule("unqualified", "-", "quotes not closed name no field", 'private="a, b', {"private": None}),
    Rule(
        "revalidate",
        "-",
        "what forbids staleness",
        "@must-revalidate, ?proxy-revalidate",
        {"must-revalidate": None, "proxy-revalidate": None},
    ),
)
def test_what_cannot_be_read_closes_what_it_names(rule: Rule) -> None:
    assert fields.directives(rule.given) == rule.expect, rule.says


@rules(
    Rule("spaces", "9111 §5.2", "no spaces around =", "max-age = 5", {"max-age": None}),
    Rule("open", "-", "behind an open quote", 'foo="bar, max-age=60', {"max-age": None}),
    Rule("inside", "-", "in quotes of rubbish", 'a="x, max-age=60, y"z', {"max-age": None}),
    Rule("shared", "-", "s-maxage alike", "s-maxage =9, max-age=9", {"s-maxage": None,
         "max-age": "9"}),
    Rule("comma", "-", "a forgotten comma", "public max-age=60", {"max-age": None}),
    Rule("nbsp", "9110 §5.6.3", "a space that is none", "\xa0max-age=9", {"max-age": None}),
    Rule("first", "9111 §4.2.1", "and is the first", "@max-age=5, max-age=9", {"max-age": None}),
    Rule("stale", "-", "it opens no window", "@stale-while-revalidate=9", {}),
    Rule("public", "-", "it opens nothing", "@public, must-understand?", {}),
    Rule("request", "9111 §5.2.1", "not for requests either", "@max-stale=9 min-fresh=5",
         {"min-fresh": None}),
)  # fmt: skip
def test_what_cannot_be_read_makes_nothing_fresher(rule: Rule) -> None:
    found = fields.directives(rule.given)
    assert found == rule.expect, rule.says
    assert all(fields.delta_seconds(v) is None for k, v in found.items() if k != "max-age")


def test_a_no_store_behind_eight_kilobytes_of_directives_is_not_overlooked() -> None:
    value = ", ".join(f"x{number}" for number in range(2000)) + ", no-store"
    assert len(value) > fields.MAX_VALUE
    assert "no-store" in fields.directives(value)


@rules(
    Rule("5.2.2.4-list", "9111 §5.2.2.4", "a list of field names", "Set-Cookie,\tX-A ,",
         ("set-cookie", "x-a")),
    Rule("5.2.2.4-one", "9111 §5.2.2.4", "one will do", "age", ("age",)),
    Rule("5.2.2.4-none", "9111 §5.2.2.4", "no argument: everything", None, ()),
    Rule("5.2.2.4-empty", "9111 §5.2.2.4", "an empty one: everything", " , ", ()),
    Rule("5.2.2.4-words", "9110 §5.1", "a name has no space", "a, b c", ()),
    Rule("5.2.2.4-junk", "9110 §5.1", "nor other signs", "a, b:", ()),
    Rule("5.2.2.4-wide", "9110 §5.1", "nor other letters", "a, \xe9", ()),
)  # fmt: skip
def test_a_qualified_directive_names_fields_or_is_about_everything(rule: Rule) -> None:
    assert fields.field_names(rule.given) == rule.expect, rule.says


@rules(
    Rule("1.2.2-1-none", "9111 §1.2.2", "at least one digit", "", None),
    Rule("1.2.2-1-absent", "9111 §1.2.2", "no argument is no number", None, None),
    Rule("1.2.2-1-zero", "9111 §1.2.2", "nought is one", "0", 0),
    Rule("1.2.2-1-spaces", "9110 §5.6.3", "spaces around it", " 60\t", 60),
    Rule("1.2.2-1-zeros", "9111 §1.2.2", "leading zeros are digits", "007", 7),
    Rule("1.2.2-1-many-zeros", "9111 §1.2.2", "however many", "0" * 5000 + "7", 7),
    Rule("1.2.2-1-all-zeros", "9111 §1.2.2", "also of nought", "0" * 5000, 0),
    Rule("1.2.2-1-minus", "9111 §1.2.2", "no sign", "-1", None),
    Rule("1.2.2-1-plus", "9111 §1.2.2", "of either kind", "+1", None),
    Rule("1.2.2-1-float", "9111 §1.2.2", "whole numbers only", "1.5", None),
    Rule("1.2.2-1-power", "9111 §1.2.2", "no exponent", "1e3", None),
    Rule("1.2.2-1-unit", "9111 §1.2.2", "no unit", "60s", None),
    Rule("1.2.2-1-gap", "9111 §1.2.2", "no space inside", "6 0", None),
    Rule("1.2.2-1-under", "9111 §1.2.2", "nothing that Python reads", "1_0", None),
    Rule("1.2.2-1-ascii", "9111 §1.2.2", "digits are ASCII", "٦", None),
    Rule("1.2.2-3-below", "9111 §1.2.2", "below 2^31 all is exact", "2147483647", MAX_SECONDS - 1),
    Rule("1.2.2-3-exact", "9111 §1.2.2", "2^31 is the most", "2147483648", MAX_SECONDS),
    Rule("1.2.2-3-over", "9111 §1.2.2", "what is more counts as it (MUST)", "9999999999",
         MAX_SECONDS),
    Rule("1.2.2-3-huge", "9111 §1.2.2", "however much (MUST)", "9" * 5000, MAX_SECONDS),
)  # fmt: skip
def test_delta_seconds_are_digits_and_overflow_to_2_31(rule: Rule) -> None:
    assert fields.delta_seconds(rule.given) == rule.expect, rule.says


@rules(
    Rule("5.1-2-absent", "9111 §5.1", "no field, no age", None, None),
    Rule("5.1-2-number", "9111 §5.1", "seconds", "100", 100),
    Rule("5.1-3-list", "9111 §5.1", "of a list the first member (SHOULD)", "100 , 5", 100),
    Rule("5.1-3-commas", "9110 §5.6.1.2", "an empty member is none", " ,\t, 100, 5", 100),
    Rule("5.1-4-invalid", "9111 §5.1", "no number is no age (SHOULD)", "x", None),
    Rule("5.1-4-negative", "9111 §5.1", "nor is a negative one", "-5", None),
    Rule("5.1-4-float", "9111 §5.1", "nor a broken one", "1.5", None),
    Rule("5.1-4-first", "9111 §5.1", "the first alone is looked at", "x, 5", None),
    Rule("5.1-4-parameter", "9111 §5.1", "it has no parameters", "5;a", None),
    Rule("1.2.2-3", "9111 §1.2.2", "overflow is 2^31 (MUST)", "9" * 30, MAX_SECONDS),
)  # fmt: skip
def test_an_age_is_the_first_number_or_none(rule: Rule) -> None:
    assert fields.age(rule.given) == rule.expect, rule.says


@pytest.mark.parametrize(
    ("lines", "expect"),
    [
        ([], None),
        (["5"], 5),
        (["007"], 7),
        (["5", "5"], 5),
        (["5, 5"], 5),
        (["5", "6"], -1),
        (["5, 6"], -1),
        (["5", "05"], -1),
        (["5,"], -1),
        ([""], -1),
        (["-5"], -1),
        (["+5"], -1),
        (["0x5"], -1),
        (["5 5"], -1),
        (["٥"], -1),
        (["9" * 19], -1),
        (["9" * 5000], -1),
    ],
)
def test_content_lengths_agree_or_are_malformed(lines: list[str], expect: int | None) -> None:
    assert fields.content_length(lines) == expect


@pytest.mark.parametrize(
    ("value", "expect"),
    [
        (None, ()),
        ("", ()),
        ("a=1; b=2", (("a", "1"), ("b", "2"))),
        ("a=1;a=2", (("a", "1"), ("a", "2"))),
        ("a=b=c; =x; y; z=", (("a", "b=c"), ("z", ""))),
        ('a="x y"', (("a", '"x y"'),)),
        ("session =1;\tb= 2", (("session", "1"), ("b", "2"))),
        ("A=1; a=2", (("A", "1"), ("a", "2"))),
    ],
)
def test_cookies_keep_order_duplicates_and_raw_values(
    value: str | None, expect: tuple[tuple[str, str], ...]
) -> None:
    assert fields.cookies(value) == expect
