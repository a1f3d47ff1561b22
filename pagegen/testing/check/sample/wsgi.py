"""The sample application under a WSGI server."""

from __future__ import annotations

import os
import time
from contextvars import Context, copy_context
from typing import Any

from ....errors import InvalidationError
from ....wsgi import PageCacheMiddleware
from ....wsgi.types import Environ, StartResponse, WSGIApp
from .site import (
    EARLY,
    OK,
    REFUSED,
    Fields,
    Site,
    dawdle,
    fields,
    names,
    outside,
    parts,
    strips,
)


def build() -> WSGIApp:
    """The whole application, for gunicorn."""
    site = Site()

    def application(environ: Environ, start_response: StartResponse) -> list[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] == "POST":
            status, told = _write(site, *parts(path))
            body = told.encode()
            said = fields(body, path)
        else:
            visitor = environ.get("HTTP_X_VISITOR", "")
            status = OK
            body, said = site.render(path, environ.get("QUERY_STRING", ""), visitor)
            time.sleep(dawdle(path))
        start_response(status, said)
        return [body]

    return _signed(PageCacheMiddleware(application, cache=site.cache), site.mistake)


def _write(site: Site, kind: str, item: int) -> tuple[str, str]:
    if site.mistake == "early":
        # Outside of the request, or pagegen mends the mistake when the handler has ended.
        Context().run(site.cache.invalidate, *names(item))
        time.sleep(EARLY)
        return OK, str(site.bump(item))
    version = site.bump(item)
    if site.mistake != "forgets":
        time.sleep(dawdle())
        try:
            context = Context() if outside(kind) else copy_context()
            context.run(site.cache.invalidate, *names(item), soft=kind == "soft")
        except InvalidationError as error:
            return REFUSED, f"{version} {error}"
    return OK, str(version)


def _signed(application: WSGIApp, mistake: str) -> WSGIApp:
    """Say which process answers."""

    def outermost(environ: Environ, start_response: StartResponse) -> Any:
        def signed(status: str, said: Fields, *rest: Any) -> Any:
            said = [*strips(mistake, said), ("X-Worker", str(os.getpid()))]
            return start_response(status, said, *rest)

        return application(environ, signed)

    return outermost
