"""Streamed responses: whole where they are stored, as they come where they are not."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.core.wsgi import get_wsgi_application

from pagegen.testing import call_asgi, environ, scope
from tests.contrib.django.site import Site, journal


def test_a_streamed_page_is_stored_and_closed(site: Site) -> None:
    visitor = site.visitor()
    first = visitor.get("/streams/plain")
    assert first.trace == "uri-miss, stored"
    assert journal == ["begun", "ended", "closed"]
    assert visitor.get("/streams/plain").text == first.text
    assert journal == ["begun", "ended", "closed"]


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_an_asynchronously_streamed_page_is_stored(site: Site) -> None:
    visitor = site.visitor()
    first = visitor.get("/astreams/plain")
    assert first.trace == "uri-miss, stored" and first.text.endswith("end")
    assert visitor.get("/astreams/plain").text == first.text


def test_a_streamed_page_that_looks_at_its_user_late_is_not_shared(site: Site) -> None:
    ann, bob = site.visitor("ann"), site.visitor("bob")
    answer = ann.get("/streams/late")
    assert answer.trace == "refused-private" and "ann" in answer.text
    assert "bob" in bob.get("/streams/late").text


# Django's own word under ASGI: it cannot iterate a generator without blocking.
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_a_streamed_page_that_is_too_large_goes_on_unstored(site: Site) -> None:
    visitor = site.visitor()
    first, second = visitor.get("/streams/large"), visitor.get("/streams/large")
    assert first.text.endswith("x" * 4000 + "end")
    assert first.text != second.text and second.trace == "refused-private"
    assert journal == ["begun", "ended", "closed"] * 2


@pytest.mark.parametrize("path", ["/streams/writes", "/astreams/writes"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_what_a_streamed_answer_to_a_write_forgets_is_forgotten(site: Site, path: str) -> None:
    visitor = site.visitor()
    before = visitor.get("/plain").text
    assert visitor.post(path).text.endswith("end")
    assert visitor.get("/plain").text != before


@pytest.mark.parametrize("site", ["wsgi"], indirect=True)
def test_wsgi_sends_a_private_stream_as_it_comes(site: Site) -> None:
    chunks: Iterator[bytes] = iter(
        get_wsgi_application()(environ("GET", "/streams/private"), lambda *_: None)
    )
    assert journal == []
    next(chunks)
    assert journal == ["begun"]
    assert list(chunks) == [b"end"]


@pytest.mark.parametrize("site", ["wsgi"], indirect=True)
def test_wsgi_forgets_again_at_the_end_of_a_streamed_write(site: Site) -> None:
    visitor = site.visitor()
    made = environ("POST", "/streams/writes", {"content-length": "0"})
    response: Any = get_wsgi_application()(made, lambda *_: None)
    chunks = iter(response)
    while next(chunks) != b".":  # told, and not committed yet
        pass
    between = visitor.get("/plain").text
    assert list(chunks) == [b"end"]
    response.close()
    assert journal[-1] == "closed"
    assert visitor.get("/plain").text != between


@pytest.mark.parametrize("site", ["asgi"], indirect=True)
def test_asgi_forgets_again_at_the_end_of_a_streamed_write(site: Site) -> None:
    app = get_asgi_application()
    between: list[str] = []

    async def visit() -> str:
        return (await call_asgi(app, scope("GET", "/plain"))).text

    async def write() -> None:
        response: Any = await app.get_response_async(_request("POST", "/astreams/writes"))
        async for piece in response:
            if piece == b"." and not between:  # told, and not committed yet
                between.append(await visit())
        assert between and await visit() != between[0]
        await sync_to_async(response.close)()

    asyncio.run(write())


def _request(method: str, path: str) -> Any:
    return ASGIRequest(scope(method, path, {"content-length": "0"}), io.BytesIO())


@pytest.mark.parametrize("site", ["asgi"], indirect=True)
def test_asgi_sends_a_private_stream_as_it_comes(site: Site) -> None:
    sent: list[Any] = []

    async def visit() -> None:
        asked = False

        async def receive() -> Any:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await get_asgi_application()(scope("GET", "/astreams/private"), receive, send)

    asyncio.run(visit())
    pieces = [m["body"] for m in sent if m["type"] == "http.response.body" and "body" in m]
    assert len(pieces) >= 2 and pieces[-1] == b"end"
