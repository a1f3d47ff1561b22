"""What of a message's head is passed on: tables, without a socket."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.testing.proxy import ReverseProxy, WSGIReverseProxy, heads

Pairs = list[tuple[bytes, bytes]]


class Rule(NamedTuple):
    """``given``: fields as ``name: value`` lines; ``expect``: those that are left."""

    id: str
    section: str
    paraphrase: str
    given: str
    expect: str


def pairs(text: str) -> Pairs:
    lines = [line.strip() for line in text.split(";") if line.strip()]
    return [(n.encode(), v.strip().encode()) for n, _, v in (li.partition(":") for li in lines)]


END_TO_END = (
    Rule(
        "9110-7.6.1-1",
        "9110 §7.6.1",
        "Connection itself is for one hop",
        "Connection: close; A: 1",
        "A: 1",
    ),
    Rule(
        "9110-7.6.1-2",
        "9110 §7.6.1",
        "what Connection names goes with it",
        "A: 1; Connection: a, B; b: 2; C: 3",
        "C: 3",
    ),
    Rule(
        "9110-7.6.1-3",
        "9110 §7.6.1",
        "several Connection lines are one list",
        "Connection: a; Connection: b; A: 1; B: 2; C: 3",
        "C: 3",
    ),
    Rule(
        "9110-7.6.1-4",
        "9110 §7.6.1",
        "known ones go although nobody names them",
        "Keep-Alive: 5; Proxy-Connection: x; TE: y; Transfer-Encoding: z; Upgrade: h2c; A: 1",
        "A: 1",
    ),
    Rule(
        "9110-6.5.1-1",
        "9110 §6.5.1",
        "trailers are dropped, and so is what announces them",
        "Trailer: X; A: 1",
        "A: 1",
    ),
    Rule(
        "9110-11.7",
        "9110 §11.7.2",
        "credentials for one proxy stay with it",
        "Proxy-Authorization: x; Proxy-Authenticate: y; Proxy-Authentication-Info: z; A: 1",
        "A: 1",
    ),
    Rule(
        "9112-6-1",
        "9112 §3.2, §6",
        "no message can be robbed of its host and length",
        "Connection: host, content-length; Host: h; Content-Length: 3",
        "Host: h; Content-Length: 3",
    ),
    Rule(
        "9110-7.6.1-5",
        "9110 §7.6.1",
        "nobody may name what is meant for all recipients: no-store stays",
        "Connection: Cache-Control, vary; Cache-Control: no-store; Vary: A",
        "Cache-Control: no-store; Vary: A",
    ),
    Rule(
        "9110-5.3-1",
        "9110 §5.3",
        "lines of one name keep their number and order",
        "X: 2; Set-Cookie: a=1; X: 1; Set-Cookie: b=2",
        "X: 2; Set-Cookie: a=1; X: 1; Set-Cookie: b=2",
    ),
    Rule(
        "9110-5.1-1", "9110 §5.1", "names keep their case", "x-FOO: 1; ETag: 2", "x-FOO: 1; ETag: 2"
    ),
)


@pytest.mark.parametrize("rule", END_TO_END, ids=lambda rule: rule.id)
def test_end_to_end_fields_pass_and_those_of_the_connection_do_not(rule: Rule) -> None:
    assert heads.end_to_end(pairs(rule.given)) == pairs(rule.expect), rule.paraphrase


FRAMING = (
    ("no body", "", 0, heads.Framing()),
    ("a length of nothing", "Content-Length: 0", 0, heads.Framing(0)),
    ("a length", "Content-Length: 3", 3, heads.Framing(3)),
    ("a length, more to come", "Content-Length: 3", None, heads.Framing(3)),
    ("a body that the cache has hidden", "Content-Length: 3", 0, heads.Framing()),
    ("chunks win over a length", "Transfer-Encoding: chunked; Content-Length: 3", None,
     heads.Framing(chunked=True)),
    ("neither, and all is here", "", 3, heads.Framing(3)),
    ("neither, and more to come", "", None, heads.Framing(chunked=True)),
    ("lengths that contradict", "Content-Length: 3; Content-Length: 4", None,
     heads.Framing(chunked=True)),
)  # fmt: skip


@pytest.mark.parametrize(("given", "whole", "expect"), [c[1:] for c in FRAMING],
                         ids=[c[0] for c in FRAMING])  # fmt: skip
def test_a_request_body_is_framed(given: str, whole: int | None, expect: heads.Framing) -> None:
    assert heads.framing(pairs(given), whole) == expect


REQUESTS = (
    ("as it came", "Host: h; A: 1", heads.Framing(), True, "Host: h; A: 1"),
    ("without a host", "A: 1", heads.Framing(), True, "Host: o:1; A: 1"),
    ("the origin's own host", "A: 1; Host: h", heads.Framing(), False, "Host: o:1; A: 1"),
    ("the length in its place", "Host: h; Content-Length: 3; A: 1", heads.Framing(3), True,
     "Host: h; Content-Length: 3; A: 1"),
    ("the length once", "Host: h; Content-Length: 3; Content-Length: 3", heads.Framing(3), True,
     "Host: h; Content-Length: 3"),
    ("a length that was not said", "Host: h", heads.Framing(3), True,
     "Host: h; Content-Length: 3"),
    ("chunks alone", "Host: h; Content-Length: 3", heads.Framing(chunked=True), True,
     "Host: h; Transfer-Encoding: chunked"),
    ("an expectation that was met", "Host: h; Expect: 100-continue", heads.Framing(), True,
     "Host: h"),
)  # fmt: skip


@pytest.mark.parametrize(("given", "framed", "preserve", "expect"), [c[1:] for c in REQUESTS],
                         ids=[c[0] for c in REQUESTS])  # fmt: skip
def test_request_fields_are_the_clients_with_the_framing_of_this_hop(
    given: str, framed: heads.Framing, preserve: bool, expect: str
) -> None:
    found = heads.request_fields(pairs(given), framed, b"o:1", preserve_host=preserve)
    assert found == pairs(expect)


RESPONSES = (
    ("a length", "GET", 200, "A: 1; Content-Length: 3", "A: 1; Content-Length: 3", 3),
    ("no length", "GET", 200, "A: 1", "A: 1", None),
    ("chunks and a length", "GET", 200, "Transfer-Encoding: chunked; Content-Length: 3", "", None),
    ("HEAD says the length of GET", "HEAD", 200, "Content-Length: 3", "Content-Length: 3", 0),
    ("204", "GET", 204, "Content-Length: 0; A: 1", "A: 1", 0),
    ("304", "GET", 304, "Content-Length: 3; ETag: 1", "ETag: 1", 0),
)


@pytest.mark.parametrize(("method", "status", "given", "expect", "length"),
                         [c[1:] for c in RESPONSES], ids=[c[0] for c in RESPONSES])  # fmt: skip
def test_response_fields_are_the_origins_with_a_length_that_holds(
    method: str, status: int, given: str, expect: str, length: int | None
) -> None:
    head = heads.response_head(method, status, b"Fine", pairs(given))
    assert (head.status, head.reason) == (status, "Fine")
    assert (head.fields, head.length) == (pairs(expect), length)


@pytest.mark.parametrize(
    ("path", "query", "expect"),
    [
        (b"/a%2Fb", b"x=%20+", b"/a%2Fb?x=%20+"),
        (b"/", b"", b"/"),
        (b"*", b"", b"*"),
        (b"/a;b=1//c/../d", b"?&=&", b"/a;b=1//c/../d??&=&"),
        (b"/\xff \x01", b"\xe9\x7f", b"/%FF%20%01?%E9%7F"),
        (b'/"<>^`{|}', b"[]", b'/"<>^`{|}?[]'),
    ],
)
def test_a_target_keeps_its_bytes(path: bytes, query: bytes, expect: bytes) -> None:
    assert heads.target(path, query) == expect


@pytest.mark.parametrize(
    ("path", "raw", "expect"),
    [
        (b"/a/b", b"/a%2Fb", b"/a%2Fb"),
        (b"/a/b", b"/a%2Fb?x=1", b"/a%2Fb"),
        (b"/a/b", b"http://h:1/a%2Fb?x=1", b"/a%2Fb"),
        (b"/", b"http://h", b"/"),
        (b"*", b"*", b"*"),
        (b"/\xef\xbf\xbd", b"/%FF", b"/%FF"),  # ASGI: what is no UTF-8 is U+FFFD already
        (b"/\xff", b"/%FF", b"/%FF"),  # WSGI: the bytes themselves
        (b"/moved", b"/a%2Fb", b"/moved"),  # middleware changed the path
        (b"/a b/\xc3\xa9", None, b"/a%20b/%C3%A9"),
        (b"/a:b@c", None, b"/a:b@c"),
    ],
)
def test_the_raw_path_is_passed_while_it_is_still_the_path(
    path: bytes, raw: bytes | None, expect: bytes
) -> None:
    assert heads.raw_path(path, raw) == expect


@given(st.lists(st.tuples(st.binary(), st.binary())), st.binary(), st.binary())
def test_nothing_that_comes_in_raises(lines: Pairs, path: bytes, query: bytes) -> None:
    heads.request_fields(lines, heads.framing(lines), b"o", preserve_host=True)
    heads.response_head("GET", 200, b"", lines)
    made = heads.target(heads.raw_path(path, query), query)
    assert all(0x20 < byte < 0x7F for byte in made)


@pytest.mark.parametrize("twin", [ReverseProxy, WSGIReverseProxy])
@pytest.mark.parametrize(
    ("origin", "fault"),
    [
        ("", "scheme"),
        ("ftp://a", "scheme"),
        ("127.0.0.1:80", "scheme|URL"),
        ("http://", "no host"),
        ("http://a b", "no host"),
        ("http://a:99999", "no such port"),
        ("http://a:x", "Invalid port"),
        ("http://a/base", "more than an origin"),
        ("http://a?x", "more than an origin"),
        ("http://me@a", "more than an origin"),
        (None, "URL"),
    ],
)
def test_an_origin_that_is_none_is_refused_with_a_remedy(
    twin: type[ReverseProxy], origin: str, fault: str
) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        twin(origin)
    assert "Give scheme, host and port alone" in str(caught.value)


@pytest.mark.parametrize("origin", ["http://a", "http://[::1]:9000", "http://A:1/"])
def test_an_origin_is_taken(origin: str) -> None:
    ReverseProxy(origin)
