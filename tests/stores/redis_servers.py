"""Real Redis servers for the tests, a switch that decides where an address leads, and servers of
the same protocol that say whatever a test wants.

Everything listens on loopback or on a unix socket, and is ended by those who started it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.processes import free_port

#: Seconds for which a server may start, end or do what it is asked, and between two looks.
PATIENCE: Final = 30.0
TICK: Final = 0.02


def eventually(fact: Callable[[], object], what: str) -> None:
    """Wait until a fact that only real time brings about is one."""
    until = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < until, what
        time.sleep(TICK)


class RedisServer:
    """One redis-server. It writes nothing to disk unless ``options`` or ``SAVE`` say so."""

    def __init__(self, *options: str, unix: bool = False) -> None:
        assert shutil.which("redis-server"), "run: apt-get install redis-server"
        self.directory = Path(tempfile.mkdtemp(prefix="pagegen-redis-"))
        self.port = 0 if unix else free_port()
        self.path = str(self.directory / "redis.sock") if unix else ""
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def url(self) -> str:
        if self.path:
            return f"redis+unix://{self.path}?db=0"
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        place = ["--unixsocket", self.path] if self.path else ["--bind", "127.0.0.1"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "redis-server", *place, "--port", str(self.port), "--dir", str(self.directory),
                    "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
                    "--repl-ping-replica-period", "1", *self._options,
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        eventually(self._answers, "redis-server does not start")

    def run(self, *command: Any, **options: Any) -> Any:
        """What the server answers to a command of the test's own, with a connection of its own."""
        client = redis.Redis(
            port=self.port,
            unix_socket_path=self.path or None,
            socket_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),
            **options,
        )
        with client:
            return client.execute_command(*command)

    def stop(self) -> None:
        """The server hangs: its port is open, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._wait()

    def restart(self) -> None:
        """Killed, and started again at the same place with what was last saved."""
        self.kill()
        self.start()

    def end(self) -> None:
        if self._process is not None:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGKILL)
            self._wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def follow(self, port: int) -> None:
        """Become a replica of the server at this port, and wait until it has its data."""
        self.run("REPLICAOF", "127.0.0.1", str(port))
        eventually(lambda: self.replication()["master_link_status"] == "up", "no replication")

    def promote(self) -> None:
        self.run("REPLICAOF", "NO", "ONE")

    def replication(self) -> dict[str, Any]:
        found: dict[str, Any] = self.run("INFO", "replication")
        return found

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(PATIENCE)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()
        try:
            self.run("PING")
        except redis.AuthenticationError:
            return True
        except (redis.RedisError, OSError):
            return False
        return True


class Listener:
    """A loopback server with a thread for each connection; closes all of them at its end."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.accepted = 0
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self._threads = [Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join(PATIENCE)
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """End all connections; new ones may be made."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def keep(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            self.keep(connection)
            self.spawn(self._serve, connection)

    def spawn(self, work: Callable[..., None], *given: Any) -> None:
        thread = Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError):
                self.serve(connection)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


class Switch(Listener):
    """An address that leads to one server or another, or to none (``target`` None)."""

    def __init__(self, target: int | None) -> None:
        self.target = target
        super().__init__()

    def turn(self, target: int | None) -> None:
        """Lead to another port from now on; what is connected is cut."""
        self.target = target
        self.cut()

    def serve(self, connection: socket.socket) -> None:
        if self.target is None:
            return
        with socket.create_connection(("127.0.0.1", self.target), PATIENCE) as other:
            self.keep(other)
            other.settimeout(None)
            back = Thread(target=_pour, args=(other, connection), daemon=True)
            back.start()
            _pour(connection, other)
            back.join(PATIENCE)
            with self._lock:
                self._open.discard(other)


def _pour(source: socket.socket, into: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            into.sendall(data)
    for end in (source, into):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


RUN_ID: Final = b"1" * 40
REPL_ID: Final = b"a" * 40
Command = list[bytes]


def bulk(text: bytes | None) -> bytes:
    return b"$-1\r\n" if text is None else b"$%d\r\n%b\r\n" % (len(text), text)


def array(*texts: bytes | None) -> bytes:
    return b"*%d\r\n" % len(texts) + b"".join(map(bulk, texts))


def server_info(run_id: bytes = RUN_ID) -> bytes:
    return bulk(b"# Server\r\nredis_version:7.0.15\r\nrun_id:%b\r\n" % run_id)


def replication_info(repl_id: bytes = REPL_ID, role: bytes = b"master") -> bytes:
    return bulk(b"# Replication\r\nrole:%b\r\nmaster_replid:%b\r\n" % (role, repl_id))


class Actor(Listener):
    """A server that answers each command with what ``answer`` makes of it; None hangs up.

    ``say`` sends the bytes of an answer; a test may do it in its own way. ``INFO server`` is
    answered properly, so that a connection comes about.
    """

    def __init__(
        self,
        answer: Callable[[Command], bytes | None],
        say: Callable[[socket.socket, bytes], None] = socket.socket.sendall,
    ) -> None:
        self.answer = answer
        self.say = say
        self.heard: list[Command] = []
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            while command := _command(lines):
                self.heard.append(command)
                if command == [b"INFO", b"server"]:
                    connection.sendall(server_info())
                    continue
                reply = self.answer(command)
                if reply is None:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                self.say(connection, reply)


def _command(lines: Any) -> Command:
    """The next command; empty at the end, and for half a command."""
    try:
        count = int(lines.readline()[1:])
        return [lines.read(int(lines.readline()[1:]) + 2)[:-2] for _ in range(count)]
    except ValueError:
        return []
