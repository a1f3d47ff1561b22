"""The replayed demo under uvicorn: a database of its own, processes on their own cores, an end."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Final

from .counters import Counted, counted
from .mix import Place
from .versions import TRIGGERS

ROOT: Final = Path(__file__).resolve().parents[2]
#: The demo without pagegen stands here, beside the one that is replayed.
BARE: Final = "/replay-bare"
#: A mistake: pagegen is told nothing of what is written.
DEAF: Final = "deaf"
#: Mistakes that can be switched in; the others are names of rules that lose their namespaces.
MISTAKES: Final = (DEAF, "catalogue", "package", "favorites")
#: Seconds for which a server may start or end, and seconds between two looks at it.
PATIENCE: Final = 30.0
_TICK: Final = 0.02
_LISTENING: Final = re.compile(r"running on http://127\.0\.0\.1:([0-9]+)")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to serve the demo. ``store``: memory, LMDB, or none, which is pagegen off."""

    store: str = ""
    workers: int = 1
    mistake: str = ""

    @property
    def name(self) -> str:
        """As tables show it."""
        many = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{self.store or 'off'}, {many}"


@dataclass(frozen=True, slots=True)
class Server:
    """A demo that listens on ``port`` of the loopback interface."""

    port: int
    folder: Path

    def counted(self) -> Counted:
        """What its processes did so far."""
        return counted(self.folder / "counters")


class DidNotStartError(RuntimeError):
    """The server ended, or was not ready in time; its log is in the message."""


def load_database(folder: Path) -> Path:
    """A freshly loaded database of the demo that counts versions; copy it for each run."""
    path = folder / "loaded.sqlite"
    load = (sys.executable, "-m", "demo_app.load")
    more = {"DEMO_DATABASE": str(path)}
    subprocess.run(load, cwd=ROOT, env={**os.environ, **more}, check=True, capture_output=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TRIGGERS)
    return path


def place_of(database: Path) -> Place:
    """What there is to ask for."""
    with closing(sqlite3.connect(database)) as connection:

        def column(query: str) -> list[str]:
            return [row[0] for row in connection.execute(query)]

        return Place(
            column("SELECT slug FROM package ORDER BY id"),
            column("SELECT slug FROM category ORDER BY slug"),
            [int(number) for number in column("SELECT id FROM user ORDER BY id")],
        )


def cores() -> tuple[frozenset[int], frozenset[int]]:
    """Those of the server and those of the client; none where there are not two, or no way to."""
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        return frozenset(), frozenset()
    *servers, client = sorted(os.sched_getaffinity(0))
    return frozenset(servers), frozenset((client,))


@contextmanager
def serving(variant: Variant, database: Path) -> Iterator[Server]:
    """Serve the demo on a copy of ``database`` while the block runs; it is gone after it."""
    with TemporaryDirectory(prefix="replay-") as name:
        folder = Path(name)
        (folder / "counters").mkdir()
        shutil.copy(database, folder / "catalogue.sqlite")
        log = folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                _command(variant), cwd=folder, env=_environment(variant, folder),
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            yield Server(_port(process, variant, folder), folder)
        finally:
            _end(process)


def _command(variant: Variant) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "uvicorn", "--port", "0", "--no-access-log"),
        *("--timeout-graceful-shutdown", "2", "--workers", str(variant.workers)),
        "benchmarks.replay.site:app",
    )


def _environment(variant: Variant, folder: Path) -> dict[str, str]:
    stores = {"": "", "memory": "memory://?size=64MiB", "LMDB": f"lmdb://{folder}/store"}
    return {
        **os.environ,
        "DEMO_DATABASE": str(folder / "catalogue.sqlite"),
        "PYTHONPATH": str(ROOT),
        "REPLAY_COUNTERS": str(folder / "counters"),
        "REPLAY_CPUS": ",".join(map(str, sorted(cores()[0]))),
        "REPLAY_MISTAKE": variant.mistake,
        "REPLAY_STORE": stores[variant.store],
    }


def _port(process: subprocess.Popen[bytes], variant: Variant, folder: Path) -> int:
    """Where it listens, once all workers have built the application."""
    end = monotonic() + PATIENCE
    while process.poll() is None and monotonic() < end:
        found = _LISTENING.search((folder / "log").read_text(errors="replace"))
        built = len(list((folder / "counters").iterdir())) == variant.workers
        if found and built and _listens(port := int(found[1])):
            return port
        sleep(_TICK)
    said = (folder / "log").read_text(errors="replace")
    raise DidNotStartError(f"the demo ({variant.name}) did not start:\n{said}")


def _listens(port: int) -> bool:
    # Of several workers the first one listens some time after their parent has said so.
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except OSError:
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
