"""Sending pages, and reading the head of what an application sends."""

from __future__ import annotations

from typing import Final

from .. import status
from ..law.ranges import partial
from ..law.validation import CONDITIONS, failed, precondition
from ..messages import Request, ResponseHead, StoredResponse, WireFields, wire_form
from ..sources import mint
from ..verdicts import Hit, Stale
from .requests import ScopeFields
from .types import Message, Send

_CONDITIONS: Final = frozenset(name.encode("ascii") for name in CONDITIONS)

# Messages that say nothing of the page and may stand before or beside it.
BESIDE: Final = frozenset(("http.response.debug", "http.response.push", "http.response.early_hint"))


async def send_hit(send: Send, request: Request, hit: Hit | Stale, *, tell: bool) -> None:
    """Send a page from the cache with its ``Age``, and on demand what the cache did."""
    more: WireFields = ((b"age", b"%d" % hit.age),)
    if tell:
        more += ((b"cache-status", status.of_hit(hit).encode("ascii")),)
    await send_page(send, request, hit.page, more)


async def send_page(
    send: Send, request: Request, page: StoredResponse, more: WireFields = ()
) -> None:
    """Send a stored page, its HEAD form, a part of it, or what a condition makes of it."""
    code, fields, body = page.status, page.wire_fields, page.body
    asked = request.fields
    # One look for all five: nearly every request has none of them.
    if not (isinstance(asked, ScopeFields) and asked.lacks(_CONDITIONS)):
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
    await send({"type": "http.response.body", "body": body})


def read_head(message: Message) -> ResponseHead:
    """The head in a start message."""
    lines = tuple(
        (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
        for name, value in message.get("headers", ())
    )
    return ResponseHead(message["status"], lines)
