"""The sample application under a WSGI server."""

from __future__ import annotations

import os
import time
from contextvars import Context
from typing import Any

from ....errors import InvalidationError
from ....wsgi import PageCacheMiddleware
from ....wsgi.types import Environ, StartResponse, WSGIApp
from .site import EARLY, OK, REFUSED, Fields, Site, dawdle, fields, names, parts


def build() -> WSGIApp:
    """The whole application, for gunicorn."""
    site = Site()

    def application(environ: Environ, start_response: StartResponse) -> list[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] == "POST":
            status, told = _write(site, parts(path)[1])
            body = told.encode()
        else:
            visitor = environ.get("HTTP_X_VISITOR", "")
            status, body = OK, site.render(path, environ.get("QUERY_STRING", ""), visitor)
            time.sleep(dawdle())
        start_response(status, fields(body, path))
        return [body]

    return _signed(PageCacheMiddleware(application, cache=site.cache))


def _write(site: Site, item: int) -> tuple[str, str]:
    if site.mistake == "early":
        # Outside of the request, or pagegen mends the mistake when the handler has ended.
        Context().run(site.cache.invalidate, *names(item))
        time.sleep(EARLY)
        return OK, str(site.bump(item))
    version = site.bump(item)
    if site.mistake != "forgets":
        time.sleep(dawdle())
        try:
            site.cache.invalidate(*names(item))
        except InvalidationError as error:
            return REFUSED, f"{version} {error}"
    return OK, str(version)


def _signed(application: WSGIApp) -> WSGIApp:
    """Say which process answers."""

    def outermost(environ: Environ, start_response: StartResponse) -> Any:
        def signed(status: str, said: Fields, *rest: Any) -> Any:
            return start_response(status, [*said, ("X-Worker", str(os.getpid()))], *rest)

        return application(environ, signed)

    return outermost
