"""Ten thousand clients want one page that nobody has, over four workers of a real server.

The page is held until all of them are there, so nothing hangs on who is fast: what is counted are
renderings, and how many there are at one time. ``PAGEGEN_HERD`` is another number of clients.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Literal

import pytest

from tests.coherence.herd_application import PATIENCE, Told, told
from tests.processes import free_port, port_in, running
from tests.stores.redis_servers import RedisServer

ROOT: Final = Path(__file__).resolve().parents[2]
WORKERS: Final = 4
CLIENTS: Final = int(os.environ.get("PAGEGEN_HERD", "10000"))
#: Processes of clients; each of their sockets is a file.
HERDS: Final = 2
#: Files that a process has open besides.
BESIDES: Final = 200
#: A store that is up, however busy this machine is.
AT_LEISURE: Final = "timeout=10s"
_TICK: Final = 0.02

Says = Literal["public", "private"]

pytestmark = pytest.mark.alone


@dataclass(frozen=True, slots=True)
class Answers:
    """What the clients got: how often, by status, worker, trace and body."""

    count: Counter[tuple[int, str, str, str]]

    def by(self, index: int) -> Counter[object]:
        """How often each status (0), worker (1), trace (2) or body (3)."""
        found: Counter[object] = Counter()
        for answer, times in self.count.items():
            found[answer[index]] += times
        return found


class Herd:
    """Workers behind one port, and clients that all come at once."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def told(self) -> list[Told]:
        """What the workers tell."""
        return told(self.folder)

    def sum(self, name: str) -> int:
        """The same of all workers together."""
        return sum(getattr(worker, name) for worker in self.told())

    def until(self, fact: Callable[[], bool]) -> None:
        """Wait for what only the workers can bring about."""
        end = monotonic() + PATIENCE
        while not fact():
            assert monotonic() < end, self.told()
            sleep(_TICK)

    def say(self, word: str) -> None:
        """Let go who is held."""
        (self.folder / word).touch()

    @contextmanager
    def clients(self, count: int = CLIENTS) -> Iterator[Callable[[], Answers]]:
        """So many, under way while the block runs; what is yielded waits for their answers."""
        each = [count // HERDS] * (HERDS - 1) + [count - count // HERDS * (HERDS - 1)]
        command = [sys.executable, "-m", "tests.coherence.herd_clients", str(self.port)]
        herds = [
            subprocess.Popen(
                [*command, str(part), "/page/1"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
            for part in each
        ]

        def answers() -> Answers:
            count: Counter[tuple[int, str, str, str]] = Counter()
            for herd in herds:
                out, _ = herd.communicate(timeout=PATIENCE)
                assert herd.returncode == 0
                for *answer, times in json.loads(out):
                    count[tuple(answer)] += times  # type: ignore[index]
            return Answers(count)

        try:
            yield answers
        finally:
            for herd in herds:
                herd.kill()
                herd.wait()
                assert herd.stdout is not None
                herd.stdout.close()


@contextmanager
def files(needed: int) -> Iterator[None]:
    """Let programs that are started while the block runs have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        yield
        return
    if hard < needed and hard != resource.RLIM_INFINITY:
        pytest.fail(
            f"{CLIENTS} clients need {needed} open files, and {hard} are allowed. "
            f"Run: sudo prlimit --pid $$ --nofile={needed}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def workers(folder: Path, store: str, says: Says = "public") -> Iterator[Herd]:
    """Four workers of uvicorn while the block runs."""
    log = folder / "uvicorn.log"
    command = (
        sys.executable, "-m", "uvicorn", "--port", "0", "--workers", str(WORKERS), "--factory",
        "--no-access-log", "--backlog", "4096", "--timeout-graceful-shutdown", "2", "--lifespan",
        "off", "tests.coherence.herd_application:asgi",
    )  # fmt: skip
    more = {
        "HERD_DELAY": "10s",
        "HERD_FOLDER": str(folder),
        "HERD_SAYS": says,
        "HERD_STORE": store,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }

    def ready() -> int | None:
        return port_in(log) if len(told(folder)) == WORKERS else None

    # One worker may get them all.
    with files(CLIENTS + BESIDES), running(command, log, folder, more, ready) as port:
        yield Herd(folder, port)


def one_rendering(folder: Path, store: str, clients: int) -> None:
    with workers(folder, store) as herd, herd.clients(clients) as answers:
        # One has the lease; one of each other worker waits for it, and all others behind these.
        herd.until(lambda: herd.sum("waiting") == clients - 1)
        assert herd.sum("begun") == 1
        herd.say("go")
        got = answers()
        assert herd.sum("begun") == 1
    assert got.by(0) == {200: clients}
    assert len(got.by(1)) == WORKERS
    assert len(got.by(3)) == 1
    assert got.by(2) == {"collapsed": clients - 1, "stored": 1}


def test_with_redis_there_is_one_rendering_over_all_workers(tmp_path: Path) -> None:
    with RedisServer() as server:
        one_rendering(tmp_path, f"{server.url}?{AT_LEISURE}", CLIENTS)


def test_with_lmdb_there_is_one_rendering_over_all_workers(tmp_path: Path) -> None:
    one_rendering(tmp_path, f"lmdb://{tmp_path / 'pages'}?size=64MiB", CLIENTS // 10)


def test_with_the_store_away_each_worker_renders_in_turns(tmp_path: Path) -> None:
    """Nobody joins what began before it came: so it is two renderings, and never at one time."""
    away = f"redis://127.0.0.1:{free_port()}/0"
    with workers(tmp_path, away) as herd, herd.clients() as answers:
        # In each worker one renders; one of the others is next, and they all share that.
        herd.until(lambda: herd.sum("waiting") == CLIENTS - WORKERS)
        assert [worker.inside for worker in herd.told()] == [1] * WORKERS
        herd.say("go")
        got = answers()
        assert [worker.most for worker in herd.told()] == [1] * WORKERS
        assert [worker.begun for worker in herd.told()] == [2] * WORKERS
    assert got.by(0) == {200: CLIENTS}
    assert len(got.by(3)) == 2 * WORKERS


def test_a_private_page_is_rendered_for_all_at_one_time(tmp_path: Path) -> None:
    """All but the first are inside together, and none of them has ended: there is no queue."""
    with (
        RedisServer() as server,
        workers(tmp_path, f"{server.url}?{AT_LEISURE}", "private") as herd,
        herd.clients() as answers,
    ):
        herd.until(lambda: herd.sum("waiting") == CLIENTS - 1)
        assert herd.sum("begun") == 1
        herd.say("go")
        herd.until(lambda: herd.sum("begun") == CLIENTS)
        assert (herd.sum("inside"), herd.sum("ended")) == (CLIENTS - 1, 1)
        herd.say("go-on")
        got = answers()
    assert got.by(0) == {200: CLIENTS}
    assert len(got.by(3)) == CLIENTS  # each its own
    assert got.by(2) == {"detail=refused-private": CLIENTS}
