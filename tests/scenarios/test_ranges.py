"""Parts of pages, and conditions on them, whichever way the page came (RFC 9110 §13, §14)."""

from __future__ import annotations

import re
from collections.abc import Callable
from wsgiref.validate import validator

import pytest

from pagegen import Rule
from pagegen.testing import Answer, Reply, Scenario, Seen, call_wsgi, environ
from tests.conftest import MakeScenario

RULE = Rule(path="/page", share="public", namespaces=["page"], ttl=60, swr=30, sie="10m")
BODY = b"".join(b"%03d," % number for number in range(250))
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
PART = {"range": "bytes=4-6"}


def staged(scenario: MakeScenario) -> Scenario:
    stage = scenario(RULE)
    fields = [("Content-Type", "text/plain"), ("ETag", '"1"'), ("Last-Modified", DATE)]
    stage.handler = lambda seen: Reply(BODY, fields=fields)
    return stage


def rendered_now(stage: Scenario) -> str:
    return "uri-miss, stored"


def a_hit(stage: Scenario) -> str:
    stage.get("/page")
    return "hit"


def a_stale_hit(stage: Scenario) -> str:
    stage.get("/page")
    stage.clock.advance(61)
    return "stale hit"


def in_place_of_a_failure(stage: Scenario) -> str:
    stage.get("/page")
    stage.clock.advance(91)
    stage.handler = lambda seen: Reply(b"broken", status=500)
    return "stale hit"


Way = Callable[[Scenario], str]
WAYS = pytest.mark.parametrize("way", [rendered_now, a_hit, a_stale_hit, in_place_of_a_failure])


@WAYS
def test_a_part_is_sent_of_every_page(scenario: MakeScenario, way: Way) -> None:
    stage = staged(scenario)
    trace = way(stage)
    answer = stage.get("/page", PART)
    assert (answer.status, answer.trace, answer.body) == (206, trace, b"001")
    assert answer.get("content-range") == "bytes 4-6/1000"
    assert answer.get("accept-ranges") == "bytes"
    assert answer.get("content-length") == "3"
    assert answer.get("content-type") == "text/plain"
    assert (answer.get("etag"), answer.get("cache-control")) == ('"1"', "no-cache")
    assert (answer.get("age") is None) is (way is rendered_now)


@WAYS
def test_several_parts_are_sent_of_every_page(scenario: MakeScenario, way: Way) -> None:
    stage = staged(scenario)
    way(stage)
    answer = stage.get("/page", {"range": "bytes=-4,0-2"})
    assert answer.status == 206
    assert answer.get("content-range") is None
    assert answer.get("content-length") == str(len(answer.body))
    said = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", answer.get("content-type") or "")
    assert said is not None
    lines = answer.body.decode().split("\r\n")
    assert lines == [
        f"--{said[1]}",
        "Content-Type: text/plain",
        "Content-Range: bytes 996-999/1000",
        "",
        "249,",
        f"--{said[1]}",
        "Content-Type: text/plain",
        "Content-Range: bytes 0-2/1000",
        "",
        "000",
        f"--{said[1]}--",
        "",
    ]


@WAYS
def test_a_range_behind_the_page_is_a_416_of_every_page(scenario: MakeScenario, way: Way) -> None:
    stage = staged(scenario)
    trace = way(stage)
    answer = stage.get("/page", {"range": "bytes=1000-"})
    assert (answer.status, answer.trace) == (416, trace)
    assert answer.get("content-range") == "bytes */1000"
    assert answer.body == b"Range Not Satisfiable\n"
    assert answer.get("content-length") == str(len(answer.body))
    assert (answer.get("etag"), answer.get("cache-control")) == (None, "no-store")


@WAYS
@pytest.mark.parametrize(
    ("name", "value"),
    [("if-match", '"2"'), ("if-match", 'W/"1"'), ("if-unmodified-since", DATE.replace("37", "36"))],
)
def test_a_false_condition_is_a_412_of_every_page(
    scenario: MakeScenario, way: Way, name: str, value: str
) -> None:
    stage = staged(scenario)
    trace = way(stage)
    answer = stage.get("/page", {name: value, **PART, "if-none-match": '"1"'})
    assert (answer.status, answer.trace) == (412, trace)
    assert answer.body == b"Precondition Failed\n"
    assert answer.get("content-length") == str(len(answer.body))
    assert (answer.get("etag"), answer.get("cache-control")) == (None, "no-store")


@WAYS
def test_a_304_comes_before_a_part_of_every_page(scenario: MakeScenario, way: Way) -> None:
    stage = staged(scenario)
    trace = way(stage)
    answer = stage.get("/page", {"if-match": '"1"', "if-none-match": '"1"', **PART})
    assert (answer.status, answer.trace, answer.body) == (304, trace, b"")
    assert answer.get("content-range") is None


def whole(answer: Answer) -> bool:
    lengths = (answer.get("content-range"), answer.get("content-length"))
    return (answer.status, answer.body, *lengths) == (200, BODY, None, "1000")


@pytest.mark.parametrize(
    "fields",
    [
        {"range": "bytes=x"},
        {"range": "bytes=5-4"},
        {"range": "lines=0-1"},
        {"range": "bytes=" + "0-," * 9},
        {"range": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 34, 2))},
        {"range": "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 32, 2))},
        {"range": "bytes=" + "0-0," * 9000},
        {**PART, "if-range": '"2"'},
        {**PART, "if-range": 'W/"1"'},
        {**PART, "if-range": "1"},
        {**PART, "if-range": DATE.replace("37", "38")},
        {"if-range": '"1"'},
        {"if-match": "*"},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_what_no_part_answers_is_answered_with_the_whole_page(
    scenario: MakeScenario, fields: dict[str, str]
) -> None:
    stage = staged(scenario)
    assert whole(stage.get("/page", fields))
    assert whole(stage.get("/page", fields))
    assert stage.renders == 1


@pytest.mark.parametrize("validator", ['"1"', DATE])
def test_a_download_goes_on_while_the_page_is_the_same_and_begins_anew_when_it_is_not(
    scenario: MakeScenario, validator: str
) -> None:
    stage = staged(scenario)
    rest = {"range": "bytes=400-", "if-range": validator}
    assert stage.get("/page").body[:400] + stage.get("/page", rest).body == BODY
    stage.cache.invalidate("page")
    stage.handler = lambda seen: Reply(b"new" * 300, fields=[("ETag", '"2"')])
    answer = stage.get("/page", rest)
    assert (answer.status, answer.body) == (200, b"new" * 300)


def test_a_part_of_a_page_with_our_own_validator(scenario: MakeScenario) -> None:
    stage = scenario(RULE)
    etag = stage.get("/page").get("etag")
    assert etag is not None
    answer = stage.get("/page", {"range": "bytes=-1", "if-range": etag, "if-match": etag})
    assert (answer.status, answer.body) == (206, b"1")


def test_whoever_asks_for_a_part_leaves_the_whole_page_in_the_cache(
    scenario: MakeScenario,
) -> None:
    stage = staged(scenario)
    assert stage.get("/page", PART).status == 206
    assert whole(stage.get("/page"))
    stage.clock.advance(91)
    assert stage.get("/page", {"if-match": '"2"'}).status == 412
    assert whole(stage.get("/page"))
    assert stage.renders == 2


def test_the_handler_never_sees_what_is_answered_here(scenario: MakeScenario) -> None:
    stage = scenario(RULE)
    stage.handler = lambda seen: " ".join(sorted(seen.fields))
    asked = {"if-match": "*", "if-unmodified-since": DATE, "if-range": '"1"', **PART}
    assert stage.get("/page", asked).text == "host"


def test_head_has_conditions_but_no_parts(scenario: MakeScenario) -> None:
    stage = staged(scenario)
    stage.get("/page")
    head = stage.request("HEAD", "/page", PART)
    assert (head.status, head.body, head.get("content-length")) == (200, b"", "1000")
    behind = stage.request("HEAD", "/page", {"range": "bytes=1000-"})
    assert behind.status == 200
    failed = stage.request("HEAD", "/page", {"if-match": '"2"'})
    assert (failed.status, failed.body, failed.get("content-length")) == (412, b"", "20")
    assert stage.request("HEAD", "/page", {"if-none-match": '"1"'}).status == 304


def test_a_streamed_page_passes_whole_and_has_parts_from_then_on(scenario: MakeScenario) -> None:
    stage = scenario(RULE)
    stage.handler = lambda seen: Reply([b"one ", b"two ", b"three"])
    asked = {**PART, "if-match": '"2"'}
    assert (stage.get("/page", asked).status, stage.get("/page", asked).status) == (200, 412)
    answer = stage.get("/page", PART)
    assert (answer.status, answer.body) == (206, b"two")


def test_what_is_not_stored_passes_whole(scenario: MakeScenario) -> None:
    stage = scenario(RULE)
    stage.handler = lambda seen: Reply(b"mine", fields=[("Cache-Control", "private")])
    for _ in range(2):
        answer = stage.get("/page", {"range": "bytes=0-0", "if-match": '"2"'})
        assert (answer.status, answer.body) == (200, b"mine")


def test_an_application_answers_ranges_itself_where_nothing_is_cached(
    scenario: MakeScenario,
) -> None:
    stage = scenario(RULE)
    stage.handler = lambda seen: Reply(seen.fields["range"].encode(), status=206)
    answer = stage.get("/elsewhere", PART)
    assert (answer.status, answer.text) == (206, "bytes=4-6")


def test_a_page_of_another_status_has_no_parts(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/page", share="public", ttl={404: "1h"}))
    stage.handler = lambda seen: Reply(b"nothing here", status=404)
    for _ in range(2):
        answer = stage.get("/page", {"range": "bytes=0-0", "if-match": '"2"'})
        assert (answer.status, answer.body) == (404, b"nothing here")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (PART, 206),
        ({"range": "bytes=0-1,9-9"}, 206),
        ({"range": "bytes=1000-"}, 416),
        ({"if-match": '"2"'}, 412),
        ({"if-none-match": "*"}, 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_standard_librarys_checker_has_no_objection(
    method: str, fields: dict[str, str], status: int
) -> None:
    with Scenario("wsgi", [RULE]) as stage:
        stage.handler = lambda seen: Reply(BODY, fields=[("Content-Type", "text/plain")])
        stage.get("/page")
        answer = call_wsgi(validator(stage.wsgi), environ(method, "/page", fields))  # type: ignore[arg-type]
        assert answer.status == (200 if method == "HEAD" and "range" in fields else status)


def test_parts_of_a_page_too_large_to_keep_are_the_applications_to_send(
    scenario: MakeScenario,
) -> None:
    stage = scenario(Rule(path="/page", share="public", ttl=60, max_body=4))
    seen: list[str | None] = []

    def handler(asked: Seen) -> Reply:
        seen.append(asked.fields.get("range"))
        return Reply(b"larger", fields=[("Content-Length", "6")])

    stage.handler = handler
    part = {"range": "bytes=0-1"}
    assert stage.get("/page", part).trace == "refused-too-large"
    assert stage.get("/page", part).trace == "bypass: range"
    assert stage.get("/page").trace == "refused-too-large"
    stage.clock.advance(121)
    assert seen == [None, "bytes=0-1", None]
