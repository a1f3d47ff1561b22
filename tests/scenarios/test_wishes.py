"""What a request says in Cache-Control (RFC 9111 §5.2.1), and a rule that does not listen."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagegen import Rule
from pagegen.testing import PATIENCE, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate, until, waiting
from tests.scenarios.test_http_mode import OPEN, reply
from tests.scenarios.test_validation import Origin

KEYED = Rule(path="/**", share="public", ttl=60, sie=0)
DEAF = Rule(path="/**", share="public", mode="http", client_reload="ignore")
STALE_AT = 60


def wish(control: str) -> dict[str, str]:
    return {"cache-control": control}


def aged(
    scenario: MakeScenario, seconds: float, control: str = "max-age=60", rule: Rule = OPEN
) -> Scenario:
    """A page that was stored so many seconds ago, and an application that has another by now."""
    stage = scenario(rule)
    stage.handler = lambda seen: reply("page", cache_control=control)
    stage.get("/a")
    stage.clock.advance(seconds)
    stage.handler = lambda seen: reply("anew", cache_control=control)
    return stage


# --- What a fresh page must be ------------------------------------------------------------------


@pytest.mark.parametrize("rule", [OPEN, KEYED], ids=["http", "keyed"])
@pytest.mark.parametrize(
    ("control", "age", "text"),
    [
        ("no-cache", 0, "anew"),
        ("No-Cache", 0, "anew"),
        ("max-age=0", 0, "anew"),
        ("max-age=30", 30, "page"),
        ("max-age=30", 31, "anew"),
        ("max-age=99999999999", 59, "page"),
        ("max-age=soon", 0, "anew"),
        ("min-fresh=20", 40, "page"),
        ("min-fresh=20", 41, "anew"),
        ("min-fresh=61", 0, "anew"),
        ("no-transform", 0, "page"),
        ("max-stale=9", 0, "page"),
        ("no-store", 0, "page"),
        ("only-if-cached", 0, "page"),
        ("immutable, x=y", 0, "page"),
    ],
)
def test_a_fresh_page_is_served_if_it_is_what_the_client_wants(
    scenario: MakeScenario, rule: Rule, control: str, age: int, text: str
) -> None:
    stage = aged(scenario, age, rule=rule)
    answer = stage.get("/a", wish(control))
    assert answer.text == text
    assert answer.trace == ("hit" if text == "page" else "request, stored")
    # What was asked for by one is everybody's.
    assert (stage.get("/a").text, stage.get("/a").trace) == (text, "hit")


def test_pragma_counts_where_there_is_no_cache_control(scenario: MakeScenario) -> None:
    stage = aged(scenario, 0)
    assert stage.get("/a", {"pragma": "x"}).text == "page"
    assert stage.get("/a", {"pragma": "no-cache", **wish("max-stale")}).text == "page"
    assert stage.get("/a", {"pragma": "no-cache"}).trace == "request, stored"


def test_a_fresh_page_is_validated_when_a_client_wants_it_asked_about(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    stage.handler = origin = Origin()
    stage.get("/a")
    stage.clock.advance(40)
    answer = stage.get("/a", {**wish("no-cache"), "if-none-match": '"1"'})
    assert (answer.status, answer.trace) == (304, "request, stored")
    assert origin.asked == [{}, {"if-none-match": '"1"'}]
    stage.clock.advance(40)
    assert stage.get("/a").trace == "hit"


def test_a_reload_that_gets_an_error_leaves_the_fresh_page(scenario: MakeScenario) -> None:
    stage = aged(scenario, 0)
    stage.handler = lambda seen: reply("failed", 503)
    assert stage.get("/a", wish("no-cache")).text == "failed"
    assert stage.get("/a").text == "page"


# --- Stale by the client's leave ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "over", "text"),
    [
        ("max-stale", 3000, "page"),
        ("max-stale=30", 30, "page"),
        ("max-stale=30", 31, "anew"),
        ("max-stale=x", 0, "anew"),
        ("max-stale, max-age=70", 10, "page"),
        ("max-stale, max-age=70", 11, "anew"),
        ("max-stale, no-cache", 1, "anew"),
        ("max-stale, min-fresh=1", 1, "anew"),
        ("max-age=100", 1, "anew"),
    ],
)
def test_a_client_may_take_a_stale_page(
    scenario: MakeScenario, wishes: str, over: int, text: str
) -> None:
    stage = aged(scenario, STALE_AT + over)
    answer = stage.get("/a", wish(wishes))
    assert answer.text == text
    assert answer.get("age") == (str(STALE_AT + over) if text == "page" else None)
    assert stage.renders == (1 if text == "page" else 2)


@pytest.mark.parametrize(
    "control",
    [
        "max-age=60, must-revalidate",
        "max-age=60, proxy-revalidate",
        "s-maxage=60",
        "max-age=60, stale-if-error=0",
    ],
)
def test_no_client_gets_what_its_response_forbids_to_serve_stale(
    scenario: MakeScenario, control: str
) -> None:
    stage = aged(scenario, STALE_AT + 1, control)
    assert stage.get("/a", wish("only-if-cached, max-stale")).status == 504
    assert stage.get("/a", wish("max-stale")).text == "anew"


def test_no_client_gets_what_was_invalidated(scenario: MakeScenario) -> None:
    for seconds in (0, STALE_AT + 1):
        stage = aged(scenario, seconds)
        stage.cache.invalidate("url:testserver/a")
        assert stage.get("/a", wish("only-if-cached, max-stale")).status == 504
        assert stage.get("/a", wish("max-stale")).text == "anew"


def test_a_page_that_is_validated_each_time_is_never_stale_enough(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = Origin(cache_control="no-cache")
    stage.get("/a")
    assert stage.get("/a", wish("max-stale, only-if-cached")).status == 504


# --- Only from the cache, and nothing into it -----------------------------------------------------


def test_only_if_cached_never_runs_the_application(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(cache_control="max-age=60")
    answer = stage.get("/a", wish("only-if-cached"))
    assert (answer.status, answer.get("cache-status"), stage.renders) == (504, None, 0)
    assert answer.get("content-length") == str(len(answer.body))
    head = stage.request("HEAD", "/a", wish("only-if-cached"))
    assert (head.status, head.body) == (504, b"")
    stage.get("/a")
    assert stage.get("/a", wish("only-if-cached")).trace == "hit"
    stage.clock.advance(61)
    assert stage.get("/a", wish("only-if-cached")).status == 504
    assert stage.get("/a", wish("only-if-cached, max-stale=1")).trace == "stale hit"
    assert stage.renders == 1


def test_only_if_cached_does_not_wait_for_a_flight(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    gate = stage.handler = Gate(lambda: reply(cache_control="max-age=60"))
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(stage.get, "/a")
        assert gate.entered.wait(PATIENCE)
        assert stage.get("/a", wish("only-if-cached")).status == 504
        gate.open.set()
        assert leader.result(PATIENCE).status == 200


def test_a_miss_of_a_no_store_request_leaves_nothing(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    seen_fields: list[str | None] = []

    def handler(seen: Seen) -> Reply:
        seen_fields.append(seen.fields.get("if-none-match"))
        return reply(cache_control="max-age=60", etag='"1"')

    stage.handler = handler
    assert stage.get("/a", {**wish("no-store"), "if-none-match": '"9"'}).trace == "bypass: no-store"
    assert stage.get("/a").trace == "uri-miss, stored"
    assert stage.get("/a", wish("no-store")).trace == "hit"
    stage.clock.advance(60)
    assert stage.get("/a", wish("no-store")).trace == "bypass: no-store"
    assert stage.get("/a").trace == "stale, stored"
    assert seen_fields == ['"9"', None, None, '"1"']


# --- A rule that does not listen ----------------------------------------------------------------


@pytest.mark.parametrize("asked", ["no-cache", "max-age=0", "min-fresh=99", "pragma"])
def test_a_rule_may_ignore_reloads(scenario: MakeScenario, asked: str) -> None:
    stage = aged(scenario, 1, rule=DEAF)
    fields = {"pragma": "no-cache"} if asked == "pragma" else wish(asked)
    assert stage.get("/a", fields).trace == "hit"


def test_a_rule_that_ignores_reloads_still_honours_the_rest(scenario: MakeScenario) -> None:
    stage = aged(scenario, STALE_AT + 1, rule=DEAF)
    assert stage.get("/a", wish("only-if-cached")).status == 504
    assert stage.get("/a", wish("max-stale=1")).trace == "stale hit"
    assert stage.get("/a", wish("no-store")).trace == "bypass: no-store"


# --- Crowds -------------------------------------------------------------------------------------


def test_a_flood_of_reloads_makes_no_queue_and_its_page_is_stored(scenario: MakeScenario) -> None:
    """All are inside at one time: nobody who wants the application asked waits for another."""
    stage = aged(scenario, 0)
    inside = threading.Barrier(16)

    def together(seen: Seen) -> Reply:
        inside.wait(PATIENCE)
        return reply("anew", cache_control="max-age=60")

    stage.handler = together
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(stage.get, "/a", wish("no-cache")) for _ in range(16)]
        assert {one.result(PATIENCE).trace for one in answers} == {"request, stored"}
    assert (stage.get("/a").text, stage.get("/a").trace) == ("anew", "hit")
    statistics = stage.cache.statistics()
    assert (statistics["flights_flying"], statistics["flights_waiting"]) == (0, 0)
    assert (statistics["flights_apart"], statistics.get("wait", 0)) == (0, 0)


def test_while_one_reloads_the_others_are_served(scenario: MakeScenario) -> None:
    stage = aged(scenario, 0)
    gate = stage.handler = Gate(lambda: reply("anew", cache_control="max-age=60"))
    with ThreadPoolExecutor(1) as pool:
        reload = pool.submit(stage.get, "/a", wish("no-cache"))
        assert gate.entered.wait(PATIENCE)
        assert (stage.get("/a").trace, waiting(stage)) == ("hit", 0)
        gate.open.set()
        assert reload.result(PATIENCE).text == "anew"
    assert stage.get("/a").text == "anew"


@pytest.mark.parametrize("asked", ["no-cache", "max-age=0", "max-age=1000", "min-fresh=1"])
def test_who_asks_for_a_fresh_page_gets_no_stale_one_while_it_is_revalidated(
    scenario: MakeScenario, asked: str
) -> None:
    stage = aged(scenario, STALE_AT + 1, "max-age=60, stale-while-revalidate=60")
    assert stage.get("/a", wish(asked)).text == "anew"


def test_a_wish_that_stale_pages_fulfil_is_served_while_one_refresh_runs(
    scenario: MakeScenario,
) -> None:
    stage = aged(scenario, STALE_AT + 1, "max-age=60, stale-while-revalidate=60")
    assert stage.get("/a", wish("no-transform")).text == "page"
    until(lambda: stage.cache.statistics()["admitted"] == 2)
    assert stage.get("/a").text == "anew"
