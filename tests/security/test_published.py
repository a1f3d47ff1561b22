"""What other caches fell to: published holes of page caches, proxies and frameworks, tried here.

Each test names its source. That of frameworks' own helpers is tried with the framework itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from threading import Event, Thread
from typing import Any, Final

import pytest
from flask import Flask, session

from pagegen import Identity, PageCache, Rule, parse_source
from pagegen.testing import Answer, Front, Reply, Scenario, call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware
from tests.conftest import MakeScenario

OPEN: Final = Rule(path="/**", share="public")
KEYED: Final = Rule(path="/**", share="public", ttl="1h")
BOTH: Final = pytest.mark.parametrize("rule", [OPEN, KEYED], ids=["http", "keyed"])
FRESH: Final = ("Cache-Control", "max-age=60")


def _said(seen: Any, name: str, *fields: tuple[str, str]) -> Reply:
    """A page that says what a visitor sent in a field, and whose it is by its response's fields."""
    return Reply(f"for {seen.fields.get(name)!r}".encode(), fields=[FRESH, *fields])


@BOTH
@pytest.mark.parametrize("vary", ["*", " * ", "Cookie, *", "*, Accept", "Accept ,*,"])
def test_what_varies_by_everything_is_not_stored(
    scenario: MakeScenario, rule: Rule, vary: str
) -> None:
    """CVE-2026-6907: Django's cache middleware stored responses with ``Vary: *``."""
    stage = scenario(rule)
    stage.handler = lambda seen: _said(seen, "x", ("Vary", vary))
    assert [stage.get("/").trace for _ in range(2)] == ["refused-vary"] * 2


@pytest.mark.parametrize("vary", ["  X-Who ", "\tx-WHO\t", ",X-Who,", "Accept,\t x-who"])
def test_a_vary_in_an_odd_spelling_keeps_visitors_apart(scenario: MakeScenario, vary: str) -> None:
    """CVE-2026-48587: Django did not strip the members of ``Vary``."""
    stage = scenario(OPEN)
    stage.handler = lambda seen: _said(seen, "x-who", ("Vary", vary))
    for who in ("ada", "bob", "ada", "bob"):
        assert stage.get("/", {"x-who": who}).text == f"for '{who}'"
    assert stage.renders == 2


@BOTH
@pytest.mark.parametrize(
    "control", ["PRIVATE", "Max-Age=60, PrIvAtE", "NO-STORE", "max-age=60, No-Store", "private "]
)
def test_what_forbids_does_so_in_any_letters(
    scenario: MakeScenario, rule: Rule, control: str
) -> None:
    """CVE-2026-8404: Django compared directives of ``Cache-Control`` by their case."""
    stage = scenario(rule)
    stage.handler = lambda seen: Reply(b"mine", fields=[("Cache-Control", control)])
    refusal = "refused-private" if "private" in control.lower() else "refused-no-store"
    assert [stage.get("/").trace for _ in range(2)] == [refusal] * 2


@BOTH
def test_an_answer_to_credentials_is_nobody_elses(scenario: MakeScenario, rule: Rule) -> None:
    """CVE-2026-35193: Django stored answers to ``Authorization`` without varying on it."""
    stage = scenario(rule)
    stage.handler = lambda seen: _said(seen, "authorization")
    for who in ("Basic ada", "Basic bob", "", "Basic ada"):
        assert stage.get("/", {"authorization": who}).text == f"for '{who}'"
    assert stage.get("/").text == "for None"


@BOTH
@pytest.mark.parametrize("sent", [{}, {"cookie": "analytics=1"}], ids=["none", "another"])
@pytest.mark.parametrize("more", [(), (("Vary", "Cookie"),)], ids=["plain", "varying"])
def test_a_new_session_is_given_to_one(
    scenario: MakeScenario, rule: Rule, sent: dict[str, str], more: tuple[tuple[str, str], ...]
) -> None:
    """CVE-2026-48588: Django stored what set a cookie where the request had unrelated ones."""
    stage = scenario(rule)
    stage.handler = lambda seen: Reply(
        b"", fields=[("Set-Cookie", f"s={stage.renders}"), ("Cache-Control", "public"), *more]
    )
    given = [stage.get("/", sent).get("set-cookie") for _ in range(3)]
    assert given == ["s=1", "s=2", "s=3"]


def test_a_cookie_that_is_dropped_is_in_no_stored_page(scenario: MakeScenario) -> None:
    """CVE-2012-2671 and CVE-2022-24894: Rack::Cache and Symfony's HttpCache stored the field."""
    stage = scenario(Rule(path="/**", share="public", ttl="1h", set_cookie="drop"))
    lines = [("Set-Cookie", "s=ada"), ("SET-COOKIE", "t=ada"), ("Set-Cookie2", "u=ada")]
    stage.handler = lambda seen: Reply(b"page", fields=lines)
    for trace in ("uri-miss, stored", "hit"):
        answer = stage.get("/")
        assert answer.trace == trace
        assert not [name for name, _ in answer.fields if "cookie" in name.lower()]


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (OPEN, "x-tenant"),
        (OPEN, "cookie"),
        (Rule(path="/**", share="public", ttl="1h", headers={"x-tenant": {}}), "x-tenant"),
        (Rule(path="/**", share="public", ttl="1h", cookies={"t": {}}), "cookie"),
    ],
    ids=["varying", "varying by cookie", "keyed", "keyed cookie"],
)
def test_a_field_that_is_empty_is_another_than_none(
    scenario: MakeScenario, rule: Rule, name: str
) -> None:
    """CVE-2026-113593: Django took an empty field that ``Vary`` names for one that is absent."""
    stage = scenario(rule)
    stage.handler = lambda seen: _said(seen, name, ("Vary", name))
    empty = "t=" if rule.cookies else ""
    for _ in range(2):
        assert stage.get("/", {name: empty}).text == f"for '{empty}'"
        assert stage.get("/").text == "for None"


@pytest.mark.parametrize("field", ["cookie", "authorization"])
def test_who_waits_for_a_page_gets_no_private_one(
    scenario: MakeScenario, field: str, front: Front
) -> None:
    """CVE-2016-10003: Squid's collapsed forwarding handed private responses to several clients."""
    stage, begun, may_end = scenario(OPEN), Event(), Event()

    def handler(seen: Any) -> Reply:
        begun.set()
        may_end.wait(20)
        return Reply(f"of {seen.fields.get(field)}".encode(), fields=[FRESH])

    stage.handler = handler
    got: dict[str, Answer] = {}

    def ask(who: str) -> None:
        got[who] = stage.get("/", {field: who})

    visitors = [Thread(target=ask, args=(who,)) for who in ("ada", "bob", "eve")]
    visitors[0].start()
    assert begun.wait(20)
    for visitor in visitors[1:]:
        visitor.start()
    may_end.set()
    for visitor in visitors:
        visitor.join(20)
    assert {who: answer.text for who, answer in got.items()} == {w: f"of {w}" for w in got}
    assert len(got) == stage.renders == 3


def test_what_a_304_sets_for_one_client_is_given_to_no_other(scenario: MakeScenario) -> None:
    """CVE-2016-10002: Squid leaked cookies of one client by its answers to conditional requests."""
    stage = scenario(OPEN)
    validators = [("ETag", '"1"'), ("Cache-Control", "public, max-age=60")]
    stage.handler = lambda seen: Reply(b"page", fields=validators)
    stage.get("/")
    stage.clock.advance(61)
    stage.handler = lambda seen: Reply(
        status=304, fields=[*validators, ("Set-Cookie", f"s={stage.renders}")]
    )
    stage.get("/", {"cookie": "s=ada", "if-none-match": '"1"'})
    for _ in range(2):
        answer = stage.get("/")
        assert answer.text == "page"
        assert answer.get("set-cookie") in (None, f"s={stage.renders}")
        assert answer.trace != "hit" or answer.get("set-cookie") is None
    stage.handler = lambda seen: Reply(status=304, fields=validators)
    traces = [(stage.get("/").trace, stage.get("/").get("set-cookie")) for _ in range(2)]
    assert traces == [("stale, stored", None), ("hit", None)]


@pytest.mark.parametrize(
    "value",
    [
        "bytes=-18446744073709551615", "bytes=-9223372036854775809,-20", "bytes=0-9999999999999999",
        "bytes=-99999999999999999999999999", "bytes=99999999999999999999-", "bytes=4-1,-1",
    ],
)  # fmt: skip
def test_no_part_of_a_page_holds_what_stands_beside_it(scenario: MakeScenario, value: str) -> None:
    """CVE-2017-7529: a range below zero had nginx send what stood before the page in its cache."""
    stage = scenario(KEYED)
    stage.handler = lambda seen: b"0123456789"
    stage.get("/")
    answer = stage.get("/", {"range": value})
    assert answer.status in (200, 206, 416)
    assert answer.body in b"0123456789" or answer.status == 416
    assert len(answer.body) == int(answer.get("content-length") or -1)
    said = answer.get("content-range")
    if answer.status == 206 and said is not None:
        first, last = said.removeprefix("bytes ").removesuffix("/10").split("-")
        assert 0 <= int(first) <= int(last) < 10


NAMELESS: Final = ("=session=ada", "=session=ada; a=b", "a=b; =session=ada", "; =session=ada;")


@pytest.mark.parametrize("sent", NAMELESS)
def test_a_cookie_without_a_name_is_nobodys(scenario: MakeScenario, sent: str) -> None:
    """CVE-2023-23934: Werkzeug read the cookie ``=session=ada`` as one of the name ``session``."""
    visitor = Identity(name="visitor", sources=(parse_source("cookie:session"),))
    stage = scenario(Rule(path="/**", share=["visitor"], ttl="1h"), identities=[visitor])
    stage.handler = lambda seen: f"of {seen.fields.get('cookie')}"
    assert stage.get("/", {"cookie": "session=ada"}).text == "of session=ada"
    assert "ada" not in stage.get("/", {"cookie": sent}).text


@pytest.fixture
def flask_site() -> Iterator[tuple[Flask, PageCache]]:
    """A Flask application whose pages look at the session, behind a plain shared cache."""
    app = Flask(__name__)
    app.secret_key = "of a test"
    app.permanent_session_lifetime = timedelta(days=1)
    cache = PageCache([OPEN], cache_status=True)
    flask = app.wsgi_app

    def as_it_was(made: dict[str, Any], start_response: Any) -> Any:
        """Flask before it was mended: with no ``Vary`` where the session was looked at."""

        def start(status: str, fields: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, [f for f in fields if f[0] != "Vary"], *exc_info)

        return flask(made, start)

    app.wsgi_app = PageCacheMiddleware(as_it_was, cache=cache)  # type: ignore[method-assign]

    @app.get("/in/<who>")
    def enter(who: str) -> str:
        session.permanent = True
        session["who"] = who
        return "in"

    @app.get("/hello")
    def hello() -> tuple[str, dict[str, str]]:
        return "known" if "who" in session else "unknown", {"Cache-Control": "max-age=60"}

    yield app, cache
    cache.close()


def test_sessions_of_flask_are_kept_apart_without_vary(
    flask_site: tuple[Flask, PageCache],
) -> None:
    """CVE-2023-30861 and CVE-2026-27205: Flask left ``Vary: Cookie`` out, and refreshed sessions
    left with pages that proxies stored.
    """
    app, _ = flask_site
    ada = app.test_client()
    ada.get("/in/ada")
    for _ in range(2):
        assert ada.get("/hello").text == "known"
    for _ in range(2):
        others = app.test_client().get("/hello")
        assert (others.text, others.headers.get("Set-Cookie")) == ("unknown", None)


def test_a_page_with_no_vary_that_was_made_for_a_cookie_is_not_stored() -> None:
    """The same without Flask's own care: the response says nothing of cookies."""

    def careless(made: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [FRESH])
        return [b"hello " + str(made.get("HTTP_COOKIE")).encode()]

    site = PageCacheMiddleware(careless, cache=PageCache([OPEN]))
    ada = call_wsgi(site, environ("GET", "/", {"cookie": "s=ada"}))
    bob = call_wsgi(site, environ("GET", "/", {"cookie": "s=bob"}))
    assert (ada.text, bob.text) == ("hello s=ada", "hello s=bob")
    assert call_wsgi(site, environ("GET", "/")).text == "hello None"


def test_a_shared_cache_in_front_that_guesses_keeps_no_persons_page() -> None:
    """RFC 9111 §4.2.2: a cache may guess a lifetime from ``Last-Modified``, and knows no
    identities. CVE-2014-1418: Django's responses let caches keep what was one visitor's.
    """
    visitor = Identity(name="visitor", sources=(parse_source("cookie:session"),))
    rule = Rule(path="/**", share=["visitor"], ttl="1h")
    old = ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
    with Scenario("asgi", [rule], identities=[visitor]) as stage:
        stage.handler = lambda seen: Reply(b"mine", fields=[old])
        ada = {"cookie": "session=ada"}
        sent = [
            stage.get("/", ada),
            stage.get("/", ada),
            stage.get("/", {**ada, "range": "bytes=0-1"}),
        ]
        sent.append(stage.get("/", {**ada, "if-none-match": "*"}))
        assert [answer.status for answer in sent] == [200, 200, 206, 304]
        assert ["private" in (answer.get("cache-control") or "") for answer in sent] == [True] * 4
