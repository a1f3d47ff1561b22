"""The blocking client: deadlines, rubbish, interruptions, forks, many threads, the breaker."""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pagegen.errors import StoreError
from pagegen.stepping import step
from pagegen.stores.breaker import THRESHOLD, Breaker
from pagegen.stores.memcached import sockets
from pagegen.stores.memcached.addresses import parse_addresses
from pagegen.stores.memcached.blocking import BlockingClient
from tests.stores.servers import PATIENCE, Impostor, Memcached, free_port, introduced, several

Behaviour = Callable[[socket.socket], None]
#: Seconds for a verb where it is meant to fail, and at most for what is bounded by it.
SHORT = 0.15
BOUND = 5.0


@contextmanager
def client_of(*servers: str, timeout: float = PATIENCE, **options: Any) -> Iterator[BlockingClient]:
    addresses = parse_addresses(servers)
    breakers = options.pop("breakers", None) or [Breaker() for _ in addresses]
    client = BlockingClient(addresses, breakers=breakers, timeout=timeout, **options)
    try:
        yield client
    finally:
        client.close()


def get(client: BlockingClient, *keys: bytes, server: int = 0) -> dict[bytes, bytes]:
    """The values; raises what the server failed with."""
    answer = step(client.get({server: keys}))
    for error in answer.failed.values():
        raise error
    return answer.values


def put(client: BlockingClient, key: bytes, value: bytes, server: int = 0) -> None:
    assert step(client.set({server: {key: value}}, 60)).values == {key: value}


def saying(*answers: bytes) -> Behaviour:
    """To each ``get`` the next of these answers, then silence."""

    def behave(sock: socket.socket) -> None:
        rest = iter(answers)
        for line in introduced(sock):
            if line.startswith(b"get"):
                sock.sendall(next(rest, b""))

    return behave


RUBBISH = {
    "a key nobody asked for": b"VALUE other 0 1\r\nx\r\nEND\r\n",
    "a key twice": b"VALUE k 0 1\r\nx\r\nVALUE k 0 1\r\ny\r\nEND\r\n",
    "a value longer than it says": b"VALUE k 0 1\r\nxyz\r\nEND\r\n",
    "a value without its end": b"VALUE k 0 1\r\nxyzEND\r\n",
    "a negative length": b"VALUE k 0 -5\r\nx\r\nEND\r\n",
    "a length with underscores": b"VALUE k 0 0_1\r\nx\r\nEND\r\n",
    "a length without measure": b"VALUE k 0 999999999\r\nx\r\nEND\r\n",
    "a number nobody asked for": b"VALUE k 0 1 7\r\nx\r\nEND\r\n",
    "no memcached": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an answer to another command": b"STORED\r\n",
    "bytes": bytes(range(256)) + b"\r\n",
    "an error": b"SERVER_ERROR out of memory writing get response\r\n",
}


@pytest.mark.parametrize("answer", RUBBISH.values(), ids=RUBBISH)
def test_what_is_no_answer_is_a_failure_and_closes_the_connection(answer: bytes) -> None:
    honest = b"VALUE k 0 2\r\nok\r\nEND\r\n"
    with Impostor(saying(answer, honest)) as server, client_of(server.address) as client:
        with pytest.raises(StoreError):
            get(client, b"k")
        assert server.connections == 1
        with pytest.raises(StoreError):  # each connection begins with the first answer
            get(client, b"k")
        assert server.connections == 2


def test_rubbish_without_end_is_left_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MAX_IDLE_TALK", 100_000)

    def behave(sock: socket.socket) -> None:
        for _ in introduced(sock):
            while True:
                sock.sendall(b"x" * 10_000)

    with (
        Impostor(behave) as server,
        client_of(server.address) as client,
        pytest.raises(StoreError, match="rubbish without end"),
    ):
        get(client, b"k")


@pytest.mark.parametrize("receive", [1, 2, 3, 5, 64, 1000])
def test_an_answer_may_come_in_any_pieces(
    shared_memcached: Memcached, monkeypatch: pytest.MonkeyPatch, receive: int
) -> None:
    monkeypatch.setattr(sockets, "RECEIVE", receive)
    wanted = {b"p%d" % size: b"\r\nEND" * size for size in range(6)}
    with client_of(shared_memcached.address) as client:
        for key, value in wanted.items():
            put(client, key, value)
        assert get(client, *wanted, b"none") == wanted


@pytest.mark.parametrize("cut", range(1, 29))
def test_an_answer_cut_short_is_a_failure(cut: int) -> None:
    whole = b"VALUE k 0 9\r\nsomething\r\nEND\r\n"
    assert len(whole) == 29

    def behave(sock: socket.socket) -> None:
        for _ in introduced(sock):
            sock.sendall(whole[:cut])
            return

    with (
        Impostor(behave) as server,
        client_of(server.address) as client,
        pytest.raises(StoreError, match="cannot be used"),
    ):
        get(client, b"k")


@pytest.mark.parametrize("head", [b"", b"VALUE k 0 100000\r\n", b"VALUE "])
def test_a_server_that_dribbles_is_left_at_the_deadline(head: bytes) -> None:
    over = threading.Event()

    def behave(sock: socket.socket) -> None:
        for _ in introduced(sock):
            sock.sendall(head)
            while not over.wait(SHORT / 5):
                sock.sendall(b"x")

    with Impostor(behave) as server, client_of(server.address, timeout=SHORT) as client:
        began = time.monotonic()
        with pytest.raises(StoreError, match="did not answer in time"):
            get(client, b"k")
        assert SHORT * 0.9 < time.monotonic() - began < BOUND
        over.set()


def test_a_server_that_dribbles_its_settings_is_left_as_well() -> None:
    over = threading.Event()

    def behave(sock: socket.socket) -> None:
        while not over.wait(SHORT / 5):
            sock.sendall(b"STAT pid 1\r\n")

    with Impostor(behave) as server, client_of(server.address, timeout=SHORT) as client:
        began = time.monotonic()
        with pytest.raises(StoreError, match="did not answer in time"):
            get(client, b"k")
        assert time.monotonic() - began < BOUND
        over.set()


def test_a_late_answer_is_nobodys() -> None:
    answering, answered = threading.Event(), threading.Event()

    def behave(sock: socket.socket) -> None:
        for line in introduced(sock):
            if line == b"get slow\r\n":
                answering.wait(PATIENCE)
                answer = b"VALUE slow 0 4\r\nlate\r\nEND\r\n"
            else:
                answer = b"VALUE k 0 3\r\nown\r\nEND\r\n"
            try:
                sock.sendall(answer)
            finally:
                answered.set()

    with Impostor(behave) as server, client_of(server.address, timeout=SHORT, pool=1) as client:
        with pytest.raises(StoreError):
            get(client, b"slow")
        answering.set()
        assert answered.wait(PATIENCE)
        assert get(client, b"k") == {b"k": b"own"}


def test_bytes_that_follow_an_answer_are_not_taken_for_the_next_one() -> None:
    def behave(sock: socket.socket) -> None:
        for _ in introduced(sock):
            sock.sendall(b"VALUE k 0 3\r\nown\r\nEND\r\n")
            sock.sendall(b"VALUE k 0 5\r\nwrong\r\nEND\r\n")

    with Impostor(behave) as server, client_of(server.address, pool=1) as client:
        for _ in range(3):
            assert get(client, b"k") == {b"k": b"own"}
            wire = client._servers[0].pool._idle[0].sock
            assert wire._watch.poll(PATIENCE * 1000)
        assert server.connections == 3


def test_a_verb_never_sends_its_question_again() -> None:
    heard: list[bytes] = []

    def behave(sock: socket.socket) -> None:
        for line in introduced(sock):
            heard.append(line)
            if line.startswith(b"get"):
                sock.sendall(b"END\r\n")
            if line.startswith(b"set"):
                return  # closes: was it stored?

    with Impostor(behave) as server, client_of(server.address, pool=1) as client:
        assert get(client, b"k") == {}
        assert step(client.set({0: {b"k": b"v"}}, 60)).failed.keys() == {0}
        assert get(client, b"k") == {}
        assert [line for line in heard if line.startswith(b"set")] == [b"set k 0 60 1\r\n"]


class Interruption(BaseException):
    """What gevent's Timeout, a KeyboardInterrupt or a SystemExit are: no Exception."""


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_an_interruption_while_waiting_never_shifts_an_answer(
    memcached: Memcached, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    receive = sockets.Wire.recv
    left = [0]

    def interrupted(wire: sockets.Wire, size: int = 0) -> bytes:
        left[0] -= 1
        if left[0] == 0:
            raise Interruption
        return receive(wire, size)

    monkeypatch.setattr(sockets.Wire, "recv", interrupted)
    with several(1) as more, client_of(memcached.address, more[0].address, pool=2) as client:
        big = b"x" * 300_000
        for server in (0, 1):
            put(client, b"a", big, server)
            put(client, b"b", b"1", server)
        for round_ in range(20):
            left[0] = at
            both = step_interrupted(client, {0: [b"a", b"b"], 1: [b"a", b"b"]})
            assert both is None or both == {b"a": big, b"b": b"1"}
            left[0] = 0
            put(client, b"b", b"%d" % round_, 0)
            put(client, b"b", b"%d" % round_, 1)
            assert get(client, b"b", b"none") == {b"b": b"%d" % round_}
            assert get(client, b"none", server=1) == {}
            put(client, b"b", b"1", 0)
            put(client, b"b", b"1", 1)


def step_interrupted(
    client: BlockingClient, asked: dict[int, list[bytes]]
) -> dict[bytes, bytes] | None:
    try:
        return step(client.get(asked)).values
    except Interruption:
        return None


@pytest.mark.untraced
def test_signals_at_any_moment_never_shift_an_answer(shared_memcached: Memcached) -> None:
    def ring(*_: object) -> None:
        raise Interruption

    rng = random.Random(7)
    before = signal.signal(signal.SIGALRM, ring)
    found = interrupted = 0
    with warnings.catch_warnings(), client_of(shared_memcached.address, pool=4) as client:
        # A signal between making a socket or coroutine and using it leaves that to the collector.
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        for key in range(10):
            put(client, b"sig%d" % key, b"%d" % key * 1000)
        until = time.monotonic() + PATIENCE
        soonest = time.monotonic() + 1
        try:
            while min(found, interrupted) < 100 or time.monotonic() < soonest:
                assert time.monotonic() < until
                key = rng.randrange(10)
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.000_02 * 200 ** rng.random())
                    try:
                        values = get(client, b"sig%d" % key)
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except (Interruption, StoreError):
                    interrupted += 1
                else:
                    assert values == {b"sig%d" % key: b"%d" % key * 1000}
                    found += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        gc.collect()


def hammer(client: BlockingClient, who: int, rounds: int) -> int:
    """Operations whose answers were those of another question."""
    wrong = 0
    for number in range(rounds // 2):
        key, value = b"h%d-%d" % (who, number % 50), b"%d:%d" % (who, number)
        wrong += step(client.set({0: {key: value}}, 60)).values != {key: value}
        wrong += get(client, key, b"h%d-none" % who) != {key: value}
    return wrong


def test_four_forks_each_get_their_own_answers(shared_memcached: Memcached) -> None:
    with client_of(shared_memcached.address) as client:
        hammer(client, 99, 10)
        connection = client._servers[0].pool._idle[-1]
        inherited = connection.sock
        assert inherited is not None
        children = []
        for who in range(4):
            child = os.fork()
            if child == 0:
                wrong = 99
                try:
                    closed = connection.sock is None and inherited._sock.fileno() == -1
                    wrong = hammer(client, who, 10_000) if closed else 98
                finally:
                    os._exit(min(wrong, 99))
            children.append(child)
        wrong = hammer(client, 77, 10_000)
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert (wrong, ends) == (0, [0, 0, 0, 0])
        # The parent still has the connection that it had.
        assert inherited._sock.fileno() != -1
        assert client.statistics()["connects"] == 1


def test_fifty_threads_share_two_connections_and_the_breaker_stays_closed(
    shared_memcached: Memcached,
) -> None:
    breaker = Breaker()
    wrong: list[int] = []
    with client_of(shared_memcached.address, pool=2, breakers=[breaker]) as client:
        threads = [
            threading.Thread(target=lambda who=who: wrong.append(hammer(client, who, 60)))
            for who in range(50)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert wrong == [0] * 50
        assert client.statistics()["connects"] <= 2
        assert (breaker.opened, client.statistics()["failures"]) == (0, 0)


def test_who_finds_no_free_connection_waits_until_the_deadline_and_blames_nobody() -> None:
    asked, go = threading.Event(), threading.Event()

    def behave(sock: socket.socket) -> None:
        for line in introduced(sock):
            asked.set()
            if line == b"get slow\r\n":
                go.wait(PATIENCE)
            sock.sendall(b"END\r\n")

    breaker = Breaker()
    with Impostor(behave) as server:
        address = parse_addresses([server.address])
        client = BlockingClient(address, breakers=[breaker], timeout=PATIENCE, pool=1)
        slow = threading.Thread(target=lambda: get(client, b"slow"))
        slow.start()
        assert asked.wait(PATIENCE)
        for _ in range(2 * THRESHOLD):
            answer = step(client.get({0: [b"k"]}, until=time.monotonic() + 0.02))
            assert "all connections are in use" in str(answer.failed[0])
        assert not breaker.is_open
        assert client.statistics()["busy"] == 2 * THRESHOLD
        go.set()
        slow.join(PATIENCE)
        assert get(client, b"k") == {}
        client.close()


def test_a_deadline_that_was_nearly_over_does_not_count_against_a_server(
    memcached: Memcached,
) -> None:
    breaker = Breaker()
    with client_of(memcached.address, breakers=[breaker]) as client:
        get(client, b"k")
        memcached.stop()
        for _ in range(2 * THRESHOLD):
            answer = step(client.get({0: [b"k"]}, until=time.monotonic() + 0.01))
            assert answer.failed
        assert not breaker.is_open
        memcached.cont()
        assert get(client, b"k") == {}


def test_a_hung_server_is_left_alone_after_a_few_failures_and_found_again(
    memcached: Memcached,
) -> None:
    clock = [0.0]
    breaker = Breaker(now=lambda: clock[0])
    with client_of(memcached.address, timeout=SHORT, breakers=[breaker]) as client:
        put(client, b"k", b"v")
        memcached.stop()
        began = time.monotonic()
        for _ in range(THRESHOLD):
            with pytest.raises(StoreError, match="did not answer in time"):
                get(client, b"k")
        assert time.monotonic() - began < BOUND
        assert breaker.is_open
        began = time.monotonic()
        for _ in range(1000):
            with pytest.raises(StoreError, match="left alone"):
                get(client, b"k")
        assert (time.monotonic() - began) / 1000 < 0.001
        clock[0] += 60
        with pytest.raises(StoreError, match="did not answer in time"):
            get(client, b"k")  # the probe
        with pytest.raises(StoreError, match="left alone"):
            get(client, b"k")
        memcached.cont()
        clock[0] += 60
        assert get(client, b"k") == {b"k": b"v"}
        assert not breaker.is_open


def test_a_closed_port_fails_at_once_and_opens_the_breaker() -> None:
    breaker = Breaker()
    with client_of(f"127.0.0.1:{free_port()}", breakers=[breaker]) as client:
        for _ in range(THRESHOLD):
            with pytest.raises(StoreError, match="refused"):
                get(client, b"k")
        assert breaker.is_open


def test_pooled_connections_of_a_server_that_was_restarted_are_replaced_unasked(
    memcached: Memcached,
) -> None:
    with client_of(memcached.address) as client:
        put(client, b"k", b"v")
        memcached.restart()
        assert get(client, b"k") == {}
        put(client, b"k", b"w")
        assert client.statistics()["stale"] == 1
        assert client.statistics()["failures"] == 0


def test_an_answer_that_came_in_time_is_taken_by_a_thread_that_comes_late(
    shared_memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client_of(shared_memcached.address) as client:
        put(client, b"late", b"v")
        receive = sockets.Wire.recv

        def late(wire: sockets.Wire, size: int = 0) -> bytes:
            if wire._watch.poll(PATIENCE * 1000):
                wire._sockets.until = 0.0
            return receive(wire, size)

        monkeypatch.setattr(sockets.Wire, "recv", late)
        assert get(client, b"late") == {b"late": b"v"}


def test_one_server_that_hangs_costs_its_own_keys_alone(memcacheds: list[Memcached]) -> None:
    names = [server.address for server in memcacheds]
    with client_of(*names, timeout=SHORT) as client:
        for number in range(3):
            put(client, b"k", b"%d" % number, number)
        memcacheds[0].stop()
        for _ in range(THRESHOLD + 2):
            answer = step(client.get({0: [b"a"], 1: [b"k"], 2: [b"none"]}))
            assert answer.failed.keys() == {0}
            assert answer.values == {b"k": b"1"}


def test_connecting_is_part_of_the_deadline() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # A queue that is full: the kernel answers no further connection.
        crowd = [socket.socket() for _ in range(4)]
        for sock in crowd:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        name = f"127.0.0.1:{listener.getsockname()[1]}"
        with client_of(name, timeout=SHORT) as client:
            began = time.monotonic()
            with pytest.raises(StoreError, match="did not answer in time"):
                get(client, b"k")
            assert time.monotonic() - began < BOUND
        with client_of(name, connect_timeout=SHORT) as client:
            began = time.monotonic()
            with pytest.raises(StoreError, match="did not answer in time"):
                get(client, b"k")
            assert time.monotonic() - began < BOUND
        for sock in crowd:
            sock.close()


def test_localhost_is_ipv4_even_where_ipv6_comes_first(
    shared_memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo
    threads = []

    def ipv6_first(host: str, port: int, **options: Any) -> list[Any]:
        if options.get("flags"):
            return look_up(host, port, **options)
        threads.append(threading.current_thread())
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [
            (socket.AF_INET6, *kind, ("::1", port, 0, 0)),
            (socket.AF_INET, *kind, ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", ipv6_first)
    with client_of(f"localhost:{shared_memcached.port}") as client:
        put(client, b"k", b"v")
        assert get(client, b"k") == {b"k": b"v"}
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


def test_a_name_that_takes_for_ever_is_left_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    look_up = socket.getaddrinfo

    def slow(host: str, port: int, **options: Any) -> list[Any]:
        if not options.get("flags"):
            over.wait(PATIENCE)
        return look_up("127.0.0.1" if not options.get("flags") else host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with client_of("memcached.test", timeout=SHORT) as client:
        began = time.monotonic()
        with pytest.raises(StoreError, match="did not answer in time"):
            get(client, b"k")
        assert time.monotonic() - began < BOUND
        over.set()


def test_a_closed_client_says_so(shared_memcached: Memcached) -> None:
    with client_of(shared_memcached.address) as client:
        put(client, b"k", b"v")
    client.close()
    with pytest.raises(StoreError, match="closed"):
        get(client, b"k")
