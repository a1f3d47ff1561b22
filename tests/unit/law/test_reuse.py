"""What a stored page is worth: its whole key, its tokens one by one, its lifetime (RFC 9111 §4)."""

from __future__ import annotations

import pytest

from pagegen.law.reuse import Fitness, changed, fitness
from pagegen.messages import StoredResponse

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def page(generation: tuple[bytes, ...] = (A, B), key: bytes = b"key") -> StoredResponse:
    """A page of two namespaces, fresh until second 100."""
    names = ("one", "two")[: len(generation)]
    return StoredResponse(
        key, names, generation, 200, "", b"", None, None, 50.0, 0.0, 100.0, 0.0, (), (), (), ()
    )


@pytest.mark.parametrize(
    ("says", "stored", "generation", "now", "expect"),
    [
        ("nothing is there", None, (A, B), 0.0, Fitness.ABSENT),
        ("its tokens are the present ones", page(), (A, B), 99.9, Fitness.FRESH),
        ("its lifetime is over", page(), (A, B), 100.0, Fitness.EXPIRED),
        ("the clock stepped back", page(), (A, B), -5.0, Fitness.FRESH),
        ("one token changed", page(), (A, C), 60.0, Fitness.INVALIDATED),
        ("the tokens changed places", page(), (B, A), 60.0, Fitness.INVALIDATED),
        ("a token is gone", page(), (None, B), 60.0, Fitness.INVALIDATED),
        ("all tokens are gone", page(), (None, None), 60.0, Fitness.INVALIDATED),
        ("a token too few", page(), (A,), 60.0, Fitness.INVALIDATED),
        ("a token too many", page(), (A, B, C), 60.0, Fitness.INVALIDATED),
        ("invalidated weighs more than expired", page(), (A, C), 500.0, Fitness.INVALIDATED),
        ("another key's page", page(key=b"kez"), (A, B), 60.0, Fitness.FOREIGN),
        ("foreign weighs most", page(key=b""), (C, C), 500.0, Fitness.FOREIGN),
        ("no namespaces", page(()), (), 60.0, Fitness.FRESH),
    ],
)
def test_a_page_is_judged_by_key_then_tokens_then_time(
    says: str,
    stored: StoredResponse | None,
    generation: tuple[bytes | None, ...],
    now: float,
    expect: Fitness,
) -> None:
    assert fitness(stored, b"key", generation, now) is expect, says


@pytest.mark.parametrize(
    ("generation", "expect"),
    [((A, B), ()), ((A, C), ("two",)), ((None, B), ("one",)), ((C, None), ("one", "two"))],
)
def test_the_changed_namespaces_are_told_by_name(
    generation: tuple[bytes | None, ...], expect: tuple[str, ...]
) -> None:
    assert changed(page(), generation, Fitness.INVALIDATED) == expect
    assert changed(page(), generation, Fitness.EXPIRED) == ()
