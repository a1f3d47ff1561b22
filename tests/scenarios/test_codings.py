"""Pages that are kept coded too, from the application to the client (RFC 9110 §8.4, §12.5.3)."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import brotli
import pytest

from pagegen import ConfigError, PageCache, Rule
from pagegen import compression as compressing
from pagegen.asgi.collector import AT_ONCE
from pagegen.compression import MAX_CODED
from pagegen.law.codings import MIN_CODED
from pagegen.stores import MemoryStore, Store
from pagegen.stores.lmdb import LmdbStore
from pagegen.stores.near import NearStore
from pagegen.testing import PATIENCE, Answer, Reply, Scenario, Seen, call_asgi
from pagegen.testing import scope as make_scope
from tests.conftest import MakeScenario

BODY: Final = b"<p>One line of a page that is long enough to be coded.</p>\n" * 40
HTML: Final = ("Content-Type", "text/html")
FRESH: Final = ("Cache-Control", "max-age=60")
OPEN: Final = Rule(path="/page", share="public", compress=["br", "gzip"])
KEYED: Final = Rule(path="/keyed", share="public", ttl=60, compress=["br", "gzip"])
TARGETS: Final = pytest.mark.parametrize("target", ["/page", "/keyed"])
FINISHERS: Final[dict[str | None, Callable[[bytes], bytes]]] = {
    None: bytes,
    "gzip": lambda body: zlib.decompress(body, wbits=31),
    "br": brotli.decompress,
}
ANY: Final = {"accept-encoding": "gzip, br"}


def opened(answer: Answer) -> bytes:
    """The page as a client reads it."""
    return FINISHERS[answer.get("content-encoding")](answer.body)


@pytest.fixture(params=["memory", "lmdb", "near lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    shared = LmdbStore(tmp_path / "pages", "16MiB", timeout=10)
    yield NearStore(shared, 2**20) if request.param.startswith("near") else shared
    shared.close()


@pytest.fixture
def staged(scenario: MakeScenario, store: Store) -> Scenario:
    return paging(scenario(OPEN, KEYED, store=store, max_delay=10))


def paging(stage: Scenario, body: Any = BODY, *fields: tuple[str, str]) -> Scenario:
    stage.handler = lambda seen: Reply(body, fields=[HTML, FRESH, *fields])
    return stage


class Choice(NamedTuple):
    """What a client says, and the coding it gets of a page kept in br and gzip."""

    id: str
    accepts: str | None
    expect: str | None


CHOICES = [
    Choice("nothing-said", None, None),
    Choice("nothing-accepted", "", None),
    Choice("gzip", "gzip", "gzip"),
    Choice("browser", "gzip, deflate, br, zstd", "br"),
    Choice("weights", "br;q=0.5, gzip;q=0.9", "gzip"),
    Choice("refused", "br;q=0, gzip", "gzip"),
    Choice("star", "*", "br"),
    Choice("rather-not", "identity, gzip;q=0.5", None),
    Choice("unknown", "zstd", None),
    Choice("old-name", "x-gzip", "gzip"),
    Choice("rubbish", ";;;q=,br;q=9", "br"),
]


@TARGETS
def test_a_client_gets_the_coding_it_likes_best_and_can_read_it(
    staged: Scenario, target: str
) -> None:
    staged.get(target)
    for choice in CHOICES:
        fields = {} if choice.accepts is None else {"accept-encoding": choice.accepts}
        answer = staged.get(target, fields)
        assert answer.trace == "hit"
        assert answer.get("content-encoding") == choice.expect, choice
        assert opened(answer) == BODY
        assert answer.get("content-length") == str(len(answer.body))
        assert (len(answer.body) < len(BODY) / 2) is (choice.expect is not None)
        head = staged.request("HEAD", target, fields)
        assert (head.body, head.get("content-length")) == (b"", str(len(answer.body)))
        assert head.get("etag") == answer.get("etag")
    assert staged.renders == 1


@TARGETS
def test_all_representations_vary_and_each_has_a_tag_of_its_own(
    staged: Scenario, target: str
) -> None:
    answers = [staged.get(target, {"accept-encoding": one}) for one in ("", "gzip", "br", "")]
    assert {answer.get("vary") for answer in answers} == {"Accept-Encoding"}
    tags = [answer.get("etag") for answer in answers]
    assert len(set(tags)) == 3
    assert tags[0] == tags[3]
    assert all(tag is not None and tag.startswith('"') for tag in tags)


@TARGETS
@pytest.mark.parametrize("pieces", [False, True], ids=["at once", "in pieces"])
def test_the_first_answer_varies_too_and_is_coded_when_it_came_at_once(
    staged: Scenario, target: str, *, pieces: bool
) -> None:
    paging(staged, [BODY[:999], BODY[999:]] if pieces else BODY)
    first = staged.get(target, ANY)
    assert first.get("vary") == "Accept-Encoding"
    assert first.get("content-encoding") == (None if pieces else "br")
    assert opened(first) == BODY
    hit = staged.get(target, ANY)
    assert (hit.trace, hit.get("content-encoding"), opened(hit)) == ("hit", "br", BODY)
    assert staged.renders == 1


@TARGETS
def test_conditions_are_answered_from_the_representation_that_would_be_sent(
    staged: Scenario, target: str
) -> None:
    staged.get(target)
    tags = {one: staged.get(target, {"accept-encoding": one}).get("etag") or ""
            for one in ("", "gzip", "br")}  # fmt: skip
    for accepted, tag in tags.items():
        for other in tags.values():
            fields = {"accept-encoding": accepted, "if-none-match": other}
            answer = staged.get(target, fields)
            assert answer.status == (304 if other == tag else 200)
            assert answer.get("etag") == tag
            assert answer.get("vary") == "Accept-Encoding"
            fields = {"accept-encoding": accepted, "if-match": other}
            assert staged.get(target, fields).status == (200 if other == tag else 412)


@TARGETS
def test_parts_are_parts_of_what_the_tag_names(staged: Scenario, target: str) -> None:
    staged.get(target)
    coded = staged.get(target, ANY)
    plain = staged.get(target)
    for whole, fields in ((coded, ANY), (plain, {}), (plain, ANY)):
        etag = whole.get("etag") or ""
        part = staged.get(target, {**fields, "range": "bytes=10-19", "if-range": etag})
        assert part.status == 206
        assert part.body == whole.body[10:20]
        assert part.get("content-range") == f"bytes 10-19/{len(whole.body)}"
        assert part.get("content-encoding") == whole.get("content-encoding")
        assert part.get("etag") == etag
    other = {**ANY, "range": "bytes=10-19", "if-range": '"another"'}
    assert (staged.get(target, other).status, opened(staged.get(target, other))) == (200, BODY)
    unsaid = staged.get(target, {**ANY, "range": "bytes=10-19"})
    assert (unsaid.status, unsaid.body) == (206, BODY[10:20])


@TARGETS
def test_a_date_says_nothing_of_the_bytes_of_a_coded_page(staged: Scenario, target: str) -> None:
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    paging(staged, BODY, ("Last-Modified", date))
    staged.get(target)
    for fields in ({}, ANY):
        asked = {**fields, "range": "bytes=10-19", "if-range": date}
        answer = staged.get(target, asked)
        assert (answer.status, opened(answer)) == (200, BODY)
        # It says enough of its meaning.
        assert staged.get(target, {**fields, "if-modified-since": date}).status == 304
    plain = staged.get(target, {"range": "bytes=10-19"})
    assert (plain.status, plain.body) == (206, BODY[10:20])


@pytest.mark.parametrize("tag", [None, '"1"', 'W/"1"'], ids=["ours", "strong", "weak"])
def test_a_page_that_is_freshened_keeps_its_codings(
    scenario: MakeScenario, store: Store, tag: str | None
) -> None:
    stage = scenario(OPEN, store=store, max_delay=10)
    validators = [("ETag", tag)] if tag else []
    validators.append(("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"))
    paging(stage, BODY, *validators)
    before = stage.get("/page", ANY)
    assert before.get("content-encoding") == "br"
    asked: list[dict[str, str]] = []

    def handler(seen: Seen) -> Reply:
        asked.append(dict(seen.fields))
        return Reply(b"", 304, [FRESH, *validators])

    stage.handler = handler
    for _ in range(2):
        stage.clock.advance(61)
        known = before.get("etag") or ""
        same = stage.get("/page", {**ANY, "if-none-match": known})
        assert (same.status, same.get("etag")) == (304, known)
        for accepted in ("br", "gzip", ""):
            hit = stage.get("/page", {"accept-encoding": accepted})
            assert (hit.trace, hit.get("content-encoding")) == ("hit", accepted or None)
            assert opened(hit) == BODY
    # The application is asked by its own tag, never by one of ours.
    assert [fields.get("if-none-match") for fields in asked] == [tag, tag]


def test_a_304_that_forbids_coding_takes_the_codings_away(scenario: MakeScenario) -> None:
    stage = paging(scenario(OPEN), BODY, ("ETag", '"1"'))
    assert stage.get("/page", ANY).get("content-encoding") == "br"
    stage.clock.advance(61)
    control = ("Cache-Control", "max-age=60, no-transform")
    stage.handler = lambda seen: Reply(b"", 304, [control, ("ETag", '"1"')])
    for _ in range(2):
        answer = stage.get("/page", ANY)
        assert (answer.get("content-encoding"), answer.body) == (None, BODY)


def test_a_page_with_codings_is_forgotten_and_expires_as_any_other(
    staged: Scenario,
) -> None:
    for target in ("/page", "/keyed"):
        staged.get(target, ANY)
        staged.post(target)
        assert staged.get(target, ANY).trace == "stale, stored"
        staged.clock.advance(61)
        assert staged.get(target, ANY).trace == "stale, stored"


def test_a_page_that_stands_in_for_a_failure_is_coded(scenario: MakeScenario) -> None:
    rule = Rule(path="/page", share="public", ttl=60, sie=60, compress=["gzip"])
    stage = paging(scenario(rule))
    stage.get("/page")
    stage.clock.advance(61)
    stage.handler = lambda seen: Reply(b"down", 503)
    answer = stage.get("/page", ANY)
    assert (answer.trace, answer.get("content-encoding")) == ("stale hit", "gzip")
    assert opened(answer) == BODY


def test_all_who_waited_get_what_each_can_read(scenario: MakeScenario) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from tests.scenarios.test_collapse import Gate, until

    stage = scenario(KEYED)
    gate = stage.handler = Gate(lambda: Reply(BODY, fields=[HTML]))
    accepted = ("br", "gzip", "", "br")
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(stage.get, "/keyed", {"accept-encoding": one}) for one in accepted]
        until(lambda: stage.cache.statistics()["flights_waiting"] == 3)
        gate.open.set()
        answers = [future.result(PATIENCE) for future in asked]
    assert [answer.get("content-encoding") or "" for answer in answers] == list(accepted)
    assert [opened(answer) for answer in answers] == [BODY] * 4
    assert stage.renders == 1


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ([HTML], BODY[: MIN_CODED - 1]),
        ([("Content-Type", "image/png")], BODY),
        ([], BODY),
        ([HTML, ("Cache-Control", "no-transform, max-age=60")], BODY),
        ([HTML, ("Content-Encoding", "identity")], BODY),
        ([HTML], b"x" * (MAX_CODED + 1)),
    ],
    ids=["short", "image", "untyped", "no-transform", "opted out", "large"],
)
def test_what_is_not_worth_it_is_kept_as_it_is(
    scenario: MakeScenario, fields: Any, body: bytes
) -> None:
    rule = Rule(path="/page", share="public", ttl=60, compress=["gzip"], max_body="2MiB")
    stage = scenario(rule)
    stage.handler = lambda seen: Reply(body, fields=fields)
    for _ in range(2):
        answer = stage.get("/page", ANY)
        assert (answer.body, answer.get("content-encoding")) == (
            body,
            dict(fields).get("Content-Encoding"),
        )
    assert stage.renders == 1


def test_bytes_that_do_not_shrink_are_kept_once(scenario: MakeScenario) -> None:
    import random

    noise = random.Random(4).randbytes(4096)
    stage = scenario(KEYED)
    stage.handler = lambda seen: Reply(noise, fields=[HTML])
    stage.get("/keyed")
    hit = stage.get("/keyed", ANY)
    assert (hit.body, hit.get("content-encoding")) == (noise, None)


def test_a_page_that_the_application_coded_itself_is_kept_with_its_vary(
    scenario: MakeScenario, store: Store
) -> None:
    stage = scenario(OPEN, store=store, max_delay=10)

    def handler(seen: Seen) -> Reply:
        fields = [HTML, FRESH, ("Vary", "Accept-Encoding")]
        if "gzip" not in seen.fields.get("accept-encoding", ""):
            return Reply(BODY, fields=fields)
        return Reply(zlib.compress(BODY, wbits=31), fields=[*fields, ("Content-Encoding", "gzip")])

    stage.handler = handler
    for _ in range(2):
        for accepted, coding in (("gzip", "gzip"), ("GZIP;q=1.0", "gzip"), ("", None)):
            answer = stage.get("/page", {"accept-encoding": accepted})
            assert answer.get("content-encoding") == coding
            assert opened(answer) == BODY
            assert answer.get("vary") == "Accept-Encoding"
    assert stage.renders == 2


def test_a_page_that_varies_by_accept_encoding_and_is_not_coded_is_coded_here(
    scenario: MakeScenario,
) -> None:
    """Frameworks say so of pages that they found too short to be coded."""
    stage = paging(scenario(OPEN), BODY, ("Vary", "accept-encoding, Accept-Language"))
    for _ in range(2):
        answer = stage.get("/page", {**ANY, "accept-language": "de"})
        assert answer.get("content-encoding") == "br"
        assert (answer.get("vary") or "").lower() == "accept-encoding, accept-language"
        assert opened(answer) == BODY


def test_a_coder_that_fails_costs_its_coding_and_never_the_page(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(body: bytes) -> bytes:
        raise MemoryError("no room")

    coder = compressing._coder
    monkeypatch.setattr(compressing, "_coder", lambda name: fail if name == "br" else coder(name))
    stage = paging(scenario(KEYED))
    stage.get("/keyed")
    assert stage.get("/keyed", ANY).get("content-encoding") == "gzip"


def test_a_coding_that_nobody_offers_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="compress"):
        PageCache([Rule(path="/page", share="public", compress=["lzma"])])


@pytest.mark.parametrize("front", ["asgi"])
def test_a_long_page_is_coded_off_the_event_loop_which_goes_on_meanwhile(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = paging(scenario(KEYED), BODY * 8)
    assert stage._loop is not None
    loop = stage._loop.loop
    turns: list[str] = []

    def slow(body: bytes) -> bytes:
        turned = threading.Event()

        def turn() -> None:
            turns.append("turn")
            turned.set()

        loop.call_soon_threadsafe(turn)
        # On the loop itself this would never be.
        if turned.wait(2):
            turns.append("coded")
        return body[:10]

    monkeypatch.setattr(compressing, "_coder", lambda name: slow)
    assert len(BODY) * 8 > AT_ONCE

    async def both() -> tuple[Answer, Answer]:
        page = asyncio.ensure_future(call_asgi(stage.asgi, make_scope("GET", "/keyed")))
        other = await call_asgi(stage.asgi, make_scope("GET", "/elsewhere"))
        return await page, other

    page, other = stage._loop.run(both())
    assert (page.status, other.status) == (200, 200)
    assert turns == ["turn", "coded"] * 2


@pytest.mark.parametrize("front", ["asgi"])
def test_a_short_page_is_coded_at_once(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = paging(scenario(KEYED))
    threads: list[str] = []

    def note(body: bytes) -> bytes:
        threads.append(threading.current_thread().name)
        return body[:10]

    monkeypatch.setattr(compressing, "_coder", lambda name: note)
    assert len(BODY) <= AT_ONCE
    stage.get("/keyed")
    assert stage._loop is not None
    assert threads == [stage._loop._thread.name] * 2


def test_a_page_with_codings_may_take_as_much_room_as_its_rule_allows(
    scenario: MakeScenario,
) -> None:
    """``max_body`` bounds a page with all its codings: none is kept that has no room left."""
    length = len(BODY)
    for limit, expect in ((length, None), (length + 200, "br")):
        rule = Rule(path="/page", share="public", ttl=60, compress=["br"], max_body=limit)
        stage = paging(scenario(rule))
        stage.get("/page")
        hit = stage.get("/page", ANY)
        assert (hit.trace, hit.get("content-encoding")) == ("hit", expect)
