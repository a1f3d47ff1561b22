"""The WSGI front: all that PEP 3333 allows an application to do."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen import Invalidates, PageCache, Rule
from pagegen.testing import Answer, call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware

PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl="1h", max_body=100)
HEADERS = [("Content-Type", "text/plain")]
SIZED = [*HEADERS, ("Content-Length", "5")]


def wrap(app: Any, **options: Any) -> Any:
    """The application behind a cache, with the standard library's checker on both sides."""
    options.setdefault("cache_status", True)
    cache = PageCache([PAGE], **options)
    wrapped = validator(PageCacheMiddleware(validator(app), cache=cache))  # type: ignore[arg-type]
    wrapped.cache = cache  # type: ignore[attr-defined]
    return wrapped


def get(app: Any, target: str = "/page", method: str = "GET", **extra: Any) -> Answer:
    return call_wsgi(app, environ(method, target) | extra)


class Body:
    """An iterable with a ``close`` that counts, as frameworks return them."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def close(self) -> None:
        self.closed += 1


def with_write(environ: Any, start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", HEADERS)
    write(b"he")
    write(b"llo")
    return []


def with_sized_write(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", SIZED)(b"hello")
    return []


def with_write_and_rest(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", HEADERS)(b"he")
    return iter([b"l", b"", b"lo"])


def as_generator(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", HEADERS)
    yield b"hel"
    yield b"lo"


def as_list(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", HEADERS)
    return [b"hel", b"lo"]


def as_file(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", SIZED)
    wrapper = environ.get("wsgi.file_wrapper", FileWrapper)
    return wrapper(io.BytesIO(b"hello"))  # type: ignore[no-any-return]


def with_late_head(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", SIZED)
    yield b""
    yield b"hello"


def with_changed_mind(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("500 Oops", HEADERS)
    try:
        raise ValueError("no")
    except ValueError:
        start_response("200 OK", HEADERS, sys.exc_info())
    return [b"hello"]


APPS = [
    with_write, with_sized_write, with_write_and_rest, as_generator, as_list, as_file,
    with_late_head, with_changed_mind,
]  # fmt: skip


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.__name__)
def test_every_way_to_answer_is_stored_whole(app: Any) -> None:
    wrapped = wrap(app)
    first, second = get(wrapped), get(wrapped)
    assert (first.status, first.text) == (200, "hello")
    assert (second.trace, second.text) == ("hit", "hello")
    assert second.get("content-length") == "5"


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.__name__)
@pytest.mark.parametrize("target", ["/other", "/page?x"])
def test_a_bypass_is_the_bare_application(app: Any, target: str) -> None:
    bare = get(validator(app), target)
    assert get(wrap(app, cache_status=False), target) == bare


def test_a_bypass_returns_the_applications_own_objects() -> None:
    body = Body(b"x")
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        seen.append((environ, start_response))
        start_response("200 OK", HEADERS)
        return body

    middleware = PageCacheMiddleware(app, cache=PageCache([PAGE]))
    made = environ("GET", "/other")

    assert middleware(made, lambda *_: None) is body  # type: ignore[arg-type, return-value]
    assert seen[0][0] is made


@pytest.mark.parametrize("target", ["/page", "/other"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_close_is_called_exactly_once(target: str, method: str) -> None:
    body = Body(b"hel", b"lo")

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        return body

    assert get(wrap(app), target, method).text == "hello"
    assert body.closed == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_server_that_closes_twice_closes_the_application_once(method: str) -> None:
    body = Body(b"x")

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        return body

    middleware = PageCacheMiddleware(app, cache=PageCache([PAGE]))
    response: Any = middleware(environ(method, "/page"), lambda *_: None)
    assert list(response) == [b"x"]
    response.close()
    response.close()
    assert body.closed == 1


@pytest.mark.parametrize("chunks", [(b"x", RuntimeError("no")), (RuntimeError("no"),)])
def test_a_body_that_fails_is_closed_once_and_never_stored(chunks: Any) -> None:
    body = Body(*chunks)
    apps: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        return apps[0]

    wrapped = wrap(app)
    apps[:] = [body]
    with pytest.raises(RuntimeError, match="no"):
        get(wrapped)
    assert body.closed == 1
    apps[:] = [Body(b"whole")]
    assert get(wrapped).text == "whole"
    assert wrapped.cache.statistics()["flights_flying"] == 0


@pytest.mark.parametrize("length", ["4", "6", "-5", "5, 6", "five"])
def test_a_length_that_contradicts_the_body_is_never_stored(length: str) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [*HEADERS, ("Content-Length", length)])
        return iter([b"he", b"l", b"lo"])

    wrapped = PageCacheMiddleware(app, cache=PageCache([PAGE], cache_status=True))
    for _ in range(2):
        answer = get(wrapped)
        assert answer.body == b"hello"
        assert answer.get("content-length") == length
        assert answer.trace != "hit"


def test_a_client_that_leaves_early_leaves_no_page_and_no_flight() -> None:
    body = Body(b"one", b"two")

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        return body

    cache = PageCache([PAGE])
    response: Any = PageCacheMiddleware(app, cache=cache)(environ("GET", "/page"), lambda *_: None)
    assert next(iter(response)) == b"one"
    response.close()
    assert body.closed == 1
    assert cache.statistics()["refused:incomplete"] == 1
    assert cache.statistics()["flights_flying"] == 0
    assert cache.inspect("/page", host="testserver").state == "absent"


def test_the_first_piece_leaves_when_the_application_sends_it() -> None:
    """Not when the page is complete: the second piece is made only after the first has left."""
    left = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        yield b"first"
        assert left.is_set()
        yield b"second"

    started: list[Any] = []
    cache = PageCache([PAGE])
    response: Any = PageCacheMiddleware(app, cache=cache)(
        environ("GET", "/page"), lambda *args: started.append(args)
    )
    pieces = iter(response)
    assert next(pieces) == b"first"
    assert len(started) == 1
    left.set()
    assert next(pieces) == b"second"
    # The page is admitted before the response ends: the next request may come at once.
    assert cache.inspect("/page", host="testserver").state == "absent"
    assert next(pieces, None) is None
    assert cache.inspect("/page", host="testserver").state == "fresh"
    response.close()


def test_written_pieces_leave_when_they_are_written() -> None:
    left: list[bytes] = []

    def app(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", HEADERS)
        write(b"first")
        assert left == [b"first"]
        write(b"second")
        assert left == [b"first", b"second"]
        return []

    middleware = PageCacheMiddleware(app, cache=PageCache([PAGE]))
    response: Any = middleware(environ("GET", "/page"), lambda *_: left.append)
    assert list(response) == []
    response.close()


def test_the_last_promised_byte_waits_until_the_page_is_admitted() -> None:
    cache = PageCache([PAGE])
    states: list[str] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", SIZED)
        yield b"he"
        yield b"llo"
        states.append("ended")

    middleware = PageCacheMiddleware(app, cache=cache)
    response: Any = middleware(environ("GET", "/page"), lambda *_: None)
    pieces = iter(response)
    assert next(pieces) == b"he"
    assert next(pieces) == b"llo"
    assert states == ["ended"]
    assert cache.inspect("/page", host="testserver").state == "fresh"
    response.close()


def test_exc_info_after_the_head_has_left_raises_as_the_server_does() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        yield b"begun"
        try:
            raise ValueError("too late")
        except ValueError:
            start_response("500 Oops", HEADERS, sys.exc_info())

    for target in ("/page", "/other"):
        with pytest.raises(ValueError, match="too late"):
            get(wrap(app), target)


def test_start_response_twice_without_exc_info_is_an_error() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        start_response("200 OK", HEADERS)
        return [b"x"]

    with pytest.raises(AssertionError):
        get(PageCacheMiddleware(app, cache=PageCache([PAGE])))


def test_repeated_headers_and_the_reason_phrase_survive() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 Fine", [*HEADERS, ("Link", "<a>"), ("Link", "<b>")])
        return [b"x"]

    wrapped = wrap(app)
    get(wrapped)
    started: list[Any] = []
    body = wrapped(environ("GET", "/page"), lambda *args: started.append(args) or (lambda _: None))
    body.close()
    status, headers = started[0][:2]
    assert status == "200 Fine"
    assert [value for name, value in headers if name == "Link"] == ["<a>", "<b>"]


def test_a_large_file_keeps_the_servers_own_way_to_send_it() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [*HEADERS, ("Content-Length", "101")])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 101))

    made = environ("GET", "/page") | {"wsgi.file_wrapper": FileWrapper}
    middleware = PageCacheMiddleware(app, cache=PageCache([PAGE]))
    assert isinstance(middleware(made, lambda *_: None), FileWrapper)
    made = environ("POST", "/page") | {"wsgi.file_wrapper": FileWrapper}
    assert isinstance(middleware(made, lambda *_: None), FileWrapper)


def test_a_write_is_settled_before_write_sends_a_byte() -> None:
    states: list[str] = []
    cache = PageCache(
        [PAGE], invalidates=[Invalidates(path="/page", namespaces=["page"])], cache_status=True
    )

    def app(made: Any, start_response: Any) -> Any:
        write = start_response("200 OK", HEADERS)
        if made["REQUEST_METHOD"] == "POST":
            write(b"done")
            return []
        return [b"page"]

    middleware = PageCacheMiddleware(app, cache=cache)
    get(middleware)

    def start_response(*_: Any) -> Any:
        return lambda _data: states.append(cache.inspect("/page", host="testserver").state)

    list(middleware(environ("POST", "/page"), start_response))
    assert states == ["invalidated"]


def test_mounted_applications_have_pages_of_their_own() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        return [environ["SCRIPT_NAME"].encode()]

    wrapped = wrap(app)
    for root in ("/a", "/b", ""):
        made = {"SCRIPT_NAME": root, "RAW_URI": f"{root}/page"}
        assert get(wrapped, **made).text == root
        assert get(wrapped, **made).trace == "hit"


@given(
    chunks=st.lists(st.binary(max_size=20), max_size=4),
    status=st.sampled_from(["200 OK", "404 Not Found", "500 Oops"]),
    query=st.text("abc=&%0+;", max_size=12),
    kind=st.sampled_from(["list", "tuple", "generator", "write"]),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
)
def test_on_bypass_wrapped_and_bare_are_the_same_bytes(
    chunks: list[bytes], status: str, query: str, kind: str, method: str
) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        write = start_response(status, [*HEADERS, ("X-Query", environ["QUERY_STRING"])])
        if kind == "write":
            for chunk in chunks:
                write(chunk)
            return []
        makers: dict[str, Any] = {"list": list, "tuple": tuple, "generator": iter}
        return makers[kind](chunks)

    target = f"/other?{query}"
    bare = get(validator(app), target, method)
    assert get(wrap(app, cache_status=False), target, method) == bare
