"""pagegen's own command between an origin that answers as told and a client that sees all bytes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from itertools import count
from pathlib import Path
from time import time
from typing import Final

from tests.serving import ROOT
from tests.testing.proxying import PATIENCE, Kind, Message, Origin, Peer

#: Separates fields in what a row gives.
BAR: Final = " | "
#: An hour.
FRESH: Final = "Cache-Control: max-age=3600"
_MOMENT: Final = re.compile(r"\{([+-][0-9]+)\}")
_BODILESS: Final = (204, 304)

#: Makes the bytes of an answer; its argument tells how often its path was asked for.
Answer = Callable[[int], bytes]


def fields_of(text: str) -> list[str]:
    """Field lines of ``A: 1 | B: {-60}``; ``{-60}`` is the date of a minute ago."""
    dated = _MOMENT.sub(lambda found: formatdate(time() + int(found[1]), usegmt=True), text)
    return dated.split(BAR) if dated else []


def answer(
    fields: str, status: int = 200, body: bytes | None = None, *, before: bytes = b""
) -> Answer:
    """An answer with these fields, a ``Date`` unless they have one, and a ``Content-Length``.

    Without a ``body`` it is ``#1`` the first time, ``#2`` the second. ``before``: what the origin
    sends first.
    """

    def made(number: int) -> bytes:
        lines = fields_of(fields)
        if not any(line.lower().startswith("date:") for line in lines):
            lines += fields_of("Date: {+0}")
        content = b"#%d" % number if body is None else body
        if status not in _BODILESS:
            lines.append(f"Content-Length: {len(content)}")
        head = "\r\n".join([f"HTTP/1.1 {status} Whatever", *lines, "", ""]).encode("latin-1")
        return before + head + (b"" if status in _BODILESS else content)

    return made


def broken(data: bytes = b"") -> Answer:
    """These bytes, and then the origin closes the connection."""
    return lambda _: data + b"CLOSE"


@dataclass(frozen=True, slots=True)
class Reply:
    """A response as its bytes came. ``whole`` is false where it broke off."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    whole: bool

    def lines(self, name: str) -> list[str]:
        """The value of each line of a field."""
        return [value for key, value in self.fields if key.lower() == name]

    def get(self, name: str) -> str | None:
        """The combined value of a field, None when it is absent."""
        return ", ".join(self.lines(name)) if self.lines(name) else None


class Outside:
    """The command in a process of its own, with its origin."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind = kind
        self._answers: dict[str, list[Answer]] = {}
        self._asked: dict[str, list[Message]] = {}
        self._numbers = count(1)
        self._origin = Origin(self._serve)
        front = ["--wsgi"] if kind == "wsgi" else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pagegen.testing.proxy", self._origin.url, "--port", "0",
             "--json", *front],
            cwd=folder,  # pagegen warns of company in the same folder, and this is none
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        self._port = int(told["url"].rpartition(":")[2])

    def _serve(self, peer: Peer) -> None:
        while (message := peer.request()) is not None:
            path = message.line.split()[1]
            asked = self._asked.setdefault(path, [])
            asked.append(message)
            answers = self._answers[path]
            data = (answers.pop(0) if len(answers) > 1 else answers[0])(len(asked))
            if message.line.startswith("HEAD "):
                data = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            peer.send(data.removesuffix(b"CLOSE"))
            if data.endswith(b"CLOSE"):
                return

    def given(self, *answers: Answer) -> str:
        """A path that nobody asked for yet, and what its requests get; the last one repeatedly."""
        path = f"/{next(self._numbers)}"
        self.script(path, *answers)
        return path

    def script(self, path: str, *answers: Answer) -> None:
        """What further requests of this path get."""
        self._answers[path] = list(answers)

    def asked(self, path: str) -> list[Message]:
        """The requests of this path that reached the origin."""
        return self._asked.get(path, [])

    def ask(self, path: str, fields: str = "", method: str = "GET", body: bytes = b"") -> Reply:
        """One request on a connection of its own, and all that comes back."""
        lines = [f"{method} {path} HTTP/1.1", "Host: shop.example", "Connection: close"]
        lines += fields_of(fields)
        if body:
            lines.append(f"Content-Length: {len(body)}")
        data = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        received = bytearray()
        with socket.create_connection(("127.0.0.1", self._port), PATIENCE) as connection:
            connection.sendall(data)
            while piece := connection.recv(65_536):
                received += piece
        return _read(bytes(received), method)

    def end(self) -> int:
        """Interrupt it, as Ctrl-C does; returns its exit status."""
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=PATIENCE)
        self._origin.close()
        return self._process.returncode


def _read(data: bytes, method: str) -> Reply:
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    pairs = (text.partition(":") for text in lines)
    fields = tuple((name, value.strip(" \t")) for name, _, value in pairs)
    status = int(line.split()[1])
    reply = Reply(status, fields, body, whole=True)
    if method == "HEAD" or status in _BODILESS:
        return Reply(status, fields, body, whole=body == b"")
    if reply.get("transfer-encoding") is not None:
        content, ended = _unchunked(body)
        return Reply(status, fields, content, whole=ended)
    length = reply.get("content-length")
    return Reply(status, fields, body, whole=length is None or len(body) == int(length))


def _unchunked(body: bytes) -> tuple[bytes, bool]:
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        if int(size, 16) == 0:
            return content, body == b"\r\n"
        content, body = content + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return content, False
