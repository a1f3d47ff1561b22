"""What users would pick instead: one small application for each library and store.

Each is set up as its own documentation says for pages that live an hour, and where that leaves a
choice, in the way that is quicker. The modules of the applications import nothing of pagegen, so
they run in an environment without it: some peers want another release of a client or a framework
than pagegen's extras do, and have an environment of their own (:attr:`Peer.venv`).

An application answers ``/items/{id}`` from its peer's cache, and at ``/calls`` how often its
handler was run in this process. :mod:`benchmarks.peers.pages` lists what it reads from the
environment; :mod:`benchmarks.peers.prove` shows that the second request is not rendered.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal, NamedTuple

ROOT: Final = Path(__file__).parents[2]


class Peer(NamedTuple):
    """A library on one store.

    ``store``: ``memory``, ``files``, ``memcached`` or ``redis``.  ``target``: what a server loads.
    ``distribution``: its name for ``importlib.metadata.version``.  ``venv``: the stem of the file
    of requirements beside this module from which its environment is made, or None for that of
    ``.[bench]``.
    """

    name: str
    kind: Literal["asgi", "wsgi"]
    store: str
    target: str
    distribution: str
    venv: str | None = None


def interpreter(venv: str | None) -> Path | None:
    """The Python of an environment that ``make bench`` makes, or None where it was not made."""
    if venv is None:
        return Path(sys.executable)
    ours = os.environ.get("VENV_BENCH", ".venv-bench")
    python = ROOT / f"{ours}-{venv}" / "bin" / "python"
    return python if python.exists() else None


def release(distribution: str, venv: str | None) -> str | None:
    """The version of a distribution in an environment, or None where it is not installed."""
    if venv is None:
        try:
            return version(distribution)
        except PackageNotFoundError:
            return None
    python = interpreter(venv)
    if python is None:
        return None
    ask = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    asked = subprocess.run((python, "-c", ask), capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def _all(
    name: str,
    kind: Literal["asgi", "wsgi"],
    module: str,
    distribution: str,
    stores: tuple[str, ...],
    venv: str | None = None,
) -> tuple[Peer, ...]:
    package = f"{__name__}.{module}"
    return tuple(
        Peer(name, kind, store, f"{package}:{store}", distribution, venv) for store in stores
    )


_MEMORY_AND_SERVERS: Final = ("memory", "memcached", "redis")
_MEMORY_AND_REDIS: Final = ("memory", "redis")

PEERS: Final[tuple[Peer, ...]] = (
    *_all("Django", "wsgi", "django_cache", "Django", (*_MEMORY_AND_SERVERS, "files")),
    *_all("Flask-Caching", "wsgi", "flask_caching", "Flask-Caching", _MEMORY_AND_SERVERS),
    *_all(
        "starlette-caches",
        "asgi",
        "starlette_caches",
        "starlette-caches",
        _MEMORY_AND_SERVERS,
        "starlette-caches",
    ),
    *_all(
        "fastapi-cache2",
        "asgi",
        "fastapi_cache",
        "fastapi-cache2",
        _MEMORY_AND_SERVERS,
        "fastapi-cache",
    ),
    *_all(
        "fast-cache-middleware",
        "asgi",
        "fast_cache_middleware",
        "fast-cache-middleware",
        _MEMORY_AND_REDIS,
        "fast-cache-middleware",
    ),
    *_all("cashews", "asgi", "cashews", "cashews", _MEMORY_AND_REDIS),
    # Its pages are in the process, and Redis says which of them are old.
    Peer("cashews, client side", "asgi", "redis", f"{__name__}.cashews:redis_near", "cashews"),
    *_all("aiocache", "asgi", "aiocache", "aiocache", _MEMORY_AND_SERVERS),
    *_all("Litestar", "asgi", "litestar", "litestar", _MEMORY_AND_REDIS, "litestar"),
)
