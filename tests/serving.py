"""The real demo under real servers, for the tests that talk over sockets: started here, ended here.

A server binds port 0 and writes the port it got into its log, so there is no port to fight for.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
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

Kind = Literal["uvicorn", "gunicorn"]

ROOT: Final = Path(__file__).resolve().parent.parent
#: Seconds for which a server may start or end, and seconds between two looks at it.
PATIENCE: Final = 30.0
_TICK: Final = 0.05

_COMMANDS: Final[dict[Kind, tuple[str, ...]]] = {
    "uvicorn": (
        "uvicorn", "--port", "0", "--timeout-graceful-shutdown", "2", "demo_app.asgi:app",
    ),
    "gunicorn": (
        "gunicorn", "--bind", "127.0.0.1:0", "--workers", "1", "--threads", "8",
        "--graceful-timeout", "2", "--access-logfile", "-", "demo_app.wsgi:app",
    ),
}  # fmt: skip
_LISTENING: Final = re.compile(r"(?:running on|Listening at:) http://127\.0\.0\.1:([0-9]+)")


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
        return self.log.read_text(encoding="utf-8", errors="replace")

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
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *_COMMANDS[kind]],
            cwd=folder,  # pagegen warns of company in the same folder, and this is none
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _ready(kind, process, log)
    finally:
        _end(process)


def _environment(folder: Path) -> dict[str, str]:
    own = {
        "DEMO_DATABASE": str(folder / "catalogue.sqlite"),
        "HOME": str(folder),  # gunicorn keeps a control socket there
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **own}


def _ready(kind: Kind, process: subprocess.Popen[bytes], log: Path) -> Server:
    """The server, once it has answered a request that leaves no trace in the cache."""
    for _ in range(int(PATIENCE / _TICK)):
        found = _LISTENING.search(log.read_text(encoding="utf-8"))
        if found is not None:
            server = Server(kind, int(found[1]), log)
            with server.client() as client:
                client.get("/board/state").raise_for_status()
            return server
        if _ended(process):
            break
    raise AssertionError(f"{kind} did not start:\n{log.read_text(encoding='utf-8')}")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process ends within a tick."""
    try:
        process.wait(_TICK)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def show_log(item: pytest.Item, report: pytest.TestReport) -> None:
    """Put what the server wrote last into the report of a test that failed."""
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and isinstance(server, Server):
        report.sections.append((f"log of {server.kind}", server.logged()[-2000:]))
