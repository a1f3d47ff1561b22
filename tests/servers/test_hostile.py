"""Requests that are broken, ambiguous or abandoned: no error page, no stored page, no harm."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import pytest

from tests.demo.conftest import timeless
from tests.servers.wire import get, hang_up, talk, trace
from tests.serving import PATIENCE, Server

PAGE = "/packages/flask"


class Broken(NamedTuple):
    """A request whose target or head nobody should trust; ``HOST`` stands for the server's."""

    id: str
    target: str = PAGE
    head: str = "Host: HOST\r\n"
    method: str = "GET"
    version: str = " HTTP/1.1"
    body: str = ""

    def bytes_for(self, server: Server) -> bytes:
        head = f"{self.method} {self.target}{self.version}\r\n{self.head}Connection: close\r\n\r\n"
        return (head + self.body).replace("HOST", server.host).encode("latin-1")


BROKEN = (
    Broken("percent without digits", "/packages/%zz"),
    Broken("percent at the end", "/packages/flask%"),
    Broken("half a percent escape", "/packages/flask%6"),
    Broken("escape of no UTF-8", "/packages/%ff%fe"),
    Broken("escaped surrogate", "/packages/%ed%a0%80"),
    Broken("escaped NUL", "/packages/flask%00"),
    Broken("escaped slash", "/packages%2Fflask"),
    Broken("escaped slash at the end", "/packages/flask%2F"),
    Broken("escaped dots", "/packages/x/%2e%2e/flask"),
    Broken("escaped backslash", "/packages/..%5cflask"),
    Broken("escaped percent", "/packages/%2566lask"),
    Broken("empty segment in front", "//packages/flask"),
    Broken("empty segment inside", "/packages//flask"),
    Broken("two slashes", "//"),
    Broken("dot segments", "/packages/x/../flask"),
    Broken("path parameter", "/packages/flask;a=b"),
    Broken("raw bytes over 127", "/packages/\xff\xfe"),
    Broken("blank in the target", "/packages/fla sk"),
    Broken("control character", "/packages/flask\x01"),
    Broken("no slash in front", "packages/flask"),
    Broken("asterisk", "*"),
    Broken("very long path", "/packages/" + "a" * 3900),
    Broken("very long query", "/packages/flask?x=" + "a" * 9000),
    Broken("endless query", "/packages/flask?x=" + "a" * 70_000),
    Broken("many parameters", "/?" + "a=1&" * 900),
    Broken("percent in the query", "/?start=%"),
    Broken("no UTF-8 in the query", "/?category=%ff"),
    Broken("NUL in the query", "/?category=%00"),
    Broken("parameter twice", "/?start=0&start=0"),
    Broken("undeclared parameter", "/packages/flask?debug=1"),
    Broken("semicolon in the query", "/?start=0;end=24"),
    Broken("two Host lines", head="Host: HOST\r\nHost: evil.example\r\n"),
    Broken("the same Host twice", head="Host: HOST\r\nHost: HOST\r\n"),
    Broken("no Host", head=""),
    Broken("empty Host", head="Host: \r\n"),
    Broken("Host with a blank", head="Host: HOST evil.example\r\n"),
    Broken("Host with a path", head="Host: HOST/evil\r\n"),
    Broken("Host with a user", head="Host: me@HOST\r\n"),
    Broken("Host in raw bytes", head="Host: \xff\xfe\r\n"),
    Broken("length that is none", head="Host: HOST\r\nContent-Length: x\r\n"),
    Broken("negative length", head="Host: HOST\r\nContent-Length: -1\r\n"),
    Broken(
        "length and chunks",
        head="Host: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        body="0\r\n\r\n",
    ),
    Broken("GET with a body", head="Host: HOST\r\nContent-Length: 3\r\n", body="a=b"),
    Broken("field without a name", head="Host: HOST\r\n: x\r\n"),
    Broken("blank before the colon", head="Host: HOST\r\nX-A : x\r\n"),
    Broken("NUL in a field", head="Host: HOST\r\nX-A: x\x00y\r\n"),
    Broken("HTTP/1.0 without Host", version=" HTTP/1.0", head=""),
    Broken("method in small letters", method="get"),
    Broken("unknown method", method="BREW"),
    Broken("TRACE", method="TRACE"),
    Broken("OPTIONS of all", target="*", method="OPTIONS"),
    Broken("CONNECT", target="HOST", method="CONNECT"),
)


# What some parsers mend or let pass, so that nothing odd is left of it behind the server.
ODD = (
    Broken("folded field", head="Host: HOST\r\nX-A: x\r\n y\r\n"),
    Broken("a version of the future", version=" HTTP/9.9"),
)


def make_cold(client: httpx.Client) -> None:
    """Forget the page, and wait until the request that does it has wholly ended.

    A write invalidates once more when it is closed, which under WSGI is after its answer. The next
    request on the same connection is read after that.
    """
    client.post(f"{PAGE}/vote")
    client.get("/board/state")


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.id)
def test_an_odd_request_that_a_server_mends_gets_the_page_of_all(
    server: Server, client: httpx.Client, odd: Broken
) -> None:
    make_cold(client)
    answer = talk(server, odd.bytes_for(server))
    assert 200 <= answer.status < 500, answer.data[:400]
    page = client.get(PAGE)
    assert page.status_code == 200
    if "stored" in answer.cache_status:
        assert trace(page) == "hit"
        assert page.content in answer.data


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.id)
def test_a_broken_request_is_neither_an_error_nor_a_page_for_others(
    server: Server, client: httpx.Client, broken: Broken
) -> None:
    make_cold(client)
    for _ in range(2):
        answer = talk(server, broken.bytes_for(server))
        assert 200 <= answer.status < 500, answer.data[:400]
        assert "stored" not in answer.cache_status
        assert "hit" not in answer.cache_status
    assert trace(client.get(PAGE)) in ("uri-miss, stored", "stale, stored")


@pytest.mark.parametrize(
    "fields",
    [
        "Cookie: \xff=;;==; demo_user=\r\n",
        'If-None-Match: W/\xff,""",*\r\n',
        "If-Modified-Since: Mon, 99 Foo 99999999999 25:61:61 GMT\r\n",
        "Range: bytes=9-3,-,x\r\n",
        "Accept-Encoding: \xff;q=x\r\nAccept: */*;q=9\r\n",
        'Cache-Control: max-age=\xff, "\r\n',
        "Forwarded: host=evil.example\r\nX-Forwarded-Host: evil.example\r\nX-Original-URL: /a\r\n",
    ],
    ids=lambda fields: fields.partition(":")[0],
)
def test_broken_fields_that_no_page_depends_on_change_nothing(
    server: Server, client: httpx.Client, fields: str
) -> None:
    make_cold(client)
    host = f"Host: {server.host}\r\n"
    first = talk(server, Broken("", head=host + fields).bytes_for(server))
    assert (first.status, "stored" in first.cache_status) == (200, True)
    clean = client.get(PAGE)
    assert trace(clean) == "hit"
    assert b"evil.example" not in clean.content
    again = talk(server, Broken("", head=host + fields).bytes_for(server))
    assert (again.status, "; hit;" in again.cache_status) == (200, True)
    assert again.data.endswith(clean.content)


@pytest.mark.parametrize(
    "odd",
    [
        Broken("absolute", f"http://HOST{PAGE}"),
        Broken("absolute, elsewhere", f"http://evil.example{PAGE}"),
        Broken("absolute, with a user", f"http://me@evil.example:99{PAGE}"),
        Broken("fragment", f"{PAGE}#evil.example"),
        Broken("no version", version=""),
    ],
    ids=lambda odd: odd.id,
)
def test_a_target_that_servers_understand_is_the_page_of_its_path(
    server: Server, client: httpx.Client, odd: Broken
) -> None:
    make_cold(client)
    answer = talk(server, odd.bytes_for(server))
    assert answer.status in (200, 400, 404)
    clean = client.get(PAGE)
    assert clean.status_code == 200
    assert b"evil.example" not in clean.content
    if answer.status == 200:
        page = answer.data.partition(b"\r\n\r\n")[2]
        assert timeless(page.decode()) == timeless(clean.text)


def reading_slowly(server: Server, target: str) -> socket.socket:
    """A connection with little room that has asked for a page."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(get(target, server.host))
    return connection


def whole(response: httpx.Response) -> bool:
    length = int(response.headers["content-length"])
    return len(response.content) == length and response.text.rstrip().endswith("</html>")


def test_a_client_that_leaves_in_the_middle_of_a_page_does_no_harm(
    server: Server, client: httpx.Client
) -> None:
    target = "/?end=300&sort=stars"
    connection = reading_slowly(server, target)
    head = connection.recv(1000)
    hang_up(connection)
    assert head.startswith(b"HTTP/1.1 200")
    # The page was admitted before its first byte left.
    answer = client.get(target)
    assert trace(answer) == "hit"
    assert whole(answer)
    assert len(answer.content) > 500_000
    for _ in range(20):
        connection = reading_slowly(server, target)
        connection.recv(1000)
        hang_up(connection)
    assert whole(client.get(target))


def test_clients_that_leave_before_the_answer_leave_nobody_waiting(server: Server) -> None:
    target = "/?end=299&sort=newest"
    for _ in range(4):
        connection = server.connect()
        connection.sendall(get(target, server.host))
        hang_up(connection)

    def ask(_: int) -> httpx.Response:
        with server.client() as client:
            return client.get(target)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert all(map(whole, answers))
    assert len({answer.content for answer in answers}) == 1


def test_half_a_request_is_no_request(server: Server, client: httpx.Client) -> None:
    make_cold(client)
    request = get(PAGE, server.host)
    for length in (1, 20, len(request) - 2):
        connection = server.connect()
        connection.sendall(request[:length])
        connection.close()
    assert trace(client.get(PAGE)) in ("uri-miss, stored", "stale, stored")
