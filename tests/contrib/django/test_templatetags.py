"""``{% namespace %}`` and ``{% namespaces_of %}``: a page belongs to what its template lists."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

import pytest
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.urls import path

from pagegen import NamespaceError
from pagegen.contrib.django import cache, get_cache, page
from pagegen.testing import call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware
from tests.contrib.django.conftest import Settings
from tests.contrib.django.shop.models import Item, Review

COMMON = "django.middleware.common.CommonMiddleware"  # says the length, so traces are whole
LIST = Template(
    "{% load pagegen %}{% for item in items %}"
    '{% namespace "item:{id}" id=item.pk %}{{ item.title }} {% endfor %}'
)
ROWS = Template(
    "{% load pagegen %}{% for item in items %}{% namespaces_of item %}{{ item.title }} {% endfor %}"
)
ITEMS = [Item(pk=3, title="lamp", shop_id=1), Item(pk=9, title="vase", shop_id=2)]


def _app(pagegen_settings: Settings, view: Any) -> PageCacheMiddleware:
    module = ModuleType("urls_of_a_test")
    module.urlpatterns = [path("list/", view)]  # type: ignore[attr-defined]
    table = {"pagegen": {"cache_status": True}}
    pagegen_settings(ROOT_URLCONF=module, MIDDLEWARE=[COMMON], PAGEGEN=table)
    return PageCacheMiddleware(get_wsgi_application(), cache=get_cache())


def _render(template: Template, items: Any = ITEMS) -> HttpResponse:
    return HttpResponse(template.render(Context({"items": items})))


@pytest.mark.parametrize(
    ("template", "forgets"),
    [
        (LIST, {"item:3": True, "item:9": True, "item:4": False}),
        (ROWS, {"item:9": True, "shop:1/items": True, "shop:2/items": True, "shop:3/items": False}),
    ],
)
def test_a_page_is_forgotten_by_what_it_lists(
    pagegen_settings: Settings, template: Template, forgets: dict[str, bool]
) -> None:
    @page(share="public", ttl=60, groups=True)
    def listed(request: HttpRequest) -> HttpResponse:
        return _render(template)

    app = _app(pagegen_settings, listed)
    first = call_wsgi(app, environ("GET", "/list/"))
    assert first.text == "lamp vase "
    assert first.trace.endswith("stored")
    for name, forgotten in forgets.items():
        assert call_wsgi(app, environ("GET", "/list/")).trace == "hit"
        cache.invalidate(name)
        trace = call_wsgi(app, environ("GET", "/list/")).trace
        assert (trace != "hit") is forgotten, name


def test_a_rule_without_groups_does_not_store_such_a_page(pagegen_settings: Settings) -> None:
    @page(share="public", ttl=60)
    def listed(request: HttpRequest) -> HttpResponse:
        return _render(LIST)

    app = _app(pagegen_settings, listed)
    for _ in range(2):
        assert call_wsgi(app, environ("GET", "/list/")).trace == "refused-groups"


def test_outside_of_a_request_nothing_happens_but_a_line_for_debugging(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "pagegen"):
        assert _render(LIST).content == b"lamp vase "
    ours = [r for r in caplog.records if r.name.startswith("pagegen")]
    assert {r.levelno for r in ours} == {logging.DEBUG}
    assert "item:" in ours[0].getMessage()


def test_values_are_escaped_as_rules_escape_them(pagegen_settings: Settings) -> None:
    @page(share="public", ttl=60, groups=True)
    def listed(request: HttpRequest) -> HttpResponse:
        return _render(LIST, [Item(pk="7/admin", title="x")])

    app = _app(pagegen_settings, listed)
    call_wsgi(app, environ("GET", "/list/"))
    cache.invalidate("item:7/admin")
    assert call_wsgi(app, environ("GET", "/list/")).trace == "hit"
    cache.invalidate("item:7%2Fadmin")
    assert call_wsgi(app, environ("GET", "/list/")).trace != "hit"


@pytest.mark.parametrize("items", [["no item"], [Item(title="unsaved")]])
def test_a_variable_that_is_not_there_is_an_error_and_no_group(items: Any) -> None:
    with pytest.raises(NamespaceError):
        _render(LIST, items)


def test_a_row_whose_model_declares_nothing_is_an_error() -> None:
    class Undeclared:
        title = "x"

    with pytest.raises(TypeError, match="declares no"):
        _render(ROWS, [Undeclared()])
    assert Review
