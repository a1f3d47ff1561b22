"""Keys: queries, paths, patterns, names, and the encoding that holds them apart."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import pairwise
from typing import Final
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urljoin, urlsplit

from pagegen import keys, namespaces, queries, units
from pagegen.errors import ConfigError, NamespaceError, PagegenError
from pagegen.identities import parse_source
from pagegen.keys import Encodable
from pagegen.law.unsafe import forgotten, url_namespace
from pagegen.messages import GivenFields, Request, ResponseHead
from pagegen.patterns import PathIndex, PathPattern, parse_pattern
from pagegen.planning import path_is_sure, spelled
from pagegen.rulebook import RuleBook
from pagegen.rules import Invalidates, Rule

from .targets import Reader, holds, lines, target, text

_PARAMETERS: Final = {
    "start": {"type": "int", "default": 0, "min": 0},
    "on": {"type": "bool"},
    "sort": {"type": "enum", "values": ["new", "old"], "default": "new"},
    "q": {"type": "str", "max_length": 20},
    "tag": {"repeat": "set", "max_repeats": 3},
    "way": {"repeat": "list"},
}
_QUERIES: Final = (
    Rule(path="/a", share="public", query=_PARAMETERS),
    Rule(path="/b", share="public", query=_PARAMETERS, other_query="drop"),
    Rule(path="/c", share="public", query=_PARAMETERS, other_query="key", drop_query=["utm_*"]),
    Rule(path="/d", share="public", ttl="1h", other_query="key"),
)


def _read(raw: str) -> list[tuple[str, str]]:
    return parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=500)


@target(
    "start=", "sort=old", "q=", "tag=a", "way=b", "&", "%20", "+", ";", "utm_x=1", "on=yes",
    "%C3%A4", "%ff", "[]", "=", "%26", "%00", "007", "-0", "\n",
)  # fmt: skip
def query_strings(data: bytes) -> None:
    """Queries: what the handler sees is what is keyed, and both are canonical."""
    first, second = lines(data, 2)
    for rule in _QUERIES:
        found = [queries.canonical(raw, rule) for raw in (first, second)]
        for raw, query in zip((first, second), found, strict=True):
            if query is None:
                continue
            holds(queries.canonical(query.text, rule) == query, "not canonical", rule.path, raw)
            if rule.path == "/d":
                continue
            keyed = [(n.removeprefix("&"), v) for n, many in query.values for v in many]
            holds(_read(query.text) == keyed, "seen otherwise than keyed", raw, query)
            given = _read(raw)
            names = {name for name, _ in given if name in rule.parameters}
            for name in names & {"q", "way"}:
                values = tuple(value for key, value in given if key == name)
                holds(dict(query.values)[name] == values, "read otherwise", name, raw)
        if None not in found and found[0] is not None and found[1] is not None:
            same = found[0].values == found[1].values
            holds(same == (found[0].text == found[1].text), "key and view differ", first, second)


@target(
    "/a", "%2F", "%2e", "..", "//", ";a", "%00", "%25", "\\", "%C3%A4", "%c3%a4", "?", "#", ".css",
    "\n",
)  # fmt: skip
def paths(data: bytes) -> None:
    """Paths: one that is sure is read alike by all, once decoded and once more."""
    raw = text(data)
    path = unquote_to_bytes(data).decode("utf-8", "replace")
    if not path_is_sure(path, raw):
        return
    parts = path.split("/")
    holds(parts[0] == "" and not {".", ".."} & set(parts), "dots", raw)
    holds("" not in parts[1:-1] and path.isprintable(), "empty or odd", raw)
    holds(unquote(path) == path and not set(";\\?#%") & set(path), "read twice", raw)
    holds(raw.count("/") == path.count("/"), "another segment", raw)
    holds(unquote_to_bytes(spelled(path)).decode() == path, "spelling", raw)
    holds(path_is_sure(path, spelled(path)), "its own spelling", raw)
    holds(urlsplit(f"http://a{spelled(path)}").path == spelled(path), "another URL", raw)


_PIECES: Final = (
    "/a", "/b", "/{x}", "/{x:int}", "/{x:slug}", "/*", "/**", "/{x}.css", "/v{x:int}", "/{y:path}",
    "/{x:uuid}", "/é", "/{y}", "/a.{y:slug}",
)  # fmt: skip
_KINDS: Final = {
    "str": "[^/]+",
    "int": "[0-9]{1,40}",
    "slug": "[A-Za-z0-9_-]+",
    "uuid": "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}


def _translated(pattern: PathPattern) -> re.Pattern[str]:
    """The same pattern as one regular expression."""
    out = []
    for segment in pattern.segments:
        middle = "" if segment.type is None else f"({_KINDS[segment.type]})"
        out.append("/" + re.escape(segment.prefix) + middle + re.escape(segment.suffix))
    if pattern.rest is not None:
        out.append("(/.*)?" if pattern.rest == "**" else "/(.*)")
    return re.compile("".join(out), re.DOTALL)


@target(
    *_PIECES, "/a/b", "/42", "/v7", "/x.css", "/A_b-1", "\n",
    "/12345678-1234-1234-1234-1234567890ab",
)  # fmt: skip
def patterns(data: bytes) -> None:
    """Rules by path: the first that matches, as trying one after the other finds it."""
    *texts, path = data.decode("utf-8", "replace").split("\n")[:8]
    known = []
    for each in texts:
        with suppress(ConfigError):
            known.append(parse_pattern(each))
    index = PathIndex(tuple(known))
    if "/" not in path[:1] or any(c.isdecimal() and not c.isascii() for c in path):
        return
    # A segment of a literal text around nothing cannot be: "/v{x:int}" wants digits of 19 at most.
    expect = [n for n, p in enumerate(known) if _matches(p, path)]
    holds(index.all(path) == expect, "others match", texts, path, index.all(path))
    holds(index.first(path) == (expect[0] if expect else None), "another is first", texts, path)
    for position in expect:
        holds(
            {name for name, _ in index.values(position, path)} == set(known[position].parameters),
            "values", texts, path,
        )  # fmt: skip
        for other, pattern in enumerate(known):
            if pattern.covers(known[position]):
                holds(other in expect, "covers, but does not match", texts, path)


def _matches(pattern: PathPattern, path: str) -> bool:
    match = _translated(pattern).fullmatch(path)
    if match is None:
        return False
    kinds = [segment.type for segment in pattern.segments if segment.type]
    return all(
        kind != "int" or len(value.lstrip("0")) <= 19
        for kind, value in zip(kinds, match.groups(), strict=False)
    )


@target(
    "item:", "{a}", "{b}", "/", "pagegen:", "url:", "%2F", " ", "{", "}", "\n", "é", "x" * 40,
    length=900,
)  # fmt: skip
def names(data: bytes) -> None:
    """Namespaces: no value leaves its place in the name, and both ways of building agree."""
    template, *given = (
        text(data).encode("latin-1").decode("utf-8", "surrogateescape").split("\n")[:3]
    )
    values = dict(zip(("a", "b"), [*given, "", ""], strict=False))
    try:
        parsed = namespaces.parse(template)
    except NamespaceError:
        with suppress(NamespaceError):
            holds(namespaces.is_name(namespaces.namespace(template, **values)), "name", template)
        return
    if not set(parsed.references) <= values.keys():
        return
    name = parsed.render(values)
    holds(name.isascii() and name.isprintable(), "odd", name)
    for reference, after in zip(parsed.references, parsed.literals[1:], strict=True):
        del after
        escaped = namespaces.escape(values[reference])
        holds(re.fullmatch("[A-Za-z0-9._~%-]*", escaped) is not None, "steers", escaped)
    try:
        built = namespaces.namespace(template, **values)
    except NamespaceError:
        holds(not namespaces.is_name(name), "two truths", template, values)
        return
    holds(built == name and namespaces.is_name(name), "two ways", template, values)
    if all(literal for literal in parsed.literals[1:-1]):
        shape = "([A-Za-z0-9._~%-]*)".join(map(re.escape, parsed.literals))
        holds(re.fullmatch(shape, name) is not None, "another shape", template, values)


def _value(reader: Reader, depth: int = 0) -> Encodable:
    kind = reader.number(8)
    if kind == 0:
        return None
    if kind == 1:
        return bool(reader.number(2))
    if kind in (2, 3):
        return int.from_bytes(reader.some(12), "big", signed=True)
    if kind == 4:
        return reader.some()
    if kind in (5, 6) or depth > 4:
        return reader.some().decode("utf-8", "surrogateescape")
    return tuple(_value(reader, depth + 1) for _ in range(reader.number(5)))


def _decoded(raw: bytes, at: int) -> tuple[Encodable, int]:
    """The value that begins here, and where it ends: a second reading of the encoding."""
    kind, at = raw[at : at + 1], at + 1
    if kind in (b"n", b"f", b"t"):
        return {b"n": None, b"f": False, b"t": True}[kind], at
    colon = raw.index(b":", at)
    size, at = int(raw[at:colon]), colon + 1
    if kind == b"l":
        found = []
        for _ in range(size):
            member, at = _decoded(raw, at)
            found.append(member)
        return tuple(found), at
    body = raw[at : at + size]
    holds(len(body) == size, "cut", raw)
    read = {
        b"b": lambda: body,
        b"i": lambda: int(body),
        b"s": lambda: body.decode("utf-8", "surrogatepass"),
    }
    return read[kind](), at + size


@target("\x07\x02", "\x04\x03abc", "s3:abc", "l0:", "i1:1", "n", ":", length=200)
def key_encoding(data: bytes) -> None:
    """Keys: read back they are what they were, so no two inputs are one."""
    keys.personal(data)
    reader = Reader(data)
    values = [_value(reader), _value(reader)]
    raw = b"".join(map(keys.encode, values))
    first, middle = _decoded(raw, 0)
    second, end = _decoded(raw, middle)
    holds([first, second] == values and end == len(raw), "another value", values, raw)
    holds([type(first), type(second)] == list(map(type, values)), "another type", values)
    whole = keys.encode(("site",)) + keys.encode("rule") + keys.encode(tuple(map(repr, values)))
    holds(keys.personal(whole), "a person's page counts as everybody's", values)
    begun = b"".join(
        map(keys.encode, (("site", values[0]), values[1], (), ("place",), tuple(values)))
    )
    for name, who in (("accept", False), ("cookie", True), ("authorization", True)):
        whole = begun + keys.encode((((name, "x"),), (), ()))
        holds(keys.personal(whole) is who, "whose page it is", name, values)
        keys.personal(whole + data)


@target("7d", "30s", "64MiB", "1.5h", "0", "-1", "e9", "9" * 18, " ")
def measures(data: bytes) -> None:
    """Durations and sizes: a number within bounds, or an error that says what was expected."""
    value = text(data)
    with suppress(ValueError):
        holds(0 <= units.parse_duration(value) <= units.MAX_SECONDS, "seconds", value)
    with suppress(ValueError):
        holds(0 <= units.parse_size(value) < 10**31, "bytes", value)


@target(
    "scope:user.id", "environ:REMOTE_USER", "cookie:session", "header:x-user", "call:a.b:c",
    "HTTP_", "path", ".", ":",
)  # fmt: skip
def sources(data: bytes) -> None:
    """Sources of an identity: never the request itself, and written as they are read."""
    value = text(data)
    try:
        source = parse_source(value)
    except ConfigError:
        return
    holds(parse_source(str(source)) == source, "round", value)
    first = source.target.partition(".")[0]
    hidden = first in ("path", "headers", "QUERY_STRING") or source.target.startswith("HTTP_")
    holds(source.kind not in ("scope", "environ") or not hidden, "the request itself", value)


_BOOK: Final = RuleBook(
    (Rule(path="/**", share="public", ttl="1h"),),
    (Invalidates(path="/items/{item}", namespaces=["item:{item}"]),),
)


@target(
    "/items/7", "http://shop.example", "https://", "//evil.example", "../", "./", "?", "#",
    "%2e%2e", "\n", ":80", "@", "\\",
)  # fmt: skip
def forgetting(data: bytes) -> None:
    """What a write forgets: names alone, of this origin alone, and its own URL always."""
    location, path, groups = lines(data, 3)
    path = "/" + path.encode("latin-1").decode("utf-8", "replace")
    asked = Request("POST", "http", "", path, None, "", GivenFields({"host": "shop.example"}), {})
    head = ResponseHead(200, (("Location", location), ("Cache-Group-Invalidation", groups)))
    found = forgotten(_BOOK, asked, head)
    holds(all(map(namespaces.is_name, found)), "no names", found)
    own = url_namespace("shop.example", path)
    holds("//" in path or "/." in path or own in found, "its own URL is left", path)
    elsewhere = [n for n in found if n.startswith("url:") and not n.startswith("url:shop.example")]
    holds(not elsewhere, "another origin", location, elsewhere)
    with suppress(ValueError, UnicodeError, PagegenError):
        whole = urlsplit(urljoin("http://shop.example/x", location))
        same = whole.netloc == "shop.example" and whole.scheme == "http"
        plain = re.fullmatch(r"/[A-Za-z0-9/._-]*", whole.path) is not None
        simple = (
            re.fullmatch(r"(?:http://shop\.example)?/(?!/)[A-Za-z0-9/._?#-]*", location) is not None
        )
        # Of "/..//" urljoin makes another path than RFC 3986 §5.2.4 does.
        once = "//" not in location.removeprefix("http://") and "/." not in whole.path
        if same and plain and simple and once:
            holds(url_namespace("shop.example", whole.path) in found, "a place is left", location)


@target("/a", "/b", "%", "\n", "#", "é", ":", "x" * 60, length=900)
def url_names(data: bytes) -> None:
    """Names of URLs: different paths of different hosts have different names."""
    rows = data.decode("utf-8", "replace").split("\n")[:4]
    made = {url_namespace(host, f"/{path}") for host in ("a.example", "b.example") for path in rows}
    holds(len(made) == 2 * len(set(rows)), "one name for two", rows)
    holds(all(map(namespaces.is_name, made)), "no names", made)
    for first, second in pairwise(sorted(made)):
        holds(first != second, "equal", first)
