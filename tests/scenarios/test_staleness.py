"""Expired pages within their windows (RFC 5861), and never one that was invalidated."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from pagegen import Rule
from pagegen.testing import PATIENCE, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import until

SWR = Rule(path="/page", share="public", namespaces=["page"], ttl=60, swr=30)
SIE = Rule(path="/page", share="public", namespaces=["page"], ttl=60, sie="10m")


def admitted(stage: Scenario, times: int) -> None:
    until(lambda: stage.cache.statistics()["admitted"] == times)


def test_an_expired_page_is_served_at_once_while_one_refresh_runs(
    scenario: MakeScenario,
) -> None:
    stage = scenario(SWR)
    stage.get("/page")
    stage.clock.advance(60)
    let_go = threading.Event()

    def handler(seen: Seen) -> str:
        assert let_go.wait(PATIENCE)
        return "refreshed"

    stage.handler = handler
    for _ in range(3):
        answer = stage.get("/page")
        assert (answer.text, answer.trace) == ("page 1", "hit")  # ttl=0 is not yet below
    let_go.set()
    admitted(stage, 2)
    assert stage.get("/page").text == "refreshed"
    assert stage.renders == 2


def test_head_gets_an_expired_page_in_its_window_and_renders_nothing(
    scenario: MakeScenario,
) -> None:
    stage = scenario(SWR)
    stage.get("/page")
    stage.clock.advance(61)
    head = stage.request("HEAD", "/page")
    assert (head.trace, head.body, head.get("content-length")) == ("stale hit", b"", "6")
    assert stage.renders == 1


def test_past_its_window_an_expired_page_is_a_miss(scenario: MakeScenario) -> None:
    stage = scenario(SWR)
    stage.get("/page")
    stage.clock.advance(90)
    assert stage.get("/page").text == "page 2"


def test_an_invalidated_page_is_never_served_stale(scenario: MakeScenario) -> None:
    for rule in (SWR, SIE):
        stage = scenario(rule)
        stage.get("/page")
        stage.clock.advance(61)
        stage.cache.invalidate("page")
        stage.handler = lambda seen: Reply(b"failed", status=503)
        assert stage.get("/page").text == "failed"


def test_a_refresh_that_fails_leaves_the_expired_page_in_its_window(
    scenario: MakeScenario,
) -> None:
    stage = scenario(SWR)
    stage.get("/page")
    stage.clock.advance(61)
    stage.handler = lambda seen: Reply(b"failed", status=500)
    assert stage.get("/page").text == "page 1"
    until(lambda: stage.cache.statistics().get("refused:status") == 1)
    assert stage.get("/page").text == "page 1"


def test_an_error_of_the_application_is_answered_with_the_expired_page(
    scenario: MakeScenario,
) -> None:
    stage = scenario(SIE)
    stage.get("/page")
    stage.clock.advance(61)
    stage.handler = lambda seen: Reply([b"half of ", b"an error page"], status=500)
    answer = stage.get("/page")
    assert (answer.status, answer.text, answer.get("age")) == (200, "page 1", "61")
    assert answer.trace == "stale hit"
    stage.handler = lambda seen: "well again"
    assert stage.get("/page").text == "well again"


def test_an_application_that_raises_is_answered_with_the_expired_page(
    scenario: MakeScenario,
) -> None:
    stage = scenario(SIE)
    stage.get("/page")
    stage.clock.advance(61)

    def fail(seen: Seen) -> str:
        raise RuntimeError("the database is away")

    stage.handler = fail
    assert stage.get("/page").text == "page 1"
    stage.clock.advance(600)
    try:
        stage.get("/page")
    except RuntimeError as error:
        assert str(error) == "the database is away"
    else:
        raise AssertionError("past its window the failure is the application's own")


def test_a_failure_in_the_middle_of_a_body_is_not_papered_over(scenario: MakeScenario) -> None:
    stage = scenario(SIE)
    stage.get("/page")
    stage.clock.advance(61)

    def body() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("no more")

    stage.handler = lambda seen: Reply(body())
    try:
        stage.get("/page")
    except RuntimeError:
        pass
    else:
        raise AssertionError("what has begun cannot be taken back")
    stage.handler = lambda seen: "whole"
    assert stage.get("/page").text == "whole"


def test_client_errors_are_the_applications_own_answer(scenario: MakeScenario) -> None:
    stage = scenario(SIE)
    stage.get("/page")
    stage.clock.advance(61)
    stage.handler = lambda seen: Reply(b"gone", status=410)
    assert stage.get("/page").status == 410
