"""Pages that vary (RFC 9111 §4.1): the response's Vary selects, and a hit still costs one trip."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagegen import Rule, variants
from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores import MemoryStore, Reading
from pagegen.testing import PATIENCE, FakeClock, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import until, waiting
from tests.scenarios.test_http_mode import OPEN, reply

MINUTE = "max-age=60"


class CountingStore(MemoryStore):
    """Counts trips, and fails those that a test names."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(now=clock)
        self.trips: list[str] = []
        self.markers: set[bytes] = set()
        #: Verbs that raise, by how many of them are still to pass.
        self.broken: dict[str, int] = {}

    def _trip(self, verb: str) -> None:
        self.trips.append(verb)
        if verb in self.broken:
            self.broken[verb] -= 1
            if self.broken[verb] < 0:
                raise OSError("the store is away")

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self._trip("read")
        return await super().read(slot, namespaces)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        self._trip("write")
        if page.status == 0:
            self.markers.add(slot)
        return await super().write_page(slot, page, ttl)

    async def delete_page(self, slot: bytes) -> None:
        self._trip("delete")
        await super().delete_page(slot)


class Translator:
    """An application that answers in the language asked for, and says what its page varies by."""

    def __init__(self, vary: str = "Accept-Language", field: str = "accept-language") -> None:
        self.vary, self.field = vary, field
        self.version = 1

    def __call__(self, seen: Seen) -> Reply:
        text = f"{seen.fields.get(self.field)} {self.version}"
        return reply(text, cache_control=MINUTE, **({"vary": self.vary} if self.vary else {}))


def counted(scenario: MakeScenario, **options: object) -> tuple[Scenario, CountingStore]:
    clock = FakeClock()
    store = CountingStore(clock)
    stage = scenario(OPEN, store=store, clock=clock, **options)
    stage.handler = Translator()
    return stage, store


def speaks(language: str) -> dict[str, str]:
    return {"accept-language": language}


def test_each_value_of_a_selecting_field_is_a_page_of_its_own(scenario: MakeScenario) -> None:
    stage, _ = counted(scenario)
    assert stage.get("/a", speaks("de")).trace == "uri-miss, stored"
    assert stage.get("/a", speaks("fr")).trace == "vary-miss, stored"
    assert stage.get("/a").trace == "vary-miss, stored"
    for asked, text in ((speaks("de"), "de 1"), (speaks("fr"), "fr 1"), ({}, "None 1")):
        answer = stage.get("/a", asked)
        assert (answer.text, answer.trace) == (text, "hit")
    assert stage.renders == 3


def test_an_empty_value_is_not_an_absent_one(scenario: MakeScenario) -> None:
    stage, _ = counted(scenario)
    stage.get("/a")
    assert stage.get("/a", speaks("")).trace == "vary-miss, stored"


@pytest.mark.parametrize(
    ("field", "one", "same", "other"),
    [
        ("accept-language", "de, en;q=0.5", "DE ,en ; q=0.50", "en;q=0.5, de"),
        ("accept-encoding", "gzip, br", "br,gzip", "br"),
        ("x-tenant", "a", " a ", "A"),
    ],
)
def test_values_are_compared_by_what_they_mean(
    scenario: MakeScenario, field: str, one: str, same: str, other: str
) -> None:
    stage, _ = counted(scenario)
    stage.handler = Translator(field, field)
    stage.get("/a", {field: one})
    assert stage.get("/a", {field: same}).trace == "hit"
    assert stage.get("/a", {field: other}).trace == "vary-miss, stored"


def test_several_selecting_fields_select_together(scenario: MakeScenario) -> None:
    stage, _ = counted(scenario)
    stage.handler = Translator("X-B, accept-language , x-b", "x-b")
    stage.get("/a", {"x-b": "1", "accept-language": "de"})
    assert stage.get("/a", {"x-b": "1", "accept-language": "de", "x-c": "9"}).trace == "hit"
    assert stage.get("/a", {"x-b": "1"}).trace == "vary-miss, stored"
    assert stage.get("/a", {"x-b": "2", "accept-language": "de"}).trace == "vary-miss, stored"


def test_a_field_that_no_handler_sees_selects_nothing(scenario: MakeScenario) -> None:
    stage, _ = counted(scenario)
    stage.handler = Translator("X-Forwarded-Host", "x-forwarded-host")
    stage.get("/a", {"x-forwarded-host": "evil.example"})
    answer = stage.get("/a", {"x-forwarded-host": "other.example"})
    assert (answer.trace, answer.text) == ("hit", "None 1")


# --- Trips --------------------------------------------------------------------------------------


def test_a_hit_costs_one_trip_and_learning_what_another_process_knows_two(
    scenario: MakeScenario,
) -> None:
    stage, store = counted(scenario)
    stage.get("/a", speaks("de"))
    other = scenario(OPEN, store=store, clock=stage.clock)
    for reader, trips in ((stage, 1), (other, 2), (other, 1), (stage, 1)):
        store.trips.clear()
        assert reader.get("/a", speaks("de")).trace == "hit"
        assert store.trips == ["read"] * trips
    assert other.renders == 0


def test_a_page_that_does_not_vary_costs_one_trip(scenario: MakeScenario) -> None:
    stage, store = counted(scenario)
    stage.handler = Translator(vary="")
    stage.get("/a")
    store.trips.clear()
    assert stage.get("/a").trace == "hit"
    assert store.trips == ["read"]


def test_a_known_variant_is_not_marked_again(scenario: MakeScenario) -> None:
    stage, store = counted(scenario)
    stage.get("/a", speaks("de"))
    stage.clock.advance(60)
    store.trips.clear()
    stage.get("/a", speaks("de"))
    assert store.trips.count("write") == 1


# --- The latest Vary wins -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "X-B"), ("Accept-Language", "X-B"), ("Accept-Language", "")],
    ids=["from none to some", "from one to another", "from some to none"],
)
def test_the_latest_vary_wins(scenario: MakeScenario, before: str, after: str) -> None:
    stage, store = counted(scenario)
    stage.handler = Translator(before, "x-b")
    stage.get("/a", {"x-b": "1", "accept-language": "de"})
    stage.clock.advance(60)
    stage.handler = Translator(after, "x-b")
    assert stage.get("/a", {"x-b": "1", "accept-language": "de"}).trace == "stale, stored"
    newcomer = scenario(OPEN, store=store, clock=stage.clock)
    newcomer.handler = stage.handler
    for cache in (stage, newcomer):
        assert cache.get("/a", {"x-b": "1", "accept-language": "fr"}).trace == "hit"
    answer = newcomer.get("/a", {"x-b": "2", "accept-language": "de"})
    assert answer.trace == ("vary-miss, stored" if after else "hit")


def test_vary_star_is_not_stored_and_leaves_the_variants(scenario: MakeScenario) -> None:
    stage, _ = counted(scenario)
    stage.get("/a", speaks("de"))
    stage.handler = Translator("Accept-Language, *")
    for _ in range(2):
        assert stage.get("/a", speaks("fr")).trace == "refused-vary"
    assert stage.get("/a", speaks("de")).trace == "hit"


@pytest.mark.parametrize(("names", "trace"), [(16, "hit"), (17, "refused-vary")])
def test_a_page_that_varies_by_too_many_fields_is_not_stored(
    scenario: MakeScenario, names: int, trace: str
) -> None:
    stage, _ = counted(scenario)
    stage.handler = Translator(", ".join(f"x-{number}" for number in range(names)))
    stage.get("/a")
    assert stage.get("/a").trace == trace


def test_of_too_many_variants_the_oldest_goes(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "MAX_VARIANTS", 3)
    stage, store = counted(scenario)
    for number in range(5):
        stage.get("/a", speaks(f"l-{number}"))
    assert store.trips.count("delete") == 2
    assert store.statistics()["pages_count"] == 4  # three variants and their marker
    traces = [stage.get("/a", speaks(f"l-{number}")).trace for number in (2, 3, 4, 0)]
    assert traces == ["hit"] * 3 + ["vary-miss, stored"]


def test_what_is_kept_of_one_resource_is_bounded(scenario: MakeScenario) -> None:
    stage, store = counted(scenario)
    for number in range(variants.MAX_VARIANTS + 10):
        stage.get("/a", speaks(f"l-{number}"))
    assert store.statistics()["pages_count"] == variants.MAX_VARIANTS + 1


# --- Forgetting ---------------------------------------------------------------------------------


def test_a_write_to_the_url_forgets_all_its_variants_everywhere(scenario: MakeScenario) -> None:
    stage, store = counted(scenario)
    other = scenario(OPEN, store=store, clock=stage.clock)
    for language in ("de", "fr"):
        stage.get("/a", speaks(language))
        assert other.get("/a", speaks(language)).trace == "hit"
    stage.post("/a")
    other.handler = stage.handler
    for language in ("de", "fr"):
        assert other.get("/a", speaks(language)).trace == "stale, stored"
        assert stage.get("/a", speaks(language)).trace == "hit"


def test_a_namespace_of_the_rule_forgets_all_variants(scenario: MakeScenario) -> None:
    rule = Rule(path="/a", share="public", mode="http", namespaces=["shop"])
    stage = scenario(rule)
    stage.handler = Translator()
    for language in ("de", "fr"):
        stage.get("/a", speaks(language))
    stage.cache.invalidate("shop")
    for language in ("de", "fr"):
        assert stage.get("/a", speaks(language)).trace == "stale, stored"
        assert stage.get("/a", speaks(language)).trace == "hit"


# --- Crowds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("learned", [False, True], ids=["first sight", "learned"])
def test_nobody_who_waits_gets_a_page_in_another_language(
    scenario: MakeScenario, learned: bool
) -> None:
    stage, _ = counted(scenario)
    translate, let_go = Translator(), threading.Event()
    if learned:
        stage.get("/a", speaks("it"))

    def handler(seen: Seen) -> Reply:
        assert let_go.wait(PATIENCE)
        return translate(seen)

    stage.handler = handler
    before = stage.renders
    languages = ["de", "fr"] * 4
    with ThreadPoolExecutor(len(languages)) as pool:
        answers = [pool.submit(stage.get, "/a", speaks(language)) for language in languages]
        # Before Vary is known all wait for one; afterwards one of each language renders.
        until(lambda: waiting(stage) == (6 if learned else 7))
        let_go.set()
        texts = [answer.result(PATIENCE).text for answer in answers]
    assert texts == [f"{language} 1" for language in languages]
    assert stage.renders - before == 2


# --- Markers and failures -----------------------------------------------------------------------


def test_a_marker_is_never_served(scenario: MakeScenario) -> None:
    """Not by a cache that has not learned, nor in an error's place, nor to a HEAD."""
    stage, store = counted(scenario)
    stage.get("/a", speaks("de"))
    newcomer = scenario(OPEN, store=store, clock=stage.clock)
    newcomer.handler = lambda seen: reply("failed", 503)
    assert newcomer.request("HEAD", "/a").trace == "bypass: head-miss"
    assert newcomer.get("/a", {"cache-control": "only-if-cached, max-stale"}).status == 504
    assert newcomer.get("/a", {"cache-control": "stale-if-error=999"}).text == "failed"


@pytest.mark.parametrize(
    ("verb", "passing"),
    [("read", 0), ("read", 1), ("write", 0), ("write", 1)],
    ids=["look-up", "old marker", "page", "marker"],
)
def test_a_store_that_fails_at_any_step_costs_a_miss_and_nothing_else(
    scenario: MakeScenario, verb: str, passing: int
) -> None:
    stage, store = counted(scenario)
    store.broken = {verb: passing}
    assert stage.get("/a", speaks("de")).text == "de 1"
    assert stage.cache.statistics()["store-failed"] == 1
    store.broken = {}
    newcomer = scenario(OPEN, store=store, clock=stage.clock)
    for cache in (stage, newcomer):
        cache.handler = Translator()
        for language in ("fr", "de", "fr", "de"):
            assert cache.get("/a", speaks(language)).text == f"{language} 1"
        assert cache.get("/a", speaks("fr")).trace == "hit"
    assert newcomer.renders == 0


def test_a_marker_that_was_evicted_costs_a_miss(scenario: MakeScenario) -> None:
    stage, store = counted(scenario)
    stage.get("/a", speaks("de"))
    (marker,) = store.markers
    step(store.delete_page(marker))
    newcomer = scenario(OPEN, store=store, clock=stage.clock)
    newcomer.handler = stage.handler
    assert newcomer.get("/a", speaks("de")).trace == "uri-miss, stored"
    assert stage.get("/a", speaks("de")).trace == "hit"


def test_inspect_sees_the_variant(scenario: MakeScenario) -> None:
    stage, _ = counted(scenario)
    stage.get("/a", speaks("de"))
    stage.clock.advance(7)
    found = stage.cache.inspect("/a", host="testserver", headers=speaks("de"))
    assert (found.state, found.age) == ("fresh", 7)
    assert stage.cache.inspect("/a", host="testserver", headers=speaks("fr")).state == "absent"
    stage.post("/a")
    gone = stage.cache.inspect("/a", host="testserver", headers=speaks("de"))
    assert (gone.state, gone.changed) == ("invalidated", ("url:testserver/a",))


def test_a_marker_lives_as_long_as_its_variants(scenario: MakeScenario) -> None:
    clock = FakeClock()
    store = MemoryStore(now=clock)
    first = scenario(OPEN, store=store, clock=clock)
    first.handler = lambda seen: reply("page", vary="X-Lang", cache_control="max-age=3000")
    for _ in range(6):
        clock.advance(3100)
        assert first.get("/page", {"x-lang": "de"}).status == 200
    late = scenario(OPEN, store=store, clock=clock)
    late.handler = first.handler
    assert late.get("/page", {"x-lang": "de"}).trace == "hit"
