"""``@page``: rules that stand at views, and the paths that the URLconf gives them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import ModuleType
from typing import Any, get_type_hints

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.http import require_safe

from pagegen import ConfigError, Rule
from pagegen.contrib.django import page
from pagegen.contrib.django.views import PageKeys, declared_rules, origins, problems


@pytest.fixture
def urls() -> Iterator[Any]:
    """Give the URLconf of this test."""
    overrides = []

    def use(*entries: Any) -> None:
        module = ModuleType("urls_of_a_test")
        module.urlpatterns = list(entries)  # type: ignore[attr-defined]
        override = override_settings(ROOT_URLCONF=module)
        override.enable()
        overrides.append(override)

    yield use
    for override in reversed(overrides):
        override.disable()


def paths() -> list[str]:
    return [rule.path for rule in declared_rules()]


@page(share="public", namespaces=["item:{item}"], ttl="1h")
def item(request: HttpRequest, item: int) -> HttpResponse:
    return HttpResponse(f"item {item}")


@page(share="public", ttl="1h")
def anything(request: HttpRequest, **given: Any) -> HttpResponse:
    return HttpResponse(repr(given))


def plain(request: HttpRequest, **given: Any) -> HttpResponse:
    return HttpResponse("plain")


def test_a_view_that_says_page_has_a_rule_of_its_path(urls: Any) -> None:
    urls(path("items/<int:item>/", item), path("plain/", plain))
    (rule,) = declared_rules()
    assert rule == Rule(
        path="/items/{item:int}/", share="public", namespaces=("item:{item}",), ttl="1h"
    )
    assert origins() == {"/items/{item:int}/": f"{__name__}.item"}


@pytest.mark.parametrize(
    ("route", "pattern"),
    [
        ("", "/"),
        ("a", "/a"),
        ("a/", "/a/"),
        ("<x>/", "/{x:str}/"),
        ("<str:x>.html", "/{x:str}.html"),
        ("v<int:x>/<slug:y>/", "/v{x:int}/{y:slug}/"),
        ("u/<uuid:x>", "/u/{x:uuid}"),
        ("f/<path:x>", "/f/{x:path}"),
    ],
)
def test_paths_are_spelled_as_rules_spell_them(urls: Any, route: str, pattern: str) -> None:
    urls(path(route, anything))
    assert paths() == [pattern]


def test_includes_and_namespaces_put_their_part_before(urls: Any) -> None:
    inner = [path("<int:item>/", item), path("<int:item>/more", include([path("-x/", anything)]))]
    urls(path("shops/<slug:shop>/", include((inner, "shop"), namespace="s")))
    below = "/shops/{shop:slug}/{item:int}/"
    assert paths() == [below, f"{below}more-x/"]


def test_a_view_under_several_paths_has_a_rule_of_each(urls: Any) -> None:
    view = page(share="public", ttl=60, name="lists")(plain)
    urls(path("a/", view), path("b/", view))
    assert [(rule.name, rule.path) for rule in declared_rules()] == [
        ("lists /a/", "/a/"),
        ("lists /b/", "/b/"),
    ]


def test_one_view_may_be_declared_here_in_one_way_and_there_in_another(urls: Any) -> None:
    urls(path("a/", page(share="public", ttl=1)(plain)), path("b/", page(cache=False)(plain)))
    assert [(rule.path, rule.ttl, rule.cache) for rule in declared_rules()] == [
        ("/a/", 1, True),
        ("/b/", None, False),
    ]
    assert not vars(plain)


def test_a_decorator_above_keeps_the_declaration(urls: Any) -> None:
    urls(path("a/", require_safe(anything)))
    assert paths() == ["/a/"]


def test_an_asynchronous_view_stays_one(urls: Any) -> None:
    @page(share="public", ttl=1)
    async def later(request: HttpRequest) -> HttpResponse:
        return HttpResponse("later")

    assert asyncio.iscoroutinefunction(later)
    urls(path("later/", later))
    assert paths() == ["/later/"]
    assert asyncio.run(later(HttpRequest())).content == b"later"


class Shown(View):
    def get(self, request: HttpRequest, **given: Any) -> HttpResponse:
        return HttpResponse("shown")


@method_decorator(page(share="public", ttl=1), name="dispatch")
class ByMethod(Shown):
    pass


@page(share="public", ttl=1)
class ByClass(Shown):
    pass


@page(share="public", ttl=2)
class Again(ByClass):
    pass


class Waiting(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("waited")


@pytest.mark.parametrize(
    ("view", "ttl"),
    [
        (page(share="public", ttl=1)(Shown.as_view()), 1),
        (ByMethod.as_view(), 1),
        (ByClass.as_view(), 1),
        (Again.as_view(), 2),
    ],
)
def test_a_class_of_views_is_declared_as_functions_are(urls: Any, view: Any, ttl: int) -> None:
    urls(path("<slug:x>/", view))
    assert [(rule.path, rule.ttl) for rule in declared_rules()] == [("/{x:slug}/", ttl)]
    request = HttpRequest()
    request.method = "GET"
    assert view(request, x="a").content == b"shown"


def test_a_class_of_asynchronous_views_is_declared_too(urls: Any) -> None:
    view = page(share="public", ttl=1)(Waiting).as_view()  # type: ignore[attr-defined]
    urls(path("w/", view))
    assert paths() == ["/w/"]
    request = HttpRequest()
    request.method = "GET"
    assert asyncio.run(view(request)).content == b"waited"


def test_two_declarations_of_one_function_are_a_mistake(urls: Any) -> None:
    urls(path("a/", page(share="public", ttl=2)(anything)))
    with pytest.raises(ConfigError, match="stands at it twice"):
        declared_rules()


def test_the_keys_are_those_of_a_rule_but_the_path() -> None:
    rule = get_type_hints(Rule)
    assert get_type_hints(PageKeys) == {
        name: rule[name]
        for name, f in Rule.__dataclass_fields__.items()
        if f.init and name != "path"
    }


@pytest.mark.parametrize(
    ("said", "problem"),
    [({"shear": "public"}, "Did you mean 'share'"), ({"path": "/a"}, "the URLconf says it")],
)
def test_a_wrong_key_is_refused_where_it_is_written(said: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        page(**said)


def test_a_class_without_dispatch_is_refused() -> None:
    with pytest.raises(ConfigError, match="no dispatch"):
        page(share="public")(dict)


@page(share="public", namespaces=["list:{page}", "shop:{shop}", "all"], ttl=1)
def pages(request: HttpRequest, page: int = 1, shop: str | None = None) -> HttpResponse:
    return HttpResponse("page")


def test_parameters_that_a_path_lacks_are_those_of_the_view_or_the_urlconf(urls: Any) -> None:
    urls(
        path("", pages),
        path("<int:page>/", pages),
        path("<slug:shop>/<int:page>/", pages),
        path("news/", pages, {"shop": "the/news"}),
    )
    assert [rule.namespaces for rule in declared_rules()] == [
        ("list:1", "all"),
        ("list:{page}", "all"),
        ("list:{page}", "shop:{shop}", "all"),
        ("list:1", "shop:the%2Fnews", "all"),
    ]


def test_what_the_urlconf_gives_wins_over_the_path_as_it_does_in_django(urls: Any) -> None:
    urls(path("<slug:shop>/", pages, {"shop": "real"}))
    assert declared_rules()[0].namespaces == ("list:1", "shop:real", "all")


def test_a_query_parameter_is_no_argument_of_the_view(urls: Any) -> None:
    @page(
        share="public", namespaces=["list:{page}"], ttl=1,
        query={"page": {"type": "int", "default": 1}},
    )  # fmt: skip
    def listed(request: HttpRequest, page: int = 9) -> HttpResponse:
        return HttpResponse()

    urls(path("", listed))
    assert declared_rules()[0].namespaces == ("list:{page}",)


def test_a_mistake_names_view_path_and_remedy(urls: Any) -> None:
    urls(path("items/", page(share="public", namespaces=["item:{id}"], ttl=1)(plain)))
    (error,) = problems()
    assert "plain at 'items/'" in str(error)
    assert "which is not a path or query parameter" in str(error)
    with pytest.raises(ConfigError):
        declared_rules()


def test_all_mistakes_are_found_at_once_and_the_right_rules_beside_them(urls: Any) -> None:
    wrong = page(share="public", ttl="soon")(plain)
    urls(path("a/", wrong), path("b/", anything), path("c/", page(ttl=1)(plain)))
    assert len(problems()) == 2


def test_a_urlconf_that_cannot_be_imported_is_for_djangos_own_checks() -> None:
    with override_settings(ROOT_URLCONF="there.is.none"):
        assert problems() == []
        with pytest.raises(ModuleNotFoundError):
            declared_rules()


def test_without_a_urlconf_there_are_no_rules() -> None:
    with override_settings(ROOT_URLCONF=None):
        assert declared_rules() == ()
