"""Pages and tokens in the process: for one process, and for tests.

Never suspends and never blocks. Tokens have a budget of their own, so that no flood of pages takes
one away; a token that a flood of other tokens takes away costs misses, never an old page.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Lock
from time import time
from typing import Final

from ..errors import StoreError
from ..messages import StoredResponse
from ..units import parse_size
from .alone import warn_of_company
from .base import Capabilities, Glimpse, Reading
from .s3fifo import HITS, MAX_FREQUENCY, S3Fifo
from .shelf import PageShelf

DEFAULT_SIZE: Final = 64 * 2**20
#: Share of the size that tokens have for themselves.
TOKEN_SHARE: Final = 0.125
#: Measured: dictionary slot, queue slot, entry, tuple, float and the token's object, and what is
#: left of as many names that were evicted.
_TOKEN_OVERHEAD: Final = 564
#: Leases at one time; over it they are lost at once, which costs a page rendered twice.
MAX_LEASES: Final = 10_000


class MemoryStore:
    """A store of ``size`` bytes (a number, or text such as ``"64MiB"``), bodies, headers and
    Python's own overhead counted. Thread-safe. Raises ``ValueError`` for a size it cannot read.
    """

    capabilities = Capabilities(
        blocking_reads=False,
        blocking_writes=False,
        shared=False,
        compare_and_set=True,
        leases=True,
    )

    def __init__(
        self,
        size: str | int = DEFAULT_SIZE,
        *,
        site: str = "default",
        now: Callable[[], float] = time,
    ) -> None:
        total = parse_size(size)
        for_tokens = int(total * TOKEN_SHARE)
        self._pages = PageShelf(total - for_tokens)
        self._tokens: S3Fifo[str, bytes] = S3Fifo(for_tokens)
        self._site = site
        self._now = now
        self._leases: dict[bytes, tuple[bytes, float]] = {}
        self._leasing = Lock()
        self._lost = 0

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        """See :meth:`Store.read`. A hit takes no lock."""
        return Reading(*self.glance(slot, namespaces))

    def glance(self, slot: bytes | None, namespaces: Sequence[str]) -> Glimpse:
        """See :meth:`Glances.glance`."""
        now = self._now()
        page = None if slot is None else self._pages.get(slot, now)
        there = self._tokens.entries
        tokens: list[bytes | None] = []
        for name in namespaces:
            entry = there.get(name)
            if entry is None or entry[1] <= now:
                tokens.append(None)
                continue
            cell = entry[3]  # as S3Fifo.get has it
            if cell[HITS] < MAX_FREQUENCY:
                cell[HITS] += 1
            tokens.append(entry[0])
        return page, tuple(tokens)

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`."""
        now = self._now()
        found = {}
        for name, token in tokens.items():
            self._tokens.add(name, token, len(name) + len(token) + _TOKEN_OVERHEAD, now + ttl, now)
            kept = self._tokens.peek(name, now)
            if kept is None:
                raise StoreError(f"the budget has no room for a token ({name!r})")
            found[name] = kept
        return found

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """See :meth:`Store.replace_tokens`. A token without room is removed: as good as new."""
        expires = self._now() + ttl
        for name, token in tokens.items():
            self._tokens.put(name, token, len(name) + len(token) + _TOKEN_OVERHEAD, expires)

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        """See :meth:`Store.remove_tokens`."""
        now, shelf = self._now(), self._tokens
        return [name for name, token in tokens.items() if shelf.remove(name, token, now)]

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """See :meth:`Store.write_page`."""
        warn_of_company(self._site)
        return self._pages.put(slot, page, self._now() + ttl)

    async def delete_page(self, slot: bytes) -> None:
        """See :meth:`Store.delete_page`."""
        self._pages.discard(slot)

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        """See :meth:`Leases.acquire`."""
        now = self._now()
        with self._leasing:
            if len(self._leases) >= MAX_LEASES:
                self._leases = {k: held for k, held in self._leases.items() if held[1] > now}
            held = self._leases.get(slot)
            if held is not None and held[1] > now:
                return False
            # Without room it is as if the lease were lost at once.
            if len(self._leases) < MAX_LEASES:
                self._leases[slot] = owner, now + term
            else:
                self._lost += 1
            return True

    async def release(self, slot: bytes, owner: bytes) -> None:
        """See :meth:`Leases.release`."""
        with self._leasing:
            held = self._leases.get(slot)
            if held is not None and held[0] == owner:
                del self._leases[slot]

    def statistics(self) -> Mapping[str, int]:
        """``pages_…`` and ``tokens_…``: count, bytes, budget, evicted; and ``leases_lost``."""
        shelves = {
            f"{kind}_{name}": number
            for kind, part in (("pages", self._pages), ("tokens", self._tokens))
            for name, number in part.statistics().items()
        }
        return {**shelves, "leases_lost": self._lost}

    def close(self) -> None:
        """Nothing is held open."""
