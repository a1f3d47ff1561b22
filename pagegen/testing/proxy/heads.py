"""What is passed on of the head of a message (RFC 9110 §7.6.1, RFC 9112 §6).

Nothing here is shared with the cache: what serves to test it must not repeat its mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from ...fields import content_length, tokens

Lines = list[tuple[bytes, bytes]]

# RFC 9110 §7.6.1, with Trailer because trailers are dropped (§6.5.1), and with what one proxy says
# to its neighbour alone (§11.7).
_OF_CONNECTION: Final = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
        b"upgrade", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization",
    )
)  # fmt: skip
# A message cannot do without the first two. The others are meant for all who get it, so RFC 9110
# §7.6.1 forbids to name them: without them a cache would keep what it must not.
_KEPT: Final = frozenset((b"host", b"content-length", b"cache-control", b"vary"))
_BEYOND: Final = re.compile(rb"[^\x21-\x7e]")
_IN_PATHS: Final = "/!$&'()*+,;=:@"  # with letters, digits and -._~ (RFC 3986 §3.3)


def end_to_end(lines: Iterable[tuple[bytes, bytes]]) -> Lines:
    """The fields of a message without those of its connection (RFC 9110 §7.6.1), in order."""
    lines = list(lines)
    named = {token.encode("latin-1") for token in _members(lines, b"connection")} - _KEPT
    return [line for line in lines if line[0].lower() not in _OF_CONNECTION | named]


def values(lines: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """The value of each line of a field (name in lower case)."""
    return [value.decode("latin-1") for key, value in lines if key.lower() == name]


def _members(lines: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [token for value in values(lines, name) for token in tokens(value)]


@dataclass(frozen=True, slots=True)
class Framing:
    """How a request's body is told from what follows it (RFC 9112 §6): by its length in bytes,
    in chunks, or, with neither, by there being none.
    """

    length: int | None = None
    chunked: bool = False


def framing(lines: Sequence[tuple[bytes, bytes]], whole: int | None = None) -> Framing:
    """How to frame the body of the request that came with these fields.

    ``whole``: its length in bytes when all of it is here, None while more is to come. A length that
    was declared for a body that is not there is forgotten: a cache has hidden the body.
    """
    if values(lines, b"transfer-encoding"):
        return Framing(chunked=True)
    declared = content_length(values(lines, b"content-length"))
    if declared is not None and declared >= 0:
        return Framing(declared) if whole != 0 or declared == 0 else Framing()
    return Framing(chunked=True) if whole is None else Framing(whole or None)


def request_fields(
    lines: Iterable[tuple[bytes, bytes]], framed: Framing, host: bytes, *, preserve_host: bool
) -> Lines:
    """The fields to send to the origin.

    ``Expect`` is left out, as nginx does: our server has answered it already. Without a ``Host``,
    or where it is not preserved, that of the origin is sent.
    """
    found: Lines = []
    hosts = measured = False
    for name, value in end_to_end(lines):
        low = name.lower()
        if low == b"expect" or (low == b"host" and not preserve_host):
            continue
        if low == b"content-length":
            if measured or framed.length is None:
                continue
            measured, value = True, b"%d" % framed.length
        hosts = hosts or low == b"host"
        found.append((name, value))
    if not hosts:
        found.insert(0, (b"Host", host))
    if framed.chunked:
        found.append((b"Transfer-Encoding", b"chunked"))
    elif framed.length is not None and not measured:
        found.append((b"Content-Length", b"%d" % framed.length))
    return found


@dataclass(frozen=True, slots=True)
class Head:
    """Status and fields of a response as they are passed on.

    ``length`` is what its body must have in bytes; 0 where it has none, None when nobody says.
    """

    status: int
    reason: str
    fields: Lines
    length: int | None


def response_head(
    method: str, status: int, reason: bytes, lines: Sequence[tuple[bytes, bytes]]
) -> Head:
    """The head to pass on.

    A body in chunks has no other length (RFC 9112 §6.3). ``Content-Length`` of a 204 is forbidden
    (RFC 9110 §8.6), and that of a 304, which is allowed, makes uvicorn wait for a body.
    """
    fields = end_to_end(lines)
    chunked = bool(values(lines, b"transfer-encoding"))
    if chunked or status in (204, 304):
        fields = [line for line in fields if line[0].lower() != b"content-length"]
    length = content_length(values(fields, b"content-length"))
    if method == "HEAD" or status in (204, 304):
        length = 0
    return Head(status, reason.decode("latin-1"), fields, length)


def target(path: bytes, query: bytes) -> bytes:
    """The request target (RFC 9112 §3.2), its bytes as they came.

    What no target may hold is percent-encoded: it means the same (RFC 3986 §2.1).
    """
    whole = path + b"?" + query if query else path
    return _BEYOND.sub(lambda found: b"%%%02X" % found[0][0], whole)


def raw_path(path: bytes, raw: bytes | None) -> bytes:
    """The path as it came, where it is still the one that the application was given.

    ``path`` is decoded. ``raw`` may be a whole URL (RFC 9112 §3.2.2), with or without a query; it
    is None when the server does not tell.
    """
    if raw is not None:
        raw = raw.partition(b"?")[0]
        if not raw.startswith(b"/") and b"://" in raw:
            raw = b"/" + raw.partition(b"://")[2].partition(b"/")[2]
        # Servers make U+FFFD of what is no UTF-8: compare what is left of both.
        if _text(unquote_to_bytes(raw)) == _text(path):
            return raw
    return quote(path, safe=_IN_PATHS).encode("ascii")


def _text(path: bytes) -> str:
    return path.decode("utf-8", "replace")
