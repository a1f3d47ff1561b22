"""Sockets with one deadline for all that is done with them, in a form that pymemcache takes.

pymemcache's own timeout is one for each ``recv``: a server that sends a byte now and then would
hold its caller for ever. It lets its user choose the module that sockets come from, so here is one.
"""

from __future__ import annotations

import select
import socket
from concurrent.futures import Future
from ssl import SSLContext, SSLWantReadError
from time import monotonic
from typing import Any, Final

from ...errors import StoreError
from ...workers import Workers
from ..deadline import left
from .addresses import Resolved, choose

#: Bytes asked of a socket at a time. pymemcache's 4,096 doubles the cost of a page of 1 MB.
RECEIVE: Final = 65_536
#: Bytes of an answer that are no value: over it the server is talking rubbish.
MAX_IDLE_TALK: Final = 4 * RECEIVE
#: Times that bytes which had arrived within the deadline are taken after it: a thread that got the
#: processor late is no reason to throw an answer away.
MAX_LATE: Final = 16
#: Names that are being looked up at one time.
MAX_LOOKUPS: Final = 16

_lookups: Final = Workers("pagegen-memcached-names", threads=2, places=MAX_LOOKUPS)


class Asked(BaseException):
    """A question has been sent, its answer is not waited for yet.

    No ``Exception``, so that pymemcache leaves the connection as it is.
    """


class HungUpError(ConnectionError):
    """The other side closed the connection; pymemcache would take it for a server's answer."""

    def __str__(self) -> str:
        return "it closed the connection"


class Wire:
    """What pymemcache takes for a socket. Everything it does ends at the module's deadline."""

    def __init__(self, sock: socket.socket, sockets: Sockets) -> None:
        self._sock = sock
        self._sockets = sockets
        self._watch = select.poll()
        self.asking = self.asked = False
        self._talk = self._late = 0

    def connect(self, place: Any) -> None:
        """Connect, TLS included, within the connect timeout."""
        until = self._sockets.connect_until()
        self._sock.settimeout(left(until))
        self._sock.connect(place)
        tls = self._sockets.tls
        if tls is not None:
            self._sock.settimeout(left(until))
            self._sock = tls.wrap_socket(self._sock, server_hostname=self._sockets.host or None)
        self._watch.register(self._sock.fileno(), select.POLLIN)

    def stale(self) -> bool:
        """Whether the other side has closed it, or has sent what nobody asked for."""
        return bool(self._watch.poll(0))

    def begin(self) -> None:
        """A new question: nothing of its answer has been heard yet."""
        self.asking = self.asked = False
        self._talk = self._late = 0

    def expect(self, size: int) -> None:
        """The answer announces a value of so many bytes."""
        self._talk -= size

    def sendall(self, data: bytes) -> None:
        """Send all of it; nothing when it has been sent by asking ahead."""
        if self.asked:
            return
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(left(self._sockets.until))
            rest = rest[self._sock.send(rest) :]

    def recv(self, _size: int = RECEIVE) -> bytes:
        """What has come, as much as there is: pymemcache keeps what it did not ask for."""
        if self.asking:
            raise Asked
        seconds = self._sockets.until - monotonic()
        if seconds <= 0:
            seconds = 0.0
            self._late += 1
            if self._late > MAX_LATE:
                raise TimeoutError
        self._sock.settimeout(seconds)
        try:
            data = self._sock.recv(RECEIVE)
        except (BlockingIOError, SSLWantReadError):
            raise TimeoutError from None
        if not data:
            raise HungUpError
        self._talk += len(data)
        if self._talk > MAX_IDLE_TALK:
            raise ValueError("rubbish without end")
        return data

    def setsockopt(self, *arguments: Any) -> None:
        """As :meth:`socket.socket.setsockopt`."""
        self._sock.setsockopt(*arguments)

    def settimeout(self, _timeout: float | None) -> None:
        """Nothing: there is a deadline."""

    def close(self) -> None:
        """Close it; says nothing to the other side that a parent after ``fork`` could miss."""
        self._sock.close()


class Sockets:
    """The module that one connection takes its sockets from, and the deadline of all of them.

    ``until`` is in seconds of ``time.monotonic``; ``connect_timeout`` in seconds, None for no other
    limit than the deadline. ``host`` is what a certificate must name.
    """

    AF_UNIX = socket.AF_UNIX
    AF_UNSPEC = socket.AF_UNSPEC
    SOCK_STREAM = socket.SOCK_STREAM
    IPPROTO_TCP = socket.IPPROTO_TCP
    TCP_NODELAY = socket.TCP_NODELAY

    def __init__(self, host: str, tls: SSLContext | None, connect_timeout: float | None) -> None:
        self.host = host
        self.tls = tls
        self.until = 0.0
        self._connect_timeout = connect_timeout
        self._place: Resolved | None = None
        self._last: Wire | None = None

    def connect_until(self) -> float:
        """When a connection must stand."""
        if self._connect_timeout is None:
            return self.until
        return min(self.until, monotonic() + self._connect_timeout)

    def socket(self, *kind: int) -> Wire:
        """A socket that is not connected yet."""
        self._last = Wire(socket.socket(*kind), self)
        return self._last

    def getaddrinfo(self, host: str, port: int, *_: int) -> list[Resolved]:
        """The one place of a server; a name is looked up in a thread, as that takes its time."""
        if self._place is None:
            self._place = choose(_resolve(host, port, self.connect_until()))
        return [self._place]

    def forget(self) -> None:
        """Close the last socket, known to pymemcache or not; look the name up again next time."""
        self._place = None
        if self._last is not None:
            self._last.close()
            self._last = None


def _resolve(host: str, port: int, until: float) -> list[Any]:
    def look_up(flags: int = 0) -> list[Any]:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)

    try:
        return look_up(socket.AI_NUMERICHOST)
    except socket.gaierror:
        return _wait(_lookups.submit(look_up), until)


def _wait(future: Future[list[Any]] | None, until: float) -> list[Any]:
    if future is None:
        raise StoreError("too many names are being looked up")
    return future.result(left(until))
