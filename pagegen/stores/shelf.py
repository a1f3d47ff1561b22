"""Pages in the process: flat where they only lie, objects where they are asked for.

Rules of this file:

1. A page lies here as a tuple of text, bytes and numbers, which CPython's garbage collector looks
   at once and never again. With an object for each of 100,000 pages every full collection stopped
   all threads for a quarter of a second.
2. A page that is read or put is an object, and stays one while it is among the last ``MAX_WARM``:
   what is remembered with it (``forms``) makes the next hit cheap. Whether that object is still
   the page is decided by identity of the tuple, so a reader needs no lock. What leaves the shelf
   leaves both at once: an object that stayed would hold its body beside the budget.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

from ..messages import StoredResponse
from .s3fifo import HITS, MAX_FREQUENCY, Entry, S3Fifo

#: Pages that are objects at one time; over it they start anew. A thousand take the collector a
#: millisecond, and making one again half a microsecond.
MAX_WARM: Final = 1024

_flat: Final = attrgetter(
    *(field.name for field in fields(StoredResponse) if field.init and field.name != "forms")
)


class _Flat(S3Fifo[bytes, tuple[Any, ...]]):
    """Says of each slot when its page leaves."""

    def __init__(self, budget: int, left: Callable[[bytes, None], object]) -> None:
        super().__init__(budget)
        self._left = left

    def _remove(self, key: bytes, entry: Entry[tuple[Any, ...]]) -> None:
        super()._remove(key, entry)
        self._left(key, None)


class PageShelf:
    """``budget`` bytes of pages by slot, evicted as :class:`S3Fifo` does. Thread-safe."""

    def __init__(self, budget: int) -> None:
        self._warm: dict[bytes, tuple[tuple[Any, ...], StoredResponse]] = {}
        self._flat = _Flat(budget, self._warm.pop)
        self._entries = self._flat.entries

    def get(self, slot: bytes, now: float) -> StoredResponse | None:
        """The page, None when there is none or it has expired; ``now`` in seconds."""
        entry = self._entries.get(slot)
        if entry is None:
            return None
        flat, expires, _, cell = entry  # as S3Fifo.get has it
        if expires <= now:
            self._flat.discard(slot, entry)
            return None
        if cell[HITS] < MAX_FREQUENCY:
            cell[HITS] += 1
        warm = self._warm.get(slot)
        return warm[1] if warm is not None and warm[0] is flat else self._made(slot, flat)

    def items(self) -> list[tuple[bytes, StoredResponse, float]]:
        """Each slot with its page and expiry, those that have expired too."""
        found = []
        for slot, flat, expires in self._flat.items():
            warm = self._warm.get(slot)
            page = warm[1] if warm is not None and warm[0] is flat else StoredResponse(*flat)
            found.append((slot, page, expires))
        return found

    def _made(self, slot: bytes, flat: tuple[Any, ...]) -> StoredResponse:
        page = StoredResponse(*flat)
        self._keep_warm(slot, flat, page)
        return page

    def _keep_warm(self, slot: bytes, flat: tuple[Any, ...], page: StoredResponse) -> None:
        if len(self._warm) >= MAX_WARM:
            self._warm.clear()
        self._warm[slot] = flat, page
        if not self._flat.holds(slot, flat):  # it left meanwhile
            self._warm.pop(slot, None)

    def put(self, slot: bytes, page: StoredResponse, expires: float) -> bool:
        """Put or replace a page; False when it is larger than the whole budget."""
        flat = _flat(page)
        if not self._flat.put(slot, flat, page.size(), expires):
            return False
        self._keep_warm(slot, flat, page)
        return True

    def discard(self, slot: bytes) -> None:
        """Remove a page."""
        self._flat.discard(slot)

    def statistics(self) -> dict[str, int]:
        """See :meth:`S3Fifo.statistics`."""
        return self._flat.statistics()
