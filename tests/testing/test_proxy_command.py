"""``python -m pagegen.testing.proxy``: a real server in front of a real origin."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path
from time import time
from typing import Any

import pytest

from pagegen.testing.proxy.__main__ import main
from tests.serving import ROOT
from tests.testing.proxying import PATIENCE, Kind, Origin, Peer

#: No server that adds a date of its own adds this one.
DATE = formatdate(time() - 100, usegmt=True)
PAGE = (
    f"HTTP/1.1 200 OK\r\nDate: {DATE}\r\nServer: odd/1\r\nCache-Control: max-age=3600\r\n"
    "Content-Length: 4\r\n\r\npage"
).encode()
ANSWERS = {
    "/page": PAGE,
    "/empty": f"HTTP/1.1 204 No Content\r\nDate: {DATE}\r\nServer: odd/1\r\n\r\n".encode(),
    "/same": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 9\r\n\r\n',
    "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf",
    "/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "/cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    b"Content-Length: 0\r\n\r\n",
    "/nothing": b"",
}


class Stage:
    """The command in a process of its own, in front of an origin."""

    def __init__(self, kind: Kind, folder: Path, *options: str) -> None:
        self.kind = kind
        self.origin = Origin(self._serve)
        front = ["--wsgi"] if kind == "wsgi" else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pagegen.testing.proxy", self.origin.url, "--port", "0",
             "--json", "--cache-status", *front, *options],
            cwd=folder,  # pagegen warns of company in the same folder, and this is none
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.told: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.port = int(self.told["url"].rpartition(":")[2])

    def _serve(self, peer: Peer) -> None:
        while (message := peer.request()) is not None:
            self.origin.requests.append(message)
            answer = ANSWERS[message.line.split()[1].partition("?")[0]]
            peer.send(answer)
            if not answer or b"Connection: close" in answer:
                return

    def ask(self, method: str, target: str, **fields: Any) -> tuple[HTTPResponse, bytes]:
        """One request on a connection of its own, and its whole response."""
        client = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            client.request(method, target, **fields)
            response = client.getresponse()
            return response, response.read()
        finally:
            client.close()

    def end(self) -> tuple[int, str]:
        """Interrupt it, as Ctrl-C does; returns exit status and what it complained about."""
        self.process.send_signal(signal.SIGINT)
        _, complaints = self.process.communicate(timeout=PATIENCE)
        self.origin.close()
        return self.process.returncode, complaints


@contextmanager
def staged(kind: Kind, folder: Path, *options: str) -> Iterator[Stage]:
    stage = Stage(kind, folder, *options)
    try:
        yield stage
    finally:
        if stage.process.poll() is None:
            stage.end()


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with staged(request.param, tmp_path_factory.mktemp("proxy")) as found:
        yield found


def test_it_tells_where_it_listens(stage: Stage) -> None:
    assert stage.told == {
        "url": f"http://127.0.0.1:{stage.port}",
        "origin": stage.origin.url,
        "front": stage.kind,
    }


def test_it_is_a_shared_cache_of_everything(stage: Stage) -> None:
    before = len(stage.origin.requests)
    first, body = stage.ask("GET", "/page")
    again, copy = stage.ask("GET", "/page")
    assert (first.status, body, copy) == (200, b"page", b"page")
    assert "stored" in str(first.getheader("cache-status"))
    assert "; hit" in str(again.getheader("cache-status"))
    assert len(stage.origin.requests) - before == 1


@pytest.mark.parametrize("target", ["/empty", "/page"])
def test_date_and_server_are_the_origins_own(stage: Stage, target: str) -> None:
    response, _ = stage.ask("GET", target)
    assert response.headers.get_all("date") == [DATE]
    assert response.headers.get_all("server") == ["odd/1"]


@pytest.mark.parametrize(("method", "target", "status"), [
    ("HEAD", "/cookies", 200), ("GET", "/empty", 204), ("GET", "/same", 304),
])  # fmt: skip
def test_responses_without_bodies_end_by_themselves(
    stage: Stage, method: str, target: str, status: int
) -> None:
    response, body = stage.ask(method, target)
    assert (response.status, body) == (status, b"")
    assert response.getheader("transfer-encoding") is None


def test_two_cookies_are_two_lines(stage: Stage) -> None:
    response, _ = stage.ask("GET", "/cookies")
    assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]


def test_a_body_in_chunks_arrives(stage: Stage) -> None:
    assert stage.ask("GET", "/chunks")[1] == b"abc"


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_arrives(stage: Stage, chunked: bool) -> None:
    body = bytes(range(256)) * 4000
    pieces: Any = iter([body[:1000], body[1000:]]) if chunked else body
    stage.ask("POST", "/empty?x=%2F", body=pieces, headers={"X-Odd": "1", "Expect": "100-continue"})
    message = stage.origin.requests[-1]
    assert message.line == "POST /empty?x=%2F HTTP/1.1"
    assert message.get("x-odd") == ["1"]
    assert message.get("expect") == []
    if chunked:
        assert message.get("transfer-encoding") == ["chunked"]
        assert sum(map(len, message.body.split(b"\r\n")[1::2])) >= len(body)
    else:
        assert message.body == body


def test_a_body_that_breaks_off_breaks_off(stage: Stage) -> None:
    for _ in range(2):
        with pytest.raises((IncompleteRead, ConnectionResetError)):
            stage.ask("GET", "/cut")


def test_an_origin_that_says_nothing_is_a_bad_gateway(stage: Stage) -> None:
    response, body = stage.ask("GET", "/nothing")
    assert response.status == 502
    assert stage.origin.url.encode() in body


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_ctrl_c_is_clean(kind: Kind, tmp_path: Path) -> None:
    rules = tmp_path / "pagegen.toml"
    rules.write_text('[[rule]]\npath = "/page"\nshare = "public"\nttl = "1h"\n')
    with staged(kind, tmp_path, "--config", rules.name, "--store", "memory://") as found:
        found.ask("GET", "/page")
        assert "; hit" in str(found.ask("GET", "/page")[0].getheader("cache-status"))
        assert "bypass" in str(found.ask("GET", "/chunks")[0].getheader("cache-status"))
        assert found.end() == (0, "")


@pytest.mark.parametrize("front", [[], ["--wsgi"]])
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonsense"], "no URL of an origin"),
        (["http://a", "--config", "/nowhere/pagegen.toml"], "cannot be read"),
        (["http://a", "--store", "xyzzy://"], "xyzzy"),
        (["http://a", "--port", "many"], "invalid int"),
    ],
)
def test_a_mistake_in_what_was_asked_for_is_status_2(
    arguments: list[str], complaint: str, front: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, *front])
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("front", [[], ["--wsgi"]])
def test_a_port_that_is_taken_is_status_1(
    front: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as caught:
            main(["http://127.0.0.1:1", "--port", str(port), *front])
    assert caught.value.code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
