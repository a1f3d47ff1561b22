"""Programs that tests start, look at and end, each by its own id."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from typing import Final, TypeVar

Ready = TypeVar("Ready")

#: Seconds for which a program may start or end, and seconds between two looks at it.
PATIENCE: Final = 30.0
_TICK: Final = 0.02
_LISTENING: Final = re.compile(r"(?:running on|Listening at:) http://127\.0\.0\.1:([0-9]+)")
#: Ports below those that the kernel gives to who connects or asks for any (from 32768): nobody
#: gets one of these by chance while its server starts, is away, or was never meant to be there.
_PORTS: Final = range(15_000, 32_000)


def free_port() -> int:
    """A port of ``127.0.0.1`` that nobody listens on."""
    while True:
        port = SystemRandom().choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class DidNotStartError(Exception):
    """A program ended, or was not ready in time; its log is in the message."""


def text_of(log: Path) -> str:
    """All that a program wrote so far."""
    return log.read_text(encoding="utf-8", errors="replace")


def port_in(log: Path) -> int | None:
    """The port that uvicorn or gunicorn chose, once it says so."""
    found = _LISTENING.search(text_of(log))
    return int(found[1]) if found else None


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    folder: Path,
    more: Mapping[str, str],
    ready: Callable[[], Ready | None],
) -> Iterator[Ready]:
    """Run a program in ``folder`` while the block runs, which begins when ``ready`` says something.

    ``more``: its environment besides ours. What it writes goes to ``log``.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **more},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _first(process, ready, log)
    finally:
        _end(process)


def _first(process: subprocess.Popen[bytes], ready: Callable[[], Ready | None], log: Path) -> Ready:
    for _ in range(int(PATIENCE / _TICK)):
        if (found := ready()) is not None:
            return found
        try:
            process.wait(_TICK)
        except subprocess.TimeoutExpired:
            continue
        break
    raise DidNotStartError(f"{process.args!r} did not start:\n{text_of(log)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
