"""Many clients in one process: ``python -m tests.coherence.herd_clients PORT COUNT PATH``.

Each has a connection of its own, and all requests are under way together. Says how often which
answer came, as JSON: status, worker, what the cache did, and the body.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from typing import Final

#: Connections that are being opened at one time; a server's queue for them has an end.
OPENING: Final = 100
PATIENCE: Final = 60.0
_FIELD: Final = re.compile(rb"\r\n(x-worker|cache-status|content-length): ([^\r]*)", re.I)

Said = tuple[int, str, str, str]


def _trace(status: str) -> str:
    for word in ("collapsed", "detail=store", "hit", "detail=refused-private"):
        if word in status:
            return word
    return "stored" if "; stored" in status else "forward"


class Client(asyncio.Protocol):
    """One request and its answer."""

    def __init__(self, path: str) -> None:
        self._request = f"GET {path} HTTP/1.1\r\nHost: herd\r\nConnection: close\r\n\r\n".encode()
        self._answer = b""
        self.said: asyncio.Future[Said] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data

    def connection_lost(self, exc: Exception | None) -> None:
        if self.said.done():
            return
        if exc is not None:
            self.said.set_exception(exc)
            return
        head, _, body = self._answer.partition(b"\r\n\r\n")
        fields = {name.decode().lower(): value.decode() for name, value in _FIELD.findall(head)}
        if not head.startswith(b"HTTP/1.1 ") or int(fields.get("content-length", -1)) != len(body):
            if b"chunked" not in head.lower():
                self.said.set_exception(ConnectionError(f"no whole answer: {self._answer!r}"))
                return
            body = body.split(b"\r\n")[1]
        status = int(head[9:12])
        trace = _trace(fields.get("cache-status", ""))
        self.said.set_result((status, fields.get("x-worker", ""), trace, body.decode()))


async def herd(port: int, count: int, path: str) -> list[Said]:
    """So many requests at one time; their answers."""
    loop = asyncio.get_running_loop()
    opening = asyncio.Semaphore(OPENING)

    async def one() -> Said:
        async with opening:
            _, client = await loop.create_connection(lambda: Client(path), "127.0.0.1", port)
        return await client.said

    async with asyncio.timeout(PATIENCE):
        return list(await asyncio.gather(*(one() for _ in range(count))))


def main() -> None:
    """The program."""
    port, count, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    said = Counter(asyncio.run(herd(port, count, path)))
    json.dump([[*answer, times] for answer, times in said.items()], sys.stdout)


if __name__ == "__main__":
    main()
