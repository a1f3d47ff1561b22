"""What clients are told where the application is silent (RFC 9111 §5.2.2.4, the design's §5)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from pagegen.law.downstream import (
    added,
    navigates,
    not_cached,
    page_fields,
    passing_fields,
    refused_fields,
    selected_by,
)
from pagegen.law.storing import stored_fields
from pagegen.law.validation import strong_etag
from pagegen.messages import Fields, GivenFields, Request, ResponseHead
from pagegen.rules import Rule

NO_CACHE: Fields = (("Cache-Control", "no-cache"),)
EXPIRES = ("Expires", "Sun, 06 Nov 2094 08:49:37 GMT")


def rule(*namespaces: str) -> Rule:
    """A rule with these namespaces."""
    return Rule(path="/page", share="public", namespaces=namespaces)


def sent(head: ResponseHead, body: bytes, under: Rule) -> Fields:
    """What a page is sent with that nothing of a request selects."""
    return page_fields(stored_fields(head), head, body, under)


class Case(NamedTuple):
    """A response, its namespaces, and what is added to it."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: Fields
    namespaces: tuple[str, ...] = ("a",)


CASES = [
    Case("silent", "§5.2.2.4", "no copy outlives an invalidation", (), NO_CACHE),
    Case("no-group", "design §5", "a page that nobody forgets", (), (), ()),
    Case("said", "design §5", "the application said so", (("cache-control", "max-age=5"),), ()),
    Case("empty", "design §5", "even an empty word is one", (("Cache-Control", ""),), ()),
    Case("expires", "§5.3", "Expires is a word too", (EXPIRES,), ()),
    Case("other", "design §5", "other fields say nothing of it", (("ETag", '"a"'),), NO_CACHE),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_clients_are_told_to_ask_where_the_application_is_silent(case: Case) -> None:
    assert added(ResponseHead(200, case.given), rule(*case.namespaces)) == case.expect, case.says


PRIVATE: Fields = (("Cache-Control", "private"),)


@pytest.mark.parametrize(
    ("said", "expect"),
    [
        (None, PRIVATE),
        ("max-age=60", PRIVATE),  # a shared cache would keep it and give it to anybody
        ("no-cache", PRIVATE),
        ("", PRIVATE),
        ('private="x-a"', PRIVATE),  # of one field alone
        ('public="x"', PRIVATE),  # rubbish opens nothing
        ("s-maxage=soon", PRIVATE),
        ("private, max-age=60", ()),
        ("no-store", ()),
        ("PUBLIC, max-age=60", ()),
        ("s-maxage=60", ()),
    ],
)
def test_shared_caches_are_kept_from_a_page_of_one_visitors(
    said: str | None, expect: Fields
) -> None:
    given: Fields = (("Last-Modified", EXPIRES[1]),)
    given += () if said is None else (("Cache-Control", said),)
    theirs = Rule(path="/page", share=["user"], ttl="1h")
    assert added(ResponseHead(200, given), theirs) == expect
    assert added(ResponseHead(200, (*given, EXPIRES)), theirs) == expect
    assert added(ResponseHead(200, given), Rule(path="/page", share="public", ttl="1h")) == ()


def test_a_page_of_one_visitors_that_can_be_invalidated_says_both() -> None:
    theirs = Rule(path="/page", share=["user"], ttl="1h", namespaces=["a"])
    assert added(ResponseHead(200, ()), theirs) == NO_CACHE + PRIVATE
    navigated = GivenFields({"sec-fetch-mode": "navigate"})
    request = Request("GET", "http", "", "/page", None, "", navigated, {})
    left = passing_fields(ResponseHead(200, ()), theirs, (), request)
    assert left == (*NO_CACHE, *PRIVATE, ("Vary", "*"))
    # Only where the no-cache is ours.
    spoke = ResponseHead(200, (("Cache-Control", "max-age=5"),))
    assert passing_fields(spoke, theirs, (), request) == (*spoke.fields, *PRIVATE)


def test_a_page_is_sent_with_a_strong_validator_and_its_length() -> None:
    head = ResponseHead(200, (("Content-Type", "text/html"), ("Date", "x"), ("Set-Cookie", "a=1")))
    fields = sent(head, b"body", rule("a"))
    assert fields == (
        ("Content-Type", "text/html"),
        ("ETag", strong_etag(b"body", (("Content-Type", "text/html"),))),
        ("Cache-Control", "no-cache"),
        ("Accept-Ranges", "bytes"),
        ("Content-Length", "4"),
    )


@pytest.mark.parametrize(
    ("status", "said", "expect"),
    [
        (200, (), ["bytes"]),
        (200, (("accept-ranges", "none"),), ["none"]),
        (200, (("Accept-Ranges", "bytes"),), ["bytes"]),
        (203, (), []),
        (404, (), []),
    ],
)
def test_pages_that_have_parts_say_so_unless_the_application_spoke(
    status: int, said: Fields, expect: list[str]
) -> None:
    fields = sent(ResponseHead(status, said), b"body", rule())
    assert [value for name, value in fields if name.lower() == "accept-ranges"] == expect


@pytest.mark.parametrize("etag", ['"mine"', 'W/"mine"'])
def test_the_validator_of_the_application_stays(etag: str) -> None:
    fields = sent(ResponseHead(200, (("etag", etag),)), b"", rule("a"))
    assert [value for name, value in fields if name.lower() == "etag"] == [etag]


@pytest.mark.parametrize(
    ("status", "body", "expect"),
    # RFC 9110 §8.6: a 204 has no length, not even one of 0.
    [(200, b"four", ["4"]), (404, b"", ["0"]), (205, b"", ["0"]), (204, b"", [])],
)
def test_a_page_has_its_own_length_and_never_a_wrong_one(
    status: int, body: bytes, expect: list[str]
) -> None:
    fields = sent(ResponseHead(status, (("content-length", "99"),)), body, rule())
    assert [value for name, value in fields if name.lower() == "content-length"] == expect


class Passing(NamedTuple):
    """Fields of a response that leaves as it comes, under a rule, and those of them that leave."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: Fields
    rule: dict[str, Any] = {}
    mode: str | None = None
    keyed: tuple[str, ...] = ("host",)


SILENT: dict[str, Any] = {"namespaces": ["a"]}
DROPS: dict[str, Any] = {"set_cookie": "drop"}
GZIP: dict[str, Any] = {"compress": ["gzip"]}
HTML, COOKIE = ("Content-Type", "text/html"), ("SET-Cookie", "a=1")
PASSING = [
    Passing("all", "§3.1", "what it says passes", (HTML, COOKIE), (HTML, COOKIE)),
    Passing("9110-7.6.1", "RFC 9110 §7.6.1", "but what is of one connection",
            (("Connection", "x-a"), ("X-A", "1"), HTML), (HTML,)),
    Passing("cookie", "design §5", "and cookies where the rule drops them", (COOKIE, HTML),
            (HTML,), DROPS),
    Passing("silent", "§5.2.2.4", "where it is silent, browsers ask", (HTML,), (HTML, *NO_CACHE),
            SILENT),
    Passing("silent-other", "Fetch", "what is no navigation too", (HTML,), (HTML, *NO_CACHE),
            SILENT, "no-cors"),
    Passing("silent-navigated", "§6", "and behind the buttons of a browser", (HTML,),
            (HTML, *NO_CACHE, ("Vary", "*")), SILENT, "navigate"),
    Passing("said-navigated", "§6", "which is nobody's business where it spoke", (EXPIRES,),
            (EXPIRES,), SILENT, "navigate"),
    Passing("coded", "RFC 9110 §12.5.5", "what may come coded another time varies", (HTML,),
            (HTML, ("Vary", "Accept-Encoding")), GZIP),
    Passing("never-coded", "RFC 9110 §12.5.5", "what never is does not",
            (("Content-Type", "image/png"),), (("Content-Type", "image/png"),), GZIP),
    Passing("uncoded", "RFC 9110 §12.5.5", "nor where the rule codes nothing", (HTML,), (HTML,)),
    Passing("keyed", "RFC 9110 §12.5.5", "what selected it is named", (HTML,),
            (HTML, ("Vary", "Cookie, X-A")), keyed=("x-a", "host", "cookie")),
    Passing("keyed-coded", "RFC 9110 §12.5.5", "with the coding", (HTML,),
            (HTML, ("Vary", "Cookie, Accept-Encoding")), GZIP, keyed=("cookie",)),
    Passing("keyed-said", "RFC 9110 §12.5.5", "each once, where the first stood",
            (("vary", "x-B,cookie"), HTML, ("Vary", "X-C")),
            (("Vary", "x-B,cookie, X-C, X-A"), HTML), keyed=("x-a", "x-b", "cookie")),
    Passing("keyed-all", "RFC 9110 §12.5.5", "all is more", (("vary", "a, *"),),
            (("vary", "a, *"),), keyed=("x-a",)),
]  # fmt: skip


@pytest.mark.parametrize("case", PASSING, ids=lambda case: case.id)
def test_a_response_that_leaves_at_once_says_what_its_page_would(case: Passing) -> None:
    fields = GivenFields({} if case.mode is None else {"sec-fetch-mode": case.mode})
    request = Request("GET", "http", "", "/page", None, "", fields, {})
    asked = Rule(path="/page", share="public", ttl="1h", **case.rule)
    head = ResponseHead(200, case.given)
    assert passing_fields(head, asked, case.keyed, request) == case.expect, case.says
    assert navigates(fields) is (case.mode == "navigate")


def test_what_is_not_stored_leaves_as_it_came_but_for_whom_it_is() -> None:
    head = ResponseHead(404, (HTML, COOKIE, ("Connection", "x-a"), ("X-A", "1")))
    public = Rule(path="/page", share="public", ttl="1h", **SILENT, **DROPS, **GZIP)
    theirs = Rule(path="/page", share=["user"], ttl="1h", **SILENT)
    assert refused_fields(head, public, {"host"}) == (HTML, COOKIE)
    assert refused_fields(head, public, {"x-b"}) == (HTML, COOKIE, ("Vary", "X-B"))
    assert refused_fields(head, theirs, {"cookie"}) == (HTML, COOKIE, *PRIVATE)
    for word in ("no-store", "private"):
        said = (("Cache-Control", word),)
        assert refused_fields(ResponseHead(200, said), theirs, {"cookie"}) == said


KEYED = frozenset(("x-b", "host", "accept-language", "cookie"))
OPENING = [
    (("cache-control", "public, max-age=5"),),
    (("Cache-Control", "max-age=5"), ("Cache-Control", "s-maxage=5")),
    (("CDN-Cache-Control", "max-age=5"),),
    (("Cloudflare-CDN-Cache-Control", "max-age=5"), ("Cache-Control", "private")),
    (("surrogate-control", "max-age=5"),),
]
CLOSED = [
    (),
    (("Cache-Control", "max-age=5"),),
    (("Cache-Control", 'private, public="x"'),),
    (("Pagegen-Cache-Control", "public, max-age=5"),),
    (("Access-Control-Max-Age", "5"), ("X-DNS-Prefetch-Control", "on")),
]


@pytest.mark.parametrize("said", [*OPENING, *CLOSED])
def test_all_that_is_keyed_selects_but_the_host(said: Fields) -> None:
    head = ResponseHead(200, said)
    everybodys = Rule(path="/page", share="public", ttl="1h")
    assert selected_by(head, everybodys, {"host"}, said) == said
    found = selected_by(head, everybodys, KEYED, said)
    assert found == (*said, ("Vary", "Accept-Language, Cookie, X-B"))


@pytest.mark.parametrize("said", [*OPENING, *CLOSED])
def test_who_asks_selects_where_others_may_keep_the_page(said: Fields) -> None:
    head = ResponseHead(200, said)
    theirs = Rule(path="/page", share=["user"], ttl="1h", headers={"accept-language": {}})
    more = Rule(path="/page", share=["user"], ttl="1h", cookies={"theme": {}})
    expect = "Accept-Language, Cookie, X-B"
    names = (expect, expect) if said in OPENING else ("Accept-Language", "Cookie")
    for rule, name in zip((theirs, more), names, strict=True):
        assert selected_by(head, rule, KEYED, said) == (*said, ("Vary", name))


def test_who_wants_nothing_but_what_is_cached_is_told_that_there_is_none() -> None:
    answer = not_cached()
    assert (answer.status, answer.reason) == (504, "Gateway Timeout")  # RFC 9111 §5.2.1.7
    assert answer.body == b"Not in the cache\n"
    own = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "17"))
    assert answer.fields == (*own, ("Cache-Control", "no-store"))
