"""A rule takes no path of another view: what Django's order means for it, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import converters, get_resolver, include, path, re_path, register_converter
from django.urls.exceptions import Resolver404
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from pagegen import ConfigError, Rule
from pagegen.contrib.django import page
from pagegen.contrib.django.routes import _begins_with, _within_a_segment
from pagegen.contrib.django.views import declared_rules, problems
from pagegen.rulebook import RuleBook


class Year:
    regex = "[0-9]{4}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


class Parts(converters.StringConverter):
    regex = "[a-z]+(/[a-z]+)*"


register_converter(Year, "yyyy")
register_converter(Parts, "parts")


def urlconf(*entries: Any) -> override_settings:
    module = ModuleType("urls_of_a_test")
    module.urlpatterns = list(entries)  # type: ignore[attr-defined]
    return override_settings(ROOT_URLCONF=module)


@pytest.fixture
def urls() -> Iterator[Any]:
    """Give the URLconf of this test."""
    overrides = []

    def use(*entries: Any) -> None:
        overrides.append(urlconf(*entries))
        overrides[-1].enable()

    yield use
    for override in reversed(overrides):
        override.disable()


def plain(request: HttpRequest, **given: Any) -> HttpResponse:
    return HttpResponse("plain")


@page(share="public", ttl=1)
def cached(request: HttpRequest, **given: Any) -> HttpResponse:
    return HttpResponse("cached")


def made() -> list[tuple[str, bool]]:
    return [(rule.path, rule.cache) for rule in declared_rules()]


def test_a_view_that_stands_before_a_page_keeps_its_paths(urls: Any) -> None:
    urls(path("items/new", plain), path("items/<slug:item>", cached))
    assert made() == [("/items/new", False), ("/items/{item:slug}", True)]


def test_a_view_behind_a_page_needs_no_guard(urls: Any) -> None:
    urls(path("items/<int:item>", cached), path("items/<slug:item>", plain))
    assert made() == [("/items/{item:int}", True)]


def test_views_whose_paths_no_page_has_are_left_out(urls: Any) -> None:
    urls(path("a/", plain), path("b/<int:x>", plain), path("c/x", plain), path("c/<int:x>", cached))
    assert made() == [("/c/{x:int}", True)]


def test_a_page_for_get_alone_leaves_head_to_nobody_else(urls: Any) -> None:
    only = page(share="public", ttl=1, methods=["GET"])(plain)
    urls(path("a/<int:x>", only), path("a/<slug:x>", cached))
    assert [(rule.path, rule.cache, rule.methods) for rule in declared_rules()] == [
        ("/a/{x:int}", True, ("GET",)),
        ("/a/{x:int}", False, ("HEAD",)),
        ("/a/{x:slug}", True, ("GET", "HEAD")),
    ]
    RuleBook(declared_rules())


def test_a_page_that_django_never_reaches_is_a_mistake(urls: Any) -> None:
    urls(path("<slug:x>/", plain), path("a/", cached))
    with pytest.raises(ConfigError, match=r"stands behind '/.x:slug./'"):
        declared_rules()


def test_a_guard_that_a_rule_of_the_settings_covers_is_left_out(urls: Any) -> None:
    urls(path("admin/x", plain), path("<slug:x>/<slug:y>", cached))
    before = Rule(path="/admin/**", cache=False)
    assert [rule.cache for rule in declared_rules()] == [False, True]
    rules = declared_rules([before])
    assert [rule.cache for rule in rules] == [True]
    RuleBook((before, *rules))


def test_the_path_where_a_rest_would_be_empty_is_left_to_its_view(urls: Any) -> None:
    # In Django "files/" never matches the first route; the rule of that would take it.
    urls(path("files/<path:name>", cached), path("files/", plain))
    assert made() == [("/files/", False), ("/files/{name:path}", True)]


def test_a_page_behind_a_rest_has_its_own_path(urls: Any) -> None:
    urls(path("files/<path:name>", plain), path("files/", cached))
    assert ("/files/", True) in made()
    found = RuleBook(declared_rules()).match("GET", "/files/")
    assert found is not None and found[0].cache


@pytest.mark.parametrize(
    "entry",
    [
        re_path(r"^items/(?P<x>\d+)/$", cached),
        re_path(r"^items/", include([path("<int:x>/", cached)])),
        path("items/", include([re_path(r"^a$", cached)])),
        path(gettext_lazy("items/"), cached),
        path("<int:x>-<int:y>/", cached),
        path("<path:x>/more", cached),
        path("a<path:x>", cached),
        path("<parts:x>", cached),
        path("a;b", cached),
        path("a//b", cached),
        path("é<int:x>/<int:ñ>", cached),
        *i18n_patterns(path("items/", cached)),
    ],
    ids=str,
)
def test_what_can_be_no_rule_is_refused_with_a_remedy(urls: Any, entry: Any) -> None:
    urls(entry)
    (error,) = problems()
    assert "cached at " in str(error)
    assert re.search(r"PAGEGEN|Write a path|Write the path", error.remedy)
    with pytest.raises(ConfigError):
        declared_rules()


@pytest.mark.parametrize(
    ("entry", "guards"),
    [
        (re_path(r"^items/(?P<x>\d+)/$", plain), ["/items/**"]),
        (re_path(r"^items/a\-b$", plain), ["/items/a-b"]),
        (re_path(r"^static/(?P<path>.*)$", plain), []),
        (path("items/<yyyy:x>-<yyyy:y>", plain), ["/items/*"]),
        (path("items/<path:x>/more", plain), ["/items/**"]),
        (path("items/a//b", plain), []),
        (path(gettext_lazy("items/"), plain), None),
        (re_path(r"(?i)^items/", plain), None),
        (re_path(r"^a|b", plain), None),
    ],
    ids=str,
)
def test_what_can_be_no_rule_still_keeps_rules_away(urls: Any, entry: Any, guards: Any) -> None:
    last = path("items/<slug:a>", cached)
    urls(entry, last)
    if guards is None or guards == ["/items/**"] or guards == ["/items/*"]:
        with pytest.raises(ConfigError, match="Move its path\\(\\) before"):
            declared_rules()
        return
    assert [path for path, cache in made() if not cache] == guards


def test_paths_by_language_keep_rules_away_for_each_language(urls: Any) -> None:
    both = i18n_patterns(path("a/", plain), prefix_default_language=False)
    urls(*both, path("<slug:x>/a/", cached), path("<slug:x>/", cached))
    assert made() == [
        ("/en/a/", False),
        ("/de/a/", False),
        ("/a/", False),
        ("/{x:slug}/a/", True),
        ("/{x:slug}/", True),
    ]


def test_a_converter_of_ones_own_is_taken_where_nothing_stands_behind_it(urls: Any) -> None:
    urls(path("archive/<yyyy:year>/", cached), path("x/<slug:name>/", plain))
    assert made() == [("/archive/{year:str}/", True)]


def test_a_converter_of_ones_own_is_refused_where_a_view_may_take_the_rest(urls: Any) -> None:
    # /archive/ada/ is no year: Django gives it to the other view, the rule would not.
    urls(path("archive/<yyyy:year>/", cached), path("archive/<slug:name>/", plain))
    with pytest.raises(ConfigError, match="takes more paths than Year"):
        declared_rules()


@pytest.mark.parametrize(
    ("regex", "within"),
    [
        ("[0-9]{4}", True),
        (r"[^/]+", True),
        (r"\d+|[a-z]+", True),
        (r"[\w.-]+", True),
        (r"(?P<a>[ab])\1", True),
        (r".+", False),
        (r"\S+", False),
        ("[^x]+", False),
        ("[!-~]+", False),
        ("a/b", False),
        (r"a\/b", False),
    ],
)
def test_whether_a_regular_expression_can_hold_a_slash(regex: str, within: bool) -> None:
    assert _within_a_segment(regex) is within
    if not within:
        assert re.fullmatch(regex, "a/b")


@pytest.mark.parametrize(
    ("regex", "literal"),
    [
        (r"^a/b/$", ("a/b/", True)),
        (r"^a\.ico$", ("a.ico", True)),
        (r"^a/(?P<x>.*)$", ("a/", False)),
        (r"^ab?$", ("a", False)),
        (r"^ab*", ("a", False)),
        (r"^a\.?b", ("a", False)),
        (r"a/", ("", False)),
        (r"^a|b", ("", False)),
    ],
)
def test_the_beginning_of_a_regular_expression(regex: str, literal: tuple[str, bool]) -> None:
    assert _begins_with(regex) == literal


@pytest.mark.parametrize(
    ("route", "target", "value"),
    [
        ("<int:x>", "007", "7"),
        ("v<int:x>", "v7", "7"),
        ("<int:x>.b", "7.b", "7"),
        ("<int:x>", "1" * 20, "1" * 20),
        ("<uuid:x>", "00000000-0000-0000-0000-00000000000a", None),
        ("<int:x>", "1" * 5_000, ...),
        ("<int:x>", "\u0663", ...),
        ("<int:x>", "", ...),
        ("v<int:x>v", "v", ...),
        ("v<int:x>", "7", ...),
        ("<int:x>v", "7", ...),
        ("<uuid:x>", "00000000-0000-0000-0000-00000000000A", ...),
    ],
)
def test_numbers_and_uuids_are_read_as_django_reads_them(
    urls: Any, route: str, target: str, value: Any
) -> None:
    urls(path(route, page(share="public", ttl=1)(lambda request, x: HttpResponse())))
    found = RuleBook(declared_rules()).match("GET", f"/{target}")
    if value is ...:
        assert found is None
        with pytest.raises(Resolver404):
            get_resolver().resolve(f"/{target}")
        return
    assert found is not None and get_resolver().resolve(f"/{target}")
    assert dict(found[1]) == {"x": value or target}


def shown(request: HttpRequest, x: object) -> HttpResponse:
    return HttpResponse()


def test_a_rule_of_the_settings_keeps_no_more_numbers_from_others_than_it_takes(urls: Any) -> None:
    mine = page(share="public", ttl=1)(shown)
    before = Rule(path="/a/{x:int}", share="public", ttl=1)
    urls(path("a/<int:x>", shown), path("a/<str:x>", mine))
    book = RuleBook((before, *declared_rules([before])))
    for target, cached in [("7", True), ("7" * 20, False), ("\u0663", True), ("b", True)]:
        found = book.match("GET", f"/a/{target}")
        assert found is not None and found[0].cache is cached
    urls(path("a/<int:x>", mine))
    with pytest.raises(ConfigError, match="Remove one of them"):
        declared_rules([before])


@pytest.mark.parametrize("kind", ["int", "uuid"])
def test_the_same_numbers_under_another_name_are_never_reached(urls: Any, kind: str) -> None:
    mine, other = (page(share="public", ttl=1)(lambda request, **given: None) for _ in "ab")
    urls(path(f"a/<{kind}:x>", mine), path(f"a/<{kind}:y>", other))
    with pytest.raises(ConfigError, match="Move its path"):
        declared_rules()


PIECES = st.sampled_from(
    ["a", "b", "1", "<int:x>", "<slug:x>", "<str:x>", "v<int:x>", "<slug:x>.b", "<path:x>",
     "<yyyy:x>", "<uuid:x>", "<int:x>.b", ""]
)  # fmt: skip


def _route(pieces: list[str]) -> str:
    return "/".join(piece.replace("x>", f"x{n}>") for n, piece in enumerate(pieces))


ROUTES = st.lists(PIECES, min_size=1, max_size=3).map(_route)
UUID = "00000000-0000-0000-0000-00000000000a"
#: What pagegen's own types take otherwise than Django's converters: capital letters, digits of
#: other scripts, more of them than Python reads, and more than an id of 64 bits has.
ODD = [UUID.upper(), "\u0663", "v\u0663", "\u0663.b", "1" * 20, "1" * 5_000]
WORDS = st.sampled_from(["a", "b", "1", "v1", "2024", "c", "a.b", "v", "", "1.b", UUID, *ODD])
TARGETS = st.lists(WORDS, min_size=1, max_size=4).map("/".join)


@given(
    st.lists(st.tuples(ROUTES, st.booleans(), st.booleans()), min_size=1, max_size=5),
    st.lists(TARGETS, min_size=1, max_size=8),
)
def test_no_rule_ever_takes_a_path_that_django_gives_to_another_view(
    routes: list[tuple[str, bool, bool]], targets: list[str]
) -> None:
    entries: list[Any] = []
    views: dict[str, Any] = {}
    for number, (route, is_page, is_regex) in enumerate(routes):

        def view(request: HttpRequest, number: int = number, **given: Any) -> HttpResponse:
            return HttpResponse(str(number))

        if is_page:
            view = page(share="public", ttl=1, name=f"p{number}")(view)
            views[f"p{number}"] = view
        if is_regex and not is_page and "<" not in route:
            entries.append(re_path(f"^{route}", view))
        else:
            entries.append(path(route, view))
    with urlconf(*entries):
        try:
            rules = declared_rules()
        except ConfigError:
            return
        book = RuleBook(rules)
        for target in targets:
            found = book.match("GET", f"/{target}")
            if found is None or not found[0].cache or "//" in f"/{target}":
                continue
            try:
                shown = get_resolver().resolve(f"/{target}").func
            except Resolver404:
                continue
            assert shown is views[found[0].name], (target, found[0].path)
