"""One soak: servers, people, attackers, and what became of them."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final

from demo_app.load import ensure_database
from tests.processes import port_in, running, text_of
from tests.security.soak import attacks, wire
from tests.security.soak.attacks import USERS, Attack
from tests.security.soak.judging import Judge
from tests.security.soak.people import Diary, Person
from tests.serving import ROOT

SERVERS: Final[dict[str, tuple[str, ...]]] = {
    "uvicorn": ("uvicorn", "--port", "0", "--workers", "2", "--timeout-graceful-shutdown", "2",
                "--no-access-log", "--factory", "tests.security.soak.site:asgi"),
    "gunicorn": ("gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "--threads", "12",
                 "--graceful-timeout", "2", "tests.security.soak.site:wsgi()"),
}  # fmt: skip
#: Attackers at one time, on each server, and those of them who keep their connection.
ATTACKERS: Final = 12
LINGERING: Final = 6
#: Bytes of the store, and what a worker may have besides what it has when it is warm: near copies
#: and what is remembered (8 + 15 MB: docs/reference/limits.md), bodies that are collected (32 MB),
#: and what the server and the application hold for 30 requests at a time.
STORE: Final = "32MiB"
ROOM: Final = (8 + 15 + 32) << 20
_WORKER: Final = re.compile(r"(?:Started server process \[|Booting worker with pid: )([0-9]+)")
#: What a log must not hold: a request that pagegen itself failed on, and exceptions of anybody.
_DEFECT: Final = re.compile(r"could not be planned|Traceback|Exception in ASGI")
_LOOKS: Final = 0.5
_WARMING: Final = 1.0
_SLOW: Final = 3.0


@dataclass(frozen=True, slots=True)
class Server:
    """A site that listens; ``workers`` are its processes."""

    name: str
    port: int
    log: Path

    @property
    def workers(self) -> list[int]:
        """Ids of all workers that it ever began."""
        return [int(one) for one in _WORKER.findall(text_of(self.log))]


@dataclass(slots=True)
class Weight:
    """Bytes of a worker, mapped files apart: when it was warm, and at most."""

    first: int
    most: int


@dataclass(slots=True)
class Found:
    """What a soak found. ``unexplained``: 5xx that the bare application does not give."""

    seconds: float
    judge: Judge = field(default_factory=Judge)
    diary: Diary = field(default_factory=Diary)
    weights: dict[str, Weight] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)


@contextmanager
def serving(
    folder: Path, *, bare: bool = False, names: Iterable[str] = tuple(SERVERS)
) -> Iterator[list[Server]]:
    """Serve the site on these servers, over one database and one store, while the block runs."""
    database = folder / "catalogue.sqlite"
    more = {
        "DEMO_DATABASE": str(database),
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "SOAK_KEY": secrets.token_urlsafe(32),
        "SOAK_STORE": f"lmdb://{folder}/pages?size={STORE}",
        **({"SOAK_BARE": "1"} if bare else {}),
    }
    with ExitStack() as stack:
        yield [stack.enter_context(_served(name, folder, more)) for name in names]


@contextmanager
def _served(name: str, folder: Path, more: dict[str, str]) -> Iterator[Server]:
    log = folder / f"{name}{'-bare' if 'SOAK_BARE' in more else ''}.log"

    def ready() -> Server | None:
        port = port_in(log)
        server = None if port is None else Server(name, port, log)
        return server if server is not None and len(server.workers) == 2 else None

    command = (sys.executable, "-m", *SERVERS[name])
    with running(command, log, folder, more, ready) as server:
        yield server


def soak(seconds: float, folder: Path, seed: int = 7) -> Found:
    """Let all attacks loose for so long while people use the site. ``folder`` holds its database,
    which is loaded where it is not there, its store and its logs.
    """
    _database(folder)
    found = Found(seconds)
    with serving(folder) as servers:
        asyncio.run(_both(servers, found, seed))
        for server in servers:
            _look_at_the_end(server, found)
    if found.judge.failures:
        names = sorted({server for server, _ in found.judge.failures})
        with serving(folder, bare=True, names=names) as servers:
            asyncio.run(_again({server.name: server.port for server in servers}, found))
    return found


def _database(folder: Path) -> None:
    before = os.environ.get("DEMO_DATABASE")
    os.environ["DEMO_DATABASE"] = str(folder / "catalogue.sqlite")
    try:
        ensure_database()
    finally:
        os.environ.pop("DEMO_DATABASE")
        if before is not None:
            os.environ["DEMO_DATABASE"] = before


async def _both(servers: list[Server], found: Found, seed: int) -> None:
    for server in servers:
        await _warm(server, found)
    until = monotonic() + found.seconds
    marks = iter(range(1, 10**9))
    async with asyncio.TaskGroup() as group:
        for server in servers:
            for number in USERS:
                random = Random(f"{seed} {server.name} {number}")
                who = (number, server.name, server.port, found.judge, found.diary, random)
                group.create_task(Person(*who).browse(until))
                if number <= 2:
                    group.create_task(Person(*who).write(until))
            for number in range(ATTACKERS):
                random = Random(f"{seed} {server.name} attacker {number}")
                lingers = number < LINGERING
                group.create_task(_attack(server, random, marks, found, until, lingers))
        group.create_task(_weigh(servers, found, until))


async def _warm(server: Server, found: Found) -> None:
    """Let each worker answer, so that all that is made once is there."""
    until = monotonic() + _WARMING
    who = (server.name, server.port, Judge(), Diary())
    await asyncio.gather(*(Person(n, *who, Random(n)).browse(until) for n in USERS))
    for worker in server.workers:
        found.weights[f"{server.name} {worker}"] = Weight(_resident(worker), 0)


async def _attack(
    server: Server,
    random: Random,
    marks: Iterator[int],
    found: Found,
    until: float,
    lingers: bool,
) -> None:
    while monotonic() < until:
        attack = attacks.draw(random, next(marks), lingering=lingers)
        found.sent[attack.name] += 1
        try:
            data = await asyncio.wait_for(
                _MANNERS[attack.manner](server.port, attack), wire.PATIENCE
            )
        except TimeoutError:
            found.judge.breach(f"{server.name}: no end after {wire.PATIENCE} s", attack)
            continue
        except OSError:  # it hung up on us, as it may
            data = b""
        got = wire.answers(data, attack.method)
        found.unanswered[attack.name] += not got
        found.judge.look(server.name, attack, got)


async def _read(port: int, attack: Attack) -> bytes:
    return await wire.send(port, attack.data)


async def _slowly(port: int, attack: Attack) -> bytes:
    """Some bytes now and then; then all the rest, or nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2_048)
    try:
        writer.write(attack.data)
        data, until = b"", monotonic() + _SLOW
        while piece := await reader.read(2_048):
            data += piece
            await asyncio.sleep(0.05 if monotonic() < until else 0)
        return data
    finally:
        writer.transport.abort()


async def _leaving(port: int, attack: Attack) -> bytes:
    """Gone after the first bytes, or before them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
    writer.write(attack.data)
    await asyncio.sleep(0)
    if len(attack.data) % 2:
        await reader.read(1_024)
    writer.transport.abort()
    return b""


async def _held(port: int, attack: Attack) -> bytes:
    """A head that does not end, for a while."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(attack.data)
    await asyncio.sleep(_SLOW / 2)
    writer.transport.abort()
    return b""


_MANNERS: Final = {"read": _read, "slow": _slowly, "abort": _leaving, "hold": _held}


async def _weigh(servers: list[Server], found: Found, until: float) -> None:
    while monotonic() < until:
        for server in servers:
            for worker in server.workers:
                weight = found.weights.setdefault(f"{server.name} {worker}", Weight(0, 0))
                weight.most = max(weight.most, _resident(worker))
        await asyncio.sleep(_LOOKS)


def _resident(process: int) -> int:
    """Bytes of a process in memory, mapped files apart; 0 for one that is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(li.split()[1]) for li in lines if li.startswith("RssAnon:")), 0)


def _look_at_the_end(server: Server, found: Found) -> None:
    gone = [one for one in server.workers if not Path(f"/proc/{one}").exists()]
    if gone or len(server.workers) != 2:
        found.died.append(f"{server.name}: {server.workers}, of which {gone} are gone")
    lines = text_of(server.log).splitlines()
    found.logged += [f"{server.name}: {line}" for line in lines if _DEFECT.search(line)]


async def _again(ports: dict[str, int], found: Found) -> None:
    """Ask the bare application what was answered with a 5xx."""
    for server, attack in found.judge.failures:
        try:
            data = await asyncio.wait_for(wire.send(ports[server], attack.data), wire.PATIENCE)
        except (OSError, TimeoutError):
            data = b""
        statuses = [answer.status for answer in wire.answers(data, attack.method)]
        if not any(status >= 500 for status in statuses):
            found.unexplained.append(
                f"{server}, {attack.name}: bare {statuses}: {attack.data[:500]!r}"
            )
