"""Real servers in front of the telling site, and requests as bytes."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pagegen.testing import Answer
from tests.processes import PATIENCE, port_in, running, text_of
from tests.serving import ROOT

_UVICORN: Final = ("uvicorn", "--port", "0", "--timeout-graceful-shutdown", "2", "--no-access-log",
                   "--factory", "tests.security.requests_site:asgi", "--http")  # fmt: skip
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "uvicorn with httptools": (*_UVICORN, "httptools"),
    "uvicorn with h11": (*_UVICORN, "h11"),
    "gunicorn": ("gunicorn", "--bind", "127.0.0.1:0", "--threads", "4", "--graceful-timeout", "2",
                 "--workers", "1", "tests.security.requests_site:wsgi()"),
}  # fmt: skip
#: What makes a request bypass, so that the application sees it as it came.
BARE: Final = "Authorization: Basic eDp5\r\n"


@dataclass(frozen=True, slots=True)
class Raw:
    """A response as bytes."""

    data: bytes

    @property
    def status(self) -> int:
        """The status; 0 for a server that hung up or spoke before HTTP/1.0."""
        return int(self.data.split(b" ", 2)[1]) if self.data.startswith(b"HTTP/") else 0

    @property
    def trace(self) -> str:
        """What the cache decided; see ``Answer.trace``."""
        head = self.data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        fields = tuple((line.partition(": ")[0], line.partition(": ")[2]) for line in head)
        return Answer(self.status, fields, ()).trace

    @property
    def seen(self) -> dict[str, Any]:
        """What the application saw."""
        found: dict[str, Any] = json.loads(self.data.partition(b"\r\n\r\n")[2])
        return found


@dataclass(frozen=True, slots=True)
class Site:
    """The telling site on one server."""

    name: str
    port: int

    def talk(self, request: str) -> Raw:
        """Send a request as it is (latin-1) and read until the server closes."""
        pieces = []
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(request.encode("latin-1"))
            while piece := connection.recv(65_536):
                pieces.append(piece)
        return Raw(b"".join(pieces))

    def get(self, target: str, head: str = "Host: shop.example\r\n", version: str = "1.1") -> Raw:
        """A GET of this target with this head."""
        return self.talk(f"GET {target} HTTP/{version}\r\n{head}Connection: close\r\n\r\n")


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Site]:
    """Serve the telling site by the command of this name while the block runs."""
    log = folder / "server.log"
    own = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def ready() -> Site | None:
        if (port := port_in(log)) is None:
            return None
        site = Site(name, port)
        assert site.get("/ready", BARE + "Host: shop.example\r\n").status == 200
        return site

    with running((sys.executable, "-m", *COMMANDS[name]), log, folder, own, ready) as site:
        yield site
        assert "Traceback" not in text_of(log)
