"""What happens to workers, network and directory while clients write and read.

Only what the checker started itself is touched.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from threading import Event
from time import monotonic
from typing import Final, NamedTuple

from .network import MODES, Mode, Remote
from .wire import PATIENCE
from .workers import Workers, WorkersError

#: Seconds that each fault lasts, and the quiet after it, in which breakers close again.
LASTS: Final = 0.35
QUIET: Final = 0.45
_TICK: Final = 0.005


class Fault(NamedTuple):
    """One thing that goes wrong, and how it is mended."""

    name: str
    begin: Callable[[], object]
    end: Callable[[], object]


def _nothing() -> None:
    """What needs no mending."""


def of_network(proxy: Remote) -> list[Fault]:
    """Everything that the proxy can do."""

    def change(mode: Mode) -> Fault:
        return Fault(f"network: {mode}", lambda: proxy.change(mode), lambda: proxy.change("pass"))

    return [change(mode) for mode in MODES if mode != "pass"]


def of_workers(workers: Workers, seed: int = 0) -> list[Fault]:
    """A worker is stopped wherever it is, and goes on as if nothing had been."""
    random = Random(seed)  # noqa: S311 - chance, no secret
    held: list[int] = []

    def stop() -> None:
        if pids := workers.pids():
            held.append(random.choice(pids))
            _signal(held[-1], signal.SIGSTOP)

    def go_on() -> None:
        while held:
            _signal(held.pop(), signal.SIGCONT)

    return [Fault("worker stopped", stop, go_on)]


def of_kills(workers: Workers, seed: int = 0) -> list[Fault]:
    """A worker is killed wherever it is; its server starts another."""
    random = Random(seed)  # noqa: S311
    return [Fault("worker killed", lambda: kill_one(workers, random), _nothing)]


def kill_one(workers: Workers, random: Random) -> None:
    """Kill a worker, and wait until there are as many again. Raises ``WorkersError``."""
    victim = random.choice(workers.pids())
    _signal(victim, signal.SIGKILL)
    until = monotonic() + PATIENCE
    pause = Event()
    while victim in (pids := workers.pids()) or len(pids) < workers.count:
        if monotonic() > until:
            raise WorkersError("no new worker was started")
        pause.wait(_TICK)


def of_directory(directory: Path, workers: Workers) -> list[Fault]:
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
        Fault("directory cleared", clear, _nothing),
        Fault("directory cleared behind a worker", clear_behind, stopped.end),
        Fault("directory spoilt", spoil, _nothing),
    ]


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.kill(pid, number)


def schedule(faults: Sequence[Fault], over: Event, seed: int | None = None) -> Iterator[str]:
    """One fault after the other until it is over; the name of each as it begins.

    Without a seed in their order, all alike long; with one in rounds of chance order, each for up
    to twice its time.
    """
    random = Random(seed)  # noqa: S311
    while faults and not over.is_set():
        order = list(faults) if seed is None else random.sample(faults, len(faults))
        for fault in order:
            if over.is_set():
                return
            yield fault.name
            fault.begin()
            try:
                over.wait(LASTS if seed is None else 2 * LASTS * random.random())
            finally:
                fault.end()
            over.wait(QUIET if seed is None else 2 * QUIET * random.random())


def have(faults: Sequence[Fault], seconds: float) -> list[str]:
    """One fault after the other for so long, each at least once; what happened, in order."""
    until = monotonic() + seconds
    happened: list[str] = []
    for name in schedule(faults, Event()):
        if monotonic() >= until and len(happened) >= len(faults):
            return happened
        happened.append(name)
    return happened
