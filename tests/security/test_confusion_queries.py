"""Queries: what is keyed is what frameworks read, and what they can tell apart shares no page.

``PAGEGEN_QUERIES`` is how many generated queries are compared, each with all others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl

import pytest
from django.http import QueryDict
from starlette.datastructures import QueryParams
from werkzeug.wrappers import Request as WerkzeugRequest

from pagegen import Rule
from pagegen.queries import canonical
from pagegen.testing import Answer
from tests.conftest import MakeScenario
from tests.contrib.django import setting_up

QUERIES: Final = int(os.environ.get("PAGEGEN_QUERIES", "6000"))
PIECES: Final = (
    "a", "a", "b", "b[]", "b%5B%5D", "b[0]", "%61", "A", "%C3%A9", "e%CC%81", "é", "=", "=", "=",
    "&", "&", "&", "&amp;", ";", "%3B", "+", "%20", " ", "%2B", "%26", "%3D", "%00", "%0A", "%0d",
    "%ff", "%C0%AF", "%ED%A0%80", "%EF%BC%86", "%", "%4", "%zz", "%25", "%2526", "#", "%23", "?",
    "/", "..", "1", "01", "utm_source", "_method", "[", "]", "'", '"', "<b>", "\x7f", "|", "a.b",
)  # fmt: skip
NAMES: Final = ("a", "a", "%61", "b", "b[]", "b%5B%5D", "%C3%A9", "&a", "%26a", "")
VALUES: Final = (
    "",
    "1",
    "01",
    "+",
    "%20",
    "a=b",
    "%C3%A9",
    "e%CC%81",
    "%26",
    "&",
    "[]",
    "%2B",
    "?",
)
MANY: Final = {"repeat": "list"}
DECLARED: Final = {"a": MANY, "b": MANY, "b[]": MANY, "é": MANY, "&a": MANY}
RULES: Final = {
    "verbatim": Rule(path="/p", share="public", ttl=60, other_query="key"),
    "keyed": Rule(path="/p", share="public", ttl=60, other_query="key", query={"a": MANY}),
    "dropped": Rule(path="/p", share="public", ttl=60, other_query="drop", query=DECLARED),
    "strict": Rule(path="/p", share="public", ttl=60, query=DECLARED),
}


def generated(random: Random) -> str:
    """A query of which most is sound."""
    count = random.randrange(4)
    pairs = (random.choice(NAMES) + random.choice(("=", "=", "")) for _ in range(count))
    raw = "&".join(pair + (random.choice(VALUES) if "=" in pair else "") for pair in pairs)
    if random.random() < 0.5:
        return raw
    at = random.randrange(len(raw) + 1)
    return raw[:at] + random.choice(PIECES) + raw[at:]


def of_standard(raw: str) -> list[tuple[str, str]]:
    """Name and value of each parameter, in order, as the standard library reads them."""
    return parse_qsl(raw, keep_blank_values=True, max_num_fields=None)


def of_starlette(raw: str) -> list[tuple[str, str]]:
    """As Starlette and FastAPI read them."""
    return QueryParams(raw.encode("latin-1", "replace")).multi_items()


def of_werkzeug(raw: str) -> list[tuple[str, str]]:
    """As Flask reads them; it groups them by name."""
    request = WerkzeugRequest({"QUERY_STRING": raw, "REQUEST_METHOD": "GET"})
    return list(request.args.items(multi=True))


def of_django(raw: str) -> list[tuple[str, str]]:
    """As Django reads them, grouped by name."""
    setting_up.configure()
    return [(name, value) for name, values in QueryDict(raw).lists() for value in values]


def of_old(raw: str) -> list[tuple[str, str]]:
    """As parsers read them to whom ``;`` is a separator, too (Python's own until 3.9.1)."""
    return [pair for part in raw.split(";") for pair in of_standard(part)]


READERS: Final[dict[str, Callable[[str], list[tuple[str, str]]]]] = {
    "the standard library": of_standard,
    "Starlette": of_starlette,
    "Werkzeug": of_werkzeug,
    "Django": of_django,
    "an old parser": of_old,
}


def grouped(pairs: list[tuple[str, str]], rule: Rule) -> dict[str, list[str]]:
    """The values of each parameter that the rule keys, in order."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in rule.parameters or not rule.drops(name):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", RULES)
def test_queries_that_frameworks_can_tell_apart_never_share_a_page(kind: str, reader: str) -> None:
    rule, read, random = RULES[kind], READERS[reader], Random(17)
    owners: dict[Any, Any] = {}
    shared = 0
    for _ in range(QUERIES // 4):
        raw = generated(random)
        query = canonical(raw, rule)
        if query is None:
            continue
        bare = grouped(read(raw), rule)
        # The handler sees the canonical text: it reads there what it would read on a bypass.
        assert grouped(read(query.text), rule) == bare, raw
        shared += query.values in owners
        assert owners.setdefault(query.values, bare) == bare, raw
    assert len(owners) > QUERIES / 80
    assert shared > QUERIES / 80


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("a=1&a=2", "a=2&a=1"),
        ("a=1&a=2", "a=1"),
        ("a=1;a=2", "a=1"),
        ("a=1%26a=2", "a=1&a=2"),
        ("a=1+2", "a=1%2B2"),
        ("a", "A"),
        ("a[]=1", "a=1"),
        ("a[]=1", "a[0]=1"),
        ("a=", ""),
        ("=1", ""),
        ("a=%C3%A9", "a=e%CC%81"),
        ("a=%EF%BC%91", "a=1"),
        ("a=1#b", "a=1"),
        ("a=1?b", "a=1"),
        ("a=1&amp;b=2", "a=1&b=2"),
        ("a=%2526", "a=%26"),
        ("a=1%00", "a=1"),
        ("a=1&_method=DELETE", "a=1"),
        ("a=1&callback=evil", "a=1"),
    ],
)
@pytest.mark.parametrize("other", ["key", "bypass"])
def test_pairs_of_published_attacks_have_pages_of_their_own(
    scenario: MakeScenario, one: str, two: str, other: Any
) -> None:
    rule = Rule(path="/p", share="public", ttl=60, other_query=other, query={"a": MANY})
    stage = scenario(rule)
    stage.handler = lambda seen: repr(of_standard(seen.query))

    def ask(raw: str) -> Answer:
        return stage.get(f"/p?{raw}" if raw else "/p")

    for raw in (one, two, one, two):
        assert ask(raw).text == repr(of_standard(raw))


@pytest.mark.parametrize(("one", "two"), [("a=1", "%61=%31"), ("a=+", "a=%20"), ("a=1&", "&&a=1")])
def test_spellings_that_no_framework_tells_apart_share_a_page(
    scenario: MakeScenario, one: str, two: str
) -> None:
    stage = scenario(Rule(path="/p", share="public", ttl=60, query={"a": MANY}))
    assert [stage.get(f"/p?{raw}").trace for raw in (one, two)] == ["uri-miss, stored", "hit"]
