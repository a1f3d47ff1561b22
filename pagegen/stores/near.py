"""Pages in the process, in front of a shared store: a hit asks the store for its tokens only.

As coherent as the store behind it, because a page is served only with tokens that the store gave
for this very request. A page without namespaces has none to ask for, and costs no trip at all.

``max_staleness`` gives that up on purpose: tokens are then used again for so many seconds, and so
are the pages they vouch for, after an invalidation in *another* process. What this process
invalidates it sees at once, and a miss asks for its tokens anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic, time
from typing import Final, cast

from ..forks import fork_safe_lock
from ..messages import StoredResponse
from .base import Glimpse, Leases, Reading, Store, glance_of
from .s3fifo import S3Fifo
from .shelf import PageShelf
from .threads import for_loop

#: Bytes of tokens that may be used again: some 15,000. They are kept as pages are; one that is
#: not there is asked for.
TOKEN_BYTES: Final = 8 * 2**20
#: Measured: what a token weighs besides its namespace's text, with what is left of as many that
#: were evicted.
_TOKEN_OVERHEAD: Final = 540


class NearStore:
    """``size`` bytes of pages in front of ``behind``. Thread-safe.

    ``max_staleness`` in seconds, 0 for none. ``now`` is the wall clock that pages expire by,
    ``passing`` the waiting clock that the age of tokens is measured with.
    """

    def __init__(
        self,
        behind: Store,
        size: int,
        *,
        max_staleness: float = 0.0,
        now: Callable[[], float] = time,
        passing: Callable[[], float] = monotonic,
    ) -> None:
        self.behind = behind
        self.capabilities = behind.capabilities
        self._shelf = _Shelf(size, max_staleness, now, passing)
        self._ask = glance_of(behind)

    def on_loop(self) -> NearStore:
        """See :meth:`HasTwin.on_loop`: the same pages, in front of the other store's twin."""
        twin = NearStore.__new__(NearStore)
        twin.behind = for_loop(self.behind)
        twin.capabilities = self.capabilities
        twin._shelf = self._shelf
        twin._ask = glance_of(twin.behind)
        return twin

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        """See :meth:`Store.read`."""
        found = self.glance(slot, namespaces)
        if found is not None:
            return Reading(*found)
        shelf = self._shelf
        page = None if slot is None or self._ask is not None else shelf.page(slot)
        if page is None:
            return await self._fetch(slot, namespaces)
        since = shelf.mark()
        tokens = (await self.behind.read(None, namespaces)).tokens
        if _vouched(page, namespaces, tokens):
            shelf.count("near_hits")
            shelf.vouch(namespaces, tokens, since)
            return Reading(page, tokens)
        # Another process may have rendered it anew already.
        return await self._fetch(slot, namespaces)

    def glance(self, slot: bytes | None, namespaces: Sequence[str]) -> Glimpse | None:
        """See :meth:`Glances.glance`: a page that is here, with tokens that are here too, or in a
        store that answers at once.
        """
        shelf = self._shelf
        if self._ask is None and namespaces and not shelf.reuses:
            return None
        page = None if slot is None else shelf.page(slot)
        if page is None:
            return None
        known = shelf.known(namespaces)
        if known is not None and _vouched(page, namespaces, known):
            shelf.count("near_unasked" if namespaces else "near_hits")
            return page, known
        since = shelf.mark()
        asked = None if self._ask is None else self._ask(None, namespaces)
        if asked is None or not _vouched(page, namespaces, asked[1]):
            return None
        shelf.count("near_hits")
        shelf.vouch(namespaces, asked[1], since)
        return page, asked[1]

    async def _fetch(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        shelf = self._shelf
        since = shelf.mark()
        reading = await self.behind.read(slot, namespaces)
        if slot is not None:
            shelf.count("near_misses")
            page = reading.page
            if page is not None and _vouched(page, namespaces, reading.tokens):
                shelf.keep(slot, page)
                shelf.vouch(namespaces, reading.tokens, since)
        return reading

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`."""
        return await self.behind.add_tokens(tokens, ttl)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """See :meth:`Store.replace_tokens`. What was known of them is forgotten on both sides of
        it: who read the old token meanwhile must not bring it back.
        """
        self._shelf.forget(tokens)
        try:
            await self.behind.replace_tokens(tokens, ttl)
        finally:
            self._shelf.forget(tokens)

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        """See :meth:`Store.remove_tokens`."""
        self._shelf.forget(tokens)
        try:
            return await self.behind.remove_tokens(tokens)
        finally:
            self._shelf.forget(tokens)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """See :meth:`Store.write_page`. Kept here even if the other store has no room: True says
        that every process has it.
        """
        self._shelf.keep(slot, page)
        return await self.behind.write_page(slot, page, ttl)

    async def delete_page(self, slot: bytes) -> None:
        """See :meth:`Store.delete_page`."""
        self._shelf.drop(slot)
        await self.behind.delete_page(slot)

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        """See :meth:`Leases.acquire`."""
        return await cast("Leases", self.behind).acquire(slot, owner, term)

    async def release(self, slot: bytes, owner: bytes) -> None:
        """See :meth:`Leases.release`."""
        await cast("Leases", self.behind).release(slot, owner)

    def statistics(self) -> Mapping[str, int]:
        """``near_hits`` (page from here, tokens asked for), ``near_unasked`` (tokens used again),
        ``near_misses``, ``near_…`` of the pages kept, ``near_tokens_…`` of tokens that may be used
        again, and what the store behind says.
        """
        return {**self.behind.statistics(), **self._shelf.statistics()}

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self.behind.close()


def _vouched(
    page: StoredResponse, namespaces: Sequence[str], tokens: Sequence[bytes | None]
) -> bool:
    """Whether these are a page's namespaces and tokens, one by one; more may stand behind them."""
    count = len(page.generation)
    return tuple(tokens[:count]) == page.generation and tuple(namespaces[:count]) == page.namespaces


class _Shelf:
    """What both faces of a near store share: pages, and tokens with the time they were asked at."""

    def __init__(
        self,
        size: int,
        max_staleness: float,
        now: Callable[[], float],
        passing: Callable[[], float],
    ) -> None:
        self._pages = PageShelf(size)
        self._max_staleness = max_staleness
        #: Whether tokens are used again at all.
        self.reuses = max_staleness > 0
        self._now = now
        self._passing = passing
        self._tokens: S3Fifo[str, bytes] = S3Fifo(TOKEN_BYTES)
        self._forgettings = 0
        self._lock = fork_safe_lock(self)
        self._counts = {"near_hits": 0, "near_unasked": 0, "near_misses": 0}

    def page(self, slot: bytes) -> StoredResponse | None:
        """The page of a slot while it is fresh: an expired one may be fresh in the store."""
        return self._pages.get(slot, self._now())

    def keep(self, slot: bytes, page: StoredResponse) -> bool:
        """Keep a page as long as it is fresh; False without room."""
        return self._now() < page.fresh_until and self._pages.put(slot, page, page.fresh_until)

    def drop(self, slot: bytes) -> None:
        """Keep a page no longer."""
        self._pages.discard(slot)

    def known(self, namespaces: Sequence[str]) -> tuple[bytes, ...] | None:
        """Tokens that may be used again, of all of these; None when one has to be asked for."""
        if not namespaces:
            return ()
        if not self._max_staleness:
            return None
        now = self._passing()
        found = []
        for name in namespaces:
            token = self._tokens.get(name, now)
            if token is None:
                return None
            found.append(token)
        return tuple(found)

    def mark(self) -> tuple[float, int]:
        """The moment before tokens are asked for: their age counts from here."""
        return (self._passing(), self._forgettings) if self._max_staleness else (0.0, 0)

    def vouch(
        self,
        namespaces: Sequence[str],
        tokens: Sequence[bytes | None],
        since: tuple[float, int],
    ) -> None:
        """Remember tokens that were asked for since a mark."""
        if not self._max_staleness:
            return
        asked, forgettings = since
        with self._lock:
            if forgettings != self._forgettings:
                return  # something was invalidated meanwhile, perhaps these
            until = asked + self._max_staleness
            for name, token in zip(namespaces, tokens, strict=True):
                if token is not None:
                    self._tokens.put(name, token, _TOKEN_OVERHEAD + len(name), until)

    def forget(self, names: Mapping[str, bytes]) -> None:
        """Use the tokens of these no longer."""
        if not self._max_staleness:
            return
        with self._lock:
            self._forgettings += 1
            for name in names:
                self._tokens.discard(name)

    def count(self, event: str) -> None:
        """One more; a lost increment under threads is no harm."""
        self._counts[event] += 1

    def statistics(self) -> dict[str, int]:
        """Counts, the pages kept, and tokens that may be used again."""
        said = {f"near_{name}": number for name, number in self._pages.statistics().items()}
        tokens = self._tokens.statistics()
        said.update({f"near_tokens_{name}": number for name, number in tokens.items()})
        return {**self._counts, **said}
