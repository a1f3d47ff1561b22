"""The asyncio client on real memcached servers, and on servers that misbehave."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from pagegen.errors import StoreError
from pagegen.stores.breaker import THRESHOLD, Breaker
from pagegen.stores.memcached import connection
from pagegen.stores.memcached.addresses import parse_address
from pagegen.stores.memcached.client import Answer, Check
from pagegen.stores.memcached.native import LARGE, NativeClient
from pagegen.testing import FakeClock
from tests.stores.servers import Impostor, Memcached, free_port, introduced, lines

T = TypeVar("T")
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
#: Seconds: for tests of what is right, and for tests of what is in time.
PATIENT = 10.0
SHORT = 0.05
#: What a call may take of which 52 ms were promised, on a machine that is busy with other things.
GENEROUS = 1.0


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine to its end, on each kind of event loop."""

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(coroutine)

    return run


Run = Callable[[Coroutine[Any, Any, Any]], Any]


def make(
    *addresses: str,
    timeout: float = PATIENT,
    connect_timeout: float | None = None,
    breakers: list[Breaker] | None = None,
    tls: ssl.SSLContext | None = None,
    check: Check | None = None,
) -> NativeClient:
    return NativeClient(
        [parse_address(address) for address in addresses],
        timeout=timeout,
        connect_timeout=connect_timeout,
        breakers=breakers or [Breaker() for _ in addresses],
        ssl=tls,
        check=check,
    )


@contextmanager
def opened(*addresses: str, **options: Any) -> Iterator[NativeClient]:
    client = make(*addresses, **options)
    try:
        yield client
    finally:
        client.close()


@asynccontextmanager
async def used(*addresses: str, **options: Any) -> AsyncIterator[NativeClient]:
    """A client that is closed on its own loop."""
    with opened(*addresses, **options) as client:
        yield client
    await asyncio.sleep(0)


async def until(true: Callable[[], bool]) -> None:
    """Wait for what only real time brings."""
    async with asyncio.timeout(PATIENT):
        while not true():  # noqa: ASYNC110 - nobody there could set an event
            await asyncio.sleep(0.002)


def accept(number: int, settings: Mapping[str, str]) -> None:
    """A check that finds nothing wrong."""
    assert settings["item_size_max"]


def value(key: bytes, body: bytes) -> bytes:
    return b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(body), body)


def failure(answer: Answer, server: int = 0) -> str:
    error = answer.failed[server]
    assert isinstance(error, StoreError)
    return str(error)


# The verbs, on each loop and over each kind of line.


class TlsMemcached(Memcached):
    """memcached with TLS, which the fixture's own questions must speak too."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "certificate.pem"
        key = directory / "key.pem"
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.fail("openssl is not installed. Run: apt-get install openssl")
        subprocess.run(
            (openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-keyout", key, "-out", self.certificate, "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            check=True, capture_output=True,
        )  # fmt: skip
        self.context = ssl.create_default_context(cafile=self.certificate)
        super().__init__("-Z", "-o", f"ssl_chain_cert={self.certificate},ssl_key={key}")

    def connect(self) -> socket.socket:
        return self.context.wrap_socket(super().connect(), server_hostname="127.0.0.1")


@pytest.fixture(scope="module")
def tls_memcached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsMemcached]:
    server = TlsMemcached(tmp_path_factory.mktemp("tls"))
    with server:
        yield server


@pytest.fixture(scope="module")
def unix_memcached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memcached]:
    with Memcached(path=tmp_path_factory.mktemp("unix") / "mc.sock") as server:
        yield server


@pytest.mark.parametrize("line", ["shared_memcached", "unix_memcached", "tls_memcached"])
def test_every_verb_does_what_it_says(line: str, run: Run, request: pytest.FixtureRequest) -> None:
    server: Memcached = request.getfixturevalue(line)
    context = server.context if isinstance(server, TlsMemcached) else None

    async def scenario() -> None:
        async with used(server.address, tls=context, check=accept) as client:
            big = os.urandom(900_000)
            await client.delete(0, [b"a", b"b", b"big"])
            stored = await client.set({0: {b"a": b"1\r\nEND\r\n", b"big": big}}, 60)
            assert stored == Answer({b"a": b"1\r\nEND\r\n", b"big": big})
            added = await client.add({0: {b"a": b"other", b"b": b""}}, 60)
            assert added == Answer({b"b": b""})
            found = await client.get({0: [b"a", b"b", b"big", b"none", b"a"]})
            assert found == Answer({b"a": b"1\r\nEND\r\n", b"b": b"", b"big": big})
            seen = await client.gets(0, b"a")
            assert seen is not None
            assert seen[0] == b"1\r\nEND\r\n"
            assert await client.cas(0, b"a", b"2", seen[1], 60)
            assert not await client.cas(0, b"a", b"3", seen[1], 60)
            assert not await client.cas(0, b"none", b"3", seen[1], 60)
            assert await client.gets(0, b"none") is None
            await client.delete(0, [b"a", b"none"])
            await client.delete(0, [])
            assert await client.get({0: [b"a"]}) == Answer()
            assert await client.get({0: []}) == Answer()
            assert (await client.settings(0))["memory_file"] == "(null)"
            if context is not None:
                return  # memcached 1.6.18 falls silent when it refuses a value over TLS
            # What the server refuses is not stored, and nothing else has failed.
            huge = await client.set({0: {b"huge": b"x" * 2**20, b"b": b"y"}}, 60)
            assert huge == Answer({b"b": b"y"})

    run(scenario())


def test_a_certificate_that_nobody_signed_is_refused(tls_memcached: TlsMemcached) -> None:
    async def scenario() -> None:
        async with used(tls_memcached.address, tls=ssl.create_default_context()) as client:
            assert "CERTIFICATE_VERIFY_FAILED" in failure(await client.get({0: [b"a"]}))

    asyncio.run(scenario())


def test_a_verb_that_speaks_to_one_server_raises_what_went_wrong() -> None:
    async def scenario() -> None:
        async with used(f"127.0.0.1:{free_port()}") as client:
            for verb in (
                client.gets(0, b"a"),
                client.cas(0, b"a", b"", 1, 1),
                client.delete(0, [b"a"]),
            ):
                with pytest.raises(StoreError, match="no connection"):
                    await verb
            with pytest.raises(StoreError, match="left alone"):
                await client.settings(0)

    asyncio.run(scenario())


# Several servers.


def test_servers_are_asked_at_once_and_one_that_fails_is_named(run: Run) -> None:
    met = threading.Barrier(2)

    def behave(sock: socket.socket) -> None:
        for line in lines(sock):
            met.wait(PATIENT)  # nobody answers before both were asked
            sock.sendall(value(line.split()[1], b"here"))

    async def scenario(first: str, second: str) -> None:
        dead = f"127.0.0.1:{free_port()}"
        async with used(first, dead, second) as client:
            answer = await client.get({0: [b"a"], 1: [b"b"], 2: [b"c"]})
            assert answer.values == {b"a": b"here", b"c": b"here"}
            assert "no connection" in failure(answer, 1)
            assert answer.failed.keys() == {1}

    with Impostor(behave) as one, Impostor(behave) as two:
        run(scenario(one.address, two.address))


# Cancellation.


def test_ten_thousand_calls_cancelled_at_random_never_get_another_answer(
    shared_memcached: Memcached, run: Run
) -> None:
    dice = random.Random(9111)
    held = {b"cancel%d" % n: b"%d:" % n * dice.randrange(1, 900) for n in range(200)}
    held[b"cancel-large"] = b"large" * LARGE

    async def call(client: NativeClient) -> bool:
        keys = dice.sample(sorted(held), dice.randrange(1, 4))
        answer = await client.get({0: keys})
        assert answer == Answer({key: held[key] for key in keys})
        return True

    async def scenario() -> None:
        async with used(shared_memcached.address, check=accept) as client:
            assert (await client.set({0: held}, 60)).values == held
            answered = 0
            for _ in range(100):
                tasks = [asyncio.create_task(call(client)) for _ in range(100)]
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
                for task in dice.sample(tasks, 50):
                    task.cancel()
                for ended in await asyncio.gather(*tasks, return_exceptions=True):
                    assert ended is True or isinstance(ended, asyncio.CancelledError)
                    answered += ended is True
            counts = client.statistics()
            assert answered >= 5000
            assert counts["cancelled"] > 1000
            # One connection for all, and one for large values: nothing was mended by a new one.
            assert counts["connects"] == 2
            assert counts["lost"] + counts["timeouts"] + counts["rubbish"] == 0

    run(scenario())


def test_who_is_cancelled_before_there_is_a_connection_is_never_asked_for() -> None:
    asked: list[bytes] = []
    introduce = threading.Event()

    def behave(sock: socket.socket) -> None:
        for line in lines(sock):
            if line.startswith(b"stats"):
                introduce.wait(PATIENT)
                sock.sendall(b"STAT item_size_max 1\r\nEND\r\n")
            else:
                asked.append(line)
                sock.sendall(b"END\r\n")

    async def scenario(address: str) -> None:
        async with used(address, check=accept) as client:
            one, two = (asyncio.create_task(client.get({0: [key]})) for key in (b"one", b"two"))
            await asyncio.sleep(0)
            one.cancel()
            await asyncio.wait([one])
            introduce.set()
            assert await two == Answer()
            assert asked == [b"get two\r\n"]

    with Impostor(behave) as server:
        asyncio.run(scenario(server.address))


def test_cancelling_one_call_lets_go_of_all_its_servers() -> None:
    reached = threading.Semaphore(0)
    go = threading.Event()

    def behave(sock: socket.socket) -> None:
        for line in lines(sock):
            reached.release()
            go.wait(PATIENT)
            sock.sendall(value(line.split()[1], b"of " + line.split()[1]))

    async def scenario(first: str, second: str) -> None:
        async with used(first, second) as client:
            task = asyncio.create_task(client.get({0: [b"a"], 1: [b"b"]}))
            await asyncio.to_thread(lambda: [reached.acquire(timeout=PATIENT) for _ in range(2)])
            task.cancel()
            await asyncio.wait([task])
            go.set()
            later = await client.get({0: [b"c"], 1: [b"d"]})
            assert later == Answer({b"c": b"of c", b"d": b"of d"})
            assert client.statistics()["cancelled"] == 2

    with Impostor(behave) as one, Impostor(behave) as two:
        asyncio.run(scenario(one.address, two.address))


# Servers that hang, die and come back.


def _stands_still(server: Memcached) -> bool:
    """Whether SIGSTOP has reached each thread: a signal takes its time."""
    states = Path(f"/proc/{server.pid}/task").glob("*/stat")
    return all(state.read_text().rpartition(")")[2].split()[0] == "T" for state in states)


def test_a_server_that_hangs_costs_little_and_soon_nothing(memcached: Memcached, run: Run) -> None:
    clock = FakeClock()

    async def scenario() -> None:
        breaker = Breaker(clock)
        async with used(
            memcached.address, timeout=SHORT, connect_timeout=PATIENT, breakers=[breaker]
        ) as client:
            async with asyncio.timeout(PATIENT):
                while (await client.set({0: {b"a": b"before"}}, 60)).failed:
                    clock.advance(60)
            memcached.stop()
            await until(lambda: _stands_still(memcached))
            before = client.statistics()
            for _ in range(THRESHOLD):
                began = time.monotonic()
                assert "no answer" in failure(await client.get({0: [b"a"]}))
                assert SHORT <= time.monotonic() - began < GENEROUS
            began = time.monotonic()
            for _ in range(1000):
                assert "left alone" in failure(await client.get({0: [b"a"]}))
            assert time.monotonic() - began < GENEROUS  # 1 ms each
            after = client.statistics()
            assert after["refused_by_breaker"] - before["refused_by_breaker"] == 1000
            assert after["timeouts"] - before["timeouts"] == THRESHOLD
            assert after["connects"] - before["connects"] == THRESHOLD - 1
            memcached.cont()
            async with asyncio.timeout(PATIENT):
                while (answer := await client.get({0: [b"a"]})).failed:
                    clock.advance(60)
            assert answer == Answer({b"a": b"before"})
            assert not breaker.is_open

    run(scenario())


def test_a_restart_between_two_calls_is_noticed_before_the_second(
    memcached: Memcached, run: Run
) -> None:
    async def scenario() -> None:
        async with used(memcached.address, check=accept) as client:
            await client.set({0: {b"a": b"1"}}, 60)
            memcached.kill()
            await until(lambda: client.statistics()["closed_idle"] == 1)
            memcached.restart()
            assert await client.get({0: [b"a"]}) == Answer()
            counts = client.statistics()
            assert (counts["connects"], counts["lost"]) == (2, 0)

    run(scenario())


def test_a_server_that_is_down_fails_at_once_all_who_wait_for_it(run: Run) -> None:
    async def scenario() -> None:
        async with used(f"127.0.0.1:{free_port()}") as client:
            calls = [client.get({0: [b"%d" % number]}) for number in range(50)]
            began = time.monotonic()
            for answer in await asyncio.gather(*calls):
                assert "no connection" in failure(answer)
            assert time.monotonic() - began < GENEROUS  # not PATIENT
            # One attempt for all of them is one failure.
            assert client.statistics()["connect_failures"] == 1

    run(scenario())


def test_an_attempt_to_connect_may_take_longer_than_a_call() -> None:
    introduce = threading.Event()

    def behave(sock: socket.socket) -> None:
        for line in lines(sock):
            if line.startswith(b"stats"):
                introduce.wait(PATIENT)
                sock.sendall(b"STAT item_size_max 1\r\nEND\r\n")
            else:
                sock.sendall(value(line.split()[1], b"v"))

    async def scenario(address: str) -> None:
        clock = FakeClock()
        breaker = Breaker(clock)
        async with used(
            address, timeout=SHORT, connect_timeout=PATIENT, breakers=[breaker], check=accept
        ) as client:
            for _ in range(THRESHOLD):
                assert "no connection within 0.05 s" in failure(await client.get({0: [b"a"]}))
            assert breaker.is_open
            introduce.set()
            await until(lambda: not breaker.is_open)
            async with asyncio.timeout(PATIENT):
                while (answer := await client.get({0: [b"a"]})).failed:
                    clock.advance(60)
            assert answer == Answer({b"a": b"v"})

    with Impostor(behave) as server:
        asyncio.run(scenario(server.address))
        assert server.connections == 1


# Servers that lie.


def _dribble(sock: socket.socket) -> None:
    never = threading.Event()
    for byte in value(b"a", b"x" * 10_000):
        sock.sendall(bytes((byte,)))
        never.wait(0.01)


def _hold(sock: socket.socket) -> None:
    """Say nothing until the other side leaves."""
    while sock.recv(65_536):
        pass


def _say(*words: bytes, leave: bool = False) -> Callable[[socket.socket], None]:
    def behave(sock: socket.socket) -> None:
        for word in words:
            sock.sendall(word)
        if not leave:
            _hold(sock)

    return behave


LIES: dict[str, Callable[[socket.socket], None]] = {
    "rubbish": _say(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "another key": _say(value(b"z", b"1")),
    "a wrong length": _say(b"VALUE a 0 1\r\n12\r\n"),
    "no end": _say(b"VALUE a 0 1\r\n1\r\n"),
    "closing in a value": _say(b"VALUE a 0 1000\r\n", b"x" * 500, leave=True),
    "closing at once": _say(leave=True),
    "one byte at a time": _dribble,
    "silence": _hold,
    "one answer too many": _say(value(b"a", b"1") * 2),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_a_failure_and_the_connection_is_never_used_again(lie: str, run: Run) -> None:
    honest = threading.Event()

    def behave(sock: socket.socket) -> None:
        for line in introduced(sock):
            if honest.is_set():
                sock.sendall(value(line.split()[1], b"true"))
            else:
                LIES[lie](sock)
                return

    async def scenario(address: str) -> None:
        # The honest answer has all the time it wants; a lie is found out by one deadline.
        async with used(address, timeout=0.3, check=accept) as client:
            began = time.monotonic()
            answer = await client.get({0: [b"a"]})
            assert failure(answer)
            assert answer.values == {}
            assert time.monotonic() - began < 0.3 + GENEROUS
            honest.set()
            assert await client.get({0: [b"b"]}) == Answer({b"b": b"true"})

    with Impostor(behave) as server:
        run(scenario(server.address))
        assert server.connections == 2


def test_an_answer_that_comes_too_late_is_nobodys(run: Run) -> None:
    late = threading.Event()
    numbers = iter(range(100))

    def behave(sock: socket.socket) -> None:
        first = next(numbers) == 0
        for line in lines(sock):
            if first:
                late.wait(PATIENT)
            sock.sendall(value(line.split()[1], b"of the first" if first else b"of another"))

    async def scenario(address: str) -> None:
        async with used(address, timeout=0.3) as client:
            both = await asyncio.gather(client.get({0: [b"a"]}), client.get({0: [b"b"]}))
            assert all("no answer" in failure(answer) for answer in both)
            late.set()
            for _ in range(50):
                assert await client.get({0: [b"a"]}) == Answer({b"a": b"of another"})

    with Impostor(behave) as server:
        run(scenario(server.address))


def _block_the_loop(seconds: float) -> None:
    """The fault that a test is about: a handler does something slow without awaiting."""
    time.sleep(seconds)


def test_a_loop_that_was_busy_does_not_blame_the_server(run: Run) -> None:
    said = threading.Semaphore(0)

    def behave(sock: socket.socket) -> None:
        for line in lines(sock):
            sock.sendall(value(line.split()[1], b"x" * 700_000))
            said.release()

    async def scenario(address: str) -> None:
        async with used(address, timeout=0.2, connect_timeout=PATIENT) as client:
            await client.get({0: [b"a"]})
            said.acquire(timeout=PATIENT)
            call = asyncio.create_task(client.get({0: [b"a"]}))
            await until(lambda: said.acquire(blocking=False))
            _block_the_loop(0.4)
            assert (await call).failed == {}
            assert client.statistics()["timeouts"] == 0

    with Impostor(behave) as server:
        run(scenario(server.address))


# Bounds.


def test_over_a_number_of_waiting_calls_the_next_one_fails_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "MAX_CALLS", 10)

    async def scenario(address: str) -> None:
        async with used(address) as client:
            waiting = [asyncio.create_task(client.get({0: [b"a"]})) for _ in range(10)]
            await asyncio.sleep(0)
            assert "too much" in failure(await client.get({0: [b"a"]}))
            client.close()
            assert all("closed" in failure(answer) for answer in await asyncio.gather(*waiting))
            assert client.statistics()["refused_by_queue"] == 1

    with Impostor(_hold) as server:
        asyncio.run(scenario(server.address))


@pytest.mark.parametrize("before", [True, False], ids=["connecting", "connected"])
def test_over_a_number_of_waiting_bytes_the_next_call_fails_at_once(
    before: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_QUEUED", 100_000)

    def behave(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for line in lines(sock):
            if line.startswith(b"get"):
                sock.sendall(b"END\r\n")
            else:
                threading.Event().wait(SHORT)  # reads, but slowly

    async def scenario(address: str) -> None:
        async with used(address) as client:
            if not before:
                await client.get({0: [b"a"]})
            waiting: list[asyncio.Task[Answer]] = []
            # Kernels take some megabytes into their own buffers before they push back.
            while client.statistics()["refused_by_queue"] == 0:
                assert len(waiting) < 2000
                call = client.set({0: {b"a": b"x" * 60_000}}, 60)
                waiting.append(asyncio.create_task(call))
                await asyncio.sleep(0)
            assert before <= (len(waiting) == 3)
            client.close()
            await asyncio.gather(*waiting)

    with Impostor(behave) as server:
        run(scenario(server.address))


def test_large_values_do_not_stand_in_front_of_tokens() -> None:
    stuck = threading.Event()
    numbers = iter(range(100))

    def behave(sock: socket.socket) -> None:
        for_large = next(numbers) == 1
        for line in lines(sock):
            if for_large:
                stuck.set()
                return _hold(sock)
            body = b"x" * (LARGE + 1) if b"page" in line else b"t"
            sock.sendall(value(line.split()[1], body))
        return None

    async def scenario(address: str) -> None:
        async with used(address) as client:
            # Nobody knows yet that this page is large.
            assert len((await client.get({0: [b"page"]})).values[b"page"]) == LARGE + 1
            again = asyncio.create_task(client.get({0: [b"token", b"page"]}))
            await until(stuck.is_set)
            assert await client.get({0: [b"token"]}) == Answer({b"token": b"t"})
            assert not again.done()
            again.cancel()
            await asyncio.wait([again])

    with Impostor(behave) as server:
        asyncio.run(scenario(server.address))


def test_names_of_large_values_are_few_and_leave_with_their_size(
    shared_memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pagegen.stores.memcached.native.MAX_LARGE", 5)

    async def scenario() -> None:
        async with used(shared_memcached.address) as client:
            large = b"x" * (LARGE + 1)
            for number in range(23):
                await client.set({0: {b"l%d" % number: large}}, 60)
                assert 1 <= len(client._large) <= 5
            assert b"l22" in client._large
            await client.set({0: {b"l22": b"small"}}, 60)
            assert await client.get({0: [b"l22"]}) == Answer({b"l22": b"small"})
            assert b"l22" not in client._large

    asyncio.run(scenario())


def test_a_second_trip_has_what_time_the_first_one_left() -> None:
    late = threading.Event()

    def behave(sock: socket.socket) -> None:
        for line in lines(sock):
            if b"slow" in line:
                late.wait(PATIENT)
            sock.sendall(value(line.split()[1], b"of " + line.split()[1]))

    async def scenario(address: str) -> None:
        async with used(address) as client:
            soon = time.monotonic() + SHORT
            assert "no answer in the time" in failure(await client.get({0: [b"slow"]}, until=soon))
            assert time.monotonic() - soon < GENEROUS
            # Over the deadline nothing is sent at all.
            past = time.monotonic() - 1
            assert "no time is left" in failure(await client.get({0: [b"past"]}, until=past))
            late.set()
            # The one that was late keeps its place: the next answer is the next one's.
            far = time.monotonic() + PATIENT
            assert await client.get({0: [b"a"]}, until=far) == Answer({b"a": b"of a"})
            assert client.statistics()["connects"] == 1

    with Impostor(behave) as server:
        asyncio.run(scenario(server.address))


# Servers that must not be used.


def test_a_server_that_the_check_refuses_is_never_asked_anything(memcached: Memcached) -> None:
    asked: list[int] = []

    def refuse(number: int, settings: Mapping[str, str]) -> None:
        asked.append(number)
        raise StoreError(f"memory_file is {settings['memory_file']}")

    async def scenario() -> None:
        breaker = Breaker(FakeClock())
        async with used(memcached.address, breakers=[breaker], check=refuse) as client:
            for _ in range(THRESHOLD):
                answer = await client.set({0: {b"a": b"1"}}, 60)
                assert "memory_file is (null)" in failure(answer)
                assert answer.values == {}
            assert "left alone" in failure(await client.set({0: {b"a": b"1"}}, 60))
            assert client.statistics()["refused_by_check"] == THRESHOLD
        assert asked == [0] * THRESHOLD

    asyncio.run(scenario())
    assert memcached.stats()["cmd_set"] == "0"


def test_a_server_is_checked_again_on_every_new_connection(memcached: Memcached) -> None:
    asked: list[str] = []

    def note(_: int, settings: Mapping[str, str]) -> None:
        asked.append(settings["tcpport"])

    async def scenario() -> None:
        async with used(memcached.address, check=note) as client:
            await client.get({0: [b"a"]})
            await client.get({0: [b"a"]})
            memcached.kill()
            await until(lambda: client.statistics()["closed_idle"] == 1)
            memcached.restart()
            await client.get({0: [b"a"]})

    asyncio.run(scenario())
    assert len(asked) == 2


# Loops, threads and processes.


def test_each_loop_has_its_own_connections_and_takes_them_with_it(run: Run) -> None:
    ended = threading.Semaphore(0)

    def behave(sock: socket.socket) -> None:
        try:
            for line in introduced(sock):
                sock.sendall(value(line.split()[1], b"v" * (LARGE + 1)))
        finally:
            ended.release()

    async def scenario(client: NativeClient) -> None:
        for _ in range(2):  # the second time on the connection for large values
            assert (await client.get({0: [b"a"]})).failed == {}

    with Impostor(behave) as server:
        client = make(server.address, check=accept)
        for turn in range(1, 4):
            client._large.clear()
            run(scenario(client))
            assert server.connections == 2 * turn
            # The client is not closed: the loop's own end took them away.
            assert all(ended.acquire(timeout=PATIENT) for _ in range(2))
        client.close()
        gc.collect()  # a transport that was left behind would say so now


def test_loops_in_many_threads_do_not_meet(shared_memcached: Memcached) -> None:
    wrong: list[object] = []

    async def scenario(client: NativeClient, name: int) -> None:
        for number in range(300):
            key, body = b"thread%d" % name, b"%d/%d" % (name, number)
            await client.set({0: {key: body}}, 60)
            answer = await client.get({0: [key]})
            if answer != Answer({key: body}):
                wrong.append(answer)

    with opened(shared_memcached.address) as client:
        threads = [
            threading.Thread(target=lambda n=n: asyncio.run(scenario(client, n))) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENT)
    assert wrong == []
    assert client.statistics()["connects"] == 4


def test_a_loop_that_was_closed_without_a_word_is_not_kept(shared_memcached: Memcached) -> None:
    async def scenario(client: NativeClient) -> None:
        await client.get({0: [b"a"]})

    with opened(shared_memcached.address) as client, warnings.catch_warnings():
        # asyncio itself complains of transports that its loop left behind, and rightly so.
        warnings.simplefilter("ignore", ResourceWarning)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(scenario(client))
        loop.close()
        left = weakref.ref(loop)
        del loop
        asyncio.run(scenario(client))
        gc.collect()
        assert left() is None


def test_closing_from_another_thread_ends_what_waits_and_everything_after() -> None:
    async def scenario(address: str) -> None:
        client = make(address)
        waiting = asyncio.create_task(client.get({0: [b"a"]}))
        await until(lambda: client.statistics()["connects"] == 1)
        await asyncio.to_thread(client.close)
        assert "closed" in failure(await waiting)
        client.close()
        assert "closed" in failure(await client.get({0: [b"a"]}))
        with pytest.raises(StoreError, match="closed"):
            await client.gets(0, b"a")

    with Impostor(_hold) as server:
        asyncio.run(scenario(server.address))
        assert server.connections == 1


def _child(client: NativeClient, name: int) -> None:
    """In a child: its own ten thousand operations, each checked."""

    async def worker(worker: int) -> None:
        key = b"fork-%d-%d" % (name, worker)
        for number in range(250):
            body = b"%b:%d" % (key, number) * (1 + number % 50)
            stored, found = await asyncio.gather(
                client.set({0: {key: body}}, 60), client.get({0: [b"fork-parent"]})
            )
            assert stored == Answer({key: body})
            assert found == Answer({b"fork-parent": b"parent" * 500})
            assert await client.get({0: [key, b"fork-none"]}) == Answer({key: body})

    async def scenario() -> None:
        await asyncio.gather(*(worker(number) for number in range(14)))

    asyncio.run(scenario())


def _fork(client: NativeClient, name: int) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(60)
            _child(client, name)
            code = 0
        except BaseException as error:
            os.write(2, f"child {name}: {error!r}\n".encode())
        finally:
            os._exit(code)
    return pid


def _ended(children: list[int]) -> list[int]:
    """Exit codes of those that have ended; they are taken off the list."""
    codes = []
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            children.remove(pid)
            codes.append(os.waitstatus_to_exitcode(status))
    return codes


def test_four_forks_times_ten_thousand_operations_and_each_answer_is_its_own(
    memcached: Memcached, run: Run
) -> None:
    async def scenario() -> None:
        async with used(memcached.address, check=accept) as client:
            parent = {b"fork-parent": b"parent" * 500}
            assert await client.set({0: parent}, 60) == Answer(parent)
            pending = asyncio.create_task(client.get({0: [b"fork-parent"]}))
            await asyncio.sleep(0)
            children = [_fork(client, number) for number in range(4)]
            assert await pending == Answer(parent)
            codes: list[int] = []
            while len(codes) < 4:
                # The parent goes on with its own connection, beside its children and after them.
                assert await client.get({0: [b"fork-parent", b"none"]}) == Answer(parent)
                codes += _ended(children)
            assert codes == [0] * 4
            assert await client.get({0: [b"fork-parent"]}) == Answer(parent)
            assert client.statistics()["connects"] == 1

    run(scenario())


def _live_on() -> None:
    """In a child: do nothing but be there, though not for ever."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(60)
    while True:
        signal.pause()


def test_a_child_does_not_hold_the_connections_of_its_parent(run: Run) -> None:
    ended = threading.Event()

    def behave(sock: socket.socket) -> None:
        for line in lines(sock):
            sock.sendall(value(line.split()[1], b"v"))
        ended.set()

    async def scenario(address: str) -> int:
        async with used(address) as client:
            await client.get({0: [b"a"]})
            pid = os.fork()
            if pid == 0:
                _live_on()
            await client.get({0: [b"a"]})
        return pid

    with Impostor(behave) as server:
        pid = run(scenario(server.address))
        try:
            assert ended.wait(PATIENT)  # though the child lives
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_statistics_are_numbers_by_name(shared_memcached: Memcached) -> None:
    async def scenario() -> dict[str, int]:
        async with used(shared_memcached.address, check=accept) as client:
            await client.get({0: [b"a"]})
            return client.statistics()

    counts = asyncio.run(scenario())
    assert counts.pop("connects") == 1
    assert set(counts.values()) == {0}
    assert counts.keys() == {
        "connect_failures", "lost", "closed_idle", "timeouts", "rubbish", "cancelled",
        "refused_by_breaker", "refused_by_queue", "refused_by_check",
    }  # fmt: skip


def test_a_name_is_one_place_and_the_same_as_the_blocking_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Memcached()
    places = {
        "shop.test": [("127.0.0.1", server.port)],
        "two.test": [("127.0.0.1", 1), ("127.0.0.2", 1)],
    }

    async def known(host: str, port: int, **_: Any) -> list[Any]:
        sixth = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 9, 0, 0))
        return [sixth, *((socket.AF_INET, socket.SOCK_STREAM, 6, "", p) for p in places[host])]

    async def ask() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", known)
        async with used(f"shop.test:{server.port}") as client:
            assert not (await client.get({0: [b"a"]})).failed
        async with used("two.test:1") as client:
            failed = (await client.get({0: [b"a"]})).failed
            assert "one name stands for several servers" in str(failed[0])

    try:
        asyncio.run(ask())
    finally:
        server.end()
