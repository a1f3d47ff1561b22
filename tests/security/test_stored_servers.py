"""Under real servers: whatever a broken page makes of its first visitor, no other gets it."""

from __future__ import annotations

import re
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.processes import PATIENCE, port_in, running
from tests.security.storing_site import WAYS
from tests.serving import ROOT

_UVICORN: Final = ("uvicorn", "--port", "0", "--timeout-graceful-shutdown", "2", "--no-access-log",
                   "--factory", "tests.security.storing_site:asgi", "--http")  # fmt: skip
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "uvicorn with httptools": (*_UVICORN, "httptools"),
    "uvicorn with h11": (*_UVICORN, "h11"),
    "gunicorn": ("gunicorn", "--bind", "127.0.0.1:0", "--threads", "4", "--graceful-timeout", "2",
                 "--workers", "1", "tests.security.storing_site:wsgi()"),
}  # fmt: skip


def _request(method: str, path: str, version: str) -> bytes:
    head = f"{method} {path} HTTP/{version}\r\nHost: a.example\r\nConnection: close\r\n\r\n"
    return head.encode()


def ask(port: int, path: str, method: str = "GET", version: str = "1.1") -> bytes:
    """The answer as bytes, up to the end of its connection."""
    pieces = []
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(_request(method, path, version))
        with suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                pieces.append(piece)
    return b"".join(pieces)


def renders(answer: bytes) -> list[int]:
    """Which runs of the handler an answer is from."""
    return [int(number) for number in re.findall(rb"#([0-9]+)", answer)]


@pytest.fixture(scope="module", params=COMMANDS)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The broken site on each server."""
    folder: Path = tmp_path_factory.mktemp("broken")
    log = folder / "server.log"
    own = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = (sys.executable, "-m", *COMMANDS[request.param])
    with running(command, log, folder, own, lambda: port_in(log)) as found:
        yield found


def test_a_good_page_is_stored(port: int) -> None:
    """So that what follows is worth something."""
    assert [renders(ask(port, "/good/a")) for _ in range(3)] == [[1]] * 3
    assert b"; hit" in ask(port, "/good/a")


@pytest.mark.parametrize("way", [way for way in WAYS if way != "good"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_broken_page_is_nobody_elses(port: int, way: str, version: str) -> None:
    path = f"/{way}/{version}"
    # A HEAD stores nothing, and keeps nothing alive.
    ask(port, path, "HEAD", version)
    answers = [ask(port, path, "GET", version) for _ in range(3)]
    assert not any(b"; hit" in answer or b"; stored" in answer for answer in answers)
    seen = [number for answer in answers for number in renders(answer)]
    assert len(set(seen)) == len(seen)
    # And each reached the application, also where the server sent none of it.
    assert not seen or seen[-1] == 4


def test_clients_that_leave_at_any_byte_leave_a_whole_page_to_the_next(port: int) -> None:
    whole = ask(port, "/good/b")
    for length in range(0, len(whole), 7):
        path = f"/good/{length:02}b"
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(_request("GET", path, "1.1"))
            left = length
            while left and (piece := connection.recv(left)):
                left -= len(piece)
            # At once and rudely: the server gets a reset, whatever it still wants to send.
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        body = ask(port, path).partition(b"\r\n\r\n")[2]
        assert path.encode() in body, length
        assert ask(port, path).endswith(f"{path}#{renders(body)[0]}".ljust(30).encode()), length
