"""An origin server that a test scripts byte by byte, and the proxy's twins to be driven alike."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

from pagegen.testing import Answer, call_asgi, call_wsgi, environ, scope
from pagegen.testing.proxy import ReverseProxy, WSGIReverseProxy

Kind = Literal["asgi", "wsgi"]
Lines = list[tuple[str, str]]

#: Seconds after which something that ought to happen has not.
PATIENCE: Final = 20.0


class Peer:
    """The origin's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._rest = b""

    def _more(self) -> bytes:
        piece = self.socket.recv(65_536)
        self._rest += piece
        return piece

    def until(self, mark: bytes) -> bytes:
        """What comes up to a mark and with it; nothing when the other side has closed."""
        while mark not in self._rest:
            if not self._more():
                return b""
        found, _, self._rest = self._rest.partition(mark)
        return found + mark

    def exactly(self, count: int) -> bytes:
        """So many bytes."""
        while len(self._rest) < count and self._more():
            pass
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    def take(self) -> bytes:
        """What is here already."""
        found, self._rest = self._rest, b""
        return found

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def request(self) -> Message | None:
        """The next request, None when the other side has closed."""
        head = self.until(b"\r\n\r\n")
        if not head:
            return None
        message = Message(head)
        if message.get("transfer-encoding"):
            message.body = self.until(b"0\r\n\r\n")
        elif length := message.get("content-length"):
            message.body = self.exactly(int(length[0]))
        return message

    def closed(self) -> bool:
        """Whether the other side has closed; waits for that, and for nothing to come before it."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def reset(self) -> None:
        """Close at once and rudely."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Message:
    """A request as its bytes came; the body with its chunks, if it has any."""

    def __init__(self, head: bytes) -> None:
        self.line, *lines = head.removesuffix(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.fields = [(n, v) for n, _, v in (line.partition(": ") for line in lines)]
        self.body = b""

    def get(self, name: str) -> list[str]:
        """The value of each line of a field."""
        return [value for key, value in self.fields if key.lower() == name]


Script = Callable[[Peer], object]


class Origin:
    """A server on the loopback interface that runs ``script`` for each connection."""

    def __init__(self, script: Script | bytes) -> None:
        self._script = script
        self._place = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._place.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[Message] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._place.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with connection:
            try:
                if isinstance(self._script, bytes):
                    self._repeat(Peer(connection), self._script)
                else:
                    self._script(Peer(connection))
            except BaseException as error:
                self.failures.append(error)

    def _repeat(self, peer: Peer, answer: bytes) -> None:
        """Answer all requests with these bytes; with an answer that has no length, only one."""
        while (message := peer.request()) is not None:
            self.requests.append(message)
            peer.send(answer)
            low = answer.lower()
            if b"connection: close" in low:
                return

    def close(self) -> None:
        """Wait for all scripts, and raise what went wrong in them."""
        self._place.shutdown(socket.SHUT_RDWR)
        self._place.close()
        self._accepting.join(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a script does not end"
        if self.failures:
            raise self.failures[0]


class Twin:
    """One of the two proxies in front of one origin, driven without a server."""

    def __init__(self, kind: Kind, origin: str, **options: Any) -> None:
        self.kind = kind
        self._runner = asyncio.Runner()
        self.proxy: Any = {"asgi": ReverseProxy, "wsgi": WSGIReverseProxy}[kind](origin, **options)
        self.app = self.proxy

    def ask(
        self, method: str, target: str, lines: Lines | None = None, body: bytes = b""
    ) -> Answer:
        """One request with these fields and a ``Host``, and the whole response."""
        return self.ask_bare(method, target, [("host", "shop.example"), *(lines or [])], body)

    def ask_bare(self, method: str, target: str, lines: Lines, body: bytes = b"") -> Answer:
        """One request with these fields alone."""
        if self.kind == "asgi":
            made = scope(method, target)
            made["path"] = _decoded(target).decode("utf-8", "replace")
            made["headers"] = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in lines]
            return self._runner.run(call_asgi(self.app, made, body))
        return call_wsgi(self.app, bare_environ(method, target, lines, body))

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine on the loop of the proxy's connections."""
        return self._runner.run(coroutine)

    def close(self) -> None:
        """Close the connections to the origin."""
        if self.kind == "asgi":
            self._runner.run(self.proxy.aclose())
        else:
            self.proxy.close()
        self._runner.close()


def bare_environ(method: str, target: str, lines: Lines, body: bytes = b"") -> dict[str, Any]:
    """An environ with these fields alone, several lines joined as servers do."""
    made = environ(method, target, {}, body)
    made["PATH_INFO"] = _decoded(target).decode("latin-1")
    made.pop("HTTP_HOST", None)
    made.pop("CONTENT_LENGTH", None)
    for name, value in lines:
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        made[key] = f"{made[key]}, {value}" if key in made else value
    made["wsgi.input_terminated"] = True
    return made


def _decoded(target: str) -> bytes:
    return unquote_to_bytes(target.partition("?")[0].encode("latin-1"))


@contextmanager
def twin_of(kind: Kind, script: Script | bytes, **options: Any) -> Iterator[tuple[Twin, Origin]]:
    """A twin in front of an origin; both are closed at the end."""
    origin = Origin(script)
    try:
        twin = Twin(kind, origin.url, **options)
        try:
            yield twin, origin
        finally:
            twin.close()
    finally:
        origin.close()


def plain(body: bytes = b"hello", fields: str = "") -> bytes:
    """A response of 200 with a length."""
    head = f"HTTP/1.1 200 OK\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body
