"""Rows of the outbox: whatever is in them, nothing raises and good names are forgotten."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.contrib.outbox.rows import MAX_NAMES, decode, encode, merge
from pagegen.errors import NamespaceError


def test_what_is_encoded_is_decoded_in_bounded_rows() -> None:
    names = [f"item:{number}" for number in range(2 * MAX_NAMES + 1)]
    rows = encode([*names, *names])
    assert [len(json.loads(text)) for _, text in rows] == [MAX_NAMES, MAX_NAMES, 1]
    assert len({identifier for identifier, _ in rows}) == 3
    assert merge([decode(*row) for row in rows]) == tuple(names)


def test_names_that_are_none_are_refused_before_any_row() -> None:
    with pytest.raises(NamespaceError):
        encode(["item:1", "two\nlines"])


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        ('["a", "b", "a"]', ("a", "b"), None),
        (b'["a"]', ("a",), None),
        ("[]", (), None),
        ("[", (), "no JSON"),
        ("[" * 100_000, (), "no JSON"),
        (b"\xff", (), "no JSON"),
        (None, (), "no text"),
        (7, (), "no text"),
        (" " * 1_000_001, (), "no text"),
        ('"a"', (), "no list"),
        ('{"a": 1}', (), "no list"),
        ('["a", 7, null, ["b"], "", "pagegen:sequence"]', ("a",), "no namespaces"),
        ('["\\ud800"]', (), "no namespaces"),
    ],
)
def test_hostile_rows_say_what_is_wrong_and_keep_good_names(
    text: object, names: tuple[str, ...], said: str | None
) -> None:
    row = decode("x", text)
    assert row.names == names
    assert row.problem is None if said is None else (row.problem or "").startswith(said)
    (row.problem or "").encode()  # can be written to a database


@given(st.text() | st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_decoding_never_raises(text: str | bytes) -> None:
    assert decode("x", text).id == "x"
