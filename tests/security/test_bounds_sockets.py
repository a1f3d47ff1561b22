"""Clients that ask for a long page and read nothing of it, over real sockets."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.processes import PATIENCE, port_in, running
from tests.security.slow_site import LENGTH
from tests.serving import ROOT

#: Clients that read nothing, and threads of a server that has one for each, with some to spare.
READERS: Final = 12
_THREADS: Final = "16"
#: Bytes of a server's memory for each of them: its own objects and buffers, and no copy of a page.
#: uvicorn gets a piece of 128 KiB, and holds 64 KiB of others.
EACH: Final = 300_000
_UVICORN: Final = ("uvicorn", "--port", "0", "--timeout-graceful-shutdown", "1", "--factory",
                   "--lifespan", "off", "tests.security.slow_site:asgi", "--http")  # fmt: skip
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "uvicorn with httptools": (*_UVICORN, "httptools", "--loop", "uvloop"),
    "uvicorn with h11": (*_UVICORN, "h11", "--loop", "asyncio"),
    "gunicorn": ("gunicorn", "--bind", "127.0.0.1:0", "--threads", _THREADS, "--workers", "1",
                 "--graceful-timeout", "1", "tests.security.slow_site:wsgi()"),
}  # fmt: skip


@pytest.fixture(params=COMMANDS)
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """The site on each server."""
    log = tmp_path / "server.log"
    own = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = (sys.executable, "-m", *COMMANDS[request.param])
    with running(command, log, tmp_path, own, lambda: port_in(log)) as found:
        yield found


def _asking(port: int, path: str, window: int = 2**16) -> socket.socket:
    """A connection with a window of so many bytes that has asked for a path."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", port))
    head = f"GET {path} HTTP/1.0\r\nHost: a.example\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def _get(port: int, path: str) -> bytes:
    """The body of a page."""
    pieces = []
    with _asking(port, path) as connection:
        while piece := connection.recv(65_536):
            pieces.append(piece)
    return b"".join(pieces).partition(b"\r\n\r\n")[2]


def test_who_reads_nothing_costs_a_server_no_copy_of_the_page(port: int) -> None:
    assert len(_get(port, "/page")) == LENGTH
    before = int(_get(port, "/memory"))
    with ExitStack() as stack:
        for _ in range(READERS):
            slow = stack.enter_context(_asking(port, "/page", window=4096))
            # It was answered, as far as its window goes.
            assert select.select([slow], [], [], PATIENCE)[0]
        assert int(_get(port, "/memory")) - before < READERS * EACH
        # And others are served meanwhile.
        assert len(_get(port, "/page")) == LENGTH
