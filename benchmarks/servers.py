"""The servers behind the stores: started for the benchmark on free loopback ports, and ended."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Final

#: Seconds for which a server may start or end, and seconds between two looks at it.
PATIENCE: Final = 10.0
_TICK: Final = 0.02
#: Somebody may take a free port before the server does.
_ATTEMPTS: Final = 3

_COMMANDS: Final = {
    "memcached": ("memcached", "-l", "127.0.0.1", "-m", "64", "-u", "root", "-p"),
    "redis-server": (
        *("redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"),
    ),
}


class MissingError(RuntimeError):
    """A part that is not installed; the text says which command installs it."""


@contextmanager
def serving(program: str) -> Iterator[str]:
    """``host:port`` of a server that is empty; raises ``MissingError`` where it is not installed.

    ``program`` is ``memcached`` or ``redis-server``.
    """
    if shutil.which(program) is None:
        raise MissingError(f"not installed, run: sudo apt-get install {program}")
    process, port = _start(_COMMANDS[program])
    try:
        yield f"127.0.0.1:{port}"
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
