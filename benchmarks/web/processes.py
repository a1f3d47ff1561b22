"""Web servers that a benchmark starts, waits for and ends, each in a process group of its own."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from time import monotonic, sleep
from typing import Final

#: Seconds for which a server may start or end, and seconds between two looks at it.
PATIENCE: Final = 30.0
_TICK: Final = 0.02
#: Below those that the kernel gives to who connects (from 32768): nobody gets one by chance.
_PORTS: Final = range(15_000, 32_000)
#: Characters of a log that an error shows: its end is where the reason stands.
_SHOWN: Final = 800
ROOT: Final = Path(__file__).resolve().parents[2]


class NotStartedError(RuntimeError):
    """A server ended, or was not there in time; the text has the end of its log."""


@dataclass(frozen=True, slots=True)
class Up:
    """A server that was started: its port, process id and log."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def url(self, path: str) -> str:
        """Where a page of it is."""
        return f"http://127.0.0.1:{self.port}{path}"

    def wait(self) -> None:
        """Return when it answers, be it 404. Raises ``NotStartedError``.

        That it listens says nothing: gunicorn does before its application is imported.
        """
        end = monotonic() + PATIENCE
        while self.process.poll() is None and monotonic() < end:
            if _answers(self.port):
                return
            sleep(_TICK)
        raise NotStartedError(f"does not start: {self.logged()}")

    def logged(self) -> str:
        """The end of its log, on one line."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return " ".join(text[-_SHOWN:].split()) or "its log is empty"


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/calls")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return True
    finally:
        connection.close()


def free_port() -> int:
    """A port of ``127.0.0.1`` that nobody listens on."""
    while True:
        port = SystemRandom().choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def started(
    command: Sequence[str], port: int, folder: Path, more: Mapping[str, str]
) -> Iterator[Up]:
    """Run a server while the block runs, which has to wait for it.

    ``more``: its environment besides ours. ``folder`` is its home, and gets its log.
    """
    log = folder / f"{port}.log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder), **more}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Up(port, process, log)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    # The group is its own: what it started and did not end goes with it.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
