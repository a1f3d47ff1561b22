"""Durations and sizes: what people may write, and what is refused with a sentence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagegen.units import MAX_SECONDS, parse_duration, parse_size

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("250ms", 0.25),
        ("30s", 30.0),
        ("1.5m", 90.0),
        ("2h", 7200.0),
        ("7d", 604_800.0),
        ("1w", 604_800.0),
        (" 5 s ", 5.0),
        (0, 0.0),
        (90, 90.0),
        (0.5, 0.5),
        (MAX_SECONDS, float(MAX_SECONDS)),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_text_with_a_unit(
    text: object, seconds: float
) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        *("", "s", "5", "5 parsecs", "-5s", "5S", "5s5m", "1e3s", "5s\n x", "٥s", "five"),
        *(True, False, None, [], {}, b"5s", object()),
    ],
)
def test_what_is_no_duration_is_told_so(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    "value", [-1, -0.1, MAX_SECONDS + 1, "69000w", math.inf, -math.inf, math.nan]
)
def test_a_duration_outside_of_a_lifetime_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 68 years"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (1024, 1024),
        ("0B", 0),
        ("500kB", 500_000),
        ("64MiB", 64 * 2**20),
        ("1.5KiB", 1536),
        ("2 GB", 2 * 10**9),
        ("1GiB", 2**30),
        ("3MB", 3 * 10**6),
    ],
)
def test_a_size_is_a_number_of_bytes_or_text_with_a_unit(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "value", ["", "64", "64mib", "64 Mib", "-1B", "1e3B", -1, 1.5, True, None, [], "1KiB1B"]
)
def test_what_is_no_size_is_told_so(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(value)


@settings(deadline=None)
@given(ANYTHING)
def test_any_value_is_a_duration_in_range_or_a_value_error(value: object) -> None:
    try:
        seconds = parse_duration(value)
    except ValueError:
        return
    assert 0 <= seconds <= MAX_SECONDS


@settings(deadline=None)
@given(ANYTHING)
def test_any_value_is_a_size_or_a_value_error(value: object) -> None:
    try:
        size = parse_size(value)
    except ValueError:
        return
    assert type(size) is int
    assert size >= 0


def test_a_whole_number_too_long_for_a_float_is_no_duration() -> None:
    with pytest.raises(ValueError, match="68 years"):
        parse_duration(10**400)


def test_a_size_too_long_for_a_float_is_no_size() -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size("9" * 400 + "B")
