"""Path patterns and their index, held against an independent oracle: one regex a pattern."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagegen.errors import ConfigError
from pagegen.patterns import PathIndex, parse_pattern

UUID = "0F8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("/", "/", ()),
        ("/a", "/a", ()),
        ("/a/", "/a/", ()),
        ("/users/{user}", "/users/jo", (("user", "jo"),)),
        ("/users/{user:int}", "/users/42", (("user", "42"),)),
        ("/users/{user:int}", "/users/007", (("user", "7"),)),
        ("/users/{user:int}", "/users/４２", (("user", "42"),)),
        ("/{s:slug}", "/a_B-9", (("s", "a_B-9"),)),
        ("/{u:uuid}", f"/{UUID}", (("u", UUID.lower()),)),
        ("/{s}.html", "/a.b.html", (("s", "a.b"),)),
        ("/v{n:int}-x", "/v3-x", (("n", "3"),)),
        ("/*/x", "/anything/x", ()),
        ("/*/{b}", "/1/2", (("b", "2"),)),
        ("/a/**", "/a", ()),
        ("/a/**", "/a/", ()),
        ("/a/**", "/a/b/c", ()),
        ("/**", "/", ()),
        ("/a/{rest:path}", "/a/b/c", (("rest", "b/c"),)),
        ("/a/{rest:path}", "/a/", (("rest", ""),)),
        ("/{a:int}/{rest:path}", "/1/x/2", (("a", "1"), ("rest", "x/2"))),
    ],
)
def test_a_pattern_matches_and_yields_its_values(
    pattern: str, path: str, values: tuple[tuple[str, str], ...]
) -> None:
    index = PathIndex((parse_pattern(pattern),))
    assert index.first(path) == 0
    assert index.all(path) == [0]
    assert index.values(0, path) == values


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/", ""),
        ("/", "//"),
        ("/a", "/a/"),
        ("/a/", "/a"),
        ("/a", "/A"),
        ("/a", "a"),
        ("/{x}", "/"),
        ("/*", "/"),
        ("/{x}", "/a/b"),
        ("/{x:int}", "/1a"),
        ("/{x:int}", "/-1"),
        ("/{x:int}", "/²"),
        ("/{x:int}", "/" + "1" * 20),
        ("/{x:slug}", "/é"),
        ("/{x:uuid}", "/" + UUID[:-1]),
        ("/{x}.html", "/.html"),
        ("/ab{x}ba", "/aba"),
        ("/a/**", "/ab"),
        ("/a/{rest:path}", "/a"),
        ("/**", "a"),
    ],
)
def test_what_a_pattern_does_not_match(pattern: str, path: str) -> None:
    index = PathIndex((parse_pattern(pattern),))
    assert index.first(path) is None
    assert index.all(path) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (7, "does not start with a slash"),
        ("", "does not start with a slash"),
        ("a", "does not start with a slash"),
        ("//a", "empty or dot segment"),
        ("/a//b", "empty or dot segment"),
        ("/a/../b", "empty or dot segment"),
        ("/.", "empty or dot segment"),
        *((f"/a{c}b", "character that no pattern can hold") for c in "?#%;\n\x00\u200b\xa0"),
        ("/{}", "whose name is no identifier"),
        ("/{1a}", "whose name is no identifier"),
        ("/{:path}", "whose name is no identifier"),
        ("/{a b}", "whose name is no identifier"),
        ("/{a:float}", "unknown type 'float' (there are str, int, slug, uuid, path)"),
        ("/{a:path}/b", "only the last segment may be a rest"),
        ("/**/b", "cannot be read"),
        ("/a*", "cannot be read"),
        ("/{a}{b}", "cannot be read"),
        ("/{a", "cannot be read"),
        ("/a}", "cannot be read"),
        ("/{a}/{a}", "names a parameter twice"),
        ("/{a}/{a:path}", "names a parameter twice"),
    ],
)
def test_a_wrong_pattern_names_problem_and_remedy(text: object, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_pattern(text)
    assert problem in caught.value.problem
    assert caught.value.field == "path"
    assert caught.value.remedy.startswith("Write a path such as")


def test_a_pattern_that_no_request_may_have_is_refused() -> None:
    # A path with a backslash or U+FFFD is a doubt, so a rule for it would never act.
    for text in ("/a\\b", "/a\ufffd"):
        with pytest.raises(ConfigError):
            parse_pattern(text)


def test_an_empty_type_is_refused() -> None:
    with pytest.raises(ConfigError):
        parse_pattern("/{a:}")


def test_leading_zeros_do_not_hide_a_number() -> None:
    # Django, Flask and Starlette all read it as 42: a write there must forget the pages of 42.
    index = PathIndex((parse_pattern("/users/{user:int}"),))
    path = "/users/" + "0" * 30 + "42"
    assert index.first(path) == 0
    assert index.values(0, path) == (("user", "42"),)


@pytest.mark.parametrize(
    ("wide", "narrow", "expect"),
    [
        ("/a", "/a", True),
        ("/{x}", "/a", True),
        ("/{x}", "/{y:int}", True),
        ("/{x}", "/v{y}", True),
        ("/*", "/{y}", True),
        ("/{x:slug}", "/{y:uuid}", True),
        ("/**", "/a/{b}/c", True),
        ("/a/**", "/a", True),
        ("/a/**", "/a/{r:path}", True),
        ("/a/{r:path}", "/a/b", True),
        ("/a/{r:path}", "/a/b/**", True),
        ("/{x:int}", "/7", True),
        ("/{x}.html", "/{y:int}.html", True),
        ("/{x:slug}", "/{y:int}", False),
        ("/{x:int}", "/{y}", False),
        ("/{x:int}", "/{y:uuid}", False),
        ("/{x:uuid}", "/{y:slug}", False),
        ("/a", "/{x}", False),
        ("/a/{r:path}", "/a", False),
        ("/a/{r:path}", "/a/**", False),
        ("/a/b/**", "/a/**", False),
        ("/*", "/**", False),
        ("/{x}.html", "/{y}", False),
    ],
)
def test_covering_is_told_from_the_shapes(wide: str, narrow: str, expect: bool) -> None:
    assert parse_pattern(wide).covers(parse_pattern(narrow)) is expect


# The oracle: each pattern as a regular expression, tried one by one.

TYPES = {"str": "[^/]+", "int": r"\d{1,19}", "slug": "[A-Za-z0-9_-]+", "uuid": "[0-9a-fA-F-]{36}"}
SHAPES = ["a", "b", "1", "{N}", "{N:int}", "{N:slug}", "x{N}", "{N:int}.a", "x{N:int}", "*"]
WORDS = ["a", "b", "1", "07", "xa", "x1", "1.a", "", "é", "a.b"]
PATHS = [
    "/" + "/".join(parts)
    for length in (1, 2, 3)
    for parts in itertools.product(WORDS[: 12 - 2 * length], repeat=length)
]


def _regex(pattern: str) -> re.Pattern[str]:
    out = ""
    for part in pattern[1:].split("/"):
        rest = {"**": "(?:/.*)?", "{rest:path}": "/.*"}.get(part)
        if rest is not None:
            out += rest
            continue
        found = re.fullmatch(r"(.*?)(?:(\*)|\{\w+(?::(\w+))?\})(.*)", part)
        middle = re.escape(part)
        if found is not None:
            kind = TYPES[found[3] or "str"]
            middle = re.escape(found[1]) + kind + re.escape(found[4])
        out += "/" + middle
    return re.compile(out, re.DOTALL)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    shapes = draw(st.lists(st.sampled_from(SHAPES), max_size=3))
    segments = [shape.replace("N", f"p{i}") for i, shape in enumerate(shapes)]
    tail = draw(st.sampled_from(["none", "none", "none", "**", "{rest:path}", ""]))
    if tail != "none" or not segments:
        segments.append("" if tail == "none" else tail)
    return "/" + "/".join(segments)


@settings(deadline=None, max_examples=60)
@given(st.lists(patterns(), max_size=8))
def test_the_index_finds_what_a_loop_over_all_patterns_finds(texts: list[str]) -> None:
    index = PathIndex(tuple(map(parse_pattern, texts)))
    oracle = [_regex(text) for text in texts]
    for path in PATHS:
        expect = [i for i, regex in enumerate(oracle) if regex.fullmatch(path)]
        assert index.all(path) == expect
        assert index.first(path) == (expect[0] if expect else None)


@settings(deadline=None, max_examples=60)
@given(st.lists(patterns(), max_size=6), st.text("/a1x.*{}é\x00%", max_size=12))
def test_no_path_raises(texts: list[str], path: str) -> None:
    index = PathIndex(tuple(map(parse_pattern, texts)))
    expect = [i for i, t in enumerate(texts) if path[:1] == "/" and _regex(t).fullmatch(path)]
    assert index.all(path) == expect
    assert all(isinstance(index.values(i, path), tuple) for i in expect)


@settings(deadline=None, max_examples=400)
@given(patterns(), patterns())
def test_covering_is_never_told_wrongly(wide: str, narrow: str) -> None:
    if not parse_pattern(wide).covers(parse_pattern(narrow)):
        return
    outer, inner = _regex(wide), _regex(narrow)
    assert [p for p in PATHS if inner.fullmatch(p) and not outer.fullmatch(p)] == []


class Counting(dict[Any, Any]):
    """A dictionary that counts look-ups, and each member that somebody goes through."""

    touched = 0

    def get(self, key: Any, default: Any = None) -> Any:
        Counting.touched += 1
        return super().get(key, default)

    def __iter__(self) -> Iterator[Any]:
        for key in super().__iter__():
            Counting.touched += 1
            yield key

    def items(self) -> Any:
        return [(key, self[key]) for key in self]

    def values(self) -> Any:
        return [self[key] for key in self]


def _watch(node: Any) -> None:
    for child in (*node.literals.values(), *node.typed.values()):
        _watch(child)
    node.literals, node.typed = Counting(node.literals), Counting(node.typed)


def _visits(monkeypatch: pytest.MonkeyPatch, index: PathIndex, path: str, verb: str) -> int:
    """Nodes visited and members of nodes looked at while a path is matched."""
    here, visited = PathIndex._here, 0

    def counted(self: PathIndex, *args: Any) -> Iterator[int]:
        nonlocal visited
        visited += 1
        return here(self, *args)

    _watch(index._root)
    Counting.touched = 0
    with monkeypatch.context() as patch:
        patch.setattr(PathIndex, "_here", counted)
        getattr(index, verb)(path)
    return visited + Counting.touched


@pytest.mark.parametrize("verb", ["first", "all"])
@pytest.mark.parametrize("path", ["/section0/7/edit", "/nowhere/7", "/section0/x/y/z"])
def test_a_match_costs_as_much_with_1000_rules_as_with_one(
    monkeypatch: pytest.MonkeyPatch, path: str, verb: str
) -> None:
    costs = {
        _visits(
            monkeypatch,
            PathIndex(tuple(parse_pattern(f"/section{n}/{{id:int}}/edit") for n in range(size))),
            path,
            verb,
        )
        for size in (1, 100, 1000)
    }
    assert len(costs) == 1
    assert min(costs) > 0


def test_a_pattern_that_cannot_win_any_more_is_not_gone_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = PathIndex((parse_pattern("/a/b/c"), parse_pattern("/{x}/y")))
    long = PathIndex((parse_pattern("/a/b/c"), parse_pattern("/{x}/b/{y}/d")))
    costs = {_visits(monkeypatch, index, "/a/b/c", "first") for index in (short, long)}
    assert len(costs) == 1
    assert short.first("/a/b/c") == long.first("/a/b/c") == 0
