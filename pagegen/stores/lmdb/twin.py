"""The LMDB store on an event loop: reads at once, writes in a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...messages import StoredResponse
from ..base import Store
from ..threads import Threaded


class LoopStore(Threaded):
    """While nobody waits for a writer that stands still, no thread is asked to be told so: the way
    there and back costs more than the whole bypass.
    """

    def __init__(self, store: Store, ready: Callable[[], None]) -> None:
        super().__init__(store)
        self._ready = ready

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`."""
        self._ready()
        return await super().add_tokens(tokens, ttl)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """See :meth:`Store.write_page`."""
        self._ready()
        return await super().write_page(slot, page, ttl)
