"""A plain shared cache as an expert with a sniffer sees it: the command, sockets, and the RFCs.

Nothing here knows how pagegen is made. Stale pages come stale (``Age``), so no test waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.clients.outside import FRESH, Outside, answer, broken

STALE = "Age: 100"
TAGGED = 'ETag: "a"'
OLD = "Last-Modified: Thu, 18 Aug 1983 02:01:18 GMT"


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def cache(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outside]:
    found = Outside(request.param, tmp_path_factory.mktemp("outside"))
    yield found
    assert found.end() == 0


# Storing and reusing -------------------------------------------------------------------------


class Twice(NamedTuple):
    """Two requests for one page; ``reused`` tells whether the second is answered from the first."""

    id: str
    section: str
    given: str
    reused: bool
    first: str = ""
    second: str = ""
    status: int = 200


LIFETIMES = (
    Twice("plain", "9111 §4.2.1", FRESH, True),
    Twice("nothing", "9111 §4.2.2", "Content-Type: text/plain", False),
    Twice("upper", "9111 §5.2", "CACHE-CONTROL: MAX-AGE=3600", True),
    Twice("quoted", "9111 §5.2", 'Cache-Control: max-age="3600"', True),
    Twice("odd", "9111 §5.2.3", 'Cache-Control: a="b, no-store", max-age=3600', True),
    Twice("in-quotes", "9111 §5.2", 'Cache-Control: a="b, max-age=3600"', False),
    Twice("lines", "9110 §5.3", f"{FRESH} | Cache-Control: no-store", False),
    Twice("space", "9111 §4.2.1", "Cache-Control: max-age =3600", False),
    Twice("zero", "9111 §5.2.2.1", "Cache-Control: max-age=0", False),
    Twice("negative", "9111 §1.2.2", "Cache-Control: max-age=-3600", False),
    Twice("float", "9111 §1.2.2", "Cache-Control: max-age=3600.0", False),
    Twice("huge", "9111 §1.2.2", f"Cache-Control: max-age={'9' * 60}", True),
    Twice("first-0", "9111 §4.2.1", "Cache-Control: max-age=0, max-age=3600", False),
    Twice("s-maxage", "9111 §5.2.2.10", "Cache-Control: max-age=0, s-maxage=3600", True),
    Twice("s-maxage-0", "9111 §5.2.2.10", "Cache-Control: s-maxage=0, max-age=3600", False),
    Twice("no-store", "9111 §5.2.2.5", "Cache-Control: max-age=3600, No-Store", False),
    Twice("private", "9111 §5.2.2.7", "Cache-Control: public, private, max-age=3600", False),
    Twice("no-cache", "9111 §5.2.2.4", f"{TAGGED} | Cache-Control: no-cache, max-age=3600", False),
    Twice("understood", "9111 §5.2.2.3", f"{FRESH}, no-store, must-understand", True),
    Twice("not-understood", "9111 §5.2.2.3", f"{FRESH}, must-understand", False, status=299),
    Twice("expires", "9111 §5.3", "Expires: {+3600}", True),
    Twice("expires-past", "9111 §5.3", "Expires: {-3600}", False),
    Twice("expires-0", "9111 §5.3", "Expires: 0", False),
    Twice("expires-empty", "9111 §5.3", "Expires:", False),
    Twice("expires-zone", "9111 §4.2", "Expires: Wed, 18 Aug 2049 02:01:18 PST", False),
    Twice("expires-rfc850", "9110 §5.6.7", "Expires: Wednesday, 18-Aug-49 02:01:18 GMT", True),
    Twice("expires-asctime", "9110 §5.6.7", "Expires: Wed Aug 18 02:01:18 2049", True),
    Twice("expires-max-age", "9111 §5.3", f"{FRESH} | Expires: 0", True),
    Twice("expires-before-date", "9111 §4.2.1", "Expires: {+100} | Date: {+200}", False),
    Twice("old-date", "9111 §4.2.3", f"{FRESH} | Date: {{-4000}}", False),
    Twice("future-date", "9111 §4.2.3", f"{FRESH} | Date: {{+4000}}", True),
    Twice("age", "9111 §4.2.3", f"{FRESH} | Age: 1800", True),
    Twice("age-over", "9111 §4.2.3", f"{FRESH} | Age: 3600", False),
    Twice("age-first", "9111 §5.1", f"{FRESH} | Age: 7200, 0", False),
    Twice("age-rubbish", "9111 §5.1", f"{FRESH} | Age: -7200", True),
    Twice("404", "9111 §3", FRESH, True, status=404),
    Twice("410", "9111 §3", FRESH, True, status=410),
    Twice("599", "http-mode.md", FRESH, False, status=599),
    Twice("204", "9111 §3", FRESH, True, status=204),
    Twice("206", "9111 §3.3", f"{FRESH} | Content-Range: bytes 0-1/9", False, status=206),
    Twice("target", "9213 §2.2", "CDN-Cache-Control: max-age=9 | Cache-Control: no-store", True),
    Twice("target-closed", "9213 §2.2", f"CDN-Cache-Control: no-store | {FRESH}", False),
    Twice("target-bad", "9213 §2.1", f"CDN-Cache-Control: no-store, ??? | {FRESH}", True),
    Twice("target-expires", "9213 §2.2", "CDN-Cache-Control: a | Expires: {+3600}", False),
    Twice("vary-star", "9111 §4.1", f"{FRESH} | Vary: A, *", False),
)


def wishes() -> Iterator[Twice]:
    given = f"{FRESH} | Age: 600"
    for name, section, wish, reused in (
        ("wish-no-cache", "9111 §5.2.1.4", "no-cache", False),
        ("wish-max-age", "9111 §5.2.1.1", "max-age=599", False),
        ("wish-max-age-more", "9111 §5.2.1.1", "max-age=700", True),
        ("wish-min-fresh", "9111 §5.2.1.3", "min-fresh=3100", False),
        ("wish-min-fresh-less", "9111 §5.2.1.3", "min-fresh=100", True),
        ("wish-cached", "9111 §5.2.1.7", "only-if-cached", True),
    ):
        yield Twice(name, section, given, reused, "", f"Cache-Control: {wish}")
    yield Twice("wish-pragma", "9111 §5.4", given, False, "", "Pragma: no-cache")
    yield Twice("wish-no-store", "9111 §5.2.1.5", given, False, "Cache-Control: no-store")
    stale = f"Cache-Control: max-age=9, stale-if-error=1000 | {STALE}"
    yield Twice("wish-stale", "9111 §5.2.1.2", stale, True, "", "Cache-Control: max-stale")
    yield Twice("wish-stale-91", "9111 §5.2.1.2", stale, False, "", "Cache-Control: max-stale=50")
    must = f'Cache-Control: max-age=9, must-revalidate | {STALE} | ETag: "a"'
    yield Twice("wish-stale-must", "9111 §5.2.2.2", must, False, "", "Cache-Control: max-stale")


def visitors() -> Iterator[Twice]:
    who = "Authorization: Basic YTpi"
    for word, reused in (("public", True), ("must-revalidate", True), ("proxy-revalidate", False)):
        yield Twice(f"auth-{word}", "9111 §3.5", f"{FRESH}, {word}", reused, who, who)
    yield Twice("auth", "9111 §3.5", FRESH, False, who, "")
    yield Twice("auth-s", "9111 §3.5", "Cache-Control: s-maxage=9", True, who, "")
    for name, given, first, second, reused in (
        ("same", "A", "A: 1", "a: 1", True),
        ("other", "a", "A: 1", "A: 2", False),
        ("absent", "A", "A: 1", "", False),
        ("came", "A", "", "A: 1", False),
        ("neither", "A", "", "B: 1", True),
        ("empty", "A", "A:", "", False),
        ("two", "A, B", "A: 1 | B: 1", "B: 1 | A: 1", True),
        ("second", "A | Vary: B", "A: 1 | B: 1", "A: 1 | B: 2", False),
        ("language", "Accept-Language", "Accept-Language: de", "Accept-Language: en", False),
    ):
        yield Twice(f"vary-{name}", "9111 §4.1", f"{FRESH} | Vary: {given}", reused, first, second)


@pytest.mark.parametrize("row", [*LIFETIMES, *wishes(), *visitors()], ids=lambda row: row.id)
def test_a_second_request_is_answered_from_the_first_or_not(cache: Outside, row: Twice) -> None:
    path = cache.given(answer(row.given, row.status))
    first, again = cache.ask(path, row.first), cache.ask(path, row.second)
    assert (first.status, again.status) == (row.status, row.status)
    assert (len(cache.asked(path)) == 1) is row.reused, row.section
    assert (first.whole, again.whole) == (True, True)
    if row.reused:
        assert again.body == first.body
        assert again.lines("date") == first.lines("date")
        assert len(again.lines("age")) == 1, "9111 §4"


# Stale on purpose, and never otherwise ---------------------------------------------------------


class Failing(NamedTuple):
    """A stale page and an origin that fails; ``status`` is what the client gets, 200 the page."""

    id: str
    section: str
    given: str
    failure: int | None
    status: int
    wish: str = ""


def failures() -> Iterator[Failing]:
    yield Failing("gone", "9111 §4.2.4", "max-age=9", None, 200)
    yield Failing("500", "9111 §4.2.4", "max-age=9", 500, 500)
    yield Failing("window", "5861 §4", "max-age=9, stale-if-error=1000", 503, 200)
    yield Failing("window-gone", "5861 §4", "max-age=9, stale-if-error=1000", None, 200)
    yield Failing("over", "5861 §4", "max-age=9, stale-if-error=50", 503, 503)
    yield Failing("404", "5861 §4", "max-age=9, stale-if-error=1000", 404, 404)
    yield Failing("wish", "5861 §4", "max-age=9", 502, 200, "Cache-Control: stale-if-error=1000")
    for word in ("must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=9"):
        for failure, status in ((None, 502), (500, 500)):
            given = f"max-age=9, {word}, stale-if-error=1000"
            yield Failing(f"{word}-{failure}", "9111 §4.2.4", given, failure, status)


@pytest.mark.parametrize("row", list(failures()), ids=lambda row: row.id)
def test_a_stale_page_stands_in_where_that_is_allowed(cache: Outside, row: Failing) -> None:
    failing = broken() if row.failure is None else answer("", row.failure)
    path = cache.given(answer(f"Cache-Control: {row.given} | {STALE} | {TAGGED}"), failing)
    first, again = cache.ask(path), cache.ask(path, row.wish)
    assert again.status == row.status, row.section
    if row.status == 200:
        assert again.body == first.body
        assert int(again.get("age") or 0) >= 100


def test_while_a_page_is_renewed_its_old_self_is_served(cache: Outside) -> None:
    given = f"Cache-Control: max-age=9, stale-while-revalidate=1000 | {STALE}"
    path = cache.given(answer(given), answer(FRESH))
    assert [cache.ask(path).body for _ in range(2)] == [b"#1", b"#1"]
    bodies = (cache.ask(path).body for _ in range(1000))
    assert next(body for body in bodies if body != b"#1") == b"#2"
    assert len(cache.asked(path)) == 2


# Conditions and ranges -------------------------------------------------------------------------


class Condition(NamedTuple):
    """A stored page, a request, and the status that it gets from the cache alone."""

    id: str
    section: str
    given: str
    asked: str
    status: int


def conditions() -> Iterator[Condition]:
    for name, tag, asked, status in (
        ("same", '"a"', '"a"', 304),
        ("other", '"a"', '"b"', 200),
        ("list", '"a"', '"x", "a"', 304),
        ("weak", '"a"', 'W/"a"', 304),
        ("ours-weak", 'W/"a"', '"a"', 304),
        ("star", '"a"', "*", 304),
        ("comma", '"a,b"', '"x", "a,b"', 304),
        ("part", '"a"', '"ab"', 200),
    ):
        yield Condition(name, "9110 §13.1.2", f"ETag: {tag}", f"If-None-Match: {asked}", status)
    for name, asked, status in (
        ("since", "Thu, 18 Aug 1983 02:01:18 GMT", 304),
        ("since-earlier", "Thu, 18 Aug 1983 02:01:17 GMT", 200),
        ("since-rfc850", "Thursday, 18-Aug-83 02:01:18 GMT", 304),
        ("since-asctime", "Thu Aug 18 02:01:18 1983", 304),
        ("since-rubbish", "yesterday", 200),
    ):
        yield Condition(name, "9110 §13.1.3", OLD, f"If-Modified-Since: {asked}", status)
    both = f"{TAGGED} | {OLD}"
    later = "If-Modified-Since: Thu, 18 Aug 1983 02:01:18 GMT"
    yield Condition("order", "9110 §13.2.2", both, f'If-None-Match: "b" | {later}', 200)
    yield Condition("match", "9110 §13.1.1", TAGGED, 'If-Match: "b"', 412)
    yield Condition("match-weak", "9110 §13.1.1", 'ETag: W/"a"', 'If-Match: W/"a"', 412)
    for name, asked, status in (
        ("range", "bytes=0-1", 206),
        ("range-suffix", "bytes=-2", 206),
        ("range-beyond", "bytes=10-", 416),
        ("range-backwards", "bytes=2-1", 200),
    ):
        yield Condition(name, "9110 §14.2", both, f"Range: {asked}", status)
    for name, asked, status in (
        ("if-range", '"a"', 206),
        ("if-range-other", '"b"', 200),
        ("if-range-weak", 'W/"a"', 200),
        ("if-range-date", "Thu, 18 Aug 1983 02:01:18 GMT", 206),
        ("if-range-later", "{+0}", 200),
    ):
        yield Condition(name, "9110 §13.1.5", both, f"Range: bytes=0-1 | If-Range: {asked}", status)


@pytest.mark.parametrize("row", list(conditions()), ids=lambda row: row.id)
def test_a_condition_is_answered_from_the_stored_page(cache: Outside, row: Condition) -> None:
    path = cache.given(answer(f"{FRESH} | Vary: Q | {row.given}", body=b"0123456789"))
    page, reply = cache.ask(path), cache.ask(path, row.asked)
    assert reply.status == row.status, row.section
    assert reply.whole
    assert len(cache.asked(path)) == 1
    if row.status == 304:
        kept = ("etag", "date", "cache-control", "vary")
        assert [reply.get(name) for name in kept] == [page.get(name) for name in kept]
    if row.status == 206:
        part = (b"89", "bytes 8-9/10") if "suffix" in row.id else (b"01", "bytes 0-1/10")
        assert (reply.body, reply.get("content-range")) == part


# Validating ------------------------------------------------------------------------------------


def test_a_304_updates_what_it_says_and_nothing_else(cache: Outside) -> None:
    stored = "A: old | B: kept | Content-Encoding: x-odd | Content-Type: text/old"
    said = "A: new | C: added | Content-Encoding: y | Content-Type: text/new | Connection: hop"
    path = cache.given(
        answer(f"Cache-Control: max-age=9 | {STALE} | {TAGGED} | {stored}"),
        answer(f"{FRESH} | {TAGGED} | {said} | Hop: 1", 304),
    )
    first = cache.ask(path)
    for reply in (cache.ask(path), cache.ask(path)):
        assert (reply.status, reply.body) == (200, first.body)
        wanted = {"a": "new", "b": "kept", "c": "added", "hop": None, "content-encoding": "x-odd"}
        wanted |= {"content-type": "text/new", "content-length": "2"}
        assert {name: reply.get(name) for name in wanted} == wanted, "9111 §3.2"
    _, validation = cache.asked(path)
    assert validation.get("if-none-match") == ['"a"']


def test_a_304_about_another_page_updates_nothing(cache: Outside) -> None:
    path = cache.given(
        answer(f"Cache-Control: max-age=9 | {STALE} | {TAGGED}"),
        answer(f'{FRESH} | ETag: "b" | Evil: 1', 304),
        answer(f'{FRESH} | ETag: "b"'),
    )
    cache.ask(path)
    reply = cache.ask(path)
    assert (reply.status, reply.body, reply.get("evil")) == (200, b"#3", None), "9111 §4.3.4"


@pytest.mark.parametrize("said", ["no-store", "private", "max-age=3600 | Vary: *"])
def test_what_a_304_closes_is_closed(cache: Outside, said: str) -> None:
    path = cache.given(
        answer(f"Cache-Control: max-age=9 | {STALE} | {TAGGED}"),
        answer(f"Cache-Control: {said} | {TAGGED}", 304),
        answer(FRESH),
    )
    assert [cache.ask(path).body for _ in range(3)] == [b"#1", b"#1", b"#3"]


def test_head_is_answered_from_a_get_and_never_the_other_way(cache: Outside) -> None:
    path = cache.given(answer(f"{FRESH} | {TAGGED}"))
    assert cache.ask(path, method="HEAD").whole
    page, head = cache.ask(path), cache.ask(path, method="HEAD")
    assert (page.body, len(cache.asked(path))) == (b"#2", 2)
    assert (head.whole, head.get("content-length"), head.get("etag")) == (True, "2", '"a"')


# Invalidating ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"])
@pytest.mark.parametrize("status", [200, 204, 303, 404, 500])
def test_a_write_that_succeeds_forgets_its_url(cache: Outside, method: str, status: int) -> None:
    path = cache.given(answer(FRESH), answer("", status), answer(FRESH))
    cache.ask(path)
    assert cache.ask(path, method=method, body=b"x").status == status
    # The second one finds what the first one stored: nothing is forgotten behind an answer.
    fresh = b"#3" if status < 400 else b"#1"
    assert [cache.ask(path).body, cache.ask(path).body] == [fresh, fresh], "9111 §4.4"


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize("origin", ["", "http://shop.example", "http://other.example"])
def test_what_a_write_names_is_forgotten_on_its_own_origin(
    cache: Outside, field: str, origin: str
) -> None:
    page = cache.given(answer(FRESH))
    written = cache.given(answer(f"{field}: {origin}{page}", 201))
    cache.ask(page)
    cache.ask(written, method="POST", body=b"x")
    assert cache.ask(page).body == (b"#1" if "other" in origin else b"#2"), "9111 §4.4"


# What comes out --------------------------------------------------------------------------------


def test_fields_are_kept_as_they_came(cache: Outside) -> None:
    given = "A: 1 | B: | A: 2 | Link: <x>, <y> | C: \xe4\xff | D: " + "d" * 7000
    path = cache.given(answer(f"{FRESH} | {given}"))
    for reply in (cache.ask(path), cache.ask(path)):
        found = [value for name, value in reply.fields if name.lower() in ("a", "b", "c", "link")]
        assert found == ["1", "", "2", "<x>, <y>", "\xe4\xff"], "9111 §3.1"
        assert len(reply.get("d") or "") == 7000
        for name in ("date", "content-length", "cache-control"):
            assert len(reply.lines(name)) == 1, name


def test_fields_of_a_connection_and_of_one_visitor_are_not_kept(cache: Outside) -> None:
    hops = "Connection: x-hop | X-Hop: 1 | Keep-Alive: timeout=5 | Proxy-Authenticate: Basic"
    path = cache.given(answer(f'{FRESH}, no-cache="x-mine" | {hops} | X-Mine: 1 | X-Ours: 1'))
    first, again = cache.ask(path), cache.ask(path)
    for reply in (first, again):
        for name in ("x-hop", "keep-alive", "proxy-authenticate"):
            assert reply.get(name) is None, "9110 §7.6.1"
    assert (first.get("x-mine"), again.get("x-mine")) == ("1", None), "9111 §5.2.2.4"
    assert again.get("x-ours") == "1"


@pytest.mark.parametrize("code", [100, 102, 103])
def test_interim_responses_change_nothing(cache: Outside, code: int) -> None:
    interim = f"HTTP/1.1 {code} Wait\r\nCache-Control: no-store\r\nLink: <x>\r\n\r\n".encode()
    path = cache.given(answer(FRESH, before=interim * 2))
    for reply in (cache.ask(path), cache.ask(path)):
        assert (reply.body, reply.get("link")) == (b"#1", None), "9110 §15.2"


CUT = ("Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")


@pytest.mark.parametrize("cut", CUT, ids=["length", "chunk"])
def test_an_incomplete_response_is_told_and_never_reused(cache: Outside, cut: str) -> None:
    path = cache.given(broken(f"HTTP/1.1 200 OK\r\n{FRESH}\r\n{cut}".encode()), answer(FRESH))
    first = cache.ask(path)
    assert not first.whole or first.status >= 500, "9112 §8"
    assert cache.ask(path).body == b"#2", "9111 §3.3"


def test_queries_are_told_apart_to_the_letter(cache: Outside) -> None:
    path = cache.given(answer(FRESH))
    queries = ["?a=1&b=2", "?b=2&a=1", "?a=1", "?a=%31", "?a=+", "?a=%20"]
    for query in queries:
        cache.script(path + query, answer(FRESH, body=query.encode()))
    for query in (*queries, *queries):
        assert cache.ask(path + query).body == query.encode(), "9111 §4"


def test_what_is_not_stored_is_a_504_to_who_wants_stored_ones_only(cache: Outside) -> None:
    path = cache.given(answer(FRESH))
    reply = cache.ask(path, "Cache-Control: only-if-cached")
    assert (reply.status, cache.asked(path)) == (504, []), "9111 §5.2.1.7"


def test_two_mebibytes_come_whole(cache: Outside) -> None:
    body = bytes(range(256)) * 8192
    path = cache.given(answer(FRESH, body=body))
    assert [cache.ask(path).body == body for _ in range(2)] == [True, True]
