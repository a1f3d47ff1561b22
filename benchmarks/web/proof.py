"""Whether a subject does what its row says: the page is whole, and comes without the application.

Asked with the same header lines as the client's, over connections of its own.
"""

from __future__ import annotations

import http.client
from typing import Final

from ..floors import BROWSER
from .pages import CALLS_PATH

PATH: Final = "/items/7"
#: Requests before the one that has to be a hit: one fills, and a store behind a queue of its own
#: (a near store, a writer in a thread, several workers) may need some more.
FILLS: Final = 8
#: Share of a run's requests that may be no hits, because a store was late; as in ``stores``.
MAX_STRAYS: Final = 0.01
_TIMEOUT: Final = 10.0

Headers = list[tuple[str, str]]


class NoHitError(RuntimeError):
    """A subject answers something else than the page, or answers it by running the application."""


def get(port: int, path: str) -> tuple[int, Headers, bytes]:
    """Status, header lines and body of what stands there. Raises ``NoHitError`` for no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    try:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in BROWSER:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        lines = [(name.lower(), value) for name, value in response.getheaders()]
        return response.status, lines, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoHitError(f"{path} is not answered: {error!r}") from error
    finally:
        connection.close()


def page(port: int, size: int) -> Headers:
    """The header lines of the page. Raises ``NoHitError`` unless it is the page, and whole."""
    status, lines, body = get(port, PATH)
    if (status, len(body)) != (200, size):
        raise NoHitError(f"{PATH} is answered with {status} and {len(body)} bytes, not {size}")
    return lines


def calls(port: int) -> int:
    """How often the application was run so far."""
    status, _, body = get(port, CALLS_PATH)
    if status != 200 or not body.strip().isdigit():
        raise NoHitError(f"{CALLS_PATH} is answered with {status} and {body[:40]!r}")
    return int(body)


def hit(port: int, size: int) -> Headers:
    """The header lines of a hit. Raises ``NoHitError`` where the application had to run for it."""
    for _ in range(FILLS):
        page(port, size)
    before = calls(port)
    lines = page(port, size)
    if not before or (ran := calls(port) - before):
        counted = f"the application ran {ran} times more" if before else "it never ran"
        raise NoHitError(f"{PATH} is no hit after {FILLS} requests: {counted}")
    return lines


def stayed(before: int, after: int, requests: int) -> None:
    """Raise ``NoHitError`` where a run had too many requests for which the application ran."""
    if after - before > requests * MAX_STRAYS:
        raise NoHitError(f"{after - before} of {requests} measured requests were no hits")
