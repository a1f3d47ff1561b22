"""The proxy as a WSGI application."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final, cast

import httpx

from ...fields import content_length
from ...wsgi.types import Environ, StartResponse, WSGIApp
from .heads import Framing, Head, Lines, raw_path, target
from .origin import OriginError, Proxy, UnsendableError

#: Bytes of a body that are read, or held, at one time.
BLOCK: Final = 65_536

_BARE: Final = (("CONTENT_TYPE", b"Content-Type"), ("CONTENT_LENGTH", b"Content-Length"))


class WSGIReverseProxy(Proxy):
    """Passes each request to the origin, and the response back, as they come.

    An environ does not tell the case of names, nor their order, nor how many lines there were.
    A client that leaves is noticed when the next piece is sent to it.
    """

    def __init__(self, origin: str, **options: Any) -> None:
        super().__init__(origin, **options)
        self._transport = httpx.HTTPTransport(**self.transport_options())

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request. Raises ``OriginError``, here or while the body is read."""
        if environ["REQUEST_METHOD"] == "CONNECT":
            return _answer(start_response, 501, "this is no tunnel")
        try:
            response = self._ask(environ)
        except UnsendableError as error:
            return _answer(start_response, 400, str(error))
        stream = cast(httpx.SyncByteStream, response.stream)
        try:
            head = self.head(environ["REQUEST_METHOD"], response)
            body: Iterable[bytes] = _Download(self, head, stream)
            short = head.length is not None and head.length <= BLOCK
            if short and environ["REQUEST_METHOD"] != "GET":
                # What a write answers is handed over in one piece: a cache would have to take a
                # close behind the last byte for a commit, and forget again what was written.
                body = _at_once(body)
            start_response(f"{head.status} {head.reason}", _native(head.fields))
        except BaseException:
            stream.close()
            raise
        return body

    def _ask(self, environ: Environ) -> httpx.Response:
        framed = _framing(environ)
        request = self.request(
            environ["REQUEST_METHOD"],
            _target(environ),
            list(_lines(environ)),
            framed,
            _Upload(environ["wsgi.input"], framed),
        )
        with self.failures():
            return self._transport.handle_request(request)

    def close(self) -> None:
        """Close all connections to the origin."""
        self._transport.close()


def _lines(environ: Environ) -> Iterator[tuple[bytes, bytes]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:].replace("_", "-").title().encode("latin-1")
            yield name, value.encode("latin-1")
    for key, name in _BARE:
        if environ.get(key):  # empty is how CGI says that there is none
            yield name, environ[key].encode("latin-1")


def _framing(environ: Environ) -> Framing:
    """Raises ``UnsendableError`` where nobody can say how long the body is."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        if not environ.get("wsgi.input_terminated"):
            raise UnsendableError("this server does not say where a body in chunks ends")
        return Framing(chunked=True)
    declared = content_length(filter(None, [environ.get("CONTENT_LENGTH")]))
    if declared == -1:
        raise UnsendableError("Content-Length is no number")
    return Framing(declared)


def _target(environ: Environ) -> bytes:
    raw: str | None = environ.get("REQUEST_URI", environ.get("RAW_URI"))
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return target(
        raw_path(path.encode("latin-1"), None if raw is None else raw.encode("latin-1")),
        environ.get("QUERY_STRING", "").encode("latin-1"),
    )


def _native(lines: Lines) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in lines]


class _Upload(httpx.SyncByteStream):
    """The body of a request."""

    def __init__(self, file: Any, framed: Framing) -> None:
        self._file = file
        self._framed = framed

    def __iter__(self) -> Iterator[bytes]:
        if self._framed.chunked:
            while piece := self._file.read(BLOCK):
                yield piece
            return
        left = self._framed.length or 0
        while left:
            piece = self._file.read(min(left, BLOCK))
            if not piece:
                raise ConnectionResetError(errno.ECONNRESET, "the client broke off its request")
            left -= len(piece)
            yield piece


class _Download:
    """The body of a response. Its connection is free before the last piece of it leaves."""

    def __init__(self, proxy: Proxy, head: Head, stream: httpx.SyncByteStream) -> None:
        self._proxy = proxy
        self._stream = stream
        self._pieces = iter(stream)
        self._left = head.length

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._proxy.failures():
            piece = next(self._pieces, None)
        if piece is None:
            self._finish()
            raise StopIteration
        if self._left is not None:
            self._left -= len(piece)
            if self._left <= 0:
                self._finish()
        return piece

    def _finish(self) -> None:
        with self._proxy.failures():
            for _ in self._pieces:
                pass
        self._stream.close()

    def close(self) -> None:
        """Called by the server once, early when the client has gone."""
        self._stream.close()


def _at_once(body: Iterable[bytes]) -> Iterable[bytes]:
    """A body in one piece; one that breaks off fails later: that there was an answer counts."""
    try:
        return [b"".join(body)]
    except OriginError as error:
        return _failing(error)


def _failing(error: OriginError) -> Iterator[bytes]:
    yield from ()
    raise error


def _answer(start_response: StartResponse, status: int, text: str) -> list[bytes]:
    line = f"{status} {HTTPStatus(status).phrase}"
    body = f"{line}: {text}\n".encode()
    fields = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(line, fields)
    return [body]


class WSGIGatewayErrors:
    """Answers 502 or 504 (RFC 9110 §15.6) where the application raises ``OriginError`` instead of
    a response. It belongs outside of the cache, for which a failure is no response.
    """

    def __init__(self, app: WSGIApp) -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request. Raises ``OriginError`` where a body breaks off."""
        try:
            return self.app(environ, start_response)
        except OriginError as error:
            return _answer(start_response, error.status, str(error))
