"""Bodies pass piece by piece, no faster than somebody takes them, and clients leave early."""

from __future__ import annotations

import asyncio
import select
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Queue
from typing import Any, Final

import pytest

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware
from pagegen.testing import call_wsgi, environ, scope
from tests.testing.proxying import PATIENCE, Kind, Peer, Twin, bare_environ, plain, twin_of

#: Far more than sockets hold on both sides, and far less than patience.
LARGE: Final = 48 * 2**20
PIECE: Final = bytes(2**16)
#: What may stand in buffers of the proxy and of Python's streams.
ROOM: Final = 4 * 2**20


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@contextmanager
def little_memory() -> Iterator[None]:
    """Fails when the block holds more at one time than there is room for."""
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        yield
        assert tracemalloc.get_traced_memory()[1] - before < ROOM
    finally:
        tracemalloc.stop()


def large_page(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
    for _ in range(LARGE // len(PIECE)):
        peer.send(PIECE)


async def count_asgi(twin: Twin) -> int:
    received = 0

    async def send(message: Any) -> None:
        nonlocal received
        received += len(message.get("body", b""))

    await twin.proxy(scope("GET", "/"), Client().receive, send)
    return received


def count_wsgi(twin: Twin) -> int:
    body = twin.proxy(environ("GET", "/"), lambda *_: None)
    try:
        return sum(map(len, body))
    finally:
        body.close()


def test_a_large_body_comes_back_in_little_memory(kind: Kind) -> None:
    with twin_of(kind, large_page) as (twin, _), little_memory():
        if kind == "asgi":
            assert twin.run(count_asgi(twin)) == LARGE
        else:
            assert count_wsgi(twin) == LARGE


class Input:
    """A ``wsgi.input`` of so many bytes that nobody has in memory."""

    def __init__(self, length: int) -> None:
        self._left = length

    def read(self, size: int) -> bytes:
        found = PIECE[: min(size, self._left)]
        self._left -= len(found)
        return found


async def upload_asgi(twin: Twin, fields: list[tuple[bytes, bytes]]) -> int:
    left, status = LARGE, 0

    async def receive() -> dict[str, Any]:
        nonlocal left
        if not left:
            await asyncio.Event().wait()
        left -= len(PIECE)
        return {"type": "http.request", "body": PIECE, "more_body": left > 0}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    made = {**scope("PUT", "/"), "headers": [(b"host", b"h"), *fields]}
    await twin.proxy(made, receive, send)
    return status


def upload_wsgi(twin: Twin, fields: list[tuple[str, str]]) -> int:
    made = {**bare_environ("PUT", "/", fields), "wsgi.input": Input(LARGE)}
    return call_wsgi(twin.proxy, made).status


@pytest.mark.parametrize(
    "field", [("content-length", str(LARGE)), ("transfer-encoding", "chunked")]
)
def test_a_large_upload_goes_out_in_little_memory(kind: Kind, field: tuple[str, str]) -> None:
    taken = 0

    def script(peer: Peer) -> None:
        nonlocal taken
        end = b"\r\n0\r\n\r\n" if field[1] == "chunked" else None
        peer.until(b"\r\n\r\n")
        tail = b""
        while (taken < LARGE) if end is None else (tail != end):
            piece = peer.exactly(1) + peer.take()
            taken += len(piece)
            tail = (tail + piece)[-7:]
        peer.send(plain())

    with twin_of(kind, script) as (twin, _), little_memory():
        if kind == "asgi":
            line = (field[0].encode(), field[1].encode())
            assert twin.run(upload_asgi(twin, [line])) == 200
        else:
            assert upload_wsgi(twin, [field]) == 200
    assert taken >= LARGE


def test_a_piece_passes_before_the_next_one_is_there(kind: Kind) -> None:
    seen = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        assert seen.wait(PATIENCE)
        peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    with twin_of(kind, script) as (twin, _):
        pieces: list[bytes] = []
        if kind == "wsgi":
            body = twin.proxy(environ("GET", "/"), lambda *_: None)
            for piece in body:
                pieces.append(piece)
                seen.set()
            body.close()
        else:

            async def send(message: Any) -> None:
                if message.get("body"):
                    pieces.append(message["body"])
                    seen.set()

            twin.run(twin.proxy(scope("GET", "/"), Client().receive, send))
    assert pieces == [b"one", b"two"]


class Client:
    """``receive`` of a client that asks once and leaves when it is told to."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}


def test_an_origin_waits_for_a_client_that_reads_slowly() -> None:
    """All that is under way is what sockets hold, until the client takes its next piece."""
    stuck = threading.Event()
    sent = 0

    def script(peer: Peer) -> None:
        nonlocal sent
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        before = 0
        while before < LARGE:
            # Nobody reads any more when there has been no room for so long.
            if not select.select([], [peer.socket], [], 0.5)[1] and not stuck.is_set():
                sent = before
                stuck.set()
            before += peer.socket.send(PIECE[: LARGE - before])
        stuck.set()

    with twin_of("asgi", script) as (twin, _):
        received = 0

        async def send(message: Any) -> None:
            nonlocal received
            if message.get("body") and not received:
                assert await asyncio.to_thread(stuck.wait, PATIENCE)
            received += len(message.get("body", b""))

        twin.run(twin.proxy(scope("GET", "/"), Client().receive, send))
    assert received == LARGE
    assert 0 < sent < LARGE // 2


# Clients that leave --------------------------------------------------------------------------


def test_a_client_that_leaves_before_the_answer_takes_the_connection_with_it() -> None:
    asked, left = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        asked.set()
        assert peer.closed()
        left.set()

    with twin_of("asgi", script) as (twin, _):
        sent: list[Any] = []

        async def scene() -> None:
            client = Client()

            async def send(message: Any) -> None:
                sent.append(message)

            task = asyncio.create_task(twin.proxy(scope("GET", "/"), client.receive, send))
            assert await asyncio.to_thread(asked.wait, PATIENCE)
            client.gone.set()
            await task  # ends, and raises nothing
            assert await asyncio.to_thread(left.wait, PATIENCE)

        twin.run(scene())
        assert sent == []


class Endless:
    """A script that sends without an end until the other side closes."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def __call__(self, peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):
            while True:
                peer.send(b"10000\r\n" + PIECE + b"\r\n")
        self.ended.set()


def test_a_client_that_leaves_in_the_middle_takes_the_connection_with_it(kind: Kind) -> None:
    script = Endless()
    with twin_of(kind, script) as (twin, _):
        if kind == "wsgi":
            body = twin.proxy(environ("GET", "/"), lambda *_: None)
            assert next(body)
            body.close()
        else:
            client = Client()

            async def send(message: Any) -> None:
                if message.get("body"):
                    client.gone.set()

            twin.run(twin.proxy(scope("GET", "/"), client.receive, send))
        assert script.ended.wait(PATIENCE)


def test_a_client_that_leaves_in_the_middle_of_its_upload_takes_the_connection_with_it(
    kind: Kind,
) -> None:
    arrived: Queue[bytes] = Queue()

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        arrived.put(peer.exactly(10))

    with twin_of(kind, script) as (twin, _):
        if kind == "wsgi":
            with pytest.raises(ConnectionResetError):
                twin.ask("POST", "/", [("content-length", "10")], b"12345")
        else:
            messages = iter(
                [
                    {"type": "http.request", "body": b"12345", "more_body": True},
                    {"type": "http.disconnect"},
                ]
            )

            async def receive() -> Any:
                return next(messages)

            async def send(message: Any) -> None:
                raise AssertionError(message)

            made = {**scope("POST", "/"), "headers": [(b"content-length", b"10")]}
            twin.run(twin.proxy(made, receive, send))
        assert arrived.get(timeout=PATIENCE) == b"12345"


def test_a_server_that_calls_the_client_gone_after_the_end_cuts_nothing_off() -> None:
    with twin_of("asgi", plain()) as (twin, _):

        async def scene() -> list[str]:
            client, ended = Client(), []

            async def send(message: Any) -> None:
                if message["type"] == "http.response.body":
                    client.gone.set()
                    for _ in range(10):
                        await asyncio.sleep(0)  # what middleware does behind the last byte
                    ended.append(message["body"])

            await twin.proxy(scope("GET", "/"), client.receive, send)
            return ended

        assert twin.run(scene()) == [b"hello"]


def test_an_error_of_send_is_its_own_and_closes_the_connection() -> None:
    script = Endless()
    with twin_of("asgi", script) as (twin, _):

        async def send(message: Any) -> None:
            if message.get("body"):
                raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            twin.run(twin.proxy(scope("GET", "/"), Client().receive, send))
        assert script.ended.wait(PATIENCE)


def test_a_task_that_is_cancelled_ends_and_closes_the_connection() -> None:
    asked, left = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        asked.set()
        assert peer.closed()
        left.set()

    with twin_of("asgi", script) as (twin, _):

        async def scene() -> None:
            async def send(message: Any) -> None: ...

            task = asyncio.create_task(twin.proxy(scope("GET", "/"), Client().receive, send))
            assert await asyncio.to_thread(asked.wait, PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        twin.run(scene())
        assert left.wait(PATIENCE)


def test_the_last_byte_leaves_when_the_connection_is_free_again(kind: Kind) -> None:
    """The client's next request, sent the moment it has everything, needs no second connection."""
    length = 200_000
    with twin_of(kind, plain(bytes(length))) as (twin, origin):
        if kind == "wsgi":
            first = twin.proxy(environ("GET", "/"), lambda *_: None)
            received = 0
            while received < length:
                received += len(next(first))
            assert count_wsgi(twin) == length
            first.close()
        else:

            async def scene() -> None:
                received = 0

                async def send(message: Any) -> None:
                    nonlocal received
                    received += len(message.get("body", b""))
                    if received == length:
                        assert not message.get("more_body")
                        assert await count_asgi(twin) == length

                await twin.proxy(scope("GET", "/"), Client().receive, send)

            twin.run(scene())
        assert (len(origin.requests), origin.connections) == (2, 1)


def test_connections_are_limited_and_the_others_wait() -> None:
    together = threading.Barrier(2, timeout=PATIENCE)
    most = 0
    lock = threading.Lock()
    open_now = 0

    def script(peer: Peer) -> None:
        nonlocal most, open_now
        while peer.request() is not None:
            with lock:
                open_now += 1
                most = max(most, open_now)
            together.wait()
            with lock:
                open_now -= 1
            peer.send(plain())

    with twin_of("asgi", script, max_connections=2) as (twin, origin):

        async def scene() -> None:
            await asyncio.gather(*(count_asgi(twin) for _ in range(8)))

        twin.run(scene())
        assert (most, origin.connections) == (2, 2)


def test_each_event_loop_has_connections_of_its_own() -> None:
    with twin_of("asgi", plain()) as (twin, origin):
        assert twin.ask("GET", "/").status == 200

        async def elsewhere() -> None:
            assert await count_asgi(twin) == 5
            await twin.proxy.aclose()

        asyncio.run(elsewhere())
        assert twin.ask("GET", "/").status == 200
        assert (len(origin.requests), origin.connections) == (3, 2)


def test_a_client_that_leaves_at_the_end_of_a_page_has_it_stored() -> None:
    rule = Rule(path="/page", share="public", ttl="1h")
    with twin_of("asgi", plain(b"page")) as (twin, origin):
        app = PageCacheMiddleware(twin.proxy, cache=PageCache([rule]))

        async def scene() -> None:
            client = Client()

            async def send(message: Any) -> None:
                client.gone.set()

            await app(scope("GET", "/page"), client.receive, send)

        twin.run(scene())
        twin.app = app
        again = twin.ask_bare("GET", "/page", [("host", "testserver")])
        assert (again.text, again.get("age")) == ("page", "0")
        assert len(origin.requests) == 1
