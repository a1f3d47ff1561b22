"""Connections as a hostile client makes them: requests by a grammar, with something wrong in some.

All chance comes from a seed. The last request of each connection is sound, asks the server to close
and names the connection: where its page is not the last one, answers and requests have lost each
other.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeVar

T = TypeVar("T")

#: Requests on one connection before the last one.
MOST_REQUESTS: Final = 4
#: Seconds without a byte after which a server is told that nothing more will come, and seconds for
#: which it may then go on.
QUIET: Final = 0.3
LONGEST: Final = 20.0

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([2-9][0-9]{2})")
_PAGE: Final = re.compile(rb"\{[^{}]*\}")

#: What is asked for where nothing is odd. The first of each of the others is sound, too.
PLAIN: Final = (
    "/a", "/b", "/own/a", "/own/b", "/own/a?x=1", "/bypass/a", "/own/a.css", "/a?x=1", "/a?x=2",
    "/%C3%A4",
)  # fmt: skip
METHODS: Final = (
    "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "get", "BREW", "TRACE",
)  # fmt: skip
PATHS: Final = (
    "/a", "/a", "/own/a", "/own/a", "/bypass/a", "/a/", "/", "/a%2Fb", "/a;x=1", "//a", "/a/../b",
    "/%C3%A4", "/%c3%a4", "/a%00", "/a%0d%0aX:y", "/\xe4", "/a.css", "/own/a.css", "/a%", "/a%zz",
    "*", "http://shop.example/a", "http://evil.example/a", "a", "/a#b", "/a\\b", "/own/..%2fa",
    "/a b",
)  # fmt: skip
QUERIES: Final = (
    "", "", "", "?x=1", "?x=%31", "?x=1&x=2", "?a;b", "?%ff", "?x=+", "?", "?\xff", "?x[]=1",
)  # fmt: skip
VERSIONS: Final = (
    "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "http/1.1", "",
)  # fmt: skip
HOSTS: Final = (
    "Host: shop.example", "Host: shop.example", "Host: shop.example", "Host: SHOP.example",
    "Host: evil.example", "Host: shop.example\r\nHost: evil.example", "Host:", "Host: a b",
    "Host: shop.example/x", "Host: me@shop.example", "X: y", "Host: shop.example:80",
)  # fmt: skip
FIELDS: Final = (
    "Cookie: user=anna", "Cookie: user=bert", "Cookie: user=anna; user=bert", "Cookie: user=",
    "Cookie: user=anna\r\nCookie: user=bert", "Cookie: USER=anna", "Cookie: user = bert ",
    "Cookie: x", "cookie: user=anna", "X-Forwarded-Host: evil.example", "X-Original-URL: /own/a",
    "Accept: */*", "X-Rewrite-URL: /b", "X-HTTP-Method-Override: POST", "Authorization: Basic eDp5",
    "User-Agent: \xff", "X_Forwarded_Host: evil.example", "Transfer_Encoding: chunked",
    "Content_Length: 9", "X: " + "y" * 9000, "Connection: keep-alive", "Connection: cookie",
    "Connection: upgrade\r\nUpgrade: websocket",
    "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
    "Expect: 100-continue", "X: a\r\n b", "X : y", ": y", "X\x00: y", "X: a\x00b", "X: a\rb", "X",
    "Forwarded: host=evil.example", "Proxy: http://evil.example", "Pagegen-Debug: 1.2",
    "Cache-Control: no-store", "Pragma: no-cache", "Accept-Encoding: gzip", "TE: trailers",
    "Trailer: X", "Keep-Alive: timeout=1", "X-A: a\nX-B: b",
)  # fmt: skip
#: A request inside of another one: what a body becomes where two servers disagree on its length.
INNER: Final = "GET /own/a HTTP/1.1\r\nHost: shop.example\r\nCookie: user=bert\r\n\r\n"
#: How the body is announced, and the body itself.
FRAMES: Final = (
    ("", ""), ("", ""), ("", ""), ("", ""), ("", ""), ("", ""), ("Content-Length: 3", "abc"),
    ("Content-Length: 0", ""), ("Content-Length: 03", "abc"), ("Content-Length: +3", "abc"),
    ("Content-Length: 3, 3", "abc"), ("Content-Length: -1", ""),
    ("Content-Length: 3\r\nContent-Length: 3", "abc"),
    ("Content-Length: 3\r\nContent-Length: 4", "abcd"), ("Content-Length: 0x3", "abc"),
    ("Content-Length: ", ""), ("Content-Length: \xb2", "ab"),
    ("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n"),
    ("Transfer-Encoding: chunked", "0x3\r\nabc\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked", "zz\r\n"), ("Transfer-Encoding: chunked", "-1\r\n\r\n0\r\n\r\n"),
    ("Transfer-Encoding: CHUNKED", "0\r\n\r\n"), ("Transfer-Encoding: chunked", "3\nabc\n0\n\n"),
    ("Transfer-Encoding: identity", ""), ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: xchunked", "0\r\n\r\n"), ("Transfer-Encoding:\x0bchunked", "0\r\n\r\n"),
    ("Transfer-Encoding : chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nX: y", "0\r\n\r\n"),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 44", f"0\r\n\r\n{INNER}"),
    (f"Content-Length: {len(INNER)}", INNER),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a server answered: statuses (those from 200 up) and pages, in order."""

    statuses: tuple[int, ...]
    pages: tuple[bytes, ...]


def request(chance: Random) -> bytes:
    """One request: sound, or with one or several things odd about it."""
    odd = chance.choice((0, 0, 0, 0, 0.2, 0.2, 0.6))

    def some(choices: Sequence[T]) -> T:
        return chance.choice(choices) if chance.random() < odd else choices[0]

    frame, body = some(FRAMES)
    fields = [some(FIELDS) for _ in range(chance.choice((0, 1, 2)))]
    lines = [some(HOSTS), *fields, *([frame] if frame else [])]
    chance.shuffle(lines)
    goal = f"{some(PATHS) if odd else chance.choice(PLAIN)}{some(QUERIES)}"
    first = f"{some(METHODS)} {goal} {some(VERSIONS)}".rstrip()
    end = "\n" if odd and chance.random() < 0.05 else "\r\n"
    return (end.join([first, *lines, "", ""]) + body).encode("latin-1")


def last(number: int) -> bytes:
    """The request that ends a connection."""
    return (
        f"GET /bypass/end?n={number} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def connection(seed: int) -> bytes:
    """All that is sent on one connection."""
    chance = Random(seed)  # the same for everybody who names the seed
    count = chance.randint(1, MOST_REQUESTS)
    return b"".join(request(chance) for _ in range(count)) + last(seed)


def speak(port: int, said: bytes, quiet: float = QUIET) -> Spoken:
    """Send bytes and read what comes until the server closes. Raises ``TimeoutError`` for one that
    does not, though it was told that nothing more will come.
    """
    pieces = []
    with socket.create_connection(("127.0.0.1", port), LONGEST) as link:
        try:
            link.sendall(said)
            link.settimeout(quiet)
            try:
                while piece := link.recv(65_536):
                    pieces.append(piece)
            except TimeoutError:
                link.settimeout(LONGEST)
                link.shutdown(socket.SHUT_WR)
                while piece := link.recv(65_536):
                    pieces.append(piece)
        except (ConnectionResetError, BrokenPipeError):
            pass  # a server may close over what it has not read
    whole = b"".join(pieces)
    return Spoken(tuple(map(int, _STATUS.findall(whole))), tuple(_PAGE.findall(whole)))
