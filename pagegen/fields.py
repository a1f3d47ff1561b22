"""Parsers for header field values. They never raise: what cannot be read is None or left out.

Section numbers are RFC 9110's unless another is named.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import http_sf

from .units import MAX_SECONDS

# nginx and Apache refuse header lines over 8 kB; a longer value is nobody's honest header.
MAX_VALUE: Final = 8192

#: Servers refuse header sections of 16 to 64 kB; cookies are read up to this many characters.
MAX_COOKIES: Final = 2 * MAX_VALUE

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DIRECTIVE: Final = re.compile(
    r"""\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)          # name
        (?:=(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*)))?  # value: quoted or plain
        \s*(?:[,;]|$)                             # a semicolon is a common slip for a comma
    """,
    re.VERBOSE,
)
_CLOSING: Final = re.compile(r"no-store|no-cache|private|must-revalidate|proxy-revalidate|s-maxage")
_SEPARATOR: Final = re.compile(r"[,;]")
_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_DIGITS: Final = re.compile(r"[0-9]+")
_RANGE: Final = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)")


def tokens(value: str | None) -> tuple[str, ...]:
    """Members of a comma-separated list of tokens, in lower case (``Vary``, ``Connection``)."""
    if not value:
        return ()
    return tuple(part for raw in value.split(",") if (part := raw.strip(" \t").lower()))


def directives(value: str | None) -> dict[str, str | None]:
    """Directives of a ``Cache-Control`` value: name in lower case to argument (RFC 9111 §5.2).

    Of a repeated directive the first one counts (RFC 9111 §4.2.1). What cannot be read is passed
    over up to the next separator, so that rubbish never hides a ``no-store`` that follows it; a
    value too long to be read to its end counts as one.
    """
    found: dict[str, str | None] = {}
    if not value:
        return found
    if len(value) > MAX_VALUE:
        found["no-store"] = None
    position, end = 0, min(len(value), MAX_VALUE)
    while position < end:
        match = _DIRECTIVE.match(value, position, end)
        if match is None:
            separator = _SEPARATOR.search(value, position, end)
            stop = end if separator is None else separator.start()
            # A forgotten comma must not open what the application wanted closed.
            for name in _CLOSING.findall(value[position:stop].lower()):
                found.setdefault(name, None)
            position = stop + 1
            continue
        argument = match[2] if match[2] is not None else match[3]
        found.setdefault(match[1].lower(), argument)
        position = match.end()
    return found


def delta_seconds(text: str | None) -> int | None:
    """A non-negative number of seconds (RFC 9111 §1.2.2); what overflows is 2^31."""
    if text is None or not _DIGITS.fullmatch(text := text.strip(" \t")):
        return None
    return MAX_SECONDS if len(text) > 10 else min(int(text), MAX_SECONDS)


def http_date(text: str | None) -> float | None:
    """Seconds since the epoch of an HTTP-date in any of its three forms (§5.6.7)."""
    if not text or len(text) > 64:
        return None
    try:
        parts = email.utils.parsedate_tz(text)
        if parts is None or not 1 <= parts[0] <= 9999:
            return None
        year, month, day, hour, minute, second = parts[:6]
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.timestamp() - (parts[9] or 0)


def format_http_date(seconds: float) -> str:
    """An IMF-fixdate (§5.6.7)."""
    return email.utils.formatdate(seconds, usegmt=True)


@dataclass(frozen=True, slots=True)
class EntityTag:
    """An entity tag (§8.8.3); ``opaque`` is without its quotes."""

    opaque: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.opaque}"'


def entity_tag(text: str | None) -> EntityTag | None:
    """One entity tag, None when it is malformed."""
    match = _ENTITY_TAG.fullmatch(text.strip(" \t")) if text else None
    return EntityTag(match[2], bool(match[1])) if match else None


def entity_tags(value: str) -> tuple[EntityTag, ...]:
    """The entity tags of ``If-None-Match`` or ``If-Match``; malformed members are left out."""
    return tuple(EntityTag(m[2], bool(m[1])) for m in _ENTITY_TAG.finditer(value[:MAX_VALUE]))


def byte_ranges(value: str) -> tuple[tuple[int | None, int | None], ...] | None:
    """First and last position of each range in bytes (§14.1.1, §14.1.2), in order.

    A last one of None is the end; with a first one of None, the other is the length of a suffix.
    None is a value in another unit, one too long to be read, and one with any member that is
    malformed: the whole of it is then invalid. Numbers over 10^18 are that.
    """
    unit, separator, members = value.strip(" \t").partition("=")
    if not separator or unit.lower() != "bytes" or len(value) > MAX_VALUE:
        return None
    found = []
    for raw in members.split(","):
        if not (part := raw.strip(" \t")):
            continue
        if (match := _RANGE.fullmatch(part)) is None:
            return None
        first, last = _position(match[1]), _position(match[2] or match[3])
        if first is not None and last is not None and last < first:
            return None
        found.append((first, last))
    return tuple(found) or None


def _position(digits: str | None) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip("0")
    return 10**18 if len(digits) > 18 else int(digits or "0")


def content_length(values: Iterable[str]) -> int | None:
    """The length that all ``Content-Length`` lines agree on (§8.6).

    None when there is no line; -1 when they are malformed or contradict each other.
    """
    members = {part.strip(" \t") for value in values for part in value.split(",")}
    if not members:
        return None
    text = members.pop()
    if members or len(text) > 18 or not _DIGITS.fullmatch(text):
        return -1
    return int(text)


def cookies(value: str | None) -> tuple[tuple[str, str], ...]:
    """Name and raw value of each cookie pair, in order, duplicates kept (RFC 6265 §4.2.1)."""
    if not value:
        return ()
    pairs = []
    for part in value[:MAX_COOKIES].split(";"):
        name, separator, text = part.strip(" \t").partition("=")
        if separator and name:
            pairs.append((name, text))
    return tuple(pairs)


def strings(value: str | None) -> tuple[str, ...]:
    """The strings of a structured-field list (RFC 9651 §3.1), parameters and other items left out.

    A list that does not parse is empty, as RFC 9651 §4.2 asks.
    """
    if not value:
        return ()
    try:
        members = http_sf.parse(value.encode("latin-1"), tltype="list")
    except (ValueError, RecursionError):
        return ()
    found = []
    for member in members if isinstance(members, list) else ():
        item = member[0] if isinstance(member, tuple) else None
        # http_sf.Token is no str, so a bare token is no string here.
        if isinstance(item, str):
            found.append(item)
    return tuple(found)
