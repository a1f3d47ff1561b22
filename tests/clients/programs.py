"""Programs that listen on the loopback interface: started here, looked at, ended here by their id.

The site's servers choose a port themselves and write it into their log. nginx and Varnish have to
be told one, and get another when somebody else was quicker.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import pytest

from tests.processes import PATIENCE, DidNotStartError, port_in, running, text_of
from tests.serving import ROOT
from tests.stores.servers import free_port

Kind = Literal["uvicorn", "gunicorn"]
ProxyKind = Literal["nginx", "varnish"]

#: Ports that are tried for a program which cannot choose one itself.
_TRIES: Final = 5
_SITE: Final = "tests.clients.application"
_COMMANDS: Final[dict[Kind, tuple[str, ...]]] = {
    "uvicorn": (
        "uvicorn", "--port", "0", "--timeout-graceful-shutdown", "2", "--no-access-log",
        "--factory", f"{_SITE}:asgi",
    ),
    "gunicorn": (
        "gunicorn", "--bind", "127.0.0.1:0", "--workers", "1", "--threads", "16",
        "--graceful-timeout", "2", f"{_SITE}:wsgi()",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Program:
    """A program that listens on ``port`` of the loopback interface and logs into ``log``."""

    name: str
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def logged(self) -> str:
        """All that it wrote so far."""
        return text_of(self.log)

    def client(self, **options: Any) -> httpx.Client:
        """A client with a pool of connections; it looks at no proxy of the environment."""
        options = {"trust_env": False, "verify": False, "timeout": PATIENCE} | options
        return httpx.Client(base_url=self.url, **options)


@dataclass(frozen=True, slots=True)
class Origin(Program):
    """The site behind pagegen, and the way around the cache to its book."""

    def renderings(self, path: str) -> int:
        """How often the handler of this page has run."""
        told: int = self._ask("seen", path)["renderings"]
        return told

    def answers(self, path: str) -> list[str]:
        """What came in for this page and how it was answered, in order: ``GET 304``."""
        return [f"{method} {status}" for method, status in self._ask("seen", path)["answers"]]

    def change(self, path: str) -> None:
        """Write: the item has a new version, and its namespace is forgotten when this returns."""
        with self.client() as client:
            assert client.post(path).status_code == 303

    def pass_time(self, seconds: int) -> None:
        """Let the cache believe that so many seconds have passed."""
        self._ask("ahead", f"/{seconds}")

    @contextmanager
    def held(self, path: str) -> Iterator[Callable[[], None]]:
        """Let the next rendering of a page stand still once it has read what it shows.

        The block gets a function that waits until it stands; it goes on when the block ends.
        """
        self._ask("hold", path)
        try:
            yield lambda: self._ask("held", path) and None
        finally:
            self._ask("release", path)

    def _ask(self, verb: str, path: str) -> Any:
        with self.client() as client:
            return client.get(f"/-/{verb}{path}").raise_for_status().json()


@contextmanager
def site(kind: Kind, folder: Path) -> Iterator[Origin]:
    """Serve the site while the block runs."""
    log = folder / f"{kind}.log"
    own = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def port() -> int | None:
        found = port_in(log)
        return found if found is not None and _answers(found, "/-/seen/") else None

    command = (sys.executable, "-m", *_COMMANDS[kind])
    with running(command, log, folder, own, port) as listening:
        yield Origin(kind, listening, log)


@contextmanager
def nginx(origin: Origin, folder: Path) -> Iterator[Program]:
    """nginx in front of the site, with a cache that it validates."""
    program = binary("nginx")

    def command(port: int) -> Sequence[str]:
        text = _NGINX.format(port=port, origin=origin.port, folder=folder)
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        return (program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr")

    with _on_some_port(command, folder / "nginx.log", folder) as port:
        yield Program("nginx", port, folder / "nginx.log")


@contextmanager
def varnish(origin: Origin, folder: Path) -> Iterator[Program]:
    """Varnish in front of the site, as it is without a configuration."""
    program = binary("varnishd", "varnish")

    def command(port: int) -> Sequence[str]:
        return (
            program, "-F", "-j", "none", "-T", "none", "-n", str(folder / "varnish"),
            "-a", f"127.0.0.1:{port}", "-b", f"127.0.0.1:{origin.port}", "-s", "malloc,16m",
            "-p", "vsl_space=1M",
        )  # fmt: skip

    with _on_some_port(command, folder / "varnish.log", folder) as port:
        yield Program("varnish", port, folder / "varnish.log")


_NGINX: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/pages keys_zone=pages:1m;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{origin};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_cache pages;
            proxy_cache_revalidate on;
            proxy_cache_valid 10m;
            add_header X-Cache $upstream_cache_status always;
        }}
    }}
}}
"""


@contextmanager
def _on_some_port(
    command: Callable[[int], Sequence[str]], log: Path, folder: Path
) -> Iterator[int]:
    """Start a program on a free port, another one when somebody else takes it first."""

    def started(port: int) -> int:
        def ready() -> int | None:
            return port if _answers(port, "/-/seen/") else None

        return stack.enter_context(running(command(port), log, folder, {}, ready))

    with ExitStack() as stack:
        yield _first_started(started)


def _first_started(start: Callable[[int], int]) -> int:
    for _ in range(_TRIES - 1):
        with suppress(DidNotStartError):
            return start(free_port())
    return start(free_port())


def _answers(port: int, path: str) -> bool:
    """Whether somebody answers there with what the site says."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def binary(name: str, package: str = "") -> str:
    """The path of a program. Without it these tests fail: they are not optional."""
    # Debian keeps servers where only root looks.
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if path is None:
        pytest.fail(f"{name} is missing. Run `make parts`, or apt-get install {package or name}")
    return path
