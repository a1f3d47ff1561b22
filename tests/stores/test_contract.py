"""The contract: sound stores keep every promise, and each promise is broken by some store.

`Plain` is a sound store of one process: handles on one `World`. Each class below it does one thing
wrong, and names the promises that have to notice.
"""

# ruff: noqa: ASYNC251 - stores may block: these do it where another thread shall come between

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from unittest import SkipTest

import pytest

from pagegen.messages import StoredResponse
from pagegen.stepping import SuspendedError, step
from pagegen.stores import MemoryStore, Reading, Store
from pagegen.stores.base import Capabilities, Glimpse
from pagegen.testing import FakeClock, StoreContract

ALONE = Capabilities(
    blocking_reads=False,
    blocking_writes=False,
    shared=False,
    compare_and_set=True,
    leases=True,
)


@dataclass
class World:
    """Pages, tokens and leases, each with its expiry, and what the handles share besides."""

    pages: dict[Any, Any] = field(default_factory=dict)
    tokens: dict[Any, Any] = field(default_factory=dict)
    leases: dict[Any, Any] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    lock: threading.RLock = field(default_factory=threading.RLock)
    late: deque[tuple[Mapping[str, bytes], float]] = field(default_factory=deque)
    closed: bool = False

    def get(self, kind: dict[Any, Any], key: object) -> Any:
        value, expires = kind.get(key, (None, 0.0))
        return value if self.clock() < expires else None

    def put(self, kind: dict[Any, Any], key: object, value: object, ttl: float) -> None:
        kind[key] = value, self.clock() + ttl


class Plain:
    capabilities = ALONE

    def __init__(self, world: World) -> None:
        self.world = world

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        page = None if slot is None else self.page(slot)
        return Reading(page, tuple(self.token(name) for name in namespaces))

    def page(self, slot: bytes) -> StoredResponse | None:
        return self.world.get(self.world.pages, slot)

    def token(self, name: str) -> bytes | None:
        return self.world.get(self.world.tokens, name)

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        with self.world.lock:
            for name, token in tokens.items():
                if self.token(name) is None:
                    self.put_token(name, token, ttl)
            return {name: self.token(name) or b"" for name in tokens}

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        for name, token in tokens.items():
            self.put_token(name, token, ttl)

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        with self.world.lock:
            there = [name for name, token in tokens.items() if self.token(name) == token]
            for name in there:
                del self.world.tokens[name]
            return there

    def put_token(self, name: str, token: bytes, ttl: float) -> None:
        self.world.put(self.world.tokens, name, token, ttl)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        self.world.put(self.world.pages, slot, page, ttl)
        return True

    async def delete_page(self, slot: bytes) -> None:
        self.world.pages.pop(slot, None)

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        with self.world.lock:
            if self.world.get(self.world.leases, slot) is not None:
                return False
            self.world.put(self.world.leases, slot, owner, term)
            return True

    async def release(self, slot: bytes, owner: bytes) -> None:
        with self.world.lock:
            if self.world.get(self.world.leases, slot) == owner:
                del self.world.leases[slot]

    def statistics(self) -> Mapping[str, int]:
        return {"pages": len(self.world.pages)}

    def close(self) -> None:
        pass


class PlainContract(StoreContract):
    kind: ClassVar[type[Plain]] = Plain
    world: World | None = None

    def open(self) -> Store:
        self.world = self.world or World()
        return self.kind(self.world)

    def advance(self, seconds: float) -> None:
        assert self.world is not None
        self.world.clock.advance(seconds)


class TestPlain(PlainContract):
    pass


class TestPlainOnALoop(PlainContract):
    on_loop = True


class Blocking(Plain):
    capabilities = replace(ALONE, blocking_reads=True, blocking_writes=True)


class TestPlainInThreads(PlainContract):
    kind = Blocking
    on_loop = True


class TestMemory(StoreContract):
    flood = 1_000
    store: MemoryStore | None = None

    def open(self) -> Store:
        if self.store is None:
            self.clock = FakeClock()
            self.store = MemoryStore("8MiB", now=self.clock)
        return self.store

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestMemoryOnALoop(TestMemory):
    on_loop = True


class TestMemoryInRealTime(StoreContract):
    short_ttl = 0.2
    store: MemoryStore | None = None

    def open(self) -> Store:
        self.store = self.store or MemoryStore("8MiB")
        return self.store


# Stores that break one promise ----------------------------------------------------------------

BROKEN: list[tuple[type[Plain], str, type[Exception]]] = []


def breaks(
    *promises: str, how: type[Exception] = AssertionError
) -> Callable[[type[Plain]], type[Plain]]:
    def enter(kind: type[Plain]) -> type[Plain]:
        BROKEN.extend((kind, f"test_{promise}", how) for promise in promises)
        return kind

    return enter


@breaks("a_token_is_read_as_it_was_added", "many_names_are_read_at_once")
class AnswersInItsOwnOrder(Plain):
    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        return await super().read(
            slot, sorted(namespaces, key=lambda name: name.rpartition("/")[2])
        )


@breaks("a_name_asked_for_twice_is_answered_twice")
class AnswersOnce(Plain):
    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        return await super().read(slot, tuple(dict.fromkeys(namespaces)))


@breaks("many_names_are_read_at_once", "many_names_are_replaced_at_once_and_no_others")
class KnowsThirtyTwoNames(Plain):
    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        page, tokens = await super().read(slot, namespaces)
        return Reading(page, (*tokens[:32], *[None] * (len(tokens) - 32)))


@breaks("add_keeps_what_is_there", "of_many_that_add_at_once_one_wins_and_all_get_its_token")
class AddsOverWhatIsThere(Plain):
    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        await self.replace_tokens(tokens, ttl)
        return tokens


@breaks("nothing_to_add_or_to_replace_is_no_error", how=ValueError)
class CannotDoNothing(Plain):
    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        min(tokens)
        return await super().add_tokens(tokens, ttl)


@breaks("of_many_that_add_at_once_one_wins_and_all_get_its_token", "add_keeps_what_is_there")
class SaysYesToAllWhoAdd(Plain):
    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        await super().add_tokens(tokens, ttl)
        return tokens


@breaks("of_many_that_add_at_once_one_wins_and_all_get_its_token")
class LooksBeforeItAdds(Plain):
    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        missing = {name: token for name, token in tokens.items() if self.token(name) is None}
        time.sleep(0.001)
        await self.replace_tokens(missing, ttl)
        return {name: self.token(name) or b"" for name in tokens}


@breaks("only_what_is_there_is_removed")
class RemovesByName(Plain):
    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        return [name for name in tokens if self.world.tokens.pop(name, None)]


@breaks("what_is_removed_is_gone_for_everybody_and_can_be_added_anew")
class OnlySaysThatItRemoves(Plain):
    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        return [name for name, token in tokens.items() if self.token(name) == token]


@breaks("of_many_that_remove_at_once_one_does")
class LooksBeforeItRemoves(Plain):
    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        there = [name for name, token in tokens.items() if self.token(name) == token]
        time.sleep(0.001)
        for name in there:
            self.world.tokens.pop(name, None)
        return there


@breaks(
    "a_replaced_token_is_gone_for_everybody_at_once",
    "no_reader_sees_an_earlier_token_while_others_are_written",
    "no_page_is_served_after_its_invalidation_has_returned",
    "of_two_that_replace_at_once_one_wins_for_everybody",
)
class RemembersWhatItHasRead(Plain):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.known: dict[str, bytes] = {}

    def token(self, name: str) -> bytes | None:
        token = self.known.get(name) or super().token(name)
        if token is not None:
            self.known[name] = token
        return token

    def put_token(self, name: str, token: bytes, ttl: float) -> None:
        super().put_token(name, token, ttl)
        self.known[name] = token


@breaks(
    "a_replaced_token_is_gone_for_everybody_at_once",
    "no_reader_sees_an_earlier_token_while_others_are_written",
)
class AcknowledgesBeforeItActs(Plain):
    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self.world.late.append((tokens, ttl))

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        found = await super().read(slot, namespaces)
        while self.world.late:
            await super().replace_tokens(*self.world.late.popleft())
        return found


@breaks("no_reader_sees_an_earlier_token_while_others_are_written")
class BringsAnOldTokenBack(Plain):
    """Between the new token and the answer the old one is there again for a moment."""

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        before = {name: self.token(name) for name in tokens}
        for version in (tokens, before, tokens):
            await super().replace_tokens({k: v for k, v in version.items() if v}, ttl)
            time.sleep(0.001)


@breaks("many_names_are_replaced_at_once_and_no_others")
class ReplacesBySweeping(Plain):
    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self.world.tokens.clear()
        await super().replace_tokens(tokens, ttl)


@breaks("reading_creates_no_token")
class CreatesWhatItReads(Plain):
    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        for name in namespaces:
            self.world.tokens.setdefault(name, (b"made by read", float("inf")))
        return await super().read(slot, namespaces)


@breaks("an_expired_token_does_not_come_back")
class Counts(Plain):
    """Its tokens are a counter, which an expired entry takes with it."""

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        return await super().add_tokens(dict.fromkeys(tokens, b"1"), ttl)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        await super().replace_tokens({n: (self.token(n) or b"") + b"+" for n in tokens}, ttl)


@breaks("an_expired_token_does_not_come_back")
class UncoversTheTokenBefore(Plain):
    def put_token(self, name: str, token: bytes, ttl: float) -> None:
        below = self.token(name)
        super().put_token(name, token, ttl)
        if below is not None:
            self.world.put(self.world.tokens, f"below {name}", below, 10**6)

    def token(self, name: str) -> bytes | None:
        return super().token(name) or super().token(f"below {name}")


@breaks("an_expired_token_does_not_come_back", "an_expired_page_is_gone")
class KeepsFractionsForEver(Plain):
    """A ttl in whole seconds of which 0 is no expiry, as memcached counts them."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.world.put = lambda kind, key, value, ttl: kind.update(  # type: ignore[method-assign]
            {key: (value, self.world.clock() + (int(ttl) or 10**9))}
        )


@breaks("an_expired_token_does_not_come_back", "an_expired_page_is_gone")
class LivesByBeingRead(Plain):
    def page(self, slot: bytes) -> StoredResponse | None:
        page = super().page(slot)
        if page is not None:
            self.world.put(self.world.pages, slot, page, 60)
        return page

    def token(self, name: str) -> bytes | None:
        token = super().token(name)
        if token is not None:
            self.world.put(self.world.tokens, name, token, 60)
        return token


@breaks("a_token_lives_through_any_long_ttl", "a_page_lives_through_any_long_ttl")
class TakesLongTtlsForDates(Plain):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.world.put = lambda kind, key, value, ttl: kind.update(  # type: ignore[method-assign]
            {key: (value, self.world.clock() + ttl if ttl <= 30 * 86_400 else ttl)}
        )


@breaks("names_that_look_alike_are_apart")
class CutsNames(Plain):
    def token(self, name: str) -> bytes | None:
        return super().token(name[:250])

    def put_token(self, name: str, token: bytes, ttl: float) -> None:
        super().put_token(name[:250], token, ttl)


@breaks("page_and_tokens_come_in_one_read")
class ReadsOneOrTheOther(Plain):
    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        found = await super().read(slot, namespaces)
        return found if found.page is None else Reading(found.page, (None,) * len(namespaces))


@breaks("page_and_tokens_come_in_one_read")
class GlancesAtPagesAlone(Plain):
    def glance(self, slot: bytes | None, namespaces: Sequence[str]) -> Glimpse | None:
        page = step(self.read(slot, ())).page
        return None if page is None else (page, (None,) * len(namespaces))


@breaks("every_page_comes_back_as_it_was")
class TakesNothingForNone(Plain):
    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        page.etag, page.last_modified = page.etag or None, page.last_modified or None
        plain = StoredResponse(*[getattr(page, name) for name in page.__dataclass_fields__])
        page.etag, page.last_modified = page.etag or "", page.last_modified or 0.0
        return await super().write_page(slot, plain, ttl)


@breaks("a_body_of_any_length_comes_back_whole", "a_page_takes_the_place_of_the_one_before")
class CutsBodies(Plain):
    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        return await super().write_page(slot, _with_body(page, page.body[:65_536]), ttl)


@breaks("a_page_takes_the_place_of_the_one_before")
class KeepsTheFirstPage(Plain):
    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        return self.page(slot) is not None or await super().write_page(slot, page, ttl)


@breaks("slots_that_look_alike_are_apart")
class StripsSlots(Plain):
    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        return await super().read(slot and slot.rstrip(b"\r\n \0"), namespaces)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        return await super().write_page(slot.rstrip(b"\r\n \0"), page, ttl)


@breaks("a_deleted_page_is_gone_and_nothing_else")
class DeletesNothing(Plain):
    async def delete_page(self, slot: bytes) -> None:
        pass


@breaks("a_deleted_page_is_gone_and_nothing_else", how=KeyError)
class DeletesOnlyWhatIsThere(Plain):
    async def delete_page(self, slot: bytes) -> None:
        del self.world.pages[slot]


@breaks("pages_never_touch_tokens")
class HasOneBudgetForAll(Plain):
    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        if len(self.world.pages) + len(self.world.tokens) >= 70:
            self.world.tokens.pop(next(iter(self.world.tokens), None), None)
        return await super().write_page(slot, page, ttl)


@breaks("reading_changes_nothing", "every_page_comes_back_as_it_was")
class GivesAPageOnce(Plain):
    def page(self, slot: bytes) -> StoredResponse | None:
        page = super().page(slot)
        self.world.pages.pop(slot, None)
        return page


@breaks("a_page_is_seen_whole_or_not_at_all")
class WritesInTwoSteps(Plain):
    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        before = self.page(slot)
        if before is not None:
            await super().write_page(slot, _with_body(before, page.body), ttl)
            time.sleep(0.001)
        return await super().write_page(slot, page, ttl)


@breaks("a_lease_has_one_holder", "of_many_that_ask_at_once_one_gets_it")
class LendsToEverybody(Plain):
    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        return True


@breaks("of_many_that_ask_at_once_one_gets_it")
class LooksBeforeItLends(Plain):
    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        free = self.world.get(self.world.leases, slot) is None
        time.sleep(0.001)
        return free and await super().acquire(slot, owner, term) is not None


@breaks("a_lease_given_back_can_be_taken_at_once", "only_its_holder_gives_a_lease_back")
class TakesNothingBack(Plain):
    async def release(self, slot: bytes, owner: bytes) -> None:
        pass


@breaks("only_its_holder_gives_a_lease_back", "a_lease_lapses_after_its_term")
class TakesBackFromAnybody(Plain):
    async def release(self, slot: bytes, owner: bytes) -> None:
        self.world.leases.pop(slot, None)


@breaks("a_lease_lapses_after_its_term")
class LendsForEver(Plain):
    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        return await super().acquire(slot, owner, float("inf"))


@breaks("a_lease_is_neither_page_nor_token")
class KeepsLeasesWithPages(Plain):
    async def delete_page(self, slot: bytes) -> None:
        await super().delete_page(slot)
        self.world.leases.pop(slot, None)


@breaks("capabilities_agree_with_the_verbs")
class LendsWithoutComparing(Plain):
    capabilities = replace(ALONE, compare_and_set=False)


@breaks("no_verb_suspends", "a_token_is_read_as_it_was_added", how=SuspendedError)
class Suspends(Plain):
    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        await asyncio.sleep(0)
        return await super().read(slot, namespaces)


@breaks("each_of_many_threads_gets_its_own_answers")
class MixesUpThreads(Plain):
    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.answer = await super().read(slot, namespaces)
        time.sleep(0.001)
        return self.answer


@breaks("statistics_are_numbers_by_name_at_any_time")
class MeasuresInFractions(Plain):
    def statistics(self) -> Mapping[str, int]:
        return {"hit_ratio": 0.5}  # type: ignore[dict-item]


@breaks("closing_twice_is_no_error_and_closes_nobody_else")
class ClosesForEverybody(Plain):
    def close(self) -> None:
        self.world.closed = True

    def token(self, name: str) -> bytes | None:
        return None if self.world.closed else super().token(name)


@breaks("closing_twice_is_no_error_and_closes_nobody_else", how=TypeError)
class ClosesOnce(Plain):
    def close(self) -> None:
        self.close = None  # type: ignore[assignment,method-assign]


@breaks("both_sides_of_a_fork_go_on")
class SaysThatItIsShared(Plain):
    capabilities = replace(ALONE, shared=True)


@breaks("both_faces_are_one_store")
class HasATwinElsewhere(Plain):
    def on_loop(self) -> Store:
        return Plain(World(clock=self.world.clock))


@breaks("each_of_many_tasks_gets_its_own_answers")
class MixesUpTasks(Plain):
    def on_loop(self) -> Store:
        return _OneAnswer(self.world)


class _OneAnswer(Plain):
    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.answer = await super().read(slot, namespaces)
        await asyncio.sleep(0)
        return self.answer


@breaks("a_cancelled_call_answers_nobody_else")
class ShiftsItsReplies(Plain):
    """Replies come in order, and a cancelled call leaves its own to the next one."""

    def on_loop(self) -> Store:
        return _Shifting(self.world)


class _Shifting(Plain):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.replies: list[Reading] = []

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.replies.append(await super().read(slot, namespaces))
        await asyncio.sleep(0)
        return self.replies.pop(0)


@breaks("one_twin_serves_several_loops", how=RuntimeError)
class BelongsToOneLoop(Plain):
    def on_loop(self) -> Store:
        return _Bound(self.world)


class _Bound(Plain):
    loop: asyncio.AbstractEventLoop | None = None

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.loop = self.loop or asyncio.get_running_loop()
        future = self.loop.create_future()
        self.loop.call_soon(future.set_result, await super().read(slot, namespaces))
        found: Reading = await future
        return found


@breaks("close_ends_what_runs_on_a_loop")
class LeavesATask(Plain):
    def on_loop(self) -> Store:
        return _Busy(self.world)


class _Busy(Plain):
    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.task = asyncio.ensure_future(asyncio.Event().wait())
        return await super().read(slot, namespaces)


def _with_body(page: StoredResponse, body: bytes) -> StoredResponse:
    values = {name: getattr(page, name) for name in page.__dataclass_fields__}
    return StoredResponse(**{**values, "body": body})


@contextmanager
def _contract(of: type[Plain]) -> Iterator[StoreContract]:
    suite = type("Broken", (PlainContract,), {"kind": of})()
    try:
        yield suite
    finally:
        suite.teardown_method()


@pytest.mark.parametrize(
    ("kind", "promise", "how"),
    [pytest.param(*row, id=f"{row[0].__name__}-{row[1]}") for row in BROKEN],
)
def test_a_store_that_breaks_a_promise_is_caught(
    kind: type[Plain], promise: str, how: type[Exception]
) -> None:
    with _contract(kind) as suite, pytest.raises(how):
        getattr(suite, promise)()


def test_every_promise_is_broken_by_some_store() -> None:
    promises = {name for name in dir(StoreContract) if name.startswith("test_")}
    assert promises == {promise for _, promise, _ in BROKEN}


def test_a_store_without_leases_is_not_asked_for_any() -> None:
    class LendsNothing(Plain):
        capabilities = replace(ALONE, leases=False)

    with _contract(LendsNothing) as suite, pytest.raises(SkipTest):
        suite.test_a_lease_has_one_holder()


def test_a_store_that_cannot_be_opened_says_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="how its store is opened"):
        StoreContract().test_reading_creates_no_token()
