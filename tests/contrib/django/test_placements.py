"""Inside Django or around it: what docs/explanation/inside-django-or-around-it.md says of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import Client
from django.urls import path
from django.utils import translation

from pagegen.contrib.django import cache, get_cache, page
from pagegen.testing import Answer, call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware
from tests.contrib.django.conftest import Settings
from tests.contrib.django.setting_up import MIDDLEWARE

INSIDE = "pagegen.contrib.django.middleware.PageCacheMiddleware"
LOCALE = "django.middleware.locale.LocaleMiddleware"
Send = Callable[..., Answer]
seen: list[str] = []


def counting(get_response: Any) -> Any:
    """A middleware in front: notes which requests it sees."""

    def middleware(request: HttpRequest) -> Any:
        seen.append(request.path)
        return get_response(request)

    return middleware


# LocaleMiddleware says Vary: Accept-Language of every page.
LANGUAGES = {"accept-language": {"values": ["en", "de"]}}


@page(share="public", namespaces=["item:{item}"], ttl="1h", headers=LANGUAGES)
def show(request: HttpRequest, item: int) -> HttpResponse:
    return HttpResponse(f"item {item}")


@page(share="public", ttl="1h", headers=LANGUAGES)
def hello(request: Any) -> HttpResponse:
    return HttpResponse(f"hello {request.user.username or 'stranger'}")


@page(share="public", ttl="1h", headers=LANGUAGES)
def count(request: Any) -> HttpResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(f"visit {request.session['count']}")


@page(share="public", ttl="1h", headers=LANGUAGES)
def form(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return HttpResponse("posted")
    return HttpResponse(get_token(request))


@page(share="public", ttl="1h", headers=LANGUAGES)
def speak(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(translation.get_language()))


URLS = ModuleType("urls_of_the_placements")
URLS.urlpatterns = [  # type: ignore[attr-defined]
    path("items/<int:item>/", show),
    path("hello/", hello),
    path("count/", count),
    path("form/", form),
    path("speak/", speak),
]


@pytest.fixture(params=["inside", "around"])
def placement(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def send(placement: str, pagegen_settings: Settings) -> Iterator[Send]:
    """Sends requests through the whole of it."""
    rest = [name for name in MIDDLEWARE if name != INSIDE or placement == "inside"]
    pagegen_settings(
        ROOT_URLCONF=URLS,
        MIDDLEWARE=[f"{__name__}.counting", *rest, LOCALE],
        PAGEGEN={"pagegen": {"cache_status": True}},
    )
    app: Any = WSGIHandler()
    if placement == "around":
        app = PageCacheMiddleware(app, cache=get_cache())

    def send(target: str, headers: dict[str, str] | None = None) -> Answer:
        seen.clear()
        return call_wsgi(app, environ("GET", target, headers))

    yield send


def _logged_in() -> dict[str, str]:
    ada = get_user_model().objects.create_user("ada")
    client = Client()
    client.force_login(ada)
    return {"cookie": f"sessionid={client.cookies['sessionid'].value}"}


def test_a_page_is_stored_served_and_forgotten(send: Send) -> None:
    send("/items/7/")
    assert send("/items/7/").trace == "hit"
    cache.invalidate("item:7")
    assert send("/items/7/").trace == "stale, stored"


def test_middleware_in_front_runs_on_hits_inside_alone(send: Send, placement: str) -> None:
    send("/items/7/")
    assert seen == ["/items/7/"]
    assert send("/items/7/").trace == "hit"
    assert seen == (["/items/7/"] if placement == "inside" else [])


@pytest.mark.usefixtures("database")
def test_the_user_of_a_public_page_is_there_inside_and_nobody_around(
    send: Send, placement: str
) -> None:
    ada = _logged_in()
    texts = {send("/hello/", headers).text for headers in (ada, None, ada, None)}
    assert texts == (
        {"hello ada", "hello stranger"} if placement == "inside" else {"hello stranger"}
    )
    for headers in (ada, None):
        assert send("/hello/", headers).trace != "hit"


@pytest.mark.usefixtures("database")
def test_a_session_that_a_page_uses_works_inside_and_is_empty_around(
    send: Send, placement: str
) -> None:
    session = SessionStore()
    session["count"] = 4
    session.save()
    visitor = {"cookie": f"sessionid={session.session_key}"}
    texts = [send("/count/", visitor).text for _ in range(2)]
    assert texts == (["visit 5", "visit 6"] if placement == "inside" else ["visit 1", "visit 1"])
    assert send("/count/").text == "visit 1"


def test_a_page_with_a_csrf_token_is_nobody_elses(send: Send) -> None:
    first, second = send("/form/"), send("/form/")
    assert first.text != second.text
    for answer in (first, second):
        assert "hit" not in answer.trace
        assert "csrftoken" in str(dict(answer.fields)["Set-Cookie"])


def test_a_language_that_is_keyed_and_chosen_behind_has_its_own_page(send: Send) -> None:
    for language in ("de", "en", "de"):
        assert send("/speak/", {"accept-language": language}).text == language
    assert send("/speak/", {"accept-language": "de;q=0.9, fr"}).trace == "hit"
