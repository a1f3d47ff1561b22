"""Real memcached servers for tests: started on a free port or a unix socket, maltreated, ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import pytest

from tests.processes import free_port

#: Seconds for which a server may start or end, and seconds between two looks at it.
PATIENCE: Final = 20.0
_TICK: Final = 0.01
_MISSING = "memcached is not installed. Run: apt-get install memcached"


class Memcached:
    """One server with these options, on a port of ``127.0.0.1``, or on a unix socket in ``path``.

    ``restart`` starts it again where it was. ``address`` is how a store names it.
    """

    def __init__(self, *options: str, path: Path | None = None) -> None:
        self.path = path
        self.port = 0 if path else free_port()
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return str(self.path) if self.path else f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"memcached://{self.address}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens; another port when somebody else took this one."""
        for _ in range(5):
            self._launch()
            if self._listens():
                return
            self.end()
            self.port = self.port and free_port()
        pytest.fail(f"memcached {self.options} does not start")

    def stop(self) -> None:
        """Let it hang: connections are taken by the kernel, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        # The signal is on its way only; this returns when the last of its threads stands still.
        os.waitpid(self.pid, os.WUNTRACED)

    def cont(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as ``kill -9``."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)

    def restart(self) -> None:
        """Start it again, empty, at the same place; its port must still be free."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        until = time.monotonic() + PATIENCE
        while True:
            self._launch()
            if self._listens():
                return
            assert time.monotonic() < until, f"port {self.port} is taken"

    def end(self) -> None:
        """End it, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def ask(self, command: str) -> bytes:
        """What the server itself answers, up to its END or the end of a line."""
        with self.connect() as sock:
            sock.sendall(command.encode() + b"\r\n")
            answer = b""
            while not answer.endswith((b"END\r\n", b"OK\r\n", b"ERROR\r\n", b"STORED\r\n")):
                piece = sock.recv(65_536)
                if not piece:
                    break
                answer += piece
            return answer

    def stats(self, kind: str = "") -> dict[str, str]:
        """Its counters by name."""
        lines = self.ask(f"stats {kind}".strip()).decode().splitlines()
        return dict(line.split(" ", 2)[1:] for line in lines if line.startswith("STAT"))

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX if self.path else socket.AF_INET)
        sock.settimeout(PATIENCE)
        try:
            sock.connect(str(self.path) if self.path else ("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        return sock

    def __enter__(self) -> Memcached:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.end()

    def _launch(self) -> None:
        binary = shutil.which("memcached")
        if binary is None:
            pytest.fail(_MISSING)
        place = ("-s", str(self.path)) if self.path else ("-l", "127.0.0.1", "-p", str(self.port))
        who = ("-u", "root") if os.getuid() == 0 else ()
        self._process = subprocess.Popen(
            (binary, *place, "-U", "0", "-t", "2", *who, *self.options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _listens(self) -> bool:
        assert self._process is not None
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self._process.poll() is None:
            try:
                # Somebody else may have taken the port: it must be this process that answers.
                return self.stats().get("pid") == str(self.pid)
            except OSError:
                time.sleep(_TICK)
        return False


class Impostor:
    """A server that behaves as it is told: ``behave`` gets each connection, in a thread.

    It is called with the socket; what it raises ends the connection. Everything is closed at
    the end of the ``with`` block.
    """

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.connections = 0

    def __enter__(self) -> Impostor:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        for sock in self._open:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError):
            self._behave(sock)
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


#: What an honest server says of itself, in as many words as the store wants to hear.
SETTINGS: Final = b"STAT item_size_max 1048576\r\nSTAT memory_file (null)\r\nEND\r\n"


def lines(sock: socket.socket) -> Iterator[bytes]:
    """The lines that come from the other side."""
    with sock.makefile("rb") as file:
        yield from file


def introduced(sock: socket.socket) -> Iterator[bytes]:
    """The lines that come after ``stats settings``, which is answered as it should be."""
    for line in lines(sock):
        if line.startswith(b"stats settings"):
            sock.sendall(SETTINGS)
        else:
            yield line


@contextmanager
def several(count: int, *options: str) -> Iterator[list[Memcached]]:
    """So many servers while the block runs."""
    with ExitStack() as stack:
        yield [stack.enter_context(Memcached(*options)) for _ in range(count)]
