"""Both proxies in front of an origin whose bytes a test sees and writes."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware
from pagegen.testing import call_asgi, scope
from pagegen.testing.proxy import (
    GatewayErrors,
    OriginError,
    WSGIGatewayErrors,
)
from pagegen.wsgi import PageCacheMiddleware as WSGIPageCacheMiddleware
from tests.testing.proxying import PATIENCE, Kind, Origin, Peer, Twin, plain, twin_of


@pytest.fixture(params=["asgi", "wsgi"])
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def simple(kind: Kind) -> Iterator[tuple[Twin, Origin]]:
    """A twin in front of an origin that always answers the same."""
    with twin_of(kind, plain()) as both:
        yield both


# Requests ------------------------------------------------------------------------------------


def test_a_bare_request_arrives_with_nothing_added(simple: tuple[Twin, Origin]) -> None:
    twin, origin = simple
    assert twin.ask("GET", "/").text == "hello"
    (message,) = origin.requests
    assert message.line == "GET / HTTP/1.1"
    assert [(name.lower(), value) for name, value in message.fields] == [("host", "shop.example")]
    assert message.body == b""


def test_fields_arrive_with_their_values_and_without_those_of_the_connection(
    simple: tuple[Twin, Origin],
) -> None:
    twin, origin = simple
    lines = [
        ("accept", "text/html, */*;q=0.1"),
        ("x-odd", "a  b\té\xff"),
        ("cookie", "a=1; b=2"),
        ("if-none-match", 'W/"x", "y"'),
        ("x-empty", ""),
        ("connection", "x-secret, keep-alive"),
        ("x-secret", "1"),
        ("te", "trailers"),
        ("accept-encoding", "br"),
        ("user-agent", "odd/1"),
    ]
    twin.ask("GET", "/", lines)
    got = [(name.lower(), value) for name, value in origin.requests[0].fields]
    dropped = ("connection", "x-secret", "te")
    assert got == [("host", "shop.example"), *(li for li in lines if li[0] not in dropped)]


def test_two_lines_of_one_name_stay_two_under_asgi() -> None:
    with twin_of("asgi", plain()) as (twin, origin):
        twin.ask("GET", "/", [("x-a", "1"), ("x-b", "0"), ("x-a", "2")])
        assert origin.requests[0].fields[1:] == [("x-a", "1"), ("x-b", "0"), ("x-a", "2")]


@pytest.mark.parametrize(
    "target",
    [
        "/a%2Fb/c?x=%2f%20&y=+",
        "/a;b=1/./../%2e%2e/c",
        "//double//slash/",
        "/?",
        "/?q=?/",
        "/%FF%00%C3%A9",
        '/"<>^`{|}?[]|\\',
    ],
)  # fmt: skip
def test_a_target_arrives_as_it_came(simple: tuple[Twin, Origin], target: str) -> None:
    twin, origin = simple
    twin.ask("GET", target)
    # An environ or a scope does not tell a query that is empty from one that is not there.
    assert origin.requests[0].line == f"GET {target.removesuffix('?')} HTTP/1.1"


def test_bytes_that_no_target_may_hold_are_encoded(simple: tuple[Twin, Origin]) -> None:
    twin, origin = simple
    twin.ask("GET", "/\xff\x7f?\xe9")
    assert origin.requests[0].line == "GET /%FF%7F?%E9 HTTP/1.1"


@pytest.mark.parametrize("method", ["PURGE", "get", "OPTIONS", "M-SEARCH"])
def test_a_method_arrives_as_it_came(simple: tuple[Twin, Origin], method: str) -> None:
    twin, origin = simple
    twin.ask(method, "/")
    assert origin.requests[0].line == f"{method} / HTTP/1.1"


def test_options_of_the_whole_server_pass(simple: tuple[Twin, Origin]) -> None:
    twin, origin = simple
    twin.ask("OPTIONS", "*")
    assert origin.requests[0].line == "OPTIONS * HTTP/1.1"


def test_a_body_with_a_length_arrives_with_it(simple: tuple[Twin, Origin]) -> None:
    twin, origin = simple
    body = bytes(range(256)) * 1000
    twin.ask("POST", "/", [("content-type", "x/y"), ("content-length", str(len(body)))], body)
    (message,) = origin.requests
    assert message.body == body
    assert message.get("content-length") == [str(len(body))]
    assert message.get("content-type") == ["x/y"]
    assert message.get("transfer-encoding") == []


def test_a_body_in_chunks_arrives_in_chunks(simple: tuple[Twin, Origin]) -> None:
    twin, origin = simple
    twin.ask("POST", "/", [("transfer-encoding", "chunked"), ("trailer", "x")], b"abc")
    (message,) = origin.requests
    assert message.get("transfer-encoding") == ["chunked"]
    assert message.get("content-length") == []
    assert message.body == b"3\r\nabc\r\n0\r\n\r\n"


@pytest.mark.parametrize("lines", [[], [("content-length", "0")]])
def test_an_empty_post_is_an_empty_post(
    simple: tuple[Twin, Origin], lines: list[tuple[str, str]]
) -> None:
    twin, origin = simple
    twin.ask("POST", "/", lines)
    (message,) = origin.requests
    assert message.get("content-length") == [value for _, value in lines]
    assert message.get("transfer-encoding") == []


def test_the_host_can_be_the_origins_own(kind: Kind) -> None:
    with twin_of(kind, plain(), preserve_host=False) as (twin, origin):
        twin.ask("GET", "/")
        assert origin.requests[0].get("host") == [f"127.0.0.1:{origin.port}"]


def test_a_request_without_a_host_gets_the_origins(simple: tuple[Twin, Origin]) -> None:
    twin, origin = simple
    twin.ask_bare("GET", "/", [])
    assert origin.requests[0].get("host") == [f"127.0.0.1:{origin.port}"]


def test_no_proxy_of_the_environment_is_asked(
    simple: tuple[Twin, Origin], monkeypatch: pytest.MonkeyPatch
) -> None:
    twin, origin = simple
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert twin.ask("GET", "/").status == 200
    assert len(origin.requests) == 1


def test_what_http_cannot_say_is_the_clients_mistake(simple: tuple[Twin, Origin]) -> None:
    twin, origin = simple
    answer = twin.ask("GET", "/", [("x-a", "a\x0bb")])
    assert (answer.status, answer.get("cache-control")) == (400, "no-store")
    assert origin.requests == []


def test_a_tunnel_is_not_dug(simple: tuple[Twin, Origin]) -> None:
    twin, origin = simple
    assert twin.ask("CONNECT", "shop.example:443").status == 501
    assert origin.requests == []


# Responses -----------------------------------------------------------------------------------


def test_response_fields_come_back_as_they_are(kind: Kind) -> None:
    fields = (
        "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        "Set-Cookie: a=1\r\n"
        "X-Odd:   \xe9 a  b\t\r\n"
        "set-cookie: b=2\r\n"
        "ETag: W/\"x\"\r\n"
        "Connection: x-hop\r\n"
        "X-Hop: 1\r\n"
        "Keep-Alive: timeout=5\r\n"
        "Empty:\r\n"
    )  # fmt: skip
    with twin_of(kind, plain(b"x", fields)) as (twin, _):
        found = list(twin.ask("GET", "/").fields)
    expect = [
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Set-Cookie", "a=1"),
        ("X-Odd", "\xe9 a  b"),
        ("set-cookie", "b=2"),
        ("ETag", 'W/"x"'),
        ("Empty", ""),
        ("Content-Length", "1"),
    ]
    # ASGI asks for names in lower case.
    assert found == (expect if kind == "wsgi" else [(n.lower(), v) for n, v in expect])


def test_a_coded_body_stays_coded(kind: Kind) -> None:
    body = b"\x1f\x8bno gzip at all"
    with twin_of(kind, plain(body, "Content-Encoding: gzip\r\n")) as (twin, _):
        answer = twin.ask("GET", "/")
    assert (answer.body, answer.get("content-encoding")) == (body, "gzip")


def test_a_redirect_comes_back_and_no_cookie_is_kept(kind: Kind) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
    with twin_of(kind, moved) as (twin, origin):
        assert [twin.ask("GET", "/a").status for _ in range(2)] == [302, 302]
    assert [message.line for message in origin.requests] == ["GET /a HTTP/1.1"] * 2
    assert origin.requests[1].get("cookie") == []


def test_a_response_in_chunks_has_its_body_and_no_trailers(kind: Kind) -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\nTrailer: X-T\r\n"
        b"\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
    )
    with twin_of(kind, chunked) as (twin, origin):
        answers = [twin.ask("GET", "/") for _ in range(2)]
        assert origin.connections == 1
    for answer in answers:
        assert (answer.body, answer.fields) == (b"abcde", ())


def test_a_body_may_end_with_the_connection(kind: Kind) -> None:
    closing = b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nabc"
    with twin_of(kind, closing) as (twin, _):
        answer = twin.ask("GET", "/")
    assert (answer.body, answer.fields) == (b"abc", ())


@pytest.mark.parametrize(
    ("method", "head", "length"),
    [
        ("HEAD", "200 OK\r\nContent-Length: 500", "500"),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked", None),
        ("GET", "204 No Content", None),
        ("GET", "304 Not Modified\r\nContent-Length: 500", None),
        ("GET", "200 OK\r\nContent-Length: 0", "0"),
    ],
)
def test_a_response_without_a_body_is_none_that_is_waited_for(
    kind: Kind, method: str, head: str, length: str | None
) -> None:
    with twin_of(kind, f"HTTP/1.1 {head}\r\nETag: x\r\n\r\n".encode()) as (twin, origin):
        for _ in range(2):
            answer = twin.ask(method, "/")
            assert (answer.body, answer.get("content-length")) == (b"", length)
            assert answer.status == int(head[:3])
            assert answer.get("etag") == "x"
        assert origin.connections == 1


def test_interim_responses_are_passed_over(kind: Kind) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    with twin_of(kind, early + plain()) as (twin, _):
        answer = twin.ask("GET", "/")
    assert (answer.status, answer.text, answer.get("link")) == (200, "hello", None)


def test_a_connection_is_used_again(simple: tuple[Twin, Origin]) -> None:
    twin, origin = simple
    for _ in range(5):
        assert twin.ask("GET", "/").text == "hello"
    assert (len(origin.requests), origin.connections) == (5, 1)


def test_a_connection_that_the_origin_closes_is_not(kind: Kind) -> None:
    with twin_of(kind, plain(b"a", "Connection: close\r\n")) as (twin, origin):
        assert [twin.ask("GET", "/").text for _ in range(3)] == ["a"] * 3
        assert origin.connections == 3


# Failures ------------------------------------------------------------------------------------


def refusing() -> socket.socket:
    """A port of ours where nobody listens."""
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    return place


def test_an_origin_that_is_not_there_is_told_before_the_response(kind: Kind) -> None:
    with refusing() as place:
        twin = Twin(kind, f"http://127.0.0.1:{place.getsockname()[1]}")
        with pytest.raises(OriginError, match="ConnectError") as caught:
            twin.ask("GET", "/")
        twin.close()
    assert caught.value.status == 502


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 777 What\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_no_response_is_told_before_the_response(kind: Kind, answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer)

    with twin_of(kind, script) as (twin, origin):
        with pytest.raises(OriginError) as caught:
            twin.ask("GET", "/")
        # Sent once: a test counts what its origin sees.
        assert origin.connections == 1
    assert caught.value.status == 502


@pytest.mark.parametrize("rude", [False, True])
@pytest.mark.parametrize(
    "framing", ["Content-Length: 10\r\n\r\n12345", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345"]
)
def test_a_body_that_breaks_off_is_an_error(kind: Kind, framing: str, rude: bool) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(f"HTTP/1.1 200 OK\r\n{framing}".encode())
        if rude:
            peer.reset()

    with twin_of(kind, script) as (twin, _), pytest.raises(OriginError):
        twin.ask("GET", "/")


def test_an_origin_that_is_too_slow_is_a_timeout(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        assert peer.closed()

    with (
        twin_of(kind, script, read_timeout=0.1) as (twin, _),
        pytest.raises(OriginError, match="too slow") as caught,
    ):
        twin.ask("GET", "/")
    assert caught.value.status == 504


def test_connecting_has_a_time_limit_of_its_own(kind: Kind) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        # One waits to be accepted: there is no room for another.
        socket.create_connection(full.getsockname()),
    ):
        origin = f"http://127.0.0.1:{full.getsockname()[1]}"
        twin = Twin(kind, origin, connect_timeout=0.1, read_timeout=60)
        with pytest.raises(OriginError, match="ConnectTimeout") as caught:
            twin.ask("GET", "/")
        twin.close()
    assert caught.value.status == 504


@pytest.mark.parametrize("status", [502, 504])
def test_gateway_errors_answer_in_place_of_the_origin(kind: Kind, status: int) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        if status == 504:
            assert peer.closed()

    limits = {"read_timeout": 0.1} if status == 504 else {}
    with twin_of(kind, script, **limits) as (twin, origin):
        wrapper = GatewayErrors if kind == "asgi" else WSGIGatewayErrors
        twin.app = wrapper(twin.proxy)
        answer = twin.ask("GET", "/")
        assert answer.status == status
        assert origin.url in answer.text
        assert answer.get("cache-control") == "no-store"


def test_gateway_errors_let_a_response_that_breaks_off_break_off(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")

    with twin_of(kind, script) as (twin, _):
        wrapper = GatewayErrors if kind == "asgi" else WSGIGatewayErrors
        twin.app = wrapper(twin.proxy)
        with pytest.raises(OriginError):
            twin.ask("GET", "/")


def test_websockets_are_refused() -> None:
    with twin_of("asgi", plain()) as (twin, _):
        sent: list[object] = []

        async def send(message: object) -> None:
            sent.append(message)

        twin.run(twin.proxy({"type": "websocket"}, None, send))
    assert sent == [{"type": "websocket.close"}]


def test_the_lifespan_closes_the_connections() -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(plain())
        assert peer.closed()
        closed.set()

    with twin_of("asgi", script) as (twin, _):
        sent: list[str] = []

        async def live() -> None:
            coming = iter(["lifespan.startup", "lifespan.shutdown"])

            async def receive() -> dict[str, str]:
                kind = next(coming)
                if kind == "lifespan.shutdown":
                    await call_asgi(twin.proxy, scope("GET", "/"))
                return {"type": kind}

            async def send(message: dict[str, str]) -> None:
                sent.append(message["type"])

            await twin.proxy({"type": "lifespan"}, receive, send)

        twin.run(live())
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert closed.wait(PATIENCE)


def test_without_httpx_the_extra_is_named() -> None:
    code = "import sys; sys.modules['httpx'] = None; import pagegen.testing.proxy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs httpx: pip install 'pagegen-middleware[proxy]'" in done.stderr


# With the cache in front ---------------------------------------------------------------------


def test_the_origin_gets_the_view_of_the_cache_once(kind: Kind) -> None:
    rule = Rule(path="/page", share="public", ttl="1h", query={"n": {"type": "int"}})
    with twin_of(kind, plain(b"page", "Date: x\r\n")) as (twin, origin):
        middleware = PageCacheMiddleware if kind == "asgi" else WSGIPageCacheMiddleware
        twin.app = middleware(twin.proxy, cache=PageCache([rule], cache_status=True))
        lines = [("cookie", "secret=1"), ("range", "bytes=0-1"), ("x-odd", "1")]
        assert twin.ask("GET", "/page?n=007", lines).trace == "uri-miss, stored"
        assert twin.ask("GET", "/page?n=7").trace == "hit"
        (message,) = origin.requests
        assert message.line == "GET /page?n=7 HTTP/1.1"
        assert [(name.lower(), value) for name, value in message.fields] == [
            ("host", "shop.example")
        ]


def test_a_body_that_breaks_off_is_not_stored(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")

    rule = Rule(path="/page", share="public", ttl="1h")
    with twin_of(kind, script) as (twin, origin):
        middleware = PageCacheMiddleware if kind == "asgi" else WSGIPageCacheMiddleware
        twin.app = middleware(twin.proxy, cache=PageCache([rule]))
        for _ in range(2):
            with pytest.raises(OriginError):
                twin.ask("GET", "/page")
        assert origin.connections == 2
