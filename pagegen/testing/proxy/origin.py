"""The origin server: where it is, what is sent to it, and what its failures are called."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

from ...errors import PagegenError
from .heads import Framing, Head, Lines, request_fields, response_head

#: Seconds for a connection to the origin (httpx: 5 s, Varnish: 3.5 s, nginx: 60 s).
CONNECT_TIMEOUT: Final = 5.0
#: Seconds for each piece read or written, and for a free connection (nginx, Varnish: 60 s).
READ_TIMEOUT: Final = 60.0
#: Connections to the origin at one time; further requests wait (nginx: 512 in all for one worker).
MAX_CONNECTIONS: Final = 256
#: Idle connections that are kept (httpx: 20, nginx: 32), and for how many seconds: shorter than any
#: server's own patience (gunicorn: 2 s, uvicorn and Node.js: 5 s), which would lose a request.
MAX_IDLE: Final = 32
IDLE: Final = 1.0

_REMEDY: Final = "Give scheme, host and port alone, such as http://127.0.0.1:9000"


class OriginError(PagegenError):
    """The origin gave no response, or not all of it. ``status`` is what a gateway says then: 504
    when it was too slow, else 502 (RFC 9110 §15.6).
    """

    def __init__(self, message: str, status: int = 502) -> None:
        super().__init__(message)
        self.status = status


class UnsendableError(PagegenError):
    """The request cannot be put into HTTP/1.1: a mistake of the client, which gets a 400."""


class Proxy:
    """What both twins are: an origin, and how requests are made for it.

    origin: scheme, host and port; ``ValueError`` for anything else.
    preserve_host: pass the client's ``Host`` on; else the origin gets its own name.
    connect_timeout, read_timeout: seconds; see the constants of this module.
    max_connections: to the origin at one time, for each event loop.
    verify: False for an ``https`` origin whose certificate nobody vouches for, or a context.
    """

    def __init__(
        self,
        origin: str,
        *,
        preserve_host: bool = True,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        max_connections: int = MAX_CONNECTIONS,
        verify: bool | ssl.SSLContext = True,
    ) -> None:
        self.url = _parsed(origin)
        self._preserve_host = preserve_host
        self._timeout = {
            "connect": connect_timeout,
            "read": read_timeout,
            "write": read_timeout,
            "pool": read_timeout,
        }
        self._max_connections = max_connections
        # Reading all certificates takes longer than most tests.
        self._verify = verify if self.url.scheme == "https" else False

    def transport_options(self) -> dict[str, Any]:
        """What a transport of httpx is built with.

        A transport and no client: it adds no fields, follows no redirects, keeps no cookies and
        asks no environment for proxies.
        """
        limits = httpx.Limits(
            max_connections=self._max_connections,
            max_keepalive_connections=MAX_IDLE,
            keepalive_expiry=IDLE,
        )
        return {"verify": self._verify, "trust_env": False, "limits": limits}

    def request(
        self,
        method: str,
        target: bytes,
        lines: Lines,
        framed: Framing,
        body: httpx.AsyncByteStream | httpx.SyncByteStream,
    ) -> httpx.Request:
        """The request to send, of a head that still has all its fields."""
        fields = request_fields(lines, framed, self.url.netloc, preserve_host=self._preserve_host)
        request = httpx.Request(
            method,
            self.url,
            headers=fields,
            stream=body,
            extensions={"timeout": self._timeout, "target": target},
        )
        request.method = method  # httpx writes it large, but case counts (RFC 9110 §9.1)
        return request

    def head(self, method: str, response: httpx.Response) -> Head:
        """The head of a response as it is passed on. Raises ``OriginError`` for a status that ends
        no exchange (nobody asked for another protocol), and for one that is none.
        """
        status = response.status_code
        if not 200 <= status <= 599:
            raise OriginError(f"{self.url} answered with the status {status}")
        reason = response.extensions.get("reason_phrase", b"")
        return response_head(method, status, reason, response.headers.raw)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Turn what httpx raises into ``OriginError`` or ``UnsendableError``."""
        try:
            yield
        except httpx.LocalProtocolError as error:
            raise UnsendableError(str(error)) from error
        except httpx.TimeoutException as error:
            raise OriginError(f"{self.url} was too slow ({_named(error)})", 504) from error
        except httpx.TransportError as error:
            raise OriginError(f"{self.url} failed ({_named(error)})") from error


def _named(error: Exception) -> str:
    """Kind and text of an error: many have no text."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _parsed(origin: str) -> httpx.URL:
    try:
        url = httpx.URL(origin)
    except (httpx.InvalidURL, TypeError) as error:
        raise ValueError(f"{origin!r} is no URL of an origin: {error}. {_REMEDY}") from None
    fault = _fault(url)
    if fault is not None:
        raise ValueError(f"{origin!r} is no URL of an origin: {fault}. {_REMEDY}")
    return url


def _fault(url: httpx.URL) -> str | None:
    if url.scheme not in ("http", "https"):
        return "its scheme is neither http nor https"
    if not url.host or "%" in url.host:
        return "it names no host"
    if url.port is not None and not 0 < url.port < 65_536:
        return "it has no such port"
    if url.userinfo or url.query or url.fragment or url.path != "/":
        return "there is more than an origin in it"
    return None
