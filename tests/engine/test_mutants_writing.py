"""Blocks of strict writes: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pagegen import InvalidationError, writing
from pagegen.errors import NamespaceError, WritingError
from pagegen.law import marks
from pagegen.testing import FakeClock
from pagegen.verdicts import Stale
from pagegen.writing import (
    FIRST_PAUSE,
    GROWTH,
    LONGEST_PAUSE,
    LONGEST_TERM,
    LONGEST_WAIT,
    SHORTEST_TERM,
    AsyncWriting,
    Writing,
)
from tests.engine.driving import KEY, PAGE, SOFT, Hooked, Process, fail

STRICT = replace(PAGE, path="/strict", name="", strict=True)


@pytest.fixture
def process(clock: FakeClock, store: Hooked) -> Process:
    return Process(clock, store, STRICT, SOFT, **KEY)


def block(process: Process, *names: str, **more: Any) -> Writing:
    return Writing(
        process.engine, names or ["page"], **{"term": 10, "wait": 0, "soft": False, **more}
    )


def ablock(process: Process, *names: str, **more: Any) -> AsyncWriting:
    return AsyncWriting(
        process.engine, names or ["page"], **{"term": 10, "wait": 0, "soft": False, **more}
    )


def up(store: Hooked) -> list[str]:
    """The marks that somebody has put up."""
    return [name for name, _, _ in store._tokens.items() if name.startswith(marks.mark(0, "")[:-2])]


# Marks ----------------------------------------------------------------------------------------


def test_a_urls_namespace_cannot_be_written_and_it_is_said_what_can(process: Process) -> None:
    with pytest.raises(NamespaceError) as caught:
        block(process, "url:h/page")
    assert str(caught.value) == (
        "'url:h/page' is a URL's: pages are kept from being stored by the namespaces that their "
        "rule declares. Name one of these"
    )


@pytest.mark.parametrize("verb", ["add_tokens", "replace_tokens"])
def test_a_block_that_cannot_begin_says_why_and_leaves_no_mark(
    process: Process, store: Hooked, verb: str
) -> None:
    process.stores()  # has its token
    store.on[verb] = fail
    with pytest.raises(WritingError) as caught, block(process):
        pytest.fail("the block ran")
    assert caught.value.cause == "OSError: no route to host"
    assert up(store) == []


def test_who_is_killed_while_it_takes_marks_gives_back_those_that_it_has(
    process: Process, store: Hooked
) -> None:
    with block(process, "page"):
        store.asked.clear()

        def kill() -> None:
            if store.asked.count("add_tokens") == 2:
                raise KeyboardInterrupt

        store.on["add_tokens"] = kill
        with pytest.raises(KeyboardInterrupt), block(process, "page", "other"):
            pytest.fail("the block ran")
        assert up(store) == [marks.mark(0, "page")]


def test_marks_that_cannot_be_taken_down_are_the_stores_failure(
    process: Process, store: Hooked
) -> None:
    with block(process) as strict:
        store.on["remove_tokens"] = fail
    assert strict.kept is True
    assert process.count("store-failed") == 1


@pytest.mark.parametrize("soft", [True, False])
def test_a_block_forgets_at_both_ends_as_softly_as_it_was_told(
    process: Process, store: Hooked, soft: bool
) -> None:
    """Hard ones would leave nothing to readers, and soft ones a stale page to others."""
    process.stores()
    with block(process, soft=soft):
        assert isinstance(process.ask(), Stale) is soft
    assert isinstance(process.ask(), Stale) is soft


@pytest.mark.parametrize(
    ("took", "ends", "kept"),
    [(10, 0, False), (5, 5, True), (5, 4, True)],
    ids=["the block took its whole term", "its end began within it", "its end was within it"],
)
def test_a_mark_lapses_at_the_end_of_its_term(
    process: Process, store: Hooked, clock: FakeClock, took: float, ends: float, kept: bool
) -> None:
    with block(process) as strict:
        clock.advance(took)
        store.on["replace_tokens"] = lambda: clock.advance(ends)
    assert strict.kept is kept


async def begins(process: Process, **more: Any) -> None:
    await ablock(process, **more).__aenter__()


# Waiting for a mark ---------------------------------------------------------------------------


class Time:
    """A clock that sleeping moves, and who slept for how long."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        assert len(self.slept) < 100  # patience would never be over

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(writing, "time", made)
    return made


@pytest.fixture
def crowded(process: Process, time: Time) -> Iterator[None]:
    """Others have all marks of the namespace."""
    held = [block(process).__enter__() for _ in range(marks.MARKS)]
    time.slept.clear()
    yield
    for each in held:
        each.__exit__(None, None, None)


@pytest.mark.parametrize("drawn", [0.0, 0.5, 0.875])
@pytest.mark.parametrize("wait", [0, 0.75, 3])
def test_pauses_grow_up_to_the_longest_and_the_last_one_ends_with_patience(
    process: Process,
    time: Time,
    crowded: None,
    monkeypatch: pytest.MonkeyPatch,
    wait: float,
    drawn: float,
) -> None:
    monkeypatch.setattr(writing, "random", lambda: drawn)
    with pytest.raises(WritingError) as caught:
        block(process, wait=wait).__enter__()
    assert caught.value.cause == (
        f"others write there, and went on for longer than the {wait} s of wait"
    )
    first, *pauses = time.slept
    assert (first, sum(pauses)) == (0.0, pytest.approx(wait))
    for number, pause in enumerate(pauses, start=1):
        full = min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** (number - 1)) * (0.5 + drawn)
        assert pause == pytest.approx(full) or (number == len(pauses) and pause < full)
    time.slept.clear()
    monkeypatch.setattr(asyncio, "sleep", time.asleep)
    with pytest.raises(WritingError):
        asyncio.run(begins(process, wait=wait))
    assert time.slept == pytest.approx([first, *pauses])
    assert process.count("strict-busy") == 2


def test_the_longest_and_the_shortest_times_may_be_said(process: Process) -> None:
    for term in (SHORTEST_TERM, LONGEST_TERM):
        block(process, term=term)
    for wait in (0, LONGEST_WAIT):
        block(process, wait=wait)


def test_a_block_is_entered_once_and_says_what_to_do(process: Process) -> None:
    strict = block(process)
    with strict:
        pass
    with pytest.raises(RuntimeError) as caught:
        strict.__enter__()
    assert str(caught.value) == "it was entered before: call writing() for each block"


# Event loops ----------------------------------------------------------------------------------


class Gate:
    """A verb of the store that does its work and answers when it is let go."""

    def __init__(self, store: Hooked, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._act: Callable[..., Any] = getattr(store, verb)
        self.entered, self.open = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(store, verb, self)

    async def __call__(self, *given: Any) -> Any:
        try:
            return await self._act(*given)
        finally:
            self.entered.set()
            await self.open.wait()


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def settled() -> None:
    """What goes on by itself has ended."""
    for _ in range(100):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("unpaid")
def test_a_blocks_own_error_is_told_before_the_stores_on_a_loop_too(
    process: Process, store: Hooked, caplog: pytest.LogCaptureFixture
) -> None:
    async def write() -> None:
        async with ablock(process):
            store.on["replace_tokens"] = fail
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(write())
    assert "did not acknowledge the invalidation of page" in caplog.text


@pytest.mark.usefixtures("unpaid")
@pytest.mark.parametrize("fails", [False, True])
def test_an_end_that_nobody_waits_for_is_told_only_where_it_fails(
    process: Process,
    store: Hooked,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fails: bool,
) -> None:
    async def write() -> None:
        strict = await ablock(process).__aenter__()
        store.on |= {"replace_tokens": fail} if fails else {}
        gate = Gate(store, "replace_tokens", monkeypatch)
        task = asyncio.ensure_future(strict.__aexit__(None, None, None))
        await gate.entered.wait()
        await cancelled(task)
        gate.open.set()
        await settled()

    asyncio.run(write())
    told = [record.getMessage() for record in caplog.records]
    assert told == [str(InvalidationError(("page",), "OSError: no route to host", "page"))] * fails


@pytest.mark.parametrize("fails", [False, True])
def test_a_beginning_that_nobody_waits_for_is_taken_back_or_was_none(
    process: Process,
    store: Hooked,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fails: bool,
) -> None:
    """What takes it back is kept from the collector until it has done."""

    async def write() -> None:
        store.on |= {"add_tokens": fail} if fails else {}
        gate = Gate(store, "add_tokens", monkeypatch)
        task = asyncio.ensure_future(begins(process))
        await gate.entered.wait()
        await cancelled(task)
        taking_back = Gate(store, "remove_tokens", monkeypatch)
        gate.open.set()
        await settled()
        assert [future.done() for future in writing._giving_back] == [False] * (not fails)
        taking_back.open.set()
        await settled()
        assert not writing._giving_back

    asyncio.run(write())
    assert up(store) == []
    assert not caplog.records


@pytest.mark.usefixtures("unpaid")
@pytest.mark.parametrize("ends", [False, True], ids=["its beginning", "its end"])
def test_what_ends_with_its_loop_breaks_nothing(
    process: Process,
    store: Hooked,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ends: bool,
) -> None:
    """All tasks of a loop are cancelled when it is closed, also those that go on by themselves."""

    async def write() -> None:
        strict = ablock(process)
        if ends:
            await strict.__aenter__()
        gate = Gate(store, "replace_tokens", monkeypatch)
        act: Any = strict.__aexit__(None, None, None) if ends else strict.__aenter__()
        task = asyncio.ensure_future(act)
        await gate.entered.wait()
        await cancelled(task)

    asyncio.run(write())
    assert not caplog.records
