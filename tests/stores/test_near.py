"""The near store: pages here, tokens there; and what max_staleness gives up."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from pagegen import ConfigError, PageCache, Rule
from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores import Capabilities, MemoryStore, NearStore, Reading
from pagegen.testing import PATIENCE, FakeClock, Loop
from tests.conftest import MakeScenario
from tests.stores.test_memory import page, slot

SIZE = 2**20


class Shared(MemoryStore):
    """A memory store that says it is shared, and counts what it is asked for."""

    capabilities = Capabilities(
        blocking_reads=False, blocking_writes=False, shared=True,
        compare_and_set=True, leases=True,
    )  # fmt: skip

    def __init__(self, clock: FakeClock | None = None) -> None:
        super().__init__(**({"now": clock} if clock else {}))
        self.asked: Counter[str] = Counter()

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.asked["tokens" if slot is None else "page"] += 1
        return await super().read(slot, namespaces)


def stored(tokens: Mapping[str, bytes], body: bytes = b"x") -> StoredResponse:
    made = page(body)
    made.namespaces, made.generation = tuple(tokens), tuple(tokens.values())
    return made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def behind(clock: FakeClock) -> Shared:
    return Shared(clock)


def near(behind: Shared, clock: FakeClock, max_staleness: float = 0.0) -> NearStore:
    return NearStore(behind, SIZE, max_staleness=max_staleness, now=clock, passing=clock)


def fill(behind: Shared, body: bytes = b"x", token: bytes = b"1") -> StoredResponse:
    step(behind.replace_tokens({"ns": token}, 60))
    made = stored({"ns": token}, body)
    step(behind.write_page(slot(0), made, 60))
    return made


def test_the_second_hit_asks_for_tokens_alone(behind: Shared, clock: FakeClock) -> None:
    store = near(behind, clock)
    made = fill(behind)
    assert step(store.read(slot(0), ["ns"])) == (made, (b"1",))
    assert step(store.read(slot(0), ["ns"])) == (made, (b"1",))
    assert behind.asked == {"page": 1, "tokens": 1}


def test_a_page_without_namespaces_costs_no_trip(behind: Shared, clock: FakeClock) -> None:
    store = near(behind, clock)
    made = stored({})
    assert step(store.write_page(slot(0), made, 60))
    assert step(store.read(slot(0), ())) == (made, ())
    assert behind.asked == {}


def test_an_invalidation_elsewhere_is_seen_by_the_next_read(
    behind: Shared, clock: FakeClock
) -> None:
    store = near(behind, clock)
    fill(behind)
    step(store.read(slot(0), ["ns"]))
    newer = fill(behind, b"newer", b"2")
    assert step(store.read(slot(0), ["ns"])) == (newer, (b"2",))
    assert step(store.read(slot(0), ["ns"])).page is newer
    assert behind.asked == {"page": 2, "tokens": 2}


def test_an_expired_page_here_does_not_hide_a_fresh_one_there(
    behind: Shared, clock: FakeClock
) -> None:
    store = near(behind, clock)
    made = fill(behind)
    made.fresh_until = clock() + 10
    step(store.read(slot(0), ["ns"]))
    clock.advance(11)
    newer = stored({"ns": b"1"}, b"newer")
    step(behind.write_page(slot(0), newer, 60))
    assert step(store.read(slot(0), ["ns"])).page is newer


def test_a_page_of_another_generation_is_not_kept(behind: Shared, clock: FakeClock) -> None:
    store = near(behind, clock)
    made = fill(behind)
    step(behind.replace_tokens({"ns": b"2"}, 60))
    assert step(store.read(slot(0), ["ns"])) == (made, (b"2",))
    assert store.statistics()["near_count"] == 0


def test_what_is_written_here_is_near_and_shared(behind: Shared, clock: FakeClock) -> None:
    store = near(behind, clock)
    step(store.add_tokens({"ns": b"1"}, 60))
    made = stored({"ns": b"1"})
    step(store.write_page(slot(0), made, 60))
    assert step(store.read(slot(0), ["ns"])).page is made
    assert step(near(behind, clock).read(slot(0), ["ns"])).page is made
    step(store.delete_page(slot(0)))
    assert step(store.read(slot(0), ["ns"])).page is None


def test_both_faces_have_the_same_pages(behind: Shared, clock: FakeClock) -> None:
    store = near(behind, clock)
    made = fill(behind)
    step(store.read(slot(0), ["ns"]))
    loop = Loop()
    try:
        assert loop.run(store.on_loop().read(slot(0), ["ns"])).page is made
    finally:
        loop.close()
    assert behind.asked == {"page": 1, "tokens": 1}


def test_tokens_are_used_again_only_as_long_as_was_said(behind: Shared, clock: FakeClock) -> None:
    store = near(behind, clock, max_staleness=0.25)
    made = fill(behind)
    step(store.read(slot(0), ["ns"]))
    newer = fill(behind, b"newer", b"2")
    clock.advance(0.24)
    assert step(store.read(slot(0), ["ns"])) == (made, (b"1",))
    clock.advance(0.01)
    assert step(store.read(slot(0), ["ns"])).page is newer
    assert store.statistics()["near_unasked"] == 1


def test_a_token_read_during_an_invalidation_here_is_not_used_again(clock: FakeClock) -> None:
    class Slow(Shared):
        """Holds the first asker of tokens between its read and its answer."""

        holding = False

        def __init__(self) -> None:
            super().__init__(clock)
            self.has_read, self.may_go = threading.Event(), threading.Event()

        async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
            reading = await super().read(slot, namespaces)
            if self.holding:
                self.holding = False
                self.has_read.set()
                assert self.may_go.wait(PATIENCE)
            return reading

    behind = Slow()
    store = near(behind, clock, max_staleness=60)
    fill(behind)
    behind.holding = True
    reader = threading.Thread(target=lambda: step(store.read(slot(0), ["ns"])))
    reader.start()
    assert behind.has_read.wait(PATIENCE)
    step(store.replace_tokens({"ns": b"2"}, 60))
    behind.may_go.set()
    reader.join(PATIENCE)
    assert step(store.read(slot(0), ["ns"])).tokens == (b"2",)


def test_an_invalidation_here_ends_the_use_of_its_tokens(behind: Shared, clock: FakeClock) -> None:
    store = near(behind, clock, max_staleness=60)
    fill(behind)
    step(store.read(slot(0), ["ns"]))
    step(store.replace_tokens({"ns": b"2"}, 60))
    assert step(store.read(slot(0), ["ns"])).tokens == (b"2",)


def test_near_pages_stay_within_their_size(behind: Shared, clock: FakeClock) -> None:
    store = near(behind, clock)
    for number in range(200):
        step(store.write_page(slot(number), stored({}, b"x" * 20_000), 60))
    said = store.statistics()
    assert said["near_bytes"] <= SIZE == said["near_budget"]


def test_a_hit_through_near_is_as_coherent_as_the_store(scenario: MakeScenario) -> None:
    behind = Shared()
    rule = Rule(path="/items/{item}", share="public", namespaces=["item:{item}"], ttl="1h")
    one, other = (scenario(rule, store=behind, near="1MiB") for _ in range(2))
    one.get("/items/1")
    assert [stage.get("/items/1").trace for stage in (one, other, other)] == ["hit"] * 3
    one.cache.invalidate("item:1")
    assert other.get("/items/1").trace == "stale, stored"
    assert one.get("/items/1").trace == "hit"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"near": "8MiB"}, "in the process already"),
        ({"near": "much"}, "'much' is not a size"),
        ({"near_max_staleness": "1s"}, "is set where nothing is near"),
        ({"near": "8MiB", "near_max_staleness": "2m"}, "is too long"),
        ({"site_key": "short"}, "is too short to keep anybody out"),
        ({"site_key": "env:PAGEGEN_NOWHERE"}, "names PAGEGEN_NOWHERE, which is not set"),
    ],
)
def test_settings_that_cannot_be_stop_the_start(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        PageCache(**settings)


def test_a_site_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGEGEN_SITE_KEY", "a secret of this site")
    settings = PageCache(site_key="env:PAGEGEN_SITE_KEY").configuration.settings
    assert settings.secret == "a secret of this site"
    assert "secret of" not in repr(settings)
    assert replace(settings, site="other").secret == settings.secret
