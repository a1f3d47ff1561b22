"""Hung, dying and lying Redis servers: bounded time, and never a reply to another question."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, perf_counter
from typing import Any

import pytest

from pagegen.errors import StoreError
from pagegen.stores.redis import RedisStore
from pagegen.stores.redis.lookup import Lookup
from tests.stores.redis_faces import BOTH_FACES, Face, mint, opened, page, slot
from tests.stores.redis_servers import (
    PATIENCE,
    Actor,
    Command,
    Listener,
    RedisServer,
    array,
    bulk,
    eventually,
    free_port,
    replication_info,
    server_info,
)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes until a verb has raised ``StoreError``."""
    start = perf_counter()
    with pytest.raises(StoreError):
        work()
    return perf_counter() - start


@pytest.mark.alone
@BOTH_FACES
def test_a_hung_server_costs_bounded_time_and_then_none(
    on_loop: bool, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(redis_server.url, on_loop=on_loop, timeout=0.05) as face:
        eventually(lambda: _answers(face), "no answer")
        redis_server.stop()
        took = [seconds(lambda: face.read(slot(), "a")) for _ in range(3)]
        assert min(took) < 0.2
        assert max(took) < 2
        assert face.count("breaker_is_open")
        quick = sorted(seconds(lambda: face.replace(a=mint())) for _ in range(20))
        assert quick[10] < 0.01
        redis_server.cont()
        eventually(lambda: _answers(face), "the store does not come back")
        assert not face.count("breaker_is_open")
        assert caplog.text.count("it is left alone, and asked") == 1
        assert caplog.text.count("answers again") == 1


def _answers(face: Face) -> bool:
    with suppress(StoreError):
        face.read(slot(), "a")
        return True
    return False


@BOTH_FACES
def test_a_silent_invalidation_is_an_error_and_a_later_read_never_older(
    on_loop: bool, redis_server: RedisServer
) -> None:
    with opened(redis_server.url, on_loop=on_loop, timeout=0.1) as face:
        eventually(lambda: _answers(face), "no answer")
        added = face.add(a=mint())
        redis_server.stop()
        with pytest.raises(StoreError):
            face.replace(a=mint())
        redis_server.cont()
        with opened(redis_server.url, on_loop=False) as other:
            other.replace(a=mint())
            latest = other.tokens("a")
        eventually(lambda: _answers(face), "the store does not come back")
        assert face.tokens("a") == latest != (added["a"],)


@BOTH_FACES
def test_a_server_that_is_not_there_is_found_out_at_once(on_loop: bool) -> None:
    with opened(f"redis://127.0.0.1:{free_port()}", on_loop=on_loop) as face:
        assert seconds(lambda: face.tokens("a")) < 2
        assert face.count("failures") == 1


@BOTH_FACES
def test_a_host_without_an_address_is_an_error(on_loop: bool) -> None:
    with (
        opened("redis://nowhere.invalid", on_loop=on_loop) as face,
        pytest.raises(StoreError, match=r"cannot be found|too long"),
    ):
        face.tokens("a")


def test_a_silent_name_server_holds_nobody_longer_than_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()
    asked = []

    def silent(*given: Any, **_: Any) -> list[Any]:
        asked.append(given)
        release.wait(PATIENCE)
        raise OSError("no name server")

    monkeypatch.setattr("pagegen.stores.redis.lookup.socket.getaddrinfo", silent)
    try:
        with opened("redis://some.host", on_loop=False, timeout=0.05) as face:
            assert max(seconds(lambda: face.tokens("a")) for _ in range(3)) < 2
        with opened("redis://some.host", on_loop=True, timeout=0.05) as face:
            assert max(seconds(lambda: face.tokens("a")) for _ in range(3)) < 2
        assert len(asked) == 2  # one look-up of each, for which all wait
    finally:
        release.set()


def test_a_name_is_looked_up_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter(["10.0.0.1", "10.0.0.2"])
    monkeypatch.setattr(
        "pagegen.stores.redis.lookup.socket.getaddrinfo",
        lambda *_, **__: [(socket.AF_INET, 0, 0, "", (next(found), 0))],
    )
    lookup = Lookup("some.host")
    for expected in ("10.0.0.1", "10.0.0.2"):
        assert lookup.start().result(PATIENCE) == [(int(socket.AF_INET), expected)]


@BOTH_FACES
def test_localhost_is_found_whatever_comes_first(on_loop: bool, shared_redis: RedisServer) -> None:
    url = shared_redis.url.replace("127.0.0.1", "localhost")
    with opened(url, on_loop=on_loop) as face:
        added = face.add(there=mint())
        assert face.tokens("there") == (added["there"],)


@BOTH_FACES
def test_connections_of_a_restarted_server_are_replaced_without_a_failure(
    on_loop: bool, redis_server: RedisServer
) -> None:
    with opened(redis_server.url, on_loop=on_loop) as face:
        face.tokens("a")
        redis_server.restart()
        face.replace(a=mint())
        redis_server.restart()
        face.add(a=mint())
        redis_server.run("CLIENT", "KILL", "TYPE", "normal")
        assert face.write(slot(), page())
        assert face.count("failures") == 0
        assert face.count("stale_connections") == 3


def _trickle(connection: socket.socket, reply: bytes) -> None:
    for byte in reply:
        connection.sendall(bytes([byte]))
        threading.Event().wait(0.02)


@BOTH_FACES
def test_a_server_that_dribbles_holds_nobody_longer_than_the_timeout(on_loop: bool) -> None:
    with (
        Actor(lambda _: bulk(b"x" * 10_000), _trickle) as server,
        opened(server.url, on_loop=on_loop, timeout=0.06) as face,
    ):
        assert seconds(lambda: face.tokens("a")) < 2


class Deaf(Listener):
    """It tells who it is, and reads nothing after that until it is ``released``."""

    def __init__(self) -> None:
        self.released = threading.Event()
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(server_info())
        self.released.wait(PATIENCE)


@BOTH_FACES
def test_a_server_that_does_not_read_holds_nobody_longer_than_the_timeout(on_loop: bool) -> None:
    with Deaf() as server, opened(server.url, on_loop=on_loop, timeout=0.1) as face:
        try:
            assert seconds(lambda: face.write(slot(), page(b"x" * 20_000_000))) < 3
        finally:
            server.released.set()


RUBBISH = {
    "not the protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no line at all": b"\xff" * 300_000,
    "a shorter list": array(b"t"),
    "a longer list": array(b"t", b"t", b"t", b"t"),
    "a number": b":1\r\n",
    "an acknowledgement": b"+OK\r\n",
    "an identity too early": replication_info(),
    "a list of lists": b"*2\r\n*1\r\n$1\r\nt\r\n$1\r\nt\r\n",
    "numbers for values": b"*2\r\n:1\r\n:2\r\n",
    "a list too deep": b"*1\r\n" * 100_000,
    "a list too long": b"*1000000000\r\n" + b"$-1\r\n" * 1000,
    "a value too long": b"*2\r\n$1000000000000\r\nx",
    "a negative length": b"*2\r\n$-7\r\n\r\n",
    "no number": b"*2\r\n$x\r\n",
    "half a value": array(b"t" * 1000, b"t" * 1000)[:1500],
    "an error of no kind": b"-\r\n",
    "an error of half a kind": b"-MOVED\r\n",
    "an error inside": b"*2\r\n-ERR no\r\n$1\r\nt\r\n",
    "nothing but an end": b"",
}


@BOTH_FACES
@pytest.mark.parametrize("kind", RUBBISH)
def test_rubbish_is_an_error_in_bounded_time(on_loop: bool, kind: str) -> None:
    lies = True

    def answer(command: Command) -> bytes | None:
        if command[0] == b"INFO":
            return replication_info()
        return (RUBBISH[kind] or None) if lies else array(*command[1:])

    with (
        Actor(answer) as server,
        opened(server.url, on_loop=on_loop, timeout=0.3) as face,
    ):
        assert seconds(lambda: face.tokens("a", "b")) < 5
        lies = False
        eventually(lambda: _truth(face), "the store does not come back")


def _truth(face: Face) -> bool:
    """Whether it answers; if so, with the answer to this question (the server echoes names)."""
    names = [f"n{random.random()}" for _ in range(3)]
    try:
        tokens = face.tokens(*names)
    except StoreError:
        return False
    echoed = [face.store._names.token(name) for name in names]
    assert [token[:-8] for token in tokens if token] == echoed
    return True


@BOTH_FACES
def test_a_token_is_never_sent_twice_and_a_question_is_asked_again_once(on_loop: bool) -> None:
    closing = False

    def answer(command: Command) -> bytes | None:
        if closing:
            return None
        return replication_info() if command[0] == b"INFO" else array(b"t")

    with Actor(answer) as server, opened(server.url, on_loop=on_loop) as face:
        face.tokens("a")
        closing = True
        with pytest.raises(StoreError):
            face.replace(a=mint())
        assert sum(command[0] == b"SET" for command in server.heard) == 1
        closing = False
        face.tokens("a")
        closing = True
        with pytest.raises(StoreError):
            face.tokens("b")
        asked = [c for c in server.heard if c == [b"MGET", face.store._names.token("b")]]
        assert len(asked) == 2
        closing = False
        face.tokens("a")
        closing = True
        with pytest.raises(StoreError):
            face.add(c=mint())
        assert sum(command[0] == b"SET" for command in server.heard) == 2


def test_a_loop_that_was_late_itself_does_not_blame_the_server(
    shared_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(shared_redis.url, timeout=0.02)
    twin = store.on_loop()

    async def main() -> None:
        late = 0
        for _ in range(20):
            reading = asyncio.create_task(twin.read(None, ("a",)))
            await asyncio.sleep(0)
            until = monotonic() + 0.05
            while monotonic() < until:
                pass
            try:
                await reading
            except StoreError:
                late += 1
        assert late > 0

    caplog.set_level(logging.ERROR)
    asyncio.run(main())
    assert store.statistics()["failures"] == 0
    store.close()
