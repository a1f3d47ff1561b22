"""Validations that end otherwise: a 304 about another page, writers meanwhile, and crowds."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagegen.testing import PATIENCE, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate, crowd, until, waiting
from tests.scenarios.test_http_mode import OPEN, reply
from tests.scenarios.test_validation import ASKED_TAG, Origin, staged

# --- A 304 about another page -------------------------------------------------------------------


class Confused(Origin):
    """Answers every condition with a 304, about a page that nobody has."""

    def __call__(self, seen: Seen) -> Reply:
        answer = super().__call__(seen)
        return reply("", 304, etag='"other"') if self.asked[-1] else answer


def confused(scenario: MakeScenario, **said: str) -> tuple[Scenario, Origin]:
    stage, _ = staged(scenario, **said)
    stage.handler = origin = Confused("whole", **said)
    return stage, origin


def test_after_a_304_about_another_page_the_application_is_asked_once_more(
    scenario: MakeScenario,
) -> None:
    stage, origin = confused(scenario)
    answer = stage.get("/a", {"if-none-match": '"other"'})
    assert (answer.status, answer.text, answer.trace) == (200, "whole", "stale, stored")
    assert origin.asked == [ASKED_TAG, {}]
    assert (stage.get("/a").trace, stage.get("/a").text) == ("hit", "whole")
    assert stage.cache.statistics()["flights_flying"] == 0


def test_a_refresh_behind_a_client_asks_once_more_too(scenario: MakeScenario) -> None:
    stage, origin = confused(scenario, cache_control="max-age=60, stale-while-revalidate=60")
    assert stage.get("/a").text == "page"
    until(lambda: stage.cache.statistics()["admitted"] == 2)
    assert origin.asked == [ASKED_TAG, {}]
    assert stage.get("/a").text == "whole"


def test_the_second_answer_is_the_clients_even_when_it_cannot_be_stored(
    scenario: MakeScenario,
) -> None:
    stage, origin = confused(scenario)
    origin.said["cache_control"] = "no-store"
    assert (stage.get("/a").text, stage.get("/a").trace) == ("whole", "refused-no-store")


def test_the_second_question_may_fail_and_nobody_is_left_waiting(scenario: MakeScenario) -> None:
    stage, origin = confused(scenario, cache_control="max-age=60, must-revalidate")

    def handler(seen: Seen) -> Reply:
        answer = origin(seen)
        if not origin.asked[-1]:
            raise RuntimeError("away")
        return answer

    stage.handler = handler
    with pytest.raises(RuntimeError, match="away"):
        stage.get("/a")
    assert stage.cache.statistics()["flights_flying"] == 0
    stage.handler = Origin("well again")
    assert stage.get("/a").status == 200


def test_an_application_that_answers_304_to_no_condition_is_not_asked_a_third_time(
    scenario: MakeScenario,
) -> None:
    stage, _ = staged(scenario)
    stage.handler = lambda seen: reply("", 304, etag='"other"')
    answer = stage.get("/a")
    assert (answer.status, answer.trace, stage.renders) == (304, "refused-status", 3)
    assert stage.cache.statistics()["flights_flying"] == 0


def test_who_waits_waits_for_the_second_answer(scenario: MakeScenario) -> None:
    stage, origin = confused(scenario)
    let_go = threading.Event()

    def handler(seen: Seen) -> Reply:
        answer = origin(seen)
        if not origin.asked[-1]:
            assert let_go.wait(PATIENCE)
        return answer

    stage.handler = handler
    with ThreadPoolExecutor(8) as pool:
        answers = crowd(stage, pool, 8, "/a")
        until(lambda: len(origin.asked) == 2 and waiting(stage) == 7)
        let_go.set()
        assert {answer.result(PATIENCE).text for answer in answers} == {"whole"}
    assert origin.asked == [ASKED_TAG, {}]


def test_a_304_that_nobody_asked_for_passes(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply("", 304, etag='"1"')
    answer = stage.get("/a", {"if-none-match": '"1"'})
    assert (answer.status, answer.trace, answer.get("etag")) == (304, "refused-status", '"1"')


# --- Writers and crowds -------------------------------------------------------------------------


def test_what_is_invalidated_while_it_is_validated_stays_dead(scenario: MakeScenario) -> None:
    stage, origin = staged(scenario)
    inside, written = threading.Event(), threading.Event()

    def handler(seen: Seen) -> Reply:
        answer = origin(seen)
        inside.set()
        assert written.wait(PATIENCE)
        return answer

    stage.handler = handler
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(stage.get, "/a")
        assert inside.wait(PATIENCE)
        stage.cache.invalidate("url:testserver/a")
        written.set()
        assert slow.result(PATIENCE).text == "page"
    stage.handler = origin
    origin.body = "after the write"
    assert stage.get("/a").text == "after the write"
    assert origin.asked == [ASKED_TAG, {}]


def test_a_crowd_at_an_expired_page_is_one_validation(scenario: MakeScenario) -> None:
    stage, _ = staged(scenario)
    gate = Gate(lambda: reply("", 304, etag='"1"', cache_control="max-age=60", x_state="new"))
    stage.handler = gate
    with ThreadPoolExecutor(8) as pool:
        answers = crowd(stage, pool, 8, "/a")
        until(lambda: waiting(stage) == 7)
        gate.open.set()
        found = [answer.result(PATIENCE) for answer in answers]
    assert {(one.status, one.text, one.get("x-state")) for one in found} == {(200, "page", "new")}
    assert sorted(one.trace for one in found) == ["collapsed"] * 7 + ["stale, stored"]
    assert stage.renders == 2


def test_nobody_who_waits_gets_a_validation_that_may_not_be_kept(scenario: MakeScenario) -> None:
    stage, origin = staged(scenario)
    origin.said["cache_control"] = "private"
    let_go = threading.Event()

    def handler(seen: Seen) -> Reply:
        assert let_go.wait(PATIENCE)
        return origin(seen)

    stage.handler = handler
    with ThreadPoolExecutor(4) as pool:
        answers = crowd(stage, pool, 4, "/a")
        until(lambda: waiting(stage) == 3)
        let_go.set()
        assert {answer.result(PATIENCE).text for answer in answers} == {"page"}
    assert stage.renders == 5


def test_nobody_who_waits_gets_a_page_that_is_to_be_validated_each_time(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    origin, let_go = Origin(cache_control="no-cache"), threading.Event()

    def handler(seen: Seen) -> Reply:
        assert let_go.wait(PATIENCE)
        return origin(seen)

    stage.handler = handler
    with ThreadPoolExecutor(4) as pool:
        answers = crowd(stage, pool, 4, "/a")
        until(lambda: waiting(stage) == 3)
        let_go.set()
        assert {answer.result(PATIENCE).text for answer in answers} == {"page"}
    assert origin.asked == [{}] + [ASKED_TAG] * 3


def test_a_page_that_is_validated_each_time_is_no_queue(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = origin = Origin(cache_control="no-cache")
    stage.get("/a")
    inside = threading.Barrier(8)

    def together(seen: Seen) -> Reply:
        inside.wait(PATIENCE)
        return origin(seen)

    stage.handler = together
    with ThreadPoolExecutor(8) as pool:
        for answer in crowd(stage, pool, 8, "/a"):
            assert (answer.result(PATIENCE).text) == "page"
    assert origin.asked == [{}] + [ASKED_TAG] * 8
