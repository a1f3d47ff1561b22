"""What a hostile reading of the shared stores found."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pagegen.stepping import step
from pagegen.stores.lmdb import LmdbStore
from pagegen.stores.lmdb.generation import make
from pagegen.stores.memcached import MemcachedStore
from pagegen.stores.memcached.verbs import Counters
from pagegen.stores.redis import RedisStore
from pagegen.testing import Loop
from tests.stores.redis_faces import BOTH_FACES, opened
from tests.stores.redis_servers import (
    Listener,
    RedisServer,
    array,
    replication_info,
    server_info,
)

#: Seconds: by how much the wall clock was set back, and less than half of it.
SET_BACK = 4.0
SOON = 1.5
PATIENCE = 10.0


def in_child(work: Callable[[], bool]) -> bool:
    """What a child after ``fork`` says; one that hangs is ended by an alarm, and said no."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(PATIENCE))
        done = False
        try:
            done = work()
        finally:
            os._exit(0 if done else 1)
    return os.waitpid(child, 0)[1] == 0


def from_the_future(place: Path) -> None:
    """As it is after the wall clock was set back."""
    ahead = time.time() + SET_BACK
    os.utime(place / "about", (ahead, ahead))


def test_lmdb_opens_at_once_though_the_clock_was_set_back(tmp_path: Path) -> None:
    LmdbStore(tmp_path / "s", "8MiB").close()
    from_the_future(tmp_path / "s")
    began = time.monotonic()
    LmdbStore(tmp_path / "s", "8MiB").close()
    assert time.monotonic() - began < SOON


def test_lmdb_writes_in_time_though_the_clock_was_set_back(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s", "8MiB")
    from_the_future(tmp_path / "s")
    time.sleep(0.02)  # a process believes for 10 ms that nothing has changed
    began = time.monotonic()
    step(store.replace_tokens({"a": b"1" * 16}, 60))
    assert time.monotonic() - began < SOON
    store.close()


def test_a_child_reads_lmdb_though_the_clock_was_set_back(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s", "8MiB")
    step(store.replace_tokens({"a": b"1" * 16}, 60))
    from_the_future(tmp_path / "s")

    def reads() -> bool:
        until = time.monotonic() + SOON
        while time.monotonic() < until:
            try:
                return step(store.read(None, ["a"])).tokens == (b"1" * 16,)
            except Exception:
                time.sleep(0.02)
        return False

    assert in_child(reads)
    store.close()


def test_what_lmdb_processes_map_and_write_has_its_room_on_the_disk(tmp_path: Path) -> None:
    """A hole that is written through a map on a full disk ends the worker (SIGBUS)."""
    make(tmp_path, "0" * 16, 64 * 2**20)
    for name in ("marks", "lock.mdb"):
        found = (tmp_path / ("0" * 16) / name).stat()
        assert found.st_blocks * 512 >= found.st_size, name


def test_damaged_counters_of_lmdb_do_not_end_who_asks_for_statistics(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "s", "8MiB")
    assert store._environment is not None
    generation = store._environment.current()
    with generation.env.begin(write=True) as txn:
        txn.put(b"state", b"damaged", db=generation.index)
    assert "write_timeouts" in store.statistics()
    store.close()


class Echo(Listener):
    """A Redis server that says every answer to an MGET twice; each value is its own key."""

    def serve(self, connection: socket.socket) -> None:
        while data := connection.recv(65_536):
            if b"MGET" not in data:
                connection.sendall(server_info())
                continue
            keys = re.findall(rb"\r\n(pg1:\S+)\r\n", data)
            connection.sendall((array(*keys) + replication_info()) * 2)


@BOTH_FACES
def test_an_answer_that_redis_gives_twice_is_no_answer_to_the_next_question(on_loop: bool) -> None:
    with Echo() as server, opened(server.url, on_loop=on_loop) as face:
        first = face.tokens("one")
        second = face.tokens("two")
        assert first != second
        assert second == face.tokens("two")


def test_a_child_counts_though_its_parent_forked_while_counting() -> None:
    counters = Counters()
    with counters._lock:
        assert in_child(lambda: counters.count("pages_split") is None)


def test_a_child_makes_its_twin_though_its_parent_forked_while_making_one() -> None:
    store = MemcachedStore(["127.0.0.1:1"])
    with store._twinning:
        assert in_child(lambda: store.on_loop() is not None)
    store.close()


def test_a_child_looks_names_up_though_its_parent_forked_while_doing_so(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, real = Event(), socket.getaddrinfo

    def silent(host: Any, *rest: Any, **more: Any) -> Any:
        if host == "localhost":
            done.wait(PATIENCE)
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    store = RedisStore(f"redis://localhost:{redis_server.port}/0", timeout=0.5)
    loop = Loop()
    with pytest.raises(Exception, match="too long"):
        loop.run(store.on_loop().read(None, ["a"]))

    def reads() -> bool:
        socket.getaddrinfo = real
        return asyncio.run(store.on_loop().read(None, ["a"])).tokens == (None,)

    try:
        assert in_child(reads)
    finally:
        done.set()
        store.close()
        loop.close()
