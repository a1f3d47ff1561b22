"""Sending pages, and reading the head of what an application sends."""

from __future__ import annotations

from typing import Final

from .. import status
from ..law.validation import not_modified
from ..messages import Request, ResponseHead, StoredResponse, WireFields
from ..verdicts import Hit, Stale
from .types import Message, Send

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
    """Send a stored page, its 304 or its HEAD form, with ``more`` fields."""
    if not_modified(request.fields, page):
        code, fields, body = 304, page.not_modified_wire_fields, b""
    else:
        code, fields = page.status, page.wire_fields
        body = b"" if request.method == "HEAD" else page.body
    await send({"type": "http.response.start", "status": code, "headers": [*fields, *more]})
    await send({"type": "http.response.body", "body": body})


def read_head(message: Message) -> ResponseHead:
    """The head in a start message."""
    lines = tuple(
        (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
        for name, value in message.get("headers", ())
    )
    return ResponseHead(message["status"], lines)
