"""What is measured: servers, and what runs in each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Literal

Kind = Literal["asgi", "wsgi"]

NEAR: Final = "64MiB"
#: Threads of the WSGI servers: enough that one can wait for a store while others run, few enough
#: that they do not fight for the interpreter. gunicorn's documentation advises 2 to 4 for a core.
THREADS: Final = 4
#: Stores as their servers are called; others are none.
PROGRAMS: Final = {"memcached": "memcached", "redis": "redis-server"}

FLOOR, BARE = "floor", "floor, 2 header lines"

_PAGES, _CACHED = "benchmarks.web.pages", "benchmarks.web.cached"


@dataclass(frozen=True, slots=True)
class Server:
    """A web server. ``command`` has ``{port}``, ``{workers}`` and ``{target}`` in braces.

    ``distributions``: what its figures depend on, as pip calls them.
    """

    name: str
    title: str
    kind: Kind
    command: tuple[str, ...]
    distributions: tuple[str, ...]

    def line(self, python: str, port: int, target: str, workers: int = 1) -> list[str]:
        """The command line that serves ``target`` with this interpreter."""
        values = {"port": port, "workers": workers, "target": target}
        return [python, "-m", *(part.format(**values) for part in self.command)]


@dataclass(frozen=True, slots=True)
class Subject:
    """One application under a server.

    name: what the table calls it.  group: ``floor``, ``pagegen``, ``peer`` or ``proxy``.
    store: what keeps its pages: ``memory``, ``lmdb``, ``memcached``, ``redis`` or another word.
    target: what the server imports, empty for a proxy.  distribution: whose version matters.
    venv: name of another environment, empty for ours.  workers: processes of its server.
    """

    name: str
    group: Literal["floor", "pagegen", "peer", "proxy"]
    store: str = ""
    near: bool = False
    target: str = ""
    distribution: str = ""
    venv: str = ""
    workers: int = 1

    @property
    def ours(self) -> bool:
        """Whether it is the floor or pagegen: without these there is nothing to say."""
        return self.group in ("floor", "pagegen")

    @property
    def program(self) -> str:
        """The server behind its store, empty where there is none."""
        return PROGRAMS.get(self.store, "")

    @property
    def counts(self) -> bool:
        """Whether it says how often its handler was run."""
        return self.group != "floor"


UVICORN: Final = Server(
    "uvicorn",
    "uvicorn, uvloop and httptools",
    "asgi",
    (
        *("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--workers", "{workers}"),
        *("--loop", "uvloop", "--http", "httptools", "--no-access-log"),
        *("--log-level", "warning", "{target}"),
    ),
    ("uvicorn", "uvloop", "httptools"),
)
_GRANIAN: Final = (
    *("granian", "--host", "127.0.0.1", "--port", "{port}", "--workers", "{workers}"),
    *("--no-access-log", "--log-level", "warning", "--http", "1"),
)
GRANIAN: Final = Server(
    "granian",
    "granian, ASGI",
    "asgi",
    (*_GRANIAN, "--interface", "asgi", "--loop", "uvloop", "{target}"),
    ("granian", "uvloop"),
)
GUNICORN: Final = Server(
    "gunicorn",
    f"gunicorn, gthread, {THREADS} threads",
    "wsgi",
    (
        *("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "{workers}"),
        *("--worker-class", "gthread", "--threads", str(THREADS), "--keep-alive", "75"),
        *("--log-level", "warning", "--graceful-timeout", "2", "{target}"),
    ),
    ("gunicorn",),
)
GRANIAN_WSGI: Final = Server(
    "granian-wsgi",
    f"granian, WSGI, {THREADS} threads",
    "wsgi",
    (*_GRANIAN, "--interface", "wsgi", "--blocking-threads", str(THREADS), "{target}"),
    ("granian",),
)
SERVERS: Final = (UVICORN, GRANIAN, GUNICORN, GRANIAN_WSGI)

#: Pagegen's stores: name, and URL with its place in braces. Timeouts are long, or a busy machine
#: would have misses among its hits.
STORES: Final = {
    "memory": "memory://",
    "lmdb": "lmdb://{}?size=64MiB",
    "memcached": "memcached://{}?timeout=1s",
    "redis": "redis://{}/0?timeout=1s",
}
_TITLES: Final = {"memory": "memory", "lmdb": "LMDB", "memcached": "memcached", "redis": "Redis"}

#: Share of the floor that a hit of the 10 kB page is to reach, by server and subject.
GOALS: Final = {
    ("uvicorn", "pagegen, memory"): 0.95,
    ("granian", "pagegen, memory"): 0.92,
    ("gunicorn", "pagegen, memory"): 0.95,
    ("granian-wsgi", "pagegen, memory"): 0.95,
    **{(server.name, "pagegen, LMDB + near"): 0.90 for server in SERVERS},
    ("gunicorn", "pagegen, memcached + near"): 0.70,
    ("uvicorn", "pagegen, memcached + near"): 0.60,
}
#: How many times as fast as the best peer on memcached pagegen is to be there, under uvicorn.
OVER_PEERS: Final = 3.0


def floors(kind: Kind) -> tuple[Subject, ...]:
    """The floor, and the same with no more header lines than an application has of its own."""
    return (
        Subject(FLOOR, "floor", target=f"{_PAGES}:{kind}_floor"),
        Subject(BARE, "floor", target=f"{_PAGES}:{kind}_bare"),
    )


def pagegens(kind: Kind) -> Iterator[Subject]:
    """Pagegen on each store, and with a near store in front of those that others share."""
    for store, title in _TITLES.items():
        for near in (False,) if store == "memory" else (False, True):
            name = f"pagegen, {title}{' + near' if near else ''}"
            yield Subject(name, "pagegen", store, near, f"{_CACHED}:{kind}_app")


def proxies() -> tuple[Subject, ...]:
    """Those that stand in front of a server, for orientation."""
    return (Subject("nginx in front", "proxy", "files"), Subject("Varnish in front", "proxy"))


def peers(kind: Kind) -> Iterator[Subject]:
    """What users would pick instead."""
    for peer in _peers():
        if peer.kind == kind:
            title = f"{peer.name}, {_TITLES.get(peer.store, peer.store)}"
            name = peer.name if peer.store.lower() in peer.name.lower() else title
            venv = peer.venv or ""
            yield Subject(name, "peer", peer.store, False, peer.target, peer.distribution, venv)


def _peers() -> tuple[Any, ...]:
    found: tuple[Any, ...] = import_module("benchmarks.peers").PEERS
    return found


def all_of(server: Server) -> list[Subject]:
    """Every subject of a server; the first one is the floor that the others stand on."""
    front = proxies() if server is UVICORN else ()
    return [*floors(server.kind), *pagegens(server.kind), *peers(server.kind), *front]
