"""The servers behind the stores: started for the benchmark on free loopback ports, and ended."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Final, NamedTuple

#: Seconds for which a server may start or end, and seconds between two looks at it.
PATIENCE: Final = 10.0
_TICK: Final = 0.02
#: Somebody may take a free port before the server does.
_ATTEMPTS: Final = 3

_COMMANDS: Final = {
    "memcached": ("memcached", "-l", "127.0.0.1", "-m", "1024", "-u", "root", "-p"),
    "redis-server": (
        *("redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"),
    ),
}


class MissingError(RuntimeError):
    """A part that is not installed; the text says which command installs it."""


class Running(NamedTuple):
    """A server that was started: its ``host:port``, and its process id."""

    place: str
    pid: int


@contextmanager
def serving(program: str) -> Iterator[str]:
    """``host:port`` of a server that is empty; raises ``MissingError`` where it is not installed.

    ``program`` is ``memcached`` or ``redis-server``.
    """
    with running(program) as found:
        yield found.place


@contextmanager
def running(program: str, before: Sequence[str] = ()) -> Iterator[Running]:
    """The same with its process id. ``before`` comes before the command, and becomes it."""
    if shutil.which(program) is None:
        raise MissingError(f"not installed, run: sudo apt-get install {program}")
    process, port = _start((*before, *_COMMANDS[program]))
    try:
        yield Running(f"127.0.0.1:{port}", process.pid)
    finally:
        process.kill()  # it has nothing to save
        process.wait(PATIENCE)


def _start(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(_ATTEMPTS):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen((*command, str(port)), stdout=quiet, stderr=quiet)
        if _answers(process, port):
            return process, port
        process.kill()
        process.wait(PATIENCE)
    raise RuntimeError(f"{command[0]} does not start")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    end = monotonic() + PATIENCE
    while process.poll() is None and monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
        except OSError:
            sleep(_TICK)
        else:
            return process.poll() is None
    return False
