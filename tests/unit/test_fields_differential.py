"""Our parsers beside others: where they agree, and who is right where they do not.

The others are werkzeug 3, Python's mail library and http-sf. Each table of differences holds what
they read, so that a new version of theirs which changes its mind shows here.
"""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

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


class Differs(NamedTuple):
    """A value, what we read, what they do, and why ours is right (or merely allowed)."""

    id: str
    given: str
    ours: Any
    theirs: Any
    why: str


def differences(*rows: Differs) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.id)


# --- Dates.


def _mail(text: str) -> float | None:
    """What werkzeug reads, which is what the mail library reads, with UTC for no zone."""
    moment = parse_date(text)
    return None if moment is None else moment.timestamp()


@settings(deadline=None)
@given(st.integers(0, 253_402_300_799))
def test_dates_are_written_and_read_as_werkzeug_does(seconds: int) -> None:
    text = fields.format_http_date(seconds)
    assert text == werkzeug_date(seconds)
    assert fields.http_date(text) == _mail(text) == seconds
    assert datetime.fromtimestamp(seconds, UTC) == email.utils.parsedate_to_datetime(text)


LATE = datetime(2069, 12, 31, 23, 59, 59, tzinfo=UTC)


@settings(deadline=None)
@given(st.datetimes(datetime(1970, 1, 1), LATE.replace(tzinfo=None)), st.integers(-1439, 1439))
def test_all_forms_of_one_moment_are_one_number(moment: datetime, minutes: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    local = moment + timedelta(minutes=minutes)
    hours, rest = divmod(abs(minutes), 60)
    zone = f"{'-' if minutes < 0 else '+'}{hours:02}{rest:02}"
    forms = [
        f"{moment:%a, %d %b %Y %H:%M:%S} GMT",
        f"{moment:%A, %d-%b-%y %H:%M:%S} GMT",
        f"{moment:%a %b} {moment.day:2} {moment:%H:%M:%S %Y}",
        f"{local:%a, %d %b %Y %H:%M:%S} {zone}",
    ]
    assert {fields.http_date(text) for text in forms} == {moment.timestamp()}
    # The mail library has another pivot for years of two digits: see the table.
    if moment.year not in range(2069, 2070):
        assert {_mail(text) for text in forms} == {moment.timestamp()}


SLIPS = st.tuples(
    st.sampled_from(["", "Sun, ", "sun, ", "Mon,", "Sun,  "]),
    st.sampled_from(["6", "06"]),
    st.sampled_from([" Nov 1994", " NOV  1994", "-Nov-1994", "-nov-94"]),
    st.sampled_from([" 8:49:37", " 08:49:37", "  08:49:37"]),
    st.sampled_from([" GMT", " gmt", " +0000", " -0130", "  GMT"]),
).map("".join)


@settings(deadline=None)
@given(SLIPS)
def test_slips_with_one_meaning_are_read_as_the_mail_library_does(text: str) -> None:
    assert fields.http_date(text) == _mail(text)
    assert fields.http_date(text) is not None


DAY = "Sun, 06 Nov 1994"
MOMENT = 784111777.0


@differences(
    Differs("utc", f"{DAY} 08:49:37 UTC", None, MOMENT, "RFC 9111 §4.2: GMT is the only name"),
    Differs("est", f"{DAY} 03:49:37 EST", None, MOMENT, "RFC 9111 §4.2: GMT is the only name"),
    Differs("unknown", f"{DAY} 08:49:37 XYZ", None, MOMENT, "theirs takes it for UTC"),
    Differs("no-zone", f"{DAY} 08:49:37", None, MOMENT, "mail wants a zone: it may be local"),
    Differs("two", f"{DAY} 08:49:37 GMT, {DAY} 08:49:38 GMT", None, MOMENT, "two are not one"),
    Differs("behind", f"{DAY} 08:49:37 GMT rubbish", None, MOMENT, "no date at all"),
    Differs("comment", f"{DAY} 08:49:37 GMT (x)", None, MOMENT, "mail only; nobody sends it"),
    Differs("fraction", f"{DAY} 08:49:37.9 GMT", None, None, "agreed"),
    Differs("no-seconds", f"{DAY} 08:49 GMT", None, MOMENT - 37, "mail only; nobody sends it"),
    Differs("two-digits", "Sun, 06 Nov 94 08:49:37 GMT", None, MOMENT, "no rule for its century"),
    Differs("pivot", "Tuesday, 31-Dec-69 23:59:59 GMT", 3155759999.0, -1.0,
            "§5.6.7: the past begins over fifty years ahead"),
    Differs("leap", "Sat, 31 Dec 2016 23:59:60 GMT", 1483228799.0, None, "§5.6.7 allows a 60th"),
    Differs("asctime-gmt", "Sun Nov  6 08:49:37 1994 GMT", MOMENT, MOMENT, "agreed"),
    Differs("number", "0", None, None, "agreed"),
)  # fmt: skip
def test_where_dates_differ_from_the_mail_library(row: Differs) -> None:
    assert fields.http_date(row.given) == row.ours, row.why
    assert _mail(row.given) == row.theirs


# --- Cache-Control.

DIRECTIVE = st.sampled_from(
    [
        *("no-store", "private", "public", "max-age=60", "s-maxage=0", 'max-age="7"'),
        *("must-revalidate", 'private="set-cookie, x-a"', "no-cache=age", "x-new=1", 'y="a;b"'),
    ]
)


@settings(deadline=None)
@given(
    st.lists(DIRECTIVE, max_size=6, unique_by=lambda text: text.split("=")[0]),
    st.sampled_from([",", ", ", "\t,  ", " ,"]),
)
def test_cache_control_is_read_as_werkzeug_reads_it(members: list[str], comma: str) -> None:
    value = comma.join(members)
    assert fields.directives(value) == dict(parse_cache_control_header(value))


@differences(
    Differs("twice", "max-age=1, max-age=2", {"max-age": "1"}, {"max-age": "2"},
            "RFC 9111 §4.2.1: the first, or stale"),
    Differs("case", "No-Store", {"no-store": None}, {"No-Store": None},
            "RFC 9111 §5.2: names have no case"),
    Differs("semicolon", "no-store; max-age=5", {"no-store": None, "max-age": "5"},
            {"no-store; max-age": "5"}, "malformed, and theirs loses the no-store"),
    Differs("comma", "no-store max-age=5", {"no-store": None, "max-age": None},
            {"no-store max-age": "5"}, "malformed, and theirs loses the no-store"),
    Differs("spaces", "max-age = 5", {"max-age": None}, {"max-age": "5"},
            "RFC 9111 §5.2 has no spaces; §4.2.1 would have it stale"),
    Differs("star", "a*=UTF-8''%41", {"a*": "UTF-8''%41"}, {"a": "A"},
            "such names are for parameters (RFC 8187), not for directives"),
    Differs("empty", ",no-store,,", {"no-store": None}, {"no-store": None}, "agreed"),
)  # fmt: skip
def test_where_directives_differ_from_werkzeug(row: Differs) -> None:
    assert fields.directives(row.given) == row.ours, row.why
    assert dict(parse_cache_control_header(row.given)) == row.theirs


# --- Structured fields.

BARE = st.one_of(
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.booleans(),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8),
    st.sampled_from(["a", "Edge", "*x"]).map(http_sf.Token),
    st.binary(max_size=4),
    st.decimals(-999, 999, places=2),
    st.datetimes(datetime(1970, 1, 2)).map(lambda d: d.replace(microsecond=0, tzinfo=UTC)),
)
PARAMETERS = st.dictionaries(st.sampled_from(["p", "q"]), BARE, max_size=2)
ITEMS = st.tuples(BARE, PARAMETERS)
MEMBERS = ITEMS | st.tuples(st.lists(ITEMS, max_size=2), PARAMETERS)
SEEN = ("max-age", "no-store", "private", "no-cache", "public", "x-new")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(SEEN), MEMBERS, min_size=1))
def test_targeted_fields_have_the_members_that_http_sf_reads(
    members: Mapping[str, tuple[Any, Any]],
) -> None:
    found = fields.targeted(http_sf.ser(dict(members)))
    assert found is not None
    for name, (item, _) in members.items():
        if item is True:
            assert found[name] is None
        elif item is False or name == "public":
            assert name not in found
        elif name == "max-age":
            right = isinstance(item, int)
            assert fields.delta_seconds(found[name]) == (
                min(item, MAX_SECONDS) if right and item >= 0 else None
            )
        elif name in ("private", "no-cache") and fields.field_names(found[name]):
            assert found[name] == item
    assert found.keys() <= members.keys()


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([*'a5=,;()"\\ ?:@.*', "=?1", '="', ", ", "no-store"])).map("".join))
def test_a_targeted_field_is_ignored_when_http_sf_refuses_it(value: str) -> None:
    try:
        theirs = http_sf.parse(value.strip(" \t").encode(), tltype="dictionary")
    except ValueError:
        theirs = {}
    assert (fields.targeted(value) is None) == (not theirs)


@settings(deadline=None)
@given(st.lists(MEMBERS, min_size=1, max_size=6))
def test_strings_are_those_that_http_sf_reads(members: list[Any]) -> None:
    expect = tuple(item for item, _ in members if isinstance(item, str))
    assert fields.strings(http_sf.ser(members)) == expect


# --- Entity tags and ranges.

# Not the empty tag: see the table.
OPAQUE = st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E), min_size=1, max_size=12)
TAGS = st.lists(st.builds(EntityTag, OPAQUE, st.booleans()), min_size=1, max_size=6)


def _tags(value: str) -> tuple[set[str], set[str]]:
    read = fields.entity_tags(value)
    return {t.opaque for t in read if not t.weak}, {t.opaque for t in read if t.weak}


def _werkzeug_tags(value: str) -> tuple[set[str | None], set[str | None]]:
    theirs = parse_etags(value)
    return set(theirs.as_set()), set(theirs._weak)


@settings(deadline=None)
@given(TAGS)
def test_lists_of_entity_tags_are_read_as_werkzeug_reads_them(tags: list[EntityTag]) -> None:
    value = ", ".join(map(str, tags))
    assert _tags(value) == _werkzeug_tags(value)


@differences(
    Differs("empty", '""', ({""}, set()), ({None}, set()), "§8.8.3 allows an empty tag"),
    Differs("bare", "a", (set(), set()), ({"a"}, set()), "§8.8.3: a tag has quotes"),
    Differs("lower", 'w/"a"', (set(), set()), (set(), {"a"}), "§8.8.3: W has a case"),
    Differs("space", '"a b", "c"', ({"c"}, set()), ({"a b", "c"}, set()), "§8.8.3: no spaces"),
)  # fmt: skip
def test_where_entity_tags_differ_from_werkzeug(row: Differs) -> None:
    assert _tags(row.given) == row.ours, row.why
    assert _werkzeug_tags(row.given) == row.theirs


POSITIONS = st.integers(0, 10**18)


def _werkzeug_ranges(value: str) -> tuple[tuple[int | None, int | None], ...] | None:
    theirs = parse_range_header(value)
    if theirs is None:
        return None
    found: list[tuple[int | None, int | None]] = []
    for start, stop in theirs.ranges:
        found.append((None, -start) if start < 0 else (start, None if stop is None else stop - 1))
    return tuple(found)


@given(POSITIONS.map(lambda n: n // 2), st.integers(0, 10**6), st.integers(1, 99))
def test_ranges_in_order_are_read_as_werkzeug_reads_them(first: int, more: int, gap: int) -> None:
    last = first + more
    for value in (
        f"bytes={first}-{last}",
        f"bytes={first}-",
        f"Bytes=-{first + 1}",
        f"bytes={first}-{last}, {last + gap}-",
        f"bytes={first}-{last},{last + gap}-{last + gap},-{gap}",
    ):
        assert fields.byte_ranges(value) == _werkzeug_ranges(value) is not None


@differences(
    Differs("order", "bytes=5-6,0-1", ((5, 6), (0, 1)), None, "§14.1.2 asks for no order"),
    Differs("overlap", "bytes=0-5,3-9", ((0, 5), (3, 9)), None, "§14.1.2 lets them overlap"),
    Differs("behind", "bytes=5-,0-1", ((5, None), (0, 1)), None, "§14.1.2: nor after the rest"),
    Differs("empty", "bytes=0-1,,2-3", ((0, 1), (2, 3)), None, "§5.6.1.2: they do not count"),
    Differs("nought", "bytes=-0", ((None, 0),), None, "§14.1.2: valid, though not satisfiable"),
    Differs("spaces", "bytes=1 - 2", None, ((1, 2),), "§14.1.1 has none inside"),
    Differs("unit", "bytes =1-2", None, ((1, 2),), "§14.1.1 has none before the ="),
    Differs("others", "items=1-2", None, ((1, 2),), "ours reads bytes alone; theirs any unit"),
)  # fmt: skip
def test_where_ranges_differ_from_werkzeug(row: Differs) -> None:
    assert fields.byte_ranges(row.given) == row.ours, row.why
    assert _werkzeug_ranges(row.given) == row.theirs


# --- Cookies.

NAMES = st.text("abcXYZ019_-", min_size=1, max_size=6)
VALUES = st.text("abcXYZ019_-.~!/=", max_size=12)


@settings(deadline=None)
@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=6, unique_by=lambda pair: pair[0]),
    st.sampled_from([";", "; ", " ;\t"]),
)
def test_cookies_are_read_as_werkzeug_reads_them(pairs: list[tuple[str, str]], gap: str) -> None:
    # Only values without quotes: werkzeug takes those off, while pagegen keys the raw value.
    value = gap.join(dump_cookie(k, v, path=None) for k, v in pairs)
    assert dict(fields.cookies(value)) == dict(parse_cookie(value)) == dict(pairs)


@pytest.mark.parametrize("name", ["session ", " session", "session\t"])
def test_a_space_beside_its_name_hides_no_cookie_that_werkzeug_sees(name: str) -> None:
    value = f"a=1;{name}=x"
    assert dict(fields.cookies(value)) == dict(parse_cookie(value)) == {"a": "1", "session": "x"}
