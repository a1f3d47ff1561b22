"""A real PostgreSQL for the tests: one cluster in a directory of its own, ended by its own id.

It listens on a unix socket in that directory and on nothing else, so clusters of several test runs
never meet. It keeps nothing: no fsync, no logs but its own.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg
import pytest
from sqlalchemy.engine import URL

#: Seconds for which the server may start or end, and between two looks at it.
PATIENCE: Final = 60.0
_TICK: Final = 0.02
#: Names its socket too. The directory is ours, so every cluster may have the same.
PORT: Final = 5432
_OWNER: Final = "pagegen"
#: Who runs the server where the tests run as root, which it refuses; the first that exists.
_USERS: Final = ("postgres", "nobody")
#: Where Debian keeps the programs that it does not put into PATH.
_PLACES: Final = "/usr/lib/postgresql"
_MISSING: Final = "PostgreSQL is not installed. Run: sudo apt-get install postgresql"
_MAKING: Final = ("-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
#: Ends the server at once when the pipe from us is closed: by us, or by the system when a test run
#: is killed. A polite end would write all databases to the disk first, for nobody.
_GUARDED: Final = '"$@" & read -r _; kill -QUIT $!; wait'
_OPTIONS: Final = (
    *("-p", str(PORT)),
    *("-c", "listen_addresses="),
    *("-c", "fsync=off"),
    *("-c", "synchronous_commit=off"),
    *("-c", "full_page_writes=off"),
    *("-c", "max_connections=200"),
    *("-c", "max_prepared_transactions=8"),  # two-phase commits
    *("-c", "shared_buffers=16MB"),
    *("-c", "autovacuum=off"),
)


@dataclass(frozen=True, slots=True)
class Database:
    """One database of the cluster. ``host`` is the directory of its socket."""

    host: str
    name: str
    port: int = PORT
    user: str = _OWNER

    @property
    def dsn(self) -> str:
        """What libpq and psycopg connect to."""
        return f"host={self.host} port={self.port} user={self.user} dbname={self.name}"

    def url(self, driver: str = "psycopg") -> str:
        """What SQLAlchemy connects to, with this driver."""
        url = URL.create(
            f"postgresql+{driver}",
            username=self.user,
            database=self.name,
            query={"host": self.host, "port": str(self.port)},
        )
        return url.render_as_string(hide_password=False)

    def django(self) -> dict[str, str]:
        """An entry of Django's ``DATABASES``."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": self.host,
            "PORT": str(self.port),
            "USER": self.user,
            "NAME": self.name,
        }


class Postgresql:
    """One server; a context manager. Start it once per test process: it takes a second."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pagegen-pg-"))
        self._names = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _unprivileged()
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def main(self) -> Database:
        """The database that is always there."""
        return Database(str(self.directory), "postgres")

    @property
    def dsn(self) -> str:
        return self.main.dsn

    def url(self, driver: str = "psycopg") -> str:
        return self.main.url(driver)

    def fresh(self) -> Database:
        """A new empty database, which nobody else uses."""
        name = f"fresh_{next(self._names)}"
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")  # type: ignore[arg-type]
        return Database(str(self.directory), name)

    def end(self) -> None:
        """End the server, cutting whoever is connected, and remove its data."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self) -> None:
        data = self.directory / "data"
        log = self.directory / "log"
        if self._user is not None:
            shutil.chown(self.directory, self._user)
        with log.open("wb") as file:
            made = self._run(
                [_program("initdb"), "-D", str(data), "-U", _OWNER, "-A", "trust", *_MAKING],
                log=file.fileno(),
            )
            made.communicate(timeout=PATIENCE)
            assert made.returncode == 0, log.read_text()
            self._process = self._run(
                ["sh", "-c", _GUARDED, "sh", _program("postgres"), "-D", str(data)],
                "-k", str(self.directory), *_OPTIONS, log=file.fileno(),
            )  # fmt: skip
        until = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < until, "PostgreSQL does not start"
            time.sleep(_TICK)

    def _run(self, command: Sequence[str], *more: str, log: int) -> subprocess.Popen[bytes]:
        """In a group of its own: Ctrl-C at the terminal is for pytest, which ends it in order."""
        return subprocess.Popen(
            [*command, *more], cwd=self.directory, stdin=subprocess.PIPE, stdout=log, stderr=log,
            user=self._user, start_new_session=True,
        )  # fmt: skip

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn).close()
        except psycopg.OperationalError:
            return False
        return True


def _program(name: str) -> str:
    newest = sorted(
        Path(_PLACES).glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
    )
    path = os.pathsep.join([*map(str, newest), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.fail(_MISSING)
    return found


def _unprivileged() -> str | None:
    """Whom to become; None where we may stay who we are."""
    if os.geteuid() != 0:
        return None
    there = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _USERS if name in there)
