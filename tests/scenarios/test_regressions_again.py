"""More mistakes that were made once, found by a second hostile reading."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pagegen import Identity, Invalidates, PageCache, Rule, parse_source
from pagegen.asgi import PageCacheMiddleware as AsgiPageCache
from pagegen.fields import directives
from pagegen.identification import inside, reveal
from pagegen.planning import MEMO_LENGTH
from pagegen.rulebook import RuleBook
from pagegen.testing import Reply, call_asgi, call_wsgi, environ, scope
from pagegen.wsgi import PageCacheMiddleware
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import until

SIE = Rule(path="/page", share="public", namespaces=["page"], ttl=60, sie="10m")
BOTH = Rule(path="/page", share="public", namespaces=["page"], ttl=60, swr="10m", sie="10m")
PLAIN = ("Content-Type", "text/plain")


@pytest.mark.parametrize("front", ["wsgi"])
def test_a_refresh_sees_the_request_that_asked_for_it_and_not_the_next_one(
    scenario: MakeScenario,
) -> None:
    """Some servers keep one environ and fill it with request after request."""
    who = Identity(name="user", sources=(parse_source("cookie:session"),))
    rule = Rule(path="/mine", share=["user"], ttl=60, swr="10m")
    stage = scenario(rule, identities=[who])
    stage.handler = lambda seen: f"page of {seen.fields.get('cookie')}"
    shared: dict[str, Any] = {}

    def serve(session: str) -> str:
        shared.clear()
        shared.update(environ("GET", "/mine", {"cookie": f"session={session}"}))
        return call_wsgi(stage.wsgi, shared).text

    serve("ada")
    stage.clock.advance(61)
    gate = threading.Event()
    for _ in range(4):  # all refreshers are busy, as under load
        stage.wsgi._refresher.submit(gate.wait)  # type: ignore[arg-type]
    serve("ada")
    shared.update(environ("GET", "/mine", {"cookie": "session=bob"}))
    gate.set()
    until(lambda: stage.cache.statistics()["admitted"] == 2)
    assert serve("ada") == "page of session=ada"


@pytest.mark.parametrize(
    ("method", "target", "pattern"),
    [("post", "/items/7", "/items/{id}"), ("POST", "/items/7", "/items/{id}/")],
)
def test_a_write_is_matched_whatever_the_framework_makes_of_method_and_slash(
    scenario: MakeScenario, method: str, target: str, pattern: str
) -> None:
    page = Rule(path="/items/{id}", share="public", namespaces=["item:{id}"], ttl=60)
    write = Invalidates(path=pattern, namespaces=["item:{id}"])
    stage = scenario(page, invalidates=[write])
    stage.get("/items/7")
    stage.request(method, target)
    assert stage.get("/items/7").trace == "stale, stored"


def failing(*, error: Exception | None, wait: asyncio.Event) -> Any:
    """An ASGI application that answers 503, then goes on for a while, then may raise."""

    async def app(made: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"down"})
        await wait.wait()
        if error is not None:
            raise error

    return app


def test_a_failure_is_replaced_when_it_is_whole_and_not_when_its_handler_has_ended(
    scenario: MakeScenario,
) -> None:
    class TooManyError(Exception):
        status_code = 429

    async def check(error: Exception | None) -> None:
        proceed, sent = asyncio.Event(), asyncio.Queue[Any]()
        stage.asgi.app = failing(error=error, wait=proceed)
        stage.clock.advance(61)
        request = stage.asgi(scope("GET", "/page"), asyncio.Event().wait, sent.put)  # type: ignore[arg-type]
        task = asyncio.ensure_future(request)
        assert (await sent.get())["status"] == 200
        assert (await sent.get())["body"] == b"page 1"
        proceed.set()
        await asyncio.wait((task,))
        assert task.exception() is error
        assert sent.empty()

    stage = scenario(SIE)
    stage.get("/page")
    if stage.front == "asgi":
        asyncio.run(check(None))
        asyncio.run(check(TooManyError()))


def test_a_page_whose_refresh_was_rescued_is_not_refreshed_at_every_request(
    scenario: MakeScenario,
) -> None:
    stage = scenario(BOTH)
    stage.get("/page")
    stage.clock.advance(61)
    stage.handler = lambda seen: Reply(b"failed", status=500)
    stage.get("/page")
    until(lambda: stage.cache.statistics().get("refused:failed") == 1)
    for _ in range(20):
        assert stage.get("/page").text == "page 1"
    assert stage.renders == 2


def test_plans_that_are_too_long_to_remember_are_not_whatever_they_say() -> None:
    who = Identity(name="user", sources=(parse_source("header:x-user"),))
    rule = Rule(path="/mine", share=["user"], ttl=60, namespaces=["u:{user}"])
    cache = PageCache([rule], identities=[who])
    planner = cache.engine._state.planner
    for number in range(50):
        found = cache.inspect("/mine", headers={"x-user": f"{number}" + "x" * MEMO_LENGTH})
        assert found.reason == "namespace"
    assert len(planner._composed) == 0


@pytest.mark.parametrize(
    ("context", "path", "value", "shown"),
    [
        ({"auth.user": "ada", "auth": 1}, "auth.user", "ada", {"auth.user": "ada"}),
        (
            {"session": {"user.id": 7, "user": "secret"}},
            "session.user.id",
            7,
            {"session": {"user.id": 7}},
        ),
        ({"session": {"cart": 3}}, "session.user", None, {"session": {}}),
        ({"user": "ada"}, "user", "ada", {"user": "ada"}),
        ({}, "user.id", None, {}),
    ],
)
def test_what_identifies_and_what_is_shown_are_found_by_one_walk(
    context: dict[str, Any], path: str, value: object, shown: dict[str, Any]
) -> None:
    parts = tuple(path.split("."))
    seen: dict[str, Any] = {}
    reveal(context, seen, parts)
    assert (inside(context, parts), seen) == (value, shown)


def test_names_are_held_against_templates_without_backtracking() -> None:
    rule = Rule(
        path="/{a}/{b}/{c}/{d}", share="public", ttl=60, namespaces=["{a}-{b}-{c}-{d}", "x"]
    )
    book = RuleBook((rule,))
    assert book.has("1-2-3-4")
    assert book.has("x")
    assert not book.has("1-2-3")
    assert not book.has("y")
    assert book.has("-" * 400)


@pytest.mark.parametrize("front", ["wsgi"])
def test_a_refresh_that_finds_no_thread_is_declined(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = scenario(BOTH)
    stage.get("/page")
    stage.clock.advance(61)

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert stage.get("/page").trace == "stale hit"
    assert stage.cache.statistics()["declined"] == 1


def test_a_head_that_is_replaced_is_judged_anew() -> None:
    def app(made: Any, start_response: Any) -> Any:
        start_response("200 OK", [PLAIN])
        return body(start_response)

    def body(start_response: Any) -> Any:
        try:
            raise ValueError("before the first piece")
        except ValueError as error:
            start_response("500 Oops", [PLAIN], (ValueError, error, error.__traceback__))
        yield b"oops"

    middleware = PageCacheMiddleware(app, cache=PageCache([SIE], cache_status=True))
    for _ in range(2):
        answer = call_wsgi(middleware, environ("GET", "/page"))
        assert (answer.status, answer.trace) == (500, "refused-status")


def test_headers_that_can_be_read_once_survive_a_write() -> None:
    async def app(made: Any, receive: Any, send: Any) -> None:
        headers = iter([(b"set-cookie", b"a=b")])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

    wrapped = AsgiPageCache(app, cache=PageCache([SIE]))
    answer = asyncio.run(call_asgi(wrapped, scope("POST", "/other")))
    assert answer.get("set-cookie") == "a=b"


def test_a_forgotten_comma_does_not_let_a_page_be_stale() -> None:
    assert "must-revalidate" in directives("max-age=60 must-revalidate")
