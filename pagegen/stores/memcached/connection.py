"""One pipelined connection to one memcached server, on one event loop.

Calls wait in the order in which they were asked; answers come in the same order (see ``wire``).

- Who is cancelled keeps the place in the queue: the answer is read and thrown away.
- One timer looks at the head of the queue. A call that is overdue ends the connection, and all that
  wait on it fail: what is on its way cannot be trusted to be in time, and nobody waits for it
  again. A timer for each call costs a third of the throughput.
- A connection that is gone is never used again. Nothing is ever asked twice.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from dataclasses import dataclass, field
from ssl import SSLContext
from time import monotonic
from typing import Final, cast

from ...errors import StoreError
from ..breaker import Breaker
from .addresses import Address, choose
from .client import Check
from .wire import Question, Replies, Rubbish, Settings

#: Calls that may wait on a connection; over it a call fails at once. At the speed of one core about
#: 70 ms of work, so what came later would be too late anyway.
MAX_CALLS: Final = 4096
#: Bytes that may wait to be sent; over it a call fails at once (asyncio's own mark: 64 KiB, which
#: one page would pass).
MAX_QUEUED: Final = 4 * 2**20
#: Seconds that an overdue call is given once more, so that answers which came while the event loop
#: was busy elsewhere are read before the server is blamed.
GRACE: Final = 0.002

#: None when the answer came; it stands in the question.
Waiter = asyncio.Future[StoreError | None]


@dataclass(slots=True)
class Counts:
    """Counters of a client. Threads share them without a lock: one may be lost now and then."""

    connects: int = 0
    connect_failures: int = 0
    lost: int = 0
    closed_idle: int = 0
    timeouts: int = 0
    rubbish: int = 0
    cancelled: int = 0
    refused_by_breaker: int = 0
    refused_by_queue: int = 0
    refused_by_check: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A server and how it is spoken to; times in seconds. Shared by all connections to it.

    ``tls`` is for TCP alone: a unix socket does not leave the machine.
    """

    number: int
    address: Address
    timeout: float
    connect_timeout: float
    breaker: Breaker
    tls: SSLContext | None = None
    check: Check | None = None
    counts: Counts = field(default_factory=Counts)

    def error(self, problem: str) -> StoreError:
        """What a caller gets for a failure of this server."""
        return StoreError(f"memcached {self.address.text}: {problem}")


class Connection(asyncio.Protocol):
    """Connects when it is made; calls may be asked at once, and wait for it.

    ``gone`` says that it failed or was closed: make another one. Belongs to the loop's thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, target: Target) -> None:
        self.gone = False
        self._loop = loop
        self._target = target
        self._replies = Replies()
        self._early: deque[tuple[Question, Waiter, float]] = deque()
        self._calls: deque[tuple[Waiter, float]] = deque()
        self._ready = False
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._suspected = 0.0
        self._attempt = loop.create_task(self._connect())

    def ask(self, question: Question) -> Waiter:
        """Send a question; the result says what went wrong. Cancelling it is safe.

        Raises ``StoreError`` when too much is waiting already.
        """
        waiting = len(self._calls) + len(self._early)
        if waiting >= MAX_CALLS or self._paused or self._out_bytes > MAX_QUEUED:
            self._target.counts.refused_by_queue += 1
            raise self._target.error("too much is waiting for it already")
        waiter: Waiter = self._loop.create_future()
        deadline = monotonic() + self._target.timeout
        if self._ready:
            self._send(question, waiter, deadline)
        else:
            self._early.append((question, waiter, deadline))
            self._out_bytes += len(question.request)
        if self._timer is None:
            self._look_at(deadline)
        return waiter

    def close(self) -> None:
        """Give it up; who waits gets an error. No bytes are sent any more."""
        self._target.breaker.undecided()
        self._end(self._target.error("the client was closed"))

    def disown(self) -> None:
        """After a fork, in the child: let go of the parent's socket without touching it.

        Closing the transport would take the socket out of the selector, which the parent shares
        (epoll(7)), and TLS would say good-bye in the parent's name. So the child's descriptor is
        made to point elsewhere; the object must stay alive, or it would be finalised.
        """
        self.gone = True
        if self._transport is None:
            return
        own = self._transport.get_extra_info("socket")
        if own is None or own.fileno() < 0:
            return
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, own.fileno())
        os.close(nowhere)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a line; whether the server may be used is another matter."""
        self._transport = cast("asyncio.Transport", transport)
        if self.gone:
            self._transport.abort()
            return
        self._target.counts.connects += 1
        self._transport.set_write_buffer_limits(high=MAX_QUEUED)
        own = transport.get_extra_info("socket")
        if own is not None and own.family != socket.AF_UNIX:
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Hand out the answers."""
        if self.gone:
            return
        try:
            answered = self._replies.feed(data)
        except Rubbish as error:
            self._target.counts.rubbish += 1
            self._fail(str(error))
            return
        if not answered:
            return
        for _ in range(answered):
            waiter, _ = self._calls.popleft()
            if waiter.done():
                self._target.counts.cancelled += 1
            else:
                waiter.set_result(None)
        if self._ready:
            self._target.breaker.succeeded()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed, or the network did."""
        if self.gone:
            return
        if self._calls or self._early:
            self._target.counts.lost += 1
            self._fail(f"the connection was lost ({exc or 'closed by the server'})")
        else:
            self._target.counts.closed_idle += 1
            self._end(self._target.error("closed"))

    def pause_writing(self) -> None:
        """Too much is waiting to be sent."""
        self._paused = True

    def resume_writing(self) -> None:
        """It has been sent."""
        self._paused = False

    # Connecting, sending, watching, failing.

    async def _connect(self) -> None:
        target = self._target
        try:
            async with asyncio.timeout(target.connect_timeout):
                await self._open()
                await self._check()
        except asyncio.CancelledError:
            if not self.gone:
                target.breaker.undecided()
                self._end(target.error("the attempt to connect was given up"))
            raise
        except Exception as error:
            target.counts.connect_failures += 1
            self._fail(f"no connection: {str(error) or 'it took too long'}")
        else:
            self._begin()

    async def _open(self) -> None:
        address = self._target.address
        if address.path:
            await self._loop.create_unix_connection(lambda: self, address.path)
        else:
            # The same choice as the blocking client's: both faces must keep a token in one place.
            found = await self._loop.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM
            )
            host, port = choose(found)[4][:2]
            tls = self._target.tls
            await self._loop.create_connection(
                lambda: self, host, port, ssl=tls, server_hostname=address.host if tls else None
            )

    async def _check(self) -> None:
        """The first question on a connection, and nothing else before its answer."""
        target = self._target
        if target.check is None:
            return
        settings = Settings()
        waiter: Waiter = self._loop.create_future()
        self._send(settings, waiter, monotonic() + target.connect_timeout)
        error = await waiter
        if error is not None:
            raise error
        try:
            target.check(target.number, {} if settings.refusal else settings.found)
        except Exception:
            target.counts.refused_by_check += 1
            raise

    def _begin(self) -> None:
        """Send what has been waiting, but for those whose caller has left."""
        if self.gone:
            return
        self._ready = True
        self._out_bytes = 0
        for question, waiter, deadline in self._early:
            if waiter.done():
                self._target.counts.cancelled += 1
            else:
                self._send(question, waiter, deadline)
        self._early.clear()
        if self._target.check is not None:
            self._target.breaker.succeeded()
        elif not self._calls:
            self._target.breaker.undecided()

    def _send(self, question: Question, waiter: Waiter, deadline: float) -> None:
        """Together with all that is asked in this turn of the loop: one system call for them."""
        self._calls.append((waiter, deadline))
        self._replies.expect(question)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(question.request)
        self._out_bytes += len(question.request)

    def _flush(self) -> None:
        out, self._out, self._out_bytes = self._out, [], 0
        if self._transport is not None and out and not self.gone:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _look_at(self, deadline: float) -> None:
        delay = max(0.0, deadline - monotonic())
        self._timer = self._loop.call_later(delay, self._look)

    def _look(self) -> None:
        """The timer: is the call overdue that has waited longest?"""
        self._timer = None
        waiting = self._calls if self._ready else self._early
        if not waiting:
            return
        now = monotonic()
        deadline = waiting[0][-1]
        if deadline > now:
            self._look_at(deadline)
        elif deadline > self._suspected:
            self._suspected = now
            self._look_at(now + GRACE)
        elif not self._ready:
            self._give_up_early(now)
        else:
            self._target.counts.timeouts += 1
            self._fail(f"no answer within {self._target.timeout:g} s")

    def _give_up_early(self, now: float) -> None:
        """Calls are overdue before there is a connection: they fail, the attempt goes on."""
        target = self._target
        target.counts.timeouts += 1
        target.breaker.failed("no connection in time")
        error = target.error(f"no connection within {target.timeout:g} s")
        while self._early and self._early[0][2] <= now:
            question, waiter, _ = self._early.popleft()
            self._out_bytes -= len(question.request)
            if not waiter.done():
                waiter.set_result(error)
        if self._early:
            self._look_at(self._early[0][2])

    def _fail(self, problem: str) -> None:
        if not self.gone:
            self._target.breaker.failed(problem)
            self._end(self._target.error(problem))

    def _end(self, error: StoreError) -> None:
        """Drop the connection, and with it all that is on its way."""
        if self.gone:
            return
        self.gone = True
        if self._timer is not None:
            self._timer.cancel()
        if self._loop.is_closed():
            return
        self._attempt.cancel()
        if self._transport is not None:
            self._transport.abort()
        for waiter in [call[0] for call in self._calls] + [call[1] for call in self._early]:
            if not waiter.done():
                waiter.set_result(error)
        self._calls.clear()
        self._early.clear()
        self._out.clear()
