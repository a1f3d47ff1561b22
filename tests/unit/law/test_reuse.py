"""What a stored page is worth: its whole key, its tokens one by one, its lifetime (RFC 9111 §4)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pagegen.law.reuse import Fitness, changed, fitness, stands_for_client_error, within
from pagegen.messages import StoredResponse

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def page(
    generation: tuple[bytes, ...] = (A, B), key: bytes = b"key", until: float = 100.0
) -> StoredResponse:
    """A page of two namespaces, stored at second 50 and fresh until second 100."""
    names = ("one", "two")[: len(generation)]
    return StoredResponse(
        key, names, generation, 200, "", b"", None, None, 50.0, 0.0, until, 0.0, (), (), (), ()
    )


class Case(NamedTuple):
    """A sentence, a slot's page, the present tokens, the second it is, and what the page is worth.

    §4 has one sentence for all conditions of reuse; the letters are those of its list.
    """

    id: str
    rfc: str
    says: str
    page: StoredResponse | None
    tokens: tuple[bytes | None, ...]
    now: float
    expect: Fitness


FOREIGN, EXPIRED, FRESH = Fitness.FOREIGN, Fitness.EXPIRED, Fitness.FRESH
DEAD = Fitness.INVALIDATED
CASES = [
    Case("absent", "§4", "nothing is there", None, (A, B), 0.0, Fitness.ABSENT),
    Case("4-1a", "§4", "of another URI or key", page(key=b"kez"), (A, B), 60.0, FOREIGN),
    Case("4-1a-most", "§4", "weighs most", page(key=b""), (C, C), 500.0, FOREIGN),
    Case("4-1e", "§4", "it is fresh", page(), (A, B), 60.0, FRESH),
    Case("4.2-12", "§4.2", "to the end of its lifetime", page(), (A, B), 99.9, FRESH),
    Case("4.2-12-over", "§4.2", "and not past it", page(), (A, B), 100.0, EXPIRED),
    Case("4-1d", "§4", "no-cache: a lifetime of 0", page(until=50.0), (A, B), 50.0, EXPIRED),
    Case("4.2-back", "§4.2", "the clock stepped back", page(), (A, B), -5.0, FRESH),
    Case("4.4-6", "§4.4", "one token changed", page(), (A, C), 60.0, DEAD),
    Case("4.4-6-order", "§4.4", "the tokens changed places", page(), (B, A), 60.0, DEAD),
    Case("4.4-6-gone", "§4.4", "a token is gone", page(), (None, B), 60.0, DEAD),
    Case("4.4-6-all", "§4.4", "all tokens are gone", page(), (None, None), 60.0, DEAD),
    Case("4.4-6-few", "§4.4", "a token too few", page(), (A,), 60.0, DEAD),
    Case("4.4-6-many", "§4.4", "a token too many", page(), (A, B, C), 60.0, DEAD),
    Case("4.4-6-old", "§4.4", "weighs more than expired", page(), (A, C), 500.0, DEAD),
    Case("nameless", "design 1", "no namespaces", page(()), (), 60.0, FRESH),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_page_is_judged_by_key_then_tokens_then_time(case: Case) -> None:
    assert fitness(case.page, b"key", case.tokens, case.now) is case.expect, case.says


@pytest.mark.parametrize(
    ("arrived_at", "now", "expect"),
    [(0.0, 50.0, 0), (0.0, 59.9, 9), (7.5, 60.0, 17), (7.5, 40.0, 0)],
    ids=["4-3", "whole-seconds", "4.2.3-initial", "clock-back"],
)
def test_the_age_is_that_on_arrival_and_the_time_since(
    arrived_at: float, now: float, expect: int
) -> None:
    stored = page()
    stored.initial_age = arrived_at
    assert stored.age(now) == expect


@pytest.mark.parametrize(
    ("generation", "expect"),
    [((A, B), ()), ((A, C), ("two",)), ((None, B), ("one",)), ((C, None), ("one", "two"))],
)
def test_the_changed_namespaces_are_told_by_name(
    generation: tuple[bytes | None, ...], expect: tuple[str, ...]
) -> None:
    assert changed(page(), generation, Fitness.INVALIDATED) == expect
    assert changed(page(), generation, Fitness.EXPIRED) == ()


def test_registers_that_are_missing_or_too_many_do_not_make_the_telling_fail() -> None:
    # A page of an older configuration may have others than are asked for now.
    assert changed(page(), (C,), Fitness.INVALIDATED) == ("one",)
    assert changed(page(), (A, C, B), Fitness.INVALIDATED) == ("two",)
    assert changed(None, (C,), Fitness.INVALIDATED) == ()


class Rule(NamedTuple):
    """A sentence on when an expired page may be served, and whether it may be then."""

    id: str
    rfc: str
    says: str
    given: tuple[float, float]
    expect: bool


# The page is fresh until second 100; given are the window and the second it is.
WINDOWS = [
    Rule("4.2.4-2", "RFC 9111 §4.2.4", "where it is forbidden (0), never", (0.0, 100.0), False),
    Rule("4.2.4-3", "RFC 9111 §4.2.4", "where it is allowed, it may", (30.0, 100.0), True),
    Rule("5861-3-end", "RFC 5861 §3", "to the end of the window", (30.0, 129.9), True),
    Rule("5861-3-over", "RFC 5861 §3", "and not past it", (30.0, 130.0), False),
    Rule("4.2-fresh", "RFC 9111 §4.2", "a fresh page is within any", (0.0, 99.9), True),
    Rule("ever", "RFC 9111 §1.2.2", "a window may be without end", (float("inf"), 1e12), True),
]


@pytest.mark.parametrize("rule", WINDOWS, ids=lambda rule: rule.id)
def test_an_expired_page_is_served_within_its_window(rule: Rule) -> None:
    window, now = rule.given
    assert within(page(), window, now) is rule.expect, rule.says


class _RaisedError(Exception):
    def __init__(self, **told: object) -> None:
        self.__dict__.update(told)


@pytest.mark.parametrize(
    ("error", "expect"),
    [
        (_RaisedError(status_code=404), True),
        (_RaisedError(code=499), True),
        (_RaisedError(code=400), True),
        (_RaisedError(status_code=500), False),
        (_RaisedError(code=399), False),
        (_RaisedError(code="404"), False),
        (_RaisedError(status_code=503, code=404), False),
        (ValueError(), False),
        (None, False),
    ],
    ids=repr,
)
def test_an_exception_that_stands_for_a_4xx_is_an_answer(
    error: Exception | None, expect: bool
) -> None:
    # RFC 5861 §4 names 500, 502, 503 and 504 as errors.
    assert stands_for_client_error(error) is expect
