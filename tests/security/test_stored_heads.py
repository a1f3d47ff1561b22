"""Heads of responses that must not be stored, under each mode of rules, on both fronts."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from pagegen import PageCache, Rule
from pagegen.law.storing import MAX_HEAD
from pagegen.testing import Reply, Scenario
from pagegen.testing.calling import environ
from pagegen.wsgi import PageCacheMiddleware
from tests.conftest import MakeScenario

KEYED = Rule(path="/**", share="public", ttl="1h")
OPEN = Rule(path="/**", share="public", mode="http")
FRESH = ("Cache-Control", "max-age=3600")

RULES = pytest.mark.parametrize("rule", [KEYED, OPEN], ids=["keyed", "http"])

Lines = list[tuple[str, str]]


#: No two cases of a scenario share a page.
_PATHS = map("/{}".format, count())


def never_stored(stage: Scenario, lines: Lines, why: str, status: int = 200) -> None:
    """Whoever asks gets an answer of his own, which the first visitor has nothing to do with."""
    stage.handler = lambda seen: Reply(f"{stage.renders:06}".encode(), status, lines)
    path, before = next(_PATHS), stage.renders
    answers = [stage.get(path) for _ in range(2)]
    case = (lines, status)
    assert [answer.trace for answer in answers] == [f"refused-{why}"] * 2, case
    if status not in (204, 304):
        assert [int(answer.body) for answer in answers] == [before + 1, before + 2], case
    assert stage.cache.statistics().get("admitted", 0) == 0, case


# --- Said in words ------------------------------------------------------------------------------


CLOSING = [
    ("private", "private"), ("Private", "private"), ("PRIVATE, max-age=9", "private"),
    ("max-age=9,private", "private"), ("max-age=9;private", "private"),
    ("max-age=9 private", "private"), ("private=", "private"), ('private=""', "private"),
    ('private="set-cookie, x y"', "private"), ('private="a", private="b"', "private"),
    ('private="a', "private"), ("private=@", "private"), ("\tprivate\t", "private"),
    ("public, private", "private"), ('no-transform, x="a\\", private', "private"),
    ("no-store", "no-store"), ("No-Store", "no-store"), ('no-store="x"', "no-store"),
    ("no-store=1", "no-store"), ("no-store=false", "no-store"), (",,no-store,,", "no-store"),
    ("max-age=9; no-store", "no-store"), ("public, no-store", "no-store"),
    ("must-understand=1, no-store", "no-store"), ("x" * 9_000 + ", no-store", "no-store"),
    ("max-age=9, " + "x" * 9_000, "no-store"),
    ("no-cache", "no-cache"), ("no-cache=", "no-cache"), ('no-cache="a b"', "no-cache"),
    ('no-cache="set-cookie", no-cache="x"', "no-cache"),
]  # fmt: skip


@RULES
def test_words_that_close_a_page_close_it_in_any_spelling(
    scenario: MakeScenario, rule: Rule
) -> None:
    stage = scenario(rule)
    for value, why in CLOSING:
        never_stored(stage, [("Cache-Control", value)], why)


@RULES
def test_of_several_lines_each_closes(scenario: MakeScenario, rule: Rule) -> None:
    stage = scenario(rule)
    for name in ("cache-control", "CACHE-CONTROL", "Cache-control"):
        never_stored(stage, [FRESH, ("X-A", "b"), (name, "private")], "private")


ELSEWHERE: list[Lines] = [
    [("Surrogate-Control", "max-age=9"), ("Cache-Control", "private")],
    [("X-Accel-Expires", "60"), ("Cache-Control", "private")],
    [("CDN-Cache-Control", "rubbish =="), ("Cache-Control", "private")],
    [("CDN-Cache-Control", ""), ("Cache-Control", "private")],
    [("Pragma", "public"), ("Cache-Control", "private")],
    [("Cloudflare-CDN-Cache-Control", "max-age=9"), ("Cache-Control", "private")],
    [("CDN-Cache-Control", "private"), FRESH],
    [("Pagegen-Cache-Control", "private"), ("CDN-Cache-Control", "max-age=9"), FRESH],
]


@RULES
def test_fields_of_other_caches_open_nothing(scenario: MakeScenario, rule: Rule) -> None:
    stage = scenario(rule)
    for lines in ELSEWHERE:
        never_stored(stage, lines, "private")


# --- One visitor's ------------------------------------------------------------------------------


@RULES
def test_what_changes_a_visitors_browser_is_that_visitors(
    scenario: MakeScenario, rule: Rule
) -> None:
    stage = scenario(rule)
    for line in (
        ("Set-Cookie", "s=1"), ("set-cookie", "s=1"), ("SET-COOKIE", ""), ("Set-Cookie2", "s=1"),
        ("Clear-Site-Data", '"cookies"'),
    ):  # fmt: skip
        never_stored(stage, [("Cache-Control", "public, max-age=9"), line], "set-cookie")


def test_a_rule_that_drops_cookies_stores_none_of_them_and_empties_nobodys_browser(
    scenario: MakeScenario,
) -> None:
    stage = scenario(Rule(path="/**", share="public", ttl="1h", set_cookie="drop"))
    lines = [("Set-Cookie", "s=1"), ("set-cookie", "t=2"), ("Set-Cookie2", "u=3")]
    stage.handler = lambda seen: Reply(b"page", 200, [FRESH, *lines])
    for _ in range(2):
        assert "cookie" not in str(stage.get("/a").fields).lower()
    assert stage.renders == 1
    stage.handler = lambda seen: Reply(b"bye", 200, [FRESH, ("Clear-Site-Data", '"*"')])
    assert stage.get("/b").trace == stage.get("/b").trace == "refused-set-cookie"


@RULES
def test_word_on_a_clients_credentials_stays_with_that_client(
    scenario: MakeScenario, rule: Rule
) -> None:
    stage = scenario(rule)
    said = ("Authentication-Info", 'nextnonce="47364c23432d2e131a5fb210812c"')
    stage.handler = lambda seen: Reply(b"page", 200, [("Cache-Control", "s-maxage=9"), said])
    stage.get("/a")
    hit = stage.get("/a")
    assert (hit.trace, hit.get("authentication-info")) == ("hit", None)


# --- Statuses -----------------------------------------------------------------------------------


def test_a_keyed_rule_stores_200_and_nothing_that_it_does_not_list(scenario: MakeScenario) -> None:
    stage = scenario(KEYED)
    for status in (*range(201, 232, 3), *range(300, 600, 7), 204, 400, 401, 403, 404, 503):
        said = [("Cache-Control", "public, s-maxage=60"), ("ETag", '"1"')]
        never_stored(stage, said, "status", status)


#: Those that are answers to a field, a client or a moment.
CAUSED = (
    206, 304, 400, 401, 403, 406, 407, 408, 409, 411, 412, 413, 415, 416, 417, 418, 421, 422, 425,
    426, 428, 429, 431, 500, 502, 503, 504, 505, 511, 520, 599,
)  # fmt: skip


def test_an_open_rule_stores_no_part_and_no_error_that_a_field_may_cause(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    for status in CAUSED:
        said = [("Cache-Control", "public, s-maxage=60"), ("ETag", '"1"')]
        never_stored(stage, said, "status", status)


#: What is no status line, or none of a final response.
STATUS_LINES = [
    "99 No", "100 Continue", "101 Switching", "103 Early", "600 No", "999 No", "0200 OK",
    "\uff12\uff10\uff10 OK", "20\xb2 OK", " 200 OK", "+200 OK", "2e2 OK", "200OK", "", "OK 200",
]  # fmt: skip


@RULES
def test_a_status_that_is_none_is_the_servers_to_judge(rule: Rule) -> None:
    cache = PageCache([rule])
    for line in STATUS_LINES:
        told: list[str] = []

        def app(made: Any, start_response: Any, line: str = line) -> list[bytes]:
            start_response(line, [FRESH])
            return [b"page"]

        def start_response(said: str, *_: Any, told: list[str] = told) -> Any:
            told.append(said)
            return print

        for _ in range(2):
            list(PageCacheMiddleware(app, cache=cache)(environ("GET", "/a"), start_response))
        assert told == [line] * 2
    assert cache.statistics().get("admitted", 0) == 0


# --- Whole and well-formed ----------------------------------------------------------------------

_PLANTED = "x\r\nSet-Cookie: session=evil"


MALFORMED = [
    ("Location", _PLANTED), ("X-A", "a\nb"), ("X-A", "a\rb"), ("X-A", "a\x00b"), ("X-A", "\x7f"),
    ("X-A", "a\r\n b"), ("X-A", "\x0b"), ("X-A\r\nSet-Cookie", "s=1"), ("X A", "b"),
    ("Set-Cookie ", "s=1"), (" Set-Cookie", "s=1"), ("Set-Cookie:", "s=1"), ("", "b"),
    ("Cache-Control ", "private"), ("Vary\t", "Cookie"), ("X-\x00", "b"), ("X-\xe4", "b"),
    ("Content-Length", "+6"), ("Content-Length", "6, 7"), ("Content-Length", "6 6"),
    ("Content-Length", "0x6"), ("Content-Length", ""), ("Content-Length", "-6"),
    ("Content-Length", "6" * 30), ("Content-Length", "\xb9"),
    ("Transfer-Encoding", "gzip, chunked"), ("Transfer-Encoding", "identity"),
    ("Transfer-Encoding", "chunked, chunked"), ("Transfer-Encoding", "\x0bchunked"),
]  # fmt: skip


@RULES
def test_what_some_recipient_reads_otherwise_is_planted_in_no_store(
    scenario: MakeScenario, rule: Rule
) -> None:
    stage = scenario(rule)
    for line in MALFORMED:
        never_stored(stage, [FRESH, line], "malformed")


@RULES
def test_two_lengths_are_none(scenario: MakeScenario, rule: Rule) -> None:
    lines = [FRESH, ("Content-Length", "6"), ("Transfer-Encoding", "chunked")]
    never_stored(scenario(rule), lines, "malformed")


@RULES
def test_text_that_has_no_bytes_is_not_stored(rule: Rule) -> None:
    with Scenario("wsgi", [rule]) as stage:
        never_stored(stage, [FRESH, ("X-Title", "\u0141\u00f3d\u017a")], "malformed")


@RULES
def test_a_reason_is_one_line_too(rule: Rule) -> None:
    with Scenario("wsgi", [rule]) as stage:
        stage.wsgi.app = lambda made, start_response: (
            start_response("200 OK\r\nSet-Cookie: s=1", [FRESH]),
            [b"page"],
        )[1]
        assert stage.get("/a").trace == stage.get("/a").trace == "refused-malformed"


@RULES
def test_bytes_of_latin_1_are_stored_as_they_came(scenario: MakeScenario, rule: Rule) -> None:
    stage = scenario(rule)
    stage.handler = lambda seen: Reply(b"page", 200, [FRESH, ("X-Title", "Stra\xdfe\t\x80\xff")])
    stage.get("/a")
    hit = stage.get("/a")
    assert (hit.trace, hit.get("x-title")) == ("hit", "Stra\xdfe\t\x80\xff")


@RULES
def test_a_head_is_bounded(scenario: MakeScenario, rule: Rule) -> None:
    stage = scenario(rule)
    for fields, length in ((1, MAX_HEAD), (1_900, 3), (40, 2_000)):
        lines = [FRESH, *((f"X-{number}", "x" * length) for number in range(fields))]
        never_stored(stage, lines, "head-too-large")


@RULES
def test_a_head_below_its_bound_is_stored(scenario: MakeScenario, rule: Rule) -> None:
    stage = scenario(rule)
    lines = [FRESH, *((f"X-{number}", "x" * 1_000) for number in range(60))]
    stage.handler = lambda seen: Reply(b"page", 200, lines)
    assert [stage.get("/a").trace for _ in range(2)] == ["uri-miss, stored", "hit"]


# --- What of a page is not its own --------------------------------------------------------------


@RULES
@pytest.mark.parametrize("nominated", ["x-secret", "X-Secret, close", "close,\tx-secret,"])
def test_fields_of_a_connection_are_neither_stored_nor_sent_on(
    scenario: MakeScenario, rule: Rule, nominated: str
) -> None:
    stage = scenario(rule)
    lines = [
        FRESH, ("Connection", nominated), ("X-Secret", "1"), ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"), ("Proxy-Authentication-Info", "n"), ("TE", "trailers"),
        ("Proxy-Connection", "close"), ("Trailer", "Set-Cookie"), ("Upgrade", "h2c"),
        ("Transfer-Encoding", "chunked"),
    ]  # fmt: skip
    stage.handler = lambda seen: Reply(b"page", 200, lines)
    stage.get("/a")
    hit = stage.get("/a")
    assert hit.trace == "hit"
    names = {name.lower() for name, _ in hit.fields}
    assert names.isdisjoint(name.lower() for name, _ in lines[1:])


@RULES
def test_a_vary_that_cannot_be_kept_apart_closes(scenario: MakeScenario, rule: Rule) -> None:
    stage = scenario(rule)
    for vary in ("*", "Cookie, *", "Acc ept", "X_Y", "X-A, X_Y", '"Cookie"'):
        never_stored(stage, [FRESH, ("Vary", vary)], "vary")


def test_a_keyed_rule_stores_nothing_that_varies_by_what_it_does_not_key(
    scenario: MakeScenario,
) -> None:
    stage = scenario(KEYED)
    for vary in ("Cookie", "User-Agent", "X-Forwarded-Host", "Origin", "Range", "cookie2",
                 "Host, Accept-Language", "Authorization"):  # fmt: skip
        never_stored(stage, [FRESH, ("X-A", "b"), ("vary", vary)], "vary")


@RULES
def test_a_part_is_no_page(scenario: MakeScenario, rule: Rule) -> None:
    never_stored(scenario(rule), [FRESH, ("Content-Range", "bytes 0-5/10")], "partial")
