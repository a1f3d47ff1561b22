"""The ASGI front: lifespans, sockets, streams, extensions, disconnects and cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen import Invalidates, PageCache, Rule
from pagegen.asgi import PageCacheMiddleware
from pagegen.stores import MemoryStore
from pagegen.testing import Answer, call_asgi, scope

PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl="1h", max_body=100)
HEADERS = [(b"content-type", b"text/plain")]
START = {"type": "http.response.start", "status": 200, "headers": HEADERS}
SIZED = START | {"headers": [*HEADERS, (b"content-length", b"5")]}

App = Callable[..., Awaitable[None]]


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def sending(*messages: dict[str, Any]) -> App:
    """An application that sends these messages."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def wrap(app: App, **options: Any) -> PageCacheMiddleware:
    options.setdefault("cache_status", True)
    return PageCacheMiddleware(app, cache=PageCache([PAGE], **options))


def get(app: Any, target: str = "/page", method: str = "GET") -> Answer:
    return asyncio.run(call_asgi(app, scope(method, target)))


async def deliver(app: Any, made: Any, received: Any = None) -> list[Any]:
    """All messages of an application, untouched."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        return received or {"type": "http.request", "body": b"", "more_body": False}

    await app(made, receive, send)
    return messages


@pytest.mark.parametrize(
    "messages",
    [
        [START, piece(b"hello")],
        [SIZED, piece(b"hello")],
        [START, piece(b"hel", more=True), piece(b"lo")],
        [SIZED, piece(b"hel", more=True), piece(b"lo", more=True), piece(b"")],
        [START, piece(b"", more=True), piece(b"hello", more=True), {"type": "http.response.body"}],
        [{"type": "http.response.debug", "info": {}}, START, piece(b"hello")],
        [START | {"headers": iter(HEADERS)}, piece(b"hello")],
    ],
)
def test_every_way_to_answer_is_stored_whole(messages: Any) -> None:
    wrapped = wrap(sending(*messages))
    first, second = get(wrapped), get(wrapped)
    assert (first.status, first.text) == (200, "hello")
    assert (second.trace, second.text, second.get("content-length")) == ("hit", "hello", "5")


@pytest.mark.parametrize(
    "messages",
    [
        [SIZED, piece(b"hell")],
        [SIZED, piece(b"hello", more=True), piece(b"!")],
        [SIZED, piece(b"hel", more=True), piece(b"lo!", more=True), piece(b"")],
        [START, piece(b"x" * 60, more=True), piece(b"x" * 60)],
        [START | {"headers": [*HEADERS, (b"content-length", b"x")]}, piece(b"hello")],
        [START | {"trailers": True}, piece(b"hello"), {"type": "http.response.trailers"}],
        [START, {"type": "http.response.pathsend", "path": "/dev/null"}],
        [START, {"type": "http.response.zerocopysend", "file": 3}],
    ],
    ids=["short", "long", "long in pieces", "large", "malformed", "trailers", "path", "zero-copy"],
)
def test_what_cannot_be_stored_passes_message_by_message(messages: Any) -> None:
    wrapped = wrap(sending(*messages), cache_status=False)
    for _ in range(2):
        sent = asyncio.run(deliver(wrapped, scope("GET", "/page")))
        assert [m["type"] for m in sent] == [m["type"] for m in messages]
        assert b"".join(m.get("body", b"") for m in sent) == b"".join(
            m.get("body", b"") for m in messages
        )
    assert wrapped.cache.inspect("/page", host="testserver").state == "absent"
    assert wrapped.cache.statistics()["flights_flying"] == 0


def test_an_application_that_ends_in_the_middle_is_never_stored() -> None:
    for messages in ([], [START], [START, piece(b"half", more=True)], [SIZED, piece(b"hell")]):
        wrapped = wrap(sending(*messages), cache_status=False)
        sent = asyncio.run(deliver(wrapped, scope("GET", "/page")))
        assert [m["type"] for m in sent] == [m["type"] for m in messages]
        assert wrapped.cache.inspect("/page", host="testserver").state == "absent"
        assert wrapped.cache.statistics()["flights_flying"] == 0


@pytest.mark.parametrize("path", ["/page", "/other"])
@pytest.mark.parametrize("begun", [False, True])
def test_an_exception_reaches_the_server_and_leaves_no_page(path: str, *, begun: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send(START)
            await send(piece(b"half", more=True))
        raise LookupError("no")

    wrapped = wrap(app)
    with pytest.raises(LookupError, match="no"):
        get(wrapped, path)
    assert wrapped.cache.statistics()["flights_flying"] == 0
    assert wrapped.cache.inspect("/page", host="testserver").state in ("absent", "uncacheable")


def test_lifespan_and_websockets_pass_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    wrapped = wrap(app)
    for kind in ("lifespan", "websocket", "something.new"):
        made = {"type": kind, "path": "/page", "state": {}}
        asyncio.run(wrapped(made, receive, send))
        got = seen.pop()
        assert got[0] is made
        assert got[1:] == (receive, send)


def test_a_bypass_gets_the_servers_own_scope_and_receive() -> None:
    seen: list[Any] = []

    async def app(made: Any, receive: Any, send: Any) -> None:
        seen.append((made, await receive()))
        await sending(START, piece(b"x"))(made, receive, send)

    made = scope("GET", "/other")
    message = {"type": "http.request", "body": b"fat", "more_body": False}
    asyncio.run(deliver(wrap(app), made, message))
    assert seen[0][0] is made
    assert seen[0][1] is message


def test_the_first_piece_leaves_when_the_application_sends_it() -> None:
    async def check() -> None:
        arrived: asyncio.Queue[Any] = asyncio.Queue()
        proceed = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            await send(piece(b"first", more=True))
            await proceed.wait()
            await send(piece(b"second"))

        wrapped = wrap(app)
        made = scope("GET", "/page")
        task = asyncio.ensure_future(wrapped(made, asyncio.Event().wait, arrived.put))
        assert (await arrived.get())["type"] == "http.response.start"
        assert (await arrived.get())["body"] == b"first"
        assert wrapped.cache.inspect("/page", host="testserver").state == "absent"
        proceed.set()
        assert (await arrived.get())["body"] == b"second"
        await task

    asyncio.run(check())


@pytest.mark.parametrize(
    "messages",
    [
        [SIZED, piece(b"hel", more=True), piece(b"lo")],
        [SIZED, piece(b"hel", more=True), piece(b"lo", more=True), piece(b"")],
        [START, piece(b"hello")],
    ],
)
def test_a_page_is_admitted_before_its_last_byte_leaves(messages: Any) -> None:
    wrapped = wrap(sending(*messages))
    sent = b""

    async def check(message: Any) -> None:
        nonlocal sent
        sent += message.get("body", b"")
        if sent == b"hello":
            assert wrapped.cache.inspect("/page", host="testserver").state == "fresh"

    asyncio.run(wrapped(scope("GET", "/page"), asyncio.Event().wait, check))
    assert sent == b"hello"


def test_what_a_write_owes_is_settled_before_its_last_byte_and_when_it_has_ended() -> None:
    states: list[str] = []
    rule = Invalidates(path="/page", namespaces=["page"])

    async def app(made: Any, receive: Any, send: Any) -> None:
        if made["method"] == "GET":
            await sending(START, piece(b"x"))(made, receive, send)
            return
        await send(SIZED)
        await send(piece(b"hello", more=True))
        assert state() == "invalidated"
        await call_asgi(wrapped, scope("GET", "/page"))  # filled again before the commit
        assert state() == "fresh"
        await send(piece(b""))
        states.append(state())
        await asyncio.sleep(0)
        await call_asgi(wrapped, scope("GET", "/page"))  # and again by a background task

    wrapped = wrap(app, invalidates=[rule])

    def state() -> str:
        return wrapped.cache.inspect("/page", host="testserver").state

    get(wrapped)
    asyncio.run(deliver(wrapped, scope("POST", "/page")))
    assert states == ["invalidated"]
    assert state() == "invalidated"


def test_a_page_that_the_next_visitor_rendered_after_a_write_is_not_forgotten_again() -> None:
    rule = Invalidates(path="/page", namespaces=["page"])

    async def app(made: Any, receive: Any, send: Any) -> None:
        await sending(START, piece(b"x"))(made, receive, send)

    wrapped = wrap(app, invalidates=[rule])

    async def answered(message: Any) -> None:
        if message["type"] == "http.response.body":  # its client asks for the page at once
            await call_asgi(wrapped, scope("GET", "/page"))

    asyncio.run(wrapped(scope("POST", "/page"), asyncio.Event().wait, answered))
    assert wrapped.cache.inspect("/page", host="testserver").state == "fresh"


def test_what_is_invalidated_after_the_last_byte_is_settled_too() -> None:
    replaced = []

    class Counting(MemoryStore):
        async def replace_tokens(self, tokens: Any, ttl: float) -> None:
            replaced.append(set(tokens))
            await super().replace_tokens(tokens, ttl)

    async def app(made: Any, receive: Any, send: Any) -> None:
        await sending(START, piece(b"x"))(made, receive, send)
        await wrapped.cache.ainvalidate("page")

    wrapped = wrap(app, store=Counting())
    asyncio.run(deliver(wrapped, scope("POST", "/elsewhere")))
    assert replaced == [{"page"}, {"page"}]


def test_the_handler_of_a_cacheable_request_reads_no_body_and_hears_of_a_disconnect() -> None:
    heard: list[Any] = []

    async def app(made: Any, receive: Any, send: Any) -> None:
        heard.extend([await receive(), await receive()])
        await sending(START, piece(b"x"))(made, receive, send)

    async def check() -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        queue.put_nowait({"type": "http.request", "body": b"hidden", "more_body": True})
        queue.put_nowait({"type": "http.request", "body": b"input", "more_body": False})
        queue.put_nowait({"type": "http.disconnect"})

        async def send(message: Any) -> None: ...

        await wrap(app)(scope("GET", "/page"), queue.get, send)

    asyncio.run(check())
    assert heard == [
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]


def test_a_cancelled_request_leaves_no_page_and_no_flight() -> None:
    async def check() -> None:
        inside = asyncio.Event()

        async def app(made: Any, receive: Any, send: Any) -> None:
            await send(START)
            await send(piece(b"half", more=True))
            inside.set()
            await asyncio.Event().wait()

        wrapped = wrap(app)
        task = asyncio.ensure_future(call_asgi(wrapped, scope("GET", "/page")))
        await inside.wait()
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        assert wrapped.cache.statistics()["flights_flying"] == 0
        assert wrapped.cache.inspect("/page", host="testserver").state == "absent"

    asyncio.run(check())


def test_only_what_the_lifespan_put_into_the_state_reaches_the_handler() -> None:
    seen: list[Any] = []

    async def app(made: Any, receive: Any, send: Any) -> None:
        if made["type"] == "lifespan":
            made["state"]["database"] = "pool"
            return
        seen.append((made.get("state"), made.get("session"), made["extensions"]))
        await sending(START, piece(b"x"))(made, receive, send)

    wrapped = wrap(app)
    lifespan: dict[str, Any] = {"type": "lifespan", "state": {}}
    asyncio.run(wrapped(lifespan, asyncio.Event().wait, asyncio.sleep))  # type: ignore[arg-type]
    made = scope("GET", "/page")
    made["state"] = {**lifespan["state"], "user": "ada"}
    made["session"] = {"cart": 1}
    # Pushes are offered to clients of HTTP/2 alone.
    offered = {"http.response.debug": {}, "http.response.push": {}}
    made["extensions"] = {**offered, "tls": {"client_cert": "secret"}}
    asyncio.run(call_asgi(wrapped, made))
    assert seen == [({"database": "pool"}, None, {"http.response.debug": {}})]


def test_mounted_applications_have_pages_of_their_own() -> None:
    async def app(made: Any, receive: Any, send: Any) -> None:
        await sending(START, piece(made["root_path"].encode()))(made, receive, send)

    wrapped = wrap(app)
    for root in ("/a", "/b", ""):
        made = scope("GET", f"{root}/page") | {"root_path": root}
        assert asyncio.run(call_asgi(wrapped, made)).text == root
        assert asyncio.run(call_asgi(wrapped, made)).trace == "hit"


def test_a_starlette_middleware_may_edit_what_a_hit_sends() -> None:
    """Messages of a hit are made anew: nobody edits the stored page through them."""
    wrapped = wrap(sending(START, piece(b"x")))
    get(wrapped)
    for _ in range(2):
        start, _body = asyncio.run(deliver(wrapped, scope("GET", "/page")))
        assert (b"edited", b"yes") not in start["headers"]
        start["headers"].append((b"edited", b"yes"))


@given(
    chunks=st.lists(st.binary(max_size=20), max_size=4),
    status=st.sampled_from([200, 404, 500]),
    query=st.text("abc=&%0+;", max_size=12),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
)
def test_on_bypass_wrapped_and_bare_send_the_same_messages(
    chunks: list[bytes], status: int, query: str, method: str
) -> None:
    messages = [
        START | {"status": status},
        *(piece(chunk, more=True) for chunk in chunks),
        piece(b""),
    ]
    made = scope(method, f"/other?{query}")
    bare = asyncio.run(deliver(sending(*messages), made))
    assert asyncio.run(deliver(wrap(sending(*messages), cache_status=False), made)) == bare
