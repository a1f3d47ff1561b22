"""redis-py without an event loop: its connections over sockets of ours, and a pool of them.

One exchange is one packet out and its replies back on one connection. Whatever interrupts it, a
``BaseException`` included, closes that connection: the reply that is still to come must never be
the answer to another question.
"""

from __future__ import annotations

import os
from threading import Semaphore
from time import monotonic
from typing import Any, Final, TypeVar, cast
from weakref import WeakSet

from redis import exceptions
from redis._parsers import _RESP2Parser
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from ..deadline import left
from .gate import Exhausted, Gate
from .lookup import Lookup
from .packets import WHICH_PROCESS, Demoted, Packet, Refused, Reply, pack
from .server import Server
from .sockets import TimedSocket, open_socket

T = TypeVar("T")

#: What both faces tell redis-py: no retries (its default waits 4 s and more), no time-outs of its
#: own, no CLIENT SETINFO (two round trips), RESP 2 (it pushes nothing, and saves a HELLO). Each
#: adds redis-py's parser in Python: hiredis makes room for a list as long as a server says it is,
#: and held a thread for 6 s over one of a billion.
OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": None,
    "socket_connect_timeout": None,
    "retry": Retry(NoBackoff(), 0),
    "health_check_interval": 0,
    "driver_info": None,
    "protocol": 2,
    "decode_responses": False,
    "socket_read_size": 65_536,
}
ASK_PROCESS: Final = pack(WHICH_PROCESS)


class _Connection(AbstractConnection):
    """Connected once and never again: what fails is thrown away."""

    host = ""

    def __init__(self, server: Server, lookup: Lookup, until: float) -> None:
        self._server = server
        self._lookup = lookup
        self._until = until
        self.host, self.port = server.host, server.port
        self.timed: TimedSocket | None = None
        super().__init__(
            db=server.db,
            username=server.user,
            password=server.password,
            parser_class=_RESP2Parser,
            **OPTIONS,
        )

    def _connect(self) -> TimedSocket:
        self.timed = open_socket(self._server, self._lookup, self._until)
        return self.timed

    def _host_error(self) -> str:
        return self._server.name

    def repr_pieces(self) -> list[tuple[str, str]]:
        return [("server", self._server.name)]


class _Link:
    """A connection, and the server's process at its other end."""

    def __init__(self, gate: Gate, lookup: Lookup, until: float) -> None:
        # Any: redis-py's own methods have no types.
        self._connection = cast("Any", _Connection(gate.server, lookup, until))
        try:
            self._connection.connect()
            self._timed: TimedSocket = self._connection.timed
            self._connection.send_packed_command([ASK_PROCESS])
            self.process = gate.identity.meet(self._reply())
        except BaseException:
            self.close()
            raise

    def exchange(self, packet: Packet[T], until: float) -> T:
        """Send a packet, and make its answer of the replies."""
        self._timed.until = until
        self._connection.send_packed_command([packet.data])
        replies = [self._reply() for _ in range(packet.replies)]
        return packet.check(self.process, replies)

    def is_quiet(self) -> bool:
        # What redis-py has read already is nowhere else any more.
        unread = self._connection._parser._buffer.unread_bytes()
        return not unread and self._timed.is_quiet()

    def close(self) -> None:
        self._connection.disconnect()

    def _reply(self) -> Reply:
        try:
            return self._connection.read_response(disable_decoding=True)
        except exceptions.ResponseError as error:
            return error


class BlockingClient:
    """Exchanges that block the thread, for at most the server's time-out. Thread-safe.

    A child after ``fork`` starts with connections of its own.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lookup = Lookup(gate.server.host)
        self._places = Semaphore(gate.server.pool)
        self._idle: list[_Link] = []
        _clients.add(self)

    async def run(self, packet: Packet[T]) -> T:
        """The answer to a packet; raises ``StoreError``. Never suspends."""
        gate = self._gate
        gate.enter()
        try:
            answer = self._run(packet, monotonic() + gate.server.timeout)
        except BaseException as error:
            judged = gate.judge(error)
            if judged is error:
                raise
            raise judged from error
        gate.passed()
        return answer

    def close(self) -> None:
        """Close all connections that nobody uses at this moment."""
        while self._idle:
            self._idle.pop().close()

    def after_fork(self) -> None:
        """In the child: leave the parent's connections to the parent.

        redis-py and the sockets close only this process' descriptors here; nothing is sent.
        """
        self._idle = []
        self._places = Semaphore(self._gate.server.pool)
        self._lookup.after_fork()

    def _run(self, packet: Packet[T], until: float) -> T:
        places = self._places
        if not places.acquire(timeout=left(until)):
            raise Exhausted("all its connections are in use")
        try:
            link = self._take()
            if link is None:
                return self._use(self._connect(until), packet, until)
            try:
                return self._use(link, packet, until)
            except exceptions.ConnectionError as error:
                # Closed between the look at it and its use. What changes nothing may be asked
                # again; a token is never sent twice, because it may have been replaced meanwhile.
                if not packet.repeatable or type(error) is not exceptions.ConnectionError:
                    raise
                self._gate.counts["stale_connections"] += 1
                return self._use(self._connect(until), packet, until)
        finally:
            places.release()

    def _connect(self, until: float) -> _Link:
        self._gate.counts["connections"] += 1
        return _Link(self._gate, self._lookup, until)

    def _take(self) -> _Link | None:
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return None
            # The newest connection tells where the address leads now: to another process, perhaps.
            if link.process == self._gate.identity.process and link.is_quiet():
                return link
            self._gate.counts["stale_connections"] += 1
            link.close()

    def _use(self, link: _Link, packet: Packet[T], until: float) -> T:
        try:
            answer = link.exchange(packet, until)
        except Refused:
            self._idle.append(link)
            raise
        except Demoted:
            # Wherever the address leads by now, the connections of before do not lead there.
            link.close()
            self.close()
            raise
        except BaseException:
            link.close()
            raise
        self._idle.append(link)
        return answer


_clients: Final[WeakSet[BlockingClient]] = WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
