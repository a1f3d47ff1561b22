"""What the promises stand on: handles of the store under test, crowds of threads, plain words.

A promise that is broken raises ``AssertionError`` with the sentence that was broken. The suite
tests promises, not speed: a verb that raises ``StoreError`` is asked again for a while, as far as
asking twice is the same as asking once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from itertools import count
from secrets import token_bytes, token_hex
from threading import Barrier, Thread
from typing import Any, ClassVar, Final, TypeVar, cast

from ...errors import StoreError
from ...messages import StoredResponse
from ...stepping import step
from ...stores.base import Leases, Reading, Store, glance_of
from ...stores.threads import for_loop
from ..loop import PATIENCE, Loop

T = TypeVar("T")

#: Seconds for which a verb that raises is asked again, and the pause between.
AGAIN_FOR: Final = 5.0
AGAIN_AFTER: Final = 0.05
#: Seconds for which a promise may be late that a real clock has to bring about.
LATE: Final = 10.0
#: Seconds of all that shall not expire while a test runs.
LONG: Final = 3600.0


def holds(fact: object, promise: str) -> None:
    """The promise is kept; raises ``AssertionError`` otherwise."""
    __tracebackhide__ = True
    if not fact:
        raise AssertionError(promise)


def same(found: object, wanted: object, promise: str) -> None:
    """Both are equal; raises ``AssertionError`` with both otherwise."""
    __tracebackhide__ = True
    if found != wanted:
        raise AssertionError(f"{promise}\n  found  {found!r:.500}\n  wanted {wanted!r:.500}")


def mint() -> bytes:
    """A new token, or a new owner of a lease."""
    return token_bytes(16)


def together(*works: Callable[[], T]) -> list[T]:
    """What all works return, each begun in a thread of its own at the same moment.

    Raises what the first of them raised, and ``AssertionError`` when one does not come back.
    """
    start = Barrier(len(works))
    results: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            start.wait(PATIENCE)
            results[number] = works[number]()
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=run, args=(n,), daemon=True) for n in range(len(works))]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 2 * PATIENCE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if errors:
        raise errors[0]
    holds(len(results) == len(works), "a verb came to no end")
    return [results[number] for number in range(len(works))]


def patiently(ask: Callable[[], T]) -> T:
    """What is asked for, asked again for a while when it raises ``StoreError``."""
    until = time.monotonic() + AGAIN_FOR
    while True:
        try:
            return ask()
        except StoreError:
            if time.monotonic() >= until:
                raise
            time.sleep(AGAIN_AFTER)


async def again(verb: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What a verb returns on an event loop, asked again likewise."""
    until = time.monotonic() + AGAIN_FOR
    while True:
        try:
            return await verb()
        except StoreError:
            if time.monotonic() >= until:
                raise
            await asyncio.sleep(AGAIN_AFTER)


class Handle:
    """One opened store, its verbs called as plain functions. Safe in many threads at once."""

    def __init__(self, store: Store, loop: Loop, *, on_loop: bool) -> None:
        self.store = store
        self.twin = for_loop(store)
        self._face = self.twin if on_loop else store
        self._loop = loop if on_loop else None
        self._glance = glance_of(self._face)
        self._reads = count()

    def run(self, verb: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """The result of one verb on the face under test, asked once."""
        coroutine = verb(self._face)
        return step(coroutine) if self._loop is None else self._loop.run(coroutine)

    def read(self, slot: bytes | None, *names: str) -> Reading:
        """See :meth:`Store.read`; at a glance every other time, where the store has one."""
        glance = self._glance
        if glance is None or next(self._reads) % 2 == 0:
            return self._again(lambda store: store.read(slot, names))

        async def glanced(store: Store) -> Reading:
            found = glance(slot, names)
            return await store.read(slot, names) if found is None else Reading(*found)

        return self._again(glanced)

    def page(self, slot: bytes) -> StoredResponse | None:
        """The page of a slot."""
        return self.read(slot).page

    def tokens(self, *names: str) -> tuple[bytes | None, ...]:
        """The tokens of these namespaces."""
        return self.read(None, *names).tokens

    def add(self, tokens: Mapping[str, bytes], ttl: float = LONG) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`."""
        return self._again(lambda store: store.add_tokens(tokens, ttl))

    def give(self, *names: str, ttl: float = LONG) -> tuple[bytes, ...]:
        """Add new tokens where there are none; returns those that all have now, in order."""
        present = self.add({name: mint() for name in names}, ttl)
        return tuple(present[name] for name in names)

    def replace(self, *names: str, ttl: float = LONG) -> None:
        """See :meth:`Store.replace_tokens`: new tokens for all of these."""
        self._again(lambda store: store.replace_tokens({name: mint() for name in names}, ttl))

    def remove(self, tokens: Mapping[str, bytes]) -> set[str]:
        """See :meth:`Store.remove_tokens`; asked once, since the second time nothing is there."""
        return set(self.run(lambda store: store.remove_tokens(tokens)))

    def write(self, slot: bytes, page: StoredResponse, ttl: float = LONG) -> bool:
        """See :meth:`Store.write_page`."""
        return self._again(lambda store: store.write_page(slot, page, ttl))

    def delete(self, slot: bytes) -> None:
        """See :meth:`Store.delete_page`."""
        self._again(lambda store: store.delete_page(slot))

    def acquire(self, slot: bytes, owner: bytes, term: float = LONG) -> bool:
        """See :meth:`Leases.acquire`. Before it is asked again, the lease is given back."""
        for _ in range(10):
            try:
                return self.run(lambda store: cast("Leases", store).acquire(slot, owner, term))
            except StoreError:
                self.release(slot, owner)
        raise AssertionError("nobody can say who has the lease")

    def release(self, slot: bytes, owner: bytes) -> None:
        """See :meth:`Leases.release`."""
        self._again(lambda store: cast("Leases", store).release(slot, owner))

    def _again(self, verb: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        return patiently(lambda: self.run(verb))


class Ground:
    """What a subclass gives, and what the promises use. See :class:`StoreContract`."""

    #: Whether all promises are tried on an event loop, through the store's twin for it.
    on_loop: ClassVar[bool] = False
    #: Seconds of what shall expire soon. Less is quicker where the store counts fractions;
    #: memcached does not, and may forget at once what is given one second.
    short_ttl: ClassVar[float] = 2.0
    #: Pages of 16 kB that are written to see whether they push tokens out. Set it so that they
    #: are more than the store has room for.
    flood: ClassVar[int] = 64

    _opened: dict[int, Handle] | None = None
    _closing: ExitStack

    def open(self) -> Store:
        """A handle on the store, always on the same pages and tokens."""
        raise NotImplementedError("a subclass of StoreContract says how its store is opened")

    def advance(self, seconds: float) -> None:
        """Let time pass for the store. With a fake clock: move it."""
        time.sleep(seconds)

    def teardown_method(self) -> None:
        """Close what the test opened (pytest calls this after each test)."""
        if self._opened is not None:
            self._opened = None
            self._closing.close()

    def handle(self) -> Handle:
        """One more handle, closed after the test; ``open`` may return the same store again."""
        if self._opened is None:
            self._opened = {}
            self._closing = ExitStack()
            self.loop = Loop()
            self._closing.callback(self.loop.close)
            self._closing.callback(lambda: self.loop.run(end_tasks()))
        store = self.open()
        found = self._opened.get(id(store))
        if found is None:
            found = self._opened[id(store)] = Handle(store, self.loop, on_loop=self.on_loop)
            self._closing.callback(store.close)
        return found

    def two(self) -> tuple[Handle, Handle]:
        """Two handles, as two processes have them."""
        return self.handle(), self.handle()

    def name(self, word: str = "list") -> str:
        """A namespace that nobody has used."""
        return f"{token_hex(8)}/{word}"

    def names(self, count: int) -> list[str]:
        """Namespaces that nobody has used."""
        return [self.name(str(number)) for number in range(count)]

    def slot(self) -> bytes:
        """A slot that nobody has used."""
        return token_bytes(20)

    def eventually(self, fact: Callable[[], object], promise: str) -> None:
        """The promise comes true when what is short-lived has expired, and a while later."""
        waited = 0.0
        while not fact():
            holds(waited < self.short_ttl + LATE, promise)
            self.advance(0.1)
            waited += 0.1


async def end_tasks() -> None:
    """End all other tasks of this loop, as ``asyncio.run`` does."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
