"""Targets that software reads in different ways, from a seed, as servers hand them on."""

from __future__ import annotations

import io
import sys
from random import Random
from typing import Any, Final
from urllib.parse import quote, unquote, unquote_to_bytes

#: Pieces of paths that somebody, somewhere, reads as something else.
PIECES: Final = (
    "/", "/", "/", "a", "A", "b", "account", "static", "x.css", ".css", ".js", ".", "..", ";", "~",
    "%2F", "%2f", "%5C", "\\", "%2E", "%2e", "%00", "%0a", "%0d%0a", "%3f", "%3F", "%23", "#",
    "%3B", "%3b", ";a=b", "%25", "%252F", "%20", "+", "%2B", "%61", "%41", "%c3%a9", "%C3%A9",
    "e%CC%81", "%EF%BD%81", "%EF%BC%8E", "%C0%AE", "%C0%AF", "%ff", "%ED%A0%80", "%E9", "%7E",
    "[", "]", "%5B", "%5b", "|", "%7C", "<", "%3C", '"', "%22", "'", "%27", "(", "%28", "!", "*",
    ",", "%2C", ":", "%3A", "@", "%40", "=", "%3D", "&", "%26", "$", "%24", "^", "%5E", "`", "{",
    "%", "%4", "%zz", "%u0061", "%E2%80%AE", "%EF%BB%BF", "%7f", "%C2%85", "%C2%A0", "\xe9", "0",
)  # fmt: skip
ROOTS: Final = ("", "", "", "/a", "/a/", "/é", "/[x]", "/account", "/a?", "/a b")


def target(random: Random) -> str:
    """A raw path."""
    return "/" + "".join(random.choices(PIECES, k=random.randrange(4)))


def environ_of(raw: str, root: str = "", query: str = "", *, stripped: bool = False) -> Any:
    """An environ as gunicorn makes it. ``stripped``: a proxy took the mount point away."""
    path = unquote_to_bytes(raw.encode("latin-1")).decode("latin-1")
    whole = raw if stripped else quote(root) + raw
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": path,
        "RAW_URI": whole + (f"?{query}" if query else ""),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop.example",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def scope_of(raw: str, root: str = "", query: str = "", *, stripped: bool = False) -> Any:
    """A scope as uvicorn makes it. ``stripped``: as older servers do, without the mount point."""
    path = unquote(raw)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path if stripped else root + path,
        "raw_path": (raw if stripped else quote(root) + raw).encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": root,
        "headers": [(b"host", b"shop.example")],
        "client": ("203.0.113.9", 40_000),
        "server": ("127.0.0.1", 80),
        "extensions": {},
    }
