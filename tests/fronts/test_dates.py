"""``Date`` and ``Age``: what pages carry, who adds it, and that both together tell the truth.

RFC 9110 §6.6.1, RFC 9111 §4.2.3 and §5.1.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pagegen import ConfigError, PageCache, Rule
from pagegen.asgi.responses import server_dates as asgi_dates
from pagegen.fields import format_http_date, http_date
from pagegen.testing import Answer, FakeClock, Reply, Scenario, call_asgi, call_wsgi
from pagegen.testing import environ as make_environ
from pagegen.testing import scope as make_scope
from pagegen.wsgi.responses import server_dates as wsgi_dates
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import until

OPEN = Rule(path="/page", share="public")
TTL = Rule(path="/ttl", share="public", ttl=60, swr=60)
FRESH = ("Cache-Control", "max-age=60")
TAG = ("ETag", '"1"')
NOW = FakeClock().time


def dates(answer: Answer) -> list[str]:
    return [value for name, value in answer.fields if name.lower() == "date"]


def at(seconds: float) -> str:
    """The date so many seconds after the tests' clock began."""
    return format_http_date(NOW + seconds)


def stands(answer: Answer, seconds: float) -> bool:
    """Whether there is one Date, and it is of this moment."""
    return dates(answer) == [at(seconds)]


def with_date(
    stage: Scenario, *fields: tuple[str, str], body: Any = b"hello", ago: float | None = None
) -> None:
    """Answer with a Date of so long ago, or with none."""

    def handler(seen: Any) -> Reply:
        said = [] if ago is None else [("Date", format_http_date(stage.clock() - ago))]
        return Reply(body, fields=[*said, *fields])

    stage.handler = handler


def current_age(answer: Answer, now: float) -> float:
    """The age that a cache in front of us computes (RFC 9111 §4.2.3), with no time on the way."""
    (said,) = dates(answer)
    moment = http_date(said)
    assert moment is not None
    return max(0.0, now - moment, float(answer.get("age") or 0))


@pytest.mark.parametrize("target", ["/page", "/ttl"])
def test_a_page_keeps_the_date_it_came_with(scenario: MakeScenario, target: str) -> None:
    stage = scenario(OPEN, TTL, date="send")
    with_date(stage, FRESH, TAG, ago=0)
    assert stands(stage.get(target), 0)
    stage.clock.advance(20)
    for answer in (
        stage.get(target),
        stage.request("HEAD", target),
        stage.get(target, {"if-none-match": '"1"'}),
        stage.get(target, {"range": "bytes=0-1"}),
        stage.get(target, {"range": "bytes=9-"}),
        stage.get(target, {"if-match": '"2"'}),
    ):
        assert stands(answer, 0), answer
        assert answer.get("age") == "20"


@pytest.mark.parametrize("target", ["/page", "/ttl"])
@pytest.mark.parametrize("said", [None, "rubbish", "Thu, 01 Jan 1970 00:00:00 UTC"])
def test_a_page_without_a_date_gets_that_of_its_coming(
    scenario: MakeScenario, target: str, said: str | None
) -> None:
    stage = scenario(OPEN, TTL, date="send")
    more = [] if said is None else [("Date", said)]
    stage.handler = lambda seen: Reply(b"hello", fields=[FRESH, *more])
    assert stands(stage.get(target), 0)
    stage.clock.advance(7)
    hit = stage.get(target)
    assert stands(hit, 0)
    assert hit.get("age") == "7"


def test_a_stale_page_keeps_its_date_and_its_refresh_brings_another(
    scenario: MakeScenario,
) -> None:
    stage = scenario(TTL, date="send")
    with_date(stage, ago=0)
    stage.get("/ttl")
    stage.clock.advance(61)
    stale = stage.get("/ttl")
    assert (stale.trace, stale.get("age")) == ("stale hit", "61")
    assert stands(stale, 0)
    until(lambda: stage.cache.statistics()["admitted"] == 2)
    assert stands(stage.get("/ttl"), 61)


def test_a_page_that_stands_in_for_a_failure_keeps_its_date(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/page", share="public", ttl=60, sie=60), date="send")
    with_date(stage, ago=0)
    stage.get("/page")
    stage.clock.advance(61)
    stage.handler = lambda seen: Reply(b"down", 503, [("Date", at(61))])
    rescued = stage.get("/page")
    assert (rescued.body, rescued.get("age")) == (b"hello", "61")
    assert stands(rescued, 0)


@pytest.mark.parametrize("dated", [True, False])
def test_a_page_that_a_304_freshened_is_as_old_as_that(
    scenario: MakeScenario, *, dated: bool
) -> None:
    stage = scenario(OPEN, date="send")
    with_date(stage, FRESH, TAG, ago=0)
    stage.get("/page")
    stage.clock.advance(100)
    said = [("Date", at(99))] if dated else []
    stage.handler = lambda seen: Reply(b"", 304, [FRESH, TAG, *said])
    fresh = stage.get("/page")
    assert fresh.status == 200
    assert stands(fresh, 99 if dated else 100)
    stage.clock.advance(10)
    hit = stage.get("/page")
    assert stands(hit, 99 if dated else 100)
    assert hit.get("age") == ("11" if dated else "10")


@pytest.mark.parametrize("date", ["send", "leave"])
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("body", [b"hello", [b"hel", b"lo"]], ids=["at once", "in pieces"])
def test_the_setting_says_who_dates_a_page(
    scenario: MakeScenario, date: str, body: Any, *, said: bool
) -> None:
    stage = scenario(OPEN, date=date)
    with_date(stage, FRESH, TAG, body=body, ago=0 if said else None)
    expect = [at(0)] if date == "send" else []
    answers = [
        stage.get("/page"),
        stage.get("/page"),
        stage.request("HEAD", "/page"),
        stage.get("/page", {"if-none-match": '"1"'}),
        stage.get("/page", {"range": "bytes=0-1"}),
    ]
    assert [dates(answer) for answer in answers] == [expect] * 5


@pytest.mark.parametrize("pieces", [False, True], ids=["at once", "in pieces"])
@pytest.mark.parametrize("path", ["/page", "/refused"])
def test_where_the_cache_dates_every_forward_has_one_date(
    scenario: MakeScenario, path: str, *, pieces: bool
) -> None:
    rules = (OPEN, Rule(path="/refused", share="public"))
    stage = scenario(*rules, date="send")
    body: Any = [b"hel", b"lo"] if pieces else b"hello"
    control = FRESH if path == "/page" else ("Cache-Control", "no-store")
    for said in ([], [("Date", at(0))]):
        stage.handler = lambda seen, said=said: Reply(body, fields=[control, *said])
        assert stands(stage.get(path), 0), said
        stage.post(path)


def test_a_head_request_that_is_forwarded_has_a_date(scenario: MakeScenario) -> None:
    stage = scenario(OPEN, date="send")
    with_date(stage, FRESH, TAG)
    stage.get("/page")
    stage.clock.advance(61)
    assert stands(stage.request("HEAD", "/page"), 61)
    assert stage.renders == 2


def test_a_bypass_is_dated_by_the_application_and_the_server_alone(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN, date="send")
    with_date(stage, ago=None)
    assert dates(stage.get("/elsewhere")) == []
    with_date(stage, ago=5)
    assert dates(stage.get("/elsewhere")) == [at(-5)]


def test_a_setting_that_is_none_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="date"):
        PageCache([OPEN], date="never")


# What the server adds ------------------------------------------------------------------------


class Cycle:
    """What stands behind ``send`` in uvicorn: the fields that it adds to every response."""

    def __init__(self, *names: bytes) -> None:
        self.default_headers = [(name, b"x") for name in names]

    async def send(self, message: Any) -> None: ...


async def nameless(message: Any) -> None: ...


def test_of_uvicorn_it_is_seen_whether_it_dates() -> None:
    assert asgi_dates(Cycle(b"server", b"date").send)
    assert asgi_dates(Cycle(b"Date").send)
    assert not asgi_dates(Cycle(b"server").send)
    assert not asgi_dates(Cycle().send)


def test_other_asgi_servers_are_taken_to_date_and_of_the_others_gunicorn() -> None:
    assert asgi_dates(nameless)
    assert wsgi_dates({"SERVER_SOFTWARE": "gunicorn/27.0.1"})
    assert not wsgi_dates({"SERVER_SOFTWARE": "waitress"})
    assert not wsgi_dates({})


@pytest.mark.parametrize(
    ("software", "expect"), [("gunicorn/27.0.1", []), ("mod_wsgi/5", [at(0)]), (None, [at(0)])]
)
@pytest.mark.parametrize("front", ["wsgi"])
def test_auto_asks_the_environ(
    scenario: MakeScenario, software: str | None, expect: list[str]
) -> None:
    stage = scenario(OPEN)
    with_date(stage, FRESH, ago=None)
    made = {"SERVER_SOFTWARE": software} if software else {}
    for _ in range(2):
        answer = call_wsgi(stage.wsgi, make_environ("GET", "/page") | made)
        assert dates(answer) == expect


@pytest.mark.parametrize("front", ["asgi"])
@pytest.mark.parametrize("adds", [True, False])
def test_auto_looks_behind_send(scenario: MakeScenario, *, adds: bool) -> None:
    stage = scenario(OPEN)
    with_date(stage, FRESH, ago=None)
    heads: list[Any] = []

    class Server(Cycle):
        async def send(self, message: Any) -> None:
            heads.extend(message.get("headers", ()))

    async def nothing() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    server = Server(*([b"date"] if adds else []))
    assert stage._loop is not None
    for _ in range(2):
        stage._loop.run(stage.asgi(make_scope("GET", "/page"), nothing, server.send))
    expect = [] if adds else [at(0).encode()] * 2
    assert [value for name, value in heads if name == b"date"] == expect
    assert stage._loop.run(call_asgi(stage.asgi, make_scope("GET", "/page"))).get("age") == "0"


# Age -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"hello", [b"hel", b"lo"]], ids=["at once", "in pieces"])
def test_the_age_of_an_upstream_passes_on_a_miss_and_adds_up_on_a_hit(
    scenario: MakeScenario, body: Any
) -> None:
    stage = scenario(OPEN, date="send")
    stage.handler = lambda seen: Reply(
        body, fields=[FRESH, ("Age", "40"), ("Date", format_http_date(stage.clock() - 40))]
    )
    first = stage.get("/page")
    assert first.get("age") == "40"
    assert stands(first, -40)
    stage.clock.advance(15)
    hit = stage.get("/page")
    assert (hit.trace, hit.get("age")) == ("hit", "55")
    assert stands(hit, -40)
    stage.clock.advance(5)
    stage.get("/page")
    assert stage.renders == 2


def test_an_old_date_is_an_age_too(scenario: MakeScenario) -> None:
    stage = scenario(OPEN, date="send")
    with_date(stage, FRESH, ago=40)
    stage.get("/page")
    stage.clock.advance(10)
    hit = stage.get("/page")
    assert hit.get("age") == "50"
    assert current_age(hit, stage.clock()) == 50
    stage.clock.advance(10)
    assert stage.get("/page").trace == "stale, stored"


def test_the_greater_of_date_and_age_counts(scenario: MakeScenario) -> None:
    for ago, age, expect in ((40, "10", "40"), (10, "40", "40")):
        stage = scenario(OPEN, date="send")
        with_date(stage, FRESH, ("Age", age), ago=ago)
        stage.get("/page")
        assert stage.get("/page").get("age") == expect


def test_a_date_ahead_of_our_clock_makes_no_page_younger(scenario: MakeScenario) -> None:
    stage = scenario(OPEN, date="send")
    with_date(stage, FRESH, ago=-1000)
    stage.get("/page")
    stage.clock.advance(59)
    assert stage.get("/page").get("age") == "59"
    stage.clock.advance(1)
    assert stage.get("/page").trace == "stale, stored"


@pytest.mark.parametrize("age", ["-5", "x", "1.5", ""])
def test_an_age_that_is_none_counts_nothing(scenario: MakeScenario, age: str) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(b"hello", fields=[FRESH, ("Age", age)])
    stage.get("/page")
    assert stage.get("/page").get("age") == "0"


def test_the_time_that_the_application_took_is_part_of_a_pages_age(
    scenario: MakeScenario,
) -> None:
    """Its Age was true when it began to answer (RFC 9111 §4.2.3)."""
    stage = scenario(Rule(path="/page", share="public", early=False), date="send")

    def slow(seen: Any) -> Reply:
        stage.clock.advance(8)
        return Reply(b"hello", fields=[FRESH, ("Age", "40")])

    stage.handler = slow
    assert stage.get("/page").get("age") == "48"
    assert stage.get("/page").get("age") == "48"
    stage.clock.advance(11)
    assert stage.get("/page").get("age") == "59"
    stage.clock.advance(1)
    assert stage.get("/page").trace == "stale, stored"


def test_a_rules_own_time_counts_from_the_storing_and_age_tells_the_whole(
    scenario: MakeScenario,
) -> None:
    stage = scenario(TTL)

    def slow(seen: Any) -> str:
        stage.clock.advance(8)
        return "hello"

    stage.handler = slow
    stage.get("/ttl")
    stage.clock.advance(59)
    hit = stage.get("/ttl")
    assert (hit.trace, hit.get("age")) == ("hit", "67")


def test_a_clock_that_was_set_back_gives_no_negative_age(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    with_date(stage, FRESH, ago=0)
    stage.get("/page")
    stage.clock.advance(-3600)
    assert stage.get("/page").get("age") == "0"


@pytest.mark.parametrize("date", ["send", "leave"])
def test_a_cache_in_front_computes_the_age_that_the_page_has(
    scenario: MakeScenario, date: str
) -> None:
    """With the page's own Date, and with one that a server adds of the moment it sends."""
    stage = scenario(OPEN, date=date)
    with_date(stage, FRESH, ("Age", "7"), ago=7)

    def told(answer: Answer) -> float:
        added = () if date == "send" else (("Date", format_http_date(stage.clock())),)
        return current_age(Answer(answer.status, (*answer.fields, *added), ()), stage.clock())

    for seconds, expect in ((0, 7), (0, 7), (13, 20), (39, 59)):
        stage.clock.advance(seconds)
        assert told(stage.get("/page")) == expect
    assert stage.renders == 1


def test_all_who_waited_get_date_and_age_of_the_page_they_waited_for(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN, date="send")
    entered, gate = threading.Event(), threading.Event()

    def handler(seen: Any) -> Reply:
        entered.set()
        assert gate.wait(30)
        return Reply(b"hello", fields=[FRESH, ("Age", "40"), ("Date", at(-40))])

    stage.handler = handler
    answers: list[Answer] = []

    def ask() -> None:
        answers.append(stage.get("/page"))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    until(lambda: stage.cache.statistics()["flights_waiting"] == 2)
    gate.set()
    for thread in threads:
        thread.join(30)
    assert sorted(answer.trace for answer in answers) == ["collapsed", "collapsed",
                                                          "uri-miss, stored"]  # fmt: skip
    assert all(stands(answer, -40) and answer.get("age") == "40" for answer in answers)
