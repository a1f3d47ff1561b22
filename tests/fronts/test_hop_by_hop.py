"""What is about one connection, or said to this cache alone, never leaves (RFC 9110 §7.6.1)."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from http.client import HTTPConnection
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import pytest

from pagegen import PageCache, Rule
from pagegen.testing import PATIENCE, Answer, Reply, Scenario, Seen, call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware
from tests.conftest import MakeScenario

CONNECTION = [
    ("Connection", "close, X-Hop"),
    ("connection", "x-other-hop"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "trailers"),
    ("Trailer", "X-Checksum"),
    ("Upgrade", "h2c"),
    ("Proxy-Authenticate", "Basic"),
    ("Proxy-Authentication-Info", "x"),
    ("Proxy-Authorization", "Basic eA=="),
    ("X-Hop", "1"),
    ("X-Other-Hop", "1"),
]
OURS = [("Pagegen-Cache-Control", "max-age=60")]
#: What a client gets, whatever stands beside it.
MEANT = [
    ("Content-Type", "text/plain"),
    ("CDN-Cache-Control", "max-age=5"),
    ("Cache-Control", "max-age=60"),
    ("Link", "<a>"),
    ("Link", "<b>"),
]
COOKIES = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
GONE = {name.lower() for name, _ in (*CONNECTION, *OURS)}

PAGE = Rule(path="/page", share="public")
KEYED = Rule(path="/keyed", share="public", ttl=60, max_body=100)
STALE = Rule(path="/stale", share="public", ttl=60, swr=60, sie=60)


def clean(answer: Answer, *, cookies: bool = False) -> bool:
    """Nothing has left that should not, and all that should."""
    names = {name.lower() for name, _ in answer.fields}
    assert names & GONE == set()
    got = [(name.lower(), value) for name, value in answer.fields]
    wanted = [*MEANT, *(COOKIES if cookies else ())]
    assert [pair for pair in got if pair[0] in {n.lower() for n, _ in wanted}] == [
        (name.lower(), value) for name, value in wanted
    ]
    return True


def replying(stage: Scenario, body: Any = b"page", status: int = 200, **also: bool) -> None:
    more = COOKIES if also.get("cookies") else []
    fields = [*CONNECTION, *MEANT, *OURS, *more]
    stage.handler = lambda seen: Reply(body, status, fields)


@pytest.mark.parametrize("target", ["/page", "/keyed"])
@pytest.mark.parametrize("body", [b"page", [b"pa", b"ge"]], ids=["at once", "in pieces"])
def test_nothing_of_a_connection_leaves_with_a_page(
    scenario: MakeScenario, target: str, body: Any
) -> None:
    stage = scenario(PAGE, KEYED)
    replying(stage, body)
    first, hit = stage.get(target), stage.get(target)
    assert hit.trace == "hit"
    assert clean(first)
    assert clean(hit)
    head = stage.request("HEAD", target)
    assert head.trace == "hit"
    assert clean(head)
    etag = hit.get("etag")
    assert etag is not None
    same = stage.get(target, {"if-none-match": etag})
    assert same.status == 304
    assert {name.lower() for name, _ in same.fields} & GONE == set()
    part = stage.get(target, {"range": "bytes=1-2"})
    assert (part.status, part.body) == (206, b"ag")
    assert clean(part)


@pytest.mark.parametrize("body", [b"page", [b"pa", b"ge"], [b"p" * 60] * 2])
@pytest.mark.parametrize("status", [200, 404, 503])
def test_nor_with_a_forward_that_is_not_stored(
    scenario: MakeScenario, body: Any, status: int
) -> None:
    stage = scenario(KEYED)
    replying(stage, body, status, cookies=True)
    answer = stage.get("/keyed")
    assert answer.trace.startswith("refused-")
    assert answer.status == status
    assert clean(answer, cookies=True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("body", [b"page", [b"pa", b"ge"]], ids=["at once", "in pieces"])
def test_nor_with_a_bypass(scenario: MakeScenario, method: str, body: Any) -> None:
    stage = scenario(PAGE)
    replying(stage, body, cookies=True)
    answer = stage.request(method, "/elsewhere")
    assert answer.trace.startswith("bypass: ")
    assert clean(answer, cookies=True)


def test_nor_with_a_head_that_is_forwarded_or_freshens(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    fields = [*CONNECTION, *MEANT, *OURS, ("ETag", '"1"')]
    stage.handler = lambda seen: Reply(b"page" if seen.method == "GET" else b"", fields=fields)
    assert clean(stage.request("HEAD", "/page"))
    stage.get("/page")
    stage.clock.advance(61)
    head = stage.request("HEAD", "/page")
    assert clean(head)
    assert stage.get("/page").trace == "hit"


def test_nor_with_a_page_that_a_304_freshened(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)

    def handler(seen: Seen) -> Reply:
        known = "if-none-match" in seen.fields
        fields = [*CONNECTION, *MEANT, *OURS, ("ETag", '"1"')]
        return Reply(b"" if known else b"page", 304 if known else 200, fields)

    stage.handler = handler
    stage.get("/page")
    stage.clock.advance(61)
    fresh = stage.get("/page")
    assert (fresh.status, fresh.body) == (200, b"page")
    assert clean(fresh)
    assert clean(stage.get("/page"))


def test_nor_with_a_stale_page(scenario: MakeScenario) -> None:
    stage = scenario(STALE)
    fields = [pair for pair in (*CONNECTION, *MEANT) if pair[0] != "Cache-Control"]
    stage.handler = lambda seen: Reply(b"page", fields=fields)
    stage.get("/stale")
    stage.clock.advance(61)
    answer = stage.get("/stale")
    assert answer.trace == "stale hit"
    assert {name.lower() for name, _ in answer.fields} & GONE == set()


def test_what_connection_names_is_gone_even_if_others_need_it(scenario: MakeScenario) -> None:
    """Who names a field there has said that it is for one connection: also a cache's own fields."""
    stage = scenario(PAGE)
    fields = [("Connection", "ETag, Cache-Control"), ("ETag", '"1"'), ("Cache-Control", "no-store")]
    stage.handler = lambda seen: Reply(b"page", fields=fields)
    answer = stage.get("/page")
    assert answer.trace == "refused-no-store"
    assert (answer.get("etag"), answer.get("cache-control")) == (None, None)


@pytest.mark.parametrize("target", ["/page", "/keyed"])
def test_no_handler_of_a_page_sees_what_is_about_the_clients_connection(
    scenario: MakeScenario, target: str
) -> None:
    stage = scenario(PAGE, KEYED)
    seen_fields: dict[str, str] = {}

    def handler(seen: Seen) -> str:
        seen_fields.update(seen.fields)
        return "page"

    stage.handler = handler
    fields = {
        "connection": "X-Hop, close", "x-hop": "1", "keep-alive": "5", "te": "trailers",
        "trailer": "x", "upgrade": "h2c", "http2-settings": "x", "proxy-authorization": "x",
        "proxy-connection": "close", "x-mine": "1",
    }  # fmt: skip
    stage.get(target, fields)
    assert seen_fields.keys() & fields.keys() <= {"x-mine"}


def hopping(made: Any, start_response: Any) -> Iterable[bytes]:
    """An application that says what none may say, as proxies in front of others do."""
    start_response("200 OK", [*CONNECTION, *MEANT, *OURS, *COOKIES])
    return iter([b"pa", b"ge"]) if "pieces" in made["QUERY_STRING"] else [b"page"]


#: Everything but the application's side is checked: that one breaks the rules on purpose.
HTTP = Rule(path="/page", share="public", set_cookie="drop", mode="http")


@pytest.mark.parametrize("query", ["", "?pieces"])
@pytest.mark.parametrize("path", ["/page", "/elsewhere"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_standard_librarys_checker_is_content(path: str, query: str, method: str) -> None:
    cache = PageCache([HTTP], cache_status=True)
    checked = validator(PageCacheMiddleware(hopping, cache=cache))  # type: ignore[arg-type]
    for _ in range(2):
        answer = call_wsgi(checked, environ(method, path + query))  # type: ignore[arg-type]
        assert answer.body == b"page"
        assert {name.lower() for name, _ in answer.fields} & GONE == set()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: tests are quiet."""


def test_the_standard_librarys_server_asserts_on_nothing() -> None:
    cache = PageCache([HTTP], cache_status=True)
    wrapped: Any = PageCacheMiddleware(hopping, cache=cache)
    with make_server("127.0.0.1", 0, wrapped, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            for method, path, status in (
                ("GET", "/page", 200),
                ("GET", "/page", 200),
                ("HEAD", "/page", 200),
                ("GET", "/page?pieces", 200),
                ("GET", "/elsewhere", 200),
                ("POST", "/page", 200),
            ):
                client = HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
                client.request(method, path)
                answer = client.getresponse()
                body = answer.read()
                client.close()
                assert (answer.status, body) == (status, b"" if method == "HEAD" else b"page")
                names = {name.lower() for name, _ in answer.getheaders()}
                assert names & GONE == set(), (method, path)
        finally:
            server.shutdown()
            thread.join(PATIENCE)
