"""Hung, dying and lying Redis servers: bounded time, and never a reply to another question."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, perf_counter
from typing import Any

import pytest

from pagegen.errors import StoreError
from pagegen.stepping import step
from pagegen.stores.redis import RedisStore
from pagegen.stores.redis.lookup import Lookup
from pagegen.stores.redis.sockets import TimedSocket
from tests.stores.redis_faces import AMPLE, BOTH_FACES, Face, mint, opened, page, slot
from tests.stores.redis_servers import (
    PATIENCE,
    Actor,
    Command,
    RedisServer,
    array,
    bulk,
    eventually,
    free_port,
    replication_info,
)

NAMES = [f"name:{number}" for number in range(64)]


def fill(store: RedisStore) -> dict[str, bytes]:
    """A token for each name; returns what readers see."""
    return dict(step(store.add_tokens({name: mint() for name in NAMES}, 600)))


def seconds(work: Callable[[], object]) -> float:
    """How long it takes until a verb has raised ``StoreError``."""
    start = perf_counter()
    with pytest.raises(StoreError):
        work()
    return perf_counter() - start


def in_processes(count: int, work: Callable[[int], None]) -> None:
    """Run it in forked children, all of which must come to a good end."""
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(number)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * count


def in_threads(count: int, work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert errors == []


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


@BOTH_FACES
def test_a_server_that_does_not_read_holds_nobody_longer_than_the_timeout(on_loop: bool) -> None:
    def hang_up(command: Command) -> bytes:
        gate.wait(PATIENCE)
        return b"+OK\r\n"

    gate = threading.Event()
    try:
        with (
            Actor(hang_up) as server,
            opened(server.url, on_loop=on_loop, timeout=0.06) as face,
        ):
            with suppress(StoreError):
                face.tokens("a")
            took = seconds(lambda: face.write(slot(), page(b"x" * 20_000_000)))
            assert took < 2
            gate.set()
    finally:
        gate.set()


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


class Interruption(BaseException):
    """What gevent's time-outs and Ctrl-C are like."""


@pytest.mark.parametrize("moment", ["before", "behind"])
def test_an_interrupted_call_leaves_no_reply_for_the_next_one(
    moment: str, monkeypatch: pytest.MonkeyPatch, shared_redis: RedisServer
) -> None:
    store = RedisStore(shared_redis.url, timeout=AMPLE, pool=1)
    tokens = fill(store)
    plain = TimedSocket.recv
    armed = False

    def recv(self: TimedSocket, size: int) -> bytes:
        nonlocal armed
        if not armed:
            return plain(self, size)
        armed = False
        if moment == "behind":
            plain(self, size)
        raise Interruption

    monkeypatch.setattr(TimedSocket, "recv", recv)
    for number in range(100):
        first, second = random.sample(NAMES, 2)
        armed = number % 2 == 0
        with suppress(Interruption):
            step(store.read(None, (first,)))
        assert step(store.read(None, (second,))).tokens == (tokens[second],)
    assert store.statistics()["failures"] == 0
    store.close()


def test_many_threads_share_few_connections_and_get_their_own_answers(
    shared_redis: RedisServer,
) -> None:
    store = RedisStore(shared_redis.url, timeout=PATIENCE, pool=3)
    tokens = fill(store)

    def work(number: int) -> None:
        rng = random.Random(number)
        for turn in range(200):
            asked = rng.sample(NAMES, 3)
            if turn % 20 == 0:
                step(store.write_page(slot(number), page(b"%d" % number * 5000), 60))
            found = step(store.read(slot(number), asked))
            assert found.tokens == tuple(tokens[name] for name in asked)
            assert found.page is not None
            assert found.page.body == b"%d" % number * 5000

    in_threads(12, work)
    assert store.statistics()["connections"] <= 3
    store.close()


@BOTH_FACES
def test_who_finds_no_connection_waits_and_the_server_is_not_blamed(on_loop: bool) -> None:
    entered, release = threading.Semaphore(0), threading.Event()

    def answer(command: Command) -> bytes:
        if command[0] == b"MGET":
            entered.release()
            release.wait(PATIENCE)
        return replication_info() if command[0] == b"INFO" else array(b"t")

    with (
        Actor(answer) as server,
        opened(server.url, on_loop=on_loop, pool=2, timeout=PATIENCE) as face,
    ):
        gate = face.store._gate
        busy = [threading.Thread(target=face.tokens, args=("a",), daemon=True) for _ in range(2)]
        for thread in busy:
            thread.start()
            assert entered.acquire(timeout=PATIENCE)
        # The two in use have all the time they want; those who come now have little.
        object.__setattr__(gate.server, "timeout", 0.02)
        for _ in range(5):
            with pytest.raises(StoreError, match="all its connections are in use"):
                face.tokens("b")
        object.__setattr__(gate.server, "timeout", PATIENCE)
        release.set()
        for thread in busy:
            thread.join(PATIENCE)
        assert face.tokens("c") != (None,)
        assert face.count("exhausted") == 5
        assert face.count("failures") == face.count("breaker_opened") == 0


def test_four_children_do_not_use_their_parents_connections(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, timeout=AMPLE)
    tokens = fill(store)

    def work(number: int) -> None:
        rng = random.Random(number)
        for _ in range(10_000):
            name = rng.choice(NAMES)
            assert step(store.read(None, (name,))).tokens == (tokens[name],)

    in_processes(4, work)
    work(5)
    assert store.statistics()["connections"] == 1
    assert store.statistics()["stale_connections"] == 0
    store.close()


def test_a_child_that_is_forked_while_all_is_in_use_has_its_own(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, timeout=AMPLE, pool=1)
    tokens = fill(store)
    twin = store.on_loop()
    # As if another thread of the parent held the only connection and both locks.
    assert store._client._places.acquire(timeout=1)
    store._gate.breaker._lock.acquire()
    store._gate.breaker._failures = 1

    def work(number: int) -> None:
        assert step(store.read(None, NAMES[:1])).tokens == (tokens[NAMES[0]],)
        assert asyncio.run(twin.read(None, NAMES[:1])).tokens == (tokens[NAMES[0]],)

    in_processes(1, work)
    store._gate.breaker._lock.release()
    store._client._places.release()
    store.close()


def test_ten_thousand_cancelled_calls_leave_no_reply_for_others(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, timeout=AMPLE, pool=8)
    tokens = fill(store)
    twin = store.on_loop()
    rng = random.Random(3)
    cancelled = answered = 0

    async def ask() -> None:
        nonlocal answered
        name = rng.choice(NAMES)
        assert (await twin.read(None, (name,))).tokens == (tokens[name],)
        answered += 1

    async def worker() -> None:
        nonlocal cancelled
        while cancelled < 10_000:
            task = asyncio.create_task(ask())
            if rng.random() < 0.75:
                await asyncio.sleep(rng.choice((0, rng.random() * 0.003)))
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1

    async def main() -> None:
        await asyncio.gather(*(worker() for _ in range(16)))
        for _ in range(100):
            await ask()

    asyncio.run(main())
    assert answered > 1000
    numbers = store.statistics()
    assert numbers["failures"] == numbers["exhausted"] == 0
    store.close()


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


@pytest.mark.parametrize(
    ("policy", "on_loop", "share"),
    # Redis' LRU clock counts whole seconds, and this flood takes little more than one.
    [("allkeys-lru", False, 0.2), ("allkeys-lfu", False, 0.9), ("allkeys-lfu", True, 0.9)],
)
def test_a_flood_of_pages_leaves_the_site_up_and_hot_pages_in(
    policy: str, on_loop: bool, share: float
) -> None:
    with (
        RedisServer("--maxmemory", "16mb", "--maxmemory-policy", policy) as server,
        opened(server.url, on_loop=on_loop) as face,
    ):
        hits = 0
        for number in range(1, 3001):
            assert face.write(slot(number), page(os.urandom(10_000)))
            if number % 10 == 0:
                token = face.add(hot=mint())["hot"]
                found = face.read(slot(0), "hot")
                assert found.tokens in ((token,), (None,))
                hits += found.page is not None
                if found.page is None:
                    face.write(slot(0), page(b"hot" * 3000))
        assert hits >= 300 * share
        assert server.run("INFO", "memory")["used_memory"] < 20 * 2**20
        assert server.run("DBSIZE") < 2000
        assert face.count("failures") == 0
