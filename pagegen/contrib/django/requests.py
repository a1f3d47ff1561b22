"""Django's requests as environ and scope, and back again.

What outer middleware has made of a request counts: method, path and headers are read from the
``HttpRequest``, the scheme as ``SECURE_PROXY_SSL_HEADER`` says it, the host as
``USE_X_FORWARDED_HOST`` does. So they are part of the key, and need no rule.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest

from pagegen.asgi.types import Scope
from pagegen.wsgi.types import Environ

_OF_GATEWAY: Final[dict[str, Any]] = {
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def environ_of(request: HttpRequest) -> Environ:
    """The environ of a request, whichever server it came from. A copy."""
    environ: Environ = {**_OF_GATEWAY, **request.META}
    environ["REQUEST_METHOD"] = request.method or ""
    environ["PATH_INFO"] = _native(request.path_info)
    environ["SCRIPT_NAME"] = _native(request.META.get("SCRIPT_NAME", ""))
    environ["wsgi.url_scheme"] = request.scheme
    if (host := _host(request)) is not None:
        environ["HTTP_HOST"] = host
    scope: Scope | None = getattr(request, "scope", None)
    if scope is not None and (raw := scope.get("raw_path")) is not None:
        environ["RAW_URI"] = raw.decode("latin-1")
    return environ


def scope_of(request: HttpRequest) -> Scope:
    """The scope of a request, whichever server it came from. A copy."""
    meta = request.META
    environ: Environ | None = getattr(request, "environ", None)
    scope: Scope = {"asgi": {"version": "3.0"}, **(getattr(request, "scope", None) or {})}
    root: str = meta.get("SCRIPT_NAME", "")
    if environ is not None:
        scope["server"] = (meta.get("SERVER_NAME", ""), int(meta.get("SERVER_PORT") or 0))
        raw = environ.get("REQUEST_URI", environ.get("RAW_URI"))
        if raw is not None:
            scope["raw_path"] = raw.partition("?")[0].encode("latin-1", "replace")
    scope.update(
        type="http",
        method=request.method or "",
        scheme=request.scheme,
        root_path=root,
        path=root.rstrip("/") + request.path_info,
        query_string=meta.get("QUERY_STRING", "").encode("latin-1", "replace"),
        headers=list(_lines(request)),
    )
    return scope


def _lines(request: HttpRequest) -> Iterator[tuple[bytes, bytes]]:
    host = _host(request)
    for key, value in request.META.items():
        if key.startswith("HTTP_") and key not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            if key == "HTTP_HOST" and host is not None:
                continue
            yield _line(key[5:], value)
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            yield _line(key, value)
    if host is not None:
        yield _line("HOST", host)


def _line(key: str, value: object) -> tuple[bytes, bytes]:
    name = key.lower().replace("_", "-")
    return name.encode("latin-1", "replace"), str(value).encode("latin-1", "replace")


def _host(request: HttpRequest) -> str | None:
    """The host where the Host field does not say it: a proxy names it, or there is no such field,
    as with Django's own test client. Empty, which no page has, where Django refuses it.
    """
    forwarded = settings.USE_X_FORWARDED_HOST or settings.USE_X_FORWARDED_PORT
    if not forwarded and "HTTP_HOST" in request.META:
        return None
    try:
        return str(request.get_host())
    except DisallowedHost:
        return ""


def _native(text: str) -> str:
    """Text as PEP 3333 has it: bytes in disguise."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")


class _Explains:
    """Says what became of an attribute that outer middleware has put on the outer request."""

    _pagegen_hidden: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Any:
        if name in self._pagegen_hidden:
            raise AttributeError(
                f"request.{name} is hidden from pages that are cached: the middleware that sets "
                "it stands in front of pagegen's, and it is not in the page's key. Put that "
                "middleware behind it; or, if it can never change the page, name it in "
                f'PAGEGEN["django"]["carry"] = [{name!r}]'
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class PageRequest(_Explains, WSGIRequest):
    """The request that the view of a cacheable page gets under WSGI."""

    def __init__(self, environ: Environ, outer: HttpRequest) -> None:
        super().__init__(environ)
        self._pagegen_hidden = frozenset(vars(outer))


class AsyncPageRequest(_Explains, ASGIRequest):
    """The request that the view of a cacheable page gets under ASGI."""

    def __init__(self, scope: Scope, outer: HttpRequest) -> None:
        super().__init__(scope, io.BytesIO())
        self._pagegen_hidden = frozenset(vars(outer))
