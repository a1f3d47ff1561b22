"""What a handler sees, and what its page becomes: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

from typing import Any

import pytest

from pagegen.collecting import Collection, Room
from pagegen.fields import format_http_date
from pagegen.identities import Identity, parse_source
from pagegen.law.said import OWN
from pagegen.law.storing import Refusal
from pagegen.messages import (
    Fields,
    GivenFields,
    Request,
    ResponseHead,
    StoredResponse,
    wire_form,
)
from pagegen.pages import stored_response
from pagegen.planning import Planner
from pagegen.rulebook import RuleBook
from pagegen.rules import Rule
from pagegen.verdicts import Plan, Ticket
from pagegen.views import View, view

NOW = 1_700_000_000.5
WRITER = "pagegen_wrote_00000000"
LANGUAGES: dict[str, Any] = {"accept-language": {"values": ["en", "de"], "default": "en"}}
THEME: dict[str, Any] = {"theme": {"values": ["dark"], "default": "dark"}}


def planned(rule: Rule, identity: Identity | None = None, **fields: str) -> tuple[Plan, Request]:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    given = GivenFields({"host": "A.example", **named})
    request = Request("GET", "http", "", "/page", None, "", given, {"wsgi.x": 1})
    people = {} if identity is None else {identity.name: identity}
    plan = Planner(RuleBook((rule,), (), people), site="s", release="", passthrough=()).plan(
        request
    )
    assert isinstance(plan, Plan), plan
    return plan, request


def seen(rule: Rule, identity: Identity | None = None, **fields: str) -> View:
    return view(*planned(rule, identity, **fields))


def keyed(**more: Any) -> Rule:
    return Rule(path="/page", share="public", **more)


def opened(**more: Any) -> Rule:
    return Rule(path="/page", share="public", mode="http", **more)


# Views ----------------------------------------------------------------------------------------


def test_cookies_are_shown_in_one_field() -> None:
    cookies = {**THEME, "size": {}}
    fields = dict(seen(keyed(cookies=cookies), cookie="size=1").fields)
    assert fields == {"host": "a.example", "cookie": "theme=dark; size=1"}
    assert seen(keyed(cookies=cookies)).host == "a.example"


def test_what_is_keyed_passes_through_in_its_canonical_form() -> None:
    rule = keyed(headers=LANGUAGES, passthrough=["accept-language"])
    assert dict(seen(rule, accept_language="fr, DE;q=0.5").fields)["accept-language"] == "de"


@pytest.mark.parametrize("made", [keyed, opened])
def test_keys_of_environ_and_scope_pass_through_by_their_dotted_path(made: Any) -> None:
    rule = made(passthrough=["environ:wsgi.x", "scope:state.a:b", "x-trace"])
    assert seen(rule).context == (("wsgi", "x"), ("state", "a:b"))


@pytest.mark.parametrize("kind", ["environ", "scope"])
def test_what_an_identity_reveals_of_the_context_is_shown(kind: str) -> None:
    sources = (parse_source("header:x-user"),)
    identity = Identity(name="user", sources=sources, reveal=(parse_source(f"{kind}:user.id"),))
    found = seen(Rule(path="/page", share=["user"]), identity, x_user="7")
    assert found.context == (("user", "id"),)
    assert dict(found.fields) == {"host": "a.example", "x-user": "7"}


def test_an_open_rules_handler_sees_the_request_but_for_what_is_not_for_it() -> None:
    fields = {"x-a": "1", "x-real-ip": "3", "cookie": f"{WRITER}=1; a=1"}
    found = seen(opened(), None, **fields)
    assert dict(found.fields) == {"host": "a.example", "x-a": "1", "cookie": "a=1"}
    assert found.host == "a.example"
    assert found.context == ()


def test_names_with_underscores_are_shown_to_no_handler() -> None:
    plan, request = planned(opened())
    request.fields = GivenFields({"host": "a.example", "x_user": "7"})
    assert dict(view(plan, request).fields) == {"host": "a.example"}


def test_what_passes_through_is_seen_though_it_steers() -> None:
    found = seen(opened(passthrough=["x-real-ip"]), x_real_ip="3")
    assert dict(found.fields)["x-real-ip"] == "3"


def test_only_the_cookie_field_is_searched_for_our_cookie() -> None:
    note = f"a; {WRITER}=1"
    assert dict(seen(opened(), x_note=note).fields)["x-note"] == note


@pytest.mark.parametrize("ours", [f"{WRITER}=1=2", WRITER, f"{WRITER}="])
def test_our_cookie_is_hidden_whatever_its_value(ours: str) -> None:
    assert dict(seen(opened(), cookie=f"a=1; {ours}").fields)["cookie"] == "a=1"


def test_an_open_rules_handler_sees_what_is_keyed_in_its_canonical_form() -> None:
    rule = opened(headers={**LANGUAGES, "x-lang": {}})
    found = dict(seen(rule, accept_language="fr, DE;q=0.5").fields)
    assert found == {"host": "a.example", "accept-language": "de"}


# Pages ----------------------------------------------------------------------------------------


def page(
    *fields: tuple[str, str], status: int = 200, reason: str = "", **rule: Any
) -> StoredResponse:
    """A page that took three seconds to render."""
    plan, _ = planned(keyed(**rule))
    ticket = Ticket(plan, plan, (b"token",) * len(plan.namespaces), NOW - 3, "uri-miss")
    return stored_response(plan, ticket, ResponseHead(status, fields, reason), b"page", NOW)


def test_a_page_keeps_the_word_that_is_for_this_cache_alone() -> None:
    assert page((OWN, "max-age=5")).control == "max-age=5"
    assert page(ttl=5).control == ""


def test_a_page_has_its_304_in_the_form_of_both_fronts() -> None:
    made = page(("ETag", '"a"'), ttl=5)
    assert ("ETag", '"a"') in made.not_modified_fields
    assert made.not_modified_wire_fields == wire_form(made.not_modified_fields)
    assert made.wire_fields == wire_form(made.fields)


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [(200, "Fine", "200 Fine"), (404, "", "404 Not Found"), (299, "", "299 Unknown")],
)
def test_a_status_without_words_gets_those_of_the_registry(
    status: int, reason: str, line: str
) -> None:
    made = page(status=status, reason=reason, ttl={200: 5, 404: 5, 299: 5})
    assert made.status_line == line


@pytest.mark.parametrize(
    "said", [None, "yesterday", "Tue, 14 Nov 2023 22:13:15 GMT"], ids=["none", "no date", "a date"]
)
def test_a_page_has_the_date_of_its_response_or_of_its_coming(said: str | None) -> None:
    dated: Fields = () if said is None else (("Date", said),)
    expect = said if said and said.endswith("GMT") else format_http_date(NOW)
    assert page(*dated, ttl=60).date == expect


def test_a_page_is_as_old_as_its_date_or_its_rendering_says() -> None:
    assert page(ttl=60).initial_age == 3
    assert page(("Age", "4"), ttl=60).initial_age == 7
    assert page(("Date", format_http_date(NOW - 10)), ttl=60).initial_age == 10
    assert page(ttl=60).render_seconds == 3


def test_a_rules_ttl_counts_from_the_storing_and_an_own_one_from_the_request() -> None:
    ten = ("Date", format_http_date(NOW - 10))
    assert page(ttl=60).fresh_until == NOW + 60
    assert page(ten, ttl=60).fresh_until == NOW + 50
    assert page(("Cache-Control", "max-age=60")).fresh_until == NOW + 57
    expires = ("Expires", format_http_date(NOW + 60))
    assert page(expires).fresh_until == pytest.approx(NOW + 57, abs=1)


# Collecting -----------------------------------------------------------------------------------


def collection(status: int = 200, *fields: tuple[str, str]) -> Collection:
    made = Collection(10, Room())
    made.expect(ResponseHead(status, fields))
    return made


def test_a_204_ends_with_its_head() -> None:
    ended = collection(204, ("Content-Length", "3"))
    assert ended.holding
    assert ended.take(b"x") is Refusal.LENGTH
    for status in (200, 205):
        assert not collection(status).holding
        assert collection(status, ("Content-Length", "0")).holding


def test_a_body_longer_than_was_said_is_refused() -> None:
    made = collection(200, ("Content-Length", "3"))
    assert made.take(b"abc") is None
    assert made.holding
    assert made.take(b"d") is Refusal.LENGTH


def test_one_byte_is_the_beginning_of_a_body() -> None:
    made = collection()
    assert made.take(b"") is None
    assert not made.begun
    assert made.take(b"x") is None
    assert made.begun
