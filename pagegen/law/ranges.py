"""Parts of a stored page (RFC 9110 §14).

1. Only a GET of a page with status 200 has parts; ``Range`` of any other unit, and what cannot be
   read, is ignored (§14.2): the client gets the whole page.
2. So it does when it asks for too many ranges, for more bytes than the page has, or when the parts
   with their headers would be longer than the page (§14.2 lets a server ignore such). No part is
   sent of a page whose own ``Accept-Ranges`` does not allow it.
3. Ranges that overlap or touch are one part. Parts are sent in the order in which they were asked
   for, a joined one at the place of its earliest (§15.3.7.2).
4. One part left is a plain 206, more are ``multipart/byteranges``, none is a 416.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Final

from ..fields import MAX_VALUE, byte_ranges, tokens
from ..messages import Fields, Request, StoredResponse
from .validation import Answer, error, may_be_ranged

#: Ranges in one request. Apache takes 200 and Starlette 100; readers of documents and video ask
#: for a handful.
MAX_RANGES: Final = 16

#: First byte, and the byte behind the last.
Span = tuple[int, int]

#: Fields that speak of the bytes of one message, not of the page (RFC 9530 §2, RFC 2616 §14.15).
_OF_ALL_BYTES: Final = frozenset(("content-length", "content-digest", "content-md5"))


def spans(value: str, length: int) -> tuple[Span, ...] | None:
    """The parts to send of ``length`` bytes; empty when no range is satisfiable (§14.1.2).

    None: ``Range`` is ignored. So it is for an empty page, of which no range can be spelled.
    """
    asked = None if is_unread(value) else byte_ranges(value)
    if asked is None or not length:
        return None
    found = [span for first, last in asked if (span := _span(first, last, length))]
    if sum(stop - start for start, stop in found) > length:
        return None
    return _joined(found)


def is_unread(value: str | None) -> bool:
    """Whether a ``Range`` is too long, or has too many members, for any part to be sent."""
    if value is None or len(value) > MAX_VALUE:
        return value is not None
    # Empty members are none (RFC 9110 §5.6.1). Counted first: so long a list is not worth a parse.
    members = value.split(",") if value.count(",") >= MAX_RANGES else ()
    return sum(map(bool, map(str.strip, members))) > MAX_RANGES


def _span(first: int | None, last: int | None, length: int) -> Span | None:
    """One range of a page of this length, None when it has no byte of it."""
    if first is None:
        return (max(0, length - last), length) if last else None
    if first >= length:
        return None
    return first, length if last is None else min(last + 1, length)


def _joined(found: Sequence[Span]) -> tuple[Span, ...]:
    """Spans without overlap, in the order of the earliest in each."""
    parts: list[tuple[int, int, int]] = []
    for start, stop, place in sorted((*span, place) for place, span in enumerate(found)):
        if parts and start <= parts[-1][1]:
            first, end, earliest = parts.pop()
            start, stop, place = first, max(end, stop), min(earliest, place)
        parts.append((start, stop, place))
    return tuple((start, stop) for start, stop, _ in sorted(parts, key=itemgetter(2)))


def partial(request: Request, page: StoredResponse, mint: Callable[[], bytes]) -> Answer | None:
    """The 206 or 416 that a request gets of this page, None when it gets the page itself.

    ``mint`` draws random bytes: 128 bits that were not there when the page was made cannot be in
    it, so they are a boundary.
    """
    value = request.fields.get("range")
    if value is None or request.method != "GET" or page.status != 200 or not _allowed(page):
        return None
    if not may_be_ranged(request.fields, page):
        return None
    parts = spans(value, len(page.body))
    if parts is None:
        return None
    if not parts:
        size = (("Content-Range", f"bytes */{len(page.body)}"),)
        return error(page, 416, "Range Not Satisfiable", size)
    return _one(page, parts[0]) if len(parts) == 1 else _several(page, parts, mint().hex())


def _allowed(page: StoredResponse) -> bool:
    """Whether the application leaves ranges to us: it did not say ``Accept-Ranges: none``."""
    said = [value for name, value in page.fields if name.lower() == "accept-ranges"]
    return not said or "bytes" in tokens(",".join(said))


def _one(page: StoredResponse, span: Span) -> Answer:
    start, stop = span
    body = page.body[start:stop]
    told = (("Content-Range", _content_range(span, page)), ("Content-Length", str(len(body))))
    return _answer((*_without(page, _OF_ALL_BYTES), *told), body)


def _several(page: StoredResponse, parts: Sequence[Span], boundary: str) -> Answer | None:
    """A ``multipart/byteranges`` (§14.6), None where the whole page is shorter or clearer."""
    names = {name.lower(): value for name, value in page.fields}
    if "content-encoding" in names:
        # It would seem to be the coding of the multipart, which no client could then read.
        return None
    kind = f"Content-Type: {names['content-type']}\r\n" if "content-type" in names else ""
    pieces: list[bytes] = []
    for start, stop in parts:
        opening = f"--{boundary}\r\n{kind}Content-Range: {_content_range((start, stop), page)}"
        pieces += (f"{opening}\r\n\r\n".encode("latin-1"), page.body[start:stop], b"\r\n")
    body = b"".join((*pieces, f"--{boundary}--\r\n".encode("ascii")))
    if len(body) > len(page.body):
        return None
    told = (
        ("Content-Type", f"multipart/byteranges; boundary={boundary}"),
        ("Content-Length", str(len(body))),
    )
    return _answer((*_without(page, _OF_ALL_BYTES | {"content-type"}), *told), body)


def _answer(fields: Fields, body: bytes) -> Answer:
    return Answer(206, "Partial Content", fields, body)


def _content_range(span: Span, page: StoredResponse) -> str:
    return f"bytes {span[0]}-{span[1] - 1}/{len(page.body)}"


def _without(page: StoredResponse, names: frozenset[str]) -> Fields:
    """All fields of the page but these (§15.3.7), also after ``If-Range``.

    There §15.3.7 would rather have them left out, to save their bytes. A part without its type is
    guessed at, or refused under ``nosniff``; Starlette and nginx send them too.
    """
    return tuple(pair for pair in page.fields if pair[0].lower() not in names)
