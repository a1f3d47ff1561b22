"""A handler that forgets pages and goes on: what others filled again meanwhile is forgotten again.

It may commit anywhere before its last byte, so all is settled before its head leaves, and before
its last byte does.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any

import pytest

from pagegen import Rule
from pagegen.testing import PATIENCE, Scenario, call_asgi
from pagegen.testing import environ as make_environ
from pagegen.testing import scope as make_scope
from tests.conftest import MakeScenario

PAGE = Rule(path="/page", share="public", ttl=60, namespaces=["page"], own_url=False)
WRITE = Rule(path="/write", share="public")
METHODS = pytest.mark.parametrize("method", ["GET", "POST"])
CONTROLS = pytest.mark.parametrize("control", ["no-store", "max-age=60"])


def state(stage: Scenario) -> str:
    return stage.cache.inspect("/page", host="testserver").state


def fill(stage: Scenario) -> None:
    """Somebody else reads the page before the handler commits."""
    with ThreadPoolExecutor(1) as other:
        other.submit(stage.get, "/page").result(PATIENCE)
    assert state(stage) == "fresh"


def states(
    stage: Scenario, method: str, fields: list[tuple[str, str]], *pieces: bytes
) -> list[str]:
    """What became of /page when the head of /write left, when each piece did, and at the end.

    The handler forgets it, and somebody fills it before the head and before each piece.
    """
    stage.get("/page")
    if stage._loop is None:
        return _wsgi_states(stage, method, fields, pieces)
    return stage._loop.run(_asgi_states(stage, method, fields, pieces))


def _wsgi_states(
    stage: Scenario, method: str, fields: list[tuple[str, str]], pieces: tuple[bytes, ...]
) -> list[str]:
    inner = stage.wsgi.app

    def app(made: Any, start_response: Any) -> Any:
        if made["PATH_INFO"] == "/page":
            yield from inner(made, start_response)
            return
        stage.cache.invalidate("page")
        fill(stage)
        start_response("200 OK", fields)
        for piece in pieces:
            fill(stage)
            yield piece

    stage.wsgi.app = app
    # The head leaves with the first piece.
    response: Any = stage.wsgi(make_environ(method, "/write"), lambda *_: lambda _data: None)
    found = [state(stage) for _ in response]
    found = [*found[:1], *found, state(stage)]
    response.close()
    return found


async def _asgi_states(
    stage: Scenario, method: str, fields: list[tuple[str, str]], pieces: tuple[bytes, ...]
) -> list[str]:
    inner = stage.asgi.app

    async def app(made: Any, receive: Any, send: Any) -> None:
        if made["path"] == "/page":
            await inner(made, receive, send)
            return
        await stage.cache.ainvalidate("page")
        lines = [(name.lower().encode(), value.encode()) for name, value in fields]
        await _filled(stage)
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        for piece in pieces:
            await _filled(stage)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    found: list[str] = []

    async def send(_message: Any) -> None:
        found.append(state(stage))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    stage.asgi.app = app
    await stage.asgi(make_scope(method, "/write"), receive, send)
    return found


async def _filled(stage: Scenario) -> None:
    """:func:`fill` on the loop, which the page's handler needs too."""
    # In a context of its own, as requests of others are.
    await asyncio.create_task(call_asgi(stage.asgi, make_scope("GET", "/page")), context=Context())
    assert state(stage) == "fresh"


@METHODS
@CONTROLS
@pytest.mark.parametrize("pieces", [(b"hello",), (b"hel", b"lo"), (b"", b"hello")])
def test_all_is_settled_before_the_head_and_before_the_last_byte(
    scenario: MakeScenario, method: str, control: str, pieces: tuple[bytes, ...]
) -> None:
    stage = scenario(PAGE, WRITE)
    sized = [("Cache-Control", control), ("Content-Length", "5")]
    found = states(stage, method, sized, *pieces)
    assert (found[0], found[len(pieces)], found[-1]) == ("invalidated",) * 3


@METHODS
@CONTROLS
@pytest.mark.parametrize("pieces", [(b"hello",), (b"hel", b"lo"), (b"", b"hello")])
def test_so_it_is_where_only_the_end_tells_the_length(
    scenario: MakeScenario, method: str, control: str, pieces: tuple[bytes, ...]
) -> None:
    stage = scenario(PAGE, WRITE)
    found = states(stage, method, [("Cache-Control", control)], *pieces)
    assert (found[0], found[-1]) == ("invalidated",) * 2


def test_and_where_a_length_is_a_lie(scenario: MakeScenario) -> None:
    stage = scenario(PAGE, WRITE)
    fields = [("Cache-Control", "max-age=60"), ("Content-Length", "3")]
    found = states(stage, "GET", fields, b"hel", b"lo")
    assert (found[0], found[-1]) == ("invalidated",) * 2
