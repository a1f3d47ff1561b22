"""redis-py on event loops: its asyncio connections, a pool for each loop.

As in blocking.py, one exchange has one connection to itself, and what interrupts it, a cancelled
task above all, ends that connection. One timer bounds a verb as a whole, the wait for a connection
included.
"""

from __future__ import annotations

import asyncio
import os
import socket
from asyncio import AbstractEventLoop, Semaphore, StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

from redis import exceptions
from redis._parsers import _AsyncRESP2Parser
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .blocking import ASK_PROCESS, OPTIONS
from .gate import Exhausted, Gate
from .lookup import Lookup
from .packets import Demoted, Packet, Refused, Reply
from .server import Server

T = TypeVar("T")

#: Seconds by which a loop may be late before it is its own fault that a reply was not seen in time.
LATE: Final = 0.01


class _Connection(AbstractConnection):
    """Connected once and never again: what fails is thrown away."""

    def __init__(self, server: Server, lookup: Lookup) -> None:
        self._server = server
        self._lookup = lookup
        self.host, self.port = server.host, server.port
        self.transport: asyncio.WriteTransport | None = None
        options = {**OPTIONS, "retry": Retry(NoBackoff(), 0)}
        super().__init__(
            db=server.db,
            username=server.user,
            password=server.password,
            parser_class=_AsyncRESP2Parser,
            **options,
        )

    async def _connect(self) -> None:
        self._reader, self._writer = await _open(self._server, self._lookup)
        self.transport = self._writer.transport

    def abandon(self) -> None:
        """Close at once, whatever the server thinks of it."""
        if self.transport is not None:
            self.transport.abort()
        self._reader = self._writer = None

    def _host_error(self) -> str:
        return self._server.name

    def repr_pieces(self) -> list[tuple[str, str | int]]:
        return [("server", self._server.name)]


class _Link:
    """A connection, and the server's process at its other end."""

    def __init__(self, gate: Gate, lookup: Lookup) -> None:
        self._gate = gate
        self._connection: Any = _Connection(gate.server, lookup)
        self.process = b""

    async def open(self) -> None:
        try:
            await self._connection.connect()
            await self._connection.send_packed_command([ASK_PROCESS])
            self.process = self._gate.identity.meet(await self._reply())
        except BaseException:
            self.close()
            raise

    async def exchange(self, packet: Packet[T]) -> T:
        """Send a packet, and make its answer of the replies."""
        await self._connection.send_packed_command([packet.data])
        replies = [await self._reply() for _ in range(packet.replies)]
        return packet.check(self.process, replies)

    async def is_quiet(self) -> bool:
        """Whether the server has neither closed nor said what nobody asked for."""
        return not (self._connection.transport.is_closing() or await self._connection.can_read())

    def close(self) -> None:
        self._connection.abandon()

    async def _reply(self) -> Reply:
        try:
            return await self._connection.read_response(disable_decoding=True)
        except exceptions.ResponseError as error:
            return error


class _Pool:
    """The connections of one event loop."""

    def __init__(self, gate: Gate, lookup: Lookup) -> None:
        self.process = os.getpid()
        self.places = Semaphore(gate.server.pool)
        self._gate = gate
        self._lookup = lookup
        self._idle: list[_Link] = []
        self._closed = False
        self._guard = self._until_the_loop_ends()

    async def start(self) -> None:
        """Have the loop close this pool when it ends."""
        await anext(self._guard)

    async def run(self, packet: Packet[T]) -> T:
        """The answer to a packet; the caller has a place."""
        link = await self._take()
        if link is None:
            return await self._use(await self._connect(), packet)
        try:
            return await self._use(link, packet)
        except exceptions.ConnectionError as error:
            # See blocking.py: a token is never sent twice.
            if not packet.repeatable or type(error) is not exceptions.ConnectionError:
                raise
            self._gate.counts["stale_connections"] += 1
            return await self._use(await self._connect(), packet)

    def close(self) -> None:
        """Close all connections; those in use when their exchange is over."""
        self._end()
        # The guard has nothing to wait for, so one step ends it.
        with suppress(StopIteration):
            cast("Any", self._guard).aclose().send(None)

    def _end(self) -> None:
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _until_the_loop_ends(self) -> AsyncIterator[None]:
        # Loops end their asynchronous generators before they are closed (asyncio.run, uvicorn).
        try:
            yield
        finally:
            self._end()

    async def _connect(self) -> _Link:
        self._gate.counts["connections"] += 1
        link = _Link(self._gate, self._lookup)
        await link.open()
        return link

    async def _take(self) -> _Link | None:
        while self._idle:
            link = self._idle.pop()
            # The newest connection tells where the address leads now: to another process, perhaps.
            if link.process == self._gate.identity.process and await link.is_quiet():
                return link
            self._gate.counts["stale_connections"] += 1
            link.close()
        return None

    async def _use(self, link: _Link, packet: Packet[T]) -> T:
        try:
            answer = await link.exchange(packet)
        except Refused:
            self._give_back(link)
            raise
        except Demoted:
            # Wherever the address leads by now, the connections of before do not lead there.
            link.close()
            self._drop()
            raise
        except BaseException:
            link.close()
            raise
        self._give_back(link)
        return answer

    def _give_back(self, link: _Link) -> None:
        if self._closed:
            link.close()
        else:
            self._idle.append(link)


class NativeClient:
    """Exchanges that suspend, for at most the server's time-out, on any number of event loops."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lookup = Lookup(gate.server.host)
        self._pools: WeakKeyDictionary[AbstractEventLoop, _Pool] = WeakKeyDictionary()
        self._process = os.getpid()
        #: Of a parent process: kept, because to throw them away would be to close them.
        self._inherited: list[_Pool] = []

    async def run(self, packet: Packet[T]) -> T:
        """The answer to a packet; raises ``StoreError``."""
        gate = self._gate
        gate.enter()
        loop = asyncio.get_running_loop()
        until = loop.time() + gate.server.timeout
        try:
            answer = await self._run(await self._pool(loop), packet, until)
        except BaseException as error:
            late = isinstance(error, TimeoutError) and loop.time() - until > LATE
            judged = gate.judge(error, late=late)
            if judged is error:
                raise
            raise judged from error
        gate.passed()
        return answer

    def close(self) -> None:
        """Close the connections of all loops, each in its own loop."""
        for loop, pool in list(self._pools.items()):
            self._pools.pop(loop, None)
            _close_on(loop, pool)

    async def _run(self, pool: _Pool, packet: Packet[T], until: float) -> T:
        has_place = False
        try:
            async with asyncio.timeout_at(until):
                await pool.places.acquire()
                has_place = True
                return await pool.run(packet)
        except TimeoutError as error:
            if has_place:
                raise TimeoutError("it took too long") from error
            raise Exhausted("all its connections are in use") from None
        finally:
            if has_place:
                pool.places.release()

    async def _pool(self, loop: AbstractEventLoop) -> _Pool:
        if self._process != os.getpid():
            self._process = os.getpid()
            self._lookup.after_fork()
        pool = self._pools.get(loop)
        if pool is not None and pool.process == os.getpid():
            return pool
        if pool is not None:
            self._inherited.append(pool)
        for other in [other for other in self._pools if other.is_closed()]:
            del self._pools[other]
        pool = self._pools[loop] = _Pool(self._gate, self._lookup)
        await pool.start()
        return pool


async def _open(server: Server, lookup: Lookup) -> tuple[StreamReader, StreamWriter]:
    if server.path:
        return await asyncio.open_unix_connection(server.path)
    loop = asyncio.get_running_loop()
    until = loop.time() + server.timeout
    addresses = await asyncio.wrap_future(lookup.start())
    error: OSError = OSError(f"the host {server.host} has no address")
    for number, (family, address) in enumerate(addresses):
        # A share for each: one that never answers must not take the time of the others.
        share = max(0.0, until - loop.time()) / (len(addresses) - number)
        try:
            async with asyncio.timeout(share):
                return await _open_tcp(server, family, address)
        except OSError as this:
            error = this
    raise error


async def _open_tcp(server: Server, family: int, address: str) -> tuple[StreamReader, StreamWriter]:
    reader, writer = await asyncio.open_connection(
        address,
        server.port,
        family=family,
        ssl=server.tls,
        server_hostname=server.host if server.tls else None,
    )
    plain = writer.get_extra_info("socket")
    if plain is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return reader, writer


def _close_on(loop: AbstractEventLoop, pool: _Pool) -> None:
    if loop.is_closed():
        return
    with suppress(RuntimeError):
        if loop is asyncio.get_running_loop():
            pool.close()
            return
    if loop.is_running():
        loop.call_soon_threadsafe(pool.close)
    else:
        with suppress(RuntimeError):  # another loop runs in this thread
            loop.run_until_complete(_close_and_settle(pool))


async def _close_and_settle(pool: _Pool) -> None:
    pool.close()
    # One turn, in which the transports give their sockets back.
    await asyncio.sleep(0)
