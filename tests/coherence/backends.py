"""The shared stores of the storms, the servers behind them, and how long a storm lasts.

``PAGEGEN_CHAOS_SECONDS=60`` makes each last a minute, over every combination of store, near store
and server; without it a covering part of them runs, for a few seconds each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from tests.stores.redis_servers import RedisServer
from tests.stores.servers import Memcached

Kind = Literal["lmdb", "memcached", "redis"]

#: Seconds that each storm lasts; given by hand it also means every combination.
SECONDS: Final = float(os.environ.get("PAGEGEN_CHAOS_SECONDS", "3"))
FULL: Final = "PAGEGEN_CHAOS_SECONDS" in os.environ
#: Options of a memcached that has to take large pages in parts.
_SMALL: Final = ("-I", "512k")


class Backend:
    """The server of a store that is maltreated. A memcached has a healthy one beside it in the
    ring, which must never be asked in its place, and takes no items as large as our largest page.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.server: RedisServer | Memcached
        self._beside: Memcached | None = None
        if kind == "redis":
            self.server = RedisServer()
        else:
            self.server = Memcached(*_SMALL)
            self._beside = Memcached(*_SMALL)

    def url(self, port: int | None = None) -> str:
        """Where the store is; ``port`` stands in for the server's own."""
        place = f"127.0.0.1:{port or self.server.port}"
        beside = f",{self._beside.address}" if self._beside is not None else ""
        return f"{self.kind}://{place}{beside}"

    def save(self) -> None:
        """Have a restart bring back what the server holds now, if it can."""
        if isinstance(self.server, RedisServer):
            self.server.run("SAVE")

    def end(self) -> None:
        """End all servers."""
        self.server.end()
        if self._beside is not None:
            self._beside.end()


@contextmanager
def backend(kind: Kind) -> Iterator[Backend]:
    """A new server of this kind while the block runs."""
    made = Backend(kind)
    try:
        yield made
    finally:
        made.end()


@contextmanager
def shared(kind: Kind, folder: Path) -> Iterator[str]:
    """The URL of a healthy store while the block runs."""
    if kind == "lmdb":
        yield f"lmdb://{folder / 'pages'}?size=64MiB"
        return
    with backend(kind) as made:
        yield made.url()
