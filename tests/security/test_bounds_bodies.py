"""Huge bodies, bodies byte by byte, and slow readers: what is collected and what is held."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware
from pagegen.asgi.responses import PIECE
from pagegen.asgi.types import Message, Receive, Scope, Send
from pagegen.collecting import FREE, Collection, Room
from pagegen.law.storing import Refusal
from pagegen.testing import Reply
from pagegen.testing.calling import scope
from pagegen.wsgi import PageCacheMiddleware as WsgiMiddleware
from tests.conftest import MakeScenario
from tests.security.memory import ROOT, Site, becomes

PAGE: Final = Rule(path="/{name}", share="public", ttl="1h")
MEBIBYTE: Final = 2**20
#: A process that streams so many mebibytes of one response under a limit of 48 more for its data.
STREAM: Final = """
import json, resource, sys
from pagegen import PageCache, Rule
from pagegen.testing.calling import environ
from pagegen.wsgi import PageCacheMiddleware
from tests.security.memory import _said

def app(made, start_response):
    start_response("200 OK", [("Content-Type", "video/mp4")])
    piece = bytes(65536)
    return (piece for _ in range(16 * int(sys.argv[1])))

cache = PageCache([Rule(path="/film", share="public", ttl="1h", max_body=2**20)])
front = PageCacheMiddleware(app, cache=cache)
data = _said("VmData") + 48 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (data, data))
length = sum(map(len, front(environ("GET", "/film"), lambda *_: None)))
print(json.dumps([length, cache.statistics()["refused:too-large"]]))
"""


def test_a_gigabyte_streams_through_forty_eight_mebibytes() -> None:
    command = [sys.executable, "-c", STREAM, "1024"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == [1024 * MEBIBYTE, 1]


def test_a_body_that_comes_byte_by_byte_takes_its_length_and_not_its_objects() -> None:
    collection = Collection(MEBIBYTE, Room())
    pieces = [bytes([number]) for number in range(256)]
    tracemalloc.start()
    try:
        for number in range(50_000):
            assert collection.take(pieces[number % 256]) is None
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 80_000
    assert len(collection.body()) == 50_000


def test_the_room_for_bodies_is_shared_and_given_back_with_each() -> None:
    room = Room(100_000)
    one, other, small = (Collection(MEBIBYTE, room) for _ in range(3))
    piece = bytes(FREE + 60_000)
    assert one.take(piece) is None
    assert other.take(piece) is Refusal.CROWDED
    assert small.take(bytes(FREE)) is None  # that much is nobody's to refuse
    assert other.take(b"") is Refusal.CROWDED  # 60,000 more are not left
    del one
    assert other.take(b"") is None


def _stream(number: int) -> Iterator[bytes]:
    yield b"%d" % number * 10
    yield from (bytes(60_000) for _ in range(3))


def test_slow_readers_of_many_pages_do_not_pile_them_up() -> None:
    """WSGI: who reads a piece and waits keeps what was collected; there is room for three."""
    cache = PageCache([PAGE])
    so_far = 10 + 2 * 60_000 - FREE
    cache.engine._state.room = room = Room(3 * so_far)
    numbers = iter(range(100))

    def app(_made: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        return _stream(next(numbers))

    front, site = WsgiMiddleware(app, cache=cache), Site(0)
    readers = [
        iter(front({**site._base, "PATH_INFO": f"/{n}", "RAW_URI": f"/{n}"}, lambda *_: None))
        for n in range(10)
    ]
    for reader in readers:
        for _ in range(3):  # all but the last piece
            next(reader)
    assert cache.statistics()["refused:crowded"] == 7
    room.give(3 * 60_000)
    for reader in readers:
        assert sum(map(len, reader)) in (0, 60_000)
        getattr(reader, "close", lambda: None)()
    assert cache.statistics()["admitted"] == 3
    del reader, readers
    assert room.take(3 * (so_far + 60_000))


def test_what_found_no_room_is_stored_when_there_is(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    stage.handler = lambda _: Reply(_stream(1))
    stage.cache.engine._state.room = crowded = Room(0)
    assert len(stage.get("/a").body) == 180_010
    assert stage.cache.statistics()["refused:crowded"] == 1
    crowded.give(MEBIBYTE)
    assert stage.get("/a").trace != "hit"
    assert stage.get("/a").trace == "hit"


def test_a_slow_reader_of_a_hit_gets_its_next_piece_when_it_wants_it() -> None:
    """ASGI: a server says by its ``send`` that its client does not read."""
    body = bytes(range(256)) * 4096

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def run() -> None:
        front = PageCacheMiddleware(app, cache=PageCache([PAGE]))
        given: list[Message] = []
        reads = asyncio.Event()

        async def send(message: Message) -> None:
            given.append(message)
            if message.get("body"):
                await reads.wait()

        async def receive() -> Message:
            raise AssertionError("nobody asks")

        for _ in range(2):
            given.clear()
            reads.clear()
            asking = asyncio.create_task(front(scope("GET", "/page"), receive, send))
            await becomes(lambda: any(message.get("body") for message in given))
            for _ in range(20):
                await asyncio.sleep(0)
            assert sum(len(message.get("body", b"")) for message in given) <= PIECE
            reads.set()
            await asking
            assert b"".join(message.get("body", b"") for message in given) == body
            more = [message.get("more_body", False) for message in given[1:]]
            assert more == [True] * 7 + [False]
        assert front.cache.statistics()["hit"] == 1

    asyncio.run(run())
