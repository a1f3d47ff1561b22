"""Web cache deception: no spelling brings a private page into the hands of somebody else.

A victim follows an attacker's link to their own private page, spelled so that a public rule or a
rule for all takes it. The applications are as careless as they come: their routes take anything
behind ``/account``, and the private page says that it may be kept, and nothing of who it is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import ModuleType
from typing import Any, Final

import pytest
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.test import override_settings
from django.urls import re_path
from flask import Flask, request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from pagegen import Identity, PageCache, Rule, parse_source
from pagegen.asgi import PageCacheMiddleware as AsgiPageCache
from pagegen.stores import MemoryStore
from pagegen.testing import Answer, call_asgi, call_wsgi, environ, scope
from pagegen.wsgi import PageCacheMiddleware as WsgiPageCache
from tests.contrib.django import setting_up
from tests.security.requests_targets import PIECES

CARELESS: Final = {"Cache-Control": "max-age=600"}
SPELLINGS: Final = (
    "", "/", ".css", "/x.css", "/x.js", "/static/x.css", ";x.css", ";a=b", "%3bx.css", "%2Fx.css",
    "%00.css", "%0a.css", "%23.css", "%3f.css", "?x.css", "?.css", "#.css", "/..%2fstatic/x.css",
    "/%2e%2e/static/x.css", "/../static/x.css", "%5Cx.css", "//x.css", "/./x.css", "%2ecss",
    "%252Fx.css", "%c0%afx.css", "%EF%BC%8Ecss", "%E2%80%AE.css", "/favicon.ico", "/robots.txt",
    "?callback=x", "?utm_source=x", "/index.html", ".html", "/page.css/", "%20.css", "+.css",
)  # fmt: skip
#: Paths that begin as the public ones do, and end in the private one where dots are followed.
DETOURS: Final = (
    "/static/../account", "/static/..%2faccount", "/static/%2e%2e/account", "/static//account",
    "/static/..;/account", "/static/..%5caccount", "/static%2f..%2faccount", "/x.css/../account",
    "//account", "/./account", "/%61ccount", "/ACCOUNT", "/account%C2%A0", "/static/..%252faccount",
)  # fmt: skip
Get = Callable[[str, str], Answer]


def rules() -> list[Rule]:
    """One private page, public files, and a rule for all that lets handlers see cookies."""
    return [
        Rule(path="/account", share=["user"], ttl="1h"),
        Rule(path="/static/**", share="public", ttl="1h"),
        Rule(path="/{page}.css", share="public", ttl="1h", other_query="drop"),
        Rule(path="/account/{page}.css", share="public", ttl="1h", other_query="drop"),
        Rule(path="/**", share="public"),
    ]


def cache() -> PageCache:
    """An empty cache of these rules."""
    user = Identity(name="user", sources=(parse_source("cookie:session"),))
    return PageCache(rules(), identities=[user], store=MemoryStore(), cache_status=True)


def flask() -> Any:
    """Flask, whose route takes anything."""
    app = Flask(__name__, static_folder=None)

    @app.route("/", defaults={"rest": ""})
    @app.route("/<path:rest>")
    def account(rest: str) -> Any:
        return f"secret of {request.cookies.get('session')}", CARELESS

    return app


def starlette() -> Starlette:
    """Starlette, whose route takes anything."""

    async def account(made: Request) -> PlainTextResponse:
        return PlainTextResponse(f"secret of {made.cookies.get('session')}", headers=CARELESS)

    return Starlette(routes=[Route("/{rest:path}", account)])


def django() -> Any:
    """Django, whose pattern nobody has closed."""

    def account(made: Any) -> HttpResponse:
        return HttpResponse(f"secret of {made.COOKIES.get('session')}", headers=CARELESS)

    urls = ModuleType("urls")
    urls.urlpatterns = [re_path(r"^", account)]  # type: ignore[attr-defined]
    with override_settings(MIDDLEWARE=[]):
        app = get_wsgi_application()

    def routed(made: Any, start_response: Any) -> Any:
        with override_settings(ROOT_URLCONF=urls):
            return app(made, start_response)

    return routed


def _fields(cookie: str) -> dict[str, str]:
    return {"host": "testserver", **({"cookie": f"session={cookie}"} if cookie else {})}


@contextmanager
def site(name: str) -> Iterator[Get]:
    """A careless application behind an empty cache."""
    setting_up.configure()
    if name in ("Flask", "Django"):
        wsgi = WsgiPageCache(flask() if name == "Flask" else django(), cache=cache())
        yield lambda target, who: call_wsgi(wsgi, environ("GET", target, _fields(who)))
        return
    asgi: Any = AsgiPageCache(starlette(), cache=cache())
    root = "/mounted" if name == "Starlette, mounted" else ""
    if root:
        asgi = Starlette(routes=[Mount(root, app=asgi)])
    with asyncio.Runner() as runner:
        yield lambda target, who: runner.run(
            call_asgi(asgi, scope("GET", root + target, _fields(who)))
        )


SITES: Final = ("Flask", "Django", "Starlette", "Starlette, mounted")


def attack(get: Get, target: str) -> tuple[bool, bool]:
    """One round; whether the victim saw their secret, and whether there was a hit at all."""
    victim = get(target, "ada")
    attacker = [get(target, who) for who in ("", "eve", "")]
    again = get(target, "ada")
    assert not any(b"ada" in answer.body for answer in attacker), target
    assert not any(b"eve" in answer.body for answer in (victim, again, attacker[0])), target
    return b"ada" in victim.body, "hit" in {answer.trace for answer in (*attacker, again)}


@pytest.mark.parametrize("name", SITES)
def test_no_spelling_of_a_private_page_makes_it_public(name: str) -> None:
    with site(name) as get:
        rounds = [attack(get, f"/account{suffix}") for suffix in SPELLINGS]
        rounds += [attack(get, target) for target in DETOURS]
    # The private page was reached past its rule, and public pages were kept meanwhile.
    assert sum(reached for reached, _ in rounds) > 5
    assert sum(hit for _, hit in rounds) > 2


@pytest.mark.parametrize("name", SITES)
def test_no_generated_spelling_of_a_private_page_makes_it_public(name: str) -> None:
    random = Random(19)
    with site(name) as get:
        for _ in range(150):
            tail = "".join(random.choices(PIECES, k=random.randrange(1, 4)))
            front = random.choice(("/account", "/static/", "/"))
            attack(get, front + tail + random.choice(("", ".css", "account", "?.css")))


@pytest.mark.parametrize("name", SITES)
def test_the_public_rule_shows_its_handler_nobody(name: str) -> None:
    with site(name) as get:
        for target in ("/account.css", "/account/x.css", "/static/account"):
            for _ in range(2):
                assert get(target, "ada").text == "secret of None"
            assert get(target, "").trace == "hit"
        assert get("/account", "ada").text == "secret of ada"
        assert get("/account", "ada").trace == "hit"
        assert get("/account", "eve").text == "secret of eve"


ODD: Final = (
    ";x.css", "%3bx.css", "%2Fx.css", "%00.css", "%23.css", "%3f.css", "%5Cx.css", "//x.css",
    "/./x.css", "%2ecss", "%252Fx.css", "%c0%afx.css", "%E2%80%AE.css",
)  # fmt: skip


@pytest.mark.parametrize("name", SITES)
def test_a_path_that_software_reads_in_two_ways_is_under_no_rule(name: str) -> None:
    plain = ("/%61ccount", "/ACCOUNT")
    with site(name) as get:
        for target in (*DETOURS, *(f"/account{suffix}" for suffix in ODD)):
            traces = {get(target, who).trace for who in ("ada", "", "")}
            assert (traces == {"bypass: path"}) is (target not in plain), target
