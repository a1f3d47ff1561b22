"""Sending pages, and reading what an application passed to ``start_response``."""

from __future__ import annotations

from collections.abc import Iterable

from .. import status
from ..law.validation import not_modified
from ..messages import Fields, Request, ResponseHead, StoredResponse
from ..verdicts import Hit, Stale
from .types import StartResponse


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
    """Send a stored page, its 304 or its HEAD form."""
    if not_modified(request.fields, page):
        start_response("304 Not Modified", [*page.not_modified_fields, *more])
        return []
    start_response(page.status_line, [*page.fields, *more])
    return [] if request.method == "HEAD" else [page.body]


def read_head(status_line: str, headers: Iterable[tuple[str, str]]) -> ResponseHead:
    """The head of a response; a status that is none is 0."""
    code, _, reason = status_line.partition(" ")
    return ResponseHead(int(code) if code.isdigit() else 0, tuple(headers), reason)
