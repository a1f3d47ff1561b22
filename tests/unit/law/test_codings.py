"""Content codings of stored pages (RFC 9110 §8.4, §8.8.3.3, §12.5.3, §12.5.5)."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from pagegen.fields import http_date
from pagegen.law.codings import (
    MAX_ACCEPTED,
    MIN_CODED,
    Representation,
    chosen,
    coded_fields,
    coded_tag,
    representation,
    selected,
    varied,
    worth_coding,
)
from pagegen.law.ranges import partial
from pagegen.law.validation import may_be_ranged, precondition
from pagegen.messages import Fields, GivenFields, Request, ResponseHead, StoredResponse, wire_form

ALL = ("zstd", "br", "gzip")
BODY = b"<p>One line of a page that is long enough to be coded.</p>\n" * 20
BR, GZIP = b"as brotli has it: " * 9, zlib.compress(BODY, wbits=31)
TYPE = ("Content-Type", "text/html; charset=utf-8")


class Rule(NamedTuple):
    """A head and a length, and whether such a page is worth coding."""

    id: str
    rfc: str
    says: str
    fields: Fields
    expect: bool
    status: int = 200
    length: int | None = MIN_CODED


def typed(value: str, *more: tuple[str, str]) -> Fields:
    """Fields of a response with this media type."""
    return (("Content-Type", value), *more)


HTML = typed("text/html")
RULES = [
    Rule("html", "9110-8.4", "text is coded", HTML, True),
    Rule("parameters", "9110-8.3.1", "whatever its charset", (TYPE,), True),
    Rule("case", "9110-8.3.1", "in any case", typed("TEXT/Html ;x=y"), True),
    Rule("json", "9110-8.4", "JSON", typed("application/json; charset=utf-8"), True),
    Rule("space", "9110-5.6.3", "not behind another space", typed("application/json\xa0"), False),
    Rule("near-json", "9110-8.3.1", "nor what it begins", typed("application/jsonX"), False),
    Rule("suffix-json", "6839-3.1", "and what is JSON", typed("application/hal+json"), True),
    Rule("suffix-xml", "6839-4.1", "or XML", typed("image/svg+xml"), True),
    Rule("suffix-yaml", "9512-2.2", "or YAML", typed("application/openapi+yaml"), True),
    Rule("suffix-seq", "8091-4", "or many of JSON", typed("application/geo+json-seq"), True),
    Rule("script", "9239-6", "scripts", typed("application/javascript"), True),
    Rule("wasm", "9110-8.4", "programs", typed("application/wasm"), True),
    Rule("bare-font", "8081-4.4", "fonts that are not compressed", typed("font/ttf"), True),
    Rule("web-font", "8081-4.4.6", "but no others", typed("font/woff2"), False),
    Rule("image", "9110-8.4", "nor images", typed("image/png"), False),
    Rule("zip", "9110-8.4", "nor archives", typed("application/zip"), False),
    Rule("bytes", "9110-8.3", "nor what may be anything", typed("application/octet-stream"), False),
    Rule("untyped", "9110-8.3", "nor what has no type", (), False),
    Rule("empty-type", "9110-8.3", "or an empty one", typed(""), False),
    Rule("two-types", "9110-8.3", "or two", (*HTML, ("Content-Type", "image/png")), False),
    Rule("stream", "design", "nor what is read while written", typed("text/event-stream"), False),
    Rule("near-type", "9110-8.3.1", "types are compared whole", typed("xtext/html"), False),
    Rule("coded", "9110-8.4", "what has a coding", typed("text/css", ("content-encoding", "br")),
         False),
    Rule("identity", "9110-8.4.1", "even one that is none: so applications opt out",
         typed("text/css", ("Content-Encoding", "identity")), False),
    Rule("no-transform", "9110-7.7", "what may not be transformed",
         typed("text/css", ("Cache-Control", "max-age=9, No-Transform")), False),
    Rule("no-transform-cdn", "9213-2.1", "said to this cache",
         typed("text/css", ("CDN-Cache-Control", "no-transform")), False),
    Rule("no-transform-ours", "9213-2.1", "by its name",
         typed("text/css", ("Pagegen-Cache-Control", "no-transform")), False),
    Rule("no-transform-others", "9213-2.2", "or to all, beside what is aimed at this one",
         typed("a/b+xml", ("Cache-Control", "no-transform"), ("CDN-Cache-Control", "max-age=1")),
         False),
    Rule("part", "9110-14.4", "parts", typed("text/css", ("Content-Range", "bytes 0-9/99")), False),
    Rule("signed", "9421-2", "what is signed", typed("text/css", ("Signature", "x=:AA==:")), False),
    Rule("signed-input", "9421-4.1", "or is to be", typed("a/b+xml", ("signature-input", "x")),
         False),
    Rule("short", "Caddy", "short bodies", HTML, False, length=MIN_CODED - 1),
    Rule("unknown-length", "design", "not known to be short", HTML, True, length=None),
    Rule("203", "9110-15.3.4", "what a proxy has changed", HTML, True, 203),
    *(Rule(f"{status}", "9111-3", "error pages that sites keep", HTML, True, status)
      for status in (403, 404, 410)),
    Rule("206", "9110-15.3.7", "no part", HTML, False, 206),
    Rule("204", "9110-15.3.5", "no status without a body", HTML, False, 204),
    Rule("301", "9110-15.4.2", "nor with a line of one", HTML, False, 301),
    Rule("500", "design", "nor failures", HTML, False, 500),
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_page_is_coded_where_that_is_allowed_and_worth_it(rule: Rule) -> None:
    head = ResponseHead(rule.status, rule.fields)
    assert worth_coding(head, rule.length) is rule.expect, rule.says


class Case(NamedTuple):
    """What a client accepts, the codings there are, and the one it gets."""

    id: str
    rfc: str
    says: str
    given: str | None
    expect: str | None
    codings: tuple[str, ...] = ALL


CASES = [
    Case("silent", "12.5.3-r1", "any may be sent, none is", None, None),
    Case("empty", "12.5.3-9", "an empty field wants none", "", None),
    Case("named", "12.5.3-3", "a coding that is named", "gzip", "gzip"),
    Case("first", "12.5.3", "at one weight the server prefers", "gzip, deflate, br, zstd", "zstd"),
    Case("order", "12.5.3", "by its own order", "gzip, br", "gzip", ("gzip", "br")),
    Case("weights", "12.4.2", "the client's weights come first", "zstd;q=0.2, br;q=0.9", "br"),
    Case("refused", "12.4.2", "weight 0 is a refusal", "gzip;q=0", None),
    Case("refused-digits", "12.4.2", "in each spelling", "gzip;q=0.000, br; Q=0.", None),
    Case("unknown", "12.5.3-r4", "others are nothing to us", "deflate, compress, x", None),
    Case("any", "12.5.3-4", "a star is all that is not named", "*", "zstd"),
    Case("any-but", "12.5.3-4", "but what is", "*;q=0.5, zstd;q=0", "br"),
    Case("none", "12.5.3-r2", "a star of weight 0 is none", "*;q=0", None),
    Case("none-but", "12.5.3-r2", "but what is named", "gzip, *;q=0", "gzip"),
    Case("identity", "12.5.3-r2", "uncoded is liked better", "gzip;q=0.5, identity", None),
    Case("identity-least", "12.5.3", "or less", "gzip;q=0.5, identity;q=0.1", "gzip"),
    Case("identity-tie", "12.5.3", "or as much", "identity, gzip", "gzip"),
    Case("identity-star", "12.5.3-r2", "a star counts for it", "gzip;q=0.2, *;q=0.5", None,
         ("gzip",)),
    Case("identity-refused", "12.5.3-r2", "uncoded is refused", "identity;q=0, gzip;q=0.001",
         "gzip"),
    Case("all-refused", "12.5.3-10", "all is refused: uncoded all the same", "identity;q=0", None),
    Case("least", "12.4.2", "the smallest weight is one", "br;q=0.001", "br"),
    Case("x-gzip", "8.4.1.3-1", "the old name", "x-gzip", "gzip"),
    Case("x-gzip-case", "8.4.1-3", "names have no case", "X-GZip;q=0.5, BR;q=0.4", "gzip"),
    Case("part-of-a-name", "8.4.1", "part of a name is another", "gzip2, xbr", None),
    Case("list", "5.6.1.2-1", "empty members are passed over", ", ,gzip,,", "gzip"),
    Case("spaces", "5.6.3", "spaces do not count", "\tgzip ;\tq=0.5 ", "gzip"),
    Case("rubbish", "design", "malformed members are nothing", ";;=, q=1, \x00, gzip", "gzip"),
    Case("too-long", "design", "more than anybody sends", "gzip," + "x" * MAX_ACCEPTED, None),
    Case("long", "design", "and no more", "gzip" + "," * (MAX_ACCEPTED - 4), "gzip"),
    Case("absent", "12.5.3-10", "a coding that is not there", "br", None, ("gzip",)),
    Case("no-codings", "12.5.3", "no coding at all", "br", None, ()),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_client_gets_the_coding_that_it_likes_best(case: Case) -> None:
    assert chosen(case.given, case.codings) == case.expect, case.says


@given(st.text(st.sampled_from("gzipbrxstd-;q=0.15,* \tidentity"), max_size=80) | st.text())
def test_no_value_chooses_what_is_not_there(value: str) -> None:
    assert chosen(value, ("br", "gzip")) in (None, "br", "gzip")


NAMES = st.sampled_from((*ALL, "identity", "deflate"))
WEIGHTS = st.sampled_from(("", ";q=1", ";q=0", ";q=0.5", ";q=0.25", "; q=0.125"))
NAMED = st.dictionaries(NAMES, WEIGHTS, min_size=1).map(
    lambda said: ", ".join(name + weight for name, weight in said.items())
)


@given(NAMED)
def test_werkzeug_gives_what_is_chosen_the_highest_weight(value: str) -> None:
    # By weights alone: of equal ones werkzeug 3.1 takes the client's order, not the server's.
    parsed = parse_accept_header(value, Accept)
    ours = chosen(value, ALL)
    weights = {coding: parsed.quality(coding) for coding in (*ALL, "identity")}
    assert weights[ours or "identity"] == max(weights.values()) or (
        # Uncoded is acceptable without being named, and when all else is refused.
        ours is None and max(weights[coding] for coding in ALL) == 0
    )


class Said(NamedTuple):
    """Fields, and those that say that the page varies."""

    id: str
    says: str
    fields: Fields
    expect: Fields


A, Z = ("A", "1"), ("Z", "2")
SAID = [
    Said("none", "one is added", (A,), (A, ("Vary", "Accept-Encoding"))),
    Said("other", "or merged in place", (A, ("vary", "Cookie"), Z),
         (A, ("Vary", "Cookie, Accept-Encoding"), Z)),
    Said("lines", "several become one", (("Vary", "a, b"), A, ("VARY", "c"), Z),
         (("Vary", "a, b, c, Accept-Encoding"), A, Z)),
    Said("there", "not twice", (("vary", "x, ACCEPT-encoding"),),
         (("vary", "x, ACCEPT-encoding"),)),
    Said("second-line", "on any line", (("Vary", "x"), ("Vary", "Accept-Encoding")),
         (("Vary", "x"), ("Vary", "Accept-Encoding"))),
    Said("star", "a star says more", (("Vary", "*"),), (("Vary", "*"),)),
    Said("empty", "an empty one says nothing", (("Vary", ""),), (("Vary", "Accept-Encoding"),)),
    Said("near", "names are compared whole", (("Vary", "X-Accept-Encoding"),),
         (("Vary", "X-Accept-Encoding, Accept-Encoding"),)),
]  # fmt: skip


@pytest.mark.parametrize("case", SAID, ids=lambda case: case.id)
def test_vary_names_accept_encoding_once(case: Said) -> None:
    assert varied(case.fields) == case.expect, case.says
    assert varied(case.expect) == case.expect


def test_a_coding_changes_what_speaks_of_bytes_and_nothing_else() -> None:
    kept = (TYPE, ("Last-Modified", "x"), ("Accept-Ranges", "bytes"), ("Cache-Control", "no-cache"))
    gone = ("Content-Digest", "Repr-Digest", "Digest", "Content-MD5", "content-encoding")
    before = (*kept, ("eTag", '"a"'), *((name, "x") for name in gone), ("content-length", "1"))
    assert coded_fields(before, "gzip", GZIP) == (
        *kept,
        ("eTag", f'"a-gzip-{zlib.crc32(GZIP):08x}"'),
        ("Content-Encoding", "gzip"),
        ("Content-Length", str(len(GZIP))),
        ("Vary", "Accept-Encoding"),
    )


def test_a_strong_tag_tells_codings_and_bytes_apart() -> None:
    tags = {coded_tag('"a"', coding, body) for coding in ALL for body in (b"1", b"2")}
    assert len(tags | {'"a"'}) == 7
    assert all(tag.startswith('"a-') and tag.endswith('"') for tag in tags)


def test_a_weak_tag_promises_no_bytes_and_stays() -> None:
    assert coded_tag('W/"a"', "br", b"1") == 'W/"a"'


def test_a_tag_without_quotes_is_told_apart_too() -> None:
    assert coded_tag("a", "br", b"") == "a-br-00000000"


def page(
    etag: str | None = '"a"',
    body: bytes = BODY,
    codings: tuple[tuple[str, bytes], ...] | None = None,
) -> StoredResponse:
    """A stored page with br and gzip, as admission makes it."""
    tag = () if etag is None else (("ETag", etag),)
    fields = (TYPE, *tag, ("Content-Length", str(len(body))))
    wire = (wire_form(fields), tag, wire_form(tag))
    times = (1e9, 0.0, 2e9, 0.0)
    stored = StoredResponse(b"k", (), (), 200, "200 OK", body, etag, None, *times, fields, *wire, 2)
    stored.codings = (("br", BR), ("gzip", GZIP)) if codings is None else codings
    return stored


def ask(**fields: str) -> Request:
    """A GET with these fields."""
    given = GivenFields({name.replace("_", "-"): value for name, value in fields.items()})
    return Request("GET", "http", "", "/", None, "", given, {})


def body_for(stored: StoredResponse, **fields: str) -> bytes:
    """The bytes that a request with these fields selects."""
    return selected(ask(**fields).fields, stored).body


def test_a_page_without_codings_is_sent_as_it_is() -> None:
    stored = page(codings=())
    assert selected(ask(accept_encoding="gzip").fields, stored) is stored
    assert representation(stored, None) is stored


def test_each_client_gets_the_bytes_that_it_reads() -> None:
    stored = page()
    assert body_for(stored, accept_encoding="gzip, br") == BR
    assert body_for(stored, accept_encoding="gzip") == GZIP
    assert body_for(stored, accept_encoding="deflate") == BODY
    assert body_for(stored) == BODY


def test_who_wants_nothing_transformed_gets_the_page_uncoded() -> None:
    stored = page()
    assert body_for(stored, accept_encoding="gzip", cache_control="no-transform") == BODY
    for other in ("no-cache", "no-store", "only-if-cached"):
        assert body_for(stored, accept_encoding="gzip", cache_control=other) == GZIP


def test_all_representations_vary_and_each_has_fields_of_its_own_bytes() -> None:
    stored = page()
    for coding, body in ((None, BODY), ("br", BR), ("gzip", GZIP)):
        form = representation(stored, coding)
        fields = dict(form.fields)
        assert form.body == body
        assert fields["Content-Length"] == str(len(body))
        assert fields["Vary"] == "Accept-Encoding"
        assert fields.get("Content-Encoding") == coding
        assert fields["ETag"] == form.etag
        assert form.wire_fields == wire_form(form.fields)
        told = (("ETag", form.etag), ("Vary", "Accept-Encoding"))
        assert form.not_modified_fields == told
        assert form.not_modified_wire_fields == ((b"etag", told[0][1].encode()), (b"vary",
            b"Accept-Encoding"))  # fmt: skip
    assert stored.fields == page().fields  # what is stored stays the application's


def test_a_representation_knows_all_else_from_its_page_and_is_made_once() -> None:
    stored = page()
    form = representation(stored, "br")
    assert representation(stored, "br") is form
    assert form.fields is form.fields
    assert representation(page(None), "br").etag is None
    assert (form.key, form.status_line, form.age(1e9 + 5)) == (b"k", "200 OK", 5)
    assert form.from_application() == stored.from_application()
    with pytest.raises(AttributeError):
        _ = form.nothing  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="page"):
        _ = Representation.__new__(Representation).body


class Answered(NamedTuple):
    """A request for a page with br and gzip, and its status, and length when it is a part."""

    id: str
    rfc: str
    says: str
    fields: dict[str, str]
    expect: tuple[int, bytes]
    etag: str = '"a"'


def tag_of(coding: str) -> str:
    """The tag of the page in this coding."""
    return representation(page(), coding).etag or ""


ANSWERED = [
    Answered("known", "13.1.2", "the coded page is known",
             {"accept_encoding": "br", "if_none_match": tag_of("br")}, (304, b"")),
    Answered("known-weakly", "8.8.3.2", "also by a weak tag",
             {"accept_encoding": "br", "if_none_match": f"W/{tag_of('br')}"}, (304, b"")),
    Answered("other-coding", "8.8.3.3", "another coding is another representation",
             {"accept_encoding": "gzip", "if_none_match": tag_of("br")}, (200, GZIP)),
    Answered("uncoded-known", "8.8.3.3", "so is the uncoded one",
             {"accept_encoding": "br", "if_none_match": '"a"'}, (200, BR)),
    Answered("uncoded", "13.1.2", "which others know", {"if_none_match": '"a"'}, (304, b"")),
    Answered("several", "13.1.2", "caches send all they have",
             {"accept_encoding": "gzip", "if_none_match": f'"a", {tag_of("gzip")}'}, (304, b"")),
    Answered("weak", "8.8.1", "a weak tag is that of all codings",
             {"accept_encoding": "gzip", "if_none_match": 'W/"a"'}, (304, b""), 'W/"a"'),
    Answered("match", "13.1.1", "If-Match with the tag that was sent",
             {"accept_encoding": "br", "if_match": tag_of("br")}, (200, BR)),
    Answered("match-other", "13.1.1", "and with another",
             {"accept_encoding": "br", "if_match": tag_of("gzip")}, (412, b"")),
    Answered("range", "14.2", "a part of which is not said: the uncoded page's",
             {"accept_encoding": "br", "range": "bytes=1-4"}, (206, BODY[1:5])),
    Answered("range-uncoded", "13.1.5", "a part of the uncoded page",
             {"accept_encoding": "br", "range": "bytes=1-4", "if_range": '"a"'},
             (206, BODY[1:5])),
    Answered("range-coded", "13.1.5", "a part of the coded one",
             {"accept_encoding": "br", "range": "bytes=1-4", "if_range": tag_of("br")},
             (206, BR[1:5])),
    Answered("range-other", "13.1.5", "a part of another coding: the whole page",
             {"accept_encoding": "br", "range": "bytes=1-4", "if_range": tag_of("gzip")},
             (200, BR)),
    Answered("range-old", "13.1.5", "or of another page",
             {"accept_encoding": "gzip", "range": "bytes=1-4", "if_range": '"b"'}, (200, GZIP)),
    Answered("range-beyond", "14.4", "the length is that of the coded bytes",
             {"accept_encoding": "br", "range": f"bytes={len(BR)}-", "if_range": tag_of("br")},
             (416, b"")),
    Answered("range-several", "14.6", "no multipart of coded bytes",
             {"accept_encoding": "br", "range": "bytes=0-1,5-6", "if_range": tag_of("br")},
             (200, BR)),
]  # fmt: skip


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.id)
def test_conditions_and_ranges_are_answered_from_the_representation(case: Answered) -> None:
    request = ask(**case.fields)
    form = selected(request.fields, page(case.etag))
    status, answer = precondition(request.fields, form), None
    if status is None:
        answer = partial(request, form, bytes)
        status = 200 if answer is None else answer.status
    body = {200: form.body, 206: answer.body if answer else b""}.get(status, b"")
    assert (status, body) == case.expect, case.says
    if status == 206 and answer is not None:
        assert dict(answer.fields)["ETag"] == form.etag
        assert dict(answer.fields)["Content-Range"].endswith(f"/{len(form.body)}")


def test_no_date_is_a_strong_validator_of_a_page_with_codings() -> None:
    """9110-8.8.1: one date stands for all its codings, and their bytes differ."""
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    for codings, expect in ((None, False), ((("br", BR),), False), ((), True)):
        stored = page(codings=codings)
        stored.last_modified = http_date(date)
        for accepted in ("br", "gzip", "identity"):
            request = ask(accept_encoding=accepted, range="bytes=1-4", if_range=date)
            form = selected(request.fields, stored)
            assert may_be_ranged(request.fields, form) is expect
            assert (partial(request, form, bytes) is not None) is expect
