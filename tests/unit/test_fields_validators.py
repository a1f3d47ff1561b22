"""Entity tags (RFC 9110 §8.8.3) and byte ranges (RFC 9110 §14.1)."""

from __future__ import annotations

import pytest

from pagegen import fields
from pagegen.fields import EntityTag


@pytest.mark.parametrize(
    ("text", "expect"),
    [
        ('"a"', EntityTag("a")),
        ('W/"a"', EntityTag("a", weak=True)),
        (' "a,b"\t', EntityTag("a,b")),
        ('""', EntityTag("")),
        ('"a\\b"', EntityTag("a\\b")),
        ('"\xe9"', EntityTag("\xe9")),
        ('w/"a"', None),
        ('W/ "a"', None),
        ("W/a", None),
        ("a", None),
        ('"a', None),
        ('"a b"', None),
        ('"a\x7f"', None),
        ('"\u20ac"', None),
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


@pytest.mark.parametrize(
    ("value", "expect"),
    [
        ('"a"', ["a"]),
        ('"a", W/"b"', ["a", "W/b"]),
        ('"a",W/"b" ,\t"c"', ["a", "W/b", "c"]),
        (', "a",, ,"b",', ["a", "b"]),
        ('"a,b", "c"', ["a,b", "c"]),
        ("", []),
        ("*", []),
        # What is malformed is nobody's tag, and no half of it is one either.
        ('a, "b", "c d", W/"e", "f', ["b", "W/e"]),
        ('w/"a", "b"', ["b"]),
        ('"a"x, x"b", "c" "d", "e"', ["e"]),
        ('a","b","c', []),
        ('"a\\", "b"', ["a\\", "b"]),
    ],
)
def test_a_list_of_entity_tags_keeps_what_is_well_formed(value: str, expect: list[str]) -> None:
    assert [f"{'W/' * t.weak}{t.opaque}" for t in fields.entity_tags(value)] == expect


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
        ("§14.1.1, erratum 7306", "bytes= 1-2", ((1, 2),)),
        ("§5.6.1.2", "bytes=,1-2, ,", ((1, 2),)),
        ("§14.1.2", "bytes=007-0008", ((7, 8),)),
        ("§14.1.2", f"bytes={'9' * 19}-{'9' * 4400}", ((10**18, 10**18),)),
        ("§14.1.2", f"bytes={'0' * 4400}1-", ((1, None),)),
        ("§14.1.1", "bytes=5-4", None),
        ("§14.1.1", "bytes=0-1,5-4", None),
        ("§14.1.1", "bytes=0-1,x", None),
        ("§14.1.1", "bytes=0-1;2-3", None),
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
