"""Django's responses as what the fronts pass on, and back again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Any, Final

from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from pagegen.engine import Engine
from pagegen.exchange import Exchange, current, handling
from pagegen.law.said import said
from pagegen.messages import Fields, ResponseHead
from pagegen.stepping import step

from .passage import Passage

#: Content that is never over: it is passed on as it comes.
_ENDLESS: Final = ("text/event-stream", "multipart/x-mixed-replace")


def fields_of(response: HttpResponseBase) -> Fields:
    """All fields of a response, one line for each cookie."""
    lines = [(name, str(value)) for name, value in response.items()]
    lines += [("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values()]
    return tuple(lines)


def status_line(response: HttpResponseBase) -> str:
    """Status and reason as WSGI has them."""
    return f"{response.status_code} {response.reason_phrase}"


def streams_on(response: HttpResponseBase) -> bool:
    """Whether a streamed response is passed on as it comes because it says that it is not stored.

    Another one has to be whole before it is known whether its handler used what is not in its key.
    """
    head = ResponseHead(response.status_code, fields_of(response))
    words = said(head)
    refused = words.private or "no-store" in words or response.status_code != 200
    kind = str(response.get("Content-Type", "")).lower()
    return refused or bool(response.cookies) or kind.startswith(_ENDLESS)


def dress(response: HttpResponseBase, code: int, reason: str, fields: Fields) -> None:
    """Give a response the status and fields that are sent, and no others."""
    response.status_code = code
    if reason and reason != response.reason_phrase:
        response.reason_phrase = reason
    lines = [value for name, value in fields if name.lower() == "set-cookie"]
    _set_cookies(response, lines)
    sent: dict[str, tuple[str, str]] = {}
    for name, value in fields:
        key = name.lower()
        if key != "set-cookie":
            sent[key] = (name, f"{sent[key][1]}, {value}" if key in sent else value)
    for name in [name for name, _ in response.items() if name.lower() not in sent]:
        del response[name]
    for name, value in sent.values():
        if response.get(name) != value:
            response[name] = value


def _set_cookies(response: HttpResponseBase, lines: list[str]) -> None:
    own = {morsel.OutputString(): name for name, morsel in response.cookies.items()}
    for line, name in own.items():
        if line not in lines:
            del response.cookies[name]
    for line in lines:
        if line not in own:
            response.cookies.load(line)


def finished(
    passage: Passage, code: int, reason: str, fields: Fields, body: bytes
) -> HttpResponseBase:
    """The response of a look-up or forward: the application's own where that is what is sent."""
    response = passage.response
    if response is None or response.status_code != code or not _is_sent(passage, body):
        if response is not None:
            passage.closers += response._resource_closers
            response._resource_closers = []
        response = HttpResponse(body, status=code, reason=reason or None)
        del response["Content-Type"]
    elif passage.rest not in (None, response):
        response.streaming_content = passage.rest
    dress(response, code, reason, fields)
    response._resource_closers += passage.closers
    sent: HttpResponseBase = response
    return sent


def _is_sent(passage: Passage, body: bytes) -> bool:
    """Whether the content of a page's response is what its client gets."""
    response = passage.response
    if response.streaming:
        return passage.rest is not None
    content: bytes = response.content
    return content == body


class Streamed:
    """The content of a response that a front passes on without looking at it."""

    def __init__(self, response: Any) -> None:
        self._parts = () if response.is_async else response.streaming_content

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)


def whole(response: Any, limit: int) -> bytes | Any:
    """Streamed content, read to its end; or, where that is beyond ``limit`` bytes, what goes on."""
    if response.is_async:
        return async_to_sync(awhole)(response, limit)
    parts = iter(response.streaming_content)
    pieces: list[bytes] = []
    length = 0
    for piece in parts:
        pieces.append(piece)
        length += len(piece)
        if length > limit:
            return chain(pieces, parts)
    return b"".join(pieces)


async def awhole(response: Any, limit: int) -> bytes | Any:
    """:func:`whole` without blocking an event loop."""
    if not response.is_async:
        return await sync_to_async(whole, thread_sensitive=True)(response, limit)
    parts = response.streaming_content
    pieces: list[bytes] = []
    length = 0
    async for piece in parts:
        pieces.append(piece)
        length += len(piece)
        if length > limit:
            return _achain(pieces, parts)
    return b"".join(pieces)


async def _achain(pieces: list[bytes], parts: Any) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    async for piece in parts:
        yield piece


def watched(engine: Engine, response: Any) -> Any:
    """Streamed content of an answer to a write: what it invalidates is forgotten again at its end.

    ``engine``: that on the event loop for asynchronous content, else that without one.
    """
    exchange = Exchange(engine.realm)
    # The head will have left when any of this runs.
    exchange.promised = 0.0
    if (before := current(engine.realm)) is not None:
        exchange.owe(before.owed)
    parts = response.streaming_content
    if response.is_async:
        return _awatched(engine, parts, exchange)
    return _watched(engine, parts, exchange)


def _watched(engine: Engine, parts: Any, exchange: Exchange) -> Iterator[bytes]:
    iterator = iter(parts)
    try:
        while True:
            with handling(exchange):
                piece = next(iterator, None)
            if piece is None:
                return
            if exchange.unsettled:
                step(engine.settle(exchange))
            yield piece
    finally:
        step(engine.settle(exchange))
        exchange.end()


async def _awatched(engine: Engine, parts: Any, exchange: Exchange) -> AsyncIterator[bytes]:
    iterator = aiter(parts)
    try:
        while True:
            with handling(exchange):
                piece = await anext(iterator, None)
            if piece is None:
                return
            if exchange.unsettled:
                await engine.settle(exchange)
            yield piece
    finally:
        await engine.settle(exchange)
        exchange.end()
