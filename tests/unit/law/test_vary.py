"""Which ``Vary`` a stored response may have (RFC 9111 §4.1, RFC 9110 §12.5.5)."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pagegen.law.vary import uncovered
from pagegen.messages import Fields, ResponseHead


class Case(NamedTuple):
    """A response, the keyed fields, and the member of ``Vary`` that the key lacks."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: str | None
    keyed: tuple[str, ...] = ("host", "accept-language")


GZIP = ("Content-Encoding", "gzip")
CASES = [
    Case("none", "9111 §4.1", "no Vary needs nothing", (), None),
    Case("empty", "9110 §5.6.1", "an empty list names nobody", (("Vary", " , "),), None),
    Case("keyed", "9111 §4.1", "a keyed member", (("Vary", "Accept-Language"),), None),
    Case("host", "9111 §4.1", "the host is always keyed", (("VARY", "HOST"),), None),
    Case("unkeyed", "9111 §4.1", "an unkeyed member", (("Vary", "Cookie"),), "cookie"),
    Case("later", "9111 §4.1", "behind a keyed one", (("Vary", "host, Origin"),), "origin"),
    Case(
        "lines", "9110 §5.3", "on a second line", (("Vary", "host"), ("vary", "Origin")), "origin"
    ),
    Case("star", "9111 §4.1", "a star never matches", (("Vary", "*"),), "*"),
    Case("star-later", "9111 §4.1", "not even among others", (("Vary", "host, *"),), "*"),
    Case("star-keyed", "9111 §4.1", "whatever is keyed", (("Vary", "*"),), "*", ("*", "host")),
    Case("plain", "9110 §12.5.3", "uncoded is for all", (("Vary", "Accept-Encoding"),), None),
    Case(
        "coded",
        "9110 §12.5.3",
        "coded is for some",
        (("Vary", "Accept-Encoding"), GZIP),
        "accept-encoding",
    ),
    Case(
        "coded-keyed",
        "9111 §4.1",
        "unless it is keyed",
        (("Vary", "Accept-Encoding"), GZIP),
        None,
        ("accept-encoding",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_member_of_vary_is_in_the_key(case: Case) -> None:
    assert uncovered(ResponseHead(200, case.given), case.keyed) == case.expect, case.says
