"""The file: the design's example, the same rules in Python, and every mistake with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from pagegen import PageCache
from pagegen.config import Configuration, Settings, from_table, load
from pagegen.errors import ConfigError
from pagegen.identities import Identity, parse_source
from pagegen.rules import Invalidates, Rule

# Section 2 of the design, with the store of this version and only sources that can be imported.
EXAMPLE = """
[pagegen]
store = "memory://"
site  = "catalogue"              # our name in a store shared with others

[identity.user]                  # who is asking; the first source that answers wins
from = ["scope:user.id", "environ:REMOTE_USER", "cookie:session"]

[[rule]]
name       = "favorites"
path       = "/users/{user:int}/favorites"
share      = "public"
namespaces = ["user:{user}/favorites"]
ttl        = "7d"
swr        = "30s"
sie        = "1h"
[rule.query]
start = { type = "int", default = 0, min = 0 }
end   = { type = "int", default = 20, min = 1, max = 10000 }

[[rule]]
path  = "/admin/**"
cache = false

[[invalidates]]
methods    = ["POST", "DELETE"]
path       = "/users/{user:int}/favorites/{item}"
namespaces = ["user:{user}/favorites", "item:{item}"]
"""
IN_PYTHON = (
    Rule(
        name="favorites",
        path="/users/{user:int}/favorites",
        share="public",
        namespaces=["user:{user}/favorites"],
        ttl="7d",
        swr="30s",
        sie="1h",
        query={
            "start": {"type": "int", "default": 0, "min": 0},
            "end": {"type": "int", "default": 20, "min": 1, "max": 10000},
        },
    ),
    Rule(path="/admin/**", cache=False),
)


def read(tmp_path: Path, text: str) -> Configuration:
    """The configuration of a file with this text."""
    file = tmp_path / "pagegen.toml"
    file.write_text(text, encoding="utf-8")
    return load(file)


def test_the_example_of_the_design_loads(tmp_path: Path) -> None:
    built = read(tmp_path, EXAMPLE)
    assert built.settings == Settings(store="memory://", site="catalogue")
    assert [rule.name for rule in built.book.rules] == ["favorites", "/admin/**"]
    assert [str(s) for s in built.book.identities["user"].sources] == [
        "scope:user.id",
        "environ:REMOTE_USER",
        "cookie:session",
    ]
    assert built.book.invalidates[0].methods == ("POST", "DELETE")
    assert built.directory == tmp_path.resolve()


def test_the_same_rules_in_python_are_equal_and_have_the_same_fingerprints(
    tmp_path: Path,
) -> None:
    book = read(tmp_path, EXAMPLE).book
    assert book.rules == IN_PYTHON
    assert [r.fingerprint for r in book.rules] == [r.fingerprint for r in IN_PYTHON]
    assert book.identities["user"] == Identity(
        name="user",
        sources=tuple(
            map(parse_source, ("scope:user.id", "environ:REMOTE_USER", "cookie:session"))
        ),
    )
    assert book.invalidates == (
        Invalidates(
            methods=["POST", "DELETE"],
            path="/users/{user:int}/favorites/{item}",
            namespaces=["user:{user}/favorites", "item:{item}"],
        ),
    )


def test_a_cache_from_the_file_and_one_from_python_find_the_same_slot(tmp_path: Path) -> None:
    (tmp_path / "pagegen.toml").write_text(EXAMPLE, encoding="utf-8")
    caches = [
        PageCache.from_toml(tmp_path / "pagegen.toml"),
        PageCache(rules=IN_PYTHON, site="catalogue"),
    ]
    found = [cache.inspect("/users/42/favorites", "end=20") for cache in caches]
    assert found[0] == found[1]
    assert found[0].namespaces[0] == "user:42/favorites"
    for cache in caches:
        cache.close()


def test_an_empty_file_is_a_cache_without_rules(tmp_path: Path) -> None:
    built = read(tmp_path, "")
    assert built.settings == Settings()
    assert built.book.rules == ()
    assert from_table({}).directory is None


class Mistake(NamedTuple):
    """A file and what is said of it: where, in which field, what, and what to do."""

    id: str
    text: str
    where: str
    problem: str
    remedy: str


R = '[[rule]]\nname = "r"\npath = "/{a}"\nshare = "public"\n'
MISTAKES = [
    Mistake("bad-toml", "[pagegen\n", "", "is not TOML: ", "Correct the line"),
    Mistake("toml-line", "[pagegen]\nsite = x\n", "", "line 2", "Correct the line"),
    Mistake("twice", "[pagegen]\n[pagegen]\n", "", "is not TOML", "Correct the line"),
    Mistake("section", "[pagegn]\n", "pagegn", "unknown key 'pagegn'", "Did you mean 'pagegen'?"),
    Mistake("rules", "[[rules]]\n", "rules", "unknown key 'rules'", "Did you mean 'rule'?"),
    Mistake("invalidate", "[[invalidate]]", "invalidate", "unknown key", "'invalidates'?"),
    Mistake("far", "[xyzzy]\n", "xyzzy", "unknown key 'xyzzy'", "Known are identity, invalidates"),
    Mistake("one-rule", "[rule]\n", "", "[rule] is one table", "Write [[rule]]"),
    Mistake("one-write", "[invalidates]\n", "", "[invalidates] is one", "Write [[invalidates]]"),
    Mistake("rule-text", 'rule = ["a"]', "[[rule]]", "'a' is no table", "Write [[rule]]"),
    Mistake("no-table", "pagegen = 5", "[pagegen]", "5 is no table", "Write [pagegen]"),
    Mistake("no-ident", "identity = 5", "[identity]", "5 is no table", "Write [identity]"),
    Mistake("ident", "[identity]\na = 5", "[identity.a]", "5 is no table", "Write [identity.a]"),
    Mistake("key", "[pagegen]\nstor = 1", "[pagegen]: stor", "unknown key", "Did you mean 'store'"),
    Mistake("store", "[pagegen]\nstore = 1", "[pagegen]: store", "is not text", "in quotes"),
    Mistake("site", "[pagegen]\nsite = 1", "[pagegen]: site", "is not text", "in quotes"),
    Mistake("release", "[pagegen]\nrelease = 1", "[pagegen]: release", "is not text", "in quotes"),
    Mistake(
        "switch", "[pagegen]\ncache_status = 1", "[pagegen]: cache_status", "no switch", "true"
    ),
    Mistake("wait", '[pagegen]\nmax_wait = "5"', "[pagegen]: max_wait", "is not a dur", '"30s"'),
    Mistake("waits", "[pagegen]\nmax_wait = 301", "[pagegen]: max_wait", "too long", "5 minutes"),
    Mistake("nan", "[pagegen]\nmax_wait = nan", "[pagegen]: max_wait", "is not", "30s"),
    Mistake("true", "[pagegen]\nmax_wait = true", "[pagegen]: max_wait", "is not", "30s"),
    Mistake("patience", "[pagegen]\npatience = 1", "[pagegen]: patience", "unknown key", "Known"),
    Mistake("bench", "[pagegen]\nmax_waiters = -1", "[pagegen]: max_waiters", "no number", "whole"),
    Mistake("pass", '[pagegen]\npassthrough = "a"', "[pagegen]: passthrough", "is no list", "list"),
    Mistake(
        "pass-host", '[pagegen]\npassthrough = ["host"]', "[pagegen]: passthrough", "'host'", ""
    ),
    Mistake("i-key", '[identity.u]\nfrm = ["a"]', "[identity.u]: frm", "unknown key", "'from'?"),
    Mistake("i-none", "[identity.u]\n", "[identity.u]: from", "without a source", "cookie:session"),
    Mistake(
        "i-src", '[identity.u]\nfrom = ["x"]', "[identity.u]: from", "'x' is no source", "header"
    ),
    Mistake(
        "i-text", '[identity.u]\nfrom = "cookie:a"', "[identity.u]: from", "no list", "list such"
    ),
    Mistake(
        "i-name", '[identity."a b"]\nfrom = ["cookie:a"]', "[identity.a b]", "no name", "letters"
    ),
    Mistake("no-path", '[[rule]]\nname = "r"\n', 'rule "r": path', "has no path", "Add path = …"),
    Mistake("nothing", "[[rule]]\n", 'rule "rule number 1": path', "has no path", "Add path"),
    Mistake("r-key", R + "tll = 1", 'rule "r": tll', "unknown key 'tll'", "Did you mean 'ttl'?"),
    Mistake("derived", R + "lifetimes = 1", 'rule "r": lifetimes', "unknown key", "Known are"),
    Mistake("unshared", '[[rule]]\npath = "/"', 'rule "/": share', "does not say who", "public"),
    Mistake("who", '[[rule]]\npath = "/"\nshare = "u"', 'rule "/": share', "not public", '["u"]'),
    Mistake(
        "identity",
        '[[rule]]\npath="/"\nshare=["u"]',
        'rule "/": share',
        "unknown identity",
        "Declare",
    ),
    Mistake("param", R + 'namespaces=["x:{b}"]', 'rule "r": namespaces[0]', "{b}", "Known here: a"),
    Mistake(
        "ambiguous",
        R + 'namespaces=["{a}"]\nquery.a.default = ""',
        'rule "r": namespaces[0]',
        "more than one thing",
        "Write {path.a} or {query.a}",
    ),
    Mistake(
        "optional",
        R + 'namespaces=["{b}"]\nquery.b.type = "int"',
        'rule "r": namespaces[0]',
        "which may be absent",
        "Give query.b a default",
    ),
    Mistake("query", R + "query = 1", 'rule "r": query', "1 is no table", "[rule.query]"),
    Mistake("q-kind", R + 'query.b = "int"', 'rule "r": query.b', "declares nothing", "Write {"),
    Mistake("q-key", R + "query.b.mn = 1", 'rule "r": query.b.mn', "unknown key 'mn'", "'min'?"),
    Mistake("q-type", R + 'query.b.type = "i"', 'rule "r": query.b.type', "'i' is no type", "int"),
    Mistake(
        "min-max",
        R + 'query.b = {type="int",min=2,max=1}',
        'rule "r": query.b.min',
        "above",
        "Swap",
    ),
    Mistake(
        "default",
        R + 'query.b = {type="int",default="x"}',
        'rule "r": query.b.default',
        "'x' is not a value",
        "Give a default",
    ),
    Mistake(
        "enum", R + 'query.b = {type="enum"}', 'rule "r": query.b.values', "do not fit", "Give"
    ),
    Mistake("header", R + "headers.Range = {}", 'rule "r": headers.Range', "no name here", "lower"),
    Mistake("h-key", R + "headers.x = {a=1}", 'rule "r": headers.x.a', "unknown key", "Known are"),
    Mistake("cookie", R + 'cookies."a b" = {}', 'rule "r": cookies.a b', "no name here", "Cookies"),
    Mistake("ttl", R + 'ttl = "soon"', 'rule "r": ttl', "'soon' is not a duration", '"30s"'),
    Mistake("date", R + "ttl = 1979-05-27", 'rule "r": ttl', "is not a duration", '"30s"'),
    Mistake("status", R + 'ttl = { ok = "1s" }', 'rule "r": ttl.ok', "no status", "200 to 599"),
    Mistake("size", R + 'max_body = "big"', 'rule "r": max_body', "is not a size", '"500kB"'),
    Mistake("method", R + 'methods = ["PUT"]', 'rule "r": methods', "'PUT' is not cached", "Only"),
    Mistake("drop", R + 'drop_query = ["@x"]', 'rule "r": drop_query', "no preset", "@tracking"),
    Mistake(
        "cookies", R + 'set_cookie = "a"', 'rule "r": set_cookie', "no choice", "refuse or drop"
    ),
    Mistake(
        "other", R + 'other_query = "a"', 'rule "r": other_query', "no choice", "bypass or drop"
    ),
    Mistake("cache", R + "cache = false", 'rule "r": share', "cache = false", "Remove share"),
    Mistake(
        "pattern", '[[rule]]\npath = "/{a"', 'rule "/{a": path', "cannot be read", "Write a path"
    ),
    Mistake("path", "[[rule]]\npath = 5", 'rule "5": path', "start with a slash", "Write a path"),
    Mistake("name", R + R, 'rule "r": name', "taken by an earlier rule", "a name of its own"),
    Mistake(
        "unreachable",
        R + '[[rule]]\npath = "/b"\ncache = false',
        'rule "/b": path',
        'can never match: rule "r" (/{a})',
        "Move this rule above it",
    ),
    Mistake(
        "w-path", "[[invalidates]]", 'invalidates "invalidates number 1": path', "no path", "Add"
    ),
    Mistake(
        "w-ns", '[[invalidates]]\npath="/"', 'invalidates "/": namespaces', "has no namesp", "Add"
    ),
    Mistake(
        "w-key",
        "[[invalidates]]\nmethod=1",
        'invalidates "invalidates number 1": method',
        "unknown key",
        "Did you mean 'methods'?",
    ),
    Mistake(
        "w-get",
        '[[invalidates]]\npath="/"\nnamespaces=["a"]\nmethods=["GET"]',
        'invalidates "/": methods',
        "'GET' is no unsafe method",
        "POST, PUT",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.id)
def test_a_mistake_names_file_place_problem_and_remedy(tmp_path: Path, mistake: Mistake) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, mistake.text)
    error = caught.value
    place = ": ".join(part for part in (str(tmp_path / "pagegen.toml"), mistake.where) if part)
    assert str(error) == f"{place}: {error.problem}. {error.remedy}"
    assert mistake.problem in error.problem
    assert mistake.remedy in error.remedy
    assert error.remedy
    assert not error.problem.endswith(".")


def test_a_file_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml")
    assert str(caught.value) == (
        f"{tmp_path / 'none.toml'}: cannot be read (No such file or directory). "
        f"Check the path and its rights; it stands for {tmp_path / 'none.toml'}"
    )


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_a_file_that_is_not_utf_8_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "latin.toml"
    file.write_bytes('[pagegen]\nsite = "caf\xe9"'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin.toml: is not UTF-8. Save it"):
        load(file)


@pytest.mark.parametrize(
    ("store", "problem"),
    [
        ("sqlite://.pagegen", "a kind of store that is not known"),
        ("nonsense", 'has no "://"'),
        ("memory://host", "what a memory store cannot do"),
        ("memory://?sice=1", "an option sice that this store does not know"),
        ("memory://?size=big", "is not a size"),
    ],
)
def test_a_wrong_store_names_the_file_and_the_field(
    tmp_path: Path, store: str, problem: str
) -> None:
    file = tmp_path / "pagegen.toml"
    file.write_text(f'[pagegen]\nstore = "{store}"', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        PageCache.from_toml(file)
    assert str(caught.value).startswith(f"{file}: [pagegen]: store: ")
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    "source", ["call:no_such_module_here:f", "call:json:no_such", "call:os:sep"]
)
def test_a_function_that_cannot_be_asked_stops_the_start(tmp_path: Path, source: str) -> None:
    file = tmp_path / "pagegen.toml"
    file.write_text(
        f'[identity.u]\nfrom = ["{source}"]\n[[rule]]\npath = "/"\nshare = ["u"]', encoding="utf-8"
    )
    with pytest.raises(ConfigError) as caught:
        PageCache.from_toml(file)
    assert str(caught.value).startswith(f"{file}: [identity.u]: from: {source} ")


def test_a_number_too_long_for_a_duration_is_a_mistake_like_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read(tmp_path, R + "ttl = 1" + "0" * 400)


def test_settings_are_checked_in_python_too() -> None:
    with pytest.raises(ConfigError, match=r"^\[pagegen\]: max_wait: "):
        PageCache(max_wait=-1)
    with pytest.raises(ConfigError, match=r"PageCache\(\): max_weight: .*'max_wait'"):
        PageCache(max_weight=1)
    with pytest.raises(ConfigError, match=r"PageCache\(\): rules: .* is no Rule"):
        PageCache([{"path": "/"}])  # type: ignore[list-item]


def test_two_identities_of_one_name_are_told_so() -> None:
    # TOML refuses a table twice; in Python the second would silently replace the first.
    who = [Identity(name="u", sources=(parse_source(f"cookie:{name}"),)) for name in "ab"]
    with pytest.raises(ConfigError):
        PageCache(identities=who)
