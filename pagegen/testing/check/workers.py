"""Workers of a real server around the sample application, started here and ended here."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Literal

from .sample.site import create
from .wire import PATIENCE, Connection

Server = Literal["gunicorn", "uvicorn"]

WORKERS: Final = 4
#: Directory that the package is in: workers find it wherever they are started.
ROOT: Final = Path(__file__).resolve().parents[3]
_SAMPLE: Final = "pagegen.testing.check.sample"
_COMMANDS: Final[dict[Server, tuple[str, ...]]] = {
    "gunicorn": (
        "gunicorn", "--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "8",
        "--keep-alive", "75", "--graceful-timeout", "2", f"{_SAMPLE}.wsgi:build()",
    ),
    "uvicorn": (
        "uvicorn", "--port", "0", "--timeout-keep-alive", "75", "--no-access-log",
        "--timeout-graceful-shutdown", "2", "--factory", f"{_SAMPLE}.asgi:build",
    ),
}  # fmt: skip
_LISTENING: Final = re.compile(r"(?:running on|Listening at:) http://127\.0\.0\.1:([0-9]+)")
_TICK: Final = 0.05
#: Characters of a log that a failure shows.
_TAIL: Final = 4000


class WorkersError(Exception):
    """The server did not start, or did not end. Its log is in the notes."""


@dataclass(frozen=True, slots=True)
class Workers:
    """A server that listens on ``port`` of the loopback interface and logs into ``log``."""

    server: Server
    port: int
    log: Path
    process: subprocess.Popen[bytes]
    count: int

    def logged(self) -> str:
        """All that the server wrote so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def pids(self) -> list[int]:
        """The processes that handle requests, as they are now. Raises ``OSError`` without /proc."""
        main = self.process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text(encoding="ascii")
        return [pid for pid in map(int, children.split()) if _serves(pid)]


def _serves(pid: int) -> bool:
    """Whether a child is a worker: spawned Python has a process that only tracks resources."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(command) and b"resource_tracker" not in command


@contextmanager
def serving(
    server: Server,
    folder: Path,
    store: str,
    *,
    near: str = "",
    site: str = "coherence",
    mistake: str = "",
    workers: int = WORKERS,
    options: tuple[str, ...] = (),
) -> Iterator[Workers]:
    """Serve a new database in ``folder`` while the block runs. Raises ``WorkersError``."""
    database = folder / "items.sqlite"
    create(database)
    environment = {
        **os.environ,
        "HOME": str(folder),  # gunicorn keeps a control socket there
        "PAGEGEN_CHECK_DATABASE": str(database),
        "PAGEGEN_CHECK_MISTAKE": mistake,
        "PAGEGEN_CHECK_NEAR": near,
        "PAGEGEN_CHECK_SITE": site,
        "PAGEGEN_CHECK_STORE": store,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "WEB_CONCURRENCY": str(workers),
    }
    log = folder / f"{server}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - one of the commands above
            [sys.executable, "-m", *_COMMANDS[server], *options],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield _ready(Workers(server, _port(process, log), log, process, workers))
    except BaseException as error:
        tail = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        error.add_note(f"The log of {server} ends so:\n{tail}")
        raise
    finally:
        _end(process)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    until = monotonic() + PATIENCE
    while monotonic() < until and process.poll() is None:
        found = _LISTENING.search(log.read_text(encoding="utf-8", errors="replace"))
        if found is not None:
            return int(found[1])
        sleep(_TICK)
    raise WorkersError("the server did not start")


def _ready(served: Workers) -> Workers:
    """Wait until every worker has answered a request."""
    seen: set[int] = set()
    until = monotonic() + PATIENCE
    while len(seen) < served.count:
        if monotonic() > until:
            raise WorkersError(f"only workers {seen} answered")
        held = []
        try:
            # Many at once: a worker that is busy with one leaves the next to the others.
            for _ in range(2 * served.count):
                held.append(Connection(served.port))
                held[-1].send("GET", "/items/0")
            seen |= {connection.receive().worker for connection in held}
        except OSError:
            sleep(_TICK)
        finally:
            for connection in held:
                connection.close()
    return served


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        raise WorkersError("the server did not end when it was asked to") from None
    finally:
        # What is left of it, stopped workers included, is in a group of its own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
