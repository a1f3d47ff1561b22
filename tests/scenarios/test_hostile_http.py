"""What a hostile reading of the HTTP law found: each test was red before its mend."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pagegen import PageCache, Rule
from pagegen.messages import StoredResponse
from pagegen.sources import Sources
from pagegen.stores import MemoryStore, NearStore, Reading
from pagegen.testing import (
    PATIENCE,
    FakeClock,
    Front,
    Reply,
    Scenario,
    Seen,
    call_asgi,
    call_wsgi,
    environ,
    scope,
)
from pagegen.wsgi import PageCacheMiddleware
from tests.conftest import MakeScenario
from tests.engine.test_shared_regressions import Slow
from tests.scenarios.test_collapse import until, waiting
from tests.scenarios.test_http_mode import OPEN, reply

MINUTE = "max-age=60"
TAGGED = Rule(path="/a", share="public", ttl=60, groups=True)


# --- Resurrection -------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [OPEN, TAGGED], ids=["http", "keyed"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_page_that_was_found_good_is_still_forgotten_by_the_tags_of_its_making(
    scenario: MakeScenario, rule: Rule, method: str
) -> None:
    stage = scenario(rule)

    def handler(seen: Seen) -> Reply:
        if "if-none-match" in seen.fields:
            return reply("", 304, etag='"1"', cache_control=MINUTE)
        if seen.method == "GET":
            stage.cache.tag("item:7")  # known only to who renders
        return reply("page", etag='"1"', cache_control=MINUTE)

    stage.handler = handler
    stage.get("/a")
    stage.clock.advance(61)
    stage.request(method, "/a")
    assert stage.get("/a").trace == "hit"
    stage.cache.invalidate("item:7")
    assert stage.get("/a").trace == "stale, stored"


def test_a_cache_without_rules_forgets_pages_that_are_being_rendered_too(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    # A worker's: it has the store alone, and nothing but writes.
    other = PageCache((), store=stage.cache.engine.store, sources=Sources(now=stage.clock))

    def handler(seen: Seen) -> Reply:
        if stage.renders == 1:
            other.invalidate("item:7")
        stage.cache.tag("item:7")
        return reply(f"page {stage.renders}", cache_control=MINUTE)

    stage.handler = handler
    assert stage.get("/a").trace == "refused-sequence"
    assert stage.get("/a").text == "page 2"


# --- Isolation ----------------------------------------------------------------------------------


def test_a_vary_that_names_a_field_with_an_underscore_is_not_stored(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)

    def handler(seen: Seen) -> Reply:
        # A WSGI application that reads its environ names the field so.
        who = seen.context.get("HTTP_X_WHO", seen.fields.get("x-who"))
        return reply(f"for {who}", vary="X_Who", cache_control=MINUTE)

    stage.handler = handler
    assert stage.get("/a", {"x-who": "eve"}).text == "for eve"
    assert stage.get("/a").text == "for None"


def test_a_field_with_an_underscore_does_not_stand_in_for_the_one_that_selects() -> None:
    with Scenario("asgi", [OPEN]) as stage:

        def handler(seen: Seen) -> Reply:
            # As a WSGI application behind an ASGI server reads its request.
            merged = {name.replace("_", "-"): value for name, value in seen.fields.items()}
            language = merged.get("accept-language")
            return reply(f"in {language}", vary="Accept-Language", cache_control=MINUTE)

        stage.handler = handler
        stage.get("/a", {"accept_language": "xx"})
        assert stage.get("/a").text == "in None"


def test_a_length_with_an_underscore_does_not_become_the_requests_own() -> None:
    with Scenario("wsgi", [OPEN]) as stage:
        lengths: list[Any] = []

        def handler(seen: Seen) -> Reply:
            lengths.extend(seen.context.get(name) for name in ("CONTENT_LENGTH", "CONTENT_TYPE"))
            return reply("page", cache_control=MINUTE)

        stage.handler = handler
        made = environ("GET", "/a")
        made |= {"HTTP_CONTENT_LENGTH": "5", "HTTP_CONTENT_TYPE": "application/json"}
        call_wsgi(stage.wsgi, made)
        assert lengths == [None, None]


# --- The site stays up --------------------------------------------------------------------------


class GoneError(Exception):
    """What an application raises here."""


class Failing(list[bytes]):
    """A response of WSGI that cannot be closed."""

    def close(self) -> None:
        raise GoneError


def _wsgi_confused(made: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("304 Not Modified", [("ETag", '"other"')])
    return Failing()


async def _asgi_confused(made: Any, receive: Any, send: Any) -> None:
    head = [(b"etag", b'"other"')]
    await send({"type": "http.response.start", "status": 304, "headers": head})
    await send({"type": "http.response.body", "body": b""})
    raise GoneError


def test_an_application_that_raises_behind_a_304_for_another_page_leaves_nobody_waiting(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(etag='"1"', cache_control=f"{MINUTE}, must-revalidate")
    stage.get("/a")
    stage.clock.advance(61)
    stage.wsgi.app, stage.asgi.app = _wsgi_confused, _asgi_confused
    with pytest.raises(GoneError):
        stage.get("/a")
    assert stage.cache.statistics()["flights_flying"] == 0


def test_a_client_that_goes_behind_a_304_for_another_page_leaves_nobody_waiting() -> None:
    with Scenario("asgi", [OPEN]) as stage:
        stage.handler = lambda seen: reply(etag='"1"', cache_control=MINUTE)
        stage.get("/a")
        stage.clock.advance(61)

        async def leave() -> None:
            answered = asyncio.Event()

            async def app(made: Any, receive: Any, send: Any) -> None:
                head = [(b"etag", b'"other"')]
                await send({"type": "http.response.start", "status": 304, "headers": head})
                await send({"type": "http.response.body", "body": b""})
                answered.set()
                await asyncio.Event().wait()

            stage.asgi.app = app
            task = asyncio.create_task(call_asgi(stage.asgi, scope("GET", "/a")))
            await answered.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(leave())
        assert stage.cache.statistics()["flights_flying"] == 0


def _varied(groups: str) -> Any:
    def app(made: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        fields = [("Vary", "Accept-Language"), ("Cache-Groups", groups), ("Cache-Control", MINUTE)]
        start_response("200 OK", fields)
        return [b"page"]

    return app


@pytest.mark.parametrize("groups", ["", '"a", "b"'], ids=["no-groups", "groups"])
@pytest.mark.parametrize("language", ["en", "de"], ids=["known", "new"])
@pytest.mark.parametrize("process", [0, 1], ids=["learned", "fresh"])
@pytest.mark.parametrize("seconds", [0.05, 0.031, 0.029, 0.021, 0.015, 0.011])
def test_a_slow_store_costs_variants_and_groups_no_more_than_other_pages(
    seconds: float, process: int, language: str, groups: str
) -> None:
    clock = FakeClock()
    store = Slow(clock, 0.0)
    sources = Sources(now=clock, monotonic=clock)
    caches = [PageCache([OPEN], store=store, sources=sources) for _ in range(2)]
    apps = [PageCacheMiddleware(_varied(groups), cache=cache) for cache in caches]
    call_wsgi(apps[0], environ("GET", "/a", {"accept-language": "en"}))
    store.seconds, store.spent, store.verbs = seconds, 0.0, []
    made = environ("GET", "/a", {"accept-language": language})
    assert call_wsgi(apps[process], made).status == 200
    assert store.spent <= 0.06, store.verbs


class ReadOnly(MemoryStore):
    """Answers, and keeps no page: a replica, or a server whose memory is full."""

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        raise OSError("read only")


def test_who_waited_for_a_page_in_another_language_does_not_queue_for_the_next(
    scenario: MakeScenario,
) -> None:
    clock = FakeClock()
    stage = scenario(OPEN, store=ReadOnly(now=clock), clock=clock)
    first, open_ = threading.Event(), threading.Event()
    side_by_side = threading.Barrier(4)

    def handler(seen: Seen) -> Reply:
        if seen.fields["accept-language"] == "l0":
            first.set()
            assert open_.wait(PATIENCE)
        else:
            side_by_side.wait(2)
        language = seen.fields["accept-language"]
        return reply(language, vary="Accept-Language", cache_control=MINUTE)

    stage.handler = handler

    def get(number: int) -> str:
        return stage.get("/a", {"accept-language": f"l{number}"}).text

    with ThreadPoolExecutor(5) as pool:
        leader = pool.submit(get, 0)
        assert first.wait(PATIENCE)
        others = [pool.submit(get, number) for number in range(1, 5)]
        until(lambda: waiting(stage) == 4)
        open_.set()
        texts = [leader.result(), *(other.result() for other in others)]
    assert texts == ["l0", "l1", "l2", "l3", "l4"]


#: What caches read, said well and badly: numbers that overflow, dates that do not exist, quotes
#: that nobody closes, and eight kilobytes of each.
SAID = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=30),
    st.sampled_from(['"', ",", ";", "=", "\\", 'a="', "("]).map(lambda text: text * 4096),
    st.sampled_from(
        ["max-age=60", "max-age=99999999999", "max-age=-1", 'private="x', "no-cache", "no-store",
         "s-maxage=1.5", "must-understand", "stale-while-revalidate=60", "stale-if-error=x",
         "only-if-cached", "max-stale", "60", "-60", "Mon, 01 Jan 0001 00:00:00 +2359",
         "Fri, 31 Dec 9999 23:59:59 -2359", "0", '"1"', 'W/"1"', "*", '"\xff"', "1, 2", "cookie",
         "accept, x-a", "bytes=0-0,2-", "bytes=-9", "bytes 0-1/*", "gzip", "//[::1", "/a?b#c",
         "http://testserver:99999/a", '"group", "group"', "close, x-a"]
    ),
)  # fmt: skip
NO_DAY = "Fri, 30 Feb 2024 00:00:00 GMT"
ASKED = [
    "cache-control", "pragma", "range", "if-range", "if-none-match", "if-match", "x-a", "x_a",
    "if-modified-since", "if-unmodified-since", "accept", "authorization", "cookie", "connection",
    "pagegen-debug", "host",
]  # fmt: skip
ANSWERED = [
    "cache-control", "pagegen-cache-control", "cdn-cache-control", "vary", "age", "date", "expires",
    "etag", "last-modified", "content-length", "content-type", "content-encoding", "location",
    "content-range", "accept-ranges", "cache-groups", "cache-group-invalidation", "set-cookie",
    "content-location", "connection", "cache-status",
]  # fmt: skip
VISIT = st.tuples(
    st.sampled_from(["GET", "GET", "HEAD", "POST"]),
    st.dictionaries(st.sampled_from(ASKED), SAID, max_size=4),
    st.sampled_from([200, 200, 304, 304, 404, 204, 206, 503, 599]),
    st.lists(st.tuples(st.sampled_from(ANSWERED), SAID), max_size=6),
    st.sampled_from([0, 1, 61, 4000]),
)


def _saying(answer: Reply, _: Seen) -> Reply:
    return answer


@pytest.mark.parametrize("front", ["wsgi", "asgi"])
@settings(max_examples=60)
@given(visits=st.lists(VISIT, min_size=2, max_size=5))
@example(visits=[("GET", {"if-modified-since": NO_DAY}, 200, [("expires", NO_DAY)], 61)] * 2)
def test_nothing_that_is_said_takes_the_site_down(front: Front, visits: list[Any]) -> None:
    rule = Rule(path="/**", share="public", mode="http", heuristic="1d", compress=["gzip"])
    with Scenario(front, [rule], site_key="a key of sixteen characters") as stage:
        known = {206, 304, 412, 416, 504}  # these are made here
        for method, fields, status, lines, seconds in visits:
            stage.handler = partial(_saying, Reply(b"page" * 200, status, lines))
            known.add(status)  # what is stored may come back later
            assert stage.request(method, "/a", fields).status in known
            stage.clock.advance(seconds)
        until(lambda: stage.cache.statistics()["flights_flying"] == 0)
        assert not stage.cache.statistics().get("store-failed")


# --- Old pages, and work for nothing ------------------------------------------------------------


@pytest.mark.parametrize("rule", [OPEN, Rule(path="/a", share="public", ttl=60)])
def test_a_head_of_the_same_length_alone_keeps_no_page_alive(
    scenario: MakeScenario, rule: Rule
) -> None:
    stage = scenario(rule)
    version = 1

    def handler(seen: Seen) -> Reply:
        body = f"page {version}" if seen.method == "GET" else ""
        return reply(body, content_length="6", cache_control=MINUTE)

    stage.handler = handler
    stage.get("/a")
    version = 2
    stage.clock.advance(61)
    stage.request("HEAD", "/a")  # as probes of an uptime do, every half a minute
    assert stage.get("/a").text == "page 2"


def test_what_a_visitor_is_told_takes_nobody_elses_page_away(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)

    def handler(seen: Seen) -> Reply:
        who = seen.fields.get("cookie", "nobody")
        if seen.fields.get("if-none-match") and who == "b=2":
            return reply("", 304, cache_control="private")
        return reply("page", etag=f'"{who}"', cache_control=MINUTE)

    stage.handler = handler
    stage.get("/a")
    stage.request("HEAD", "/a", {"cookie": "a=1", "cache-control": "no-cache"})
    stage.request("GET", "/a", {"cookie": "b=2", "cache-control": "no-cache"})
    assert stage.get("/a").trace == "hit"


def test_a_visitor_whose_refresh_would_be_refused_leaves_it_to_the_next(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    swr = f"{MINUTE}, stale-while-revalidate=600"
    stage.handler = lambda seen: reply(f"page {stage.renders}", cache_control=swr)
    stage.get("/a")
    stage.clock.advance(61)
    assert stage.get("/a", {"cookie": "x=1"}).text == "page 1"
    assert stage.get("/a").text == "page 1"
    until(lambda: stage.cache.statistics()["admitted"] == 2)
    assert stage.get("/a").text == "page 2"


def test_a_write_elsewhere_does_not_make_the_next_visitors_render_side_by_side(
    scenario: MakeScenario,
) -> None:
    stage = scenario(TAGGED)

    def handler(seen: Seen) -> Reply:
        stage.cache.tag("item:7")
        if stage.renders == 1:
            with ThreadPoolExecutor(1) as elsewhere:  # outside of this exchange
                elsewhere.submit(stage.cache.invalidate, "item:8").result()
        return reply("page")

    stage.handler = handler
    assert stage.get("/a").trace == "refused-sequence"
    assert stage.cache.statistics()["flights_apart"] == 0


def test_variants_are_bounded_though_their_names_change_all_the_time(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)

    def handler(seen: Seen) -> Reply:
        vary = "X-A, X-B" if "x-b" in seen.fields else "X-A"
        return reply("page", vary=vary, cache_control=MINUTE)

    stage.handler = handler
    for number in range(150):
        stage.get("/a", {"x-a": str(number), **({"x-b": "1"} if number % 2 else {})})
    assert stage.cache.statistics()["store_pages_count"] <= 65  # and the marker


class Far(MemoryStore):
    """Counts the pages and the tokens that it is asked for."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(now=clock)
        self.asked: list[str] = []

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.asked.append("tokens" if slot is None else "page")
        return await super().read(slot, namespaces)


def test_a_near_page_with_groups_costs_its_tokens_only(scenario: MakeScenario) -> None:
    clock = FakeClock()
    far = Far(clock)
    near = NearStore(far, 2**20, now=clock, passing=clock)
    stage = scenario(OPEN, store=near, clock=clock)
    stage.handler = lambda seen: reply(cache_groups='"a"', cache_control=MINUTE)
    stage.get("/a")
    far.asked.clear()
    assert stage.get("/a").trace == "hit"
    assert far.asked == ["tokens"]
    stage.cache.invalidate("a")
    assert stage.get("/a").trace == "stale, stored"
