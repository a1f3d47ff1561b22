"""Found while the documentation was written: each is a sentence that a page wanted to say, and that
was not true then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pagegen import Identity, PageCache, Rule
from pagegen.asgi import PageCacheMiddleware
from pagegen.testing import Reply, Scenario, call_asgi, call_wsgi, environ, scope
from tests.conftest import MakeScenario


class _ByHeader(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.headers.get("x-user")
        return (AuthCredentials(), SimpleUser(name)) if name else None


def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.display_name or "nobody")


def test_a_page_that_asks_who_is_there_works_for_visitors_whom_nobody_knows() -> None:
    # DESIGN 6.4: the cache never takes the site down. Bare, this application answers "nobody".
    identity = Identity(name="user", sources=["scope:user.username"])  # type: ignore[arg-type]
    cache = PageCache([Rule(path="/", share=["user"], ttl=60)], identities=[identity])
    app = Starlette(routes=[Route("/", _who)])
    app.add_middleware(PageCacheMiddleware, cache=cache)
    app.add_middleware(AuthenticationMiddleware, backend=_ByHeader())
    assert asyncio.run(call_asgi(app, scope("GET", "/", {"x-user": "ada"}))).text == "ada"
    assert asyncio.run(call_asgi(app, scope("GET", "/"))).text == "nobody"


def test_the_page_of_visitors_without_a_cookie_may_vary_by_cookie(scenario: MakeScenario) -> None:
    # Flask and Django say so of every page that looked at the session; its absence is in the key.
    identity = Identity(name="user", sources=["cookie:session"])  # type: ignore[arg-type]
    stage = scenario(Rule(path="/a", share=["user"], ttl=60), identities=[identity])
    stage.handler = lambda seen: Reply(b"x", fields=[("Vary", "Cookie")])
    assert stage.get("/a", {"cookie": "session=1"}).trace == "uri-miss, stored"
    assert stage.get("/a").trace == "uri-miss, stored"


def who_logged_in(context: Mapping[str, Any]) -> str | None:
    """The user of a session, of which there is one."""
    sent = str(context.get("HTTP_COOKIE") or dict(context.get("headers", ())).get(b"cookie"))
    return "ada" if "session=good" in sent else None


@pytest.mark.parametrize("cookie", ["session=good", "session=gone", None])
def test_a_function_may_answer_for_pages_that_vary_by_the_cookie_it_reads(
    scenario: MakeScenario, cookie: str | None
) -> None:
    # Its answer is in the key, nobody included; the handler sees the cookie only with an answer.
    source = f"call:{__name__}:who_logged_in"
    identity = Identity(name="user", sources=[source], reveal=["cookie:session"])  # type: ignore[arg-type]
    stage = scenario(Rule(path="/a", share=["user"], ttl=60), identities=[identity])
    stage.handler = lambda seen: Reply(b"x", fields=[("Vary", "Cookie")])
    assert stage.get("/a", {"cookie": cookie} if cookie else None).trace == "uri-miss, stored"


def test_a_server_that_says_nobody_with_an_empty_text_has_found_no_object() -> None:
    # CGI-like servers set REMOTE_USER to "" for visitors who are not logged in.
    identity = Identity(name="user", sources=["environ:REMOTE_USER"])  # type: ignore[arg-type]
    with Scenario(
        "wsgi", [Rule(path="/a", share=["user"], ttl=60)], identities=[identity]
    ) as stage:
        asked = {**environ("GET", "/a"), "REMOTE_USER": ""}
        assert call_wsgi(stage.wsgi, asked).trace == "uri-miss, stored"


def test_a_client_that_sends_a_cookie_twice_does_not_use_up_the_warning_for_a_broken_source(
    scenario: MakeScenario, caplog: pytest.LogCaptureFixture
) -> None:
    identity = Identity(name="user", sources=["cookie:session"])  # type: ignore[arg-type]
    stage = scenario(Rule(path="/a", share=["user"], ttl=60), identities=[identity])
    assert stage.get("/a", {"cookie": "session=1; session=2"}).trace == "bypass: identity"
    assert caplog.records == []


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "s-maxage=60"])
def test_a_page_that_must_be_validated_is_never_sent_stale(
    scenario: MakeScenario, directive: str
) -> None:
    # RFC 9111 §4.2.4: MUST NOT, when an explicit in-protocol directive prohibits it.
    stage = scenario(Rule(path="/a", share="public", ttl=60, swr=60, sie=60))
    stage.handler = lambda seen: Reply(b"x", fields=[("Cache-Control", directive)])
    stage.get("/a")
    stage.clock.advance(70)
    assert stage.get("/a").trace == "stale, stored"


@pytest.fixture(params=["in one piece", "streamed"])
def body(request: pytest.FixtureRequest) -> Iterator[bytes | list[bytes]]:
    yield b"xy" if request.param == "in one piece" else [b"x", b"y"]


def test_a_dropped_cookie_is_dropped_however_the_body_comes(
    scenario: MakeScenario, body: bytes | list[bytes]
) -> None:
    stage: Scenario = scenario(Rule(path="/a", share="public", ttl=60, set_cookie="drop"))
    stage.handler = lambda seen: Reply(body, fields=[("Set-Cookie", "visitor=1")])
    assert stage.get("/a").get("set-cookie") is None


def test_a_page_that_is_forgotten_again_and_again_takes_one_place(scenario: MakeScenario) -> None:
    # Generations that were part of the place's name would leave a dead page behind for each write.
    stage = scenario(Rule(path="/a", share="public", namespaces=["a"], ttl=60))
    stage.get("/a")
    before = stage.cache.statistics()
    for _ in range(50):
        stage.cache.invalidate("a")
        assert stage.get("/a").trace == "stale, stored"
    after = stage.cache.statistics()
    assert (before["store_pages_count"], after["store_pages_count"]) == (1, 1)
    assert (before["store_tokens_count"], after["store_tokens_count"]) == (2, 2)
