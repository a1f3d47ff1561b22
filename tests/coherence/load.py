"""Clients that write and read over real sockets, and keep a history of it."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from time import monotonic_ns
from typing import Final

from tests.coherence.application import ITEMS, LISTS, told_by
from tests.coherence.history import History, Read, Write

#: Seconds for which anything may take; a request that takes longer hangs.
PATIENCE: Final = 30.0
CLIENTS: Final = 8
#: Connections of each client: of a server that keeps them alive they end at different workers.
CONNECTIONS: Final = 4
#: Share of the requests that go over a new connection, perhaps to another worker.
MOVES: Final = 0.01
#: Share of the requests that write.
WRITES: Final = 0.08

_HEAD: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3})")
_VERSION: Final = re.compile(rb"([0-9]+)(?:$| the store did not acknowledge)")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_WORKER: Final = re.compile(rb"\r\nx-worker: *([0-9]+)", re.IGNORECASE)
_CACHE: Final = re.compile(rb"\r\ncache-status: *pagegen; *([^\r]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and when its request was sent and its last byte was there (nanoseconds)."""

    status: int
    body: bytes
    how: str
    worker: int
    sent: int
    answered: int


class Connection:
    """One connection that is kept alive. Raises ``OSError`` when it breaks."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""
        self._sent = 0

    def send(self, method: str, target: str) -> None:
        """Send a request without a body."""
        request = f"{method} {target} HTTP/1.1\r\nHost: coherence\r\nContent-Length: 0\r\n\r\n"
        self._sent = monotonic_ns()
        self._socket.sendall(request.encode("ascii"))

    def receive(self) -> Answer:
        """The response to what was sent last."""
        while b"\r\n\r\n" not in self._left:
            self._left += self._more()
        head, _, body = self._left.partition(b"\r\n\r\n")
        status, length = _HEAD.match(head), _LENGTH.search(head)
        assert status and length, head
        parts, there = [body], len(body)
        while there < int(length[1]):
            parts.append(self._more())
            there += len(parts[-1])
        answered = monotonic_ns()
        body = b"".join(parts)
        self._left = body[int(length[1]) :]
        how, worker = _CACHE.search(head), _WORKER.search(head)
        return Answer(
            int(status[1]),
            body[: int(length[1])],
            how[1].decode() if how else "",
            int(worker[1]) if worker else 0,
            self._sent,
            answered,
        )

    def _more(self) -> bytes:
        piece = self._socket.recv(262_144)
        if not piece:
            raise ConnectionResetError("the server closed the connection")
        return piece

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@dataclass(slots=True)
class Tally:
    """What came of all requests.

    ``wrong``: answers that nobody may ever get, each in words. ``lost``: connections that broke
    before the answer was there. ``refused``: writes answered 503, because not acknowledged.
    """

    history: History = field(default_factory=History)
    counts: Counter[str] = field(default_factory=Counter)
    workers: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    slowest: int = 0

    def add(self, other: Tally) -> None:
        """Take over what another client counted."""
        self.history.add(other.history)
        self.counts.update(other.counts)
        self.workers |= other.workers
        self.wrong.extend(other.wrong)
        self.slowest = max(self.slowest, other.slowest)

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {number}" for name, number in sorted(self.counts.items()))
        return f"{counts}; {len(self.workers)} workers; slowest {self.slowest / 1e6:.0f} ms"


class Client:
    """One client with several connections. For one thread."""

    def __init__(self, port: int, seed: int, writes: float = WRITES) -> None:
        self._port = port
        self._writes = writes
        self._random = Random(seed)
        self._connections: list[Connection | None] = [None] * CONNECTIONS
        self.tally = Tally()

    def act(self) -> None:
        """Write an item and read it back at once over another connection, or read something."""
        item = self._random.randrange(ITEMS)
        if item == ITEMS - 1:  # the huge one is not asked for as often as the others
            item = self._random.randrange(ITEMS)
        if self._random.random() < self._writes:
            self.write(item)
            self.read(self._page_of(item))
        else:
            self.read(self._page_of(item))

    def _page_of(self, item: int) -> str:
        """A page that tells the version of this item."""
        if self._random.random() < 0.7:
            return f"/items/{item}"
        start = self._random.choice((0, 1))
        return f"/lists/{item % LISTS}?start={start}&end={ITEMS // LISTS}"

    def read(self, target: str) -> str:
        """Get a page and note what it tells; returns what the cache said."""
        answer = self._ask("GET", target)
        if answer is None:
            return ""
        versions = told_by(answer.body) if answer.status == 200 else None
        if versions is None:
            self._wrong(f"GET {target}", answer)
            return ""
        for item, version in versions:
            self.tally.history.reads.append(
                Read(item, version, answer.sent, answer.how, answer.worker)
            )
        self.tally.counts["hits" if answer.how.startswith("hit") else "forwards"] += 1
        return answer.how

    def write(self, item: int) -> bool:
        """Give an item its next version; whether that was acknowledged."""
        answer = self._ask("POST", f"/items/{item}")
        if answer is None:
            return False
        version = _VERSION.match(answer.body)
        if version is None or answer.status not in (200, 503):
            self._wrong(f"POST /items/{item}", answer)
            return False
        acknowledged = answer.status == 200
        self.tally.counts["writes" if acknowledged else "refused"] += 1
        self.tally.history.writes.append(
            Write(item, int(version[1]), answer.answered, None if acknowledged else answer.worker)
        )
        return acknowledged

    def _wrong(self, asked: str, answer: Answer) -> None:
        self.tally.wrong.append(f"{asked}: {answer.status} {answer.body[:200]!r} ({answer.how})")

    def _ask(self, method: str, target: str) -> Answer | None:
        place = self._random.randrange(CONNECTIONS)
        if self._random.random() < MOVES:
            self._drop(place)
        try:
            connection = self._connections[place]
            if connection is None:
                connection = self._connections[place] = Connection(self._port)
            connection.send(method, target)
            answer = connection.receive()
        except TimeoutError:
            self.tally.wrong.append(f"{method} {target}: no answer within {PATIENCE} s")
        except OSError:
            self.tally.counts["lost"] += 1
        else:
            self.tally.workers.add(answer.worker)
            self.tally.slowest = max(self.tally.slowest, answer.answered - answer.sent)
            return answer
        self._drop(place)
        return None

    def _drop(self, place: int) -> None:
        connection, self._connections[place] = self._connections[place], None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Hang up everywhere."""
        for place in range(CONNECTIONS):
            self._drop(place)


@contextmanager
def storm(port: int, *, writes: float = WRITES) -> Iterator[Tally]:
    """Clients write and read while the block runs; the tally is complete after it."""
    over = threading.Event()
    whole, merging = Tally(), threading.Lock()
    failures: list[BaseException] = []

    def visit(seed: int) -> None:
        client = Client(port, seed, writes)
        try:
            while not over.is_set():
                client.act()
        except BaseException as error:
            failures.append(error)
        finally:
            client.close()
            with merging:
                whole.add(client.tally)

    threads = [threading.Thread(target=visit, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield whole
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
