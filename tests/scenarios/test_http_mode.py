"""A rule that states nothing follows the responses alone: a plain shared cache (RFC 9111)."""

from __future__ import annotations

import pytest

from pagegen import Rule
from pagegen.fields import format_http_date
from pagegen.testing import FakeClock, Reply, Seen
from tests.conftest import MakeScenario

OPEN = Rule(path="/**", share="public")
NOW = FakeClock().time


def reply(body: str = "page", status: int = 200, **fields: str) -> Reply:
    """A reply whose fields are keywords: ``cache_control="no-store"``."""
    pairs = [(name.title().replace("_", "-"), value) for name, value in fields.items()]
    return Reply(body.encode(), status, pairs)


def at(seconds: float) -> str:
    """The HTTP-date so many seconds after a scenario begins."""
    return format_http_date(NOW + seconds)


# --- How long -----------------------------------------------------------------------------------

AIMED = "Pagegen-Cache-Control"
LIFETIMES = {
    "max-age": ({"cache_control": "max-age=60"}, 60),
    "s-maxage-first": ({"cache_control": "max-age=60, s-maxage=30"}, 30),
    "no-max-age-below-s-maxage": ({"cache_control": "s-maxage=90, max-age=0"}, 90),
    "age-counts": ({"cache_control": "max-age=60", "age": "25"}, 35),
    "expires-minus-date": ({"expires": at(45), "date": at(0)}, 45),
    "expires-without-date": ({"expires": at(45)}, 45),
    "max-age-before-expires": ({"cache_control": "max-age=10", "expires": at(45)}, 10),
    "cdn-before-plain": ({"cache_control": "no-store", "cdn_cache_control": "max-age=20"}, 20),
    "cdn-and-no-expires": ({"expires": at(-9), "cdn_cache_control": "max-age=20"}, 20),
    "ours-before-cdn": (
        {"cdn_cache_control": "no-store", "pagegen_cache_control": "max-age=15"},
        15,
    ),
    "ours-is-malformed": (
        {"pagegen_cache_control": "max-age=;;", "cache_control": "max-age=25"},
        25,
    ),
}


@pytest.mark.parametrize(("fields", "seconds"), LIFETIMES.values(), ids=LIFETIMES)
def test_the_response_says_how_long(
    scenario: MakeScenario, fields: dict[str, str], seconds: int
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(**fields)
    assert stage.get("/a").trace == "uri-miss, stored"
    stage.clock.advance(seconds - 1)
    assert stage.get("/a").trace == "hit"
    stage.clock.advance(1)
    stage.get("/a")
    assert stage.renders == 2


UNSTORED = {
    "nothing": ({}, "no-lifetime"),
    "max-age-0": ({"cache_control": "max-age=0"}, "no-lifetime"),
    "expires-0": ({"expires": "0"}, "no-lifetime"),
    "expired": ({"expires": at(-1)}, "no-lifetime"),
    "too-old-already": ({"cache_control": "max-age=60", "age": "60"}, "no-lifetime"),
    "max-age-hides-expires": ({"cache_control": "max-age=x", "expires": at(99)}, "no-lifetime"),
    "no-cache": ({"cache_control": "no-cache, max-age=60"}, "no-cache"),
    "no-store": ({"cache_control": "no-store, max-age=60"}, "no-store"),
    "private": ({"cache_control": "private, max-age=60"}, "private"),
    "cdn-no-store": ({"cache_control": "max-age=60", "cdn_cache_control": "no-store"}, "no-store"),
    "cdn-hides-expires": ({"expires": at(99), "cdn_cache_control": "public"}, "no-lifetime"),
    "ours-private": (
        {"cache_control": "max-age=60", "pagegen_cache_control": "private"},
        "private",
    ),
    "vary-star": ({"cache_control": "max-age=60", "vary": "*"}, "vary"),
    "set-cookie": ({"cache_control": "max-age=60", "set_cookie": "a=b"}, "set-cookie"),
    "no-heuristics": ({"last_modified": "yesterday"}, "no-lifetime"),
}


@pytest.mark.parametrize(("fields", "refusal"), UNSTORED.values(), ids=UNSTORED)
def test_what_the_response_forbids_is_not_stored(
    scenario: MakeScenario, fields: dict[str, str], refusal: str
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(f"render {stage.renders}", **fields)
    for render in ("render 1", "render 2"):
        answer = stage.get("/a")
        assert (answer.trace, answer.text) == (f"refused-{refusal}", render)


@pytest.mark.parametrize("control", ["max-age=0", "no-cache", "no-cache, max-age=60", None])
@pytest.mark.parametrize("name", ["etag", "last_modified"])
def test_what_can_be_validated_is_kept_and_asked_about_each_time(
    scenario: MakeScenario, control: str | None, name: str
) -> None:
    stage = scenario(OPEN)
    validator = {"etag": '"1"', "last_modified": at(-99)}[name]
    condition = {"etag": "if-none-match", "last_modified": "if-modified-since"}[name]
    control_field = {} if control is None else {"cache_control": control}

    def handler(seen: Seen) -> Reply:
        known = seen.fields.get(condition) == validator
        return reply("" if known else "page", 304 if known else 200, **{name: validator})

    stage.handler = lambda seen: reply("page", **{name: validator}, **control_field)
    stage.get("/a")
    stage.handler = handler
    for _ in range(2):
        assert (stage.get("/a").text, stage.get("/a").status) == ("page", 200)
    assert stage.renders == 5
    assert stage.cache.statistics()["validated"] == 4


def test_a_lifetime_is_guessed_where_the_rule_asks_for_it_and_no_further(
    scenario: MakeScenario,
) -> None:
    stage = scenario(Rule(path="/**", share="public", heuristic="1d"))
    days = {"/young": 1, "/old": 100}
    stage.handler = lambda seen: reply(last_modified=at(-days[seen.path] * 86_400))
    for path, lifetime in (("/young", 8_640), ("/old", 86_400)):
        answer = stage.get(path)
        assert f"; ttl={lifetime};" in f"{answer.get('cache-status')};"
        assert stage.get(path).trace == "hit"
    stage.clock.advance(8_640)
    assert [stage.get(path).trace for path in ("/young", "/old")] == ["stale, stored", "hit"]


def test_a_guess_needs_a_status_that_allows_it(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/**", share="public", heuristic="1d"))
    stage.handler = lambda seen: reply(status=int(seen.path[1:]), last_modified=at(-9_000))
    assert [stage.get(p).trace for p in ("/404", "/302", "/500")] == [
        "uri-miss, stored",
        "refused-no-lifetime",
        "refused-status",
    ]


# --- Which statuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 203, 204, 301, 302, 307, 404, 410, 451, 501])
def test_what_is_about_a_path_is_stored_when_the_response_says_so(
    scenario: MakeScenario, status: int
) -> None:
    stage = scenario(OPEN)
    text = "" if status == 204 else "page"
    stage.handler = lambda seen: reply(text, status, cache_control="max-age=60", location="/b")
    assert stage.get("/a").trace == "uri-miss, stored"
    hit = stage.get("/a")
    assert (hit.trace, hit.status, hit.get("location")) == ("hit", status, "/b")


@pytest.mark.parametrize("status", [206, 304, 401, 407, 428, 429, 431, 511])
def test_parts_and_what_is_meant_for_one_client_are_never_stored(
    scenario: MakeScenario, status: int
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply("", status, cache_control="max-age=60", etag='"1"')
    for _ in range(2):
        answer = stage.get("/a")
        assert (answer.trace, answer.status) == ("refused-status", status)


# --- What passes --------------------------------------------------------------------------------


def test_what_is_said_to_us_alone_never_leaves_and_the_rest_does(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    for control in ("max-age=60", "no-store"):
        fields = {"pagegen_cache_control": control, "cdn_cache_control": "max-age=7"}
        stage.handler = lambda seen, fields=fields: reply(cache_control="max-age=1", **fields)
        for _ in range(2):
            answer = stage.get(f"/{control}")
            assert answer.get(AIMED) is None
            assert answer.get("cdn-cache-control") == "max-age=7"
            assert answer.get("cache-control") == "max-age=1"
    assert stage.renders == 3
    bypassed = stage.post("/no-store")
    assert (bypassed.get(AIMED), bypassed.get("cdn-cache-control")) == (None, "max-age=7")


def test_the_cache_adds_no_directives_of_its_own(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(cdn_cache_control="max-age=60")
    assert [stage.get("/a").get("cache-control") for _ in range(2)] == [None, None]
    assert stage.renders == 1


QUERIES = ["", "a=1&b=2", "b=2&a=1", "a=1&a=2", "a=2&a=1", "a", "a=", "%61=1", "a=%FF", "a;b", "&"]


def test_the_query_is_keyed_as_it_came(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(f"<{seen.query}>", cache_control="max-age=60")
    for query in QUERIES:
        assert stage.get(f"/a?{query}").text == f"<{query}>"
    assert stage.renders == len(QUERIES)
    for query in QUERIES:
        answer = stage.get(f"/a?{query}")
        assert (answer.text, answer.trace) == (f"<{query}>", "hit")
    assert stage.get("/a").trace == "hit"


SHOWN = {
    "user-agent": "curl",
    "accept": "text/html",
    "accept-language": "de",
    "x-anything": "1",
    "referer": "/elsewhere",
    "cache-control": "max-age=60",
    "authorization": "Basic x",
    "cookie": "a=b",
}
HIDDEN = {
    # They name another host, path, method or client.
    "forwarded": "host=evil.example",
    "x-forwarded-host": "evil.example",
    "x-forwarded-for": "192.0.2.1",
    "x-original-url": "/admin",
    "x-http-method-override": "DELETE",
    "x-real-ip": "192.0.2.1",
    # They are about one connection.
    "connection": "keep-alive",
    "keep-alive": "timeout=5",
    "te": "trailers",
    "proxy-authorization": "Basic x",
    # The cache answers them.
    "if-none-match": '"1"',
    "if-modified-since": at(0),
    "if-match": "*",
    "if-range": '"1"',
    "range": "bytes=0-1",
}


def test_the_handler_sees_the_request_but_for_what_steers_hops_or_is_answered_here(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    seen_fields: list[dict[str, str]] = []

    def handler(seen: Seen) -> Reply:
        seen_fields.append(dict(seen.fields))
        return reply(cache_control="max-age=60")

    stage.handler = handler
    stage.get("/a", {**SHOWN, **HIDDEN})
    assert seen_fields == [{"host": "testserver", **SHOWN}]


def test_the_handler_does_not_see_who_asks_where_no_vary_could_tell(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    address = {"wsgi": "REMOTE_ADDR", "asgi": "client"}[stage.front]
    stage.handler = lambda seen: reply(str(seen.context.get(address)), cache_control="max-age=60")
    assert "203.0.113.9" not in stage.get("/a").text


# --- Writes -------------------------------------------------------------------------------------


def test_a_write_forgets_its_own_url_whatever_the_query(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(cache_control="max-age=60")
    targets = ["/a", "/a?x=1", "/b"]
    for target in targets:
        stage.get(target)
    stage.post("/a")
    assert [stage.get(target).trace for target in targets] == ["stale, stored"] * 2 + ["hit"]


def test_a_write_that_fails_forgets_nothing(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: reply(cache_control="max-age=60")
    stage.get("/a")
    stage.handler = lambda seen: reply(status=409)
    stage.post("/a")
    assert stage.get("/a").trace == "hit"
