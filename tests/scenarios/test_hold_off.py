"""Where handlers read a replica that lags behind: after an invalidation nothing is stored for as
long, so that no row from before the write becomes a page that stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from pagegen import Rule
from pagegen.errors import InvalidationError
from pagegen.groups import SEQUENCE
from pagegen.law import softness
from pagegen.law.tokens import SKEW
from pagegen.messages import StoredResponse
from pagegen.stores import Reading
from pagegen.testing import PATIENCE, FakeClock, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate, crowd, until, waiting
from tests.scenarios.test_early_refresh import always, draws
from tests.scenarios.test_leases import SharedStore
from tests.scenarios.test_turns import Turns, let_all_go, waits

LAG = 2.0
#: When a token is old enough for all clocks.
OVER = LAG + SKEW + 0.001
PAGE = Rule(
    path="/page", share="public", namespaces=["page"], ttl="1h", early=False, replica_lag=LAG
)
OTHER = Rule(path="/other", share="public", namespaces=["other"], ttl="1h", early=False)
#: A page whose namespaces are found while it is rendered: any write holds it off.
LATE = Rule(path="/late", share="public", groups=True, ttl=60, early=False, swr=60, replica_lag=LAG)


class Recorder(SharedStore):
    """Remembers what was asked of it; forgets what it is told to."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.verbs: list[tuple[str, tuple[str, ...]]] = []
        self.failing_names: Callable[[str], bool] = lambda name: False

    def _note(self, verb: str, names: Sequence[str]) -> None:
        self.verbs.append((verb, tuple(names)))
        if any(self.failing_names(name) for name in names):
            raise OSError("no route to host")

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self._note("read", namespaces)
        return await super().read(slot, namespaces)

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        self._note("add", tuple(tokens))
        return await super().add_tokens(tokens, ttl)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self._note("replace", tuple(tokens))
        await super().replace_tokens(tokens, ttl)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        self._note("write", ())
        return await super().write_page(slot, page, ttl)

    def evict(self, name: str) -> None:
        self._tokens.discard(name)

    def restart(self) -> None:
        """Comes back with nothing."""
        fresh = SharedStore(self.clock)
        self._pages, self._tokens, self._leases = fresh._pages, fresh._tokens, fresh._leases


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Recorder:
    return Recorder(clock)


MakeWarm = Callable[..., Scenario]


@pytest.fixture
def warm(scenario: MakeScenario, store: Recorder, clock: FakeClock) -> MakeWarm:
    """A scenario whose page is stored, its first hold-off over."""

    def make(*rules: Rule, handler: Any = None, **options: Any) -> Scenario:
        stage = scenario(*(rules or (PAGE,)), store=store, clock=clock, **options)
        if handler is not None:
            stage.handler = handler
        for rule in rules or (PAGE,):
            stage.get(rule.path)
            clock.advance(OVER)
            assert stage.get(rule.path).trace in ("uri-miss, stored", "hit")
            assert stage.get(rule.path).trace == "hit"
        store.verbs.clear()
        return stage

    return make


def test_for_as_long_as_replicas_lag_nothing_is_stored(warm: MakeWarm, clock: FakeClock) -> None:
    stage = warm()
    stage.cache.invalidate("page")
    before = stage.renders
    for _ in range(3):
        answer = stage.get("/page")
        assert answer.trace == "replica-lag"
        assert "stored" not in str(answer.get("cache-status"))
    clock.advance(OVER - 0.002)
    assert stage.get("/page").trace == "replica-lag"
    assert stage.renders == before + 4
    clock.advance(0.002)
    assert [stage.get("/page").trace for _ in range(2)] == ["stale, stored", "hit"]


def test_meanwhile_it_is_rendered_in_turns(warm: MakeWarm, store: Recorder) -> None:
    stage = warm(max_wait=300)
    stage.cache.invalidate("page")
    store.verbs.clear()
    turns = stage.handler = Turns()
    with ThreadPoolExecutor(32) as threads:
        answers = crowd(stage, threads, 32)
        turns.enters()
        until(lambda: waits(stage) == 31)
        let_all_go(turns)
        texts = sorted(answer.result(PATIENCE).text for answer in answers)
    assert texts == ["page 1"] + ["page 2"] * 31
    assert (turns.count, turns.most) == (2, 1)
    assert waiting(stage) == stage.cache.statistics()["flights_flying"] == 0
    assert {verb for verb, _ in store.verbs} == {"read"}


def test_a_private_page_is_no_queue_then(warm: MakeWarm) -> None:
    stage = warm(max_wait=300)
    stage.cache.invalidate("page")
    gate = stage.handler = Gate(lambda: Reply(b"me", fields=[("Cache-Control", "private")]))
    with ThreadPoolExecutor(8) as threads:
        answers = crowd(stage, threads, 8)
        until(lambda: waits(stage) == 7)
        gate.open.set()
        assert {answer.result(PATIENCE).text for answer in answers} == {"me"}
    assert stage.cache.statistics()["flights_apart"] == 1


# What it is for -------------------------------------------------------------------------------


@dataclass
class Database:
    """A primary, and a replica that is behind it by ``lag`` seconds at most."""

    clock: FakeClock
    chance: Random
    lag: float = LAG

    def __post_init__(self) -> None:
        self.versions = [(self.clock() - 1000, 0)]

    def write(self) -> None:
        self.versions.append((self.clock(), self.versions[-1][1] + 1))

    def known(self, at: float) -> int:
        """The version that was there at this time."""
        return max(version for time, version in self.versions if time <= at)

    def behind(self) -> int:
        """What a replica tells now."""
        return self.known(self.clock() - self.chance.random() * self.lag * 0.999)


class Behind(FakeClock):
    """The clock of a machine that is ten seconds behind another one."""

    def __init__(self, right: FakeClock) -> None:
        super().__init__()
        self._right = right

    def __call__(self) -> float:
        return self._right() - 10


@pytest.mark.parametrize("rule", [PAGE, replace(LATE, path="/page", swr=0)], ids=["own", "late"])
@pytest.mark.parametrize("seed", range(12))
def test_a_row_from_before_a_write_never_outlives_the_lag(
    scenario: MakeScenario, store: Recorder, clock: FakeClock, rule: Rule, seed: int
) -> None:
    """Whatever is asked, written, evicted or restarted in between."""
    chance = Random(seed)
    database = Database(clock, chance)
    # Stamps hold off where flags are evicted, and flags where clocks differ.
    clocks = (clock, Behind(clock) if seed % 2 else clock)
    evicted = ["page", SEQUENCE]
    if seed % 2 == 0:
        evicted += [softness.hold("page"), softness.hold(SEQUENCE)]
    stages = [scenario(rule, store=store, clock=own) for own in clocks]

    def handler(seen: Seen) -> Reply:
        told = database.behind()
        fields = [] if rule is PAGE else [("Cache-Groups", '"page"')]
        return Reply(str(told).encode(), fields=fields)

    hits = 0
    for stage in stages:
        stage.handler = handler
    for _ in range(400):
        stage = chance.choice(stages)
        action = chance.random()
        if action < 0.6:
            answer = stage.get("/page")
            hits += answer.trace == "hit"
            assert int(answer.text) >= database.known(clock() - LAG), f"seed {seed}"
        elif action < 0.8:
            clock.advance(chance.choice([0.1, 0.5, 1.0, 2.5, 4.0]))
        elif action < 0.9:
            database.write()
            stage.cache.invalidate("page")
        elif action < 0.97:
            store.evict(chance.choice(evicted))
        else:
            store.restart()
    assert hits > 10


def test_without_the_hold_off_that_test_fails(
    scenario: MakeScenario, store: Recorder, clock: FakeClock
) -> None:
    database = Database(clock, Random(1), lag=LAG)
    stage = scenario(replace(PAGE, replica_lag=None), store=store, clock=clock)
    stage.handler = lambda seen: str(database.known(clock() - LAG / 2))
    database.write()
    stage.cache.invalidate("page")
    stage.get("/page")
    clock.advance(3 * LAG)
    assert (stage.get("/page").text, database.known(clock() - LAG)) == ("0", 1)


@pytest.mark.parametrize("loss", ["first of all", "eviction", "restart"])
def test_who_mints_a_token_holds_off_too(
    scenario: MakeScenario, store: Recorder, clock: FakeClock, loss: str, warm: MakeWarm
) -> None:
    """Nobody knows what the token was that has gone, nor since when."""
    if loss == "first of all":
        stage = scenario(PAGE, store=store, clock=clock)
    else:
        stage = warm()
        store.evict("page") if loss == "eviction" else store.restart()
    assert stage.get("/page").trace == "replica-lag"
    clock.advance(OVER)
    assert stage.get("/page").trace in ("uri-miss, stored", "stale, stored")


# The order that is safe -----------------------------------------------------------------------


def test_flags_are_written_before_tokens_and_read_after_them(
    scenario: MakeScenario, warm: MakeWarm, store: Recorder, clock: FakeClock
) -> None:
    stage, behind = warm(PAGE, LATE), scenario(PAGE, LATE, store=store, clock=Behind(clock))
    store.verbs.clear()
    behind.cache.invalidate("page")
    replaced = [set(names) for verb, names in store.verbs if verb == "replace"]
    flags = {softness.hold("page"), softness.hold(SEQUENCE)}
    assert (replaced[0], replaced[1]) == (flags, {SEQUENCE})
    assert "page" in replaced[2]
    store.verbs.clear()
    assert stage.get("/page").trace == "replica-lag"
    reads = [set(names) for verb, names in store.verbs if verb == "read"]
    assert "page" in reads[0]
    assert softness.hold("page") in reads[-1]
    assert not any(softness.hold("page") in names for names in reads[:-1])


def test_a_flag_that_was_evicted_is_made_up_for_by_the_age_of_its_token(
    warm: MakeWarm, store: Recorder
) -> None:
    stage = warm()
    stage.cache.invalidate("page")
    store.evict(softness.hold("page"))
    assert stage.get("/page").trace == "replica-lag"


def test_who_mints_writes_the_flag_before_the_token(
    scenario: MakeScenario, store: Recorder, clock: FakeClock
) -> None:
    stage = scenario(PAGE, store=store, clock=clock)
    store.verbs.clear()
    stage.get("/page")
    written = [(verb, names) for verb, names in store.verbs if verb != "read"]
    assert [verb for verb, _ in written] == ["replace", "add"]
    assert softness.hold("page") in written[0][1]


def test_an_invalidation_without_its_flag_is_none(warm: MakeWarm, store: Recorder) -> None:
    stage = warm()
    store.failing_names = lambda name: name == softness.hold("page")
    with pytest.raises(InvalidationError):
        stage.cache.invalidate("page")
    assert ("replace", ("page",)) not in store.verbs
    assert stage.get("/page").trace == "bypass: owed"


@pytest.mark.parametrize("verb", ["the flag of a minted token", "the flags of a look"])
def test_where_flags_cannot_be_had_nothing_is_stored(
    scenario: MakeScenario, warm: MakeWarm, store: Recorder, clock: FakeClock, verb: str
) -> None:
    stage = warm()
    if verb == "the flag of a minted token":
        store.evict("page")
    else:
        scenario(PAGE, store=store, clock=Behind(clock)).cache.invalidate("page")
    store.verbs.clear()
    store.failing_names = lambda name: name == softness.hold("page")
    assert stage.get("/page").trace == "bypass: store"
    assert {"add", "write"}.isdisjoint(verb for verb, _ in store.verbs)


# Who is held off, and who is not --------------------------------------------------------------


def test_pages_of_other_namespaces_are_not_held_off(warm: MakeWarm, clock: FakeClock) -> None:
    item = replace(PAGE, path="/items/{n:int}", name="items", namespaces=["item:{n}"])
    stage = warm(PAGE, OTHER)
    stage.cache.invalidate("other", "nobody's")
    assert stage.get("/other").trace == "stale, stored"  # its rule knows of no replicas
    assert stage.get("/page").trace == "hit"
    assert item.lag == LAG


def test_items_are_held_off_one_by_one(
    scenario: MakeScenario, store: Recorder, clock: FakeClock
) -> None:
    rule = replace(PAGE, path="/items/{n:int}", namespaces=["item:{n}"])
    stage = scenario(rule, store=store, clock=clock)
    for number in "12":
        stage.get(f"/items/{number}")
    clock.advance(OVER)
    for number in "12":
        assert stage.get(f"/items/{number}").trace == "uri-miss, stored"
    stage.cache.invalidate("item:1")
    assert stage.get("/items/1").trace == "replica-lag"
    assert stage.get("/items/2").trace == "hit"


def test_another_process_is_held_off_too(
    scenario: MakeScenario, store: Recorder, clock: FakeClock, warm: MakeWarm
) -> None:
    first, second = warm(), scenario(PAGE, store=store, clock=clock)
    assert second.get("/page").trace == "hit"
    first.cache.invalidate("page")
    assert second.get("/page").trace == "replica-lag"
    clock.advance(OVER)
    assert second.get("/page").trace == "stale, stored"


def late(seen: Seen) -> Reply:
    return Reply(b"page", fields=[("Cache-Groups", '"found"'), ("ETag", '"1"')])


def test_pages_with_late_namespaces_are_held_off_by_any_write(
    warm: MakeWarm, clock: FakeClock
) -> None:
    stage = warm(LATE, handler=late)
    stage.cache.invalidate("found")
    assert [stage.get("/late").trace for _ in range(2)] == ["replica-lag"] * 2
    clock.advance(OVER)
    assert [stage.get("/late").trace for _ in range(2)] == ["stale, stored", "hit"]


def test_meanwhile_no_page_is_validated_refreshed_or_renewed(
    warm: MakeWarm, store: Recorder, clock: FakeClock
) -> None:
    """A page that was not forgotten goes on as it is: what asks for it may not be stored."""
    stage = warm(replace(LATE, early=True), handler=late)
    seen_by: list[Seen] = []

    def handler(seen: Seen) -> Reply:
        seen_by.append(seen)
        return Reply(b"new", fields=[("Cache-Groups", '"found"'), ("ETag", '"2"')])

    stage.handler = handler
    page = next(page for _, page, _ in store._pages.items())
    clock.advance(page.fresh_until - clock() - 0.5)
    page.render_seconds = 10.0
    draws(stage, always)
    stage.cache.invalidate("another")  # holds off all that may have been found
    assert stage.get("/late").trace == "hit"
    clock.advance(1)
    assert stage.get("/late").trace == "stale hit"
    assert (seen_by, stage.cache.statistics()["flights_flying"]) == ([], 0)
    assert stage.get("/late", {"Cache-Control": "no-cache"}).trace == "replica-lag"
    assert "if-none-match" not in seen_by[0].fields
    assert stage.request("HEAD", "/late").trace == "stale hit"
    assert {"write", "add"}.isdisjoint(verb for verb, _ in store.verbs)
    clock.advance(OVER)
    assert stage.get("/late").trace == "stale hit"
    until(lambda: stage.renders > 2 and stage.cache.statistics()["flights_flying"] == 0)
    assert stage.get("/late").text == "new"


def test_late_namespaces_that_nobody_knew_yet_are_stored(
    scenario: MakeScenario, store: Recorder, clock: FakeClock
) -> None:
    """A new name has no hold-off of its own: whoever forgot it has replaced the sequence."""
    stage = scenario(LATE, store=store, clock=clock)
    stage.handler = late
    stage.get("/late")
    clock.advance(OVER)
    assert stage.get("/late").trace == "uri-miss, stored"
    assert stage.get("/late").trace == "hit"
