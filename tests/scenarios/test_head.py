"""HEAD: answered from a stored GET, never stored, and a word on the stored page (§4.3.5)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagegen import Rule
from pagegen.testing import PATIENCE, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate
from tests.scenarios.test_http_mode import OPEN, at, reply
from tests.scenarios.test_validation import CONDITIONS
from tests.scenarios.test_wishes import wish

RULES = pytest.mark.parametrize(
    "rule", [OPEN, Rule(path="/**", share="public", ttl=60)], ids=["http", "keyed"]
)


class Site:
    """An application that answers HEAD as it would GET, without the body."""

    def __init__(self, body: str = "page", **said: str) -> None:
        self.body = body
        self.said = {"cache_control": "max-age=60", "etag": '"1"', **said}
        self.seen: list[tuple[str, bool]] = []

    def __call__(self, seen: Seen) -> Reply:
        self.seen.append((seen.method, any(name in seen.fields for name in CONDITIONS)))
        said = {name: value for name, value in self.said.items() if value}
        if seen.method == "HEAD":
            return reply("", content_length=str(len(self.body)), **said)
        return reply(self.body, **said)


def staged(
    scenario: MakeScenario, rule: Rule = OPEN, *, seconds: float = 60, **said: str
) -> tuple[Scenario, Site]:
    """A page that was stored so many seconds ago."""
    stage = scenario(rule)
    stage.handler = site = Site(**said)
    stage.get("/a")
    stage.clock.advance(seconds)
    site.seen.clear()
    return stage, site


@RULES
def test_a_fresh_page_answers_head_with_the_length_of_its_body(
    scenario: MakeScenario, rule: Rule
) -> None:
    stage, site = staged(scenario, rule, seconds=10)
    full, head = stage.get("/a"), stage.request("HEAD", "/a")
    assert (head.status, head.trace, head.body, head.get("age")) == (200, "hit", b"", "10")
    assert head.get("content-length") == "4"
    assert head.fields == full.fields
    assert site.seen == []


def test_a_conditional_head_is_answered_304_and_412(scenario: MakeScenario) -> None:
    stage, _ = staged(scenario, seconds=10)
    known = stage.request("HEAD", "/a", {"if-none-match": '"1"'})
    assert (known.status, known.get("etag"), known.body) == (304, '"1"', b"")
    failed = stage.request("HEAD", "/a", {"if-match": '"2"'})
    assert (failed.status, failed.body) == (412, b"")
    whole = stage.request("HEAD", "/a", {"range": "bytes=0-0"})
    assert (whole.status, whole.get("content-length")) == (200, "4")


@RULES
def test_a_head_that_finds_nothing_goes_on_untouched_and_stores_nothing(
    scenario: MakeScenario, rule: Rule
) -> None:
    stage = scenario(rule)
    stage.handler = site = Site()
    theirs = {"if-none-match": '"1"'}
    for _ in range(2):
        answer = stage.request("HEAD", "/a", theirs)
        assert (answer.trace, answer.get("content-length")) == ("bypass: head-miss", "4")
    assert site.seen == [("HEAD", True)] * 2
    assert stage.get("/a").trace == "uri-miss, stored"


@RULES
def test_a_head_that_agrees_freshens_the_expired_page(scenario: MakeScenario, rule: Rule) -> None:
    stage, site = staged(scenario, rule, x_state="old")
    site.said["x_state"] = "new"
    head = stage.request("HEAD", "/a", {"if-none-match": '"other"'})
    assert (head.status, head.body, head.get("x-state")) == (200, b"", "new")
    assert head.get("content-length") == "4"
    stage.clock.advance(59)
    answer = stage.get("/a")
    assert (answer.trace, answer.text, answer.get("age")) == ("hit", "page", "59")
    assert (answer.get("x-state"), answer.get("content-length")) == ("new", "4")
    # A HEAD is no question about the page: the client's condition is ours to answer.
    assert site.seen == [("HEAD", False)]


@RULES
def test_a_head_that_agrees_is_a_304_to_who_has_the_page(
    scenario: MakeScenario, rule: Rule
) -> None:
    stage, site = staged(scenario, rule, x_state="old")
    head = stage.request("HEAD", "/a", {"if-none-match": '"1"'})
    assert (head.status, head.body, head.get("content-length")) == (304, b"", None)
    assert site.seen == [("HEAD", False)]
    assert stage.get("/a").trace == "hit"


@pytest.mark.parametrize(
    ("validators", "later"),
    [
        ({}, {"etag": '"2"'}),
        ({"etag": "", "last_modified": at(-99)}, {"last_modified": at(-9)}),
        ({"etag": ""}, {"etag": '"2"'}),
    ],
    ids=["tag", "date", "a tag where none was"],
)
def test_a_head_about_another_page_makes_the_stored_one_go(
    scenario: MakeScenario, validators: dict[str, str], later: dict[str, str]
) -> None:
    stage, site = staged(scenario, seconds=10, **validators)
    site.said.update(later)
    stage.request("HEAD", "/a", wish("no-cache"))
    assert stage.get("/a").trace == "uri-miss, stored"


def test_a_head_with_another_length_makes_the_page_go(scenario: MakeScenario) -> None:
    stage, site = staged(scenario)
    site.body = "longer"
    head = stage.request("HEAD", "/a")
    assert (head.get("content-length"), head.body) == ("6", b"")
    assert (stage.get("/a").text, site.seen) == ("longer", [("HEAD", False), ("GET", False)])


def test_a_head_that_wants_the_application_asked_freshens_a_fresh_page(
    scenario: MakeScenario,
) -> None:
    stage, site = staged(scenario, seconds=40)
    assert stage.request("HEAD", "/a", wish("no-cache")).get("age") is None
    stage.clock.advance(40)
    assert (stage.get("/a").trace, site.seen) == ("hit", [("HEAD", False)])


@pytest.mark.parametrize("status", [304, 404, 405, 500])
def test_a_head_that_is_not_200_says_nothing_of_the_page(
    scenario: MakeScenario, status: int
) -> None:
    stage, _ = staged(scenario, seconds=40)
    stage.handler = lambda seen: reply("", status, cache_control="max-age=60")
    assert stage.request("HEAD", "/a", wish("no-cache")).status == status
    assert stage.get("/a").get("age") == "40"


def test_a_head_of_an_invalidated_page_freshens_nothing(scenario: MakeScenario) -> None:
    stage, _ = staged(scenario, seconds=10)
    stage.cache.invalidate("url:testserver/a")
    assert stage.request("HEAD", "/a").trace == "bypass: head-miss"
    assert stage.get("/a").trace == "stale, stored"


def test_a_head_whose_page_is_invalidated_meanwhile_freshens_nothing(
    scenario: MakeScenario,
) -> None:
    stage, site = staged(scenario)
    inside, written = threading.Event(), threading.Event()

    def handler(seen: Seen) -> Reply:
        inside.set()
        assert written.wait(PATIENCE)
        return site(seen)

    stage.handler = handler
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(stage.request, "HEAD", "/a")
        assert inside.wait(PATIENCE)
        stage.cache.invalidate("url:testserver/a")
        written.set()
        assert slow.result(PATIENCE).status == 200
    assert stage.get("/a").trace == "stale, stored"


@pytest.mark.parametrize(
    ("control", "status"), [("max-age=60", 503), ("max-age=60, stale-if-error=60", 200)]
)
def test_a_head_that_fails_is_answered_as_a_get_would_be(
    scenario: MakeScenario, control: str, status: int
) -> None:
    stage, _ = staged(scenario, cache_control=control)
    stage.handler = lambda seen: reply("", 503)
    answer = stage.request("HEAD", "/a")
    assert (answer.status, answer.body) == (status, b"")
    if status == 200:
        assert (answer.trace, answer.get("content-length")) == ("stale hit", "4")


def test_a_head_whose_application_raises_gets_the_stale_page(scenario: MakeScenario) -> None:
    stage, _ = staged(scenario)

    def fail(seen: Seen) -> Reply:
        raise RuntimeError("away")

    stage.handler = fail
    answer = stage.request("HEAD", "/a")
    assert (answer.status, answer.trace, answer.body) == (200, "stale hit", b"")


def test_a_head_gets_the_stale_page_in_its_window_and_asks_nobody(
    scenario: MakeScenario,
) -> None:
    stage, site = staged(scenario, cache_control="max-age=60, stale-while-revalidate=60")
    answer = stage.request("HEAD", "/a")
    assert (answer.trace, answer.body, site.seen) == ("hit", b"", [])


def test_a_head_waits_for_nobody_and_nobody_for_it(scenario: MakeScenario) -> None:
    stage, site = staged(scenario)
    gate = stage.handler = Gate(lambda: reply("page", cache_control="max-age=60", etag='"1"'))
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(stage.get, "/a")
        assert gate.entered.wait(PATIENCE)
        stage.handler = site
        assert stage.request("HEAD", "/a").status == 200
        gate.open.set()
        assert slow.result(PATIENCE).status == 200
    assert stage.cache.statistics()["flights_waiting"] == 0


def test_a_head_of_a_variant_speaks_of_that_variant(scenario: MakeScenario) -> None:
    stage, site = staged(scenario, seconds=30, vary="Accept-Language")
    german = {"accept-language": "de"}
    stage.get("/a", german)
    site.said["etag"] = '"2"'
    assert stage.request("HEAD", "/a", {**german, **wish("no-cache")}).get("etag") == '"2"'
    assert stage.get("/a").trace == "hit"
    assert stage.get("/a", german).trace == "vary-miss, stored"


def test_a_head_of_a_coded_page_tells_the_length_of_the_coding(scenario: MakeScenario) -> None:
    rule = Rule(path="/**", share="public", mode="http", compress=["gzip"])
    stage, _ = staged(scenario, rule, seconds=0, body="word " * 400, content_type="text/plain")
    accepts = {"accept-encoding": "gzip"}
    full, head = stage.get("/a", accepts), stage.request("HEAD", "/a", accepts)
    assert head.get("content-length") == str(len(full.body))
    assert (head.fields, head.body) == (full.fields, b"")


def test_a_head_that_streams_no_body_ends_with_its_head(scenario: MakeScenario) -> None:
    stage, _ = staged(scenario)
    stage.handler = lambda seen: Reply([b"", b""], 200, [("ETag", '"1"'), ("Content-Length", "4")])
    answer = stage.request("HEAD", "/a")
    assert (answer.status, answer.get("content-length"), answer.body) == (200, "4", b"")
