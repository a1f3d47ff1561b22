"""While the store is away nobody knows a token. Each process renders a page in turns then: one at a
time, and who comes while one runs shares the next one, which begins after it came.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from pagegen import Rule
from pagegen.errors import InvalidationError
from pagegen.flights import Outcome
from pagegen.stores import MemoryStore, Reading
from pagegen.testing import PATIENCE, Answer, FakeClock, Reply, Scenario, Seen, call_asgi, scope
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import CROWD, Gate, crowd, until, waiting

PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl="1h")
OPEN = Rule(path="/page", share="public")
LONG = {"max_wait": 300}
PRIVATE = Reply(b"yours", fields=[("Cache-Control", "private")])


class Away(MemoryStore):
    """A store that is away until somebody brings it back, in all verbs or in some."""

    def __init__(self) -> None:
        super().__init__()
        self.away = {"read", "add_tokens", "replace_tokens", "write_page", "delete_page"}
        self.wrote: list[str] = []

    def _try(self, verb: str) -> None:
        if verb in self.away:
            raise OSError("no route to host")

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self._try("read")
        return await super().read(slot, namespaces)

    async def add_tokens(self, *given: Any) -> Any:
        self._try("add_tokens")
        self.wrote.append("add_tokens")
        return await super().add_tokens(*given)

    async def replace_tokens(self, *given: Any) -> None:
        self._try("replace_tokens")
        self.wrote.append("replace_tokens")
        await super().replace_tokens(*given)

    async def write_page(self, *given: Any) -> bool:
        self._try("write_page")
        self.wrote.append("write_page")
        return await super().write_page(*given)


@pytest.fixture
def store() -> Away:
    return Away()


@dataclass
class Turns:
    """A handler that tells how many renderings there were, and how many at one time at most. Each
    is held until it is let go; its page is its number.
    """

    count: int = 0
    inside: int = 0
    most: int = 0
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    leave: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, seen: Seen) -> str:
        with self.lock:
            self.count += 1
            number = self.count
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        assert self.leave.acquire(timeout=PATIENCE)
        with self.lock:
            self.inside -= 1
        return f"page {number}"

    def enters(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE)


def waits(stage: Scenario) -> int:
    return stage.cache.statistics().get("wait", 0)


def let_all_go(turns: Turns) -> None:
    turns.leave.release(1000)


@pytest.mark.parametrize("verb", ["read", "add_tokens"])
def test_64_at_once_are_two_renderings(scenario: MakeScenario, store: Away, verb: str) -> None:
    store.away = {verb}
    stage = scenario(PAGE, store=store, **LONG)
    turns = stage.handler = Turns()
    with ThreadPoolExecutor(CROWD) as threads:
        answers = crowd(stage, threads, CROWD)
        turns.enters()
        until(lambda: waits(stage) == CROWD - 1)
        let_all_go(turns)
        texts = sorted(answer.result(PATIENCE).text for answer in answers)
    assert texts == ["page 1"] + ["page 2"] * (CROWD - 1)
    assert (turns.count, turns.most) == (2, 1)
    assert waiting(stage) == stage.cache.statistics()["flights_flying"] == 0
    assert store.wrote == []


def test_who_comes_while_one_runs_gets_the_next_and_never_what_had_begun(
    scenario: MakeScenario, store: Away
) -> None:
    stage = scenario(PAGE, store=store, **LONG)
    turns = stage.handler = Turns()
    with ThreadPoolExecutor(16) as threads:
        waves = [[threads.submit(stage.get, "/page")]]
        for number in range(2, 6):
            turns.enters()
            waves.append(crowd(stage, threads, 3))
            until(lambda number=number: waits(stage) == 3 * (number - 1))  # type: ignore[misc]
            turns.leave.release()
        turns.enters()
        turns.leave.release()
        texts = [{answer.result(PATIENCE).text for answer in wave} for wave in waves]
    assert texts == [{f"page {number}"} for number in range(1, 6)]
    assert turns.most == 1


def test_who_comes_between_two_turns_shares_the_next(scenario: MakeScenario, store: Away) -> None:
    """The one before has ended, and the leader of the next is only being woken."""
    stage = scenario(PAGE, store=store)
    flights = stage.cache.engine._state.flights
    first = flights.take_turn(b"slot")
    second = flights.take_turn(b"slot")
    assert (first.leads, second.leads, second.before) == (True, True, first.flight)
    assert first.flight is not None
    assert second.flight is not None
    flights.cancel(first.flight, Outcome.DECLINED)
    third = flights.take_turn(b"slot")
    assert (third.flight, third.leads) == (second.flight, False)
    assert flights.begin(second.flight)
    fourth = flights.take_turn(b"slot")
    assert (fourth.leads, fourth.before) == (True, second.flight)


@pytest.mark.parametrize("body", ["at once", "in pieces"])
def test_a_private_page_is_everybodys_own_and_nobody_queues(
    scenario: MakeScenario, store: Away, body: str
) -> None:
    """The first head says so; one more is let through, and all others are inside together."""
    stage = scenario(PAGE, store=store, **LONG)
    each = 8
    turns, inside = Turns(), threading.Barrier(each - 2)

    def handler(seen: Seen) -> Reply:
        if turns.count < 2:
            turns(seen)
        else:
            inside.wait(PATIENCE)
        return PRIVATE if body == "at once" else Reply([b"you", b"rs"], fields=PRIVATE.fields)

    stage.handler = handler
    with ThreadPoolExecutor(each) as threads:
        answers = crowd(stage, threads, each)
        turns.enters()
        until(lambda: waits(stage) == each - 1)
        let_all_go(turns)
        for answer in answers:
            assert answer.result(PATIENCE).text == "yours"
    assert stage.renders == each


@pytest.mark.parametrize("reply", ["private", "no-store", "sets a cookie"])
def test_what_the_first_head_forbids_to_share_nobody_waits_for(
    scenario: MakeScenario, store: Away, reply: str
) -> None:
    """A stream that lasts, on a page that nobody shares: the next one does not wait for its end."""
    stage = scenario(PAGE, store=store, **LONG)
    fields = {
        "private": ("Cache-Control", "private"),
        "no-store": ("Cache-Control", "no-store"),
        "sets a cookie": ("Set-Cookie", "you=1"),
    }
    begun, go_on = threading.Event(), threading.Event()

    def lasting() -> Iterator[bytes]:
        yield b"first"
        begun.set()
        assert go_on.wait(PATIENCE)
        yield b"last"

    def handler(seen: Seen) -> Reply:
        body = lasting() if not begun.is_set() else [b"short"]
        return Reply(body, fields=[fields[reply]])

    stage.handler = handler
    with ThreadPoolExecutor(2) as threads:
        stream = threads.submit(stage.get, "/page")
        assert begun.wait(PATIENCE)
        second = threads.submit(stage.get, "/page")
        try:
            assert second.result(PATIENCE / 3).text == "short"
        finally:
            go_on.set()
        assert stream.result(PATIENCE).text == "firstlast"


def test_a_handler_that_fails_is_not_queued_for(scenario: MakeScenario, store: Away) -> None:
    stage = scenario(PAGE, store=store, **LONG)
    gate = Gate()

    def fail() -> str:
        raise RuntimeError("the database is away, too")

    gate.reply = fail
    stage.handler = gate
    with ThreadPoolExecutor(16) as threads:
        answers = crowd(stage, threads, 16)
        until(lambda: waits(stage) == 15)
        gate.open.set()
        errors = [answer.exception(PATIENCE) for answer in answers]
    assert {type(error) for error in errors} == {RuntimeError}
    assert waiting(stage) == stage.cache.statistics()["flights_flying"] == 0


def test_patience_is_bounded(scenario: MakeScenario, store: Away) -> None:
    stage = scenario(PAGE, store=store, max_wait=0.05)
    turns = stage.handler = Turns()
    with ThreadPoolExecutor(3) as threads:
        answers = crowd(stage, threads, 3)
        for _ in range(3):  # two have lost patience with the first
            turns.enters()
        let_all_go(turns)
        assert len({answer.result(PATIENCE).text for answer in answers}) == 3
    assert waiting(stage) == stage.cache.statistics()["flights_flying"] == 0


def test_the_bench_is_bounded(scenario: MakeScenario, store: Away) -> None:
    stage = scenario(PAGE, store=store, max_waiters=2, **LONG)
    turns = stage.handler = Turns()
    with ThreadPoolExecutor(8) as threads:
        answers = crowd(stage, threads, 8)
        # One renders, one is next, one waits with it: five find no place.
        for _ in range(6):
            turns.enters()
        until(lambda: waits(stage) == 2)
        let_all_go(turns)
        for answer in answers:
            answer.result(PATIENCE)
    assert turns.count == 7


def test_when_the_store_is_back_all_is_as_it_was(scenario: MakeScenario, store: Away) -> None:
    stage = scenario(PAGE, store=store)
    assert [stage.get("/page").trace for _ in range(2)] == ["bypass: store"] * 2
    store.away = set()
    assert [stage.get("/page").trace for _ in range(2)] == ["uri-miss, stored", "hit"]


def test_the_cache_says_that_the_store_was_away(scenario: MakeScenario, store: Away) -> None:
    stage = scenario(PAGE, store=store, **LONG)
    turns = stage.handler = Turns()
    with ThreadPoolExecutor(3) as threads:
        answers = crowd(stage, threads, 3)
        turns.enters()
        until(lambda: waits(stage) == 2)
        let_all_go(turns)
        told = sorted(str(answer.result(PATIENCE).get("cache-status")) for answer in answers)
    assert sum("detail=store" in line for line in told) >= 2
    assert not any("stored" in line.replace("detail=store", "") for line in told), told


@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("GET", {"Cache-Control": "no-store"}, 200),
        ("GET", {"Cache-Control": "only-if-cached"}, 200),
        ("GET", {"Range": "bytes=0-1"}, 206),
        ("HEAD", {}, 200),
    ],
    ids=["no-store", "only-if-cached", "Range", "HEAD"],
)
def test_who_cannot_share_goes_to_the_application_as_he_is(
    scenario: MakeScenario, store: Away, method: str, fields: dict[str, str], status: int
) -> None:
    stage = scenario(PAGE, store=store, **LONG)
    turns = stage.handler = Turns()
    seen_by: list[Seen] = []
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(stage.get, "/page")
        turns.enters()

        def handler(seen: Seen) -> Reply:
            seen_by.append(seen)
            return Reply(b"own", status=206 if "range" in seen.fields else 200)

        stage.handler = handler
        answer = stage.request(method, "/page", {**fields, "X-Untouched": "yes"})
        assert (answer.status, answer.trace) == (status, "bypass: store")
        let_all_go(turns)
        first.result(PATIENCE)
    assert seen_by[0].fields["x-untouched"] == "yes"
    assert all(seen_by[0].fields[name.lower()] == value for name, value in fields.items())


def test_what_others_share_shows_the_handler_what_the_page_is_keyed_by(
    scenario: MakeScenario, store: Away
) -> None:
    stage = scenario(PAGE, store=store, **LONG)
    turns, seen_by = Turns(), list[Seen]()

    def handler(seen: Seen) -> str:
        seen_by.append(seen)
        return turns(seen)

    stage.handler = handler
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(stage.get, "/page", {"X-Hidden": "mine"}) for _ in range(3)]
        turns.enters()
        until(lambda: waits(stage) == 2)
        let_all_go(turns)
        for answer in answers:
            answer.result(PATIENCE)
    assert "x-hidden" not in seen_by[1].fields


@pytest.mark.parametrize("way", ["at once", "while the body is made"])
def test_a_handler_that_asks_for_its_own_page_does_not_wait_for_its_own_turn(
    scenario: MakeScenario, store: Away, way: str
) -> None:
    stage = scenario(PAGE, store=store, max_wait=PATIENCE / 2)
    depth = 0

    def ask() -> str:
        nonlocal depth
        depth += 1
        return f"<{stage.get('/page').text if depth == 1 else ''}>"

    def body() -> Iterator[bytes]:
        yield ask().encode()

    stage.handler = lambda seen: ask() if way == "at once" else Reply(body())
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(stage.get, "/page").result(PATIENCE / 3).text == "<<>>"


def test_variants_are_no_queue(scenario: MakeScenario, store: Away) -> None:
    """After the first page is shared all know what selects: each language has turns of its own."""
    stage = scenario(OPEN, store=store, **LONG)
    turns = Turns()

    def handler(seen: Seen) -> Reply:
        language = seen.fields.get("accept-language", "none")
        if language == "none":
            turns(seen)
        fields = [("Cache-Control", "max-age=60"), ("Vary", "Accept-Language")]
        return Reply(language.encode(), fields=fields)

    stage.handler = handler
    languages = ["de", "fr", "it", "es", "pt", "nl"]
    with ThreadPoolExecutor(16) as threads:
        first = threads.submit(stage.get, "/page")
        turns.enters()
        answers = [
            (language, threads.submit(stage.get, "/page", {"Accept-Language": language}))
            for language in languages * 2
        ]
        until(lambda: waits(stage) == 12)
        let_all_go(turns)
        for language, answer in answers:
            assert answer.result(PATIENCE).text == language
        first.result(PATIENCE)
    assert turns.most == 1
    state = stage.cache.engine._state
    markings = [marking for _, marking, _ in state.variants._learned.items()]
    assert [marking.names for marking in markings] == [("accept-language",)]


@pytest.mark.parametrize("front", ["asgi"])
@pytest.mark.parametrize("gone", [0, 1, 2], ids=["who renders", "who is next", "who shares"])
def test_a_client_that_leaves_leaves_nobody_hanging(
    scenario: MakeScenario, store: Away, gone: int
) -> None:
    stage = scenario(PAGE, store=store, **LONG)
    gate = stage.handler = Gate()

    async def leave() -> list[Answer]:
        tasks = []
        for number in range(4):
            tasks.append(asyncio.create_task(call_asgi(stage.asgi, scope("GET", "/page"))))
            if number == 0:
                await asyncio.to_thread(gate.entered.wait, PATIENCE)
            await asyncio.to_thread(until, lambda number=number: waits(stage) == number)
        tasks[gone].cancel()
        await asyncio.wait([tasks[gone]])
        gate.open.set()
        return await asyncio.gather(*(task for task in tasks if not task.cancelled()))

    assert {answer.text for answer in asyncio.run(leave())} == {"page"}
    assert waiting(stage) == stage.cache.statistics()["flights_flying"] == 0


def test_an_invalidation_that_fails_sends_all_to_the_application(
    scenario: MakeScenario, store: Away
) -> None:
    stage = scenario(PAGE, store=store, **LONG)
    turns = stage.handler = Turns()
    with ThreadPoolExecutor(4) as threads:
        before = crowd(stage, threads, 3)
        turns.enters()
        until(lambda: waits(stage) == 2)
        with pytest.raises(InvalidationError):
            stage.cache.invalidate("page")
        # What is owed is rendered by each for himself.
        after = threads.submit(stage.get, "/page")
        turns.enters()
        let_all_go(turns)
        assert after.result(PATIENCE).trace == "bypass: owed"
        for answer in before:
            answer.result(PATIENCE)


def test_time_that_stands_still_makes_no_turn_overdue(front: Any, store: Away) -> None:
    clock = FakeClock()
    with Scenario(front, [PAGE], store=store, clock=clock, **LONG) as stage:  # type: ignore[arg-type]
        assert stage.get("/page").text == "page 1"
        clock.advance(60)
        assert stage.get("/page").text == "page 2"
