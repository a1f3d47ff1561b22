"""Directives that are aimed at this cache decide as those of Cache-Control would (RFC 9213 §2)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pagegen.law.freshness import lifetime
from pagegen.law.staleness import MAX_UNREACHABLE, windows
from pagegen.law.storing import Refusal, refusal
from pagegen.messages import Fields, ResponseHead
from pagegen.rules import Rule

NOW = 784111777.0
LATER = ("Expires", "Sun, 06 Nov 1994 08:50:37 GMT")  # a minute after it
TAG = ("ETag", '"a"')


class Row(NamedTuple):
    """A response; why it is not stored (None: it is), its lifetime and its window after an error,
    in seconds.
    """

    id: str
    rfc: str
    says: str
    given: Fields
    refused: Refusal | None
    lifetime: float | None
    unreachable: float = MAX_UNREACHABLE


def cdn(value: str, *more: tuple[str, str]) -> Fields:
    """Fields of a response with this CDN-Cache-Control."""
    return (("CDN-Cache-Control", value), *more)


def cc(value: str) -> tuple[str, str]:
    """A Cache-Control field."""
    return ("Cache-Control", value)


ROWS = (
    Row("9213-2.2-1-cc", "§2.2 s1", "Cache-Control is for others",
        cdn("max-age=9", cc("no-store, private, max-age=1")), None, 9.0),
    Row("9213-2.2-1-expires", "§2.2 s1", "so is Expires", cdn("public", LATER, TAG), None, None),
    Row("9213-2.2-1-must", "§2.2 s1", "no directive is borrowed from it",
        cdn("max-age=9", cc("must-revalidate, stale-if-error=5")), None, 9.0),
    Row("9213-2.2-1-silent", "§2.2 s1", "be it silent", cdn("none", cc("max-age=5")),
        Refusal.NO_LIFETIME, None),
    Row("9213-2.2-1-fallback", "§2.2 s1", "unless none is valid",
        cdn("max-age", cc("max-age=5"), ("Pagegen-Cache-Control", '"')), Refusal.NO_LIFETIME, 0.0),
    Row("9213-2.1-3", "§2.1 s5", "or it does not parse", cdn("max-age=9,,", cc("max-age=5")),
        None, 5.0),
    Row("9213-2.1-3-no-store", "§2.1 s5", "what it would have forbidden too",
        cdn("no-store, =", cc("max-age=5")), None, 5.0),
    Row("9213-2.2-3-max-age", "§2.2 s3", "max-age", cdn("max-age=9"), None, 9.0),
    Row("9213-2.2-3-must", "§2.2 s3", "must-revalidate", cdn("max-age=9, must-revalidate"), None,
        9.0, 0.0),
    Row("9213-2.2-3-no-store", "§2.2 s3", "no-store", cdn("no-store", cc("max-age=9")),
        Refusal.NO_STORE, None),
    Row("9213-2.2-3-no-cache", "§2.2 s3", "no-cache", cdn("no-cache, max-age=9", TAG), None, 0.0,
        0.0),
    Row("9213-2.2-3-private", "§2.2 s3", "private", cdn("private, max-age=9"), Refusal.PRIVATE,
        9.0),
    Row("9213-2.2-3-qualified", "§2.1", "a list of names is a String",
        cdn('private="x-a", max-age=9'), None, 9.0),
    Row("9213-2.2-4-s-maxage", "§2.2 s4", "others as well", cdn("s-maxage=8, max-age=9"), None,
        8.0, 0.0),
    Row("9213-2.2-4-sie", "§2.2 s4", "extensions too", cdn("max-age=9, stale-if-error=5"), None,
        9.0, 5.0),
    Row("9213-2.2-5", "§2.2 s6", "no-store makes max-age void", cdn("max-age=9, no-store"),
        Refusal.NO_STORE, 9.0),
    Row("9213-2.1-1-decimal", "§2.1 s3", "a number of another type is not read",
        cdn("max-age=9.0"), Refusal.NO_LIFETIME, 0.0),
    Row("9213-2.1-1-string", "§2.1 s3", "nor a String of digits", cdn('max-age="9"'),
        Refusal.NO_LIFETIME, 0.0),
    Row("9213-2.1-1-list", "§2.1 s3", "a list of names is none, so it is about all",
        cdn("private=(a b), max-age=9"), Refusal.PRIVATE, 9.0),
    Row("9213-2.1-1-case", "RFC 9651 §3.2", "names have a case here: this is no dictionary",
        cdn("Max-Age=9", cc("max-age=5")), None, 5.0),
    Row("9213-2.2-2", "§2.2 s2", "a field for another cache changes nothing",
        (("Other-Cache-Control", "no-store"), cc("max-age=5")), None, 5.0),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_targeted_field_decides_alone(row: Row) -> None:
    rule = Rule(path="/", share="public")
    head = ResponseHead(200, row.given)
    assert refusal(head, rule, (), (), NOW) is row.refused, row.says
    assert lifetime(head, rule, NOW) == row.lifetime, row.says
    assert windows(head, rule).unreachable == row.unreachable, row.says


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "Pagegen" not in str(row.given)], ids=lambda row: row.id
)
def test_ours_decides_as_that_of_cdns_does(row: Row) -> None:
    rule = Rule(path="/", share="public")
    ours = tuple((name.replace("CDN", "Pagegen"), value) for name, value in row.given)
    head = ResponseHead(200, ours)
    assert refusal(head, rule, (), (), NOW) is row.refused, row.says
    assert lifetime(head, rule, NOW) == row.lifetime, row.says
    assert windows(head, rule).unreachable == row.unreachable, row.says
