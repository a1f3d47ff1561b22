"""Strict writes: from the commit on nobody who asks gets the old row from a strict rule's page."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from threading import Event

import pytest

from pagegen import PageCache, Rule
from pagegen.errors import InvalidationError, WritingError
from pagegen.law import marks
from pagegen.sources import Sources
from pagegen.testing import PATIENCE, FakeClock, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate, crowd, until, waiting
from tests.scenarios.test_hold_off import Recorder

PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl="1h", early=False, strict=True)
LENIENT = replace(PAGE, path="/lenient", name="", strict=False)
BOTH = Rule(
    path="/both", share="public", namespaces=["page", "other"], ttl="1h", early=False, strict=True
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Recorder:
    return Recorder(clock)


class Rows:
    """A database of one row, and the handler that shows it."""

    def __init__(self) -> None:
        self.row = "old"

    def __call__(self, seen: Seen) -> str:
        return self.row


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def stage(scenario: MakeScenario, store: Recorder, clock: FakeClock, rows: Rows) -> Scenario:
    """Two pages of one namespace, a strict and a lenient one, both stored with the old row."""
    made = scenario(PAGE, LENIENT, BOTH, store=store, clock=clock)
    made.handler = rows
    for path in ("/page", "/lenient"):
        assert made.get(path).trace == "uri-miss, stored"
        assert made.get(path).trace == "hit"
    store.verbs.clear()
    return made


@pytest.fixture
def other(store: Recorder, clock: FakeClock) -> Iterator[PageCache]:
    """A writer in another process."""
    yield PageCache([PAGE, BOTH], store=store, sources=Sources(now=clock))


def test_between_commit_and_invalidation_nobody_gets_the_old_row(
    stage: Scenario, other: PageCache, rows: Rows
) -> None:
    with other.writing("page") as block:
        rows.row = "new"
        for _ in range(2):
            answer = stage.get("/page")
            assert (answer.text, answer.trace) == ("new", "writing")
            assert answer.get("cache-status") == "pagegen; fwd=stale; detail=writing"
        assert block.kept is None
    assert block.kept is True
    assert stage.get("/page").text == "new"
    assert stage.get("/page").trace == "hit"
    assert stage.cache.statistics()["being-written"] == 2
    assert other.statistics()["strict-write"] == 1


def test_a_page_that_is_rendered_before_the_commit_is_not_stored(
    stage: Scenario, other: PageCache, rows: Rows
) -> None:
    with other.writing("page"):
        assert stage.get("/page").text == stage.get("/lenient").text == "old"
        rows.row = "new"
        assert stage.get("/page").text == "new"
        assert stage.get("/lenient").text == "old"  # what strict is for
    assert stage.get("/lenient").text == "new"


def test_a_rendering_from_before_the_block_is_neither_stored_nor_waited_for(
    stage: Scenario, other: PageCache, rows: Rows, store: Recorder
) -> None:
    read, go_on = Event(), Event()
    other.invalidate("page")

    def slow(seen: Seen) -> str:
        row = rows.row
        if not read.is_set():
            read.set()
            assert go_on.wait(PATIENCE)
        return row

    stage.handler = slow
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(stage.get, "/page")
        assert read.wait(PATIENCE)
        with other.writing("page"):
            rows.row = "new"
            assert stage.get("/page").text == "new"
            go_on.set()
            assert late.result(PATIENCE).text == "old"  # who came before the commit
            assert stage.get("/page").text == "new"
    assert stage.get("/page").text == "new"


def test_the_end_of_one_writer_does_not_unprotect_another(
    stage: Scenario, other: PageCache, rows: Rows
) -> None:
    first, second = stage.cache.writing("page"), other.writing("page")
    with ExitStack() as ends:
        first.__enter__()
        ends.enter_context(second)
        first.__exit__(None, None, None)
        assert stage.get("/page").text == "old"  # nobody has committed yet
        rows.row = "new"
        assert stage.get("/page").text == "new"
        assert stage.get("/page").trace != "hit"
    assert (first.kept, second.kept) == (True, True)
    assert [stage.get("/page").text for _ in range(2)] == ["new", "new"]
    assert stage.get("/page").trace == "hit"


def test_a_writer_that_dies_leaves_nothing_old_and_its_mark_lapses(
    stage: Scenario, other: PageCache, rows: Rows, clock: FakeClock
) -> None:
    other.writing("page", term=30).__enter__()
    assert stage.get("/page").text == "old"
    rows.row = "new"  # its last deed
    clock.advance(29)
    assert [stage.get("/page").text, stage.get("/page").trace] == ["new", "writing"]
    clock.advance(2)
    assert stage.get("/page").text == "new"
    assert stage.get("/page").trace == "hit"


def test_a_block_that_outlasts_its_term_is_told(
    stage: Scenario,
    other: PageCache,
    rows: Rows,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with other.writing("page", term="10s") as block:
        clock.advance(11)
        assert stage.get("/page").text == "old"
        assert stage.get("/page").trace == "hit"
        rows.row = "new"
        assert stage.get("/page").text == "old"  # strictness was not kept
    assert block.kept is False
    assert stage.get("/page").text == "new"  # but no old page stays
    assert other.statistics()["strict-lost"] == 1
    assert "raise term" in caplog.text


def test_who_lost_its_mark_does_not_take_down_the_next_writers(
    stage: Scenario, other: PageCache, clock: FakeClock
) -> None:
    late = other.writing("page", term=10)
    late.__enter__()
    clock.advance(11)
    with stage.cache.writing("page"):
        late.__exit__(None, None, None)
        assert [stage.get("/page").trace for _ in range(2)] == ["writing", "writing"]
    assert late.kept is False


def test_a_block_that_raises_forgets_and_takes_its_marks_down(
    stage: Scenario, other: PageCache, rows: Rows
) -> None:
    with pytest.raises(ZeroDivisionError), other.writing("page"):
        rows.row = "new"  # nobody knows what was committed
        raise ZeroDivisionError
    assert stage.get("/page").text == "new"
    assert stage.get("/page").trace == "hit"


def test_a_block_whose_marks_are_not_acknowledged_does_not_run(
    stage: Scenario, other: PageCache, store: Recorder
) -> None:
    for failing in ("pagegen:writing:0:page", "page"):
        store.failing_names = lambda name, failing=failing: name == failing  # type: ignore[misc]
        with pytest.raises(WritingError, match="did not begin") as caught, other.writing("page"):
            pytest.fail("the block ran")
        assert caught.value.namespaces == ("page",)
    store.failing_names = lambda name: False
    assert other.statistics()["owed"] == 0
    assert up(store) == []


def test_an_end_that_is_not_acknowledged_raises_and_leaves_its_marks(
    stage: Scenario, other: PageCache, store: Recorder, rows: Rows, clock: FakeClock
) -> None:
    with pytest.raises(InvalidationError), other.writing("page", term=30) as block:
        rows.row = "new"
        store.failing_names = lambda name: name == "page"
    assert block.kept is None
    store.failing_names = lambda name: False
    assert [stage.get("/page").text, stage.get("/page").trace] == ["new", "writing"]
    other.close()  # pays
    clock.advance(31)
    assert [stage.get("/page").text, stage.get("/page").trace] == ["new", "hit"]


def test_what_a_block_raises_is_told_before_what_the_store_does(
    other: PageCache, store: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError), other.writing("page"):
        store.failing_names = lambda name: name == "page"
        raise ZeroDivisionError
    assert "did not acknowledge the invalidation of page" in caplog.text
    store.failing_names = lambda name: False
    other.close()


def test_a_fifth_writer_waits_for_a_free_mark(other: PageCache, stage: Scenario) -> None:
    with ExitStack() as ends, ThreadPoolExecutor(1) as pool:
        first = other.writing("page")
        first.__enter__()
        for _ in range(marks.MARKS - 1):
            ends.enter_context(other.writing("page"))  # nested: each takes a mark of its own
        ran = Event()

        def write() -> None:
            with stage.cache.writing("other", "page", wait="20s"):
                ran.set()

        fifth = pool.submit(write)
        assert not ran.wait(0.05)
        first.__exit__(None, None, None)
        fifth.result(PATIENCE)
        assert ran.is_set()


def test_who_finds_no_free_mark_in_time_gives_back_what_it_had(
    other: PageCache, stage: Scenario, store: Recorder
) -> None:
    with ExitStack() as ends:
        for _ in range(marks.MARKS):
            ends.enter_context(other.writing("page"))
        with (
            pytest.raises(WritingError, match="others write there"),
            stage.cache.writing("other", "page", wait=0),
        ):
            pytest.fail("the block ran")
        assert [marks.namespace(name) for name in up(store)] == ["page"] * marks.MARKS
    assert up(store) == []
    assert stage.cache.statistics()["strict-busy"] == 1


def up(store: Recorder) -> list[str]:
    return [name for name, _, _ in store._tokens.items() if name.startswith("pagegen:writing:")]


def test_while_somebody_writes_visitors_take_turns(
    stage: Scenario, other: PageCache, rows: Rows
) -> None:
    gate = stage.handler = Gate(lambda: rows.row)
    before = stage.renders
    with other.writing("page"), ThreadPoolExecutor(12) as pool:
        first = pool.submit(stage.get, "/page")
        assert gate.entered.wait(PATIENCE)
        rest = crowd(stage, pool, 11)
        until(lambda: waiting(stage) == 11)
        gate.open.set()
        assert {answer.result(PATIENCE).text for answer in (first, *rest)} == {"old"}
    assert stage.renders - before == 2
