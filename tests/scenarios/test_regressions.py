"""Mistakes that were made once. Each was seen to serve, store, queue or leak what it must not."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pagegen import ConfigError, Identity, Invalidates, PageCache, Rule, parse_source
from pagegen.exchange import Exchange, current, handling
from pagegen.fields import directives
from pagegen.testing import PATIENCE, Reply, Scenario, Seen, call_asgi, environ, scope
from pagegen.wsgi import PageCacheMiddleware
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate, until, waiting

PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl=60)
SIE = Rule(path="/page", share="public", namespaces=["page"], ttl=60, sie="10m")
SWR = Rule(path="/page", share="public", namespaces=["page"], ttl=60, swr="10m")
WRITE = Invalidates(path="/page", namespaces=["page"])
PLAIN = ("Content-Type", "text/plain")


@pytest.mark.parametrize("length", [None, 4])
def test_a_write_that_commits_while_it_streams_is_settled_when_the_answer_is_whole(
    length: int | None,
) -> None:
    cache = PageCache([PAGE], invalidates=[WRITE])
    row = ["old"]

    def body() -> Iterator[bytes]:
        yield b"do"
        fill()  # somebody caches the old row once more
        row[0] = "new"
        yield b"ne"
        if length is None:
            return
        states.append(cache.inspect("/page", host="testserver").state)

    def app(made: Any, start_response: Any) -> Any:
        if made["REQUEST_METHOD"] == "GET":
            start_response("200 OK", [PLAIN])
            return [row[0].encode()]
        start_response("200 OK", [PLAIN, *([("Content-Length", "4")] if length else [])])
        return body()

    def fill() -> bytes:
        return b"".join(middleware(environ("GET", "/page"), lambda *_: None))

    middleware, states = PageCacheMiddleware(app, cache=cache), list[str]()
    fill()
    response: Any = middleware(environ("POST", "/page"), lambda *_: None)
    assert b"".join(response) == b"done"
    assert states == (["invalidated"] if length else [])
    assert fill() == b"new"
    response.close()


def test_waiters_of_a_failing_page_get_their_expired_page_and_do_not_queue(
    scenario: MakeScenario,
) -> None:
    stage = scenario(SIE, max_wait="5m")
    stage.get("/page")
    stage.clock.advance(61)
    gate = stage.handler = Gate(lambda: Reply(b"failed", status=503))
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(stage.get, "/page") for _ in range(8)]
        until(lambda: waiting(stage) == 7)
        gate.open.set()
        assert {answer.result(PATIENCE).text for answer in answers} == {"page 1"}
    assert stage.renders == 2


def test_a_page_that_fails_twice_is_not_queued_for(scenario: MakeScenario) -> None:
    stage = scenario(PAGE, max_wait="5m")
    together = threading.Barrier(6)

    def handler(seen: Seen) -> str:
        if stage.renders > 2:
            together.wait(PATIENCE)  # opens only when all the others are inside at one time
        raise RuntimeError("no")

    stage.handler = handler
    with ThreadPoolExecutor(6) as pool:
        for _ in range(2):
            assert isinstance(pool.submit(stage.get, "/page").exception(PATIENCE), RuntimeError)
        answers = [pool.submit(stage.get, "/page") for _ in range(6)]
        assert all(isinstance(a.exception(PATIENCE), RuntimeError) for a in answers)
    stage.handler = lambda seen: "well again"
    stage.get("/page")
    assert stage.cache.statistics()["flights_apart"] == 0  # worth collapsing again


def test_a_page_whose_refresh_fails_is_not_refreshed_at_every_request(
    scenario: MakeScenario,
) -> None:
    stage = scenario(SWR)
    stage.get("/page")
    stage.clock.advance(61)
    stage.handler = lambda seen: Reply(b"failed", status=500)
    stage.get("/page")
    until(lambda: stage.cache.statistics().get("refused:status") == 1)
    for _ in range(20):
        assert stage.get("/page").text == "page 1"
    assert stage.renders == 2


@pytest.mark.parametrize("front", ["asgi"])
def test_refreshes_behind_the_clients_backs_are_bounded(scenario: MakeScenario) -> None:
    rule = Rule(path="/{name}", share="public", ttl=60, swr="10m")
    stage = scenario(rule)
    for number in range(40):
        stage.get(f"/{number}")
    stage.clock.advance(61)
    gate = stage.handler = Gate()
    for number in range(40):
        assert stage.get(f"/{number}").trace == "stale hit"
    numbers = stage.cache.statistics()
    assert (numbers["declined"], numbers["flights_flying"]) == (8, 32)
    gate.open.set()
    until(lambda: stage.cache.statistics()["flights_flying"] == 0)


@pytest.mark.parametrize("front", ["wsgi"])
def test_a_refresh_that_breaks_off_is_closed(scenario: MakeScenario) -> None:
    stage = scenario(SWR)
    stage.get("/page")
    stage.clock.advance(61)
    closed = threading.Event()

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError("no more")

        def close(self) -> None:
            closed.set()

    def app(made: Any, start_response: Any) -> Any:
        start_response("200 OK", [PLAIN])
        return Body()

    stage.wsgi.app = app
    stage.get("/page")
    assert closed.wait(PATIENCE)
    until(lambda: stage.cache.statistics()["flights_flying"] == 0)


def test_a_body_of_many_small_pieces_is_joined_once() -> None:
    from pagegen.collecting import Collection, Room

    collection = Collection(10**9, Room())
    collection.hold_all()
    for _ in range(1000):
        collection.take(b"x")
    assert len(collection._held) == 1000  # joined when it leaves, not at every piece
    assert collection.release() == collection.body() == b"x" * 1000
    assert collection.release() == b""


@pytest.mark.parametrize("front", ["asgi"])
def test_paths_inside_and_outside_of_the_mount_point_are_pages_apart(
    scenario: MakeScenario,
) -> None:
    stage = scenario(Rule(path="/**", share="public", ttl=60))
    stage.handler = lambda seen: seen.path
    for path in ("/x/y", "/y"):
        made = scope("GET", path) | {"root_path": "/x"}
        assert stage._loop is not None
        assert stage._loop.run(call_asgi(stage.asgi, made)).text == path


def test_mount_points_that_are_no_text_are_a_bypass(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    made: Any = environ("GET", "/page") | {"SCRIPT_NAME": "/\xff"}
    del made["RAW_URI"]
    from pagegen.wsgi.requests import read_request

    assert stage.cache.engine._state.planner.plan(read_request(made)).reason == "path"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "value", ["no-store no-cache", "private max-age=0", "max-age=5 private", "=, no-store=?; x="]
)
def test_a_forgotten_comma_does_not_open_what_was_closed(value: str) -> None:
    assert directives(value).keys() & {"no-store", "private", "no-cache"}


def test_an_exception_that_stands_for_404_is_not_answered_with_the_old_page(
    scenario: MakeScenario,
) -> None:
    class NotFoundError(Exception):
        status_code = 404

    stage = scenario(SIE)
    stage.get("/page")
    stage.clock.advance(61)

    def gone(seen: Seen) -> str:
        raise NotFoundError

    stage.handler = gone
    with pytest.raises(NotFoundError):
        stage.get("/page")


def test_a_body_that_is_whole_before_it_fails_leaves_as_it_would_have() -> None:
    def app(made: Any, start_response: Any) -> Any:
        start_response("200 OK", [PLAIN, ("Content-Length", "4")])
        yield b"good"
        raise RuntimeError("after the last byte")

    started: list[Any] = []
    cache = PageCache([PAGE])
    response: Any = PageCacheMiddleware(app, cache=cache)(
        environ("GET", "/page"), lambda *args: started.append(args)
    )
    assert next(response) == b"good"
    assert started[0][0] == "200 OK"
    with pytest.raises(RuntimeError, match="after the last byte"):
        next(response)
    response.close()
    assert cache.inspect("/page", host="testserver").state == "absent"


def test_exc_info_behind_a_held_piece_raises_as_behind_one_that_has_left() -> None:
    def app(made: Any, start_response: Any) -> Any:
        start_response("200 OK", [PLAIN, ("Content-Length", "4")])
        yield b"good"
        try:
            raise ValueError("too late")
        except ValueError as error:
            start_response("500 Oops", [PLAIN], (ValueError, error, error.__traceback__))
        yield b"err"

    cache = PageCache([PAGE])
    response: Any = PageCacheMiddleware(app, cache=cache)(environ("GET", "/page"), lambda *_: None)
    assert next(response) == b"good"
    with pytest.raises(ValueError, match="too late"):
        next(response)
    response.close()


def test_an_exchange_that_is_over_is_no_exchange_for_what_it_started() -> None:
    owner = object()
    first, second = Exchange(owner), Exchange(owner)
    with handling(first):
        first.end()
        assert current(owner) is None
        with handling(second):  # a server may run the next request in the context of the first
            assert current(owner) is second
            assert second.outer is None


def test_a_task_that_outlives_its_request_invalidates_on_its_own() -> None:
    cache = PageCache([PAGE])

    async def check() -> None:
        ended = asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []

        async def later() -> Any:
            await ended.wait()
            return await cache.ainvalidate("page")

        async def app(made: Any, receive: Any, send: Any) -> None:
            tasks.append(asyncio.create_task(later()))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        from pagegen.asgi import PageCacheMiddleware as Middleware

        await call_asgi(Middleware(app, cache=cache), scope("POST", "/other"))
        ended.set()
        assert (await tasks[0]).again is False

    asyncio.run(check())


def test_tagging_where_no_request_is_handled_warns(caplog: pytest.LogCaptureFixture) -> None:
    PageCache([PAGE]).tag("page")
    assert "cache.tag(page) was called where no request is handled" in caplog.text


def test_a_visitor_with_too_many_cookies_is_not_taken_for_anonymous(
    scenario: MakeScenario,
) -> None:
    who = Identity(name="user", sources=(parse_source("cookie:session"),))
    stage = scenario(Rule(path="/mine", share=["user"], ttl=60), identities=[who])
    stage.get("/mine")
    many = "; ".join(f"c{number}={'x' * 100}" for number in range(200))
    assert stage.get("/mine", {"cookie": f"{many}; session=ada"}).trace == "bypass: identity"


def test_a_stored_204_has_no_length(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/page", share="public", ttl={204: 60}))
    stage.handler = lambda seen: Reply(b"", status=204)
    stage.get("/page")
    hit = stage.get("/page")
    assert (hit.trace, hit.get("content-length")) == ("hit", None)


def test_a_websocket_handshake_is_a_bypass(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    stage.get("/page")
    assert stage.get("/page", {"upgrade": "WebSocket"}).trace == "bypass: upgrade"
    assert stage.get("/page", {"upgrade": "h2c"}).trace == "hit"


def test_of_a_session_only_the_member_that_identifies_is_shown(scenario: MakeScenario) -> None:
    sources = (parse_source("scope:session.user"), parse_source("environ:session.user"))
    who = Identity(name="user", sources=sources)
    stage = scenario(Rule(path="/mine", share=["user"], ttl=60), identities=[who])
    stage.handler = lambda seen: repr(seen.context["session"])
    session = {"session": {"user": 42, "flash": "secret"}}
    if stage.front == "wsgi":
        from pagegen.testing import call_wsgi

        answer = call_wsgi(stage.wsgi, environ("GET", "/mine") | session)
    else:
        assert stage._loop is not None
        answer = stage._loop.run(call_asgi(stage.asgi, {**scope("GET", "/mine"), **session}))
    assert answer.text == "{'user': 42}"


def test_a_name_that_no_rule_has_is_doubted_once(caplog: pytest.LogCaptureFixture) -> None:
    cache = PageCache([Rule(path="/{id}", share="public", ttl=60, namespaces=["item:{id}"])])
    for name in ("item:1", "itme:1", "itme:1"):
        cache.invalidate(name)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["no rule of this cache has pages of namespace 'itme:…': is it a slip?"]


def test_why_a_response_is_not_stored_is_said_once_a_rule(
    scenario: MakeScenario, caplog: pytest.LogCaptureFixture
) -> None:
    stage: Scenario = scenario(PAGE)
    stage.handler = lambda seen: Reply(b"x", fields=[("Set-Cookie", "a=b")])
    with caplog.at_level(logging.INFO, "pagegen.engine"):
        for _ in range(3):
            stage.get("/page")
    said = [r.getMessage() for r in caplog.records if r.name == "pagegen.engine"]
    assert len(said) == 1
    assert said[0].startswith("rule '/page': a response was not stored: set-cookie (said once). ")


def test_settings_and_rules_that_are_none_are_configuration_errors() -> None:
    with pytest.raises(ConfigError, match="unknown key 'cache_stats'"):
        PageCache([], cache_stats=True)
    with pytest.raises(ConfigError, match="is no Invalidates"):
        PageCache([], invalidates=[PAGE])  # type: ignore[list-item]


def test_a_table_of_writes_that_forget_what_no_page_has_is_doubted_at_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rule = Rule(path="/{id}", share="public", ttl=60, namespaces=["item:{id}", "items"])
    good = Invalidates(path="/{id}", namespaces=["item:{id}", "items", "item:7"])
    PageCache([rule], invalidates=[good])
    assert not caplog.records
    PageCache([rule], invalidates=[Invalidates(path="/x/{id}", namespaces=["itme:{id}"])])
    assert "no rule of this cache has pages of namespace 'itme:{id}'" in caplog.text


@pytest.mark.parametrize("path", ["/a/<int:id>", "/a/:id", "/a/[0-9]+", "/a/^x"])
def test_patterns_of_other_frameworks_are_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="another framework"):
        Rule(path=path, cache=False)


def test_mistakes_of_the_first_hour_are_told_with_a_remedy() -> None:
    from pagegen.config import from_table

    with pytest.raises(ConfigError, match=r"Write \[rule.query\] below"):
        from_table({"query": {"a": {}}})
    with pytest.raises(ConfigError, match=r'a list such as \["cookie:session"\]'):
        from_table({"identity": {"user": {"from": "cookie:session"}}})
    with pytest.raises(ConfigError, match="with a colon between"):
        parse_source("call:shop.user_id")
    with pytest.raises(ConfigError, match="Put it into brackets"):
        PageCache(PAGE)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"build it with PageCache.from_toml"):
        PageCacheMiddleware(lambda *_: [], cache="pagegen.toml")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give it as query="):
        PageCache([PAGE]).inspect("/page?x=1")


def test_inspect_can_be_told_who_is_asking() -> None:
    who = Identity(name="user", sources=(parse_source("scope:user"),))
    rule = Rule(path="/mine", share=["user"], ttl=60, namespaces=["user:{user}"])
    cache = PageCache([rule], identities=[who])
    assert cache.inspect("/mine", context={"user": "ada"}).namespaces[0] == "user:ada"
