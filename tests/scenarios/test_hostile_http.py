"""What a hostile reading of the HTTP law found: each test was red before its mend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from pagegen import PageCache
from pagegen.sources import Sources
from pagegen.stores import MemoryStore, NearStore, Reading
from pagegen.testing import (
    FakeClock,
    Reply,
    Scenario,
    Seen,
    call_asgi,
    call_wsgi,
    environ,
    scope,
)
from tests.conftest import MakeScenario
from tests.scenarios.test_http_mode import OPEN, reply

MINUTE = "max-age=60"


# --- Resurrection -------------------------------------------------------------------------------


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


# --- Old pages, and work for nothing ------------------------------------------------------------


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
