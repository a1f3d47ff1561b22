"""What the answer to an unsafe request invalidates (RFC 9111 §4.4, RFC 9875 §3).

1. The written URL, and those that ``Location`` and ``Content-Location`` name on the same origin:
   every page has a namespace of its URL without the query, and so all variants go together.
2. The namespaces that ``[[invalidates]]`` declares for the write.
3. The groups that the application names itself.

1 and 2 count for non-error answers only, 3 whatever the status. A method that nobody knows counts
as unsafe. It is compared as frameworks dispatch it, in capitals: otherwise ``get`` would let every
visitor forget every page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from ..fields import MAX_VALUE, strings
from ..messages import CACHED_METHODS, SAFE_METHODS, Request, ResponseHead
from ..namespaces import MAX_LENGTH, OF_URLS, is_name
from ..rulebook import RuleBook

#: Of a URL that makes no namespace, so many characters of its host stay readable before its digest.
HOST_SHOWN: Final = 128

# What RFC 3986 §3.3 lets stand in a path.
_UNESCAPED: Final = "/!$&'()*+,;:=@~"
_PORTS: Final = {"http": 80, "https": 443}
_SLASHES: Final = re.compile("/{2,}")
_PORT: Final = re.compile(r":0*([0-9]{0,5})\Z")
_AUTHORITY: Final = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{0,5}))?")
_ODD: Final = re.compile(r"[\x00-\x20\x7f\\]")
_REFERENCE: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.\-]*):)?(?://([^/]*))?(.*)")

Origin = tuple[str, str, int]


def url_namespace(host: str, path: str) -> str:
    """The namespace of all pages of a URL, whatever their query: ``url:shop.example/items/7``.

    ``host`` as in the request's ``Host``; ``path`` is the mount point and the decoded path. The
    default ports are left out, whatever the scheme: servers behind a proxy do not agree on it. A
    name that would be too long ends in a digest of itself.
    """
    place = _PORT.sub(lambda port: "" if port[1] in ("", "80", "443") else f":{port[1]}", host)
    # A host with the root's dot behind it is the same one.
    place = re.sub(r"\.(?=:|$)", "", place)
    place = quote(place.lower(), safe="[]:", errors="surrogatepass")
    name = f"{OF_URLS}{place}{quote(path, safe=_UNESCAPED, errors='surrogatepass')}"
    if len(name) <= MAX_LENGTH:
        return name
    digest = blake2b(name.encode("ascii"), digest_size=20).hexdigest()
    # No path has a bare "#", so no short name looks like this.
    return f"{OF_URLS}{place[:HOST_SHOWN]}#{digest}"


def forgotten(book: RuleBook, request: Request, head: ResponseHead) -> tuple[str, ...]:
    """Namespaces that this answer invalidates, each once.

    Without a readable ``Host`` no URL is invalidated, and no page is cached.
    """
    method = request.method.upper()
    if method in SAFE_METHODS:
        return ()
    found = dict.fromkeys(_groups(head))
    if head.status < 400:
        for spelling in _spellings(request.path):
            found |= dict.fromkeys(name for name, _ in _declared(book, method, spelling))
        host = request.fields.get("host")
        if head.status >= 200 and host is not None and _AUTHORITY.fullmatch(host):
            found |= dict.fromkeys(_urls(book, request, host, head))
    return tuple(found)


def softly(book: RuleBook, request: Request, head: ResponseHead) -> frozenset[str]:
    """Of what this answer invalidates, the namespaces that are left to others for a while.

    They are those for which every entry of ``[[invalidates]]`` that names them says so, and that
    the application does not name as a group. URLs never are.
    """
    if not any(entry.soft for entry in book.invalidates) or head.status >= 400:
        return frozenset()
    hard, soft = set(_groups(head)), set[str]()
    for spelling in _spellings(request.path):
        for name, left in _declared(book, request.method.upper(), spelling):
            (soft if left and not name.startswith(OF_URLS) else hard).add(name)
    return frozenset(soft - hard)


def _spellings(path: str) -> Iterable[str]:
    """The path as it came, and as lenient routers read it: forgetting too much costs a miss."""
    merged = _SLASHES.sub("/", path)
    plain = _without_dots(merged) if "/." in merged else merged
    bare = plain.rstrip("/")
    return dict.fromkeys((path, merged, plain, bare or "/", f"{bare}/"))


def _without_dots(path: str) -> str:
    """A path without its dot segments (RFC 3986 §5.2.4)."""
    parts = path.split("/")
    kept: list[str] = []
    for part in parts[1:]:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if parts[-1] in (".", ".."):
        kept.append("")
    return f"/{'/'.join(kept)}"


def _urls(book: RuleBook, request: Request, host: str, head: ResponseHead) -> Iterator[str]:
    """Namespaces of the target and of what the answer names on its origin, where pages can be."""
    paths: dict[str, bool] = dict.fromkeys(_spellings(request.path), False)
    # A front may mark a root that is no part of the path with "?": see asgi.requests.
    mount = request.root.removesuffix("?").rstrip("/")
    origin = _origin(request.scheme, host)
    for field in ("location", "content-location"):
        for value in head.lines(field):
            whole = _resolved(value, mount + request.path, origin) if origin else None
            if whole is not None and (below := _below(mount, whole)) is not None:
                paths.setdefault(below, True)
    for below, named in paths.items():
        if _is_forgotten(book, below, named):
            yield url_namespace(host, request.root + below)


def _is_forgotten(book: RuleBook, path: str, named: bool) -> bool:
    """Whether a page of this path can be stored, and is forgotten by its URL. Which rule decides is
    the method's business. ``named``: only a field of the answer names it.
    """
    matches = (book.match(method, path) for method in CACHED_METHODS)
    rules = (match[0] for match in matches if match is not None)
    return any(
        rule.cache and (rule.own_url is True or (rule.own_url == "target" and not named))
        for rule in rules
    )


def _below(mount: str, path: str) -> str | None:
    return path[len(mount) :] if path.startswith(f"{mount}/") else None


def _origin(scheme: str, authority: str) -> Origin | None:
    """The origin (RFC 9110 §4.3.1) of a scheme and a host with or without a port."""
    scheme = scheme.lower()
    match = _AUTHORITY.fullmatch(authority)
    if match is None or scheme not in _PORTS:
        return None
    return scheme, match[1].lower(), int(match[2]) if match[2] else _PORTS[scheme]


def _resolved(reference: str, base: str, origin: Origin) -> str | None:
    """The decoded path of a reference resolved against the target (RFC 3986 §5.2).

    None for one on another origin, with user information, or malformed. A scheme without an
    authority is malformed in these schemes (RFC 9110 §4.2.1).
    """
    text = reference.strip(" \t")
    if len(text) > MAX_VALUE or _ODD.search(text):
        return None
    text = text.partition("#")[0].partition("?")[0]
    if (match := _REFERENCE.fullmatch(text)) is None:
        return None
    scheme, authority, path = match.groups()
    if authority is None:
        if scheme is not None:
            return None
    elif _origin(scheme or origin[0], authority) != origin:
        return None
    if authority is None and not path.startswith("/"):
        path = _merged(quote(base, safe=_UNESCAPED, errors="surrogatepass"), path)
    return _decoded(_without_dots(path or "/"))


def _merged(base: str, relative: str) -> str:
    """A relative path behind the base's last slash (RFC 3986 §5.2.3); the base if it is empty."""
    return f"{base[: base.rfind('/') + 1] or '/'}{relative}" if relative else base


def _decoded(path: str) -> str | None:
    """A path as servers decode it; None for one that is not UTF-8, which no page has."""
    try:
        return unquote_to_bytes(path.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        return None


def _declared(book: RuleBook, method: str, path: str) -> Iterator[tuple[str, bool]]:
    """Names of declared namespaces, each with whether its entry says ``soft``."""
    for position in book.write_index.all(path):
        entry = book.invalidates[position]
        if method not in entry.methods:
            continue
        known = {f"path.{name}": value for name, value in book.write_index.values(position, path)}
        # What no name can be, no page has: an empty {rest:path} makes such.
        names = filter(is_name, (template.render(known) for template in entry.templates))
        yield from ((name, entry.soft) for name in names)


def _groups(head: ResponseHead) -> tuple[str, ...]:
    """The groups of ``Cache-Group-Invalidation``, all of them: one left out would serve old pages.

    What is no name is left out, because no page can be of such a group.
    """
    return tuple(filter(is_name, strings(head.get("cache-group-invalidation"))))
