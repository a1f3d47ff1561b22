"""A coded page says of itself what the page says, though its fields are fewer."""

from __future__ import annotations

from typing import Final

import pytest

from pagegen import Rule
from pagegen.testing import Reply
from tests.conftest import MakeScenario

_PAGE: Final = Rule(path="/page", share="public", ttl="1h", namespaces=["page"], compress=["gzip"])
#: Fields of the page's bytes, which no coded form of it has (RFC 9530, RFC 3230).
_DIGESTS: Final = [
    ("Content-Digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
    ("Repr-Digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
    ("Content-MD5", "Q2hlY2sgSW50ZWdyaXR5IQ=="),
    ("Digest", "sha-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
]


@pytest.mark.parametrize("number", range(len(_DIGESTS) + 1))
@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_who_navigates_is_told_to_ask_again_of_a_coded_page_too(
    scenario: MakeScenario, coding: str, number: int
) -> None:
    """Else the back button shows what was invalidated: the ``no-cache`` alone does not reach it."""
    site = scenario(_PAGE)
    fields = [("Content-Type", "text/html"), *_DIGESTS[:number]]
    site.handler = lambda _: Reply(b"<p>text</p>" * 200, fields=fields)
    site.get("/page")
    asked = {"accept-encoding": coding, "sec-fetch-mode": "navigate"}
    answer = site.get("/page", asked)
    assert answer.trace == "hit"
    assert (answer.get("content-encoding") == "gzip") is (coding == "gzip")
    assert answer.get("cache-control") == "no-cache"
    assert "*" in (answer.get("vary") or "").split(", ")
