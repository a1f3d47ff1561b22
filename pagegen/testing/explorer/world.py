"""A small world: processes with real engines on a shared store, rows of a database, and a clock.

A world is built anew for each schedule by a function that is given it empty::

    def build(world: World) -> None:
        row, home = world.row("item"), world.process("P", CONFIGURATION)
        for name in "FG":
            world.visit(name, home, "/item", shows(row))
        world.writer("W", world.process("Q", CONFIGURATION), row, ["item"])
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Literal

from ...config import Configuration
from ...law.tokens import RANDOM_BYTES
from ...messages import GivenFields, Request
from ...stores import MemoryStore, Store
from .choosing import First
from .front import Application, visit
from .history import COMING, History, Owing, Visit
from .medium import Medium
from .process import EPOCH, Process
from .run import EVERYTHING, Run, point, until

#: Name of the visitors that come when everything has stopped.
PROBE: Final = "probe"

Guard = Callable[[], bool]


@dataclass(slots=True, eq=False)
class Row:
    """A row of the database. ``version`` counts commits; ``replica`` is what a replica has of it,
    which lags behind until it is told.
    """

    name: str
    version: int = 0
    replica: int = 0
    lags: bool = False

    def commit(self) -> None:
        """One version more."""
        self.version += 1
        if not self.lags:
            self.replica = self.version


class World:
    """What one run plays in. ``tolerance``: seconds that clocks may be wrong by.

    ``once``: whether one rendering per generation is promised, in each ``"process"`` or
    ``"everywhere"``.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.history = History()
        self.processes: dict[str, Process] = {}
        self.rows: dict[str, Row] = {}
        self.tolerance = 0.0
        self.patience = 0.0
        #: Seconds that have passed so far by events, which nobody waited for.
        self.passed = 0.0
        #: Seconds that nobody waits for longer here, where that is less than ``max_wait``.
        self.longest_wait = inf
        #: Whether every wait may reach its moment while others act, as slow ones make it do.
        self.impatient = False
        self.once: Literal["", "process", "everywhere"] = ""
        self._minted = 0
        self._homes: dict[str, str] = {}
        self._probes: list[tuple[Process, str, Application, Mapping[str, str]]] = []
        self.medium = Medium(run, self.history, MemoryStore(site="explorer", now=self.wall))

    def wall(self) -> float:
        """The store's own clock: true time, in seconds since the epoch."""
        return EPOCH + self.run.time

    def mint(self) -> bytes:
        """A token that was never there."""
        self._minted += 1
        return self._minted.to_bytes(RANDOM_BYTES, "big")

    def store(self, store: Store, *, labelled: bool = False) -> None:
        """Share another store. Before any process is made."""
        self.medium = Medium(self.run, self.history, store, labelled=labelled)

    def process(self, name: str, configuration: Configuration, **options: Any) -> Process:
        """A process with an engine of this configuration."""
        process = Process(self, name, configuration, **options)
        self.processes[name] = process
        self.patience = max(self.patience, process.patience)
        return process

    def row(self, name: str, *, lags: bool = False) -> Row:
        """A row of the database."""
        return self.rows.setdefault(name, Row(name, lags=lags))

    def actor(
        self,
        name: str,
        work: Coroutine[Any, Any, Any],
        *,
        home: Process | None = None,
        optional: bool = False,
    ) -> None:
        """Somebody who acts; dies with the process ``home``."""
        self.run.spawn(name, work, home=home, optional=optional)
        if home is not None:
            self._homes[name] = home.name

    def visit(
        self,
        name: str,
        process: Process,
        target: str,
        application: Application,
        *,
        method: str = "GET",
        fields: Mapping[str, str] | None = None,
        after: Guard | None = None,
    ) -> None:
        """Somebody asks for a page, when ``after`` holds, and is asked as a probe at the end."""
        asked = dict(fields or {})
        self.actor(
            name,
            self._come(name, process, request(target, method, asked), application, after),
            home=process,
            optional=after is not None,
        )
        if method == "GET":
            self._probes.append((process, target, application, asked))

    def writer(
        self,
        name: str,
        process: Process,
        row: Row,
        namespaces: Sequence[str],
        *,
        times: int = 1,
        soft: bool = False,
        after: Guard | None = None,
    ) -> None:
        """Somebody commits a row and forgets its namespaces, ``times`` times. What was forgotten
        softly is owed to nobody yet.
        """

        async def work() -> None:
            if after is not None:
                await until(after, "wait")
            for _ in range(times):
                await self.commit(row)
                version = row.version
                forgetting = await process.invalidate(*namespaces, soft=soft)
                if forgetting.returned is not None and not soft:
                    self.owes(row, version)

        self.actor(name, work(), home=process, optional=after is not None)

    def strict_writer(
        self,
        name: str,
        process: Process,
        row: Row,
        namespaces: Sequence[str],
        *,
        term: float = 30.0,
        after: Guard | None = None,
    ) -> None:
        """Somebody commits a row within ``cache.writing``; who finds no free mark does not."""

        async def work() -> None:
            if after is not None:
                await until(after, "wait")
            version = await process.write(self, row, namespaces, term)
            if version is not None:
                self.owes(row, version)

        self.actor(name, work(), home=process, optional=after is not None)

    def event(
        self, name: str, happens: Callable[[], object], *, after: Guard | None = None
    ) -> None:
        """Something happens once, at any moment (from when ``after`` holds on)."""

        async def once() -> None:
            if after is not None:
                await until(after, "wait")
            happens()

        self.actor(name, once(), optional=after is not None)

    def passes(self, seconds: float) -> None:
        """So much time passes, for everybody, in the step that calls this."""
        self.run.time += seconds
        self.passed += seconds
        self.run.writes(EVERYTHING)
        self.run.note(f"{seconds:g} s pass")

    async def commit(self, row: Row) -> None:
        """Commit a row, as a step."""
        await point(f"commit {row.name}")
        row.commit()
        self.run.writes(("row", row.name))
        self.run.note(f"commit {row.name}: version {row.version}")

    def owes(self, row: Row, version: int) -> None:
        """Who comes from now on sees this version of a row, or a later one."""
        self.run.reads(COMING)
        self.history.owing.append(Owing(row.name, version, self.run.steps))
        self.run.note(f"from now on {row.name} is owed at version {version}")

    def is_dead(self, process: str) -> bool:
        """Whether a process has crashed."""
        return self.processes[process].is_dead

    def home_of(self, actor: str) -> str:
        """The process that an actor is part of."""
        return self._homes.get(actor.partition("~")[0], "")

    def probe(self) -> None:
        """Let a visitor come to each page in each process that lives, one after the other."""
        run, seen = self.run, set[object]()
        run.chooser = First()
        for row in self.rows.values():
            row.replica = row.version
        for process, target, application, fields in self._probes:
            key = (process.name, target, tuple(fields.items()))
            if process.is_dead or process.is_cut or key in seen:
                continue
            seen.add(key)
            name = f"{PROBE}{len(seen)}"
            self._homes[name] = process.name
            came = self._come(name, process, request(target, "GET", fields), application, None)
            run.spawn(name, came, home=process)
            run.go()

    async def _come(
        self,
        name: str,
        process: Process,
        asked: Request,
        application: Application,
        after: Guard | None,
    ) -> None:
        run = self.run
        if after is not None:
            await until(after, "wait")
            if run.current is not None:
                run.current.optional = False
        run.writes(COMING)
        came = Visit(name, process.name, run.steps, run.time, dict(asked.fields.pairs()))
        came.probe = name.startswith(PROBE)
        self.history.visits.append(came)
        run.note(f"{asked.method} {asked.path} comes to {process.name}")
        await visit(process, came, asked, application)
        came.answered, came.went, came.wall = run.steps, run.time, process.peek()
        run.reads(COMING)
        if run.recording:
            run.note(_said(came))


def request(target: str, method: str, fields: Mapping[str, str]) -> Request:
    """A request for a path, with an optional query."""
    path, _, query = target.partition("?")
    return Request(method, "http", "", path, None, query, GivenFields({"host": "h", **fields}), {})


def _said(came: Visit) -> str:
    shown = came.rendering
    if shown is None:
        return f"answered: {came.how}"
    versions = ", ".join(f"{name} at {version}" for name, version in shown.versions.items())
    return f"ANSWERED: {came.how} with page #{shown.number} ({versions or 'nothing read'})"
