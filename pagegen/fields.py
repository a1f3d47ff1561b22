"""Parsers for header field values. They never raise: what cannot be read is None or left out.

Section numbers are RFC 9110's unless another is named. Rules for what is seen in the wild:

1. What can have one meaning only is read, though no grammar allows it (a date's extra spaces).
2. What could mean two things is not read, and nothing in it may make a response fresher or open
   what the application wanted closed.
3. The work grows with the length of a value, never with its square: where a repetition holds
   another, no text has two readings, or nothing behind it can fail and send it back.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import http_sf

from .units import MAX_SECONDS

# nginx and Apache refuse header lines over 8 kB; a longer value is nobody's honest header.
MAX_VALUE: Final = 8192

#: Servers refuse header sections of 16 to 64 kB; cookies are read up to this many characters.
MAX_COOKIES: Final = 2 * MAX_VALUE

#: An HTTP-date has 29 characters, that of the longest weekday 33; twice that leaves room for
#: spaces.
MAX_DATE: Final = 64

#: Years of two digits from here on are of the last century. What they would mean in this one is
#: over fifty years ahead of 2020 and of any clock before (§5.6.7), and "01-Jan-70" means the past.
CENTURY: Final = 70

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: One member of a list, separators inside of quotes its own; a quote that nobody closes takes all
#: that is left. A semicolon is a common slip for a comma.
_MEMBER: Final = re.compile(r'(?:[^,;"]+|"[^"\\]*(?:\\.[^"\\]*)*"?)+', re.DOTALL)
_DIRECTIVE: Final = re.compile(
    rf"""[ \t]*({TOKEN.pattern})                            # name
        (?:=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s,;"]*)))?[ \t]*  # argument: quoted or plain
    """,
    re.VERBOSE | re.DOTALL,
)
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
#: What a directive of this name closes stays closed, however it is spelled.
_CLOSING: Final = re.compile(
    r"no-store|no-cache|private|must-revalidate|proxy-revalidate|s-maxage|max-age|min-fresh",
    re.ASCII | re.IGNORECASE,
)
#: Directives that may name the fields they are about (RFC 9111 §5.2.2.4, §5.2.2.7).
_QUALIFIED: Final = frozenset(("no-cache", "private"))
#: Directives that open something, and only when they stand alone (RFC 9111 §5.2.2.3, §5.2.2.9).
_OPENING: Final = frozenset(("must-understand", "public"))
_FIRST: Final = re.compile(r"[ \t,]*([^,]*)")
_TAGS: Final = re.compile(r'(?:[^,"]+|"[^"]*"?)+')
_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_DIGITS: Final = re.compile(r"[0-9]+")
_RANGE: Final = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)")
#: A name as DNS and software have them, or an address; no user information, no empty port.
_HOST: Final = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?"
)

_MONTHS: Final = [
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
]
_WEEKDAY: Final = (
    r"(?:(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|mon|tue|wed|thu|fri|sat|sun)"
    r"(?:,[ \t]*|[ \t]+))?"
)
_DAY: Final = r"(?P<day>[0-9]{1,2})"
_MONTH: Final = rf"(?P<month>{'|'.join(_MONTHS)})"
_TIME: Final = r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}):(?P<second>[0-5][0-9]|60)"
#: IMF-fixdate and rfc850-date. Only dashes, as of the latter, allow a year of two digits.
_FIXDATE: Final = re.compile(
    rf"{_WEEKDAY}{_DAY}(?:(?P<dash>-)|[ \t]+){_MONTH}(?(dash)-|[ \t]+)"
    r"(?P<year>(?(dash)[0-9]{2}(?:[0-9]{2})?|[0-9]{4}))"
    rf"[ \t]+{_TIME}[ \t]+(?P<zone>gmt|[+-](?:[01][0-9]|2[0-3])[0-5][0-9])",
    re.ASCII | re.IGNORECASE,
)
_ASCTIME: Final = re.compile(
    rf"{_WEEKDAY}{_MONTH}[ \t]+{_DAY}[ \t]+{_TIME}"
    r"[ \t]+(?P<year>[0-9]{4})(?:[ \t]+(?P<zone>gmt))?",
    re.ASCII | re.IGNORECASE,
)


def tokens(value: str | None) -> tuple[str, ...]:
    """Members of a comma-separated list of tokens, in lower case (``Vary``, ``Connection``)."""
    if not value:
        return ()
    return tuple(part for raw in value.split(",") if (part := raw.strip(" \t").lower()))


def directives(value: str | None) -> dict[str, str | None]:
    """Directives of a ``Cache-Control`` value: name in lower case to argument (RFC 9111 §5.2).

    * Arguments are None where there is none, and the same text whether quoted or not.
    * Of a repeated directive the first one counts (RFC 9111 §4.2.1), but ``no-cache`` and
      ``private`` that name different fields, or once none, are about the whole response.
    * A member that cannot be read still closes what it names, without argument: a ``max-age``
      among them makes the response stale. It opens nothing.
    * A value over ``MAX_VALUE`` is not read to its end: it counts as ``no-store``.
    """
    found: dict[str, str | None] = {}
    if not value:
        return found
    if len(value) > MAX_VALUE:
        found["no-store"] = None
    for member in _MEMBER.finditer(value, 0, MAX_VALUE):
        match = _DIRECTIVE.fullmatch(value, member.start(), member.end())
        if match is None:
            for name in _CLOSING.findall(member[0]):
                _add(found, name.lower(), None)
        else:
            quoted = match[2]
            argument = match[3] if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
            _add(found, match[1].lower(), argument)
    return found


def _add(found: dict[str, str | None], name: str, argument: str | None) -> None:
    if found.setdefault(name, argument) != argument and name in _QUALIFIED:
        found[name] = None


def field_names(argument: str | None) -> tuple[str, ...]:
    """The fields that a qualified ``no-cache`` or ``private`` is about, in lower case.

    Empty when there is no argument or any of it is no field name: then the directive is about the
    whole response (RFC 9111 §5.2.2.4, §5.2.2.7).
    """
    names = tokens(argument)
    return names if all(map(TOKEN.fullmatch, names)) else ()


def targeted(value: str | None) -> Mapping[str, str | None] | None:
    """Directives of a targeted field (RFC 9213 §2.1), as ``directives`` gives them.

    None when it is empty or no dictionary (RFC 9651 §3.2): it is then as if it were not there. One
    over ``MAX_VALUE`` says ``no-store``; to ignore it could open what it closed. A value that has
    not the type of its directive is "", which is neither a number nor a field name; a false one
    takes its directive away.
    """
    if value and len(value) > MAX_VALUE:
        return {"no-store": None}
    members = _structured(value, "dictionary")
    if not isinstance(members, dict) or not members:
        return None
    found = {}
    for name, member in members.items():
        item = member[0] if isinstance(member, tuple) else member
        if item is True or not (item is False or name in _OPENING):
            found[name] = _argument(name, item)
    return found


def _argument(name: str, item: object) -> str | None:
    """The text of a structured item that has the type of its directive (RFC 9213 §2.1)."""
    if item is True:
        return None
    if isinstance(item, str):
        # A quoted number is a String, and a number would have been an Integer.
        return "" if delta_seconds(item) is not None else item
    return str(item) if isinstance(item, int | http_sf.Token) and name not in _QUALIFIED else ""


def delta_seconds(text: str | None) -> int | None:
    """A non-negative number of seconds (RFC 9111 §1.2.2); what overflows is 2^31."""
    if text is None or not _DIGITS.fullmatch(text := text.strip(" \t")):
        return None
    digits = text.lstrip("0")
    return MAX_SECONDS if len(digits) > 10 else min(int(digits or "0"), MAX_SECONDS)


def host(value: str | None) -> tuple[str, str] | None:
    """Name in lower case and port ("" for none) of a ``Host`` value (§7.2).

    None where there is no host, or more than one, and for all that another parser could read as
    another host: user information, slashes, blanks, what is not ASCII (§4.2.4, RFC 9112 §3.2).
    """
    match = _HOST.fullmatch(value) if value else None
    return (match[1].lower(), match[2] or "") if match else None


def age(value: str | None) -> int | None:
    """Seconds in an ``Age`` value (RFC 9111 §5.1): its first member, None if that is no number."""
    match = _FIRST.match(value or "")
    return delta_seconds(match[1]) if match else None


def http_date(text: str | None) -> float | None:
    """Seconds since the epoch of an HTTP-date in any of its three forms (§5.6.7).

    Read besides: any case (RFC 9111 §4.2), one digit for day and hour, several spaces or tabs, a
    weekday that is missing or wrong, dashes around the month before a year of four digits, the
    numeric zones of mail (RFC 5322 §3.3), and GMT behind asctime. A leap second is the second
    before it: no date may become later (RFC 9111 §4.2).

    None: a zone with any name but GMT, UTC too (RFC 9111 §4.2); no zone, but for asctime; two
    digits for a year between spaces; days and hours that do not exist; anything before or behind.
    """
    text = (text or "").strip(" \t")
    if len(text) > MAX_DATE:
        return None
    match = _FIXDATE.fullmatch(text) or _ASCTIME.fullmatch(text)
    return _moment(match) if match else None


def _moment(match: re.Match[str]) -> float | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += 1900 if year >= CENTURY else 2000
    month = _MONTHS.index(match["month"].lower()) + 1
    day, hour, minute, second = (int(match[name]) for name in ("day", "hour", "minute", "second"))
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp() - _offset(match["zone"])


def _offset(zone: str | None) -> int:
    """Seconds that clocks of this zone are ahead of UTC."""
    if not zone or zone[0] not in "+-":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[3:]) * 60
    return -seconds if zone[0] == "-" else seconds


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
    found = (entity_tag(member[0]) for member in _TAGS.finditer(value))
    return tuple(tag for tag in found if tag)


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
    """Name and raw value of each cookie pair, in order, duplicates kept (RFC 6265 §4.2.1).

    Spaces around both are no part of them: frameworks read them so, and who is asking must not be
    overlooked for a space.
    """
    if not value:
        return ()
    pairs = []
    for part in value[:MAX_COOKIES].split(";"):
        name, separator, text = part.partition("=")
        if separator and (name := name.strip()):
            pairs.append((name, text.strip()))
    return tuple(pairs)


def strings(value: str | None) -> tuple[str, ...]:
    """The strings of a structured-field list (RFC 9651 §3.1), parameters and other items left out.

    A list that does not parse is empty, as RFC 9651 §4.2 asks.
    """
    members = _structured(value, "list")
    if not isinstance(members, list):
        return ()
    items = (member[0] for member in members if isinstance(member, tuple))
    # http_sf.Token is no str, so a bare token is no string here.
    return tuple(item for item in items if isinstance(item, str))


def _structured(value: str | None, kind: Literal["dictionary", "list"]) -> object:
    """What http_sf reads, None when there is nothing or it does not parse."""
    if not value:
        return None
    try:
        return http_sf.parse(value.strip(" \t").encode("ascii"), tltype=kind)
    except (ValueError, RecursionError):
        return None
