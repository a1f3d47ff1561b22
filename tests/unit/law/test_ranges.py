"""Parts of a stored page (RFC 9110 §14, §15.3.7, §15.5.17)."""

from __future__ import annotations

import asyncio
import email
import email.policy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from starlette.responses import FileResponse
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Response

from pagegen.fields import MAX_VALUE
from pagegen.law.ranges import MAX_RANGES, Span, partial, spans
from pagegen.messages import Fields, Request, StoredResponse
from pagegen.testing import call_asgi, scope

LENGTH = 1000
BODY = bytes(number % 251 for number in range(LENGTH))
SECRET = bytes(range(16))
TYPE: Fields = (("Content-Type", "text/plain"),)


class Case(NamedTuple):
    """A Range, the length of a page, and the parts of it: () is none, None the whole page."""

    id: str
    rfc: str
    says: str
    given: str
    expect: tuple[Span, ...] | None
    length: int = LENGTH


CASES = [
    Case("first", "§14.1.2", "from a position to another one", "bytes=0-499", ((0, 500),)),
    Case("one", "§14.1.2", "both inclusive", "bytes=0-0", ((0, 1),)),
    Case("last", "§14.1.2", "up to the last byte", "bytes=999-999", ((999, 1000),)),
    Case("open", "§14.1.2", "to the end", "bytes=900-", ((900, 1000),)),
    Case("all", "§14.1.2", "all of it", "bytes=0-", ((0, 1000),)),
    Case("beyond", "§14.1.2", "an end beyond the page is its end", "bytes=9-9999", ((9, 1000),)),
    Case("suffix", "§14.1.2", "the last bytes", "bytes=-10", ((990, 1000),)),
    Case("suffix-all", "§14.1.2", "a suffix longer than the page", "bytes=-9999", ((0, 1000),)),
    Case("suffix-0", "§14.1.2", "an empty suffix is unsatisfiable", "bytes=-0", ()),
    Case("behind", "§14.1.2", "a first byte behind the page", "bytes=1000-", ()),
    Case("far", "§14.1.2", "far behind it", f"bytes={'9' * 99}-", ()),
    Case("none", "§14.1.2", "each of several", "bytes=1000-1001,-0", ()),
    Case("some", "§15.3.7.2", "the unsatisfiable is left out", "bytes=1000-,0-1", ((0, 2),)),
    Case("two", "§14.1.2", "several", "bytes=0-9,20-29", ((0, 10), (20, 30))),
    Case("order", "§15.3.7.2", "as they were asked for", "bytes=20-29,0-9", ((20, 30), (0, 10))),
    Case("overlap", "§15.3.7.2", "overlapping ones are one", "bytes=0-9,5-14", ((0, 15),)),
    Case("touch", "§15.3.7.2", "touching ones too", "bytes=10-19,0-9", ((0, 20),)),
    Case("gap", "§15.3.7.2", "a gap parts them", "bytes=0-9,11-19", ((0, 10), (11, 20))),
    Case("same", "§15.3.7.2", "one asked for twice", "bytes=3-5,3-5", ((3, 6),)),
    Case("inside", "§15.3.7.2", "one inside another", "bytes=0-99,9-10", ((0, 100),)),
    Case(
        "place",
        "§15.3.7.2",
        "a joined one stands where its earliest did",
        "bytes=50-59,0-9,55-64,5-14",
        ((50, 65), (0, 15)),
    ),
    Case(
        "place-first",
        "§15.3.7.2",
        "though the later bytes were asked for first",
        "bytes=55-64,0-9,50-59",
        ((50, 65), (0, 10)),
    ),
    Case(
        "place-last",
        "§15.3.7.2",
        "or the earlier ones",
        "bytes=50-59,0-9,55-64",
        ((50, 65), (0, 10)),
    ),
    Case("chain", "§15.3.7.2", "a chain", "bytes=20-29,0-9,10-19", ((0, 30),)),
    Case("flood", "§14.2", "more than there is", "bytes=0-,0-,0-", None),
    Case("flood-1", "§14.2", "by one byte", "bytes=0-499,499-999", None),
    Case("exact", "§14.2", "not less", "bytes=0-499,500-999", ((0, 1000),)),
    Case("backwards", "§14.1.1", "an invalid member", "bytes=0-1,5-4", None),
    Case("rubbish", "§14.1.1", "a malformed one", "bytes=0-1,x", None),
    Case("unit", "§14.2", "another unit", "items=0-1", None),
    Case("case", "§14.1", "units have no case", "Bytes=0-1", ((0, 2),)),
    Case("empty-page", "§14.2", "no range of nothing can be spelled", "bytes=0-", None, 0),
    Case("empty-suffix", "§14.2", "nor its suffix", "bytes=-1", None, 0),
    Case(
        "many",
        "§14.2",
        "as many as allowed",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 2 * MAX_RANGES, 2)),
        tuple((n, n + 1) for n in range(0, 2 * MAX_RANGES, 2)),
    ),
    Case(
        "too-many",
        "§14.2",
        "one more",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 2 * MAX_RANGES + 2, 2)),
        None,
    ),
    Case(
        "too-many-behind",
        "§14.2",
        "unsatisfiable ones count",
        "bytes=0-0" + ",1000-" * MAX_RANGES,
        None,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_ranges_become_parts(case: Case) -> None:
    assert spans(case.given, case.length) == case.expect, case.says


NUMBER = st.integers(0, 60)
MEMBER = st.one_of(
    st.tuples(NUMBER, NUMBER).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    # Short ones, or most lists would ask for more than there is.
    st.tuples(NUMBER, st.integers(0, 5)).map(lambda pair: f"{pair[0]}-{sum(pair)}"),
    NUMBER.map(lambda number: f"{number}-"),
    NUMBER.map(lambda number: f"-{number}"),
)
MEMBERS = st.lists(MEMBER, min_size=1, max_size=MAX_RANGES)


def bytes_asked_for(member: str, length: int) -> set[int]:
    """The positions of one range, as a child would count them."""
    first, _, last = member.partition("-")
    if not first:
        return set(range(length)) if int(last) > length else set(range(length - int(last), length))
    return {n for n in range(length) if n >= int(first) and (not last or n <= int(last))}


@given(MEMBERS, st.integers(1, 50))
def test_parts_are_the_bytes_that_were_asked_for_once_each(members: list[str], length: int) -> None:
    wanted = [bytes_asked_for(member, length) for member in members]
    parts = spans(f"bytes={','.join(members)}", length)
    if sum(map(len, wanted)) > length:
        assert parts is None
        return
    assert parts is not None
    sent = [n for start, stop in parts for n in range(start, stop)]
    assert len(sent) == len(set(sent))
    assert set(sent) == set().union(*wanted)
    # In the order of the earliest range in each, and never two that could be one.
    places = [
        min(n for n, asked in enumerate(wanted) if asked & set(range(*part))) for part in parts
    ]
    assert places == sorted(places)
    assert not {start for start, _ in parts} & {stop for _, stop in parts}


@given(st.text(st.sampled_from("0123456789-, \t=bytes"), max_size=60), st.integers(0, 50))
def test_no_text_makes_parts_that_are_not_there(text: str, length: int) -> None:
    for value in (text, f"bytes={text}"):
        for start, stop in spans(value, length) or ():
            assert 0 <= start < stop <= length


def test_a_header_of_eight_kilobytes_is_as_cheap_as_it_is_long() -> None:
    # Counted, not timed: no more than MAX_RANGES are ever compared with each other.
    value = "bytes=" + "0-0," * ((MAX_VALUE - 6) // 4)
    assert len(value) <= MAX_VALUE
    assert spans(value, LENGTH) is None


def page(fields: Fields = TYPE, body: bytes = BODY, status: int = 200) -> StoredResponse:
    """A stored page, its length among its fields as admission puts it there."""
    whole = (*fields, ("Content-Length", str(len(body))))
    times = (1e9, 0.0, 2e9, 0.0)
    return StoredResponse(b"", (), (), status, "", body, '"a"', None, *times, whole, (), (), ())


def ask(value: str, method: str = "GET", **more: str) -> Request:
    """A request with this Range."""
    fields = {"range": value, **{name.replace("_", "-"): text for name, text in more.items()}}
    return Request(method, "http", "", "/", None, "", fields, {})


def never() -> bytes:
    """Chance that nobody may ask for."""
    raise AssertionError("a boundary is drawn for several parts only")


def test_one_part_is_sent_with_all_fields_of_the_page_and_its_own_length() -> None:
    kept = (
        ("ETag", '"a"'),
        ("Cache-Control", "no-cache"),
        ("Expires", "0"),
        ("Vary", "host"),
        ("Content-Location", "/a"),
        ("Last-Modified", "x"),
        ("Repr-Digest", "sha-256=:x:"),
        *TYPE,
        ("Content-Encoding", "gzip"),
    )
    stored = page((*kept, ("Content-Digest", "sha-256=:x:"), ("Content-MD5", "x")))
    answer = partial(ask("bytes=10-19"), stored, never)
    assert answer is not None
    assert (answer.status, answer.reason, answer.body) == (206, "Partial Content", BODY[10:20])
    own = (("Content-Range", "bytes 10-19/1000"), ("Content-Length", "10"))
    assert answer.fields == (*kept, *own)


def test_several_parts_are_a_multipart_that_others_can_read() -> None:
    value = "bytes=500-509,0-9,-10"
    answer = partial(ask(value), page((*TYPE, ("ETag", '"a"'))), lambda: SECRET)
    assert answer is not None
    assert answer.status == 206
    fields = dict(answer.fields)
    assert "Content-Range" not in fields  # §15.3.7.2
    assert fields["Content-Length"] == str(len(answer.body))
    assert fields["Content-Type"] == f"multipart/byteranges; boundary={SECRET.hex()}"
    assert fields["ETag"] == '"a"'
    text = f"Content-Type: {fields['Content-Type']}\r\n\r\n".encode() + answer.body
    message = email.message_from_bytes(text, policy=email.policy.HTTP)
    assert not message.defects
    parts = list(message.iter_parts())  # type: ignore[attr-defined]
    assert [part["Content-Range"] for part in parts] == [
        "bytes 500-509/1000",
        "bytes 0-9/1000",
        "bytes 990-999/1000",
    ]
    assert [part["Content-Type"] for part in parts] == [dict(TYPE)["Content-Type"]] * 3
    assert [part.get_payload(decode=True) for part in parts] == [
        BODY[500:510],
        BODY[:10],
        BODY[990:],
    ]


def test_a_page_without_a_type_has_parts_without_one() -> None:
    answer = partial(ask("bytes=0-0,9-9"), page(()), lambda: SECRET)
    assert answer is not None
    line = f"--{SECRET.hex()}".encode()
    first = line + b"\r\nContent-Range: bytes 0-0/1000\r\n\r\n" + BODY[:1] + b"\r\n"
    second = line + b"\r\nContent-Range: bytes 9-9/1000\r\n\r\n" + BODY[9:10] + b"\r\n"
    assert answer.body == first + second + line + b"--\r\n"


def test_several_parts_have_one_type_and_one_length_and_no_digest_of_the_page() -> None:
    lost = (("Content-Digest", "sha-256=:x:"), ("content-MD5", "x"))
    answer = partial(ask("bytes=0-0,9-9"), page((*TYPE, *lost, ("X", "1"))), lambda: SECRET)
    assert answer is not None
    assert [name for name, _ in answer.fields] == ["X", "Content-Type", "Content-Length"]


def test_several_parts_are_never_longer_than_the_page() -> None:
    asked = "bytes=0-0,2-2"
    whole = next(n for n in range(3, 999) if partial(ask(asked), page(TYPE, BODY[:n]), bytes))
    answer = partial(ask(asked), page(TYPE, BODY[:whole]), bytes)
    assert answer is not None
    assert len(answer.body) == whole


def test_none_that_can_be_sent_is_a_416_with_the_length_of_the_page() -> None:
    stored = page((*TYPE, ("ETag", '"a"'), ("Cache-Control", "max-age=9"), ("Vary", "host")))
    answer = partial(ask("bytes=1000-"), stored, never)
    assert answer is not None
    assert (answer.status, answer.reason) == (416, "Range Not Satisfiable")
    assert answer.body == b"Range Not Satisfiable\n"
    assert answer.fields == (
        ("Vary", "host"),
        ("Content-Range", "bytes */1000"),
        ("Cache-Control", "no-store"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", "22"),
    )


class Whole(NamedTuple):
    """A request and a page that are answered with the whole page."""

    id: str
    rfc: str
    says: str
    request: Request
    page: StoredResponse = page()


WHOLE = [
    Whole(
        "none", "§14.2", "no part was asked for", Request("GET", "http", "", "/", None, "", {}, {})
    ),
    Whole("head", "§14.2", "only GET has ranges", ask("bytes=0-1", "HEAD")),
    Whole("203", "design", "only of a 200", ask("bytes=0-1"), page(status=203)),
    Whole("404", "§14.2", "never of an error", ask("bytes=0-1"), page(status=404)),
    Whole("404-416", "§14.2", "nor its 416", ask("bytes=1000-"), page(status=404)),
    Whole("if-range", "§13.1.5", "another page", ask("bytes=0-1", if_range='"b"')),
    Whole("if-range-416", "§13.2.2", "before its range", ask("bytes=1000-", if_range='"b"')),
    Whole(
        "refused",
        "§14.3",
        "the application says that there are none",
        ask("bytes=0-1"),
        page((("accept-ranges", "none"),)),
    ),
    Whole(
        "coded",
        "§14.6",
        "a coding would seem to be the multipart's",
        ask("bytes=0-0,9-9"),
        page((*TYPE, ("content-encoding", "gzip"))),
    ),
    Whole("empty", "§14.2", "an empty page", ask("bytes=0-1"), page(body=b"")),
]


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.id)
def test_the_whole_page_is_sent(case: Whole) -> None:
    assert partial(case.request, case.page, lambda: SECRET) is None, case.says


def test_a_range_is_sent_where_if_range_and_the_application_allow_it() -> None:
    none = ("accept-ranges", "none")
    for said in ((), (("Accept-Ranges", "Bytes"),), (none, ("Accept-Ranges", "bytes"), none)):
        answer = partial(ask("bytes=0-1", if_range='"a"'), page((*TYPE, *said)), never)
        assert answer is not None
        assert answer.status == 206


SATISFIABLE = st.one_of(
    st.tuples(st.integers(0, 49), NUMBER).map(lambda pair: f"{pair[0]}-{sum(pair)}"),
    st.integers(0, 49).map(lambda number: f"{number}-"),
    st.integers(1, 50).map(lambda number: f"-{number}"),
)


@given(SATISFIABLE | st.integers(50, 99).map(lambda number: f"{number}-"))
def test_one_range_is_answered_as_werkzeug_answers_it(member: str) -> None:
    # One only: werkzeug 3.1 answers several with 416. It departs where it does so for malformed
    # ranges and other units (§14.2), for a suffix longer than the page (§14.1.2), where Range comes
    # before If-None-Match (§13.2.2), and where If-Range takes weak tags and later dates (§13.1.5).
    body = BODY[:50]
    environ: Any = {"REQUEST_METHOD": "GET", "HTTP_RANGE": f"bytes={member}"}
    response = Response(body, content_type="text/plain")
    ours = partial(ask(f"bytes={member}"), page(body=body), never)
    assert ours is not None
    try:
        response.make_conditional(environ, accept_ranges=True, complete_length=50)
    except RequestedRangeNotSatisfiable as error:
        assert ours.status == 416
        assert dict(ours.fields)["Content-Range"] == dict(error.get_headers())["Content-Range"]
        return
    assert (ours.status, ours.body) == (response.status_code, response.get_data())
    for name in ("Content-Range", "Content-Length", "Content-Type"):
        assert dict(ours.fields)[name] == response.headers[name]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a file, for Starlette."""
    path = tmp_path_factory.mktemp("ranges") / "page"
    path.write_bytes(BODY)
    return path


SMALL = st.tuples(st.integers(0, 99), st.integers(0, 40)).map(
    lambda pair: f"{10 * pair[0]}-{10 * pair[0] + pair[1]}"
)


@settings(max_examples=60)
@given(members=st.lists(SMALL | st.just("-9"), min_size=1, max_size=4))
def test_several_ranges_are_answered_as_starlette_answers_them(
    file: Path, members: list[str]
) -> None:
    # Parts in ascending order only: Starlette 1.x sorts them (§15.3.7.2 asks for the client's
    # order). It departs where one unsatisfiable range is a 416 for all, where what is malformed is
    # a 400 or passed over (§14.2), where HEAD gets a 206, and where parts may exceed the page.
    value = f"bytes={','.join(members)}"
    parts = spans(value, LENGTH)
    assume(parts is not None and list(parts) == sorted(parts))
    kind = "application/octet-stream"
    ours = partial(ask(value), page((("Content-Type", kind),)), lambda: SECRET)
    made = scope("GET", "/", {"range": value})
    theirs = asyncio.run(call_asgi(FileResponse(file, media_type=kind), made))
    assert ours is not None
    assert ours.status == theirs.status == 206
    assert dict(ours.fields).get("Content-Range") == theirs.get("content-range")
    boundary = (theirs.get("content-type") or "").partition("boundary=")[2]
    if not boundary:
        assert ours.body == theirs.body
        return
    # The line break behind the last boundary is free.
    assert ours.body == theirs.body.replace(boundary.encode(), SECRET.hex().encode()) + b"\r\n"
