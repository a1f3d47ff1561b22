"""Sending pages, and reading what an application passed to ``start_response``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..law.codings import selected
from ..law.downstream import NO_CACHE, VARIES, navigates, not_cached
from ..law.ranges import partial
from ..law.validation import CONDITIONS, failed, precondition
from ..messages import Fields, Request, ResponseHead, StoredResponse
from ..sources import mint
from ..status import appended
from ..verdicts import Hit, Stale
from .types import Environ, StartResponse

#: Environ keys of the request fields that make a response something else than the page.
CONDITION_KEYS: Final = frozenset(f"HTTP_{name.upper().replace('-', '_')}" for name in CONDITIONS)


def send_hit(
    start_response: StartResponse,
    request: Request,
    hit: Hit | Stale,
    member: str | None,
    *,
    dated: bool,
) -> list[bytes]:
    """Send a page from the cache with its ``Age``, on demand with its ``Date``, and what the cache
    did (a member of ``Cache-Status``).
    """
    more: Fields = (("Age", str(hit.age)),)
    if dated:
        more += (("Date", hit.page.date),)
    if member is not None:
        more = appended(more, member)
    return send_page(start_response, request, hit.page, more)


def server_dates(environ: Environ) -> bool:
    """Whether the server adds a ``Date`` of its own to whatever is sent."""
    return str(environ.get("SERVER_SOFTWARE", "")).startswith(("gunicorn", "Werkzeug"))


def send_page(
    start_response: StartResponse, request: Request, page: StoredResponse, more: Fields = ()
) -> list[bytes]:
    """Send a stored page, its HEAD form, a part of it, or what a condition makes of it."""
    if navigates(request.fields) and _hedged(page):
        more += VARIES
    if page.codings:
        page = selected(request.fields, page)
    # One look for all five: nearly every request has none of them.
    if not request.context.keys().isdisjoint(CONDITION_KEYS):
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


def send_plain(
    start_response: StartResponse,
    environ: Environ,
    page: StoredResponse,
    now: float,
    dated: bool,
) -> list[bytes]:
    """Send the page itself: neither conditions nor codings make anything else of it. ``now`` in
    seconds since the epoch.
    """
    age = int(page.initial_age + now - page.stored_at)
    try:
        noted, was_dated, opened, loaded = page.sent
    except AttributeError:
        noted, was_dated = age - 1, dated
    if noted != age or was_dated is not dated:
        _, _, opened, loaded = page.sent = _at_age(page, age, dated)  # type: ignore[misc]
    fields = opened if environ.get("HTTP_SEC_FETCH_MODE") == "navigate" else loaded
    start_response(page.status_line, fields.copy())
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [page.body]


def _hedged(page: StoredResponse) -> bool:
    """Whether the ``no-cache`` of a stored page is ours, and not the application's."""
    return NO_CACHE[0] in page.fields[page.own_fields :]


def _at_age(
    page: StoredResponse, age: int, dated: bool
) -> tuple[int, bool, list[tuple[str, str]], list[tuple[str, str]]]:
    """What is sent of a page at this age; see ``StoredResponse.sent``."""
    loaded = [*page.fields, ("Age", str(max(0, age)))]
    if dated:
        loaded.append(("Date", page.date))
    return age, dated, [*loaded, *(VARIES if _hedged(page) else ())], loaded


def send_not_cached(start_response: StartResponse, request: Request) -> list[bytes]:
    """The 504 for a request that wants nothing but what is cached (RFC 9111 §5.2.1.7)."""
    answer = not_cached()
    start_response(f"{answer.status} {answer.reason}", list(answer.fields))
    return [] if request.method == "HEAD" else [answer.body]


def read_head(status_line: str, headers: Iterable[tuple[str, str]]) -> ResponseHead:
    """The head of a response; a status that is none is 0."""
    code, _, reason = status_line.partition(" ")
    sure = len(code) == 3 and code.isascii() and code.isdigit()
    return ResponseHead(int(code) if sure else 0, tuple(headers), reason)
