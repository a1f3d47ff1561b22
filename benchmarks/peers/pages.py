"""The page that all peers' applications render, and what they read from the environment.

``PAGEGEN_BENCH_BODY``: size of the page in bytes.  ``PAGEGEN_BENCH_MEMCACHED`` and
``PAGEGEN_BENCH_REDIS``: ``host:port`` of the servers.  ``PAGEGEN_BENCH_SITE``: what all that is
stored begins with.  ``TMPDIR``: where peers store that store in files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final, NamedTuple

TYPE: Final = "text/html; charset=utf-8"
#: Seconds that a page lives.
HOUR: Final = 3600
#: Connections that a peer may open to a server, where it wants to be told: so many threads at
#: most does a server of the benchmark have, and so many requests at a time does its client send.
CONNECTIONS: Final = 32

TEXT: Final = "x" * int(os.environ.get("PAGEGEN_BENCH_BODY", "10000"))
SITE: Final = os.environ.get("PAGEGEN_BENCH_SITE", "bench")


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @property
    def text(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"


def address(program: str) -> Address:
    """The address of ``memcached`` or ``redis``; raises ``KeyError`` where nobody said it."""
    host, _, port = os.environ[f"PAGEGEN_BENCH_{program.upper()}"].rpartition(":")
    return Address(host, int(port))


def directory() -> str:
    """Where peers store that store in files."""
    return str(Path(gettempdir()) / f"pages-{SITE}")


class Calls:
    """How often the handlers of this process were run."""

    number = 0

    def render(self) -> str:
        """The page."""
        self.number += 1
        return TEXT

    def text(self) -> str:
        """The number, as ``/calls`` answers it."""
        return str(self.number)


CALLS: Final = Calls()


def by_store(build: Callable[[str], Any], *stores: str) -> Callable[[str], Any]:
    """A module's ``__getattr__``: each store's name is an application, built when it is wanted.

    So a process has only the one that its server loads.
    """
    once = cache(build)

    def find(name: str) -> Any:
        if name not in stores:
            raise AttributeError(name)
        return once(name)

    return find
