"""``Cache-Status`` on demand: for whoever sends a signed ``Pagegen-Debug`` (RFC 9211 §6)."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import http_sf
import pytest

from pagegen import ConfigError, Rule
from pagegen.testing import PATIENCE, Answer, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import until

OPEN = Rule(path="/open", share="public")
KEYED = Rule(path="/keyed", share="public", ttl=60, swr=60, namespaces=["page"])
RULES = (OPEN, KEYED)
SECRET: Final = "a secret of sixteen and more"
FRESH = ("Cache-Control", "max-age=60")
TAG = ("ETag", '"1"')
BOTH = pytest.mark.parametrize("target", ["/open", "/keyed"])


def silent(scenario: MakeScenario, **options: Any) -> Scenario:
    """A site that says nothing of its cache, unless it is asked by those who may."""
    stage = scenario(*RULES, **{"cache_status": False, "site_key": SECRET} | options)
    stage.handler = lambda seen: Reply(b"hello", fields=[FRESH, TAG])
    return stage


def asking(stage: Scenario, **more: str) -> dict[str, str]:
    name, value = stage.cache.debug_header()
    return {name: value, **more}


def told(answer: Answer) -> Mapping[str, Any]:
    """The parameters of our member, the last of the list."""
    value = answer.get("cache-status")
    assert value is not None
    name, parameters = http_sf.parse(value.encode("ascii"), tltype="list")[-1]
    assert str(name) == "pagegen"
    return {key: str(value) if isinstance(value, http_sf.Token) else value
            for key, value in parameters.items()}  # fmt: skip


def keyed(answer: Answer) -> bool:
    return bool(re.fullmatch("[0-9a-f]{16,}", str(told(answer).get("key", ""))))


@BOTH
def test_it_is_off_by_default(scenario: MakeScenario, target: str) -> None:
    stage = silent(scenario)
    answers = [stage.get(target), stage.get(target), stage.get("/elsewhere"), stage.post(target)]
    assert [answer.get("cache-status") for answer in answers] == [None] * 4


@BOTH
@pytest.mark.parametrize("pieces", [False, True], ids=["at once", "in pieces"])
def test_whoever_may_sees_what_happened_and_the_key(
    scenario: MakeScenario, target: str, *, pieces: bool
) -> None:
    stage = silent(scenario)
    body: Any = [b"hel", b"lo"] if pieces else b"hello"
    stage.handler = lambda seen: Reply(body, fields=[FRESH, TAG])
    first = stage.get(target, asking(stage))
    assert told(first)["fwd"] == "uri-miss"
    assert keyed(first)
    hit = stage.get(target, asking(stage))
    assert told(hit)["hit"] is True
    assert told(hit)["ttl"] == 60
    assert told(hit)["key"] == told(first)["key"]
    assert stage.get(target).get("cache-status") is None


@BOTH
def test_every_form_of_a_page_tells(scenario: MakeScenario, target: str) -> None:
    stage = silent(scenario)
    stage.get(target)
    for method, fields, status in (
        ("HEAD", {}, 200),
        ("GET", {"if-none-match": '"1"'}, 304),
        ("GET", {"range": "bytes=0-1"}, 206),
        ("GET", {"range": "bytes=9-"}, 416),
        ("GET", {"if-match": '"2"'}, 412),
    ):
        answer = stage.request(method, target, asking(stage, **fields))
        assert answer.status == status
        assert told(answer)["hit"] is True
        assert keyed(answer)
        assert stage.request(method, target, fields).get("cache-status") is None


def test_a_site_that_says_what_happened_still_keeps_the_key_for_those_who_ask(
    scenario: MakeScenario,
) -> None:
    stage = silent(scenario, cache_status=True)
    for target in ("/open", "/keyed"):
        stage.get(target)
        assert "key" not in told(stage.get(target))
        assert keyed(stage.get(target, asking(stage)))


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1] + ("0" if value[-1] != "0" else "1"),
        lambda value: "9" + value,
        lambda value: value + " ",
        lambda value: value.upper(),
        lambda value: f"{value}, {value}",
        lambda value: value.partition(".")[2],
        lambda value: "",
        lambda value: "x" * 100_000,
        lambda value: "2000000000." + "0" * 32,
    ],
    ids=["mac", "expiry", "space", "case", "twice", "no expiry", "empty", "long", "guess"],
)
def test_a_value_that_is_not_ours_says_nothing(scenario: MakeScenario, change: Any) -> None:
    stage = silent(scenario)
    name, value = stage.cache.debug_header()
    assert change(value) != value
    for target in ("/open", "/keyed", "/elsewhere"):
        for _ in range(2):
            answer = stage.get(target, {name: change(value)})
            assert (answer.status, answer.get("cache-status")) == (200, None)


def test_a_value_ends(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    fields = dict([stage.cache.debug_header("2m")])
    stage.clock.advance(119)
    assert told(stage.get("/open", fields))
    stage.clock.advance(1)
    assert stage.get("/open", fields).get("cache-status") is None


def test_a_value_of_another_site_or_key_says_nothing(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    for options in ({"site": "another"}, {"site_key": "another secret of length"}):
        other = silent(scenario, **options)
        assert other.get("/open", asking(stage)).get("cache-status") is None
        assert told(other.get("/open", asking(other)))


def test_without_a_site_key_there_is_no_such_header(scenario: MakeScenario) -> None:
    stage = silent(scenario, site_key="")
    with pytest.raises(ConfigError, match="site_key"):
        stage.cache.debug_header()
    assert stage.get("/open", {"Pagegen-Debug": "1." + "0" * 32}).get("cache-status") is None


def test_the_validity_is_at_most_a_day(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    assert stage.cache.debug_header("24h")[0] == "Pagegen-Debug"
    for wrong in (0, "25h"):
        with pytest.raises(ValueError, match="day"):
            stage.cache.debug_header(wrong)


@BOTH
def test_no_handler_of_a_page_sees_the_header(scenario: MakeScenario, target: str) -> None:
    stage = silent(scenario)
    seen_names: set[str] = set()

    def handler(seen: Seen) -> Reply:
        seen_names.update(seen.fields)
        return Reply(b"hello", fields=[FRESH, TAG])

    stage.handler = handler
    fields = asking(stage, **{"x-mine": "1"})
    stage.get(target, fields)
    stage.clock.advance(200)
    stage.get(target, fields)
    assert stage.renders == 2
    assert "pagegen-debug" not in seen_names


def test_no_page_varies_by_the_header(scenario: MakeScenario) -> None:
    """Otherwise whoever looks for a fault would not see what visitors see."""
    stage = silent(scenario)
    stage.handler = lambda seen: Reply(b"x", fields=[FRESH, ("Vary", "Pagegen-Debug, Accept")])
    stage.get("/open")
    assert told(stage.get("/open", asking(stage)))["hit"] is True


@BOTH
@pytest.mark.parametrize("pieces", [False, True], ids=["at once", "in pieces"])
def test_what_caches_nearer_to_the_application_said_stays_first(
    scenario: MakeScenario, target: str, *, pieces: bool
) -> None:
    stage = silent(scenario)
    body: Any = [b"hel", b"lo"] if pieces else b"hello"
    near = ("Cache-Status", 'Origin; hit, Shield; fwd=uri-miss; key="a, b"')
    stage.handler = lambda seen: Reply(body, fields=[FRESH, near])
    for _ in range(2):
        value = stage.get(target, asking(stage)).get("cache-status")
        assert value is not None
        members = http_sf.parse(value.encode(), tltype="list")
        assert [str(member[0]) for member in members] == ["Origin", "Shield", "pagegen"]
        assert stage.get(target).get("cache-status") == near[1]
    bypass = stage.get("/elsewhere", asking(stage)).get("cache-status") or ""
    assert bypass.startswith(f"{near[1]}, pagegen; fwd=bypass")


def test_a_bypass_and_a_write_have_no_key(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    assert told(stage.get("/elsewhere", asking(stage))) == {"fwd": "bypass", "detail": "no-rule"}
    assert told(stage.post("/open", asking(stage))) == {"fwd": "method", "detail": "method"}


def test_what_the_cache_makes_up_itself_has_no_member(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    answer = stage.get("/open", asking(stage, **{"cache-control": "only-if-cached"}))
    assert (answer.status, answer.get("cache-status")) == (504, None)


def test_a_refusal_names_its_reason(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    stage.handler = lambda seen: Reply(b"x", fields=[("Cache-Control", "no-store")])
    answer = stage.get("/open", asking(stage))
    assert told(answer)["detail"] == "refused-no-store"
    assert "stored" not in told(answer)


def test_a_forgotten_page_names_the_namespace(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    stage.get("/keyed")
    stage.cache.invalidate("page")
    answer = stage.get("/keyed", asking(stage))
    assert (told(answer)["fwd"], told(answer)["detail"]) == ("stale", "changed: page")
    assert told(answer)["stored"] is True


def test_a_stale_page_and_a_validated_one_tell(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    stage.get("/keyed")
    stage.clock.advance(90)
    stale = told(stage.get("/keyed", asking(stage)))
    assert (stale["hit"], stale["ttl"]) == (True, -30)
    until(lambda: stage.cache.statistics()["admitted"] == 2)
    stage.get("/open")
    stage.clock.advance(61)
    stage.handler = lambda seen: Reply(b"", 304, [FRESH, TAG])
    answer = stage.get("/open", asking(stage))
    assert answer.status == 200
    assert (told(answer)["fwd"], told(answer)["fwd-status"]) == ("stale", 304)
    assert keyed(answer)


def test_a_page_that_stands_in_for_a_failure_tells_of_it(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    control = ("Cache-Control", "max-age=9, stale-if-error=9")
    stage.handler = lambda seen: Reply(b"x", fields=[control])
    stage.get("/open")
    stage.clock.advance(10)
    stage.handler = lambda seen: Reply(b"down", 503)
    answer = told(stage.get("/open", asking(stage)))
    assert (answer["fwd"], answer["fwd-status"], answer["ttl"]) == ("stale", 503, -1)
    assert answer["detail"] == "stale-if-error"
    assert answer["key"]


def test_of_two_who_wait_only_the_one_who_asked_is_told(scenario: MakeScenario) -> None:
    stage = silent(scenario)
    entered, gate = threading.Event(), threading.Event()

    def handler(seen: Seen) -> Reply:
        entered.set()
        assert gate.wait(PATIENCE)
        return Reply(b"hello", fields=[FRESH])

    stage.handler = handler
    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(stage.get, "/open")
        assert entered.wait(PATIENCE)
        asked = pool.submit(stage.get, "/open", asking(stage))
        other = pool.submit(stage.get, "/open")
        until(lambda: stage.cache.statistics()["flights_waiting"] == 2)
        gate.set()
        assert leader.result(PATIENCE).get("cache-status") is None
        assert other.result(PATIENCE).get("cache-status") is None
        assert told(asked.result(PATIENCE))["collapsed"] is True


def test_a_refresh_behind_a_stale_page_tells_nobody(scenario: MakeScenario) -> None:
    """It runs with the request of whoever came, and its page is everybody's."""
    stage = silent(scenario)
    stage.get("/keyed")
    stage.clock.advance(61)
    stage.get("/keyed", asking(stage))
    until(lambda: stage.cache.statistics()["admitted"] == 2)
    assert stage.get("/keyed").get("cache-status") is None
