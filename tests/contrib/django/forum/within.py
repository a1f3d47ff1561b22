"""The forum inside of this process, on its database, in either placement under either gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings as present
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.test import override_settings

from pagegen import asgi, wsgi
from pagegen.contrib.django import get_cache
from pagegen.testing import Answer, call_asgi, call_wsgi, environ, scope

from . import settings

READS: Final = "pagegen.contrib.django.reads.ReadsMiddleware"


class Within:
    """Asks the forum. ``sessions``: the key of each user's session."""

    def __init__(self, gateway: str, placement: str, sessions: Mapping[str, str]) -> None:
        self.sessions = sessions
        self.placement = placement
        self._gateway = gateway
        around = placement == "around"
        self._app: Any
        if gateway == "wsgi":
            self._app = get_wsgi_application()
            if around:
                self._app = wsgi.PageCacheMiddleware(self._app, cache=get_cache())
        else:
            self._app = get_asgi_application()
            if around:
                self._app = asgi.PageCacheMiddleware(self._app, cache=get_cache())

    def get(self, target: str, user: str = "") -> Answer:
        """A page, as a user who is logged in gets it, or nobody."""
        cookie = f"sessionid={self.sessions[user]}" if user else ""
        return self.send("GET", target, {"cookie": cookie} if user else {})

    def post(self, target: str, cookies: Mapping[str, str], **form: str) -> Answer:
        """What a form sends."""
        body = urlencode(form).encode()
        fields = {
            "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
            "content-type": "application/x-www-form-urlencoded",
            "content-length": str(len(body)),
        }
        return self.send("POST", target, fields, body)

    def send(self, method: str, target: str, fields: dict[str, str], body: bytes = b"") -> Answer:
        """Any request."""
        if self._gateway == "wsgi":
            return call_wsgi(self._app, environ(method, target, fields, body))
        return asyncio.run(call_asgi(self._app, scope(method, target, fields, body), body))


@contextmanager
def forum(gateway: str, placement: str, *, reads: bool = False) -> Iterator[Within]:
    """A forum while the block runs, with three threads of ada and bob, and careless views.

    ``reads``: with READS.
    """
    ours = [settings.OURS] if placement == "inside" else []
    changed: dict[str, Any] = {
        "INSTALLED_APPS": settings.INSTALLED_APPS,
        "ROOT_URLCONF": "tests.contrib.django.forum.careless",
        "TEMPLATES": settings.TEMPLATES,
        "MIDDLEWARE": [*settings.STACK, *ours, *([READS] if reads else [])],
        "PAGEGEN": settings.page_cache(placement, "memory://"),
    }
    assert "testserver" in present.ALLOWED_HOSTS
    with override_settings(**changed):
        from .management.commands.seed import fill

        call_command("migrate", verbosity=0)
        try:
            yield Within(gateway, placement, fill(3, ["ada", "bob"]))
        finally:
            call_command("flush", interactive=False, verbosity=0)
