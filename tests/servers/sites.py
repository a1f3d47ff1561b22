"""The small site on real servers, with and without their ``Date``: started here, ended here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from pagegen.testing import Answer
from tests.processes import PATIENCE, port_in, running, text_of
from tests.serving import ROOT

_UVICORN: Final = ("uvicorn", "--port", "0", "--timeout-graceful-shutdown", "2", "--no-access-log",
                   "--factory", "tests.servers.site:asgi")  # fmt: skip
_GUNICORN: Final = ("gunicorn", "--bind", "127.0.0.1:0", "--threads", "4",
                    "--graceful-timeout", "2", "tests.servers.site:wsgi()")  # fmt: skip
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "uvicorn": _UVICORN,
    "uvicorn without Date": (*_UVICORN, "--no-date-header"),
    "uvicorn with h11": (*_UVICORN, "--http", "h11", "--loop", "asyncio"),
    "gunicorn": (*_GUNICORN, "--workers", "1"),
    "two workers of gunicorn": (*_GUNICORN, "--workers", "2"),
}


@dataclass(frozen=True, slots=True)
class Site:
    """The small site on one server."""

    name: str
    port: int
    log: Path

    def connect(self) -> HTTPConnection:
        """A connection that is there already when it is asked something."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.connect()
        return connection


def ask(
    connection: HTTPConnection, method: str, path: str, fields: dict[str, str] | None = None
) -> Answer:
    """Send a request; returns with the last byte of its answer, by the answer's own framing."""
    connection.request(method, path, headers=fields or {})
    answer = connection.getresponse()
    body = answer.read()
    return Answer(answer.status, tuple(answer.getheaders()), (body,) if body else ())


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Site]:
    """Serve the small site by the command of this name while the block runs."""
    log = folder / "server.log"
    own = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    if name.startswith("two workers"):
        own["SITE_STORE"] = str(folder / "pages")

    def ready() -> Site | None:
        if (port := port_in(log)) is None:
            return None
        site = Site(name, port, log)
        connection = site.connect()
        assert ask(connection, "GET", "/bypass/ready").status == 200
        connection.close()
        return site

    with running((sys.executable, "-m", *COMMANDS[name]), log, folder, own, ready) as site:
        yield site
        assert "Traceback" not in text_of(log)
