"""Visitors: kept-alive HTTP/1.1 connections that take requests from one queue, in its order.

A visitor sends the next request when it has the whole answer to its last one (a closed loop), on
callbacks alone: what the client costs is time that the server does not get. What comes is kept as
bytes and looked at when the clock has stopped.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from time import monotonic_ns, process_time
from typing import Any, Final, NamedTuple

from benchmarks.timing import without_collector

from .mix import Step, sign_in

#: What requests say in ``Host``: the same for every server, so that pages have the same keys.
HOST: Final = "replayed.example"
#: Seconds for which a run may take before it counts as hung.
PATIENCE: Final = 900.0

_HEAD: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_COOKIE: Final = re.compile(rb"\r\nset-cookie: *([^=;\s]+)=([^;\r]*)", re.IGNORECASE)
_END: Final = b"\r\n\r\n"


class Answer(NamedTuple):
    """What came of one step. Times are nanoseconds of one monotonic clock."""

    step: Step
    sent: int
    answered: int
    status: int
    head: bytes
    body: bytes


@dataclass(slots=True)
class Run:
    """All answers. ``seconds``: from the first request to the last answer; ``busy``: the client's
    own processor time as a share of it. ``extra``: users who had to sign in again to go on.
    """

    answers: list[Answer] = field(default_factory=list)
    seconds: float = 0.0
    busy: float = 0.0
    extra: int = 0


class Jar(dict[int, str]):
    """Users who are signed in, and the cookies that they got."""

    def keep(self, step: Step, head: bytes) -> None:
        """What an answer to a form sets."""
        if step.target == "/sign-in":
            found = _COOKIE.findall(head)
            self[step.user] = "; ".join(f"{n.decode()}={v.decode()}" for n, v in found)
        elif step.target == "/sign-out":
            self.pop(step.user, None)


def replay(
    port: int,
    steps: Iterable[Step],
    *,
    visitors: int,
    jar: Jar,
    cpus: Iterable[int] = (),
    bodies: bool = False,
) -> Run:
    """Send all steps, and wait for their answers. Raises ``OSError`` when a connection breaks.

    ``cpus``: where this process runs meanwhile, if any are given. ``bodies``: keep them.
    """
    queue = _Queue(iter(steps), jar, bodies=bodies)
    with without_collector(), _on(cpus), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_replay(port, queue, visitors))


def loop_name() -> str:
    """Which event loop is used: uvloop's where it is installed."""
    return "uvloop" if _loop_factory() else "asyncio"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        return import_module("uvloop").new_event_loop  # type: ignore[no-any-return]
    except ImportError:
        return None


@contextmanager
def _on(cpus: Iterable[int]) -> Iterator[None]:
    wanted = set(cpus)
    if not wanted:
        yield
        return
    kept = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, kept)


async def _replay(port: int, queue: _Queue, visitors: int) -> Run:
    loop = asyncio.get_running_loop()
    queue.over = loop.create_future()
    there = [_Visitor(queue, loop.create_future()) for _ in range(visitors)]
    for visitor in there:
        await loop.create_connection(partial(_same, visitor), "127.0.0.1", port)
    began, used = monotonic_ns(), process_time()
    queue.busy = len(there)
    try:
        for visitor in there:
            visitor.go_on()
        async with asyncio.timeout(PATIENCE):
            await queue.over
        queue.run.seconds = (monotonic_ns() - began) / 1e9
        queue.run.busy = (process_time() - used) / queue.run.seconds
    finally:
        for visitor in there:
            await visitor.hang_up()
    return queue.run


def _same(visitor: _Visitor) -> _Visitor:
    return visitor


class _Queue:
    """What is left to do, and what came of the rest."""

    def __init__(self, steps: Iterator[Step], jar: Jar, *, bodies: bool) -> None:
        self.run = Run()
        self.over: asyncio.Future[None]
        self.busy = 0
        self._steps = steps
        self._held: list[Step] = []
        self._jar = jar
        self._bodies = bodies

    def take(self) -> Step | None:
        """The next step; a user who has signed out signs in again before one that needs it."""
        step = self._held.pop() if self._held else next(self._steps, None)
        if step is not None and step.needs_user and step.user not in self._jar:
            self._held.append(step)
            self.run.extra += 1
            return sign_in(step.user)
        return step

    def request(self, step: Step) -> bytes:
        """The bytes to send."""
        cookies = self._jar.get(step.user)
        jar = f"Cookie: {cookies}\r\n" if cookies else ""
        head = f"{step.method} {step.target} HTTP/1.1\r\nHost: {HOST}\r\n{jar}"
        if step.method == "POST":
            head += (
                "Content-Type: application/x-www-form-urlencoded\r\n"
                f"Content-Length: {len(step.body)}\r\n"
            )
        return head.encode("ascii") + b"\r\n" + step.body

    def answered(self, step: Step, sent: int, head: bytes, body: bytes) -> None:
        """Keep an answer. Raises ``ConnectionError`` for what is none."""
        status = _HEAD.match(head)
        if status is None:
            raise ConnectionError(f"no HTTP: {head[:80]!r}")
        if step.method == "POST":
            self._jar.keep(step, head)
        kept = body if self._bodies else b""
        self.run.answers.append(Answer(step, sent, monotonic_ns(), int(status[1]), head, kept))

    def leave(self, failure: BaseException | None = None) -> None:
        """A visitor has nothing left to do, or cannot go on."""
        self.busy -= 1
        if self.over.done():
            return
        if failure is not None:
            self.over.set_exception(failure)
        elif not self.busy:
            self.over.set_result(None)


class _Visitor(asyncio.Protocol):
    """One connection."""

    def __init__(self, queue: _Queue, closed: asyncio.Future[None]) -> None:
        self._queue = queue
        self._closed = closed
        self._parts: list[bytes] = []
        self._left = -1
        self._head = b""
        self._step: Step | None = None
        self._sent = 0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set_result(None)
        if self._step is not None:
            self._queue.leave(exc or ConnectionError(f"lost at {self._step.target}"))

    def go_on(self) -> None:
        """The next request, if there is one."""
        self._step = step = self._queue.take()
        if step is None:
            self._queue.leave()
            return
        request = self._queue.request(step)
        self._sent = monotonic_ns()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if self._left < 0:
            self._begin()
        else:
            self._left -= len(data)
        if self._left == 0:
            self._end()

    def _begin(self) -> None:
        """Look for the end of the head, and learn from it how much is to come."""
        data = b"".join(self._parts)
        self._parts = [data]
        at = data.find(_END)
        if at < 0:
            return
        self._head, body = data[: at + 2], data[at + len(_END) :]
        length = _LENGTH.search(self._head)
        if length is None:
            self._queue.leave(ConnectionError(f"of unknown length: {self._head[:400]!r}"))
            return
        self._parts, self._left = [body], int(length[1]) - len(body)

    def _end(self) -> None:
        step, body = self._step, b"".join(self._parts)
        self._parts, self._left = [], -1
        if step is None:
            return
        try:
            self._queue.answered(step, self._sent, self._head, body)
        except ConnectionError as error:
            self._queue.leave(error)
            return
        self.go_on()

    async def hang_up(self) -> None:
        """Close the connection: a server that ends waits for those that are open."""
        self._step = None
        self._transport.close()
        await self._closed


def signed_in(port: int, users: Sequence[int]) -> Jar:
    """All users, signed in."""
    jar = Jar()
    replay(port, map(sign_in, users), visitors=1, jar=jar)
    return jar
