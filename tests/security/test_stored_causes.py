"""What a hidden input may have caused is nobody else's page: errors, redirects, codings, doors."""

from __future__ import annotations

import gzip
from urllib.parse import quote, urlsplit

import pytest

from pagegen import Identity, Rule
from pagegen.testing import Front, Reply, Scenario, Seen
from pagegen.testing.scenario import Handler
from tests.conftest import MakeScenario

KEYED = Rule(path="/**", share="public", ttl={200: "1h", 301: "1h", 302: "1h", 404: "1h"})
OPEN = Rule(path="/**", share="public", mode="http")
RULES = pytest.mark.parametrize("rule", [KEYED, OPEN], ids=["keyed", "http"])
FRESH = ("Cache-Control", "public, max-age=3600")

# --- Denial of service by a poisoned cache (Nguyen et al., 2019) ---------------------------------


def frail(seen: Seen) -> Reply:
    """An application whose framework, firewall and router refuse what they do not like, and whose
    errors say, as much as its pages do, that they are good for an hour.
    """
    fields = seen.fields
    if sum(len(name) + len(value) for name, value in fields.items()) > 8_000:
        return Reply(b"too large", 400, [FRESH])
    if any(character in value for value in fields.values() for character in "\x01\x07\n\r"):
        return Reply(b"bad request", 400, [FRESH])
    for name in ("x-http-method-override", "x-http-method", "x-method-override"):
        if fields.get(name, "GET") != "GET":
            return Reply(b"no such method here", 405, [FRESH])
    if "curl" in fields.get("user-agent", ""):
        return Reply(b"blocked", 403, [FRESH])
    if fields.get("accept", "*/*") == "image/x-none":
        return Reply(b"not acceptable", 406, [FRESH])
    if fields.get("expect"):
        return Reply(b"expectation failed", 417, [FRESH])
    if fields.get("content-encoding"):
        return Reply(b"unsupported", 415, [FRESH])
    if fields.get("x-forwarded-host", "testserver") != "testserver":
        return Reply(b"no such host", 404, [FRESH])
    if fields.get("x-trace") == "{{7*'":
        return Reply(b"oops", 500, [FRESH])
    return Reply(b"the page", 200, [FRESH])


ATTACKS = {
    "oversized header (HHO)": {"x-oversized": "x" * 9_000},
    "meta character (HMC)": {"x-meta": "a\x07b"},
    "method override (HMO)": {"x-http-method-override": "POST"},
    "method override, another name": {"x-method-override": "DELETE"},
    "a firewall's blocked agent": {"user-agent": "curl/8"},
    "nothing acceptable": {"accept": "image/x-none"},
    "an expectation": {"expect": "the-unexpected"},
    "a coding of no body": {"content-encoding": "x-none"},
    "another host": {"x-forwarded-host": "evil.example"},
    "a field that breaks the template": {"x-trace": "{{7*'"},
}


@RULES
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_error_that_a_field_caused_is_nobody_elses(
    scenario: MakeScenario, rule: Rule, attack: str
) -> None:
    stage = scenario(rule)
    stage.handler = frail
    for _ in range(2):
        stage.get("/a", ATTACKS[attack])
    visitor = stage.get("/a")
    assert (visitor.status, visitor.body) == (200, b"the page")


def test_an_error_that_is_about_the_path_is_a_page(scenario: MakeScenario) -> None:
    """So that a scan for what is not there does not reach the application each time."""
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(b"none", int(seen.path[1:]), [FRESH])
    for status in (404, 405, 410, 414, 451, 501):
        assert [stage.get(f"/{status}").trace for _ in range(2)] == ["uri-miss, stored", "hit"]


def test_an_error_that_a_rule_lists_is_a_page_of_what_the_rule_shows(
    scenario: MakeScenario,
) -> None:
    stage = scenario(Rule(path="/**", share="public", ttl={200: "1h", 503: 5}))
    stage.handler = lambda seen: Reply(seen.fields.get("user-agent", "-").encode(), 503)
    assert stage.get("/a", {"user-agent": "curl/8"}).body == b"-"
    assert stage.get("/a").trace == "hit"


# --- Handed back ----------------------------------------------------------------------------------

EVIL = "https://evil.example/"


def backwards(name: str, field: str, prefix: str = "", status: int = 302) -> Handler:
    """A handler that sends whoever asks where a field says."""

    def handler(seen: Seen) -> Reply:
        place = seen.fields.get(name, "/home")
        return Reply(b"moved", status, [FRESH, (field, f"{prefix}{place}")])

    return handler


HANDED_BACK = [
    ("referer", "Location", "", 302), ("referer", "Refresh", "0;url=", 200),
    ("x-return-to", "Location", "/login?next=", 301), ("origin", "Location", "", 302),
    ("x-cdn", "Link", "</a.js>; rel=preload, ", 200), ("x-return-to", "Content-Location", "", 200),
    ("origin", "Access-Control-Allow-Origin", "", 200),
]  # fmt: skip


@RULES
@pytest.mark.parametrize(("name", "field", "prefix", "status"), HANDED_BACK)
def test_where_a_field_leads_to_is_led_nobody_else(
    scenario: MakeScenario, rule: Rule, name: str, field: str, prefix: str, status: int
) -> None:
    stage = scenario(rule)
    stage.handler = backwards(name, field, prefix, status)
    for _ in range(2):
        stage.get("/a", {name: EVIL})
    for visitor in ({}, {name: "https://friend.example/"}):
        assert "evil" not in str(stage.get("/a", visitor).get(field))
    assert "evil" not in str(stage.get("/a").get(field))


@pytest.mark.parametrize("given", ["null", "https://evil.example"])
def test_the_door_that_is_opened_to_one_origin_stays_shut_to_others(
    scenario: MakeScenario, given: str
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(
        b"data", 200, [FRESH, ("Access-Control-Allow-Origin", seen.fields.get("origin", "*"))]
    )
    assert stage.get("/a", {"origin": given}).trace == "refused-reflects"
    assert stage.get("/a", {"origin": "https://friend.example"}).trace == "refused-reflects"
    assert stage.get("/a").get("access-control-allow-origin") == "*"


def test_a_field_that_is_handed_back_and_varied_by_is_its_visitors_variant(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(
        b"data",
        200,
        [FRESH, ("Vary", "Origin"), ("Access-Control-Allow-Origin", seen.fields["origin"])],
    )
    for _ in range(2):
        for origin in ("https://a.example", "https://b.example"):
            said = stage.get("/a", {"origin": origin}).get("access-control-allow-origin")
            assert said == origin
    assert stage.renders == 2


DISGUISES = {
    "its authority": lambda given: f"https://{urlsplit(given).netloc}/welcome",
    "in lower case": str.lower,
    "without its last slash": lambda given: given.rstrip("/"),
    "escaped": lambda given: f"/login?back={quote(given, safe='')}",
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_place_that_is_handed_back_in_disguise_leads_nobody_else(
    scenario: MakeScenario, disguise: str
) -> None:
    stage = scenario(OPEN)

    def handler(seen: Seen) -> Reply:
        given = seen.fields.get("referer")
        place = DISGUISES[disguise](given) if given else "/home"
        return Reply(b"", 301, [FRESH, ("Location", place)])

    stage.handler = handler
    assert stage.get("/a", {"referer": "https://Evil.example/Trap/"}).trace == "refused-reflects"
    assert stage.get("/a").get("location") == "/home"


def test_a_redirect_to_the_site_itself_hands_nothing_back(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(b"on", 301, [FRESH, ("Location", "http://testserver/home")])
    assert stage.get("/a", {"referer": "http://testserver/a"}).trace == "uri-miss, stored"


def test_a_field_that_passes_through_a_keyed_rule_leads_nobody_else(scenario: MakeScenario) -> None:
    rule = Rule(path="/**", share="public", ttl={302: "1h"}, passthrough=["referer"])
    stage = scenario(rule)
    stage.handler = backwards("referer", "Location")
    assert stage.get("/a", {"referer": EVIL}).trace == "refused-reflects"
    assert stage.get("/a").get("location") == "/home"


def test_a_validation_hands_nothing_back_either(scenario: MakeScenario) -> None:
    """A HEAD or a 304 may change the fields of a stored page (RFC 9111 §4.3.4, §4.3.5)."""
    stage = scenario(OPEN)

    def handler(seen: Seen) -> Reply:
        door = ("Access-Control-Allow-Origin", seen.fields.get("origin", "*"))
        lines = [("Cache-Control", "public, max-age=60"), ("ETag", '"1"'), door]
        known = seen.fields.get("if-none-match") == '"1"'
        return Reply(b"" if known else b"data", 304 if known else 200, lines)

    stage.handler = handler
    assert stage.get("/a").trace == "uri-miss, stored"
    for method in ("HEAD", "GET"):
        stage.clock.advance(61)
        stage.request(method, "/a", {"origin": "https://evil.example"})
        assert stage.get("/a").get("access-control-allow-origin") == "*"


def test_what_is_handed_back_to_one_takes_nobodys_page_away(scenario: MakeScenario) -> None:
    """A 304 for the attacker says nothing of the page, which needs no second rendering for it."""
    stage = scenario(OPEN)

    def handler(seen: Seen) -> Reply:
        lines = [("Cache-Control", "public, max-age=60"), ("ETag", '"1"')]
        lines.append(("Access-Control-Allow-Origin", seen.fields.get("origin", "*")))
        known = seen.fields.get("if-none-match") == '"1"'
        return Reply(b"" if known else b"data", 304 if known else 200, lines)

    stage.handler = handler
    stage.get("/a")
    stage.clock.advance(61)
    assert stage.get("/a", {"origin": EVIL}).text == "data"
    stage.get("/a")
    assert stage.cache.statistics()["validated"] == 2


def test_words_that_name_no_place_may_stand_in_a_path(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(b"on", 301, [FRESH, ("Location", "/document/empty/en")])
    asked = {"sec-fetch-dest": "document", "sec-fetch-mode": "empty", "accept-language": "en"}
    assert [stage.get("/a", asked).trace for _ in range(2)] == ["uri-miss, stored", "hit"]


# --- Codings that were not asked for --------------------------------------------------------------


def test_a_coding_that_one_visitor_asked_for_reaches_no_other(scenario: MakeScenario) -> None:
    """An application that codes and forgets to say so would serve what many cannot read."""
    stage = scenario(OPEN)

    def handler(seen: Seen) -> Reply:
        if "gzip" in seen.fields.get("accept-encoding", ""):
            return Reply(gzip.compress(b"page"), 200, [FRESH, ("Content-Encoding", "gzip")])
        return Reply(b"page", 200, [FRESH])

    stage.handler = handler
    assert stage.get("/a", {"accept-encoding": "gzip"}).trace == "refused-reflects"
    plain = stage.get("/a")
    assert (plain.body, plain.get("content-encoding")) == (b"page", None)


# --- Who asks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["max-age=60", "max-age=60, public=1", "max-age=60, Public=x"])
@pytest.mark.parametrize("name", ["authorization", "cookie", "remote-user", "x-api-key"])
def test_what_a_visitor_may_be_known_by_keeps_an_open_rules_page_from_others(
    scenario: MakeScenario, name: str, control: str
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(
        seen.fields.get(name, "nobody").encode(), 200, [("Cache-Control", control)]
    )
    assert stage.get("/a", {name: "ada"}).body == b"ada"
    assert stage.get("/a", {name: "bob"}).body == b"bob"
    assert stage.get("/a").body == b"nobody"
    # And those go by what is stored for everybody.
    assert stage.get("/a").trace == "hit"


def test_a_keyed_rule_shows_no_credentials_and_stores_nothing_for_them(
    scenario: MakeScenario,
) -> None:
    stage = scenario(KEYED)
    stage.handler = lambda seen: Reply(repr(sorted(seen.fields)).encode(), 200)
    assert stage.get("/a", {"authorization": "Basic eDp5"}).trace == "bypass: authorization"
    assert b"cookie" not in stage.get("/a", {"cookie": "session=ada"}).body
    assert stage.renders == 2


def test_a_page_by_identity_is_no_page_of_the_public_rule_beside_it(front: Front) -> None:
    rules = [
        Rule(path="/account", share=["user"], ttl="1h"),
        Rule(path="/{page}", share="public", ttl="1h"),
    ]
    user = Identity(name="user", sources=["cookie:session"])  # type: ignore[arg-type]
    with Scenario(front, rules, identities=[user]) as stage:
        stage.handler = lambda seen: Reply(seen.fields.get("cookie", "nobody").encode())
        assert stage.get("/account", {"cookie": "session=ada"}).body == b"session=ada"
        for path in (
            "/account",
            "/account.css",
            "/account;.css",
            "/account%2f.css",
            "/account?.css",
        ):
            assert b"ada" not in stage.get(path).body
