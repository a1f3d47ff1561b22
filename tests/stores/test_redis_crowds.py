"""A Redis store in a crowd: threads, forks, cancelled and interrupted calls, floods.

Every answer is checked to be the answer to its own question.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from pagegen.errors import StoreError
from pagegen.stepping import step
from pagegen.stores.redis import RedisStore
from pagegen.stores.redis.sockets import TimedSocket
from tests.stores.redis_faces import AMPLE, BOTH_FACES, mint, opened, page, slot
from tests.stores.redis_servers import (
    PATIENCE,
    Actor,
    Command,
    RedisServer,
    array,
    replication_info,
)

NAMES = [f"name:{number}" for number in range(64)]


def fill(store: RedisStore) -> dict[str, bytes]:
    """A token for each name; returns what readers see."""
    return dict(step(store.add_tokens({name: mint() for name in NAMES}, 600)))


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
