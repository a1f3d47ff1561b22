"""The encoding of keys: injective, typed, and safe to write one behind the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagegen.keys import SLOT_BYTES, encode, slot

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-300, 300),
    st.integers(),
    st.text(max_size=6),
    st.text("snftil0123456789:", max_size=8),
    st.characters(categories=["Cs"]),
    st.binary(max_size=6),
    st.text("snftil0123456789:", max_size=8).map(str.encode),
)
INPUTS: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=10
)


def same(a: object, b: object) -> bool:
    """Equality that tells True from 1 and text from bytes, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize(
    ("value", "expect"),
    [
        (None, b"n"),
        (False, b"f"),
        (True, b"t"),
        (-12, b"i3:-12"),
        ("é", b"s2:\xc3\xa9"),
        ("\ud800", b"s3:\xed\xa0\x80"),
        (b"\x00", b"b1:\x00"),
        ((), b"l0:"),
        ((1, ("a",)), b"l2:i1:1l1:s1:a"),
    ],
)
def test_the_encoding_is_as_written_down(value: Any, expect: bytes) -> None:
    assert encode(value) == expect


def test_neighbours_that_other_encodings_confuse_differ() -> None:
    lot: list[Any] = [
        *(None, "", "n", b"", b"n", (), (None,), ((),), ("",), 0, 1, "0", "1", False, True, b"1"),
        *(("a", "b"), ("ab", ""), ("ab",), ("a", ("b",)), (("a",), "b"), "\ufffd", "\ud800", "?"),
    ]
    assert len({encode(value) for value in lot}) == len(lot)


@settings(deadline=None, max_examples=500)
@given(INPUTS, INPUTS)
def test_the_encoding_is_injective(a: Any, b: Any) -> None:
    assert (encode(a) == encode(b)) == same(a, b)


@settings(deadline=None, max_examples=200)
@given(INPUTS)
def test_the_same_input_has_the_same_encoding(a: Any) -> None:
    assert encode(a) == encode(a)
    assert not same(a, (a,))
    assert encode(a) != encode((a,))


@settings(deadline=None, max_examples=500)
@given(st.lists(INPUTS, max_size=3), st.lists(INPUTS, max_size=3))
def test_encodings_one_behind_the_other_do_not_run_together(a: list[Any], b: list[Any]) -> None:
    together = b"".join(map(encode, a)) == b"".join(map(encode, b))
    assert together == same(tuple(a), tuple(b))


@settings(deadline=None, max_examples=300)
@given(INPUTS, INPUTS)
def test_no_encoding_begins_another(a: Any, b: Any) -> None:
    assert not encode(a).startswith(encode(b)) or same(a, b)


@pytest.mark.parametrize("value", [1.5, [], {}, object(), ("a", 1.5), {1}])
def test_what_has_no_encoding_is_told_so(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^(float|list|dict|object|set) has no encoding$"):
        encode(value)


def test_a_slot_is_a_digest_of_the_whole_key() -> None:
    long = b"x" * 100_000
    assert len(slot(b"")) == len(slot(long)) == SLOT_BYTES
    assert len({slot(b""), slot(long), slot(long + b"y"), slot(long[:-1])}) == 4
    assert slot(long) == slot(bytes(long))
