"""Boarding: how a request that has to go forward does so. It leads a flight or follows one, waits
for another process, takes its turn, or goes alone.
"""

from __future__ import annotations

from dataclasses import replace
from math import floor

from .exchange import current
from .flights import OVERDUE, Outcome
from .law import reuse, storing
from .law.reuse import Fitness
from .law.storing import Refusal
from .leasing import FIRST_PAUSE, GROWTH, LONGEST_PAUSE, Mark
from .look import Look
from .messages import ResponseHead, StoredResponse
from .state import State
from .stores.base import Store
from .verdicts import Forward, Hit, Plan, Stale, Ticket, Verdict, Wait

_PERSONAL = (Refusal.AUTHORIZATION, Refusal.COOKIE, Refusal.PERSONAL)


class Boarding:
    """Sends tickets on their way, on one face of the store."""

    def __init__(self, state: State, store: Store) -> None:
        self._state = state
        self._store = store
        self._flights = state.flights
        self._sources = state.sources
        self._counters = state.counters
        self._patience = state.settings.patience
        can = store.capabilities
        self._leases = state.settings.leases and can.leases and can.shared

    async def embark(self, ticket: Ticket, look: Look) -> Verdict:
        """Lead a flight, follow one, or go alone."""
        if (alone := self._alone(ticket, look)) is not None:
            # Who led others until now does so no more.
            if ticket.flight is not None:
                self._state.settle(ticket, Outcome.DECLINED)
            return alone
        if not ticket.stores:
            return self._serve(look) or self.take_turn(ticket, look.resource, look.after)
        if ticket.flight is not None:
            return await self._lead(ticket, look)
        limit = self._patience if self._is_over(look.after) else OVERDUE
        flight, leads = self._flights.join(
            ticket.plan.slot, ticket.generation, ticket.sequence, limit
        )
        if leads:
            if flight is None:
                # A page that was refused a moment ago is not refreshed at every request.
                return self._serve_or_forward(ticket, look)
            ticket.flight = flight
            return await self._lead(ticket, look)
        if look.usable or look.asked.demands:
            # Whoever wants the application asked does not wait for what was asked before.
            if flight is not None:
                self._flights.left()
            return self._serve_or_forward(ticket, look)
        if flight is None:
            self._counters.count("bench-full")
            return self.forward(ticket)
        self._counters.count("wait")
        deadline, again = self._patient(look.after)
        return Wait(
            flight,
            look.resource,
            deadline,
            deadline,
            ticket.sequence,
            again=again,
            paid=look.paid,
        )

    def _alone(self, ticket: Ticket, look: Look) -> Verdict | None:
        """What needs no flight, or must not wait for one; None where there has to be one."""
        place, after, usable = ticket.plan.slot, look.after, look.usable
        if look.request.method == "HEAD":
            return self._serve_or_forward(ticket, look)
        exchange = current(self._state.realm)
        if exchange is not None and exchange.leading == place:
            return self._serve(look) if look.early else self.forward(ticket)
        if usable is not None and (
            (self._leases and self._state.leasing.is_elsewhere(place))
            or self._flights.stumbled(place)
            or _in_vain(usable, ticket)
        ):
            return self._serve(look)
        if after is None or after.ticket is not None:
            return None
        if after.again and self._is_over(after):
            return self.forward(ticket)
        page = self._rescued(ticket, after)
        return None if page is None else self._state.stale(page, None)

    def _rescued(self, ticket: Ticket, after: Wait) -> StoredResponse | None:
        """The expired page for a request that waited for an application that failed."""
        outcome = after.flight.result
        if outcome not in (Outcome.RESCUED, Outcome.UNREACHABLE):
            return None
        return self._state.refuge(ticket, reached=outcome is Outcome.RESCUED)

    # Over all processes -----------------------------------------------------------------------

    async def _lead(self, ticket: Ticket, look: Look) -> Verdict:
        """Lead the flight of this process: with the lease, or behind who has it."""
        began = self._sources.monotonic() - ticket.spent
        try:
            if self._leases and not self._state.is_late(ticket.spent):
                elsewhere = await self._elsewhere(ticket, look)
                ticket.spent = self._sources.monotonic() - began
                if elsewhere is not None:
                    return elsewhere
            raced = ticket.lease is not None or self._flights.landings != look.landings
            if raced and (landed := await self._second_look(ticket, look)) is not None:
                return landed
        except Exception as error:
            # The tokens are there, so it may go forward; others may render the page, too.
            self._state.store_failed(error)
        except BaseException:
            self._state.settle(ticket, Outcome.DECLINED)
            await self.give_back(ticket)
            raise
        ticket.spent = self._sources.monotonic() - began
        if ticket.flight is not None:
            self._flights.restart(ticket.flight)
        return self._serve(look, ticket) or self.forward(ticket)

    async def _elsewhere(self, ticket: Ticket, look: Look) -> Verdict | None:
        """What to do while another process renders the page; None where that is ours to do.

        Raises what the store raises.
        """
        after, leasing, page = look.after, self._state.leasing, look.found.page
        if self._is_over(after):
            return None  # whoever has the lease is slow, or dead
        if after is not None:
            mark = await leasing.marked(self._store, ticket.plan, self._sources.now())
            if mark is Mark.REFUSED:
                self._state.settle(ticket, Outcome.REFUSED)
                return self.forward(replace(ticket, flight=None, settled=False))
            if mark is Mark.UNKEPT:
                return None
        if await leasing.take(self._store, ticket, page.render_seconds if page else None):
            return None
        if look.usable:
            leasing.note_elsewhere(ticket.plan.slot)
            self._state.settle(ticket, Outcome.DECLINED)
            return self._serve(look)
        flight = ticket.flight
        if look.asked.demands or flight is None or not self._flights.sit():
            return None
        now, (deadline, again) = self._sources.monotonic(), self._patient(after)
        before = after.pause if after is not None else 0.0
        if not before:
            self._counters.count("wait")
        pause = min(LONGEST_PAUSE, before * GROWTH) or FIRST_PAUSE
        until = min(deadline, now + pause)
        return Wait(flight, look.resource, deadline, until, None, ticket, pause, again)

    async def _second_look(self, ticket: Ticket, look: Look) -> Verdict | None:
        """After getting the lock, look again: somebody may have stored the page between our read
        and our flight or lease, and it may be the one that we are about to render.

        Raises what the store raises.
        """
        if look.demanded:
            return None
        state, old = self._state, look.usable
        hurry = state.stopwatch(ticket.spent)
        hurry()
        found = await state.reader.read(self._store, look.resource, look.request, hurry)
        if state.owing(found.namespaces) or state.owed.payments != look.paid:
            return None
        now, page = self._sources.now(), found.page
        fitness = reuse.fitness(page, found.plan.key, found.tokens, now)
        if page is None or fitness is not Fitness.FRESH or not look.asked.accepts_fresh(page, now):
            return None
        if old is not None and page.stored_at <= old.stored_at:
            return None
        state.settle(ticket, page if ticket.is_for(page) else Outcome.DECLINED)
        await self.give_back(ticket)
        return self.hit(page, now)

    async def give_back(self, ticket: Ticket) -> None:
        """Give the lease of a ticket back. What fails lapses after its term."""
        lease = ticket.lease
        if lease is None:
            return
        try:
            await self._state.leasing.give_back(self._store, ticket)
        except Exception as error:
            self._state.store_failed(error)
        except BaseException:
            # Cancelled, maybe again and again, as in a scope of anyio: nothing can be awaited here.
            self._state.leasing.let_go(lease)
            raise

    # Turns ------------------------------------------------------------------------------------

    def take_turn(self, ticket: Ticket, resource: Plan, after: Wait | None) -> Verdict:
        """Share a rendering that has not begun yet: for what may not be stored, or whose tokens
        nobody knows.
        """
        if after is not None and after.again and self._is_over(after):
            return self.forward(ticket)
        deadline, again = self._patient(after)
        turn = self._flights.take_turn(ticket.plan.slot)
        if turn.flight is not None and not turn.leads:
            self._counters.count("wait")
            return Wait(turn.flight, resource, deadline, deadline, again=again)
        ticket.flight = turn.flight
        if turn.before is None:
            return self.forward(ticket)
        self._counters.count("wait")
        return Wait(turn.before, resource, deadline, deadline, ticket=ticket, again=again)

    def begin_turn(self, ticket: Ticket) -> Verdict:
        """The rendering before this one has ended, or patience with it."""
        flight = ticket.flight
        begun = flight is not None and self._flights.begin(flight)
        ticket.settled = True
        now = self._sources.now()
        return self.forward(
            replace(ticket, flight=flight if begun else None, started=now, settled=False)
        )

    # Verdicts ---------------------------------------------------------------------------------

    def forward(self, ticket: Ticket) -> Forward:
        """The verdict that runs the application, counted."""
        self._counters.count("forward")
        return Forward(ticket)

    def hit(
        self,
        page: StoredResponse,
        now: float,
        *,
        collapsed: bool = False,
        stored: bool = True,
        ticket: Ticket | None = None,
    ) -> Hit:
        """The verdict that sends a fresh page, counted; ``now`` in seconds since the epoch."""
        self._counters.count("collapsed" if collapsed else "hit")
        return Hit(page, page.age(now), floor(page.fresh_until - now), collapsed, stored, ticket)

    def _serve(self, look: Look, ticket: Ticket | None = None) -> Hit | Stale | None:
        """The page that may be served meanwhile, if there is one; with a ticket, to be renewed."""
        page = look.usable
        if page is None:
            return None
        if not look.early:
            return self._state.stale(page, ticket, look.since)
        if ticket is not None:
            self._counters.count("early")
        return self.hit(page, self._sources.now(), ticket=ticket)

    def _serve_or_forward(self, ticket: Ticket, look: Look) -> Verdict:
        return self._serve(look) or self.forward(ticket)

    def _is_over(self, after: Wait | None) -> bool:
        """Whether a request has waited for as long as it may."""
        return after is not None and self._sources.monotonic() >= after.deadline

    def _patient(self, after: Wait | None) -> tuple[float, bool]:
        """Until when a request waits, and whether that is for the second time.

        All who wait for one rendering lose patience at about the same time. One of them renders
        then, and the others wait for that: on their own they would not be served any earlier.
        """
        if after is not None and not self._is_over(after):
            return after.deadline, after.again
        return self._sources.monotonic() + self._patience, after is not None


def _in_vain(page: StoredResponse, ticket: Ticket) -> bool:
    """Whether a refresh with this visitor's credentials would be refused, for all that is known.

    It would keep those from refreshing the page who could.
    """
    plan = ticket.plan
    if not ticket.credentials:
        return False
    head = ResponseHead(page.status, page.from_application())
    refusal = storing.refusal(
        head, plan.rule, plan.keyed, page.namespaces, page.stored_at, ticket.credentials
    )
    return refusal in _PERSONAL
