"""What no text does to a parser: no exception, no square time, no way around a no-store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from time import thread_time
from typing import Any

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagegen import fields
from pagegen.fields import EntityTag
from pagegen.units import MAX_SECONDS

PARSERS: dict[str, Callable[[str], Any]] = {
    "tokens": fields.tokens,
    "directives": fields.directives,
    "field_names": fields.field_names,
    "targeted": fields.targeted,
    "delta_seconds": fields.delta_seconds,
    "age": fields.age,
    "http_date": fields.http_date,
    "entity_tag": fields.entity_tag,
    "entity_tags": fields.entity_tags,
    "byte_ranges": fields.byte_ranges,
    "bytes=": lambda value: fields.byte_ranges(f"bytes={value}"),
    "content_length": lambda value: fields.content_length([value]),
    "cookies": fields.cookies,
    "strings": fields.strings,
}
EACH = pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)

UNITS = [
    *('"', ",", ";", "\\", "=", " ", "\t", "a", "(", ")", "W/", "%", ":", "?", "@", "\xff", "*"),
    *('a="', 'a="\\', '\\"', 'W/"', '","', "=,", 'a="b,', "a= ", "(((", '"a" ', "1,", "a;b=c "),
    *('private="a",', "a=5,", '"\\",', "0", "0-1,", "a=1;"),
]
PIECES = st.sampled_from(
    [
        *UNITS,
        *("bytes=", "9-", "-5,", "no-store", "max-age=", "no-cache", "60", "GMT", "+0100", "Sun"),
        *("Sunday", "06", "Nov", "1994", "94", "08:49:37", "08:49:60", "-", "31", "Feb", "0000"),
    ]
)
HEADER_LIKE = st.one_of(
    st.text(),
    st.text(st.characters(max_codepoint=255)),
    st.lists(PIECES, max_size=40).map("".join),
    st.lists(PIECES, max_size=10).map(" ".join),
)


@EACH
@settings(deadline=None, max_examples=150)
@given(value=HEADER_LIKE)
def test_no_text_makes_a_parser_raise(parser: Callable[[str], Any], value: str) -> None:
    parser(value)


@contextmanager
def _without_limits() -> Iterator[None]:
    """A limit hides how the work behind it grows."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAX_VALUE", "MAX_COOKIES", "MAX_DATE"):
            patch.setattr(fields, name, 10**9)
        yield


def _cost(parser: Callable[[str], Any], value: str) -> float:
    began = thread_time()
    parser(value)
    return thread_time() - began


#: Characters of the shorter of two values, and how many times longer the other one is.
LENGTH, TIMES = 2048, 16


def _grows_linearly(parser: Callable[[str], Any], head: str, unit: str, tail: str) -> bool:
    """Whether sixteen times the text is clearly less than 256 times the work.

    Clearly also on a machine that has much else to do.
    """
    short, long = (head + unit * (size // len(unit)) + tail for size in (LENGTH, TIMES * LENGTH))
    # One beside the other, and again: the machine is not equally fast all the time.
    for _ in range(9):
        cost = _cost(parser, long)
        # A square of 32,768 characters is a billion steps: no machine does them in a millisecond.
        if cost < 0.001 or cost < 100 * min(_cost(parser, short) for _ in range(5)):
            return True
    return False


@EACH
def test_the_work_does_not_grow_with_the_square(parser: Callable[[str], Any]) -> None:
    with _without_limits():
        for head, unit, tail in product(("", 'a="'), UNITS, ('"', "@", "\\")):
            assert _grows_linearly(parser, head, unit, tail), (head, unit, tail)


@EACH
@settings(deadline=None, max_examples=25)
@given(head=PIECES, unit=st.lists(PIECES, min_size=2, max_size=4).map("".join), tail=PIECES)
def test_nor_for_any_other_text_that_repeats(
    parser: Callable[[str], Any], head: str, unit: str, tail: str
) -> None:
    with _without_limits():
        assert _grows_linearly(parser, head, unit, tail)


def test_the_measure_of_growth_tells_squares_from_lines() -> None:
    def square(value: str) -> None:
        for place in range(len(value)):
            value[place:].count("x")

    assert _grows_linearly(lambda value: value.split(","), "", "a,", "")
    assert not _grows_linearly(square, "", "a", "")


UNQUOTED = st.lists(PIECES.filter(lambda piece: '"' not in piece), max_size=30).map("".join)


@settings(deadline=None, max_examples=300)
@given(UNQUOTED, UNQUOTED)
def test_no_unquoted_text_around_it_hides_a_no_store(before: str, after: str) -> None:
    assert "no-store" in fields.directives(f"{before},no-store")
    assert "no-store" in fields.directives(f"{before},no-store,{after}")
    assert "no-store" in fields.directives(f"{before} no-store {after}")


@settings(deadline=None, max_examples=300)
@given(HEADER_LIKE.filter(lambda text: "," not in text and ";" not in text))
def test_rubbish_in_front_of_a_number_is_never_a_number_of_seconds(rubbish: str) -> None:
    # Whatever stands between a name and its number, but quotes that are closed again.
    said = fields.directives(f"max-age={rubbish}")
    if fields.delta_seconds(said.get("max-age")) is not None:
        assert rubbish.strip(" \t").replace('"', "").replace("\\", "").isdigit()


@settings(deadline=None, max_examples=300)
@given(HEADER_LIKE)
def test_no_text_in_front_makes_a_page_of_no_seconds_fresh(text: str) -> None:
    said = fields.directives(f"max-age=0,{text}")
    assert said["max-age"] == "0"
    said = fields.directives(f"private,{text}")
    assert said["private"] is None


# --- What is written is read again.

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=12)
NAMES = st.from_regex(r"\A[!#$%&'*+.^_`|~0-9a-z-]{1,10}\Z")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.none() | TEXT, max_size=6))
def test_directives_are_read_as_they_were_written(said: dict[str, str | None]) -> None:
    members = [name if arg is None else f"{name}={_quoted(arg)}" for name, arg in said.items()]
    assert fields.directives(", ".join(members)) == said


@given(st.lists(NAMES, max_size=6))
def test_field_names_are_read_as_they_were_written(names: list[str]) -> None:
    assert fields.field_names(", ".join(names)) == tuple(names)


@given(st.integers(0, MAX_SECONDS), st.integers(0, 40))
def test_numbers_are_read_as_they_were_written(seconds: int, zeros: int) -> None:
    text = "0" * zeros + str(seconds)
    assert fields.delta_seconds(text) == fields.age(text) == fields.age(f"{text}, x") == seconds


KEYS = st.from_regex(r"\A[a-z*][a-z0-9_.*-]{0,10}\Z").filter(
    lambda key: key not in ("public", "must-understand", "no-cache", "private")
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, st.integers(-(10**15) + 1, 10**15 - 1) | st.just(True), min_size=1))
def test_targeted_fields_are_read_as_they_were_written(said: dict[str, Any]) -> None:
    expect = {name: None if value is True else str(value) for name, value in said.items()}
    assert fields.targeted(http_sf.ser({name: (v, {}) for name, v in said.items()})) == expect


OPAQUE = st.text(st.sampled_from([chr(n) for n in (0x21, *range(0x23, 0x7F), 0x80, 0xFF)]))
TAGS = st.lists(st.builds(EntityTag, OPAQUE, st.booleans()), max_size=6)


@given(TAGS, st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_entity_tags_are_read_as_they_were_written(tags: list[EntityTag], comma: str) -> None:
    assert fields.entity_tags(comma.join(map(str, tags))) == tuple(tags)
    assert all(fields.entity_tag(str(tag)) == tag for tag in tags)


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


@given(st.integers(0, 10**18 - 1), st.integers(1, 4))
def test_lengths_are_read_as_they_were_written(length: int, lines: int) -> None:
    assert fields.content_length([str(length)] * lines) == length
