"""The real demo under real servers, for the tests that talk over sockets: started here, ended here.

A server binds port 0 and writes the port it got into its log, so there is no port to fight for.
"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

import httpx
import pytest

from demo_app.load import ensure_database
from tests.processes import PATIENCE, port_in, running, text_of

Kind = Literal["uvicorn", "gunicorn"]

ROOT: Final = Path(__file__).resolve().parent.parent

_COMMANDS: Final[dict[Kind, tuple[str, ...]]] = {
    "uvicorn": (
        "uvicorn", "--port", "0", "--timeout-graceful-shutdown", "2", "demo_app.asgi:app",
    ),
    "gunicorn": (
        "gunicorn", "--bind", "127.0.0.1:0", "--workers", "1", "--threads", "8",
        "--graceful-timeout", "2", "--access-logfile", "-", "demo_app.wsgi:app",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Server:
    """A demo that listens on ``port`` of the loopback interface and logs into ``log``."""

    kind: Kind
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}"

    @property
    def host(self) -> str:
        """What requests say in ``Host``."""
        return f"127.0.0.1:{self.port}"

    def logged(self) -> str:
        """All that the server wrote so far."""
        return text_of(self.log)

    def client(self) -> httpx.Client:
        """A client with a pool of connections; it looks at no proxy of the environment."""
        # There is no TLS here, and reading all certificates takes longer than most tests.
        return httpx.Client(base_url=self.url, trust_env=False, verify=False, timeout=PATIENCE)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)


def load_database(folders: pytest.TempPathFactory) -> Path:
    """A freshly loaded database of the demo, made once for all tests: copy it."""
    return _loaded(folders.getbasetemp())


@cache
def _loaded(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMO_DATABASE", str(folder / "loaded" / "catalogue.sqlite"))
        return ensure_database()


@contextmanager
def serving(kind: Kind, database: Path, folder: Path) -> Iterator[Server]:
    """Serve the demo on a copy of ``database`` in ``folder`` while the block runs."""
    log = folder / f"{kind}.log"
    shutil.copy(database, folder / "catalogue.sqlite")

    def ready() -> Server | None:
        if (port := port_in(log)) is None:
            return None
        server = Server(kind, port, log)
        with server.client() as client:  # a request that leaves no trace in the cache
            client.get("/board/state").raise_for_status()
        return server

    command = (sys.executable, "-m", *_COMMANDS[kind])
    # pagegen warns of company in the same folder, and this is none.
    with running(command, log, folder, _environment(folder), ready) as server:
        yield server


def _environment(folder: Path) -> dict[str, str]:
    return {
        "DEMO_DATABASE": str(folder / "catalogue.sqlite"),
        "HOME": str(folder),  # gunicorn keeps a control socket there
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


def show_log(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put what the server wrote last into the report of a test that failed."""
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and isinstance(server, Server):
        report.sections.append((f"log of {server.kind}", server.logged()[-2000:]))
