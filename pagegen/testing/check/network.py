"""A TCP proxy that misbehaves on command, in a process of its own: it must not wait for our GIL.

It never does what TCP never does: once it has lost bytes of a direction of a connection, nothing
more of that direction arrives.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import IO, Final, Literal, get_args

#: pass: as if it was not there.  drop: nothing arrives any more on any side.
#: deaf: requests arrive, replies are lost.  hold: all that was sent arrives when the mode changes.
#: delay: each piece is late by up to 200 ms, each connection in its own time.
#: truncate: replies end in the middle, and the connection with them.
#: refuse: nobody listens, and connections are reset.  rubbish: noise in place of replies.
Mode = Literal["pass", "drop", "deaf", "hold", "delay", "truncate", "refuse", "rubbish"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
DELAY: Final = 0.2
#: Seconds for the proxy's process to end.
GRACE: Final = 10
_PIECE: Final = 65_536


class Proxy:
    """One listening port in front of ``upstream``, a place on a host."""

    def __init__(self, upstream: tuple[str, int] | None) -> None:
        self._upstream = upstream
        self._mode: Mode = "pass"
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._random = Random(upstream[1] if upstream else 0)  # noqa: S311 - noise, no secret
        # Bound and never listening: the port stays ours while nobody listens there.
        self._place = _bound(0)
        self.port: int = self._place.getsockname()[1]

    async def change(self, mode: Mode) -> None:
        """From now on misbehave like this."""
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode == "refuse":
            await self._stop_listening()
            for writer in list(self._open):
                _reset(writer)
        elif self._server is None:
            listening = _bound(self.port)
            self._server = await asyncio.start_server(self._serve, sock=listening)

    async def close(self) -> None:
        """Let everything go."""
        await self.change("refuse")
        self._place.close()

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._mode == "rubbish" or self._upstream is None:
                await self._babble(reader, writer)
                return
            there, thither = await asyncio.open_connection(*self._upstream)
            self._open.add(thither)
            try:
                await asyncio.gather(
                    self._pump(reader, thither, reply=False), self._pump(there, writer, reply=True)
                )
            finally:
                self._open.discard(thither)
                thither.transport.abort()
        except OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _babble(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(_PIECE):
            writer.write(self._random.randbytes(self._random.randrange(1, 200)) + b"\r\n")
            await writer.drain()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, reply: bool
    ) -> None:
        """Carry one direction of a connection until it ends; the end of one is the end of both."""
        lost = False
        while piece := await source.read(_PIECE):
            while self._mode == "hold":
                await self._changed.wait()
            mode = self._mode
            if mode == "delay":
                await asyncio.sleep(DELAY * self._random.random())
            lost = lost or mode == "drop" or (mode == "deaf" and reply)
            if lost:
                continue
            if reply and mode == "rubbish":
                piece = self._random.randbytes(len(piece))
            elif reply and mode == "truncate":
                sink.write(piece[: len(piece) // 2])
                break
            sink.write(piece)
            await sink.drain()
        await sink.drain()
        sink.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection rudely: without lingering the other side gets a reset."""
    plain = writer.get_extra_info("socket")
    with suppress(OSError):  # it has ended by itself
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


async def _obey(upstream: tuple[str, int] | None) -> None:
    """Take modes from standard input, one a line, and answer each; end with the input."""
    proxy = Proxy(upstream)
    loop = asyncio.get_running_loop()
    await proxy.change("pass")
    _say(str(proxy.port))
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await proxy.change(next(mode for mode in MODES if mode == line.strip()))
        _say("done")
    await proxy.close()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Remote:
    """A proxy in another process. Raises ``OSError`` when that has ended."""

    def __init__(self, asked: IO[str], said: IO[str]) -> None:
        self._asked = asked
        self._answers = said
        self.port = int(self._said())

    def change(self, mode: Mode) -> None:
        """From now on misbehave like this; done when this returns."""
        self._asked.write(f"{mode}\n")
        self._asked.flush()
        self._said()

    def _said(self) -> str:
        said = self._answers.readline().strip()
        if not said:
            raise BrokenPipeError("the faulty proxy has ended")
        return said


@contextmanager
def proxied(upstream: int = 0, host: str = "127.0.0.1") -> Iterator[Remote]:
    """A proxy in front of a port while the block runs; without one it can only talk rubbish."""
    process = subprocess.Popen(  # noqa: S603 - this very module
        [sys.executable, "-m", __spec__.name if __spec__ else __name__, host, str(upstream)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # what interrupts us leaves it to us
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101
    with process:
        try:
            yield Remote(process.stdin, process.stdout)
        finally:
            with suppress(OSError):
                process.stdin.close()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    asyncio.run(_obey((sys.argv[1], int(sys.argv[2])) if sys.argv[2] != "0" else None))
