"""A group: one server with every subject in it, all up at once, each proven.

Servers that nobody asks cost nothing, so all of a group stand ready and take turns.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from ..servers import MissingError, Running, running
from . import proof, proxies
from .cores import Cores, pin
from .processes import NotStartedError, Up, free_port, started
from .subjects import FLOOR, NEAR, STORES, Server, Subject
from .versions import installed

KILO: Final = 1000
#: Header lines that servers add themselves, or leave out.
_SERVERS_OWN: Final = {"date", "server", "connection", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Group:
    """What is measured together: the first subject is the floor. ``size`` is in kB.

    ``part``: the part of the benchmark that it belongs to.
    """

    part: str
    server: Server
    subjects: tuple[Subject, ...]
    size: int = 10

    @property
    def title(self) -> str:
        """What a reader calls it."""
        several = ", 1 to 4 workers" if self.part == "workers" else ""
        return f"{self.server.title}, {self.size} kB{several}"


@dataclass(frozen=True, slots=True)
class Ready:
    """A subject that is up. ``pids`` are its own processes, ``store_pids`` its store's server's."""

    subject: Subject
    up: Up
    pids: tuple[int, ...]
    store_pids: tuple[int, ...] = ()

    def calls(self) -> int:
        """How often its application was run so far; 0 for one that does not count."""
        return proof.calls(self.up.port) if self.subject.counts else 0


@dataclass(slots=True)
class Ground:
    """What stays open for all groups: a folder, and the stores' servers."""

    stack: ExitStack
    cores: Cores
    folder: Path = field(init=False)
    _stores: dict[str, Running] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(self.stack.enter_context(TemporaryDirectory(prefix="pagegen-bench-")))

    def store(self, program: str) -> Running | None:
        """The server of a store, started when it is first asked for. Raises ``MissingError``."""
        if program and program not in self._stores:
            opened = running(program, pin(self.cores.client))
            self._stores[program] = self.stack.enter_context(opened)
        return self._stores.get(program)


class Opened(NamedTuple):
    """Subjects that are up and proven, why others are missing, and what others did wrong."""

    ready: list[Ready]
    missing: dict[str, str]
    failed: dict[str, str]


def opened(ground: Ground, stack: ExitStack, group: Group) -> Opened:
    """Start and prove all of a group, until ``stack`` is closed.

    What is not installed is missing. Others' software that does not start, or answers wrongly, has
    failed, and is left out; where the floor or pagegen does, ``NotStartedError`` or ``NoHitError``
    is raised.
    """
    found = Opened([], {}, {})
    for subject in group.subjects:
        try:
            found.ready.append(_started(ground, stack, group, subject))
        except MissingError as error:
            found.missing[subject.name] = str(error)
    sent: dict[str, list[str]] = {}
    for ready in list(found.ready):
        try:
            sent[ready.subject.name] = _proven(group, ready)
        except (NotStartedError, proof.NoHitError) as error:
            if ready.subject.ours:
                raise
            found.failed[ready.subject.name] = str(error)
            found.ready.remove(ready)
    for ready in found.ready:
        same_as_floor(ready.subject, sent)
    return found


def _proven(group: Group, ready: Ready) -> list[str]:
    """The names of the header lines of a page that comes as it should."""
    ask = proof.hit if ready.subject.counts else proof.page
    try:
        ready.up.wait()
        lines = ask(ready.up.port, group.size * KILO)
    except (NotStartedError, proof.NoHitError) as error:
        raise type(error)(explained(group, ready, error)) from error
    return [name for name, _ in lines if name not in _SERVERS_OWN]


def explained(group: Group, ready: Ready, error: Exception) -> str:
    """An error with all that a reader needs to find it."""
    return f"{group.title}, {ready.subject.name}: {error}; its log: {ready.up.logged()}"


def same_as_floor(subject: Subject, sent: dict[str, list[str]]) -> None:
    """Raise ``NoHitError`` unless a hit of pagegen has the header lines that the floor sends."""
    if subject.group == "pagegen" and sent[subject.name] != sent[FLOOR]:
        raise proof.NoHitError(
            f"{subject.name} sends {sent[subject.name]}, and the floor {sent[FLOOR]}: "
            "change HIT in benchmarks/web/pages.py"
        )


def _started(ground: Ground, stack: ExitStack, group: Group, subject: Subject) -> Ready:
    installed(subject)
    store = ground.store(subject.program)
    port, behind = free_port(), None
    if subject.group == "proxy":
        behind = _behind(ground, stack, group)
        command = proxies.line(subject.name, port, behind.port, ground.folder)
    else:
        python = _python(subject)
        command = group.server.line(python, port, subject.target, subject.workers)
    cores = ground.cores.server if subject.workers == 1 else ground.cores.spread
    environment = _environment(ground, group, subject, port, store)
    up = stack.enter_context(started((*pin(cores), *command), port, ground.folder, environment))
    pids = (up.process.pid, *([behind.process.pid] if behind else []))
    return Ready(subject, up, pids, (store.pid,) if store else ())


def _behind(ground: Ground, stack: ExitStack, group: Group) -> Up:
    """The server behind a proxy: the counted page, under the group's own."""
    app = Subject("behind", "floor", target="benchmarks.web.pages:asgi_proxied")
    up = _started(ground, stack, group, app).up
    up.wait()
    return up


def _environment(
    ground: Ground, group: Group, subject: Subject, port: int, store: Running | None
) -> dict[str, str]:
    folder = ground.folder / str(port)  # a store's, or a peer's cache of files
    folder.mkdir()
    environment = {
        "PAGEGEN_BENCH_BODY": str(group.size * KILO),
        "PAGEGEN_BENCH_CALLS": str(ground.folder / f"{port}.calls"),
        "PAGEGEN_BENCH_SITE": f"{group.server.name}-{port}",
        "PAGEGEN_BENCH_NEAR": NEAR if subject.near else "",
        "TMPDIR": str(folder),
    }
    if subject.group == "pagegen":
        place = store.place if store else folder
        environment["PAGEGEN_BENCH_STORE"] = STORES[subject.store].format(place)
    if store:
        environment[f"PAGEGEN_BENCH_{subject.store.upper()}"] = store.place
    return environment


def _python(subject: Subject) -> str:
    """The interpreter of a subject's environment. Raises ``MissingError`` where it is not there."""
    if not subject.venv:
        return sys.executable
    python: Path | None = import_module("benchmarks.peers").interpreter(subject.venv)
    if python is None:
        raise MissingError("it has an environment of its own, which make bench makes")
    return str(python)
