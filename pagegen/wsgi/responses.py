"""Sending pages, and reading what an application passed to ``start_response``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .. import status
from ..law.ranges import partial
from ..law.validation import CONDITIONS, failed, precondition
from ..messages import Fields, Request, ResponseHead, StoredResponse
from ..sources import mint
from ..verdicts import Hit, Stale
from .types import StartResponse

_CONDITIONS: Final = frozenset(f"HTTP_{name.upper().replace('-', '_')}" for name in CONDITIONS)


def send_hit(
    start_response: StartResponse, request: Request, hit: Hit | Stale, *, tell: bool
) -> list[bytes]:
    """Send a page from the cache with its ``Age``, and on demand what the cache did."""
    more: Fields = (("Age", str(hit.age)),)
    if tell:
        more += (("Cache-Status", status.of_hit(hit)),)
    return send_page(start_response, request, hit.page, more)


def send_page(
    start_response: StartResponse, request: Request, page: StoredResponse, more: Fields = ()
) -> list[bytes]:
    """Send a stored page, its HEAD form, a part of it, or what a condition makes of it."""
    # One look for all five: nearly every request has none of them.
    if not request.context.keys().isdisjoint(_CONDITIONS):
        code = precondition(request.fields, page)
        if code == 304:
            start_response("304 Not Modified", [*page.not_modified_fields, *more])
            return []
        other = failed(page) if code == 412 else partial(request, page, mint)
        if other is not None:
            start_response(f"{other.status} {other.reason}", [*other.fields, *more])
            return [] if request.method == "HEAD" else [other.body]
    start_response(page.status_line, [*page.fields, *more])
    return [] if request.method == "HEAD" else [page.body]


def read_head(status_line: str, headers: Iterable[tuple[str, str]]) -> ResponseHead:
    """The head of a response; a status that is none is 0."""
    code, _, reason = status_line.partition(" ")
    return ResponseHead(int(code) if code.isdigit() else 0, tuple(headers), reason)
