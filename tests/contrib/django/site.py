"""A site whose pages use everything that a page may use, and visitors with cookies."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import auth, messages
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.urls import path, reverse
from django.utils import timezone, translation

from pagegen.contrib.django import cache
from pagegen.testing import Answer, call_asgi, call_wsgi, environ, scope

#: One for each rendering: an equal body is the same page.
numbers = itertools.count(1)
#: What views did, in order.
journal: list[str] = []


def plain(request: HttpRequest, name: str = "") -> HttpResponse:
    return HttpResponse(f"page {next(numbers)}")


def shows(request: HttpRequest, what: str) -> HttpResponse:
    """Prints what it is asked for: of visitor, session, cookies and META."""
    return JsonResponse({"n": next(numbers), "shown": "".join(_show(request, what))})


def _show(request: Any, what: str) -> Iterator[str]:
    for kind in what.split(","):
        if kind == "user":
            yield str(request.user)
        elif kind == "session":
            yield json.dumps(dict(request.session.items()))
        elif kind == "cookies":
            yield json.dumps(request.COOKIES)
        elif kind == "meta":
            yield json.dumps({key: str(value) for key, value in request.META.items()})
        elif kind == "secret":
            yield str(request.META.get("CSRF_COOKIE"))
        elif kind == "headers":
            yield json.dumps(dict(request.headers))
        elif kind == "language":
            yield translation.get_language()
        elif kind == "zone":
            yield timezone.get_current_timezone_name()
        elif kind == "thread":
            yield str(threading.get_ident())
        elif kind == "prefix":
            yield reverse(plain)
        elif kind == "carried":
            yield str(getattr(request, "tenant", "none"))
        elif kind == "messages":
            yield str([str(m) for m in messages.get_messages(request)])
        elif kind == "secure":
            yield f"{request.is_secure()} {request.get_host()} {request.build_absolute_uri()}"


async def ashows(request: Any) -> HttpResponse:
    user = await request.auser()
    return HttpResponse(f"{next(numbers)} {user}")


def form(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return HttpResponse("posted")
    template = engines["django"].from_string("{% csrf_token %}")
    return HttpResponse(template.render({}, request))


def visits(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(f"visit {request.session['visits']}")


def log_in(request: HttpRequest, name: str) -> HttpResponse:
    auth.login(request, User.objects.get(username=name))
    return HttpResponse("welcome")


def says(request: HttpRequest) -> HttpResponse:
    messages.info(request, "done")
    return HttpResponse("said")


def writes(request: HttpRequest) -> HttpResponse:
    done = cache.invalidate("things")
    return HttpResponse(f"{done.again} {done.deferred}")


def writes_softly(request: HttpRequest) -> HttpResponse:
    cache.invalidate("things", soft=True)
    response = HttpResponse("written")
    response.set_cookie("own", "value", httponly=True)
    return response


def speaks(request: HttpRequest) -> HttpResponse:
    translation.activate("de")
    return HttpResponse(f"Seite {next(numbers)}")


def tags(request: HttpRequest) -> HttpResponse:
    cache.tag("found")
    return HttpResponse(f"tagged {next(numbers)}")


def breaks(request: HttpRequest) -> HttpResponse:
    if journal:
        raise RuntimeError("broken")
    return HttpResponse(f"page {next(numbers)}")


def streams(request: HttpRequest, kind: str) -> StreamingHttpResponse:
    def content() -> Iterator[bytes]:
        journal.append("begun")
        yield f"{next(numbers)} ".encode()
        if kind == "late":
            yield str(request.user).encode()
        if kind == "writes":
            cache.invalidate("things")
            yield b"."
        if kind == "large":
            for _ in range(40):
                yield b"x" * 100
        journal.append("ended")
        yield b"end"

    response = StreamingHttpResponse(content())
    if kind == "private":
        response["Cache-Control"] = "private"
    closers: list[Any] = response._resource_closers
    closers.append(lambda: journal.append("closed"))
    return response


def astreams(request: HttpRequest, kind: str) -> StreamingHttpResponse:
    async def content() -> Any:
        yield f"{next(numbers)} ".encode()
        if kind == "writes":
            await cache.ainvalidate("things")
            yield b"."
        yield b"end"

    response = StreamingHttpResponse(content())
    if kind == "private":
        response["Cache-Control"] = "private"
    return response


urlpatterns = [
    path("plain", plain),
    path("plain/<str:name>", plain),
    path("shows/<str:what>", shows),
    path("mine/<str:what>", shows),
    path("session/<str:what>", shows),
    path("jar/<str:what>", shows),
    path("spoken/<str:what>", shows),
    path("old/<str:what>", shows),
    path("my/old/<str:what>", shows),
    path("ashows", ashows),
    path("amine", ashows),
    path("form", form),
    path("visits", visits),
    path("login/<name>", log_in),
    path("says", says),
    path("writes", writes),
    path("writes-softly", writes_softly),
    path("speaks", speaks),
    path("tags", tags),
    path("breaks", breaks),
    path("streams/<kind>", streams),
    path("old-streams/<kind>", streams),
    path("astreams/<kind>", astreams),
]

#: Seconds; no page of these tests expires by itself.
_LONG: Final = "1h"


def _rule(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "share": "public", "ttl": _LONG, "namespaces": ["things"], **more}


TABLE: Final[dict[str, Any]] = {
    "pagegen": {"cache_status": True},
    "identity": {
        "user": {"from": ["call:pagegen.contrib.django.identity:user"]},
        "session": {"from": ["cookie:sessionid"]},
    },
    "rule": [
        _rule("/mine/{what}", share=["user"]),
        _rule("/amine", share=["user"]),
        _rule("/session/{what}", share=["session"]),
        _rule("/jar/{what}", cookies={"sessionid": {}}),
        _rule("/spoken/{what}", headers={"accept-language": {"values": ["en", "de"]}}),
        _rule("/streams/{kind}", max_body=2000),
        _rule("/astreams/{kind}", max_body=2000),
        _rule("/tags", groups=True),
        _rule("/breaks", ttl="10s", sie="1h", namespaces=[]),
        _rule("/old-streams/{kind}", ttl="10s", swr="1h"),
        _rule("/old/{what}", ttl="10s", swr="1h"),
        _rule("/my/old/{what}", ttl="10s", swr="1h", share=["user"]),
        _rule("/**"),
    ],
}


class Visitor:
    """Sends requests through a whole stack of Django's and keeps its cookies."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cookies: dict[str, str] = {}

    def get(self, target: str, **fields: str) -> Answer:
        return self.send("GET", target, fields)

    def post(self, target: str, **form: str) -> Answer:
        return self.send("POST", target, {}, form)

    def send(
        self,
        method: str,
        target: str,
        fields: dict[str, str],
        form: dict[str, str] | None = None,
    ) -> Answer:
        body = urlencode(form or {}).encode()
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        if self.cookies:
            fields["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        if method == "POST":
            fields["content-type"] = "application/x-www-form-urlencoded"
            fields["content-length"] = str(len(body))
        answer = self.site.send(method, target, fields, body)
        for name, value in answer.fields:
            if name.lower() == "set-cookie":
                for key, morsel in SimpleCookie(value).items():
                    self.cookies[key] = morsel.value
                    if not morsel.value:
                        del self.cookies[key]
        return answer


class Site:
    """Django's own handler, as a server calls it. Built when it is first asked."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._app: Any = None

    def send(self, method: str, target: str, fields: dict[str, str], body: bytes) -> Answer:
        if self._app is None:
            make: Any = get_wsgi_application if self.kind == "wsgi" else get_asgi_application
            self._app = make()
        if self.kind == "wsgi":
            return call_wsgi(self._app, environ(method, target, fields, body))
        return asyncio.run(call_asgi(self._app, scope(method, target, fields, body), body))

    def visitor(self, user: str | None = None) -> Visitor:
        """Somebody new, who is logged in when a name is given."""
        visitor = Visitor(self)
        if user is not None:
            User.objects.get_or_create(username=user)
            assert visitor.post(f"/login/{user}").text == "welcome"
        return visitor
