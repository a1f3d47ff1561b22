"""Sockets that keep one deadline for all that is done with them.

redis-py's own time-outs are for one receive, and a server that sends a byte now and then is never
over them. Here a socket gets, before each operation, what is left of the time of the whole verb.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from ..deadline import left
from .lookup import Lookup
from .server import Server


class TimedSocket:
    """What redis-py needs of a socket. Each operation ends when the time, ``until``, is over."""

    def __init__(self, plain: socket.socket, until: float) -> None:
        self._socket = plain
        self.until = until

    def recv(self, size: int) -> bytes:
        """Up to ``size`` bytes; empty when the server has closed."""
        self._socket.settimeout(left(self.until))
        return self._socket.recv(size)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            self._socket.settimeout(left(self.until))
            view = view[self._socket.send(view) :]

    def is_quiet(self) -> bool:
        """Whether the server has neither closed nor said what nobody asked for."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: what redis-py wishes here is for one operation."""

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def shutdown(self, how: int) -> None:
        """End the connection, for all processes that have it."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()


def open_socket(server: Server, lookup: Lookup, until: float) -> TimedSocket:
    """Connect to a server; raises ``OSError``."""
    plain = _connect_unix(server, until) if server.path else _connect_tcp(server, lookup, until)
    if server.tls is not None:
        try:
            plain.settimeout(left(until))
            plain = server.tls.wrap_socket(plain, server_hostname=server.host)
        except BaseException:
            plain.close()
            raise
    return TimedSocket(plain, until)


def _connect_unix(server: Server, until: float) -> socket.socket:
    return _connect(socket.AF_UNIX, server.path, left(until))


def _connect_tcp(server: Server, lookup: Lookup, until: float) -> socket.socket:
    addresses = lookup.start().result(left(until))
    error: OSError = OSError(f"the host {server.host} has no address")
    for number, (family, address) in enumerate(addresses):
        # A share for each: one that never answers must not take the time of the others.
        share = left(until) / (len(addresses) - number)
        try:
            return _connect(family, (address, server.port), share)
        except OSError as this:
            error = this
    raise error


def _connect(family: int, place: Any, seconds: float) -> socket.socket:
    plain = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != getattr(socket, "AF_UNIX", None):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plain.settimeout(seconds)
        plain.connect(place)
    except BaseException:
        plain.close()
        raise
    return plain
