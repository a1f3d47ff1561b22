"""What happens to a store's server, or to the workers, while clients write and read."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Final, NamedTuple

from tests.coherence.backends import Backend
from tests.coherence.proxy import MODES, Remote
from tests.coherence.workers import Workers

#: Seconds that each trouble lasts, and the quiet after it, in which breakers close again.
LASTS: Final = 0.35
QUIET: Final = 0.45


class Trouble(NamedTuple):
    """One thing that goes wrong, and how it is mended."""

    name: str
    begin: Callable[[], object]
    end: Callable[[], object]


def of_server(backend: Backend) -> list[Trouble]:
    """The server is stopped and continued; killed, and started with what it held some time ago."""
    server = backend.server
    return [
        Trouble("saved", backend.save, lambda: None),
        Trouble("stopped", server.stop, server.cont),
        Trouble("killed", server.kill, server.restart),
    ]


def of_network(proxy: Remote) -> list[Trouble]:
    """Everything that the proxy can do."""

    def change(mode: str) -> Trouble:
        return Trouble(mode, lambda: proxy.change(mode), lambda: proxy.change("pass"))  # type: ignore[arg-type]

    return [change(mode) for mode in MODES if mode != "pass"]


def of_workers(workers: Workers, seed: int = 0) -> list[Trouble]:
    """A worker is stopped wherever it is, and goes on as if nothing had been."""
    random = Random(seed)
    held: list[int] = []

    def stop() -> None:
        held.append(random.choice(workers.pids()))
        os.kill(held[-1], signal.SIGSTOP)

    return [Trouble("worker stopped", stop, lambda: os.kill(held.pop(), signal.SIGCONT))]


def of_directory(directory: Path, workers: Workers) -> list[Trouble]:
    """Somebody clears the directory of a store that is in use, also while one of its users stands
    still, or spoils the file on top of it.
    """

    def clear() -> None:
        shutil.rmtree(directory, ignore_errors=True)

    def spoil() -> None:
        with suppress(OSError):
            (directory / "about").write_bytes(b"spoilt")

    (stopped,) = of_workers(workers)

    def clear_behind() -> None:
        stopped.begin()
        clear()

    return [
        Trouble("cleared", clear, lambda: None),
        Trouble("cleared behind a worker", clear_behind, stopped.end),
        Trouble("spoilt", spoil, lambda: None),
    ]


def have(troubles: Sequence[Trouble], seconds: float) -> list[str]:
    """One trouble after the other for so long, each at least once; what happened, in order."""
    until = monotonic() + seconds
    happened = []
    for trouble in cycle(troubles):
        if monotonic() >= until and len(happened) >= len(troubles):
            return happened
        trouble.begin()
        try:
            sleep(LASTS)
        finally:
            trouble.end()
        happened.append(trouble.name)
        sleep(QUIET)
    return happened
