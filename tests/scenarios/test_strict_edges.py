"""Strict writes at their edges: event loops, cancelling, what may be named, what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from pagegen import PageCache
from pagegen.errors import ConfigError, InvalidationError, NamespaceError, WritingError
from pagegen.law import marks
from pagegen.sources import Sources
from pagegen.testing import FakeClock, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_hold_off import Recorder
from tests.scenarios.test_strict import BOTH, LENIENT, PAGE, up


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Recorder:
    return Recorder(clock)


@pytest.fixture
def cache(store: Recorder, clock: FakeClock) -> Iterator[PageCache]:
    yield PageCache([PAGE, LENIENT, BOTH], store=store, sources=Sources(now=clock))


def test_on_an_event_loop_it_is_the_same(cache: PageCache, store: Recorder) -> None:
    async def write() -> None:
        async with cache.awriting("page", "other") as block:
            assert block.names == ("other", "page")
            assert len(up(store)) == 2
        assert block.kept is True
        assert up(store) == []
        with pytest.raises(ZeroDivisionError):
            async with cache.awriting("page"):
                raise ZeroDivisionError
        assert up(store) == []

    asyncio.run(write())
    assert cache.statistics()["strict-write"] == 2


def test_who_finds_no_mark_on_an_event_loop_waits_without_blocking_it(
    cache: PageCache, store: Recorder
) -> None:
    async def write() -> None:
        held = [cache.awriting("page") for _ in range(marks.MARKS)]
        for block in held:
            await block.__aenter__()
        ran = asyncio.Event()

        async def fifth() -> None:
            async with cache.awriting("page", wait="20s"):
                ran.set()

        waiting = asyncio.create_task(fifth())
        with pytest.raises(WritingError):
            await cache.awriting("page", wait=0.02).__aenter__()
        assert not ran.is_set()
        await held.pop().__aexit__(None, None, None)
        await waiting
        for block in held:
            await block.__aexit__(None, None, None)

    asyncio.run(write())
    assert up(store) == []


def test_who_is_cancelled_at_the_end_has_forgotten_all_the_same(
    cache: PageCache, store: Recorder
) -> None:
    async def write() -> None:
        block = cache.awriting("page")
        await block.__aenter__()
        before = (await store.read(None, ["page"])).tokens
        ending = asyncio.create_task(block.__aexit__(None, None, None))
        await asyncio.sleep(0)  # it has begun
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        for _ in range(100):
            await asyncio.sleep(0)  # the end goes on by itself
        assert up(store) == []
        assert (await store.read(None, ["page"])).tokens != before

    asyncio.run(write())


def test_who_is_cancelled_at_the_beginning_leaves_no_mark(
    cache: PageCache, store: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has the mark already when its answer is waited for in vain."""
    add, there, go = store.add_tokens, asyncio.Event(), asyncio.Event()

    async def slow(tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        added = await add(tokens, ttl)
        there.set()
        await go.wait()
        return added

    monkeypatch.setattr(store, "add_tokens", slow)
    ran = False

    async def write() -> None:
        nonlocal ran
        async with cache.awriting("page"):
            ran = True

    async def leave() -> None:
        task = asyncio.create_task(write())
        await there.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(up(store)) == 1
        go.set()
        for _ in range(100):
            await asyncio.sleep(0)  # the beginning goes on by itself, and is taken back

    asyncio.run(leave())
    assert not ran
    assert up(store) == []


def test_an_end_on_an_event_loop_that_is_not_acknowledged_raises(
    cache: PageCache, store: Recorder
) -> None:
    async def write() -> None:
        async with cache.awriting("page"):
            store.failing_names = lambda name: name == "page"

    with pytest.raises(InvalidationError):
        asyncio.run(write())
    store.failing_names = lambda name: False
    cache.close()


def test_a_block_of_a_handler_is_settled_as_other_invalidations_are(
    scenario: MakeScenario, store: Recorder, clock: FakeClock
) -> None:
    stage = scenario(PAGE, store=store, clock=clock)
    row = ["old"]

    def handler(seen: Seen) -> str:
        if seen.method == "POST":
            with stage.cache.writing("page"):
                assert stage.get("/page").trace == "writing"
                row[0] = "new"
        return row[0]

    stage.handler = handler
    stage.get("/page")
    stage.post("/write")
    assert [stage.get("/page").text, stage.get("/page").trace] == ["new", "hit"]


@pytest.mark.parametrize("name", ["url:h/page", "", "pagegen:hard:x", "a\n"])
def test_what_cannot_be_written_strictly_is_refused_at_once(cache: PageCache, name: str) -> None:
    with pytest.raises(NamespaceError):
        cache.writing("page", name)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ({"term": 0.5}, "term = 0.5 is not between 1 and 3600 s"),
        ({"term": "2h"}, "term = '2h' is not between"),
        ({"term": "soon"}, "term: 'soon' is not a duration"),
        ({"wait": "2m"}, "wait = '2m' is not between 0 and 60 s"),
        ({"wait": -1}, "wait: -1"),
    ],
)
def test_a_time_that_cannot_be_is_refused_at_once(
    cache: PageCache, times: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        cache.writing("page", **times)


def test_no_names_are_nothing_to_do(cache: PageCache, store: Recorder) -> None:
    with cache.writing() as block:
        pass
    assert (store.verbs[1:], block.kept) == ([], None)


def test_a_block_is_entered_once(cache: PageCache) -> None:
    block = cache.writing("page")
    with block:
        pass
    with pytest.raises(RuntimeError, match="for each block"), block:
        pass


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"namespaces": []}, "needs namespaces"),
        ({"soft": True, "swr": 60}, "cannot go with soft"),
        ({"replica_lag": 2}, "cannot go with replica_lag"),
        ({"groups": True}, "cannot go with groups"),
        ({"mode": "http"}, "cannot go with groups"),
        ({"strict": "yes"}, "strict"),
    ],
)
def test_what_a_strict_rule_cannot_be_besides(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        replace(PAGE, **{"groups": None, "own_url": None, **more})
    assert caught.value.field == "strict"


def test_tokens_that_are_used_again_are_nothing_for_a_strict_rule(tmp_path: Any) -> None:
    settings = {"store": f"lmdb://{tmp_path}?size=8MiB", "near": "1MiB"}
    PageCache([PAGE], **settings).close()
    with pytest.raises(ConfigError, match="near_max_staleness"):
        PageCache([PAGE], near_max_staleness="1s", **settings)


def test_a_hit_of_a_strict_rule_asks_for_nothing_more(
    scenario: MakeScenario, store: Recorder, clock: FakeClock
) -> None:
    stage = scenario(PAGE, LENIENT, store=store, clock=clock)
    asked = {}
    for path in ("/page", "/lenient"):
        store.verbs.clear()
        stage.get(path)
        miss = [verb for verb, _ in store.verbs]
        store.verbs.clear()
        assert stage.get(path).trace == "hit"
        asked[path] = (miss, [verb for verb, _ in store.verbs])
    assert asked["/page"][1] == asked["/lenient"][1] == ["read"]
    reads = [asked[path][0].count("read") for path in ("/page", "/lenient")]
    assert reads[0] == reads[1] + 1


def test_the_marks_are_asked_for_behind_the_tokens(
    scenario: MakeScenario, store: Recorder, clock: FakeClock
) -> None:
    stage = scenario(PAGE, store=store, clock=clock)
    store.verbs.clear()
    stage.get("/page")
    names = [verb[1] for verb in store.verbs if verb[0] in ("read", "add")]
    mark = names.index(marks.marks(["page"]))
    assert all("page" in asked for asked in names[:mark])
    assert mark == 2  # tokens read, and minted


def test_the_order_of_a_write(cache: PageCache, store: Recorder) -> None:
    removes = store.remove_tokens

    async def remove(tokens: Mapping[str, bytes]) -> Collection[str]:
        store.verbs.append(("remove", tuple(tokens)))
        return await removes(tokens)

    store.remove_tokens = remove  # type: ignore[method-assign]
    store.verbs.clear()
    with cache.writing("page"):
        store.verbs.append(("commit", ()))
    mark = marks.mark(0, "page")
    assert store.verbs == [
        ("add", (mark,)),
        ("replace", ("page",)),
        ("commit", ()),
        ("replace", ("page",)),
        ("remove", (mark,)),
    ]
    assert up(store) == []


class Slow(Recorder):
    """Its clock goes on by so many seconds in each replacement; removing may fail."""

    takes = 0.0
    removes = True

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self.clock.advance(self.takes)
        await super().replace_tokens(tokens, ttl)

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        if not self.removes:
            raise OSError("no route to host")
        return await super().remove_tokens(tokens)


@pytest.mark.parametrize(
    ("block", "end", "removes", "kept"),
    [
        (5, 0, True, True),
        (11, 0, True, False),  # the block outlasted the term
        (5, 6, True, True),  # only the end did
        (5, 0, False, True),  # nobody knows, but it was in time
        (11, 0, False, False),
    ],
)
def test_a_block_was_strict_when_its_marks_were_up_to_its_end(
    clock: FakeClock, block: float, end: float, removes: bool, kept: bool
) -> None:
    store = Slow(clock)
    cache = PageCache([PAGE], store=store, sources=Sources(now=clock, monotonic=clock))
    with cache.writing("page", term=10) as strict:
        clock.advance(block)
        store.takes, store.removes = end, removes
    assert strict.kept is kept
    assert cache.statistics()["strict-write" if kept else "strict-lost"] == 1


def test_marks_that_the_store_lost_are_told(cache: PageCache, store: Recorder) -> None:
    with cache.writing("page") as block:
        store.restart()
    assert block.kept is False


def test_inspect_tells_what_is_being_written(cache: PageCache) -> None:
    with cache.writing("page"):
        assert cache.inspect("/page").writing == ("page",)
        assert cache.inspect("/both").writing == ("page",)
        assert cache.inspect("/lenient").writing == ()
    assert cache.inspect("/page").writing == ()


def test_a_name_without_a_strict_rule_is_doubted_once(
    store: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    cache = PageCache([replace(PAGE, strict=False)], store=store)
    for _ in range(2):
        with cache.writing("page"):
            pass
    assert caplog.text.count("no rule of this cache that says strict") == 1
    caplog.clear()
    for rules in ([PAGE], []):
        with PageCache(rules, store=store).writing("page"):
            pass
    assert "that says strict" not in caplog.text


def test_a_head_is_answered_while_somebody_writes(
    scenario: MakeScenario, store: Recorder, clock: FakeClock
) -> None:
    stage: Scenario = scenario(PAGE, store=store, clock=clock)
    stage.get("/page")
    with stage.cache.writing("page"):
        assert stage.request("HEAD", "/page").status == 200
        assert stage.get("/page", {"range": "bytes=0-1"}).status in (200, 206)
        assert stage.get("/page", {"cache-control": "only-if-cached"}).status == 504
        assert stage.get("/page", {"cache-control": "max-stale"}).trace == "writing"
