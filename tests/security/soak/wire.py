"""Answers as they come over a wire, one after the other, and how to ask for them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pagegen.testing import Answer

#: Seconds for any one answer; over it a request counts as hung.
PATIENCE: Final = 30.0
#: Bytes that are read of what attackers are told.
MOST: Final = 2_000_000
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_PIECE: Final = 65_536


def answers(data: bytes, method: str = "GET") -> list[Answer]:
    """All whole answers in ``data``; to a ``HEAD`` none has a body."""
    found: list[Answer] = []
    while (split := data.find(b"\r\n\r\n")) >= 0 and (status := _STATUS.match(data)):
        fields = _fields(data[:split])
        read = _body(data[split + 4 :], fields, int(status[1]), method)
        if read is None:
            break
        body, data = read
        if int(status[1]) >= 200:
            found.append(Answer(int(status[1]), fields, (body,)))
    return found


def _fields(head: bytes) -> tuple[tuple[str, str], ...]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return tuple((line.partition(":")[0], line.partition(":")[2].strip()) for line in lines)


def _body(
    rest: bytes, fields: tuple[tuple[str, str], ...], status: int, method: str
) -> tuple[bytes, bytes] | None:
    """The body of an answer, and what stands behind it; None of one that is not whole."""
    said = {name.lower(): value for name, value in fields}
    if method == "HEAD" or status < 200 or status in (204, 304):
        return b"", rest
    if said.get("transfer-encoding", "").lower() == "chunked":
        return _chunks(rest)
    length = int(said.get("content-length", len(rest)))
    return (rest[:length], rest[length:]) if len(rest) >= length else None


def _chunks(rest: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while (end := rest.find(b"\r\n")) >= 0:
        size = int(rest[:end], 16)
        body, rest = body + rest[end + 2 : end + 2 + size], rest[end + 4 + size :]
        if size == 0:
            return body, rest
    return None


async def send(port: int, request: bytes) -> bytes:
    """What comes back on a connection of its own until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        data = b""
        while len(data) < MOST and (piece := await reader.read(_PIECE)):
            data += piece
        return data
    finally:
        writer.transport.abort()


@dataclass(slots=True)
class Kept:
    """One connection of an honest client, which is kept for all it asks, one after the other."""

    port: int
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def ask(
        self, method: str, target: str, fields: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        """One request and its answer; raises ``EOFError`` and ``OSError``.

        A server may close a connection that was quiet for a while: then it is asked once more.
        """
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        data = f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body
        if self._writer is not None:
            try:
                return await self._exchange(data)
            except (OSError, EOFError) as error:
                if getattr(error, "partial", b""):
                    raise
        return await self._exchange(data)

    async def _exchange(self, data: bytes) -> Answer:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            self._writer.write(data)
            return await self._read(await self._reader.readuntil(b"\r\n\r\n"))
        except BaseException:
            self.close()
            raise

    async def _read(self, head: bytes) -> Answer:
        assert self._reader is not None
        fields = _fields(head[:-4])
        said = {name.lower(): value for name, value in fields}
        body = b""
        if "content-length" in said:
            body = await self._reader.readexactly(int(said["content-length"]))
        elif said.get("transfer-encoding") == "chunked":
            body = await self._chunked()
        if said.get("connection", "").lower() == "close":
            self.close()
        return Answer(int(head.split(b" ", 2)[1]), fields, (body,))

    async def _chunked(self) -> bytes:
        assert self._reader is not None
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()
        return body

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None
