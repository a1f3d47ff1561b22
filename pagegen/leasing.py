"""Leases: one rendering of a page at one time, over all processes that share a store.

Rules of this file:

1. A lease is for a slot *and* the tokens that were read: after an invalidation there is another
   one, so that nobody waits for a page that is old already.
2. No correctness rests on it. Who waits reads page and tokens anew, and who is refused for
   too long renders without.
3. It is given back at the very end, and lapses after a term that follows from how long the page
   took the last time, so the dead keep nobody for long.
4. A page that could not be stored leaves a *mark* beside its slot for a while. One that may not be
   stored is waited for by nobody in any process then (Varnish calls it hit-for-miss); one that the
   store has no room for is rendered once in each.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from math import inf
from time import monotonic
from typing import Final, cast

from .keys import encode, slot
from .stepping import step
from .stores.base import Leases, Store
from .variants import Marking, marker, marking_of
from .verdicts import Lease, Plan, Ticket
from .workers import Workers

#: A lease lasts this many times what the rendering took the last time, between these bounds
#: (seconds). Where nobody knows it lasts FIRST_TERM: less than patience, so that those who wait for
#: the dead need not all render (nginx proxy_cache_lock_age: 5 s).
FACTOR: Final = 4.0
SHORTEST_TERM: Final = 1.0
LONGEST_TERM: Final = 60.0
FIRST_TERM: Final = 4.0
#: Seconds for which a mark holds.
MARKED_FOR: Final = 10.0
#: Seconds between two looks of who waits for another process: the first pause, the factor by which
#: they grow, and the longest. Each process has one who looks, whatever number waits behind that.
FIRST_PAUSE: Final = 0.01
GROWTH: Final = 1.5
LONGEST_PAUSE: Final = 0.25
#: Leases that wait to be given back by a thread, because their requests were cancelled.
MAX_LET_GO: Final = 256
#: Slots that are noted so; when they are so many, the memory starts anew.
MAX_ELSEWHERE: Final = 4096


class Mark(StrEnum):
    """What keeps a page from being rendered once for all processes.

    REFUSED: it may not be stored, so it is nobody else's. UNKEPT: the store does not keep it.
    """

    REFUSED = "refused"
    UNKEPT = "unkept"


class Leasing:
    """The leases of one cache, on either face of its store; ``store`` is the one for threads.
    ``count`` hears of events by name.
    """

    def __init__(
        self,
        store: Store,
        mint: Callable[[], bytes],
        monotonic: Callable[[], float] = monotonic,
        count: Callable[[str], object] = lambda _event: None,
    ) -> None:
        self._store = store
        self._behind = Workers("pagegen-leases", threads=1, places=MAX_LET_GO)
        self._mint = mint
        self._monotonic = monotonic
        self._count = count
        #: Seconds that the latest rendering took, by rule: for pages that are not there yet.
        self._took: dict[str, float] = {}
        #: Slots that another process renders, each with the moment until which nobody asks again.
        self._elsewhere: dict[bytes, float] = {}
        self._forgotten = 0

    def learn(self, plan: Plan, seconds: float) -> None:
        """A page of this rule took so long to render."""
        self._took[plan.rule.name] = seconds

    def note_elsewhere(self, place: bytes) -> None:
        """Another process renders this slot: stale hits need not ask for its lease for a while."""
        if len(self._elsewhere) >= MAX_ELSEWHERE:
            self._forgotten += len(self._elsewhere)
            self._elsewhere = {}
        self._elsewhere[place] = self._monotonic() + LONGEST_PAUSE

    def remembered(self) -> tuple[int, int]:
        """Slots that are noted so, and those that were forgotten for others."""
        return len(self._elsewhere), self._forgotten

    def is_elsewhere(self, place: bytes) -> bool:
        """Whether that was so a moment ago."""
        return self._elsewhere.get(place, -inf) > self._monotonic()

    def term(self, plan: Plan, took: float | None) -> float:
        """Seconds that a lease lasts on a page that ``took`` so long the last time, if known."""
        seconds = self._took.get(plan.rule.name) if took is None else took
        if seconds is None:
            return FIRST_TERM
        return min(LONGEST_TERM, max(SHORTEST_TERM, FACTOR * seconds))

    async def take(self, store: Store, ticket: Ticket, took: float | None) -> bool:
        """Take the lease for a ticket; False while somebody else has it. Raises what the store
        raises.
        """
        # Before it is asked for: who is cancelled meanwhile may have it.
        lease = Lease(lease_place(ticket.plan.slot, ticket.generation), self._mint())
        ticket.lease = lease
        if not await cast("Leases", store).acquire(*lease, self.term(ticket.plan, took)):
            ticket.lease = None
        return ticket.lease is not None

    @staticmethod
    async def give_back(store: Store, ticket: Ticket) -> None:
        """Give the lease of a ticket back, if it has one. Raises what the store raises."""
        if ticket.lease is not None:
            lease, ticket.lease = ticket.lease, None
            await cast("Leases", store).release(*lease)

    def let_go(self, lease: Lease) -> None:
        """Give a lease back in a thread. If that cannot be, it lapses after its term."""
        release = cast("Leases", self._store).release
        if self._behind.submit(lambda: step(release(*lease))) is None:
            self._count("lease-lapses")

    @staticmethod
    async def leave_mark(store: Store, plan: Plan, mark: Mark, now: float) -> None:
        """Say to all processes for a while that this page could not be stored."""
        left = marker(plan, Marking((mark,)), now)
        await store.write_page(mark_place(plan.slot), left, MARKED_FOR)

    @staticmethod
    async def marked(store: Store, plan: Plan, now: float) -> Mark | None:
        """What somebody has said of this page."""
        page, _ = await store.read(mark_place(plan.slot), ())
        found = marking_of(page, plan)
        # Clocks of machines differ, either way.
        if page is None or found is None or abs(now - page.stored_at) >= MARKED_FOR:
            return None
        return next((mark for mark in Mark if found.names == (mark,)), None)


def lease_place(place: bytes, generation: tuple[bytes, ...]) -> bytes:
    """What the lease on rendering a slot under these tokens is called."""
    return slot(encode(("lease", place, generation)))


def mark_place(place: bytes) -> bytes:
    """Where the mark of a slot is."""
    return slot(encode(("mark", place)))
