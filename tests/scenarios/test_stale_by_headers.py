"""Stale on purpose (RFC 5861): by the response's words, or by the rule's, which come first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagegen import Rule
from pagegen.testing import PATIENCE, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate, crowd, until, waiting
from tests.scenarios.test_http_mode import OPEN, reply
from tests.scenarios.test_validation import Origin
from tests.scenarios.test_wishes import wish

TTL = 60


def ruled(**windows: str) -> Rule:
    return Rule(path="/**", share="public", mode="http", **windows)  # type: ignore[arg-type]


def over(
    scenario: MakeScenario, seconds: float, control: str, rule: Rule = OPEN, **said: str
) -> Scenario:
    """A page so many seconds past its lifetime."""
    stage = scenario(rule)
    stage.handler = lambda seen: reply("page", cache_control=control, **said)
    stage.get("/a")
    stage.clock.advance(TTL + seconds)
    return stage


def refreshed(stage: Scenario, times: int = 2) -> None:
    until(lambda: stage.cache.statistics()["admitted"] == times)


# --- While it is revalidated --------------------------------------------------------------------

SWR = "max-age=60, stale-while-revalidate=30"


@pytest.mark.parametrize(
    ("control", "rule"),
    [
        (SWR, OPEN),
        ("max-age=60", ruled(swr="30s")),
        ("max-age=60, stale-while-revalidate=5", ruled(swr="30s")),
        ("max-age=60, stale-while-revalidate=900", ruled(swr="30s")),
        (SWR, Rule(path="/**", share="public", ttl=60)),
        (SWR, Rule(path="/**", share="public", ttl=60, swr=30, query={"q": {"type": "str"}})),
    ],
    ids=["header", "rule", "longer rule", "shorter rule", "keyed header", "keyed both"],
)
def test_the_stale_page_is_served_at_once_and_refreshed_once(
    scenario: MakeScenario, control: str, rule: Rule
) -> None:
    stage = over(scenario, 29, control, rule)
    entered, let_go = threading.Event(), threading.Event()

    def slow(seen: Seen) -> Reply:
        entered.set()
        assert let_go.wait(PATIENCE)
        return reply("anew", cache_control=control)

    stage.handler = slow
    for _ in range(3):
        answer = stage.get("/a")
        assert (answer.text, answer.trace, answer.get("age")) == ("page", "stale hit", "89")
    assert entered.wait(PATIENCE)
    let_go.set()
    refreshed(stage)
    assert (stage.get("/a").text, stage.get("/a").trace) == ("anew", "hit")
    assert stage.renders == 2


@pytest.mark.parametrize(
    ("seconds", "control", "rule"),
    [
        (30, SWR, OPEN),
        (30, "max-age=60, stale-while-revalidate=900", ruled(swr="30s")),
        (0, SWR, ruled(swr="0s")),
        (0, "max-age=60, stale-while-revalidate=soon", OPEN),
        (0, f"{SWR}, must-revalidate", OPEN),
        (0, f"{SWR}, proxy-revalidate", OPEN),
        (0, "s-maxage=60, stale-while-revalidate=30", OPEN),
        (0, f"{SWR}, must-revalidate", ruled(swr="30s")),
        (0, "s-maxage=60", ruled(swr="30s", sie="1h")),
    ],
    ids=[
        "window is over",
        "the rule's is over",
        "the rule says never",
        "unreadable",
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage",
        "must-revalidate and rule",
        "s-maxage and rule",
    ],
)
def test_past_its_window_or_without_one_the_client_waits_for_the_application(
    scenario: MakeScenario, seconds: int, control: str, rule: Rule
) -> None:
    stage = over(scenario, seconds, control, rule)
    stage.handler = lambda seen: reply("anew", cache_control=control)
    answer = stage.get("/a")
    assert (answer.text, answer.trace) == ("anew", "stale, stored")


def test_a_page_without_a_lifetime_lives_by_its_window_alone(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    control = "max-age=0, stale-while-revalidate=30"
    stage.handler = lambda seen: reply(f"page {stage.renders}", cache_control=control)
    assert stage.get("/a").trace == "uri-miss, stored"
    assert stage.get("/a").text == "page 1"
    refreshed(stage)
    assert stage.get("/a").text == "page 2"


def test_a_crowd_at_a_page_that_lives_by_its_window_is_one_render(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stale = "max-age=0, stale-while-revalidate=30"
    gate = stage.handler = Gate(lambda: reply("page", cache_control=stale))
    with ThreadPoolExecutor(8) as pool:
        answers = crowd(stage, pool, 8, "/a")
        until(lambda: waiting(stage) == 7)
        gate.open.set()
        assert {answer.result(PATIENCE).text for answer in answers} == {"page"}
    assert stage.renders == 1


def test_a_refresh_validates_with_the_applications_validators(scenario: MakeScenario) -> None:
    stage = over(scenario, 1, SWR, etag='"1"')
    stage.handler = origin = Origin(cache_control=SWR)
    assert stage.get("/a", {"if-none-match": '"1"', "if-match": "*"}).status == 304
    until(lambda: stage.cache.statistics().get("validated") == 1)
    assert origin.asked == [{"if-none-match": '"1"'}]
    assert stage.get("/a").trace == "hit"


def test_a_refresh_sees_what_its_client_sent(scenario: MakeScenario) -> None:
    """The refreshed page is the variant of the client that set it off."""
    stage = over(scenario, 0, SWR, vary="Accept-Language")
    saw: list[str | None] = []

    def handler(seen: Seen) -> Reply:
        saw.append(seen.fields.get("accept-language"))
        return reply(f"in {saw[-1]}", cache_control=SWR, vary="Accept-Language")

    stage.handler = handler
    stage.get("/a", {"accept-language": "de"})
    stage.clock.advance(TTL + 1)
    assert stage.get("/a", {"accept-language": "de"}).trace == "stale hit"
    refreshed(stage, 3)
    answer = stage.get("/a", {"accept-language": "de"})
    assert (answer.text, answer.trace, saw) == ("in de", "hit", ["de", "de"])


def test_what_is_invalidated_is_not_served_while_it_is_revalidated(
    scenario: MakeScenario,
) -> None:
    stage = over(scenario, 1, f"{SWR}, stale-if-error=999")
    stage.post("/a")
    stage.handler = lambda seen: reply("failed", 503)
    assert stage.get("/a").text == "failed"


def test_a_crowd_at_a_stale_page_is_one_refresh(scenario: MakeScenario) -> None:
    stage = over(scenario, 1, SWR)
    let_go = threading.Event()

    def slow(seen: Seen) -> Reply:
        assert let_go.wait(PATIENCE)
        return reply("anew", cache_control=SWR)

    stage.handler = slow
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(stage.get, "/a") for _ in range(8)]
        assert {answer.result(PATIENCE).text for answer in answers} == {"page"}
    let_go.set()
    refreshed(stage)
    assert stage.renders == 2


# --- In place of an error -----------------------------------------------------------------------

SIE = "max-age=60, stale-if-error=600"


def failing(status: int) -> Callable[[Seen], Reply]:
    return lambda seen: reply("failed", status)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(
    ("control", "rule"),
    [
        (SIE, OPEN),
        ("max-age=60", ruled(sie="10m")),
        ("max-age=60, stale-if-error=1", ruled(sie="10m")),
        (SIE, Rule(path="/**", share="public", ttl=60)),
    ],
    ids=["header", "rule", "rule first", "keyed header"],
)
def test_an_error_is_answered_with_the_stale_page(
    scenario: MakeScenario, status: int, control: str, rule: Rule
) -> None:
    stage = over(scenario, 599, control, rule)
    stage.handler = failing(status)
    answer = stage.get("/a")
    assert (answer.status, answer.text, answer.trace) == (200, "page", "stale hit")
    assert f"fwd=stale; fwd-status={status};" in str(answer.get("cache-status"))
    stage.clock.advance(1)
    assert stage.get("/a").text == "failed"


@pytest.mark.parametrize(
    ("control", "rule"),
    [
        ("max-age=60", OPEN),
        (SIE, ruled(sie="0s")),
        (f"{SIE}, must-revalidate", OPEN),
        (f"{SIE}, proxy-revalidate", ruled(sie="10m")),
        (f"{SIE}, s-maxage=60", OPEN),
        ("no-cache, stale-if-error=600", ruled(sie="10m")),
        ("max-age=60, stale-if-error=many", OPEN),
    ],
)
def test_where_nobody_allows_it_the_error_is_the_answer(
    scenario: MakeScenario, control: str, rule: Rule
) -> None:
    stage = over(scenario, 0, control, rule, etag='"1"')
    stage.handler = failing(503)
    answer = stage.get("/a")
    assert (answer.status, answer.text) == (503, "failed")


@pytest.mark.parametrize("status", [400, 403, 404, 410, 429])
def test_a_client_error_is_an_answer(scenario: MakeScenario, status: int) -> None:
    stage = over(scenario, 1, SIE)
    stage.handler = failing(status)
    assert stage.get("/a").status == status


@pytest.mark.parametrize(
    ("control", "seconds", "asked", "text"),
    [
        ("max-age=60", 99, "stale-if-error=100", "page"),
        ("max-age=60", 100, "stale-if-error=100", "failed"),
        ("max-age=60, stale-if-error=200", 150, "stale-if-error=100", "page"),
        ("max-age=60", 1, "stale-if-error", "failed"),
        ("max-age=60", 1, "stale-if-error=100, max-age=0", "page"),
        (SIE, 1, "max-age=0", "page"),
        (SIE, 1, "no-cache", "failed"),
        (SIE, 1, "no-cache, stale-if-error=100", "failed"),
        ("max-age=60, must-revalidate", 1, "stale-if-error=100", "failed"),
        ("s-maxage=60", 1, "stale-if-error=100", "failed"),
    ],
)
def test_a_request_may_allow_it_for_itself(
    scenario: MakeScenario, control: str, seconds: int, asked: str, text: str
) -> None:
    stage = over(scenario, seconds, control)
    stage.handler = failing(503)
    assert stage.get("/a", wish(asked)).text == text


def test_a_stored_error_is_not_replaced_by_an_older_page(scenario: MakeScenario) -> None:
    """An error that its rule stores is a page like any other."""
    rule = Rule(path="/**", share="public", ttl={200: TTL, 503: 10}, query={"q": {"type": "str"}})
    stage = over(scenario, 1, SIE, rule)
    stage.handler = lambda seen: reply("down", 503, cache_control="max-age=10")
    assert [(stage.get("/a").text, stage.get("/a").trace)] == [("down", "hit")]


def test_a_validation_that_fails_is_answered_with_the_stale_page_and_asked_again(
    scenario: MakeScenario,
) -> None:
    stage = over(scenario, 1, SIE, etag='"1"')
    stage.handler = failing(500)
    assert stage.get("/a", {"if-none-match": '"1"'}).status == 304
    stage.handler = origin = Origin(cache_control=SIE)
    assert stage.get("/a").trace == "stale, stored"
    assert origin.asked == [{"if-none-match": '"1"'}]


def test_a_refresh_that_fails_keeps_the_stale_page_and_is_not_tried_at_once(
    scenario: MakeScenario,
) -> None:
    stage = over(scenario, 1, f"{SWR}, stale-if-error=600")
    stage.handler = failing(500)
    assert stage.get("/a").text == "page"
    until(lambda: stage.cache.statistics().get("refused:failed") == 1)
    for _ in range(3):
        assert stage.get("/a").text == "page"
    assert stage.renders == 2
