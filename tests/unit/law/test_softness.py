"""Tokens that remember which ones they softly replaced, and what a page under those is worth."""

from __future__ import annotations

import struct
from math import inf, nan
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.law import softness
from pagegen.law.softness import (
    MAX_RECORDS,
    declared,
    hard,
    registers,
    served,
    since,
    succeed,
    superseded,
)
from pagegen.law.tokens import MAX_AHEAD
from pagegen.messages import StoredResponse
from pagegen.stores.codec import Codec


def fresh(letter: str) -> bytes:
    """As many bytes as a token without records has."""
    return letter.encode() * 24


def page(
    names: tuple[str, ...],
    generation: tuple[bytes, ...],
    until: float = 1000.0,
    swr: float = 30.0,
) -> StoredResponse:
    """A page under these tokens, fresh until then."""
    made = StoredResponse(
        b"key",
        names,
        generation,
        200,
        "200 OK",
        b"",
        None,
        None,
        50.0,
        0.0,
        until,
        0.0,
        (),
        (),
        (),
        (),
    )
    made.stale_while_revalidate = swr
    return made


T0, H0, U0, L0 = fresh("t"), fresh("h"), fresh("u"), fresh("l")
T1 = succeed(T0, fresh("1"), 100.0)
T2 = succeed(T1, fresh("2"), 110.0)
HARD_AFTER = succeed(fresh("x"), fresh("3"), 120.0)


def recorded(*records: tuple[bytes, float]) -> bytes:
    """A token with records that somebody made up."""
    return fresh("m") + b"".join(struct.pack(">8sd", *record) for record in records)


NAME = softness._named(T0)


class Case(NamedTuple):
    """A token under which a page was stored, the present one, and since when it is soft."""

    id: str
    says: str
    captured: bytes
    present: bytes
    expect: float | None


CASES = [
    Case("soft", "softly replaced: since then", T0, T1, 100.0),
    Case("soft-twice", "the first of two counts", T0, T2, 100.0),
    Case("soft-later", "for who came between, the second", T1, T2, 110.0),
    Case("same", "not replaced at all", T1, T1, None),
    Case("hard", "replaced by one without records", T0, fresh("z"), None),
    Case("hard-between", "a hard one between two soft ones", T0, HARD_AFTER, None),
    Case("backwards", "the older of two", T2, T1, None),
    Case("cut", "half a record is none", T0, T1[:-1], None),
    Case("nan", "no moment", T0, recorded((NAME, nan)), None),
    Case("inf", "no moment that ever comes", T0, recorded((NAME, inf)), None),
    Case("odd", "a bad record hides no good one", T0, recorded((NAME, nan), (NAME, 7.0)), 7.0),
    Case("twice", "the earlier of two of one token", T0, recorded((NAME, 9.0), (NAME, 7.0)), 7.0),
    Case("empty", "nothing", T0, b"", None),
    Case("short", "no room for a record", T0, b"short", None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_token_tells_since_when_another_one_was_softly_replaced(case: Case) -> None:
    assert superseded(case.captured, case.present) == case.expect, case.says


def test_a_token_that_is_missing_has_a_successor_that_remembers_nothing() -> None:
    assert succeed(None, fresh("a"), 100.0) == fresh("a")


@pytest.mark.parametrize("stamp", [nan, inf, -inf])
def test_a_moment_that_is_none_makes_the_invalidation_hard(stamp: float) -> None:
    assert succeed(T0, fresh("a"), stamp) == fresh("a")


def test_what_is_not_sixteen_bytes_gets_no_records() -> None:
    assert succeed(T0, b"odd", 100.0) == b"odd"


def test_so_many_tokens_are_remembered_and_the_oldest_gives_way() -> None:
    token, chain = T0, [T0]
    for number in range(MAX_RECORDS + 1):
        token = succeed(token, bytes((number,)) * 24, 100.0 + number)
        chain.append(token)
    assert superseded(T0, token) is None
    assert [superseded(old, token) for old in chain[1:-1]] == [
        101.0 + n for n in range(MAX_RECORDS)
    ]
    assert len(token) == 24 + 16 * MAX_RECORDS


@pytest.mark.parametrize("label", [b"", b"label of", b"x" * 15, b"y" * 103], ids=len)
def test_records_are_found_again_in_what_a_store_makes_of_a_token(label: bytes) -> None:
    """Redis puts 8 bytes behind each token that say which server it is."""
    read = [T0 + label]
    for number in range(MAX_RECORDS):
        read.append(succeed(read[-1], bytes((number,)) * 24, float(number)) + label)
    assert [superseded(old, read[-1]) for old in read[:-1]] == [
        float(n) for n in range(MAX_RECORDS)
    ]


def test_another_server_has_other_tokens_though_the_records_be_the_same() -> None:
    assert superseded(T0 + b"server 1", T1 + b"server 1") is None  # T1 remembers T0 without label
    after = succeed(T0 + b"server 1", fresh("1"), 100.0)
    assert superseded(T0 + b"server 1", after + b"server 2") == 100.0
    failed_over = page(("n", hard("n")), (T0 + b"server 1", H0 + b"server 1"))
    assert since(failed_over, (after + b"server 2", H0 + b"server 2")) is None


def test_the_longest_token_fits_into_a_stored_page() -> None:
    token = T0
    for number in range(MAX_RECORDS):
        token = succeed(token, bytes((number,)) * 24, float(number))
    stored = page(("n",), (token + b"y" * 103,))
    decoded = Codec().decode(Codec().encode(stored))
    assert decoded is not None
    assert decoded.generation == stored.generation


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
def test_hostile_bytes_never_raise_and_never_revive(one: bytes, two: bytes, three: bytes) -> None:
    assert superseded(one, two) is None
    stored = page(("n", hard("n")), (one, three))
    assert since(stored, (two, three)) is None
    grown = succeed(one, fresh("a"), 5.0)
    assert superseded(one, grown) == 5.0
    assert len(grown) <= 24 + 16 * MAX_RECORDS


NAMES = ("n", "url:a/b", hard("n"), "late")
CAPTURED = (T0, U0, H0, L0)
PAGES = [
    ("soft", (T1, U0, H0, L0), 100.0),
    ("soft-twice", (T2, U0, H0, L0), 100.0),
    ("nothing", CAPTURED, None),
    ("hard", (fresh("x"), U0, fresh("y"), L0), None),
    ("hard-seen-by-its-register-alone", (T1, U0, fresh("y"), L0), None),
    ("hard-register-alone", (T0, U0, fresh("y"), L0), None),
    ("hard-register-softly", (T0, U0, succeed(H0, fresh("y"), 1.0), L0), None),
    ("hard-register-gone", (T1, U0, None, L0), None),
    ("token-gone", (None, U0, H0, L0), None),
    ("another-token-gone", (T1, None, H0, L0), None),
    ("url", (T0, fresh("y"), H0, L0), None),
    ("url-softly", (T0, succeed(U0, fresh("y"), 1.0), H0, L0), None),
    ("url-and-soft", (T1, fresh("y"), H0, L0), None),
    ("late", (T0, U0, H0, fresh("y")), None),
    ("late-softly", (T0, U0, H0, succeed(L0, fresh("y"), 1.0)), None),
    ("too-few", (T1, U0, H0), None),
    ("too-many", (T1, U0, H0, L0, L0), None),
]


@pytest.mark.parametrize(("tokens", "expect"), [p[1:] for p in PAGES], ids=[p[0] for p in PAGES])
def test_a_page_is_soft_when_all_that_changed_was_softly_replaced(
    tokens: tuple[bytes | None, ...], expect: float | None
) -> None:
    assert since(page(NAMES, CAPTURED), tokens) == expect


def test_of_many_namespaces_the_one_that_was_replaced_first_counts() -> None:
    names = ("a", "b", hard("a"), hard("b"))
    stored = page(names, (T0, L0, H0, U0))
    assert since(stored, (T1, succeed(L0, fresh("y"), 90.0), H0, U0)) == 90.0
    assert since(stored, (T1, L0, H0, U0)) == 100.0
    assert since(stored, (T1, fresh("y"), H0, U0)) is None


@pytest.mark.parametrize(
    ("until", "soft", "now", "expect"),
    [
        (1000.0, 100.0, 100.0, True),
        (1000.0, 100.0, 129.9, True),
        (1000.0, 100.0, 130.0, False),
        (90.0, 100.0, 119.9, True),
        (90.0, 100.0, 120.0, False),
        (1000.0, 100.0, 100.0 - MAX_AHEAD, True),
        (1000.0, 100.0, 99.9 - MAX_AHEAD, False),
    ],
    ids=["at-once", "to-the-end", "over", "expired", "expired-over", "clocks", "clock-set-back"],
)
def test_a_soft_page_is_served_within_its_window(
    until: float, soft: float, now: float, expect: bool
) -> None:
    assert served(page(("n",), (T0,), until), soft, now) is expect


def test_a_page_that_may_never_be_stale_has_no_window() -> None:
    assert not served(page(("n",), (T0,), swr=0.0), 100.0, 100.0)


def test_people_read_namespaces_and_no_registers() -> None:
    assert registers(("a", "url:x", "b")) == ("pagegen:hard:a", "pagegen:hard:b")
    assert declared(("a", "url:x", hard("a"), hard("late"), "pagegen:sequence")) == (
        "a",
        "url:x",
        "late",
    )
