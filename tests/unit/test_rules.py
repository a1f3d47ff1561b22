"""Rules written in Python: what they mean, and what is said of wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from pagegen.errors import ConfigError
from pagegen.identities import Identity, parse_source
from pagegen.parameters import KeyedField, Parameter
from pagegen.rulebook import RuleBook
from pagegen.rules import UNSAFE_METHODS, Invalidates, Rule

USER = Identity(name="user", sources=(parse_source("cookie:session"),))
BASE: dict[str, Any] = {
    "path": "/users/{user:int}",
    "name": "profile",
    "share": ("user",),
    "namespaces": ("user:{path.user}",),
    "query": {"page": {"type": "int", "default": 1}},
}


def rule(**changes: Any) -> Rule:
    """The base rule with changes."""
    return Rule(**{**BASE, **changes})


def test_a_rule_says_once_what_it_means() -> None:
    built = rule(ttl="1h", swr="30s", sie=5, max_body="1KiB", headers={"x-a": {}}, cookies={})
    assert built.lifetimes == {200: 3600.0}
    assert (built.stale_while_revalidate, built.stale_if_error) == (30.0, 5.0)
    assert built.body_limit == 1024
    assert built.identities == ("user",)
    assert built.parameters == {"page": Parameter(type="int", default=1)}
    assert built.keyed_headers == {"x-a": KeyedField()}
    assert built.templates[0].references == ("path.user",)
    assert len(built.fingerprint) == 16


def test_a_rule_without_a_name_is_called_by_its_path() -> None:
    assert rule(name="").name == "/users/{user:int}"


@pytest.mark.parametrize(
    ("ttl", "expect"),
    [
        (None, {200: None}),
        ("1m", {200: 60.0}),
        ({200: "1m", "404": 5}, {200: 60.0, 404: 5.0}),
        ({404: "5s"}, {404: 5.0}),
    ],
)
def test_a_ttl_is_one_lifetime_or_one_per_status(ttl: Any, expect: dict[int, float | None]) -> None:
    assert rule(ttl=ttl).lifetimes == expect


@pytest.mark.parametrize("ttl", [0, "0s", {200: 0}])
def test_a_ttl_of_nothing_is_a_mistake(ttl: Any) -> None:
    with pytest.raises(ConfigError, match="stores nothing"):
        rule(ttl=ttl)


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("u:{user}", ("path.user",)),
        ("u:{path.user}", ("path.user",)),
        ("p:{page}", ("query.page",)),
        ("p:{query.page}", ("query.page",)),
        ("w:{identity.who}", ("identity.who",)),
        ("w:{who}", ("identity.who",)),
        ("d:{query.a.b}", ("query.a.b",)),
        ("d:{a.b}", ("query.a.b",)),
        ("plain", ()),
    ],
)
def test_references_are_resolved_to_what_they_stand_for(
    text: str, references: tuple[str, ...]
) -> None:
    query = {"page": {"type": "int", "default": 1}, "a.b": {"default": ""}}
    built = rule(share=["who"], namespaces=[text], query=query)
    assert built.templates[0].references == references


CHANGES: dict[str, Any] = {
    "path": "/people/{user:int}",
    "name": "other",
    "share": "public",
    "methods": ("GET",),
    "namespaces": ("u:{path.user}",),
    "ttl": "2h",
    "swr": "1s",
    "sie": "1s",
    "early": 1.5,
    "soft": True,
    "replica_lag": "2s",
    "strict": True,
    "heuristic": "1d",
    "client_reload": "ignore",
    "own_url": False,
    "groups": True,
    "compress": ("gzip",),
    "max_body": 5,
    "query": {"page": {"type": "int", "default": 2}},
    "headers": {"x-a": {}},
    "cookies": {"theme": {}},
    "other_query": "drop",
    "drop_query": ("ref",),
    "passthrough": ("x-id",),
    "set_cookie": "drop",
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_rule_has_another_fingerprint(field: str) -> None:
    able = {"swr": "1m", "namespaces": ("n",)} if field == "soft" else {}
    assert rule(**able, **{field: CHANGES[field]}).fingerprint != rule(**able).fingerprint


def test_the_changes_cover_every_field_of_a_cached_rule() -> None:
    fields = {name for name, f in Rule.__dataclass_fields__.items() if f.init}
    assert set(CHANGES) == fields - {"cache", "mode"}


@pytest.mark.parametrize(
    ("states", "is_open"),
    [
        ({}, True),
        ({"name": "all", "methods": ["GET"], "swr": "1s", "heuristic": "1d"}, True),
        ({"ttl": "1h"}, False),
        ({"namespaces": ["a"]}, False),
        ({"query": {"q": {}}}, False),
        ({"headers": {"accept-language": {}}}, False),
        ({"cookies": {"theme": {}}}, False),
        ({"share": ["user"]}, False),
        ({"other_query": "bypass"}, False),
        ({"drop_query": ["@tracking"]}, False),
        ({"passthrough": ["x-id"]}, False),
        ({"mode": "keyed"}, False),
        ({"mode": "http", "ttl": "1h", "namespaces": ["a"]}, True),
    ],
)
def test_a_rule_that_states_nothing_follows_the_response_alone(
    states: dict[str, Any], is_open: bool
) -> None:
    built = Rule(**{"path": "/**", "share": "public", **states})
    assert built.open is is_open
    assert built.stores(404) is is_open
    assert not built.stores(206)
    assert not built.stores(304)
    expect = states.get("other_query") or ("key" if is_open else "bypass")
    assert built.other_query == expect


def test_a_rule_of_another_mode_has_another_fingerprint() -> None:
    keyed, http = (Rule(path="/", share="public", mode=mode) for mode in ("keyed", "http"))
    assert keyed.fingerprint != http.fingerprint


def test_the_same_rule_has_the_same_fingerprint() -> None:
    assert rule().fingerprint == rule().fingerprint
    declared: dict[str, Any] = {"page": Parameter(type="int", default="01")}
    assert rule(query=declared).fingerprint == rule().fingerprint


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"share": ["user"]}, {"share": ("user",)}),
        ({"ttl": {"200": "1h"}}, {"ttl": {200: "1h"}}),
    ],
    ids=["list-and-tuple", "text-and-number"],
)
def test_what_only_toml_or_only_python_can_spell_makes_no_other_rule(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    assert rule(**one).fingerprint == rule(**two).fingerprint


WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({"path": "x"}, "path", "does not start with a slash", "Write a path"),
    ({"name": 7}, "name", "7 is not text", "in quotes"),
    ({"cache": "no"}, "cache", "neither true nor false", "Write one"),
    ({"share": None}, "share", "does not say who", 'share = "public"'),
    ({"share": "user"}, "share", "'user' is not public", 'share = ["user"]'),
    ({"share": []}, "share", "an empty list", 'share = "public"'),
    ({"share": ["user", "user"]}, "share", "a name twice", 'share = "public"'),
    ({"share": 7}, "share", "7 is no list", "Write a list"),
    ({"share": [7]}, "share", "7 is not text", "in quotes"),
    ({"methods": []}, "methods", "no method", "at least one"),
    ({"methods": "GET"}, "methods", "'GET' is no list", "Write a list"),
    ({"methods": ["POST"]}, "methods", "'POST' is not cached", "[[invalidates]]"),
    ({"methods": ["get"]}, "methods", "'get' is not cached", "Only GET and HEAD"),
    ({"namespaces": "a"}, "namespaces", "'a' is no list", "Write a list"),
    ({"namespaces": [7]}, "namespaces", "7 is not text", "in quotes"),
    ({"namespaces": ["a", "a"]}, "namespaces", "stands twice", "Remove one"),
    ({"namespaces": ["a", "é"]}, "namespaces[1]", "is no namespace", '"item:{id}"'),
    ({"namespaces": ["{x"]}, "namespaces[0]", "without its partner", '"item:{id}"'),
    ({"namespaces": ["{x}"]}, "namespaces[0]", "names {x}", "Known here: page, user"),
    ({"namespaces": ["{path.x}"]}, "namespaces[0]", "names {path.x}", "Known here"),
    ({"namespaces": ["{}"]}, "namespaces[0]", "names {}", "Known here"),
    ({"namespaces": ["{user}"]}, "namespaces[0]", "more than one thing", "{identity.user}"),
    (
        {"namespaces": ["{page}"], "query": {"page": {"type": "int"}}},
        "namespaces[0]",
        "may be absent",
        "Give query.page a default",
    ),
    (
        {"namespaces": ["{page}"], "query": {"page": {"default": "", "repeat": "set"}}},
        "namespaces[0]",
        "come more than once",
        "no repeat",
    ),
    ({"ttl": "1 parsec"}, "ttl", "'1 parsec' is not a duration", '"30s"'),
    ({"ttl": -1}, "ttl", "-1 is not between", '"30s"'),
    ({"ttl": True}, "ttl", "True is not a duration", '"30s"'),
    ({"ttl": {}}, "ttl", "no status", "{ 200 ="),
    ({"ttl": {"ok": 1}}, "ttl.ok", "'ok' is no status", "200 to 599"),
    ({"ttl": {"٢٠٠": 1}}, "ttl.٢٠٠", "is no status", "200 to 599"),
    ({"ttl": {100: 1}}, "ttl.100", "100 is no status", "200 to 599"),
    ({"ttl": {600: 1}}, "ttl.600", "600 is no status", "200 to 599"),
    ({"ttl": {206: 1}}, "ttl.206", "part of a page or none", "Leave it out"),
    ({"ttl": {"304": 1}}, "ttl.304", "part of a page or none", "Leave it out"),
    ({"ttl": {200: "x"}}, "ttl.200", "'x' is not a duration", '"30s"'),
    ({"swr": "x"}, "swr", "'x' is not a duration", '"30s"'),
    ({"sie": "soon"}, "sie", "'soon' is not a duration", '"30s"'),
    ({"heuristic": -1}, "heuristic", "-1 is not between", '"30s"'),
    ({"client_reload": "no"}, "client_reload", "'no' is no choice", "Choose honour or ignore"),
    ({"mode": "open"}, "mode", "'open' is no choice", "Choose keyed or http"),
    ({"mode": "http"}, "mode", "by the Vary of the response alone", 'mode = "keyed"'),
    (
        {"mode": "http", "share": "public", "cookies": {"a": {}}},
        "mode",
        "by the Vary of the response alone",
        "no cookies",
    ),
    ({"compress": "gzip"}, "compress", "'gzip' is no list", '["a"]'),
    ({"compress": ["lzma"]}, "compress", "'lzma' is no choice", "Choose zstd or br or gzip"),
    ({"own_url": 1}, "own_url", "1 is no choice", 'Write true, false or "target"'),
    ({"own_url": "yes"}, "own_url", "'yes' is no choice", 'Write true, false or "target"'),
    ({"groups": "yes"}, "groups", "'yes' is neither true nor false", "Write one"),
    ({"max_body": "1 mb"}, "max_body", "'1 mb' is not a size", '"64MiB"'),
    ({"max_body": -1}, "max_body", "-1 is not a size", '"64MiB"'),
    ({"query": {"a": {"typ": 1}}}, "query.a.typ", "unknown key", "Did you mean 'type'?"),
    ({"headers": {"Accept": {}}}, "headers.Accept", "is no name here", "lower case"),
    ({"headers": {"x": {"value": 1}}}, "headers.x.value", "unknown key", "'values'?"),
    ({"cookies": {"a;b": {}}}, "cookies.a;b", "is no name here", "Cookies are keyed"),
    ({"cookies": {"a": {"default": 1}}}, "cookies.a.default", "1 is not text", "in quotes"),
    ({"other_query": "keep"}, "other_query", "'keep' is no choice", "bypass or drop"),
    ({"set_cookie": "keep"}, "set_cookie", "'keep' is no choice", "refuse or drop"),
    ({"drop_query": "a"}, "drop_query", "'a' is no list", "Write a list"),
    ({"drop_query": ["@ads"]}, "drop_query", "no preset '@ads'", "There is @tracking"),
    ({"drop_query": ["*"]}, "drop_query", "'*' cannot be read", 'other_query = "drop"'),
    ({"drop_query": [""]}, "drop_query", "'' cannot be read", "Write a name"),
    ({"drop_query": ["a*b"]}, "drop_query", "'a*b' cannot be read", "Write a name"),
    ({"passthrough": "x-id"}, "passthrough", "'x-id' is no list", "Write a list"),
    *(
        ({"passthrough": [name]}, "passthrough", "cannot pass through", "in lower case")
        for name in ("X-Id", "cookie", "authorization", "range", "host", "a b", "", "environ:")
    ),
    ({"cache": False}, "share", "share of a rule that says cache = false", "Remove share"),
    (
        {"cache": False, "share": None},
        "namespaces",
        "namespaces of a rule that says cache = false",
        "Remove namespaces, or cache = false",
    ),
]


@pytest.mark.parametrize(("changes", "field", "problem", "remedy"), WRONG)
def test_a_wrong_rule_names_rule_field_problem_and_remedy(
    changes: dict[str, Any], field: str, problem: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        rule(**changes)
    error = caught.value
    assert error.where == f'rule "{changes.get("name", "profile")}"'
    assert error.field == field
    assert problem in error.problem
    assert remedy in error.remedy
    assert str(error).startswith(f"{error.where}: {field}: ")


@pytest.mark.parametrize(
    "entry",
    [
        *("environ:HTTP_COOKIE", "environ:HTTP_AUTHORIZATION", "environ:HTTP_RANGE"),
        *("scope:headers", "scope:query_string", "environ:QUERY_STRING", "environ:wsgi.input"),
    ],
)
def test_what_is_banned_from_passing_through_is_banned_under_its_other_names(entry: str) -> None:
    with pytest.raises(ConfigError):
        rule(passthrough=[entry])


def test_headers_and_members_of_the_context_pass_through() -> None:
    entries = ("x-id", "environ:KEY", "scope:app.db", "scope:x")
    assert rule(passthrough=list(entries)).passthrough == entries


def test_a_rule_that_is_not_cached_needs_only_a_path() -> None:
    built = Rule(path="/admin/**", cache=False)
    assert built.identities == ()
    assert built.name == "/admin/**"


def test_a_write_names_what_it_forgets() -> None:
    entry = Invalidates(path="/users/{user:int}/x", namespaces=["user:{user}", "list"])
    assert entry.methods == UNSAFE_METHODS
    assert [t.references for t in entry.templates] == [("path.user",), ()]
    assert Invalidates(path="/", namespaces=["a"], methods=["MOVE"]).methods == ("MOVE",)


@pytest.mark.parametrize(
    ("changes", "field", "problem", "remedy"),
    [
        ({"path": "x"}, "path", "does not start with a slash", "Write a path"),
        ({"namespaces": []}, "namespaces", "forgets nothing", "at least one"),
        ({"namespaces": "a"}, "namespaces", "'a' is no list", "Write a list"),
        ({"namespaces": ["{b}"]}, "namespaces[0]", "not a path parameter", "Known here: a"),
        ({"namespaces": ["{query.b}"]}, "namespaces[0]", "not a path parameter", "Known"),
        ({"path": "/", "namespaces": ["{b}"]}, "namespaces[0]", "names {b}", "There is none"),
        ({"methods": []}, "methods", "no method", "at least one"),
        ({"methods": ["GET"]}, "methods", "'GET' is no unsafe method", "POST, PUT"),
        ({"methods": ["OPTIONS"]}, "methods", "is no unsafe method", "POST, PUT"),
        ({"methods": ["A B"]}, "methods", "is no unsafe method", "POST, PUT"),
        ({"methods": ["post"]}, "methods", "'post' is not in capitals", 'Write "POST"'),
        ({"methods": "POST"}, "methods", "'POST' is no list", "Write a list"),
    ],
)
def test_a_wrong_write_names_entry_field_problem_and_remedy(
    changes: dict[str, Any], field: str, problem: str, remedy: str
) -> None:
    values: dict[str, Any] = {"path": "/{a}", "namespaces": ["x:{a}"], "name": "w", **changes}
    with pytest.raises(ConfigError) as caught:
        Invalidates(**values)
    assert (caught.value.where, caught.value.field) == ('invalidates "w"', field)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_a_safe_method_that_never_forgets_cannot_be_listed_as_a_write() -> None:
    with pytest.raises(ConfigError):
        Invalidates(path="/", namespaces=["a"], methods=["QUERY"])


def book(*rules: Rule) -> RuleBook:
    """A book of these rules and one identity."""
    return RuleBook(rules, (), {"user": USER})


@pytest.mark.parametrize(
    ("rules", "field", "problem", "remedy"),
    [
        ((rule(), rule(path="/x", namespaces=())), "name", "taken by an earlier", "of its own"),
        ((rule(share=["who"]),), "share", "unknown identity 'who'", "[identity.who]"),
        (
            (Rule(path="/**", cache=False), rule()),
            "path",
            'can never match: rule "/**" (/**) comes first',
            "Move this rule above it",
        ),
        (
            (rule(name="all"), rule(methods=["GET"])),
            "path",
            'can never match: rule "all"',
            "Move this rule above it",
        ),
    ],
)
def test_rules_that_do_not_fit_together_are_told_so(
    rules: tuple[Rule, ...], field: str, problem: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        book(*rules)
    assert (caught.value.where, caught.value.field) == (f'rule "{rules[-1].name}"', field)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_rules_of_one_path_with_different_methods_or_a_narrower_one_first_fit_together() -> None:
    built = book(rule(methods=["HEAD"], name="head"), rule(), Rule(path="/**", cache=False))
    assert built.match("GET", "/users/7") == (built.rules[1], (("user", "7"),))
    assert built.match("GET", "/other") == (built.rules[2], ())
