"""Parsers of header fields."""

from __future__ import annotations

import calendar
import re
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import http_sf

from pagegen import fields
from pagegen.identification import DoubtError, one_cookie
from pagegen.law.ranges import MAX_RANGES, spans
from pagegen.law.unsafe import url_namespace
from pagegen.messages import GivenFields, Request
from pagegen.namespaces import is_name
from pagegen.readers import Hosts
from pagegen.units import MAX_SECONDS
from pagegen.wrote import Wrote, others

from .targets import Reader, holds, lines, target, text

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN: Final = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=([!#$%&'*+.^_`|~0-9A-Za-z-]+))?[ \t]*"
)
_FIXDATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"([0-9]{4}) ([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]) GMT"
)
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
CONTROL: Final = (
    "no-store", "no-cache", "private", "public", "max-age=60", "s-maxage=1", "must-revalidate",
    "max-stale", "min-fresh=1", "only-if-cached", "stale-if-error=5", "stale-while-revalidate=5",
    'private="a, b"', 'no-cache="set-cookie"', "must-understand", "no-transform", '"', "\\", ",",
    ";",
)  # fmt: skip


def _quoted(argument: str) -> str:
    return '"{}"'.format(re.sub(r'(["\\])', r"\\\1", argument))


def _asking(name: str, value: str) -> Request:
    return Request("GET", "http", "", "/", "/", "", GivenFields({name: value}), {})


@target(
    *CONTROL,
)  # fmt: skip
def directives(data: bytes) -> None:
    """Members of Cache-Control: bounded, closed when in doubt, read as they are written."""
    value = text(data)
    said = fields.directives(value)
    size = sum(len(name) + len(argument or "") for name, argument in said.items())
    holds(size <= len(value) + len("no-store"), "longer than what was said", value)
    holds(all(_TOKEN.fullmatch(n) and n == n.lower() for n in said), "names", value)
    # What nobody could read otherwise is read by a parser that knows no quotes.
    if '"' not in value and (members := [_PLAIN.fullmatch(m) for m in value.split(",")]):
        expect: dict[str, str | None] = {}
        for member in filter(None, members):
            expect.setdefault(member[1].lower(), member[2])
        if all(members):
            qualified = {name: said.get(name) for name in expect if name in ("private", "no-cache")}
            holds({**expect, **qualified} == said, "read otherwise", value, said)
        closed = fields.directives(f"{value},no-store, private ,max-age=9")
        holds({"no-store", "private", "max-age"} <= closed.keys(), "opened", value)
    quoted = ", ".join(
        n if a is None else '{}="{}"'.format(n, re.sub(r'(["\\])', r"\\\1", a))
        for n, a in said.items()
    )
    holds(fields.directives(quoted) == said, "not read as written", said, quoted)
    names = fields.tokens(value)
    holds(fields.tokens(",".join(names)) == names, "tokens", value)
    holds(set(fields.field_names(value)) <= set(names), "field names", value)


@target(
    "no-store", "max-age=60", "public", "a;b=c", "(1 2)", ":YQ==:", "?0", "@1", '%"a"', "private=x",
)  # fmt: skip
def structured(data: bytes) -> None:
    """Targeted fields and lists of strings: what the library of RFC 9651 reads, and no more."""
    value = text(data)
    said = fields.targeted(value)
    try:
        read = http_sf.parse(value.strip(" \t").encode("ascii"), tltype="dictionary")
    except (ValueError, RecursionError):
        read = {}
    holds((said is None) == (not read), "believed or not", value)
    for name, (item, _) in (read or {}).items() if said is not None else ():
        if item is False:
            holds(name not in said, "what is false is said", value)
        elif name in ("no-store", "private", "no-cache", "max-age"):
            holds(name in said, "what closes is lost", value, name)
    found = fields.strings(value)
    holds(sum(map(len, found)) <= len(value), "longer than the list", value)
    if found and all(s.isascii() and s.isprintable() for s in found):
        holds(fields.strings(http_sf.ser([(s, {}) for s in found])) == found, "again", value)


@target(
    "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Nov", "+0100", "69", "Feb",
    "Sun Nov  6 08:49:37 1994", ":60", "29", "9999", "0001",
)  # fmt: skip
def dates(data: bytes) -> None:
    """HTTP-dates: the strict form as the calendar has it, all others round."""
    value = text(data)
    moment = fields.http_date(value)
    if match := _FIXDATE.fullmatch(value):
        day, month, year = int(match[1]), _MONTHS.index(match[2]) + 1, int(match[3])
        exists = year >= 1 and 1 <= day <= calendar.monthrange(max(year, 1), month)[1]
        clock = tuple(int(match[n]) for n in (4, 5, 6))
        expect = float(calendar.timegm((year, month, day, *clock))) if exists else None
        holds(moment == expect, "another moment", value, moment, expect)
    if moment is not None:
        with suppress(ValueError, OverflowError):  # years that the other library cannot write
            holds(fields.http_date(fields.format_http_date(moment)) == moment, "round", value)
    for number in (fields.delta_seconds(value), fields.age(value)):
        holds(number is None or 0 <= number <= MAX_SECONDS, "seconds", value)


@target('"a"', 'W/"a"', '"a, b"', "*", ",", '""')
def entity_tags(data: bytes) -> None:
    """Entity tags: each stands in the text, and is read again as it was."""
    value = text(data)
    tags = fields.entity_tags(value)
    for tag in tags:
        holds(str(tag) in value and fields.entity_tag(str(tag)) == tag, "tag", value, tag)
    holds(fields.entity_tags(", ".join(map(str, tags))) == tags, "list", value)
    alone = fields.entity_tag(value)
    holds(alone is None or tags == (alone,), "one and a list of one", value)
    length = fields.content_length(value.split("\n"))
    holds(length is None or length == -1 or set(value) <= set("0123456789, \t\n"), "length", value)


@target("bytes=", "0-", "-5", "1-2", ",", "999999999999999999999")
def ranges(data: bytes) -> None:
    """Ranges: parts apart from each other, inside of the page, and all that was asked for."""
    reader = Reader(data)
    length, value = reader.number(200), text(reader.rest)
    parts = spans(value, length)
    asked = fields.byte_ranges(value)
    if parts is None or asked is None:
        return
    holds(len(parts) <= len(asked) <= MAX_RANGES, "more parts", value)
    holds(all(0 <= start < stop <= length for start, stop in parts), "outside", value, length)
    sent = [n for start, stop in parts for n in range(start, stop)]
    want = {n for first, last in asked for n in range(length) if _within(n, first, last, length)}
    holds(len(sent) == len(set(sent)) and set(sent) == want, "other bytes", value, length, parts)


def _within(place: int, first: int | None, last: int | None, length: int) -> bool:
    if first is None:
        return place >= length - (last or 0)
    return place >= first and (last is None or place <= last)


@target(
    "shop.example", ":80", "[::1]", "@", "/", "evil.example", ".", "xn--", "%00", ",", "\\", "#",
    "?",
)  # fmt: skip
def hosts(data: bytes) -> None:
    """Host fields: the name that a parser of URLs finds, or none."""
    value, *_ = lines(data, 2)
    found = fields.host(value)
    ours = Hosts(frozenset({("shop.example", "")}), ((".shop.example", ""),), any=False)
    if found is None:
        holds(not Hosts().allow(value) and not ours.allow(value), "no host is allowed", value)
        return
    name, port = found
    try:
        split = urlsplit(f"http://{value}/x")
    except ValueError:  # an address in brackets that is none: no other host can be meant
        holds(name.startswith("["), "a host that is no host", value)
        return
    bare = name.strip("[]")
    holds((split.hostname, split.username) == (bare, None), "another host", value, split.hostname)
    holds(split.path == "/x" and not split.query and not split.fragment, "no host", value)
    if port and int(port) < 65_536:
        holds(split.port == int(port), "another port", value)
    holds(fields.host(f"{name}:{port}" if port else name) == found, "round", value)
    plain = bare.removesuffix(".")
    mine = plain == "shop.example" or plain.endswith(".shop.example")
    holds(ours.allow(value) == mine, "allowed", value)
    holds(is_name(url_namespace(value, "/a")), "no namespace", value)


@target("session=1", "; ", "pagegen_wrote_", "__Host-", "=", '"', "a=b;a=c", ",", "\xa0", "\x85")
def cookies(data: bytes) -> None:
    """Cookies: pairs as they came; ours are taken out, and nobody else's."""
    jar, name = lines(data, 2)
    pairs = fields.cookies(jar)
    holds(sum(len(n) + len(v) for n, v in pairs) <= len(jar), "longer than the jar", jar)
    holds(fields.cookies("; ".join("=".join(pair) for pair in pairs)) == pairs, "again", jar)
    left = others(jar)
    ours = re.compile(r"(?:__Host-)?pagegen_wrote_[0-9a-f]{8}")
    kept = tuple(pair for pair in pairs if not ours.fullmatch(pair[0]))
    holds(fields.cookies(left) == kept, "another's cookie", jar, left)
    holds(others(left) == left, "twice", jar)
    with suppress(DoubtError):
        found = one_cookie(_asking("cookie", jar), name)
        holds(([] if found is None else [found]) == [v for n, v in pairs if n == name], "one", jar)


_WROTE: Final = Wrote("a secret of the site", window=30.0)
_GOOD: Final = _WROTE.cookie(1000.0, secure=False)[0].partition(";")[0]


@target("pagegen_wrote_", "__Host-", ".", "1090", _GOOD, "; ")
def wrote_cookie(data: bytes) -> None:
    """The cookie of writers: none but those that were signed."""
    jar = text(data)
    told = _WROTE.wrote(_asking("cookie", jar), 1000.0)
    value = _GOOD.partition("=")[2]
    holds(not told or value in [v for _, v in fields.cookies(jar)], "believed", jar)
    if told:
        holds(not _WROTE.wrote(_asking("cookie", jar), 1090.0), "believed behind its end", jar)
    holds(_WROTE.wrote(_asking("cookie", f"{jar}; {_GOOD}"), 1000.0), "hidden by others", jar)
