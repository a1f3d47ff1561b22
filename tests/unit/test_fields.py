"""Parsers of header values: tables from the RFCs, and nothing that any text can do to them.

Section numbers are RFC 9110's unless another is named.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.http import (
    dump_cookie,
    parse_cache_control_header,
    parse_cookie,
    parse_date,
    parse_etags,
    parse_range_header,
)
from werkzeug.http import http_date as werkzeug_date

from pagegen import fields
from pagegen.fields import EntityTag
from pagegen.units import MAX_SECONDS

PARSERS: dict[str, Callable[[str], Any]] = {
    "tokens": fields.tokens,
    "directives": fields.directives,
    "delta_seconds": fields.delta_seconds,
    "http_date": fields.http_date,
    "entity_tag": fields.entity_tag,
    "entity_tags": fields.entity_tags,
    "byte_ranges": fields.byte_ranges,
    "bytes=": lambda value: fields.byte_ranges(f"bytes={value}"),
    "content_length": lambda value: fields.content_length([value]),
    "cookies": fields.cookies,
    "strings": fields.strings,
}
UNITS = [
    *('"', ",", ";", "\\", "=", " ", "\t", "a", "(", ")", "W/", "%", ":", "?", "@", "\xff", "*"),
    *('a="', 'a="\\', '\\"', 'W/"', '","', "=,", 'a="b,', "a= ", "(((", '"a" ', "1,", "a;b=c "),
]
PIECES = st.sampled_from(
    [
        *UNITS,
        "bytes=",
        "0-1,",
        "9-",
        "-5,",
        "no-store",
        "max-age=",
        "0",
        "60",
        "GMT",
        "Sun",
        "06",
        "Nov",
        "1994",
        "08:49:37",
        "-",
    ]
)
HEADER_LIKE = st.one_of(
    st.text(),
    st.text(st.characters(max_codepoint=255)),
    st.lists(PIECES, max_size=40).map("".join),
)


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
@settings(deadline=None, max_examples=250)
@given(value=HEADER_LIKE)
def test_no_text_makes_a_parser_raise(parser: Callable[[str], Any], value: str) -> None:
    parser(value)


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize("unit", UNITS)
def test_eight_kilobytes_of_one_thing_end(parser: Callable[[str], Any], unit: str) -> None:
    # No pattern nests one repetition in another that can begin at the same place; what is
    # quadratic in 8 kB ends, what is exponential in 20 characters would run into the time limit.
    value = unit * (8192 // len(unit))
    for tail in ("", '"', "@", "\\", "\x00"):
        parser(value + tail)


@pytest.mark.parametrize(
    ("value", "expect"),
    [
        (None, ()),
        ("", ()),
        ("close", ("close",)),
        ("Accept-Encoding,\tCookie ,, *", ("accept-encoding", "cookie", "*")),
    ],
)
def test_a_list_of_tokens_has_its_members_in_lower_case(
    value: str | None, expect: tuple[str, ...]
) -> None:
    assert fields.tokens(value) == expect


@pytest.mark.parametrize(
    ("section", "value", "expect"),
    [
        ("9111 §5.2", "no-store", {"no-store": None}),
        ("9111 §5.2", "NO-STORE, Max-Age=5", {"no-store": None, "max-age": "5"}),
        ("9111 §5.2", 'max-age="5"', {"max-age": "5"}),
        ("9111 §5.2", 'private="a, b", x', {"private": "a, b", "x": None}),
        ("9111 §5.2", 'a="b\\"c, no-store", d', {"a": 'b\\"c, no-store', "d": None}),
        ("9111 §4.2.1", "max-age=1, max-age=2", {"max-age": "1"}),
        ("§5.6.1", ", ,no-store,,", {"no-store": None}),
        ("slip", "no-store; max-age=3", {"no-store": None, "max-age": "3"}),
        ("rubbish", 'a="open, no-store', {"no-store": None}),
        ("rubbish", "@@@ , no-store", {"no-store": None}),
        ("rubbish", "a b, no-store", {"no-store": None}),
        ("rubbish", '"quoted", private', {"private": None}),
        ("empty", "max-age=", {"max-age": ""}),
        ("empty", "", {}),
        ("empty", None, {}),
    ],
)
def test_directives_are_read_and_rubbish_hides_none_behind_it(
    section: str, value: str | None, expect: dict[str, str | None]
) -> None:
    assert fields.directives(value) == expect


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES.filter(lambda piece: '"' not in piece), max_size=30).map("".join))
def test_no_unquoted_text_before_it_hides_a_no_store(rubbish: str) -> None:
    assert "no-store" in fields.directives(f"{rubbish},no-store")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 60 ", 60),
        ("007", 7),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("60s", None),
        ("٦", None),
        ("2147483648", MAX_SECONDS),
        ("9" * 5000, MAX_SECONDS),
    ],
)
def test_delta_seconds_are_digits_and_overflow_to_2_31(
    text: str | None, seconds: int | None
) -> None:
    assert fields.delta_seconds(text) == seconds


MOMENT = 784111777.0  # the example of §5.6.7


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", MOMENT),
        ("Sunday, 06-Nov-94 08:49:37 GMT", MOMENT),
        ("Sun Nov  6 08:49:37 1994", MOMENT),
        ("0", None),
        ("-1", None),
        ("", None),
        (None, None),
        ("Sun, 31 Feb 2021 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 25:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT" + " " * 64, None),
    ],
)
def test_a_date_is_read_in_each_of_its_three_forms(text: str | None, expect: float | None) -> None:
    assert fields.http_date(text) == expect


@settings(deadline=None)
@given(st.integers(0, 253_402_300_799))
def test_dates_are_written_and_read_as_werkzeug_does(seconds: int) -> None:
    text = fields.format_http_date(seconds)
    moment = parse_date(text)
    assert text == werkzeug_date(seconds)
    assert moment is not None
    assert moment == datetime.fromtimestamp(seconds, UTC)
    assert fields.http_date(text) == seconds


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ('"a"', EntityTag("a")),
        ('W/"a"', EntityTag("a", weak=True)),
        (' "a,b" ', EntityTag("a,b")),
        ('""', EntityTag("")),
        ('"\xe9"', EntityTag("\xe9")),
        ('w/"a"', None),
        ("a", None),
        ('"a', None),
        ('"a b"', None),
        ('"a" "b"', None),
        ("*", None),
        ("", None),
        (None, None),
    ],
)
def test_an_entity_tag_is_quoted_and_its_weakness_is_case_sensitive(
    text: str | None, expect: EntityTag | None
) -> None:
    assert fields.entity_tag(text) == expect


# Not the empty tag: werkzeug 3 reads it as None, where the grammar of §8.8.3 allows it.
OPAQUE = st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E), min_size=1, max_size=12)
TAGS = st.lists(st.builds(EntityTag, OPAQUE, st.booleans()), min_size=1, max_size=6)


@settings(deadline=None)
@given(TAGS)
def test_lists_of_entity_tags_are_read_as_werkzeug_reads_them(tags: list[EntityTag]) -> None:
    value = ", ".join(map(str, tags))
    theirs = parse_etags(value)
    assert list(fields.entity_tags(value)) == tags
    assert {t.opaque for t in tags if not t.weak} == set(theirs.as_set())
    assert all(theirs.contains_weak(tag.opaque) for tag in fields.entity_tags(value))


def test_malformed_members_of_a_list_of_entity_tags_are_left_out() -> None:
    assert fields.entity_tags('a, "b", "c d", W/"e", "f') == (
        EntityTag("b"),
        EntityTag("e", weak=True),
    )


@pytest.mark.parametrize(
    ("section", "value", "expect"),
    [
        ("§14.1.2", "bytes=0-499", ((0, 499),)),
        ("§14.1.2", "bytes=500-", ((500, None),)),
        ("§14.1.2", "bytes=-500", ((None, 500),)),
        ("§14.1.2", "bytes=7-7", ((7, 7),)),
        ("§14.1.2", "bytes=0-0,-1", ((0, 0), (None, 1))),
        ("§14.1.2", "bytes=9-, 0-0 ,\t4-5", ((9, None), (0, 0), (4, 5))),
        ("§14.1.2", "bytes=-0", ((None, 0),)),
        ("§14.1", "BYTES=1-2", ((1, 2),)),
        ("§5.5", " bytes=1-2\t", ((1, 2),)),
        ("§5.6.1.2", "bytes=,1-2, ,", ((1, 2),)),
        ("§14.1.2", "bytes=007-0008", ((7, 8),)),
        ("§14.1.2", f"bytes={'9' * 19}-{'9' * 4400}", ((10**18, 10**18),)),
        ("§14.1.2", f"bytes={'0' * 4400}1-", ((1, None),)),
        ("§14.1.2", "bytes=5-4", None),
        ("§14.1.1", "bytes=0-1,5-4", None),
        ("§14.1.1", "bytes=0-1,x", None),
        ("§14.1.1", "bytes=0-1, bytes=2-3", None),
        ("§14.1.1", "bytes=-", None),
        ("§14.1.1", "bytes=1", None),
        ("§14.1.1", "bytes=--1", None),
        ("§14.1.1", "bytes=1-2-3", None),
        ("§14.1.1", "bytes=1 - 2", None),
        ("§14.1.1", "bytes=+1-2", None),
        ("§14.1.1", "bytes=1_0-20", None),
        ("§14.1.1", "bytes=\u0661-\u0662", None),
        ("§14.1.1", "bytes=", None),
        ("§14.1.1", "bytes", None),
        ("§14.1.1", "bytes =0-1", None),
        ("§14.1.1", "bytes: 0-1", None),
        ("§14.2", "items=0-1", None),
        ("§14.2", "none", None),
        ("empty", "", None),
        ("long", "bytes=" + "0-1," * 2048, None),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_ranges_are_read_all_or_none(
    section: str, value: str, expect: tuple[tuple[int | None, int | None], ...] | None
) -> None:
    assert fields.byte_ranges(value) == expect


POSITIONS = st.integers(0, 10**18)
RANGES = st.lists(
    st.one_of(
        st.tuples(POSITIONS, st.none()),
        st.tuples(POSITIONS, st.integers(0, 1000)).map(lambda pair: (pair[0], sum(pair))),
        st.tuples(st.none(), POSITIONS),
    ).filter(lambda pair: (pair[1] or 0) <= 10**18),
    min_size=1,
    max_size=20,
)


@given(RANGES)
def test_ranges_are_read_as_they_were_written(
    ranges: list[tuple[int | None, int | None]],
) -> None:
    def text(number: int | None) -> str:
        return "" if number is None else str(number)

    value = ",".join(f"{text(first)}-{text(last)}" for first, last in ranges)
    assert fields.byte_ranges(f"bytes={value}") == tuple(ranges)


@given(POSITIONS.map(lambda n: n // 2), st.integers(0, 10**6))
def test_one_range_is_read_as_werkzeug_reads_it(first: int, more: int) -> None:
    # One, in order: werkzeug 3 reads as nothing what is unordered, overlaps or has empty members.
    for value in (f"bytes={first}-{first + more}", f"bytes={first}-", f"Bytes=-{first + 1}"):
        theirs = parse_range_header(value)
        assert theirs is not None
        ((start, stop),) = theirs.ranges
        expect = (None, -start) if start < 0 else (start, None if stop is None else stop - 1)
        assert fields.byte_ranges(value) == (expect,)


@pytest.mark.parametrize(
    ("lines", "expect"),
    [
        ([], None),
        (["5"], 5),
        (["5", "5"], 5),
        (["5, 5"], 5),
        (["5", "6"], -1),
        (["5, 6"], -1),
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
    ],
)
def test_cookies_keep_order_duplicates_and_raw_values(
    value: str | None, expect: tuple[tuple[str, str], ...]
) -> None:
    assert fields.cookies(value) == expect


NAMES = st.text("abcXYZ019_-", min_size=1, max_size=6)
VALUES = st.text("abcXYZ019_-.~!/=", max_size=12)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=6, unique_by=lambda pair: pair[0]))
def test_cookies_are_read_as_werkzeug_reads_them(pairs: list[tuple[str, str]]) -> None:
    # Only values without quotes: werkzeug takes those off, while pagegen keys the raw value.
    value = "; ".join(dump_cookie(k, v, path=None) for k, v in pairs)
    assert dict(fields.cookies(value)) == dict(parse_cookie(value)) == dict(pairs)


DIRECTIVE = st.sampled_from(
    ["no-store", "private", "public", "max-age=60", "s-maxage=0", 'max-age="7"', "must-revalidate"]
)


@settings(deadline=None)
@given(st.lists(DIRECTIVE, max_size=5, unique_by=lambda text: text.split("=")[0]))
def test_cache_control_is_read_as_werkzeug_reads_it(members: list[str]) -> None:
    # Of a repeated directive werkzeug keeps the last: there RFC 9111 §4.2.1 is on our side.
    value = ", ".join(members)
    assert fields.directives(value) == dict(parse_cache_control_header(value))


@pytest.mark.parametrize(
    ("value", "expect"),
    [
        (None, ()),
        ("", ()),
        ('"a", "b c"', ("a", "b c")),
        ('"a";x=1, "b"', ("a", "b")),
        ('"a", token, 5, ?1, ("in" "ner"), "b"', ("a", "b")),
        ('"a\\"b\\\\"', ('a"b\\',)),
        ('"a", "open', ()),
        ('"a",', ()),
        ('"a" "b"', ()),
        ('"\xe9"', ()),
        ('"\u20ac"', ()),
    ],
)
def test_strings_of_a_structured_list_are_all_or_none(
    value: str | None, expect: tuple[str, ...]
) -> None:
    assert fields.strings(value) == expect


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126)), min_size=1, max_size=6)
)
def test_strings_read_what_http_sf_writes(members: list[str]) -> None:
    assert fields.strings(http_sf.ser([(member, {}) for member in members])) == tuple(members)


def test_a_no_store_behind_eight_kilobytes_of_directives_is_not_overlooked() -> None:
    value = ", ".join(f"x{number}" for number in range(2000)) + ", no-store"
    assert len(value) > fields.MAX_VALUE
    assert "no-store" in fields.directives(value)


def test_the_time_zone_of_a_date_that_is_not_gmt_counts() -> None:
    assert fields.http_date("Sun, 06 Nov 1994 09:49:37 +0100") == MOMENT
