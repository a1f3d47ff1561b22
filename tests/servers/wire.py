"""Requests as bytes, for what no client library would send, and answers as traces."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

import httpx

from pagegen.testing import Answer
from tests.serving import Server


def trace(response: httpx.Response) -> str:
    """What the cache decided; see ``Answer.trace``."""
    return Answer(response.status_code, tuple(response.headers.multi_items()), ()).trace


@dataclass(frozen=True, slots=True)
class Raw:
    """A response as bytes."""

    data: bytes

    @property
    def status(self) -> int:
        """The status; a bare body, as HTTP/0.9 had it, counts as 200."""
        return int(self.data.split(b" ", 2)[1]) if self.data.startswith(b"HTTP/") else 200

    @property
    def cache_status(self) -> str:
        """The value of ``Cache-Status``, empty when there is none."""
        for line in self.data.partition(b"\r\n\r\n")[0].split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"cache-status":
                return value.strip().decode()
        return ""


def get(target: str, host: str) -> bytes:
    """A plain GET after which the server closes."""
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1")


def talk(server: Server, request: bytes) -> Raw:
    """Send bytes and read until the server closes."""
    pieces = []
    with server.connect() as connection:
        connection.sendall(request)
        while piece := connection.recv(65_536):
            pieces.append(piece)
    return Raw(b"".join(pieces))


def hang_up(connection: socket.socket) -> None:
    """Close at once and rudely: the server gets a reset, whatever it still wants to send."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
