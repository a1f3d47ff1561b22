"""Counters of several processes: each has a file of its own, which anybody can read at any time."""

from __future__ import annotations

import mmap
import os
import struct
import threading
from pathlib import Path
from typing import Final, NamedTuple

_COUNTERS: Final = struct.Struct("<QQ")


class Counted(NamedTuple):
    """What one process or several did: pages rendered, and statements sent to the database."""

    renderings: int
    queries: int


class Counters:
    """The counters of this process, in a file that others can read at any time. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        path = folder / str(os.getpid())
        path.write_bytes(bytes(_COUNTERS.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _COUNTERS.size)
        self._lock = threading.Lock()
        self._renderings = self._queries = 0

    def add(self, renderings: int = 0, queries: int = 0) -> None:
        """Count."""
        with self._lock:
            self._renderings += renderings
            self._queries += queries
            _COUNTERS.pack_into(self._map, 0, self._renderings, self._queries)


def counted(folder: Path) -> Counted:
    """What all processes counted so far."""
    found = [Counted(*_COUNTERS.unpack(path.read_bytes())) for path in folder.iterdir()]
    return Counted(sum(one.renderings for one in found), sum(one.queries for one in found))
