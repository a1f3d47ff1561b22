"""Two visitors who agree in all that is keyed get the same page, whatever else they send.

For each pair the second visitor must get after the first what they get after one who says nothing
but what is keyed. ``PAGEGEN_PAIRS`` is how many pairs run on each front; 100,000 take some minutes.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest

from pagegen import Rule
from pagegen.testing import Answer, Front
from tests.security.requests_asking import Visitors, everything
from tests.security.requests_noisy import (
    IDENTITIES,
    RULES,
    Asked,
    Noisy,
    asked,
    noisy,
    plain,
    sibling,
)

PAIRS: Final = int(os.environ.get("PAGEGEN_PAIRS", "400"))


def _of_the_page(answer: Answer) -> tuple[Any, ...]:
    """All but what the cache says of itself; that there was a page, the Age tells too."""
    fields = [pair for pair in answer.fields if pair[0].lower() not in ("cache-status", "age")]
    return answer.status, fields, answer.body


async def _run(
    front: Front,
    pairs: int,
    other: Callable[[Random, Asked], Asked],
    make: Callable[[], Visitors] = lambda: Visitors(RULES, IDENTITIES),
    liken: Callable[[Random, Noisy, Noisy], None] = lambda _random, _first, _second: None,
) -> Counter[str]:
    """Ask for pairs of pages, ``other`` makes the second of the first; count what became of it.

    ``liken`` makes the second request say some of what the first says.
    """
    random, traces = Random(7), Counter[str]()
    after_noise, after_silence = await make().ask(front), await make().ask(front)
    for number in range(pairs):
        page = asked(random, number)
        wanted = other(random, page)
        first, second = noisy(random, page), noisy(random, wanted)
        liken(random, first, second)
        await after_noise(first)
        await after_silence(plain(wanted))
        got, due = await after_noise(second), await after_silence(second)
        traces[got.trace] += 1
        # What such a client gets depends on whether there is a page; what is on it does not.
        if not second.fussy or got.trace == due.trace:
            assert _of_the_page(got) == _of_the_page(due), (number, first, second)
    return traces


def _same(_random: Random, page: Asked) -> Asked:
    return page


@pytest.mark.timeout(3600)
def test_what_a_visitor_gets_depends_on_nothing_unkeyed_that_others_sent(front: Front) -> None:
    traces = asyncio.run(_run(front, PAIRS, _same))
    # The two shared a page in most cases: else this would show nothing.
    assert traces["hit"] > PAIRS / 2, traces
    assert {"bypass: authorization", "bypass: body", "bypass: query"} <= traces.keys(), traces


@pytest.mark.timeout(3600)
def test_visitors_who_differ_in_what_is_keyed_never_share_a_page(front: Front) -> None:
    traces = asyncio.run(_run(front, PAIRS, sibling))
    assert traces["hit"] == 0, traces
    assert traces["uri-miss, stored"] > PAIRS / 2, traces


#: Some of what no response says that it depends on, and what published attacks send.
STEERING: Final = (
    "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "forwarded", "x-host",
    "x-original-url", "x-rewrite-url", "x-http-method-override", "x-method-override", "x-real-ip",
    "x-script-name", "x-middleware-subrequest", "x-now-route-matches", "proxy",
)  # fmt: skip
#: What the open handler depends on and says so.
SAID: Final = ("x-kind", "x-user", "user-agent", "cookie")


def _what_it_says(seen: dict[str, Any], fields: dict[str, str], body: bytes) -> object:
    """The fields in its Vary, all that steer, and everything that is no field."""
    told = {name: fields.get(name) for name in SAID}
    steering = {name: fields.get(name) for name in STEERING}
    rest = {k: v for k, v in seen.items() if k[:5] != "HTTP_" and k not in ("headers", *_TYPE)}
    return told, steering, everything(rest, {}, body)


def _liken(random: Random, first: Noisy, second: Noisy) -> None:
    second.query, second.raw_path = first.query, first.raw_path
    for name in SAID:
        if random.random() < 0.9:
            second.fields.pop(name, None)
            second.fields.update({name: first.fields[name]} if name in first.fields else {})


_TYPE: Final = ("CONTENT_TYPE", "CONTENT_LENGTH")


@pytest.mark.timeout(3600)
def test_an_open_rule_keeps_apart_by_vary_and_hides_what_no_vary_says(front: Front) -> None:
    def make() -> Visitors:
        return Visitors([Rule(path="/**", share="public")], (), _what_it_says, ", ".join(SAID))

    traces = asyncio.run(_run(front, PAIRS, _same, make, _liken))
    assert min(traces["hit"], traces["vary-miss, stored"]) > PAIRS / 8, traces
