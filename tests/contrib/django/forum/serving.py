"""The forum under real servers with several workers, for tests: started here, ended here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pagegen.testing.check.wire import Connection
from tests.processes import port_in, running, text_of
from tests.serving import ROOT

Kind = Literal["gunicorn", "uvicorn"]

WORKERS: Final = 4
#: Threads that are written, and users that are logged in.
THREADS: Final = 20
USERS: Final = ("ada", "bob", "cyd", "dan")
_PACKAGE: Final = "tests.contrib.django.forum"
_COMMANDS: Final[dict[Kind, tuple[str, ...]]] = {
    "gunicorn": (
        "gunicorn", "--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "4",
        "--keep-alive", "75", "--graceful-timeout", "2", f"{_PACKAGE}.wsgi:application",
    ),
    "uvicorn": (
        "uvicorn", "--port", "0", "--timeout-keep-alive", "75", "--no-access-log",
        "--timeout-graceful-shutdown", "2", f"{_PACKAGE}.asgi:application",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forum:
    """Where it listens; ``sessions``: the key of each user's session. ``log``: its output."""

    port: int
    sessions: Mapping[str, str]
    log: Path
    environment: Mapping[str, str]

    def manage(self, *arguments: str) -> str:
        """What a command of ``manage.py`` tells."""
        return _manage(self.log.parent, self.environment, *arguments)


@contextmanager
def serving(
    kind: Kind,
    folder: Path,
    *,
    placement: str = "inside",
    database: Mapping[str, Any] | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[Forum]:
    """Serve a new forum while the block runs, on SQLite in ``folder`` or another empty database.

    ``more``: of its environment. All workers have answered when the block begins.
    """
    chosen = {
        "DJANGO_SETTINGS_MODULE": f"{_PACKAGE}.settings",
        "FORUM_DATABASE": json.dumps(database or {"NAME": str(folder / "forum.sqlite")}),
        "FORUM_PLACEMENT": placement,
        "FORUM_STORE": f"lmdb://{folder / 'store'}?size=64MiB",
        "HOME": str(folder),  # gunicorn keeps a control socket there
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "error,ignore::ResourceWarning",
        "WEB_CONCURRENCY": str(WORKERS),
        **(more or {}),
    }
    _manage(folder, chosen, "migrate", "-v0")
    sessions = json.loads(_manage(folder, chosen, "seed", str(THREADS), *USERS))
    log = folder / f"{kind}.log"
    seen: set[int] = set()

    def ready() -> int | None:
        port = port_in(log)
        if port is not None:
            seen.update(_answering(port))
        return port if len(seen) >= WORKERS else None

    command = (sys.executable, "-m", *_COMMANDS[kind])
    with running(command, log, folder, chosen, ready) as port:
        try:
            yield Forum(port, sessions, log, chosen)
        except BaseException as error:
            error.add_note(f"The log of {kind} ends so:\n{text_of(log)[-3000:]}")
            raise


def _answering(port: int) -> set[int]:
    """Workers that answer when many requests come at once: who is busy leaves them to others."""
    held = []
    try:
        for _ in range(3 * WORKERS):
            held.append(Connection(port))
            held[-1].send("GET", "/uncached/")
        return {connection.receive().worker for connection in held}
    except OSError:
        return set()
    finally:
        for connection in held:
            connection.close()


def _manage(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", _PACKAGE, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
