"""From requests to plans: what is keyed, what the handler sees, and every doubt a bypass."""

from __future__ import annotations

from typing import Any

import pytest

from pagegen.identities import Identity, parse_source
from pagegen.messages import GivenFields, Request
from pagegen.namespaces import check
from pagegen.planning import Planner
from pagegen.rulebook import RuleBook
from pagegen.rules import Rule
from pagegen.variants import values_of
from pagegen.verdicts import Bypass, Plan, Reason
from pagegen.views import view

GET: dict[str, Any] = {"method": "GET", "scheme": "http", "root": "", "raw_path": None, "query": ""}


def request(path: str = "/public", host: str | None = "example.com", **more: Any) -> Request:
    """A request; further header fields by keyword ``fields``."""
    fields = {} if host is None else {"host": host}
    fields.update(more.pop("fields", {}))
    return Request(**{**GET, "path": path, "fields": GivenFields(fields), "context": {}, **more})


def identity(name: str, *sources: str, **more: Any) -> Identity:
    """An identity with these sources."""
    return Identity(name=name, sources=tuple(map(parse_source, sources)), **more)


def planner(*rules: Rule, identities: tuple[Identity, ...] = (), **more: Any) -> Planner:
    """A planner of these rules."""
    values = {"site": "s", "release": "1", "passthrough": (), **more}
    return Planner(RuleBook(rules, (), {i.name: i for i in identities}), **values)


def public(path: str = "/public", **more: Any) -> Rule:
    """A public rule."""
    return Rule(path=path, share="public", **more)


PEOPLE = (
    identity("user", "header:x-user", "cookie:session"),
    identity("strict", "scope:user.id", anonymous="bypass"),
    identity("auth", "header:authorization"),
)
WORLD = planner(
    public(query={"q": {"default": ""}}, namespaces=["p:{q}"]),
    public("/get", methods=["GET"]),
    public("/lang", headers={"accept-language": {"values": ["en", "de"], "default": "en"}}),
    public("/free", headers={"x-a": {"max_length": 3}}),
    public("/theme", cookies={"theme": {"values": ["dark", "light"]}, "size": {}}),
    Rule(path="/mine", share=["user"], namespaces=["u:{user}"]),
    Rule(path="/strict", share=["strict"]),
    Rule(path="/auth", share=["auth"]),
    Rule(path="/off", cache=False),
    identities=PEOPLE,
)


class Planned:
    """A plan, and the view of its request's handler."""

    def __init__(self, made: Plan, asked: Request) -> None:
        self.made = made
        self.view = view(made, asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.made, name)


def plan(*args: Any, **more: Any) -> Planned:
    """The plan of a request that must have one."""
    asked = request(*args, **more)
    verdict = WORLD.plan(asked)
    assert isinstance(verdict, Plan), verdict
    return Planned(verdict, asked)


BYPASSES: list[tuple[str, Reason, dict[str, Any]]] = [
    ("post", Reason.METHOD, {"method": "POST"}),
    ("options", Reason.METHOD, {"method": "OPTIONS"}),
    ("small letters", Reason.METHOD, {"method": "get"}),
    ("head of a GET rule", Reason.NO_RULE, {"method": "HEAD", "path": "/get"}),
    ("no rule", Reason.NO_RULE, {"path": "/other"}),
    ("uncached rule", Reason.RULE, {"path": "/off"}),
    ("doubtful path", Reason.PATH, {"path": "/public//"}),
    ("raw path of another", Reason.PATH, {"raw_path": "/other"}),
    ("no host", Reason.HOST, {"host": None}),
    *(
        (f"host {host!r}", Reason.HOST, {"host": host})
        for host in (
            *("", "a b", "a/b", "a,b", "a, b", "-a", "a-", "_a", "é", "a:", "a:x", "a:123456"),
            *("[::1", "[g::]", "user@a", "a?b", "a#b", "a\n", "a" * 300, ".a", "a\x00"),
        )
    ),
    ("undeclared parameter", Reason.QUERY, {"query": "x=1"}),
    ("unreadable query", Reason.QUERY, {"query": "q=%"}),
    ("body", Reason.BODY, {"fields": {"content-length": "5"}}),
    ("unreadable length", Reason.BODY, {"fields": {"content-length": "x"}}),
    ("two lengths", Reason.BODY, {"fields": {"content-length": "0, 0"}}),
    ("chunks", Reason.BODY, {"fields": {"transfer-encoding": "chunked"}}),
    ("chunks of nothing", Reason.BODY, {"fields": {"transfer-encoding": ""}}),
    ("authorization", Reason.AUTHORIZATION, {"fields": {"authorization": "Basic x"}}),
    ("empty authorization", Reason.AUTHORIZATION, {"fields": {"authorization": ""}}),
    (
        "authorization of a keyed rule",
        Reason.AUTHORIZATION,
        {"path": "/lang", "fields": {"authorization": "x"}},
    ),
    (
        "authorization of an identity's rule",
        Reason.AUTHORIZATION,
        {"path": "/mine", "fields": {"authorization": "x", "x-user": "1"}},
    ),
    (
        "empty authorization as identity",
        Reason.AUTHORIZATION,
        {"path": "/auth", "fields": {"authorization": ""}},
    ),
    ("long header", Reason.HEADER, {"path": "/free", "fields": {"x-a": "abcd"}}),
    ("unprintable header", Reason.HEADER, {"path": "/free", "fields": {"x-a": "\x00"}}),
    ("cookie twice", Reason.COOKIE, {"path": "/theme", "fields": {"cookie": "size=1; size=1"}}),
    ("other cookie value", Reason.COOKIE, {"path": "/theme", "fields": {"cookie": "theme=x"}}),
    (
        "identity twice",
        Reason.IDENTITY,
        {"path": "/mine", "fields": {"cookie": "session=1; session=2"}},
    ),
    ("nobody", Reason.IDENTITY, {"path": "/strict"}),
    ("no identity", Reason.IDENTITY, {"path": "/strict", "context": {"user": {"id": 1.5}}}),
    ("truth value", Reason.IDENTITY, {"path": "/strict", "context": {"user": {"id": True}}}),
    ("long namespace", Reason.NAMESPACE, {"path": "/mine", "fields": {"x-user": "é" * 100}}),
]


@pytest.mark.parametrize(
    ("reason", "given_request"), [b[1:] for b in BYPASSES], ids=[b[0] for b in BYPASSES]
)
def test_a_doubt_is_a_bypass_with_its_reason(reason: Reason, given_request: dict[str, Any]) -> None:
    assert WORLD.plan(request(**given_request)) == Bypass(reason)


def test_what_breaks_the_planner_is_a_bypass_told_once(caplog: pytest.LogCaptureFixture) -> None:
    broken = planner(public())
    for _ in range(2):
        assert broken.plan(request(query=None)) == Bypass(Reason.MALFORMED)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "host", ["a", "EXAMPLE.com", "a.b.", "a:80", "127.0.0.1:8000", "[::1]", "[::1]:80", "a_b-c"]
)
def test_an_honest_host_is_keyed_in_small_letters(host: str) -> None:
    found = plan(host=host)
    assert found.view.host == host.lower()
    assert ("host", host.lower()) in found.view.fields
    assert found.slot == plan(host=host.lower()).slot


SAME = plan().slot


@pytest.mark.parametrize(
    "more",
    [
        {"method": "HEAD"},
        {"query": "q="},
        {"raw_path": "/public"},
        {"fields": {"content-length": "0"}},
        {"fields": {"user-agent": "x", "accept": "y", "cookie": "session=1", "x-user": "2"}},
        {"fields": {"x-forwarded-host": "evil", "x-forwarded-proto": "https"}},
        {"fields": {"range": "bytes=0-1", "if-none-match": "*", "cache-control": "no-cache"}},
        {"context": {"user": 1}},
    ],
)
def test_what_is_not_keyed_changes_neither_slot_nor_view(more: dict[str, Any]) -> None:
    found = plan(**more)
    assert found.slot == SAME
    assert found.view == plan().view
    assert found.view.fields == (("host", "example.com"),)


@pytest.mark.parametrize(
    "more",
    [
        {"host": "example.org"},
        {"host": "example.com:80"},
        {"host": "example.com."},
        {"scheme": "https"},
        {"root": "/mount"},
        {"query": "q=1"},
        {"raw_path": "/%70ublic"},
        {"path": "/get"},
    ],
)
def test_what_is_keyed_changes_the_slot(more: dict[str, Any]) -> None:
    assert plan(**more).slot != SAME


@pytest.mark.parametrize(
    "other",
    [
        planner(public(query={"q": {"default": ""}}, namespaces=["p:{q}"]), site="other"),
        planner(public(query={"q": {"default": ""}}, namespaces=["p:{q}"]), release="2"),
        planner(public(query={"q": {"default": ""}}, namespaces=["p:{q}"], name="other")),
        planner(public(query={"q": {"default": ""}}, namespaces=["q:{q}"])),
    ],
    ids=["site", "release", "name", "rule"],
)
def test_site_release_and_rule_are_part_of_the_key(other: Planner) -> None:
    twin = planner(public(query={"q": {"default": ""}}, namespaces=["p:{q}"])).plan(request())
    found = other.plan(request())
    assert isinstance(twin, Plan)
    assert isinstance(found, Plan)
    assert twin.slot == SAME
    assert found.slot != SAME


def test_a_keyed_header_is_keyed_and_shown_in_its_canonical_form() -> None:
    plans = {
        sent: plan("/lang", fields={"accept-language": sent})
        for sent in ("de-AT,en;q=0.1", "de", "en", "fr", "")
    }
    assert plans["de"].slot == plans["de-AT,en;q=0.1"].slot
    assert plans["en"].slot == plans["fr"].slot == plans[""].slot == plan("/lang").slot
    assert plans["de"].slot != plans["en"].slot
    assert ("accept-language", "de") in plans["de-AT,en;q=0.1"].view.fields
    assert plans["de"].keyed == {"host", "accept-language"}


def test_absent_and_empty_headers_are_two_pages() -> None:
    assert plan("/free").slot != plan("/free", fields={"x-a": ""}).slot


def test_keyed_cookies_are_shown_and_no_others() -> None:
    found = plan("/theme", fields={"cookie": "session=1; size=9; theme=dark; x=y; x=z"})
    assert dict(found.view.fields)["cookie"] == "theme=dark; size=9"
    assert found.keyed == {"host", "cookie"}
    swapped = plan("/theme", fields={"cookie": "theme=dark; size=9"})
    assert swapped.slot == found.slot
    assert plan("/theme", fields={"cookie": "theme=light; size=9"}).slot != found.slot
    assert plan("/theme").slot != plan("/theme", fields={"cookie": "size="}).slot


def test_the_first_source_that_answers_wins_and_is_shown_alone() -> None:
    both = plan("/mine", fields={"x-user": "7", "cookie": "session=9; other=1"})
    header = plan("/mine", fields={"x-user": "7"})
    cookie = plan("/mine", fields={"cookie": "session=9; other=1"})
    assert both.slot == header.slot
    assert both.view.fields == header.view.fields == (("host", "example.com"), ("x-user", "7"))
    assert dict(cookie.view.fields) == {"host": "example.com", "cookie": "session=9"}
    assert both.namespaces[0] == "u:7"
    assert both.view.identities == (("user", "7"),)
    assert both.keyed == {"host", "x-user"}


def test_the_position_of_the_source_is_part_of_the_key() -> None:
    header, cookie = (
        plan("/mine", fields={"x-user": "7"}),
        plan("/mine", fields={"cookie": "session=7"}),
    )
    assert header.namespaces == cookie.namespaces
    assert header.slot != cookie.slot


def test_nobody_is_not_somebody_with_an_empty_name() -> None:
    nobody = plan("/mine")
    assert nobody.slot == plan("/mine", fields={"x-user": "", "cookie": "session="}).slot
    assert nobody.view.fields == (("host", "example.com"),)
    assert nobody.view.identities == (("user", None),)
    assert nobody.namespaces[0] == "u:"


def test_a_number_and_its_text_are_two_identities() -> None:
    number, text = (plan("/strict", context={"user": {"id": value}}) for value in (42, "42"))
    assert number.slot != text.slot
    assert number.view.context == (("user", "id"),)


def test_authorization_is_keyed_and_shown_where_it_is_the_identity() -> None:
    one, two = (plan("/auth", fields={"authorization": f"Basic {x}"}) for x in "ab")
    assert one.slot != two.slot
    assert ("authorization", "Basic a") in one.view.fields
    assert "authorization" in one.keyed


def test_a_source_that_was_asked_is_keyed_although_it_did_not_answer() -> None:
    # Django adds "Vary: Cookie" when a session is looked at. For visitors without the cookie the
    # key says "no cookie", so that Vary is covered, and their common page can be stored.
    assert "cookie" in plan("/mine").keyed


def test_a_changed_identity_never_meets_pages_of_its_former_self() -> None:
    rule = Rule(path="/mine", share=["user"])
    old = planner(rule, identities=(identity("user", "header:x-proxy-user"),))
    new = planner(rule, identities=(identity("user", "cookie:uid"),))
    plans = [p.plan(request("/mine", fields=f)) for p, f in (
        (old, {"x-proxy-user": "7"}), (new, {"cookie": "uid=7"}),
    )]  # fmt: skip
    assert isinstance(plans[0], Plan)
    assert isinstance(plans[1], Plan)
    assert plans[0].slot != plans[1].slot


def test_the_first_rule_whose_path_and_method_match_decides() -> None:
    two = planner(public("/x", name="get", methods=["GET"]), public("/x", methods=["HEAD"]))
    found = two.plan(request("/x", method="HEAD"))
    assert isinstance(found, Plan)
    assert found.rule.name == "/x"


def test_what_passes_through_is_seen_and_not_keyed() -> None:
    passing = planner(public(passthrough=["x-id", "scope:app.db"]), passthrough=("traceparent",))
    trace = f"00-{'1' * 32}-{'2' * 16}-01"
    asked = request(fields={"x-id": "5", "traceparent": trace, "x-other": "1"})
    found = passing.plan(asked)
    assert isinstance(found, Plan)
    assert "x-id" not in found.keyed
    seen = view(found, asked)
    assert seen.fields == (("host", "example.com"), ("traceparent", trace), ("x-id", "5"))
    assert seen.context == (("app", "db"),)
    assert found.slot == getattr(passing.plan(request()), "slot", None)


def test_a_field_that_connection_names_is_shown_to_nobody_and_selects_nothing() -> None:
    open_to_all = planner(public("/all"))
    asked = request("/all", fields={"connection": "close, X-Hop", "x-hop": "1", "x-end": "2"})
    found = open_to_all.plan(asked)
    assert isinstance(found, Plan)
    assert view(found, asked).fields == (("host", "example.com"), ("x-end", "2"))
    value_of = values_of(found, asked.fields)
    assert [value_of(name) for name in ("x-hop", "x-end", "connection")] == [None, "2", None]


def test_every_namespace_of_a_plan_can_be_invalidated_by_name() -> None:
    spaced = planner(public("/q", query={"q": {"default": ""}}, namespaces=["{q}", "of {q}"]))
    found = spaced.plan(request("/q"))
    for name in found.namespaces if isinstance(found, Plan) else ():
        check(name)
