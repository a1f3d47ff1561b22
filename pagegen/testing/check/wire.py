"""One kept-alive HTTP/1.1 connection, with the times of what goes over it (RFC 9112)."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import Final

#: Seconds for which anything may take; a request that takes longer hangs.
PATIENCE: Final = 30.0
#: Bytes of a response that are read: larger ones are no pages.
MAX_RESPONSE: Final = 16 * 2**20
_PIECE: Final = 262_144

_HEAD: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]{1,15})", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE: Final = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_WORKER: Final = re.compile(rb"\r\nx-worker: *([0-9]{1,15})", re.IGNORECASE)
_CACHE: Final = re.compile(rb"\r\ncache-status: *([^\r]*)", re.IGNORECASE)
_COOKIE: Final = re.compile(rb"\r\nset-cookie: *([^=;\s]+)=([^;\r]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and when its request was sent and its last byte was there (nanoseconds).

    how: what the last cache said of it, without that cache's name.
    """

    status: int
    body: bytes
    how: str
    worker: int
    sent: int
    answered: int
    cookies: tuple[tuple[str, str], ...] = ()


class BrokenError(ConnectionError):
    """The server ended the connection, or said what is no HTTP."""


class Connection:
    """A connection to a port of the loopback interface. Raises ``OSError`` when it breaks."""

    def __init__(self, port: int, host: str = "127.0.0.1", name: str = "coherence") -> None:
        self._name = name
        self._socket = socket.create_connection((host, port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""
        self._sent = 0
        self.usable = True

    def send(
        self, method: str, target: str, fields: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        """Send a request."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._name}"]
        lines += [f"{name}: {value}" for name, value in fields]
        if body or method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self._sent = monotonic_ns()
        self._socket.sendall(head + body)

    def receive(self) -> Answer:
        """The response to what was sent last."""
        head = self._head()
        status = _HEAD.match(head)
        if status is None:
            raise BrokenError(f"no HTTP: {head[:80]!r}")
        body = self._body(head, int(status[1]))
        answered = monotonic_ns()
        caches, worker = _CACHE.findall(head), _WORKER.search(head)
        self.usable = self.usable and not _CLOSE.search(head)
        return Answer(
            int(status[1]),
            body,
            caches[-1].decode("latin-1").rpartition(",")[2].partition(";")[2].strip()
            if caches
            else "",
            int(worker[1]) if worker else 0,
            self._sent,
            answered,
            tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in _COOKIE.findall(head)),
        )

    def _head(self) -> bytes:
        """The head of the next final response."""
        while True:
            head = self._until(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 1"):
                return head

    def _body(self, head: bytes, status: int) -> bytes:
        if status in (204, 304):
            return b""
        if _CHUNKED.search(head):
            return b"".join(iter(self._chunk, b""))
        length = _LENGTH.search(head)
        if length is not None:
            return self._exactly(int(length[1]))
        self.usable = False
        parts = [self._left]
        while (piece := self._socket.recv(_PIECE)) and sum(map(len, parts)) < MAX_RESPONSE:
            parts.append(piece)
        self._left = b""
        return b"".join(parts)

    def _chunk(self) -> bytes:
        line = self._until(b"\r\n").partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise BrokenError(f"no chunk: {line[:80]!r}") from None
        if size == 0:
            while self._until(b"\r\n"):  # trailers
                pass
            return b""
        return self._exactly(size + 2)[:-2]

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._left:
            if len(self._left) > MAX_RESPONSE:
                raise BrokenError("a head without an end")
            self._left += self._more()
        found, _, self._left = self._left.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        if size > MAX_RESPONSE:
            raise BrokenError(f"a body of {size} bytes")
        parts, there = [self._left], len(self._left)
        while there < size:
            parts.append(self._more())
            there += len(parts[-1])
        whole = b"".join(parts)
        self._left = whole[size:]
        return whole[:size]

    def _more(self) -> bytes:
        piece = self._socket.recv(_PIECE)
        if not piece:
            raise BrokenError("the server closed the connection")
        return piece

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
