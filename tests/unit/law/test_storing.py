"""Whether a response may be stored (RFC 9111 §3, §3.5, §5.2.2; RFC 9875; the design's §5)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.law.freshness import HEURISTICALLY_CACHEABLE
from pagegen.law.storing import NEVER_STORED, UNDERSTOOD, Refusal, has_validator, refusal
from pagegen.messages import ERRORS_OF_PATHS, Fields, ResponseHead
from pagegen.rules import Rule

NOW = 784111777.0
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"  # NOW
FUTURE = "Sun, 06 Nov 2094 08:49:37 GMT"
WEEK = "Sun, 30 Oct 1994 08:49:37 GMT"
KEYED = ("host", "accept-language")
SPACES = ("item:1", "list")

TTL: dict[str, Any] = {"ttl": "1h"}
OPEN: dict[str, Any] = {}
HEADERS: dict[str, Any] = {"mode": "keyed"}
DROP: dict[str, Any] = {"ttl": "1h", "set_cookie": "drop"}
GUESS: dict[str, Any] = {"heuristic": "1h"}
TAG = ("ETag", '"a"')
MODIFIED = ("Last-Modified", WEEK)


class Row(NamedTuple):
    """A response under a rule, and why it is not stored (None: it is)."""

    id: str
    rfc: str
    says: str
    given: Fields
    expect: Refusal | None
    rule: dict[str, Any] = OPEN
    status: int = 200


def cc(value: str, *more: tuple[str, str]) -> Fields:
    """Fields of a response with this Cache-Control."""
    return (("Cache-Control", value), *more)


FRESH = cc("max-age=5")
CONDITIONS = (
    Row("9111-3-2", "§3 l2", "a final status", FRESH, None, OPEN, 410),
    Row("error", "issue 7", "no error that a field may cause", FRESH, Refusal.STATUS, OPEN, 400),
    Row("error-listed", "issue 7", "but by its rule", (), None, {"ttl": {400: 5}}, 400),
    Row("9111-3-2-1xx", "§3 l2", "no other", FRESH, Refusal.STATUS, OPEN, 103),
    Row("9111-3-2-600", "RFC 9110 §15", "a status that is one", FRESH, Refusal.STATUS, OPEN, 600),
    Row("9111-3-3-206", "§3 l3", "no part", FRESH, Refusal.STATUS, OPEN, 206),
    Row("9111-3-3-304", "§3 l3", "no 304", FRESH, Refusal.STATUS, OPEN, 304),
    Row("9111-3-4", "§3 l4", "no-store", cc("max-age=5, no-store"), Refusal.NO_STORE),
    Row("9111-3-5", "§3 l5", "private", cc("max-age=5, private"), Refusal.PRIVATE),
    Row("9111-3-5-qualified", "§3 l5", "but not qualified", cc('max-age=5, private="x"'), None),
    Row("9111-3-7-public", "§3 l7", "public", cc("public", MODIFIED), None, GUESS, 299),
    Row("9111-3-7-expires", "§3 l7", "Expires", (("Expires", FUTURE),), None, OPEN, 302),
    Row("9111-3-7-max-age", "§3 l7", "max-age", FRESH, None, OPEN, 302),
    Row("9111-3-7-s-maxage", "§3 l7", "s-maxage", cc("s-maxage=5"), None, OPEN, 302),
    Row("9111-3-7-status", "§3 l7", "heuristically cacheable", (TAG,), None),
    Row("9111-3-7-none", "§3 l7", "none", (MODIFIED, TAG), Refusal.NO_LIFETIME, GUESS, 299),
    Row("9111-3-7-rule", "§3 l7", "a rule's own ttl", (), None, {"ttl": {302: 5}}, 302),
    Row("6585-4-429", "RFC 6585 §4", "never stored", FRESH, Refusal.STATUS, OPEN, 429),
    Row("6585-4-ttl", "RFC 6585 §4", "by no rule", (), Refusal.STATUS, {"ttl": {429: 5}}, 429),
)
USE = (
    Row("9111-3-note", "§3 note", "neither lifetime nor validator", (), Refusal.NO_LIFETIME),
    Row("ttl", "design §5", "a ttl gives one", (), None, TTL),
    Row("keyed", "design §5", "in keyed rules too", (), Refusal.NO_LIFETIME, HEADERS),
    Row("keyed-max-age", "§3", "where max-age is one", FRESH, None, HEADERS),
    Row("public", "§5.2.2.9", "public gives none", cc("public"), Refusal.NO_LIFETIME),
    Row("9111-4.2-zero", "§4.2", "born stale", cc("max-age=0"), Refusal.NO_LIFETIME),
    Row("9111-4.2-bad", "§4.2.1 s4", "as an unreadable one", cc("max-age=x"), Refusal.NO_LIFETIME),
    Row("9111-4.2-tag", "§4.3.1", "but it can be validated", cc("max-age=0", TAG), None),
    Row("9111-4.2-modified", "§4.3.1", "by its date too", cc("max-age=0", MODIFIED), None),
    Row("9111-4.2-old", "§4.2", "came too old", (*FRESH, ("Age", "5")), Refusal.NO_LIFETIME),
    Row("9111-4.2-old-tag", "§4.3.1", "and can be validated", (*FRESH, ("Age", "5"), TAG), None),
    Row("9111-4.2-younger", "§4.2", "with life left", (*FRESH, ("Age", "4")), None),
    Row("9111-4.2.3-date", "§4.2.3", "by its Date", (*FRESH, ("Date", WEEK)), Refusal.NO_LIFETIME),
    Row("ttl-old", "design §5", "a ttl too", (("Age", "3600"),), Refusal.NO_LIFETIME, TTL),
    Row(
        "9111-4.2.2-heuristic",
        "§4.2.2",
        "a guess where the rule wants it",
        (MODIFIED, ("Date", DATE)),
        None,
        GUESS,
        404,
    ),
    Row(
        "9111-4.3.1-404",
        "RFC 9110 §15.4.5",
        "a 404 cannot be validated",
        cc("max-age=0", TAG),
        Refusal.NO_LIFETIME,
        OPEN,
        404,
    ),
    Row(
        "5861-3-use",
        "RFC 5861 §3",
        "stale at once, and allowed to be",
        cc("max-age=0, stale-while-revalidate=9"),
        None,
    ),
    Row("5861-4-use", "RFC 5861 §4", "the same", cc("max-age=0, stale-if-error=9"), None),
    Row(
        "5861-3-past",
        "RFC 5861 §3",
        "but not past that",
        cc("max-age=0, stale-while-revalidate=9", ("Age", "9")),
        Refusal.NO_LIFETIME,
    ),
    Row(
        "5861-3-unsaid",
        "design §5",
        "a rule's window gives no lifetime",
        (),
        Refusal.NO_LIFETIME,
        {"swr": "1m", "mode": "http"},
    ),
)
DIRECTIVES = (
    Row("9111-5.2.2.3-2", "§5.2.2.3 s3", "lifts no-store where the status is understood",
        cc("must-understand, no-store, max-age=5"), None),
    Row("9111-5.2.2.3-1", "§5.2.2.3 s1", "and refuses others", cc("must-understand, max-age=5"),
        Refusal.STATUS, OPEN, 299),
    Row("9111-5.2.2.3-arg", "§5.2.2.3", "as it is defined alone",
        cc("must-understand=1, no-store, max-age=5"), Refusal.NO_STORE),
    Row("9111-5.2.2.3-private", "§5.2.2.3", "private stays",
        cc("must-understand, private, max-age=5"), Refusal.PRIVATE),
    Row("9111-5.2.2.4-1", "§5.2.2.4 s1", "no-cache without a validator is of no use",
        cc("no-cache, max-age=5"), Refusal.NO_CACHE),
    Row("9111-5.2.2.4-1-tag", "§5.2.2.4 s1", "with one it is", cc("no-cache", TAG), None),
    Row("9111-5.2.2.4-1-ttl", "§5.2.2.4 s1", "by no ttl", cc("no-cache"), Refusal.NO_CACHE, TTL),
    Row("9111-5.2.2.4-1-swr", "§5.2.2.4 s2", "by no stale window",
        cc("no-cache, max-age=5, stale-while-revalidate=9"), Refusal.NO_CACHE),
    Row("9111-5.2.2.4-3", "§5.2.2.4 s3", "qualified, it is about fields",
        cc('no-cache="x-a", max-age=5', ("X-A", "1")), None),
    Row("9111-5.2.2.4-3-tag", "§5.2.2.4 s3", "what it takes out cannot validate",
        cc('no-cache="etag", max-age=0', TAG), Refusal.NO_LIFETIME),
    Row("9111-5.2.2.4-bad", "§5.2.2.4", "unreadable, about all",
        cc('no-cache="x a", max-age=5'), Refusal.NO_CACHE),
    Row("9111-5.2.2.5-1", "§5.2.2.5 s1", "no-store by no ttl", cc("no-store"), Refusal.NO_STORE,
        TTL),
    Row("9111-5.2.2.5-1-case", "§5.2 s2", "in any case", cc("No-Store"), Refusal.NO_STORE, TTL),
    Row("9111-5.2.2.5-1-arg", "§5.2.2.5", "with any argument", cc("no-store=0, max-age=5"),
        Refusal.NO_STORE),
    Row("9111-5.2.2.5-1-lines", "RFC 9110 §5.3", "on any line", (*FRESH, *cc("no-store")),
        Refusal.NO_STORE),
    Row("9111-5.2.2.5-garbled", "§5.2", "behind rubbish", cc('a="b, no-store'), Refusal.NO_STORE,
        TTL),
    Row("9111-5.2.2.7-1", "§5.2.2.7 s1", "private by no ttl", cc("private"), Refusal.PRIVATE, TTL),
    Row("9111-5.2.2.7-1-public", "§4.2.1 s3", "nor by public", cc("private, public, max-age=5"),
        Refusal.PRIVATE),
    Row("9111-5.2.2.7-bad", "§5.2.2.7", "unreadable, about all", cc('private="x y", max-age=5'),
        Refusal.PRIVATE),
    Row("9111-5.2.2.9-1", "§5.2.2.9 s4", "public lets a lifetime be guessed for any status",
        cc("public", MODIFIED), None, GUESS, 302),
    Row("9111-5.2.2.9-arg", "§5.2.2.9", "as it is defined alone", cc("public=1", MODIFIED),
        Refusal.NO_LIFETIME, GUESS, 302),
)  # fmt: skip
REST = (
    Row("cookie", "design §5", "sets a cookie", (("Set-Cookie", "a=1"),), Refusal.SET_COOKIE, TTL),
    Row("cookie-open", "design §5", "in http mode too", (*FRESH, ("Set-Cookie", "a=1")),
        Refusal.SET_COOKIE),
    Row("cookie-drop", "design §5", "unless it is dropped", (("SET-COOKIE", "a=1"),), None, DROP),
    Row("cookie-no-store", "design §5", "which lifts nothing else",
        cc("no-store", ("Set-Cookie", "a=1")), Refusal.NO_STORE, DROP),
    Row("9111-4.1-star", "§4.1", "never matches again", (("Vary", "*"),), Refusal.VARY, TTL),
    Row("9111-4.1-star-open", "§4.1", "nor here", (*FRESH, ("Vary", "a, *")), Refusal.VARY),
    Row("vary-unkeyed", "design §5", "the key lacks it",
        (("Vary", "Accept-Language, User-Agent"),), Refusal.VARY, TTL),
    Row("vary-keyed", "§4.1", "the key has it", (("Vary", "ACCEPT-Language"),), None, TTL),
    Row("vary-open", "§4.1", "variants are kept apart", (*FRESH, ("Vary", "User-Agent")), None),
    Row("vary-open-many", "limits", "up to a number",
        (*FRESH, ("Vary", ",".join(f"x-{n}" for n in range(17)))), Refusal.VARY),
    Row("404", "design §5", "only 200 without a table", (), Refusal.STATUS, TTL, 404),
    Row("404-listed", "design §5", "or what it lists", (), None, {"ttl": {404: "1s"}}, 404),
    Row("200-unlisted", "design §5", "and that alone", (), Refusal.STATUS, {"ttl": {404: "1s"}}),
    Row("500-keyed", "design §5", "whatever it says", FRESH, Refusal.STATUS, HEADERS, 500),
    Row("9111-3.3-range", "§3.3", "says that it is a part",
        (*FRESH, ("Content-Range", "bytes 0-1/9")), Refusal.PARTIAL),
    Row("9110-8.6-lengths", "RFC 9110 §8.6", "lengths that differ",
        (*FRESH, ("Content-Length", "5"), ("Content-Length", "6")), Refusal.MALFORMED),
    Row("9110-8.6-length", "RFC 9110 §8.6", "none", (("Content-Length", "-5"),), Refusal.MALFORMED,
        TTL),
    Row("9110-8.6-same", "RFC 9110 §8.6", "one, twice", (("Content-Length", "5, 5"),), None, TTL),
    Row("9875-2-known", "RFC 9875 §2", "groups of the page",
        (("Cache-Groups", '"list", "item:1"'),), None, TTL),
    Row("9875-2-other", "RFC 9875 §2", "a group that would not forget it",
        (("Cache-Groups", '"list", "item:2"'),), Refusal.GROUPS, TTL),
    Row("9875-2-found", "RFC 9875 §2", "or that its rule lets it find",
        (("Cache-Groups", '"list", "item:2"'),), None, {**TTL, "groups": True}),
)  # fmt: skip


@pytest.mark.parametrize("row", (*CONDITIONS, *USE, *DIRECTIVES, *REST), ids=lambda row: row.id)
def test_a_head_is_stored_or_refused_for_one_reason(row: Row) -> None:
    rule = Rule(path="/", share="public", **row.rule)
    head = ResponseHead(row.status, row.given)
    assert refusal(head, rule, KEYED, SPACES, NOW) is row.expect, row.says


@pytest.mark.parametrize("directive", ["no-store", "private", "no-cache"])
@pytest.mark.parametrize("beside", ["", "public, ", "max-age=99, ", "s-maxage=9, ", "immutable,"])
@pytest.mark.parametrize("mode", ["keyed", "http"])
def test_no_ttl_overrides_what_forbids_storing(directive: str, beside: str, mode: Any) -> None:
    rule = Rule(path="/", share="public", mode=mode, ttl={200: "9w", 404: "9w"})
    for status in (200, 404):
        head = ResponseHead(status, cc(beside + directive))
        assert refusal(head, rule, KEYED, SPACES, NOW) == directive


class Known(NamedTuple):
    """A fresh response to a request with credentials that the handler saw."""

    id: str
    rfc: str
    says: str
    given: Fields
    authorization: Refusal | None
    cookie: Refusal | None


BOTH = (Refusal.AUTHORIZATION, Refusal.COOKIE)
CREDENTIALS = (
    Known("9111-3.5-1", "§3.5 s1", "nothing allows it", FRESH, *BOTH),
    Known("9111-3.5-2-public", "§3.5 s2", "public", cc("public, max-age=5"), None, None),
    Known("9111-3.5-2-s-maxage", "§3.5 s2", "s-maxage", cc("s-maxage=5"), None, None),
    Known("9111-3.5-2-revalidate", "§3.5 s2", "must-revalidate, which says nothing of cookies",
          cc("max-age=5, must-revalidate"), None, Refusal.COOKIE),
    Known("9111-5.2.2.8-3", "§5.2.2.8", "proxy-revalidate allows nothing",
          cc("max-age=5, proxy-revalidate"), *BOTH),
    Known("9111-3.5-2-unreadable", "§3.5", "nor what cannot be read",
          cc("s-maxage=x, public=1", TAG), *BOTH),
    Known("9111-3.5-2-expires", "§3.5", "nor a lifetime", (("Expires", FUTURE),), *BOTH),
    Known("9213-2.2-3", "RFC 9213 §2.2 s1", "what the governing field says",
          cc("public", ("CDN-Cache-Control", "max-age=5")), *BOTH),
    Known("9213-2.2-3b", "RFC 9213 §2.2 s1", "that alone",
          cc("private", ("CDN-Cache-Control", "max-age=5, public")), None, None),
    Known("vary-cookie", "§4.1", "cookies that select are told apart",
          (*FRESH, ("Vary", "Accept, Cookie")), Refusal.AUTHORIZATION, None),
    Known("private", "§5.2.2.7", "private beside public", cc("public, private, max-age=5"),
          Refusal.PRIVATE, Refusal.PRIVATE),
)  # fmt: skip


@pytest.mark.parametrize("known", CREDENTIALS, ids=lambda known: known.id)
def test_a_page_made_for_credentials_is_stored_when_it_says_so(known: Known) -> None:
    rule = Rule(path="/", share="public")
    head = ResponseHead(200, known.given)
    found = [
        refusal(head, rule, KEYED, SPACES, NOW, {name}) for name in ("authorization", "cookie")
    ]
    assert found == [known.authorization, known.cookie], known.says
    both = refusal(head, rule, KEYED, SPACES, NOW, {"authorization", "cookie"})
    assert both == (known.authorization or known.cookie)


SIGNED_IN = (
    ("none", FRESH, Refusal.PERSONAL),
    ("public", cc("public, max-age=5"), None),
    ("s-maxage", cc("s-maxage=5"), None),
    ("must-revalidate", cc("max-age=5, must-revalidate"), Refusal.PERSONAL),
    ("vary", (*FRESH, ("vary", "accept, X-Remote-USER")), None),
    ("vary-other", (*FRESH, ("Vary", "Remote-User, Cookie")), Refusal.PERSONAL),
)


@pytest.mark.parametrize(("says", "given", "expect"), SIGNED_IN, ids=[row[0] for row in SIGNED_IN])
def test_a_page_for_whom_a_proxy_signed_in_is_stored_when_it_says_so(
    says: str, given: Fields, expect: Refusal | None
) -> None:
    rule = Rule(path="/", share="public", ttl="1h", mode="http")
    found = refusal(ResponseHead(200, given), rule, KEYED, SPACES, NOW, {"x-remote-user"})
    assert found is expect, says
    # Of two who are told to the handler, both must select.
    both = refusal(
        ResponseHead(200, given), rule, KEYED, SPACES, NOW, {"x-remote-user", "x-api-key"}
    )
    assert both is (Refusal.PERSONAL if says.startswith("vary") else expect)


@pytest.mark.parametrize("ttl", [None, "1h"])
def test_no_ttl_makes_a_page_for_credentials_everybodys(ttl: str | None) -> None:
    rule = Rule(path="/", share="public", mode="http", ttl=ttl)
    head = ResponseHead(200, FRESH)
    assert refusal(head, rule, (), (), NOW) is None
    for name, why in zip(("authorization", "cookie"), BOTH, strict=True):
        assert refusal(head, rule, (), (), NOW, {name}) is why


@pytest.mark.parametrize(
    ("fields", "expect"),
    [
        ((TAG,), True),
        ((("ETag", 'W/"a"'),), True),
        ((MODIFIED,), True),
        ((), False),
        ((("ETag", "a b"), ("Last-Modified", "today")), False),
        ((TAG, ("ETag", '"b"')), False),
        (cc('private="etag, last-modified"', TAG, MODIFIED), False),
        (cc('private="etag"', TAG, MODIFIED), True),
    ],
)
def test_a_validator_is_one_that_is_stored_and_can_be_read(fields: Fields, expect: bool) -> None:
    assert has_validator(ResponseHead(200, fields)) is expect
    assert not has_validator(ResponseHead(404, fields))


def test_the_statuses_we_speak_for_are_those_of_the_rfcs() -> None:
    # RFC 9110 §15 but 206, 304, and what it calls unused; RFC 7725; those of RFC 6585 §3 to §6.
    ranges = ((200, 206), (300, 304), (305, 306), (307, 309), (400, 418), (421, 423), (500, 506))
    listed = {status for start, stop in ranges for status in range(start, stop)}
    assert listed | {426, 451} == UNDERSTOOD
    assert {401, 407, 428, 429, 431, 511} == NEVER_STORED
    assert {401, 407} == UNDERSTOOD & NEVER_STORED
    assert HEURISTICALLY_CACHEABLE <= UNDERSTOOD


@pytest.mark.parametrize("status", [*range(200, 600, 7), 206, 304, 404, 429, 511])
def test_a_status_is_stored_when_it_is_whole_and_not_forbidden(status: int) -> None:
    found = refusal(ResponseHead(status, FRESH), Rule(path="/", share="public"), (), (), NOW)
    stored = status < 400 and status not in {206, 304}
    assert (found is None) is (stored or status in ERRORS_OF_PATHS)


TEXT = st.text(st.characters(max_codepoint=255), max_size=30)


@given(TEXT, st.sampled_from(("no-store", "private")), TEXT)
def test_nothing_in_front_of_a_directive_that_forbids_opens_it(
    before: str, directive: str, after: str
) -> None:
    value = f"public, max-age=9, {before}, {directive}, {after.replace('=', '')}"
    if "must-understand" in value.lower():
        return
    head = ResponseHead(200, cc(value))
    assert refusal(head, Rule(path="/", share="public", ttl="1h"), KEYED, SPACES, NOW) is not None
