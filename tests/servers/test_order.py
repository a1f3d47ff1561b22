"""On real servers too, a client that asks again with the last byte in hand finds all done.

The store takes its time to write, so an answer that did not wait for it would be found out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPConnection
from itertools import count
from typing import Final

import pytest

from tests.servers.site import SHAPES
from tests.servers.sites import Site, ask, serving

#: No two tests share a page.
_NUMBERS: Final = count(1)
EVERY: Final = pytest.mark.parametrize("shape", SHAPES)


@pytest.fixture(
    scope="module", params=["uvicorn", "uvicorn with h11", "gunicorn", "two workers of gunicorn"]
)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with serving(request.param, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def one(site: Site) -> Iterator[HTTPConnection]:
    connection = site.connect()
    yield connection
    connection.close()


@pytest.fixture
def other(site: Site) -> Iterator[HTTPConnection]:
    """Another client, which is connected already."""
    connection = site.connect()
    # So that whatever serves it is there.
    ask(connection, "GET", "/bypass/here")
    yield connection
    connection.close()


def page(shape: str) -> str:
    return f"/{shape}/{next(_NUMBERS)}"


def _there(shape: str) -> tuple[str, ...]:
    """What who asks with the last byte in hand is told. A stream without a length is stored when
    the application has returned: until then one waits for it.
    """
    return ("hit", "collapsed") if shape == "pieces" else ("hit",)


@EVERY
def test_a_page_is_there_with_its_last_byte(
    one: HTTPConnection, other: HTTPConnection, shape: str
) -> None:
    path = page(shape)
    first = ask(one, "GET", path)
    again = ask(other, "GET", path)
    assert first.trace.startswith("uri-miss")
    assert again.trace in _there(shape)
    assert again.body == first.body


@EVERY
def test_what_was_written_is_forgotten_with_the_last_byte_of_the_answer(
    one: HTTPConnection, other: HTTPConnection, shape: str
) -> None:
    path = page(shape)
    for _ in range(2):
        ask(one, "GET", path)
        assert ask(other, "GET", path).trace in _there(shape)
        ask(one, "POST", path)
        assert ask(other, "GET", path).trace.startswith("stale")


def test_a_page_is_freshened_with_its_last_byte(one: HTTPConnection, other: HTTPConnection) -> None:
    path = page("validated")
    assert ask(one, "GET", path).trace == "uri-miss, stored"
    fresh = ask(one, "GET", path)
    again = ask(other, "GET", path)
    told = r"pagegen; fwd=stale; fwd-status=304; ttl=3[56]\d\d; stored"
    assert re.fullmatch(told, fresh.get("cache-status") or "")
    assert again.trace == "hit"
    assert fresh.body == again.body == f"GET {path} 1".encode()


def test_a_page_is_freshened_with_the_304_of_a_client_that_has_it(
    one: HTTPConnection, other: HTTPConnection
) -> None:
    path = page("validated")
    ask(one, "GET", path)
    assert ask(one, "GET", path, {"if-none-match": '"1"'}).status == 304
    assert ask(other, "GET", path).trace == "hit"


def test_a_page_is_freshened_with_the_head_that_was_asked_for(
    one: HTTPConnection, other: HTTPConnection
) -> None:
    path = page("validated")
    ask(one, "GET", path)
    assert ask(one, "HEAD", path).status == 200
    assert ask(other, "GET", path).trace == "hit"
