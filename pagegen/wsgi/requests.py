"""Reading a WSGI environ, and making the one that the handler of a cacheable request may see."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

from ..identification import reveal
from ..messages import Request, Target
from ..views import View, authority
from .types import Environ

# What a handler may see of the environ although it is not keyed: it follows from the server or the
# path, never from who asks.
_KEPT: Final = (
    "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "SERVER_SOFTWARE", "GATEWAY_INTERFACE",
    "wsgi.version", "wsgi.errors", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once",
    "wsgi.file_wrapper",
)  # fmt: skip
# Where servers put the raw request target: uWSGI, mod_wsgi and Werkzeug the first, gunicorn the
# second.
_RAW_TARGETS: Final = ("REQUEST_URI", "RAW_URI")
_NOBODY: Final = "0.0.0.0"  # noqa: S104 - an address that nobody has, not one to bind to
#: Names whose keys are remembered: rules and laws ask for a few, applications' Vary for any.
MAX_NAMES: Final = 1024
_KEYS: Final[dict[str, str]] = {
    "content-length": "CONTENT_LENGTH",
    "content-type": "CONTENT_TYPE",
}


class EnvironFields:
    """Request fields of an environ; see :class:`~pagegen.messages.RequestFields`."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def get(self, name: str) -> str | None:
        """The combined value of a field (name in lower case)."""
        value: str | None = self._environ.get(_KEYS.get(name) or key_of(name))
        # An empty CONTENT_LENGTH is how CGI says that there is none.
        return None if value == "" and name == "content-length" else value

    def pairs(self) -> Iterator[tuple[str, str]]:
        """See :class:`RequestFields`."""
        for key, value in self._environ.items():
            # Those two have keys of their own: under these they came with underscores.
            if key.startswith("HTTP_") and key[5:] not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
                yield key[5:].replace("_", "-").lower(), value
        if kind := self._environ.get("CONTENT_TYPE"):
            yield "content-type", kind


def key_of(name: str) -> str:
    """The environ key of a request field (name in lower case)."""
    key = "HTTP_" + name.upper().replace("-", "_")
    return _KEYS.setdefault(name, key) if len(_KEYS) < MAX_NAMES else key


def target(environ: Environ) -> Target:
    """What an environ says of what is asked for, as it stands there."""
    get = environ.get
    return (
        environ["REQUEST_METHOD"],
        get("PATH_INFO"),
        get("QUERY_STRING"),
        get("HTTP_HOST"),
        get("REQUEST_URI", get("RAW_URI")),
        get("wsgi.url_scheme"),
        get("SCRIPT_NAME"),
    )


def read_request(environ: Environ, asked: Target = ()) -> Request:
    """The request of an environ, whose target may be read already. Raises only for an environ that
    is none.
    """
    root = _text(environ.get("SCRIPT_NAME", ""))
    raw: str | None = environ.get("REQUEST_URI", environ.get("RAW_URI"))
    if raw is not None:
        raw = raw.partition("?")[0]
    return Request(
        environ["REQUEST_METHOD"],
        environ.get("wsgi.url_scheme", "http"),
        root,
        _text(environ.get("PATH_INFO", "")),
        raw,
        environ.get("QUERY_STRING", ""),
        EnvironFields(environ),
        environ,
        asked or target(environ),
    )


def _text(native: str) -> str:
    """PEP 3333 text (bytes in disguise) as Unicode; what is no UTF-8 becomes U+FFFD, a doubt."""
    return native if native.isascii() else native.encode("latin-1").decode("utf-8", "replace")


def view_environ(environ: Environ, view: View) -> Environ:
    """The environ as the handler of a cacheable request may see it."""
    seen: Environ = {key: environ[key] for key in _KEPT if key in environ}
    scheme = seen["wsgi.url_scheme"] = environ.get("wsgi.url_scheme", "http")
    seen["SERVER_PROTOCOL"] = "HTTP/1.1"
    seen["REMOTE_ADDR"] = _NOBODY
    # Which of its addresses a server was asked at is no part of the key, and some say the Host
    # field's text here, as it came.
    seen["SERVER_NAME"], seen["SERVER_PORT"] = authority(view.host, scheme)
    seen["QUERY_STRING"] = view.query
    seen["wsgi.input"] = io.BytesIO()
    seen["pagegen.identities"] = dict(view.identities)
    for name, value in view.fields:
        seen[key_of(name)] = value
    # Only the one that was looked at is known to be keyed: both become that.
    raw = str(environ.get("REQUEST_URI", environ.get("RAW_URI", ""))).partition("?")[0]
    for name in _RAW_TARGETS:
        if name in environ:
            seen[name] = f"{raw}?{view.query}" if view.query else raw
    for names in view.context:
        reveal(environ, seen, names)
    return seen
