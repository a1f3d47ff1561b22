"""The demo, and beside it pages that attackers like best, behind pagegen on LMDB.

======================  ===========================================================================
``/own``, ``/own/…``    a visitor's own page, whose route takes any suffix; it writes all that it
                        sees into itself
``/echo/N``             everybody's page, which does the same
``/open/N``             under mode http: greets by the cookie, links by ``X-Forwarded-Host``, varies
``/greet/N``            sets a new cookie each time
``/big/N``              300 kB in pieces, which begin with a digest of the rest
``/fragile/N``          fails when any field says ``break``
======================  ===========================================================================

``SOAK_STORE`` names the store, ``SOAK_KEY`` holds its key; with ``SOAK_BARE`` there is no cache.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from demo_app import asgi as demo_asgi
from demo_app import wsgi as demo_wsgi
from demo_app.caching import CONFIG
from pagegen import PageCache
from pagegen.asgi import PageCacheMiddleware as AsgiPageCache
from pagegen.config import from_table
from pagegen.wsgi import PageCacheMiddleware as WsgiPageCache

BIG: Final = 300_000
_PIECE: Final = 40_000
_USER: Final = re.compile(r"demo_user=([0-9]{1,6})")
#: The server's own streams and sockets, which say nothing of the request.
_MACHINERY: Final = re.compile(r"wsgi\.(?:errors|input|file_wrapper)|gunicorn|state|extensions|app")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a handler can see of a request; ``all`` as text."""

    path: str
    fields: dict[str, str]
    all: str

    @property
    def user(self) -> str:
        """Who is asking: the last number of that cookie, as many libraries take it."""
        found = _USER.findall(self.fields.get("cookie", ""))
        return found[-1] if found else "nobody"


@dataclass(slots=True)
class Made:
    """A response."""

    pieces: list[bytes]
    status: int = 200
    fields: list[tuple[str, str]] = field(default_factory=list)

    def head(self) -> list[tuple[str, str]]:
        """All of its fields."""
        length = ("Content-Length", str(sum(map(len, self.pieces))))
        return [("Content-Type", "text/html; charset=utf-8"), length, *self.fields]


def answer(seen: Seen) -> Made | None:
    """The soak's own pages; None for the demo's."""
    family, _, rest = seen.path.lstrip("/").partition("/")
    make = _FAMILIES.get(family)
    return make(seen) if make is not None and (rest or family == "own") else None


def _page(seen: Seen, said: str, of: str = "nobody") -> list[bytes]:
    marks = f'data-page-of="{of}" data-path="{escape(seen.path)}"'
    return [f"<!doctype html><p {marks}>{escape(said)}</p>".encode("utf-8", "backslashreplace")]


def _own(seen: Seen) -> Made:
    return Made(_page(seen, seen.all, seen.user))


def _echo(seen: Seen) -> Made:
    return Made(_page(seen, seen.all))


def _open(seen: Seen) -> Made:
    host, language = (seen.fields.get(name, "") for name in ("x-forwarded-host", "accept-language"))
    said = [("Cache-Control", "max-age=60"), ("Vary", "Accept-Language")]
    return Made(_page(seen, f"{language} https://{host}/", seen.user), fields=said)


def _greet(seen: Seen) -> Made:
    return Made(_page(seen, "hello"), fields=[("Set-Cookie", f"sid=fresh-{token_hex(16)}; Path=/")])


def _big(seen: Seen) -> Made:
    body = sha256(seen.path.encode("utf-8", "backslashreplace")).hexdigest().encode() * (BIG // 64)
    whole = b"sha256:" + sha256(body).hexdigest().encode() + b"\n" + body
    return Made([whole[at : at + _PIECE] for at in range(0, len(whole), _PIECE)])


def _fragile(seen: Seen) -> Made:
    broken = any("break" in value for value in seen.fields.values())
    return Made(_page(seen, "broken" if broken else "whole"), 500 if broken else 200)


_FAMILIES: Final = {
    "own": _own, "echo": _echo, "open": _open, "greet": _greet, "big": _big, "fragile": _fragile,
}  # fmt: skip


def open_cache() -> PageCache:
    """The cache of one worker."""
    table = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    more = tomllib.loads(Path(__file__).with_name("site.toml").read_text(encoding="utf-8"))
    table["pagegen"] |= more["pagegen"] | {"store": os.environ["SOAK_STORE"]}
    table["identity"] = more["identity"]
    table["rule"] = more["rule"] + table["rule"]
    return PageCache.from_configuration(from_table(table))


def asgi() -> Any:
    """The site for uvicorn."""
    cache = open_cache()
    demo = demo_asgi.build_app(cache)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        made = answer(_seen_in_scope(scope)) if scope["type"] == "http" else None
        if made is None:
            await demo(scope, receive, send)
            return
        head = [(name.lower().encode(), value.encode()) for name, value in made.head()]
        await send({"type": "http.response.start", "status": made.status, "headers": head})
        for piece in made.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app if os.environ.get("SOAK_BARE") else AsgiPageCache(app, cache=cache)


def _seen_in_scope(scope: Any) -> Seen:
    fields: dict[str, str] = {}
    for name, value in scope["headers"]:
        before = fields.get(name.decode("latin-1"))
        text = value.decode("latin-1")
        fields[name.decode("latin-1")] = text if before is None else f"{before}, {text}"
    return Seen(scope["path"], fields, _told(scope))


def wsgi() -> Any:
    """The site for gunicorn."""
    cache = open_cache()
    demo = demo_wsgi.build_app(cache)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        made = answer(_seen_in_environ(environ))
        if made is None:
            return demo(environ, start_response)
        start_response(f"{made.status} Whatever", made.head())
        return _pieces(made)

    return app if os.environ.get("SOAK_BARE") else WsgiPageCache(app, cache=cache)


def _pieces(made: Made) -> Iterator[bytes]:
    yield from made.pieces


def _seen_in_environ(environ: dict[str, Any]) -> Seen:
    fields = {k[5:].lower().replace("_", "-"): environ[k] for k in environ if k[:5] == "HTTP_"}
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    return Seen(path, fields, _told(environ))


def _told(context: dict[str, Any]) -> str:
    return repr({key: value for key, value in context.items() if not _MACHINERY.match(key)})
