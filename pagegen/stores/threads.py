"""A store that blocks, on an event loop: each verb that blocks is one hop to a thread and back.

The threads are pagegen's own, few and shared by all stores of the process. A store that reads
without blocking is read directly. Who is cancelled, or has waited too long, gets nothing; the
thread finishes what it began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from ..errors import StoreError
from ..messages import StoredResponse
from ..stepping import step
from ..workers import Workers
from .base import HasTwin, Leases, Reading, Store, glance_of

T = TypeVar("T")

#: Threads, and verbs that may run or wait for one (Starlette's pool: 40 threads, no bound).
THREADS: Final = 8
MAX_VERBS: Final = 512
#: Seconds for which a request waits for a verb, its way through the queue included.
PATIENCE: Final = 0.06
#: Seconds for which an invalidation waits: it is worth more than a page.
LONG_PATIENCE: Final = 5.0

_workers: Final = Workers("pagegen-store", threads=THREADS, places=MAX_VERBS)


def for_loop(store: Store) -> Store:
    """The store to await on an event loop: its twin, itself in threads, or just itself."""
    if isinstance(store, HasTwin):
        return store.on_loop()
    can = store.capabilities
    return Threaded(store) if can.blocking_reads or can.blocking_writes else store


class Threaded:
    """A store whose blocking verbs run in threads. See :class:`Store` for the verbs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.capabilities = store.capabilities
        self._read = self._hop if store.capabilities.blocking_reads else self._stay
        self._write = self._hop if store.capabilities.blocking_writes else self._stay
        if not store.capabilities.blocking_reads and (glance := glance_of(store)) is not None:
            self.glance = glance

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        """See :meth:`Store.read`."""
        return await self._read(lambda: self.store.read(slot, namespaces))

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`."""
        return await self._write(lambda: self.store.add_tokens(tokens, ttl))

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """See :meth:`Store.replace_tokens`."""
        await self._write(lambda: self.store.replace_tokens(tokens, ttl), LONG_PATIENCE)

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        """See :meth:`Store.remove_tokens`."""
        return await self._write(lambda: self.store.remove_tokens(tokens), LONG_PATIENCE)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """See :meth:`Store.write_page`."""
        return await self._write(lambda: self.store.write_page(slot, page, ttl))

    async def delete_page(self, slot: bytes) -> None:
        """See :meth:`Store.delete_page`."""
        await self._write(lambda: self.store.delete_page(slot))

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        """See :meth:`Leases.acquire`."""
        leases = cast("Leases", self.store)
        return await self._write(lambda: leases.acquire(slot, owner, term))

    async def release(self, slot: bytes, owner: bytes) -> None:
        """See :meth:`Leases.release`."""
        leases = cast("Leases", self.store)
        await self._write(lambda: leases.release(slot, owner))

    def statistics(self) -> Mapping[str, int]:
        """See :meth:`Store.statistics`."""
        return self.store.statistics()

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self.store.close()

    async def _stay(
        self, verb: Callable[[], Coroutine[Any, Any, T]], _patience: float = PATIENCE
    ) -> T:
        return await verb()

    async def _hop(
        self, verb: Callable[[], Coroutine[Any, Any, T]], patience: float = PATIENCE
    ) -> T:
        future = _workers.submit(lambda: step(verb()))
        if future is None:
            raise StoreError("too many verbs wait for the store's threads")
        waiting = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait((waiting,), timeout=patience)
        finally:
            # Nobody will look at what comes later; and what has not begun need not begin.
            if not waiting.cancel() and not waiting.cancelled():
                waiting.exception()  # whoever is cancelled at that very moment does not look
        if not done:
            raise StoreError(f"the store took longer than {patience:g} s")
        return waiting.result()
