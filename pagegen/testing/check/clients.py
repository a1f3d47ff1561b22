"""Clients that write and read over real sockets, and tell what they saw."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from time import monotonic_ns
from typing import Final

from .events import Event, Mark, Outcome, Read, Write
from .targets import Ask, SampleTargets, Targets
from .wire import PATIENCE, Answer, Connection

CLIENTS: Final = 8
#: Connections of each client: of a server that keeps them alive they end at different workers.
CONNECTIONS: Final = 4
#: Share of the requests that go over a new connection, perhaps to another worker.
MOVES: Final = 0.01
#: Share of the reads that go for what is being written at the moment.
LOOKERS: Final = 0.3
#: Share of the requests that write.
WRITES: Final = 0.08
#: Cookies that a client keeps; of more it forgets the oldest.
MAX_COOKIES: Final = 32


@dataclass(frozen=True, slots=True)
class Place:
    """Where the application listens, on the loopback interface."""

    port: int
    host: str = "127.0.0.1"
    name: str = "coherence"


class Log:
    """What all clients saw and nobody has taken yet. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._since: dict[int, int] = {}
        self.requests = 0

    def begins(self, client: int) -> None:
        """The client has told all that it sent so far."""
        with self._lock:
            self._since[client] = monotonic_ns()

    def ends(self, client: int) -> None:
        """The client sends nothing any more."""
        with self._lock:
            self._since.pop(client, None)

    def add(self, event: Read | Write) -> None:
        """Tell a request."""
        self.tell(event)
        self.requests += 1  # nearly: it only ends runs

    def tell(self, event: Event) -> None:
        """Tell anything else."""
        with self._lock:
            self._events.append(event)

    def take(self) -> list[Event]:
        """All events that nobody has taken, and a mark: none from before it will follow."""
        with self._lock:
            before = min(self._since.values(), default=monotonic_ns())
            events, self._events = self._events, []
        return [*events, Mark(before=before)]


class Scene:
    """Where something is being written: readers go there, since races are lost there. Nearly
    right is enough, so nothing is locked.
    """

    def __init__(self) -> None:
        self.item = ""

    @contextmanager
    def set(self, item: str) -> Iterator[None]:
        """This item is written while the block runs."""
        self.item = item
        try:
            yield
        finally:
            if self.item == item:
                self.item = ""


class Client:
    """One client with several connections, and cookies. For one thread."""

    def __init__(
        self,
        place: Place | int,
        number: int,
        log: Log,
        *,
        targets: Targets | None = None,
        writes: float = WRITES,
        seed: int = 0,
        writing: dict[str, threading.Lock] | None = None,
        scene: Scene | None = None,
    ) -> None:
        self._place = place if isinstance(place, Place) else Place(place)
        self._number = number
        self._log = log
        self._targets = targets or SampleTargets()
        self._writes = writes
        self._writing = writing
        self._scene = scene or Scene()
        self._random = Random(f"{seed}/{number}")  # noqa: S311 - chance, no secret
        self._connections: list[Connection | None] = [None] * CONNECTIONS
        self._cookies: dict[str, str] = {}

    def act(self) -> None:
        """Write an item and read it back at once over another connection, or read something."""
        self._log.begins(self._number)
        if self._random.random() < self._writes:
            item = self._targets.to_write(self._random, self._number)
            with self._scene.set(item):
                self.write(item)
            self.read(self._targets.page_of(item, self._random))
            return
        item = self._scene.item if self._random.random() < LOOKERS else ""
        item = item or self._random.choice(self._targets.items)
        self.read(self._targets.any_page(item, self._random))

    def read(self, ask: Ask) -> Read:
        """Get a page and tell what it tells."""
        answer, sent, status = self._ask(ask)
        if answer is None or answer.status != 200:
            read = Read(
                client=self._number, page=ask.page, sent=sent, answered=monotonic_ns(),
                status=status,
            )  # fmt: skip
        else:
            said = self._targets.read(ask, answer)
            read = Read(
                client=self._number, page=ask.page, sent=sent, answered=answer.answered,
                how=answer.how, worker=answer.worker, versions=said.versions, group=said.group,
                made=said.made, bound=said.bound, rendering=said.rendering, flaw=said.flaw,
                stranger=said.stranger, soft=said.soft, lag=said.lag,
            )  # fmt: skip
        self._log.add(read)
        return read

    def write(self, item: str) -> Write | None:
        """Give an item its next version; None where another client is at it and must be alone."""
        if self._writing is None:
            return self._write(item)
        lock = self._writing[item]
        if not lock.acquire(blocking=False):
            return None
        try:
            write = self._write(item)
        except BaseException:
            lock.release()
            raise
        # What may still be written later would undo what is written then: the item stays as it is.
        if write.outcome in ("kept", "refused") or write.version is None:
            lock.release()
        return write

    def _write(self, item: str) -> Write:
        ask = self._targets.write_of(item, self._number)
        answer, sent, status = self._ask(ask)
        outcome: Outcome = "lost"
        version = ask.version
        if answer is not None:
            outcome, version = self._targets.written(ask, answer)
        write = Write(
            client=self._number, item=item, sent=sent, version=version, outcome=outcome,
            answered=monotonic_ns() if answer is None else answer.answered, status=status,
            worker=answer.worker if answer is not None else 0, hard=ask.hard,
        )  # fmt: skip
        self._log.add(write)
        return write

    def _ask(self, ask: Ask) -> tuple[Answer | None, int, int]:
        """The answer, when it was asked for, and its status: 0 for none, -1 for a broken
        connection.
        """
        place = self._random.randrange(CONNECTIONS)
        if self._random.random() < MOVES:
            self._drop(place)
        sent, status = monotonic_ns(), 0
        try:
            connection = self._connections[place]
            if connection is None:
                connection = Connection(self._place.port, self._place.host, self._place.name)
                self._connections[place] = connection
            sent = monotonic_ns()
            connection.send(ask.method, ask.target, self._fields(ask), ask.body)
            answer = connection.receive()
        except TimeoutError:
            pass
        except OSError:
            status = -1
        else:
            self._keep(answer)
            if not connection.usable:
                self._drop(place)
            return answer, answer.sent, answer.status
        self._drop(place)
        return None, sent, status

    def _fields(self, ask: Ask) -> tuple[tuple[str, str], ...]:
        if not self._cookies:
            return ask.fields
        jar = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return (*ask.fields, ("Cookie", jar))

    def _keep(self, answer: Answer) -> None:
        self._cookies.update(answer.cookies)
        while len(self._cookies) > MAX_COOKIES:
            del self._cookies[next(iter(self._cookies))]

    def _drop(self, place: int) -> None:
        connection, self._connections[place] = self._connections[place], None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Hang up everywhere."""
        for place in range(CONNECTIONS):
            self._drop(place)
        self._log.ends(self._number)


@contextmanager
def visiting(
    place: Place | int,
    log: Log,
    *,
    targets: Targets | None = None,
    clients: int = CLIENTS,
    writes: float = WRITES,
    seed: int = 0,
    alone: bool = False,
) -> Iterator[None]:
    """Clients write and read while the block runs; the log is complete after it.

    ``alone``: each item is written by one client at a time. Raises what a client raised.
    """
    over = threading.Event()
    failures: list[BaseException] = []
    asked = targets or SampleTargets()
    writing = {item: threading.Lock() for item in asked.items} if alone else None
    scene = Scene()

    def visit(number: int) -> None:
        client = Client(
            place, number, log, targets=asked, writes=writes, seed=seed, writing=writing,
            scene=scene,
        )  # fmt: skip
        try:
            while not over.is_set():
                client.act()
        except BaseException as error:
            failures.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(clients)]
    for number, thread in enumerate(threads):
        log.begins(number)
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(2 * PATIENCE)
    if failures:
        raise failures[0]
