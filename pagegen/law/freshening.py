"""Validating a stored response with the application (RFC 9111 §4.3), and what it learns (§3.2).

1. Only the application's own validators are sent to it (§4.3.1). It knows nothing of ours.
2. A 304 is about a 200 (RFC 9110 §15.4.5): no page of another status is validated.
3. A 304 updates the page unless its validators speak of another one (§4.3.4).
4. All of its fields replace the stored ones, but those that belong to one message, and those that
   the stored bytes depend upon (§3.2).
"""

from __future__ import annotations

import re
from typing import Final

from ..fields import content_length, entity_tag, http_date, tokens
from ..messages import Fields, ResponseHead, StoredResponse
from .said import OWN
from .storing import HOP_BY_HOP

#: A misspelled entity tag that may go back as it came, as browsers send it: one visible word. A
#: list could match what was never stored, and ``*`` matches everything.
_WORD: Final = re.compile(r"(?!\*$)[\x21\x23-\x2b\x2d-\x7e]+")

#: Fields that stay as they are stored (§3.2). Lengths and digests speak of the bytes of their own
#: message, Content-Range is processed on arrival, and by their coding the stored bytes are read:
#: a 304 has none to be coded.
_OF_STORED_BYTES: Final = frozenset(
    ("content-length", "content-encoding", "content-range", "content-digest", "content-md5")
)


def conditions(page: StoredResponse) -> Fields:
    """The precondition fields of a request that validates this page (§4.3.1), none if it cannot.

    Values go out as they came, so that an application which compares texts finds its own.
    """
    if page.status != 200:
        return ()
    found = []
    if (tag := _sole(page, "etag")) and (entity_tag(tag) or _WORD.fullmatch(tag)):
        found.append(("if-none-match", tag))
    if (modified := _sole(page, "last-modified")) and http_date(modified) is not None:
        found.append(("if-modified-since", modified))
    return tuple(found)


def _sole(page: StoredResponse, wanted: str) -> str | None:
    """The application's one line of a field, None when it sent none or several."""
    lines = [value for name, value in page.from_application() if name.lower() == wanted]
    return lines[0].strip(" \t") if len(lines) == 1 else None


def selects(page: StoredResponse, head: ResponseHead) -> bool:
    """Whether a 304 to this page's own :func:`conditions` is about this page (§4.3.4).

    One without validators is: it answers a request that named no other page. (§4.3.4 wants the page
    to have none either, since its cache may not know which of many was meant.)
    """
    if page.status != 200:
        return False
    new, stored = _said(head, "etag"), _sole(page, "etag")
    if new is not None and (stored is not None or _is_strong(new)):
        return _same_tag(stored, new)
    modified, known = _said(head, "last-modified"), _sole(page, "last-modified")
    if modified is not None and known is not None:
        return _same_date(known, modified)
    return new is None and modified is None


def _said(head: ResponseHead, name: str) -> str | None:
    value = head.get(name)
    return None if value is None else value.strip(" \t")


def _is_strong(text: str) -> bool:
    tag = entity_tag(text)
    return tag is not None and not tag.weak


def _same_tag(stored: str | None, new: str) -> bool:
    """By strong comparison where the new tag is strong, else by weak (RFC 9110 §8.8.3.2).

    Misspelled ones are compared as text.
    """
    if stored is None:
        return False
    ours, theirs = entity_tag(stored), entity_tag(new)
    if ours is None or theirs is None:
        return stored == new
    return ours.opaque == theirs.opaque and (theirs.weak or not ours.weak)


def _same_date(stored: str, new: str) -> bool:
    moment = http_date(stored)
    return stored == new or (moment is not None and moment == http_date(new))


def updated(page: StoredResponse, head: ResponseHead) -> ResponseHead:
    """The stored head after a 304, or the 200 to a HEAD, that is about it (§3.2).

    All lines of a name give way to all new ones, at the place of the first; new names come last.
    ``Date`` and ``Age`` are the new response's alone: the page is as old as its validation (§4.2).
    """
    new = _updates(head)
    fields: list[tuple[str, str]] = []
    for pair in page.from_application():
        name = pair[0].lower()
        if name not in new:
            fields.append(pair)
        else:
            fields += new[name]
            new[name] = []
    if page.control and OWN not in new:
        fields.append((OWN, page.control))
    fields += [pair for group in new.values() for pair in group]
    return ResponseHead(page.status, tuple(fields), page.status_line[4:])


def _updates(head: ResponseHead) -> dict[str, list[tuple[str, str]]]:
    """The fields that update a page, by name in lower case."""
    omitted = _OF_STORED_BYTES | HOP_BY_HOP | frozenset(tokens(head.get("connection")))
    found: dict[str, list[tuple[str, str]]] = {}
    for pair in head.fields:
        if (name := pair[0].lower()) not in omitted:
            found.setdefault(name, []).append(pair)
    return found


def names_page(head: ResponseHead) -> bool:
    """Whether a response says by a validator of which page it is (§4.3.5).

    Without one, equal lengths are no sign that nothing has changed.
    """
    return head.has("etag") or head.has("last-modified")


def head_agrees(page: StoredResponse, head: ResponseHead) -> bool:
    """Whether the 200 to a HEAD is about this page (§4.3.5), which it then updates.

    If not, the page is to be taken as stale. Ask only for a 200: other answers tell nothing of it.
    """
    if page.status != 200 or head.status != 200:
        return False
    new, modified = _said(head, "etag"), _said(head, "last-modified")
    if new is not None and new != _sole(page, "etag"):
        return False
    known = _sole(page, "last-modified")
    if modified is not None and (known is None or not _same_date(known, modified)):
        return False
    return content_length(head.lines("content-length")) in (None, len(page.body))
