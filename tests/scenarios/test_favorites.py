"""The case pagegen was made for: slices of a list, forgotten together by one call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from pagegen import Rule, namespace
from pagegen.messages import ResponseHead, StoredResponse
from pagegen.stepping import step
from pagegen.stores import MemoryStore, Reading
from pagegen.testing import Scenario, Seen, environ
from pagegen.verdicts import Forward
from pagegen.wsgi.requests import read_request
from tests.conftest import MakeScenario

LIST = Rule(
    path="/users/{user:int}/favorites",
    share="public",
    namespaces=["user:{user}/favorites"],
    ttl="7d",
    query={
        "start": {"type": "int", "default": 0, "min": 0},
        "end": {"type": "int", "default": 20, "min": 1},
    },
)
SLICES = ("", "?start=0&end=20", "?start=20&end=40")


class CountingStore(MemoryStore):
    """A memory store that counts what is asked of it."""

    def __init__(self, size: str | int = "64MiB") -> None:
        super().__init__(size)
        self.calls: Counter[str] = Counter()

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.calls["read"] += 1
        return await super().read(slot, namespaces)

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        self.calls["add_tokens"] += 1
        return await super().add_tokens(tokens, ttl)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self.calls["replace_tokens"] += 1
        self.calls["tokens replaced"] += len(tokens)
        await super().replace_tokens(tokens, ttl)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        self.calls["write_page"] += 1
        self.last = page
        return await super().write_page(slot, page, ttl)


def test_one_post_forgets_all_slices_of_one_user_and_none_of_another(
    scenario: MakeScenario,
) -> None:
    stage = scenario(LIST)

    def handler(seen: Seen) -> str:
        if seen.method == "POST":
            stage.cache.invalidate(namespace("user:{id}/favorites", id=seen.path.split("/")[2]))
        return f"{seen.path} {seen.query} render {stage.renders}"

    stage.handler = handler
    for user in (42, 43):
        traces = [stage.get(f"/users/{user}/favorites{query}").trace for query in SLICES]
        assert traces == ["uri-miss, stored", "hit", "uri-miss, stored"]
    stage.post("/users/42/favorites")
    traces = [stage.get(f"/users/42/favorites{query}").trace for query in SLICES]
    assert traces == ["stale, stored", "hit", "stale, stored"]
    assert [stage.get(f"/users/43/favorites{query}").trace for query in SLICES] == ["hit"] * 3


def _fill(stage: Scenario, target: str) -> None:
    """What a miss does, without the cost of a front."""
    engine = stage.cache.engine
    verdict = step(engine.look_up(read_request(environ("GET", target))))
    assert isinstance(verdict, Forward)
    step(engine.admit(verdict.ticket, ResponseHead(200, ()), b"page"))


def _copy(store: CountingStore, count: int) -> Iterator[bytes]:
    """Pages like the last one, without the cost of a miss; yields the slot of each."""
    for number in range(count):
        slot = number.to_bytes(20, "big")
        assert step(store.write_page(slot, replace(store.last, key=slot), 3600))
        yield slot


@pytest.mark.parametrize("front", ["wsgi"])
def test_forgetting_costs_the_same_for_ten_slices_and_a_hundred_thousand(
    scenario: MakeScenario,
) -> None:
    calls = []
    for slices in (10, 100_000):
        store = CountingStore("1GiB")
        stage = scenario(LIST, store=store)
        for start in range(10):
            _fill(stage, f"/users/42/favorites?start={start}")
        copies = list(_copy(store, slices - 10))
        assert store.statistics()["pages_count"] == slices
        store.calls.clear()
        stage.cache.invalidate("user:42/favorites")
        calls.append(dict(store.calls))
        assert stage.get("/users/42/favorites?start=9").trace == "stale, stored"
        for slot in copies[::1000]:
            reading = step(store.read(slot, ("user:42/favorites",)))
            assert reading.page is not None
            assert reading.page.generation != reading.tokens
    assert calls[0] == calls[1] == {"replace_tokens": 1, "tokens replaced": 1}


def test_a_hit_costs_one_read_and_a_miss_mints_what_is_missing_once(
    scenario: MakeScenario,
) -> None:
    store = CountingStore()
    stage = scenario(LIST, store=store)
    costs = []
    for target in ("/users/1/favorites", "/users/1/favorites", "/users/1/favorites?start=5"):
        store.calls.clear()
        stage.get(target)
        costs.append(dict(store.calls))
    assert costs == [
        {"read": 1, "add_tokens": 1, "write_page": 1},
        {"read": 1},
        {"read": 1, "write_page": 1},
    ]
