"""A page is rendered once, served from the cache, and spoken of as HTTP asks."""

from __future__ import annotations

import pytest

from pagegen import Invalidates, Rule
from pagegen.testing import Reply
from tests.conftest import MakeScenario

LIST = Rule(
    path="/users/{user:int}/favorites",
    share="public",
    namespaces=["user:{user}/favorites"],
    ttl="1h",
    query={"start": {"type": "int", "default": 0}, "end": {"type": "int", "default": 20}},
)


def test_a_page_is_rendered_once(scenario: MakeScenario) -> None:
    stage = scenario(LIST)
    first, second = stage.get("/users/42/favorites"), stage.get("/users/42/favorites")
    assert (first.trace, second.trace) == ("uri-miss, stored", "hit")
    assert first.body == second.body == b"page 1"
    assert stage.renders == 1


@pytest.mark.parametrize("query", ["?start=0&end=20", "?end=20&start=00", "?", "?end=020", "?&&"])
def test_spellings_of_one_query_are_one_page(scenario: MakeScenario, query: str) -> None:
    stage = scenario(LIST)
    stage.handler = lambda seen: seen.query
    assert stage.get("/users/42/favorites").text == "start=0&end=20"
    assert stage.get(f"/users/42/favorites{query}").trace == "hit"


@pytest.mark.parametrize(
    ("target", "trace"),
    [
        ("/users/42/favorites?start=x", "bypass: query"),
        ("/users/42/favorites?page=2", "bypass: query"),
        ("/users/42/favorites?start=1&start=2", "bypass: query"),
        ("/users/42//favorites", "bypass: path"),
        ("/users/42/%66avorites/..", "bypass: path"),
        ("/users/42%2Ffavorites", "bypass: path"),
        ("/users/ada/favorites", "bypass: no-rule"),
    ],
)
def test_a_doubt_is_a_bypass_and_the_handler_sees_it_untouched(
    scenario: MakeScenario, target: str, trace: str
) -> None:
    stage = scenario(LIST)
    stage.handler = lambda seen: f"{seen.query} {seen.fields.get('user-agent')}"
    for _ in range(2):
        answer = stage.get(target, {"user-agent": "curl"})
        assert answer.trace == trace
        assert answer.text == f"{target.partition('?')[2]} curl"
    assert stage.renders == 2


def test_a_page_expires_with_its_ttl_and_tells_its_age(scenario: MakeScenario) -> None:
    stage = scenario(LIST)
    assert stage.get("/users/42/favorites").get("age") is None
    stage.clock.advance(3599)
    assert stage.get("/users/42/favorites").get("age") == "3599"
    stage.clock.advance(1)
    assert stage.get("/users/42/favorites").trace == "stale, stored"
    assert stage.renders == 2


def test_the_validator_changes_with_the_page_and_only_with_it(scenario: MakeScenario) -> None:
    stage = scenario(LIST)
    etags = []
    for body in (b"one", b"two", b"one"):
        stage.handler = lambda seen, body=body: body
        etags.append(stage.get("/users/42/favorites").get("etag"))
        stage.cache.invalidate("user:42/favorites")
    assert etags[0] == etags[2] != etags[1]


def test_head_is_answered_from_a_stored_get_and_never_stored(scenario: MakeScenario) -> None:
    stage = scenario(LIST)
    assert stage.request("HEAD", "/users/42/favorites").trace == "bypass: head-miss"
    full = stage.get("/users/42/favorites")
    head = stage.request("HEAD", "/users/42/favorites")
    assert (head.trace, head.body, head.get("content-length")) == ("hit", b"", "6")
    assert head.get("etag") == full.get("etag")


def test_a_known_page_is_answered_304_even_when_it_was_just_rendered(
    scenario: MakeScenario,
) -> None:
    stage = scenario(LIST)
    etag = stage.get("/users/42/favorites").get("etag")
    assert etag is not None
    assert etag.startswith('"')
    hit = stage.get("/users/42/favorites", {"if-none-match": f'"other", W/{etag}'})
    assert (hit.status, hit.body, hit.get("etag")) == (304, b"", etag)
    assert hit.get("content-type") is None
    stage.handler = lambda seen: "page 1"
    stage.clock.advance(3600)
    rendered = stage.get("/users/42/favorites", {"if-none-match": etag})
    assert (rendered.status, rendered.trace) == (304, "stale, stored")


def test_if_modified_since_is_answered_from_the_pages_own_date(scenario: MakeScenario) -> None:
    stage = scenario(LIST)
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    stage.handler = lambda seen: Reply(b"x", fields=[("Last-Modified", date)])
    stage.get("/users/42/favorites")
    later = "Sunday, 06-Nov-94 08:49:38 GMT"
    earlier = "Sun Nov  6 08:49:36 1994"
    assert stage.get("/users/42/favorites", {"if-modified-since": later}).status == 304
    assert stage.get("/users/42/favorites", {"if-modified-since": earlier}).status == 200
    assert stage.get("/users/42/favorites", {"if-modified-since": "rubbish"}).status == 200
    both = {"if-modified-since": later, "if-none-match": '"other"'}
    assert stage.get("/users/42/favorites", both).status == 200


def test_a_namespaced_page_makes_browsers_ask_unless_the_application_spoke(
    scenario: MakeScenario,
) -> None:
    stage = scenario(LIST, Rule(path="/plain", share="public", ttl=60))
    assert stage.get("/users/42/favorites").get("cache-control") == "no-cache"
    assert stage.get("/plain").get("cache-control") is None
    stage.handler = lambda seen: Reply(b"x", fields=[("Cache-Control", "max-age=5")])
    assert stage.get("/users/43/favorites").get("cache-control") == "max-age=5"


def test_without_a_ttl_the_response_decides(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/**", share="public"))
    stage.handler = lambda seen: Reply(b"x", fields=[("Cache-Control", seen.path[1:])])
    assert stage.get("/max-age=60").trace == "uri-miss, stored"
    assert stage.get("/max-age=60").trace == "hit"
    assert stage.get("/public").trace == "refused-no-lifetime"
    stage.clock.advance(60)
    assert stage.get("/max-age=60").trace == "stale, stored"


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        (Reply(b"x", fields=[("Cache-Control", "no-store")]), "no-store"),
        (Reply(b"x", fields=[("Cache-Control", "max-age=9, PRIVATE")]), "private"),
        (Reply(b"x", fields=[("Cache-Control", "no-cache")]), "no-cache"),
        (Reply(b"x", fields=[("Set-Cookie", "a=b")]), "set-cookie"),
        (Reply(b"x", fields=[("Vary", "*")]), "vary"),
        (Reply(b"x", fields=[("Vary", "Accept-Encoding, Cookie")]), "vary"),
        (Reply(b"x", fields=[("Content-Range", "bytes 0-0/9")]), "partial"),
        (Reply(b"x", fields=[("Content-Length", "2")]), "length"),
        (Reply(b"x", fields=[("Content-Length", "1, 2")]), "malformed"),
        (Reply(b"x", fields=[("Age", "3600")]), "no-lifetime"),
        (Reply(b"x", fields=[("Cache-Groups", '"elsewhere"')]), "groups"),
        (Reply(b"x", status=404), "status"),
        (Reply(b"x", status=500), "status"),
        (Reply(b"x" * 2000), "too-large"),
        (Reply([b"x" * 600, b"x" * 600]), "too-large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_may_not_be_stored_passes_through_as_it_is(
    scenario: MakeScenario, reply: Reply, refusal: str
) -> None:
    stage = scenario(Rule(path="/a", share="public", ttl="1h", max_body=1000))
    stage.handler = lambda seen: reply
    whole = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
    for _ in range(2):
        answer = stage.get("/a")
        assert answer.trace in (f"refused-{refusal}", "uri-miss")
        assert (answer.status, answer.body) == (reply.status, whole)
        assert set(reply.fields) <= {(k.title(), v) for k, v in answer.fields}
    assert stage.renders == 2
    assert stage.cache.statistics()[f"refused:{refusal}"] == 2


def test_statuses_are_stored_as_the_rule_lists_them(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/**", share="public", ttl={"404": "10s", 200: "1h"}))
    stage.handler = lambda seen: Reply(b"page", status=int(seen.path[1:]))
    for path in ("/200", "/404", "/500"):
        stage.get(path)
    assert [stage.get(path).trace for path in ("/200", "/404", "/500")] == [
        "hit",
        "hit",
        "refused-status",
    ]
    stage.clock.advance(10)
    assert [stage.get(path).trace for path in ("/200", "/404")] == ["hit", "stale, stored"]


def test_set_cookie_can_be_dropped_from_the_stored_page(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/a", share="public", ttl=60, set_cookie="drop"))
    stage.handler = lambda seen: Reply(b"x", fields=[("Set-Cookie", "visitor=1")])
    assert stage.get("/a").get("set-cookie") is None
    assert stage.get("/a").get("set-cookie") is None
    assert stage.renders == 1


def test_a_streamed_page_is_collected_and_gets_its_length(scenario: MakeScenario) -> None:
    stage = scenario(LIST)
    stage.handler = lambda seen: Reply([b"one ", b"two ", b"three"])
    first = stage.get("/users/42/favorites")
    assert first.chunks == (b"one ", b"two ", b"three")
    assert (first.get("cache-control"), first.get("content-length")) == ("no-cache", None)
    hit = stage.get("/users/42/favorites")
    assert (hit.trace, hit.body, hit.get("content-length")) == ("hit", b"one two three", "13")


def test_repeated_and_connection_fields(scenario: MakeScenario) -> None:
    stage = scenario(LIST)
    fields = [("Link", "<a>"), ("Link", "<b>"), ("Connection", "X-Hop"), ("X-Hop", "1")]
    stage.handler = lambda seen: Reply(b"x", fields=fields)
    stage.get("/users/42/favorites")
    hit = stage.get("/users/42/favorites")
    assert [value for name, value in hit.fields if name.lower() == "link"] == ["<a>", "<b>"]
    assert (hit.get("connection"), hit.get("x-hop")) == (None, None)


def test_rules_that_forbid_caching_are_a_bypass(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/admin/**", cache=False), Rule(path="/**", share="public", ttl=60))
    assert stage.get("/admin/users").trace == "bypass: rule"
    assert stage.get("/admin").trace == "bypass: rule"
    assert stage.get("/administrators").trace == "uri-miss, stored"


def test_methods_of_a_rule(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/a", share="public", ttl=60, methods=["GET"]))
    stage.get("/a")
    assert stage.request("HEAD", "/a").trace == "bypass: no-rule"
    assert stage.get("/a").trace == "hit"
    assert stage.request("POST", "/a").trace == "bypass: method"
    assert stage.request("PROPFIND", "/a").trace == "bypass: method"


def test_another_release_or_site_has_pages_of_its_own(scenario: MakeScenario) -> None:
    old = scenario(LIST, release="1", site="a")
    old.get("/users/42/favorites")
    for release, site in (("2", "a"), ("1", "b")):
        new = scenario(LIST, release=release, site=site, store=old.cache.engine.store)
        assert new.get("/users/42/favorites").trace == "uri-miss, stored"


def test_a_changed_rule_never_meets_pages_of_its_former_self(scenario: MakeScenario) -> None:
    old = scenario(Rule(path="/a", name="a", share="public", ttl=60))
    old.get("/a")
    changed = Rule(path="/a", name="a", share="public", ttl=60, namespaces=["a"])
    new = scenario(changed, store=old.cache.engine.store)
    assert new.get("/a").trace == "uri-miss, stored"


def test_invalidates_needs_no_code_in_the_handler(scenario: MakeScenario) -> None:
    write = Invalidates(
        path="/users/{user:int}/favorites/{item}", namespaces=["user:{user}/favorites"]
    )
    stage = scenario(LIST, invalidates=[write])
    stage.get("/users/42/favorites")
    stage.get("/users/43/favorites")
    stage.post("/users/42/favorites/7")
    assert stage.get("/users/42/favorites").trace == "stale, stored"
    assert stage.get("/users/43/favorites").trace == "hit"
