"""Bodies that break off on the ASGI front, at every byte and in every way: none is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware
from pagegen.stores import MemoryStore
from pagegen.testing import Answer
from pagegen.testing.calling import call_asgi, scope

BODY = b"0123456789"
PAGE = Rule(path="/a", share="public", ttl=60)

App = Callable[[Any, Any, Any], Awaitable[None]]
Pause = Callable[[], Awaitable[None]]


class GoneError(OSError):
    """What a server raises out of ``send`` when its client has gone."""


def start(sized: bool) -> dict[str, Any]:
    lines = [(b"content-type", b"text/plain")]
    if sized:
        lines.append((b"content-length", b"%d" % len(BODY)))
    return {"type": "http.response.start", "status": 200, "headers": lines}


def piece(number: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "http.response.body", "body": BODY[number : number + 1], "more_body": True, **more
    }  # fmt: skip


END = {"type": "http.response.body", "body": b""}


async def whole(made: Any, receive: Any, send: Any) -> None:
    await send(start(sized=False))
    await send({"type": "http.response.body", "body": BODY})


# --- Ways to break off after so many bytes --------------------------------------------------------


async def _some(send: Any, sized: bool, count: int) -> None:
    await send(start(sized))
    for number in range(count):
        await send(piece(number))


def raises(sized: bool, count: int) -> App:
    async def app(made: Any, receive: Any, send: Any) -> None:
        await _some(send, sized, count)
        raise RuntimeError("the handler failed")

    return app


def returns(sized: bool, count: int) -> App:
    async def app(made: Any, receive: Any, send: Any) -> None:
        await _some(send, sized, count)

    return app


def ends_in_finally(sized: bool, count: int) -> App:
    """As many streams are written: whatever happens, the body gets its end."""

    async def app(made: Any, receive: Any, send: Any) -> None:
        try:
            await _some(send, sized, count)
            raise RuntimeError("the rows ran out")
        finally:
            await send(END)

    return app


def apologises(sized: bool, count: int) -> App:
    async def app(made: Any, receive: Any, send: Any) -> None:
        try:
            await _some(send, sized, count)
            raise RuntimeError("the rows ran out")
        except RuntimeError:
            await send({"type": "http.response.body", "body": b"an error"})

    return app


def hears_that_the_client_left(sized: bool, count: int) -> App:
    async def app(made: Any, receive: Any, send: Any) -> None:
        await receive()
        await _some(send, sized, count)
        assert (await receive())["type"] == "http.disconnect"
        await send(END)

    return app


def is_cancelled_and_ends(sized: bool, count: int) -> App:
    """A server's timeout cancels the task; the handler makes the best of it."""

    async def app(made: Any, receive: Any, send: Any) -> None:
        await _some(send, sized, count)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        await send(END)

    return app


def begins_again(sized: bool, count: int) -> App:
    async def app(made: Any, receive: Any, send: Any) -> None:
        await _some(send, sized, count)
        await send(start(sized))
        await send(END)

    return app


def says_something_unknown(sized: bool, count: int) -> App:
    async def app(made: Any, receive: Any, send: Any) -> None:
        await _some(send, sized, count)
        await send({"type": "http.response.informational"})
        await send(END)

    return app


def sends_trailers(sized: bool, count: int) -> App:
    async def app(made: Any, receive: Any, send: Any) -> None:
        await send({**start(sized), "trailers": True})
        for number in range(count):
            await send(piece(number))
        await send(END)
        await send({"type": "http.response.trailers", "headers": [(b"set-cookie", b"s=1")]})

    return app


def is_shorter_than_it_said(sized: bool, count: int) -> App:
    async def app(made: Any, receive: Any, send: Any) -> None:
        await _some(send, True, count)
        await send(piece(count + 1, body=b"", more_body=False))

    return app


def is_longer_than_it_said(sized: bool, count: int) -> App:
    async def app(made: Any, receive: Any, send: Any) -> None:
        await _some(send, True, len(BODY))
        await send(piece(0, body=b"x" * (count + 1), more_body=False))

    return app


WAYS = [
    raises, returns, ends_in_finally, apologises, hears_that_the_client_left,
    is_cancelled_and_ends, begins_again, says_something_unknown, sends_trailers,
    is_shorter_than_it_said, is_longer_than_it_said,
]  # fmt: skip


async def _disconnected() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def _broken_off(app: App, cache: PageCache, send: Any = None) -> None:
    async def nowhere(message: Any) -> None: ...

    with suppress(RuntimeError, GoneError, asyncio.CancelledError):
        made = PageCacheMiddleware(app, cache=cache)
        await made(scope("GET", "/a"), _disconnected, send or nowhere)


def _visit(cache: PageCache) -> Answer:
    return asyncio.run(call_asgi(PageCacheMiddleware(whole, cache=cache), scope("GET", "/a")))


def nothing_is_left(cache: PageCache) -> None:
    """The next visitor's page is rendered anew and whole, and so is what the one after it gets."""
    assert cache.statistics().get("admitted", 0) == 0
    assert cache.statistics()["flights_flying"] == 0
    first, second = _visit(cache), _visit(cache)
    assert (first.body, second.body) == (BODY, BODY)
    assert first.trace == "uri-miss, stored"
    assert second.trace == "hit"


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_body_that_breaks_off_at_any_byte_is_no_page(way: Any, sized: bool) -> None:
    lengths = range(len(BODY) if way in (is_shorter_than_it_said,) else len(BODY) + 1)
    for count in lengths:
        cache = PageCache([PAGE], cache_status=True)
        asyncio.run(_broken_off(way(sized, count), cache))
        nothing_is_left(cache)


@pytest.mark.parametrize("count", range(1, len(BODY)))
def test_an_application_that_takes_a_dead_client_for_its_end_leaves_no_page(count: int) -> None:
    """Servers raise out of ``send`` when the client has gone (ASGI 2.4), and applications swallow
    that."""
    cache = PageCache([PAGE], cache_status=True)
    sent = 0

    async def send(message: Any) -> None:
        nonlocal sent
        sent += message["type"] == "http.response.body"
        if sent >= count:
            raise GoneError

    async def app(made: Any, receive: Any, send: Any) -> None:
        with suppress(GoneError):
            await _some(send, False, len(BODY))
        with suppress(GoneError):
            await send(END)

    asyncio.run(_broken_off(app, cache, send))
    nothing_is_left(cache)


def test_an_answer_to_an_exception_is_a_page_where_its_rule_says_so() -> None:
    """Frameworks make their 404 where the exception is handled: that is no body that broke off."""
    rule = Rule(path="/a", share="public", ttl={404: 60})
    cache = PageCache([rule], cache_status=True)

    async def app(made: Any, receive: Any, send: Any) -> None:
        try:
            raise LookupError("no such row")
        except LookupError:
            await send({**start(sized=False), "status": 404})
            await send({"type": "http.response.body", "body": b"no such page"})

    wrapped = PageCacheMiddleware(app, cache=cache)
    answers = [asyncio.run(call_asgi(wrapped, scope("GET", "/a"))) for _ in range(2)]
    assert [answer.trace for answer in answers] == ["uri-miss, stored", "hit"]


# --- Cancelled at every await ---------------------------------------------------------------------


class Suspending:
    """The face of a memory store whose every verb lets the loop go round before and after."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.capabilities = store.capabilities

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(verb):
            return verb

        async def suspending(*arguments: Any) -> Any:
            await asyncio.sleep(0)
            said = await verb(*arguments)
            await asyncio.sleep(0)
            return said

        return suspending


class Twofold(MemoryStore):
    """A memory store that suspends on event loops."""

    def on_loop(self) -> Any:
        """See ``HasTwin``."""
        return Suspending(self)


def _slowly(stubborn: bool) -> App:
    async def app(made: Any, receive: Any, send: Any) -> None:
        await send(start(sized=False))
        for number in range(len(BODY)):
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                if not stubborn:
                    raise
                break
            await send(piece(number))
        await send(END)

    return app


async def _cancelled(cache: PageCache, stubborn: bool, after: int) -> bool:
    """Whether the task still ran when the loop had gone round so often."""

    async def send(message: Any) -> None:
        await asyncio.sleep(0)

    task = asyncio.create_task(_broken_off(_slowly(stubborn), cache, send))
    for _ in range(after):
        await asyncio.sleep(0)
    alive = not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return alive


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_task_that_is_cancelled_at_any_await_leaves_a_whole_page_or_none(stubborn: bool) -> None:
    outcomes = set()
    after, alive = 0, True
    while alive:
        cache = PageCache([PAGE], store=Twofold(), cache_status=True)
        alive = asyncio.run(_cancelled(cache, stubborn, after))
        assert cache.statistics()["flights_flying"] == 0, after
        answer = _visit(cache)
        assert answer.body == BODY, after
        outcomes.add(answer.trace)
        cache.close()
        after += 1
    assert after > 2 * len(BODY)
    assert outcomes == {"uri-miss, stored", "hit"}
