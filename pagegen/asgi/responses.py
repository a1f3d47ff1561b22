"""Sending pages, and reading the head of what an application sends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ..law.codings import selected
from ..law.downstream import NO_CACHE, VARIES, navigates, not_cached
from ..law.ranges import partial
from ..law.storing import ENDING_HERE, end_to_end
from ..law.validation import CONDITIONS, failed, precondition
from ..messages import Request, ResponseHead, StoredResponse, WireFields, wire_form
from ..sources import mint
from ..status import appended_wire
from ..verdicts import Hit, Stale
from .requests import ScopeFields
from .types import Message, Send

_VARIES: Final = wire_form(VARIES)
_NO_CACHE: Final = wire_form(NO_CACHE)[0]
#: Names of the request fields that make a response something else than the page.
CONDITION_NAMES: Final = frozenset(name.encode("ascii") for name in CONDITIONS)
_ENDING_HERE: Final = frozenset(name.encode("ascii") for name in ENDING_HERE)

#: Bytes of a page that a server is given at one time. It keeps what its client does not read, and
#: says by its ``send`` when that is too much: a page in one piece would stand there whole, once for
#: each slow reader. (uvicorn waits above 64 KiB; Starlette sends files by 64 KiB.)
PIECE: Final = 131_072

# Messages that say nothing of the page and may stand before or beside it.
BESIDE: Final = frozenset(("http.response.debug", "http.response.push", "http.response.early_hint"))


async def send_hit(
    send: Send, request: Request, hit: Hit | Stale, member: str | None, *, dated: bool
) -> None:
    """Send a page from the cache with its ``Age``, on demand with its ``Date``, and what the cache
    did (a member of ``Cache-Status``).
    """
    more: WireFields = ((b"age", b"%d" % hit.age),)
    if dated:
        more += ((b"date", hit.page.date.encode("latin-1")),)
    if member is not None:
        more = appended_wire(more, member)
    await send_page(send, request, hit.page, more)


def server_dates(send: Send) -> bool:
    """Whether the server behind ``send`` adds a ``Date`` of its own to whatever is sent.

    uvicorn, Hypercorn and others do. Of uvicorn it can be seen whether it was told not to.
    """
    fields = getattr(getattr(send, "__self__", None), "default_headers", None)
    if fields is None:
        return True
    return any(bytes(name).lower() == b"date" for name, _ in fields)


async def send_page(
    send: Send, request: Request, page: StoredResponse, more: WireFields = ()
) -> None:
    """Send a stored page, its HEAD form, a part of it, or what a condition makes of it."""
    if navigates(request.fields) and _hedged(page):
        more += _VARIES
    if page.codings:
        page = selected(request.fields, page)
    code, fields, body = page.status, page.wire_fields, page.body
    asked = request.fields
    # One look for all five: nearly every request has none of them.
    if not (isinstance(asked, ScopeFields) and CONDITION_NAMES.isdisjoint(asked.wire)):
        condition = precondition(asked, page)
        if condition == 304:
            code, fields, body = 304, page.not_modified_wire_fields, b""
        else:
            other = failed(page) if condition == 412 else partial(request, page, mint)
            if other is not None:
                code, fields, body = other.status, wire_form(other.fields), other.body
    if request.method == "HEAD":
        body = b""
    await send({"type": "http.response.start", "status": code, "headers": [*fields, *more]})
    if len(body) <= PIECE:
        await send({"type": "http.response.body", "body": body})
    else:
        await send_pieces(send, body)


def plain_start(
    page: StoredResponse, wire: Mapping[bytes, bytes], now: float, dated: bool
) -> Message:
    """The start message of the page itself, for a request whose fields are ``wire``: neither
    conditions nor codings make anything else of it. ``now`` in seconds since the epoch.
    """
    age = int(page.initial_age + now - page.stored_at)
    try:
        noted, was_dated, opened, loaded = page.sent_wire
    except AttributeError:
        noted, was_dated = age - 1, dated
    if noted != age or was_dated is not dated:
        _, _, opened, loaded = page.sent_wire = _at_age(page, age, dated)  # type: ignore[misc]
    headers = opened if wire.get(b"sec-fetch-mode") == b"navigate" else loaded
    return {"type": "http.response.start", "status": page.status, "headers": headers.copy()}


def _hedged(page: StoredResponse) -> bool:
    """Whether the ``no-cache`` of a stored page is ours, and not the application's."""
    return _NO_CACHE in page.wire_fields[page.own_fields :]


def _at_age(
    page: StoredResponse, age: int, dated: bool
) -> tuple[int, bool, list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """What is sent of a page at this age; see ``StoredResponse.sent_wire``."""
    loaded = [*page.wire_fields, (b"age", b"%d" % max(0, age))]
    if dated:
        loaded.append((b"date", page.date.encode("latin-1")))
    return age, dated, [*loaded, *(_VARIES if _hedged(page) else ())], loaded


async def send_pieces(send: Send, body: bytes) -> None:
    """Send a long body by the piece."""
    for start in range(0, len(body), PIECE):
        piece, more_body = body[start : start + PIECE], start + PIECE < len(body)
        await send({"type": "http.response.body", "body": piece, "more_body": more_body})


async def send_not_cached(send: Send, request: Request) -> None:
    """The 504 for a request that wants nothing but what is cached (RFC 9111 §5.2.1.7)."""
    answer = not_cached()
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": list(wire_form(answer.fields)),
        }
    )
    body = b"" if request.method == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body})


def passing(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The header lines of a response that passes by: those that are for its client."""
    lines = list(headers)
    if _ENDING_HERE.isdisjoint([bytes(name).lower() for name, _ in lines]):
        return lines
    fields = ((bytes(n).decode("latin-1"), bytes(v).decode("latin-1")) for n, v in lines)
    return list(wire_form(end_to_end(tuple(fields))))


def read_head(message: Message) -> ResponseHead:
    """The head in a start message."""
    lines = tuple(
        (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
        for name, value in message.get("headers", ())
    )
    return ResponseHead(message["status"], lines)
