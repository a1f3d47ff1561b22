"""Bodies that break off on the WSGI front, at every byte and in every way: none is stored."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from pagegen import PageCache, Rule
from pagegen.testing import Answer
from pagegen.testing.calling import call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware

BODY = b"0123456789"
PAGE = Rule(path="/a", share="public", ttl=60)

App = Callable[[Any, Any], Iterable[bytes]]


class GoneError(OSError):
    """What a server raises out of ``write`` when its client has gone."""


def pieces(count: int) -> Iterator[bytes]:
    return (BODY[number : number + 1] for number in range(count))


def fields(sized: bool) -> list[tuple[str, str]]:
    length = [("Content-Length", str(len(BODY)))] if sized else []
    return [("Content-Type", "text/plain"), *length]


def whole(made: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", fields(sized=False))
    return [BODY]


# --- Ways to break off after so many bytes --------------------------------------------------------


def raises(sized: bool, count: int) -> App:
    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", fields(sized))
        yield from pieces(count)
        raise RuntimeError("the handler failed")

    return app


def raises_with_list_begun(sized: bool, count: int) -> App:
    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", fields(sized))
        for piece in pieces(count):
            write(piece)
        raise RuntimeError("the handler failed")

    return app


def writes_its_end_in_finally(sized: bool, count: int) -> App:
    """The footer of every page, whatever became of its rows."""

    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", fields(sized))
        with suppress(RuntimeError):
            try:
                for piece in pieces(count):
                    write(piece)
                raise RuntimeError("the rows ran out")
            finally:
                write(b"")
        return []

    return app


def is_killed_by_its_server_and_answers(sized: bool, count: int) -> App:
    """gunicorn ends a thread that takes too long with ``SystemExit``."""

    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        try:
            sys.exit(1)
        except SystemExit:
            write = start_response("200 OK", fields(sized))
            for piece in pieces(count):
                write(piece)
        return []

    return app


def is_shorter_than_it_said(sized: bool, count: int) -> App:
    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", fields(sized=True))
        return list(pieces(count)) if sized else pieces(count)

    return app


def is_longer_than_it_said(sized: bool, count: int) -> App:
    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", fields(sized=True))
        return [BODY, b"x" * (count + 1)] if sized else iter([BODY, b"x" * (count + 1)])

    return app


def begins_again(sized: bool, count: int) -> App:
    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", fields(sized))
        for piece in pieces(count):
            write(piece)
        start_response("200 OK", fields(sized))
        return []

    return app


def begins_again_and_takes_no_for_an_answer(sized: bool, count: int) -> App:
    again = begins_again(sized, count)

    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        with suppress(AssertionError):
            again(made, start_response)
        return []

    return app


def begins_again_with_an_error(sized: bool, count: int) -> App:
    """What is on its way cannot be taken back (PEP 3333): the server raises, and so do we."""

    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", fields(sized))
        for piece in pieces(count):
            write(piece)
        try:
            raise RuntimeError("the rows ran out")
        except RuntimeError:
            start_response("500 Oh", [], sys.exc_info())
        return [b"an error"]

    return app


WAYS = [
    raises, raises_with_list_begun, writes_its_end_in_finally, is_shorter_than_it_said,
    is_killed_by_its_server_and_answers, is_longer_than_it_said, begins_again,
    begins_again_and_takes_no_for_an_answer, begins_again_with_an_error,
]  # fmt: skip


def _broken_off(app: App, cache: PageCache) -> None:
    started = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        if exc_info and started:
            raise exc_info[1]
        assert not started
        started.append(status)
        return lambda piece: None

    with suppress(RuntimeError, GoneError, AssertionError):
        response = PageCacheMiddleware(app, cache=cache)(environ("GET", "/a"), start_response)
        try:
            list(response)
        finally:
            getattr(response, "close", lambda: None)()


def _visit(cache: PageCache) -> Answer:
    return call_wsgi(PageCacheMiddleware(whole, cache=cache), environ("GET", "/a"))


def nothing_is_left(cache: PageCache) -> None:
    """The next visitor's page is rendered anew and whole, and so is what the one after it gets."""
    assert cache.statistics().get("admitted", 0) == 0
    assert cache.statistics()["flights_flying"] == 0
    first, second = _visit(cache), _visit(cache)
    assert (first.body, second.body) == (BODY, BODY)
    assert first.trace == "uri-miss, stored"
    assert second.trace == "hit"


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_body_that_breaks_off_at_any_byte_is_no_page(way: Any, sized: bool) -> None:
    for count in range(len(BODY) if way is is_shorter_than_it_said else len(BODY) + 1):
        cache = PageCache([PAGE], cache_status=True)
        _broken_off(way(sized, count), cache)
        nothing_is_left(cache)


@pytest.mark.parametrize("sized", [False, True])
def test_a_client_that_leaves_at_any_byte_leaves_no_page(sized: bool) -> None:
    """Servers call ``close`` then, and ask for no more."""
    for count in range(len(BODY)):
        cache = PageCache([PAGE], cache_status=True)

        def app(made: Any, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", fields(sized))
            yield from pieces(len(BODY))

        made = PageCacheMiddleware(app, cache=cache)(environ("GET", "/a"), lambda *_: None)
        body = iter(made)
        for _ in range(count):
            next(body)
        made.close()  # type: ignore[attr-defined]
        nothing_is_left(cache)


@pytest.mark.parametrize("count", range(1, len(BODY) + 1))
def test_an_application_that_takes_a_dead_client_for_its_end_leaves_no_page(count: int) -> None:
    cache = PageCache([PAGE], cache_status=True)
    written = 0

    def start_response(*_: Any) -> Any:
        def write(piece: bytes) -> None:
            nonlocal written
            written += 1
            if written >= count:
                raise GoneError

        return write

    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", fields(sized=False))
        with suppress(GoneError):
            for piece in pieces(len(BODY)):
                write(piece)
        return []

    response = PageCacheMiddleware(app, cache=cache)(environ("GET", "/a"), start_response)
    list(response)
    response.close()  # type: ignore[attr-defined]
    nothing_is_left(cache)


def test_a_server_that_cannot_even_begin_leaves_no_page() -> None:
    cache = PageCache([PAGE], cache_status=True)

    def start_response(*_: Any) -> Any:
        raise GoneError

    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", fields(sized=False))
        with suppress(GoneError):
            write(b"0")
        return []

    with suppress(GoneError):
        made = PageCacheMiddleware(app, cache=cache)(environ("GET", "/a"), start_response)
        list(made)
    nothing_is_left(cache)


@pytest.mark.parametrize("reused", [bytearray, memoryview])
def test_a_buffer_that_is_filled_anew_does_not_change_what_was_stored(reused: Any) -> None:
    cache = PageCache([PAGE], cache_status=True)
    buffer = bytearray(2)

    def app(made: Any, start_response: Any) -> Iterable[Any]:
        start_response("200 OK", fields(sized=False))
        for number in range(0, len(BODY), 2):
            buffer[:] = BODY[number : number + 2]
            yield buffer if reused is bytearray else memoryview(buffer)

    sent = bytearray()
    made = PageCacheMiddleware(app, cache=cache)
    for piece in made(environ("GET", "/a"), lambda *_: None):
        sent += piece
    assert sent == BODY
    assert (_visit(cache).body, _visit(cache).trace) == (BODY, "hit")


def test_an_answer_to_an_exception_is_a_page_where_its_rule_says_so() -> None:
    """Frameworks make their 404 where the exception is handled: that is no body that broke off."""
    cache = PageCache([Rule(path="/a", share="public", ttl={404: 60})], cache_status=True)

    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        try:
            raise LookupError("no such row")
        except LookupError:
            start_response("404 Not Found", fields(sized=False))(b"no such page")
            return []

    wrapped = PageCacheMiddleware(app, cache=cache)
    answers = [call_wsgi(wrapped, environ("GET", "/a")) for _ in range(2)]
    assert [answer.trace for answer in answers] == ["uri-miss", "hit"]
