"""Of all who want one page at one time, one renders it. Shown with barriers and counters."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pagegen import Rule
from pagegen.stores import MemoryStore, Reading
from pagegen.testing import PATIENCE, Answer, Reply, Scenario, Seen, call_asgi, scope
from tests.conftest import MakeScenario

PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl="1h")
CROWD = 64


class Gate:
    """A handler that is held until ``open``; ``entered`` tells that the first one is inside."""

    def __init__(self, reply: Callable[[], Reply | str] = lambda: "page") -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.reply = reply

    def __call__(self, seen: Seen) -> Reply | str:
        self.entered.set()
        assert self.open.wait(PATIENCE)
        return self.reply()


def until(condition: Callable[[], bool]) -> None:
    """Let other threads run until something has happened, a bounded number of times."""
    pause = threading.Event()
    for _ in range(30_000):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it did not happen")


def waiting(stage: Scenario) -> int:
    return stage.cache.statistics()["flights_waiting"]


def crowd(
    stage: Scenario, pool: ThreadPoolExecutor, size: int, target: str = "/page"
) -> list[Future[Answer]]:
    return [pool.submit(stage.get, target) for _ in range(size)]


def test_64_at_once_are_one_render(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    gate = stage.handler = Gate()
    with ThreadPoolExecutor(CROWD) as pool:
        answers = crowd(stage, pool, CROWD)
        until(lambda: waiting(stage) == CROWD - 1)
        gate.open.set()
        traces = sorted(answer.result(PATIENCE).trace for answer in answers)
    assert traces == ["collapsed"] * (CROWD - 1) + ["uri-miss, stored"]
    assert (stage.renders, waiting(stage)) == (1, 0)


@pytest.mark.parametrize("front", ["asgi"])
def test_64_tasks_of_one_loop_are_one_render(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    gate = stage.handler = Gate()

    async def all_at_once() -> list[Answer]:
        tasks = [
            asyncio.create_task(call_asgi(stage.asgi, scope("GET", "/page"))) for _ in range(CROWD)
        ]
        await asyncio.to_thread(until, lambda: waiting(stage) == CROWD - 1)
        gate.open.set()
        return await asyncio.gather(*tasks)

    answers = asyncio.run(all_at_once())
    assert {answer.body for answer in answers} == {b"page"}
    assert stage.renders == 1


def test_threads_and_tasks_share_one_engine_and_one_render() -> None:
    gate = Gate()
    with Scenario("wsgi", [PAGE]) as threads, Scenario("asgi", [PAGE]) as tasks:
        # Both fronts on one cache, as when an application serves both.
        tasks.asgi._engine = threads.cache.engine
        threads.handler = tasks.handler = gate
        with ThreadPoolExecutor(CROWD) as pool:
            answers = crowd(threads, pool, CROWD // 2) + crowd(tasks, pool, CROWD // 2)
            until(lambda: waiting(threads) == CROWD - 1)
            gate.open.set()
            assert {answer.result(PATIENCE).body for answer in answers} == {b"page"}
        assert threads.renders + tasks.renders == 1


def test_when_the_leader_fails_one_of_those_who_wait_leads(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    failures = [RuntimeError("the first handler fails")]

    def fail_once() -> str:
        if failures:
            raise failures.pop()
        return "page"

    gate = stage.handler = Gate(fail_once)
    with ThreadPoolExecutor(8) as pool:
        answers = crowd(stage, pool, 8)
        until(lambda: waiting(stage) == 7)
        gate.open.set()
        errors = [answer.exception(PATIENCE) for answer in answers]
    assert sum(error is not None for error in errors) == 1
    assert stage.renders == 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"yours", fields=[("Cache-Control", "private")]),
        Reply(b"yours", fields=[("Set-Cookie", "you=1")]),
        Reply(b"yours", fields=[("Content-Length", "9")]),
    ],
    ids=["private", "sets a cookie", "lies about its length"],
)
def test_nobody_gets_a_page_that_could_not_be_stored(scenario: MakeScenario, reply: Reply) -> None:
    stage = scenario(PAGE)
    gate = stage.handler = Gate(lambda: reply)
    with ThreadPoolExecutor(8) as pool:
        answers = crowd(stage, pool, 8)
        until(lambda: waiting(stage) == 7)
        gate.open.set()
        for answer in answers:
            answer.result(PATIENCE)
    assert stage.renders == 8


def test_an_uncacheable_page_is_no_queue(scenario: MakeScenario) -> None:
    """After one refusal the next ones render side by side: all are inside at the same time."""
    stage = scenario(PAGE, max_wait="5m")
    private = Reply(b"yours", fields=[("Cache-Control", "private")])
    stage.handler = lambda seen: private
    stage.get("/page")
    inside = threading.Barrier(8)

    def together(seen: Seen) -> Reply:
        inside.wait(PATIENCE)
        return private

    stage.handler = together
    with ThreadPoolExecutor(8) as pool:
        for answer in crowd(stage, pool, 8):
            assert answer.result(PATIENCE).body == b"yours"


def test_those_who_wait_are_bounded_in_number(scenario: MakeScenario) -> None:
    stage = scenario(PAGE, max_waiters=3)
    inside = threading.Semaphore(0)
    leave = threading.Event()

    def handler(seen: Seen) -> str:
        inside.release()
        assert leave.wait(PATIENCE)
        return "page"

    stage.handler = handler
    with ThreadPoolExecutor(8) as pool:
        answers = crowd(stage, pool, 8)
        for _ in range(5):  # the leader, and the four who found the bench full
            assert inside.acquire(timeout=PATIENCE)
        assert waiting(stage) == 3
        leave.set()
        assert {answer.result(PATIENCE).body for answer in answers} == {b"page"}
    assert (stage.renders, stage.cache.statistics()["bench-full"]) == (5, 4)


def test_those_who_wait_are_bounded_in_time(scenario: MakeScenario) -> None:
    stage = scenario(PAGE, max_wait=0.05)
    first, second = threading.Event(), threading.Event()

    def handler(seen: Seen) -> str:
        if not first.is_set():
            first.set()
            assert second.wait(PATIENCE)  # it ends only when somebody has lost patience
        second.set()
        return "page"

    stage.handler = handler
    with ThreadPoolExecutor(2) as pool:
        answers = crowd(stage, pool, 2)
        assert {answer.result(PATIENCE).body for answer in answers} == {b"page"}
    assert (stage.renders, waiting(stage)) == (2, 0)
    assert stage.cache.statistics()["wait"] == 1


def test_a_handler_that_asks_for_its_own_page_does_not_wait_for_itself(
    scenario: MakeScenario,
) -> None:
    stage = scenario(PAGE, max_wait=300)
    depth = 0

    def handler(seen: Seen) -> str:
        nonlocal depth
        depth += 1
        return f"<{stage.get('/page').text if depth == 1 else ''}>"

    stage.handler = handler
    assert stage.get("/page").text == "<<>>"


@pytest.mark.parametrize("front", ["asgi"])
def test_a_cancelled_leader_leaves_nobody_hanging(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    gate = stage.handler = Gate()

    async def cancel_the_leader() -> Answer:
        leader = asyncio.create_task(call_asgi(stage.asgi, scope("GET", "/page")))
        await asyncio.to_thread(gate.entered.wait, PATIENCE)
        follower = asyncio.create_task(call_asgi(stage.asgi, scope("GET", "/page")))
        await asyncio.to_thread(until, lambda: waiting(stage) == 1)
        leader.cancel()
        gate.open.set()
        answer = await follower
        assert leader.cancelled()
        return answer

    assert asyncio.run(cancel_the_leader()).body == b"page"
    assert (stage.renders, waiting(stage)) == (2, 0)


@pytest.mark.parametrize("front", ["asgi"])
def test_a_cancelled_follower_disturbs_nobody(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    gate = stage.handler = Gate()

    async def cancel_a_follower() -> list[Answer]:
        tasks = [
            asyncio.create_task(call_asgi(stage.asgi, scope("GET", "/page"))) for _ in range(3)
        ]
        await asyncio.to_thread(until, lambda: waiting(stage) == 2)
        tasks[1].cancel()
        await asyncio.wait(tasks[1:2])
        assert waiting(stage) == 1
        gate.open.set()
        return await asyncio.gather(tasks[0], tasks[2])

    assert {answer.body for answer in asyncio.run(cancel_a_follower())} == {b"page"}
    assert (stage.renders, waiting(stage)) == (1, 0)


class PausingStore(MemoryStore):
    """Holds one reader between its read and what it does with it."""

    def __init__(self) -> None:
        super().__init__()
        self.has_read = threading.Event()
        self.may_go_on = threading.Event()
        self.pause_next = False

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        reading = await super().read(slot, namespaces)
        if self.pause_next:
            self.pause_next = False
            self.has_read.set()
            assert self.may_go_on.wait(PATIENCE)
        return reading


@pytest.mark.parametrize("front", ["wsgi"])
def test_who_read_before_a_flight_landed_looks_again_before_it_leads(
    scenario: MakeScenario,
) -> None:
    store = PausingStore()
    stage = scenario(PAGE, store=store)
    stage.cache.invalidate("page")  # so that the token is there
    store.pause_next = True
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(stage.get, "/page")
        assert store.has_read.wait(PATIENCE)  # it has seen that there is no page
        assert stage.get("/page").trace == "uri-miss, stored"
        store.may_go_on.set()
        assert slow.result(PATIENCE).trace == "hit"
    assert stage.renders == 1


class Slow:
    """A handler that counts who is inside, and lets each out by itself."""

    def __init__(self) -> None:
        self.inside: list[threading.Event] = []

    def __call__(self, seen: Seen) -> str:
        mine = threading.Event()
        self.inside.append(mine)
        number = len(self.inside)
        assert mine.wait(PATIENCE)
        return f"page {number}"


def test_when_patience_is_over_one_begins_anew_and_the_others_wait_for_that(
    scenario: MakeScenario,
) -> None:
    """Whoever renders may be dead. A crowd on its own would not be served any earlier."""
    stage = scenario(PAGE, max_wait="1.5s")
    slow = stage.handler = Slow()
    with ThreadPoolExecutor(CROWD) as pool:
        answers = crowd(stage, pool, 16)
        until(lambda: len(slow.inside) == 2)
        until(lambda: waiting(stage) == 14)
        slow.inside[1].set()
        until(lambda: sum(answer.done() for answer in answers) == 15)
        slow.inside[0].set()
        texts = sorted(answer.result(PATIENCE).text for answer in answers)
    assert texts == ["page 1"] + ["page 2"] * 15
    assert stage.renders == 2


def test_who_was_taken_for_lost_and_lands_serves_all_who_wait(scenario: MakeScenario) -> None:
    stage = scenario(PAGE, max_wait="1.5s")
    slow = stage.handler = Slow()
    with ThreadPoolExecutor(CROWD) as pool:
        answers = crowd(stage, pool, 16)
        until(lambda: len(slow.inside) == 2)
        until(lambda: waiting(stage) == 14)
        slow.inside[0].set()
        until(lambda: sum(answer.done() for answer in answers) == 15)
        slow.inside[1].set()
        texts = sorted(answer.result(PATIENCE).text for answer in answers)
    assert texts == ["page 1"] * 15 + ["page 2"]
    assert stage.renders == 2


def test_patience_is_over_twice_at_most(scenario: MakeScenario) -> None:
    """Then everybody renders alone: nobody waits for ever on pages that never end."""
    stage = scenario(PAGE, max_wait="0.1s")
    slow = stage.handler = Slow()
    with ThreadPoolExecutor(CROWD) as pool:
        answers = crowd(stage, pool, 6)
        until(lambda: len(slow.inside) == 6)
        for event in slow.inside:
            event.set()
        for answer in answers:
            answer.result(PATIENCE)
    assert (stage.renders, waiting(stage)) == (6, 0)
