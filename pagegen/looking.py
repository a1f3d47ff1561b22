"""Looking up: the verb between a request and what its front must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .exchange import current
from .flights import Outcome
from .law import reuse
from .law.reuse import Fitness
from .messages import Request, StoredResponse
from .state import State
from .stores.base import Reading, Store
from .verdicts import Bypass, Forward, Hit, Plan, Reason, Stale, Ticket, Verdict, Wait


class LookUp:
    """Looks up in one face of the store. The order of its steps is half of what makes pagegen safe:
    the tokens of a page are read, or minted, before its handler starts.
    """

    def __init__(self, state: State, store: Store) -> None:
        self._state = state
        self._store = store
        self._planner = state.planner
        self._flights = state.flights
        self._sources = state.sources
        self._counters = state.counters
        self._patience = state.settings.patience

    async def look_up(self, request: Request, after: Wait | None = None) -> Verdict:
        """What to do with a request. ``after``: the wait that has just ended for it."""
        plan = after.plan if after is not None else self._planner.plan(request)
        if isinstance(plan, Bypass):
            return self._state.bypass(plan.reason)
        if after is not None:
            self._flights.left()
        if self._state.owing(plan.namespaces):
            return self._state.bypass(Reason.OWED)
        if after is not None:
            result = after.flight.result
            if isinstance(result, StoredResponse):
                return self._hit(result, self._sources.now(), collapsed=True)
        landings = self._flights.landings
        began = self._sources.monotonic()
        try:
            page, tokens = await self._store.read(plan.slot, plan.namespaces)
            now = self._sources.now()
            fitness = reuse.fitness(page, plan.key, tokens, now)
            if fitness is Fitness.FRESH and page is not None:
                return self._hit(page, now)
        except Exception as error:
            return self._state.store_failed(error)
        if request.method == "HEAD":
            return self._head_missed(page if fitness is Fitness.EXPIRED else None, plan)
        verdict = await self._missed(plan, Reading(page, tokens), fitness, after, began)
        if isinstance(verdict, Forward | Stale) and self._flights.landings != landings:
            return await self._look_again(verdict)
        return verdict

    def _hit(self, page: StoredResponse, now: float, *, collapsed: bool = False) -> Hit:
        self._counters.count("collapsed" if collapsed else "hit")
        return Hit(page, page.age(now), int(page.fresh_until - now), collapsed)

    def _head_missed(self, expired: StoredResponse | None, plan: Plan) -> Stale | Bypass:
        """HEAD renders nothing: it gets an expired page in its window, or passes untouched."""
        if usable := self._usable(expired, plan.rule.stale_while_revalidate):
            return self._state.stale(usable, None)
        return self._state.bypass(Reason.HEAD_MISS)

    async def _missed(
        self,
        plan: Plan,
        reading: Reading,
        fitness: Fitness,
        after: Wait | None,
        began: float,
    ) -> Verdict:
        expired = reading.page if fitness is Fitness.EXPIRED else None
        try:
            self._state.hurry(self._sources.monotonic() - began)
            generation = await self._generation(plan, reading.tokens)
        except Exception as error:
            return self._state.store_failed(error)
        ticket = Ticket(
            plan,
            generation,
            None,
            self._sources.now(),
            cause="uri-miss" if fitness in (Fitness.ABSENT, Fitness.FOREIGN) else "stale",
            changed=reuse.changed(reading.page, reading.tokens, fitness),
            fallback=self._usable(expired, plan.rule.stale_if_error),
            spent=self._sources.monotonic() - began,
        )
        return self._embark(ticket, expired, after)

    async def _generation(self, plan: Plan, tokens: Sequence[bytes | None]) -> tuple[bytes, ...]:
        """The present tokens of all namespaces, minted where missing; raises if that fails."""
        missing = [n for n, t in zip(plan.namespaces, tokens, strict=True) if t is None]
        # Another worker may have been first: what counts is what the store says.
        added: Mapping[str, bytes] = {}
        if missing:
            fresh = self._state.mint(missing)
            added = await self._store.add_tokens(fresh, self._state.token_ttl)
        pairs = zip(plan.namespaces, tokens, strict=True)
        return tuple(added[name] if token is None else token for name, token in pairs)

    def _embark(
        self, ticket: Ticket, expired: StoredResponse | None, after: Wait | None
    ) -> Verdict:
        """Lead a flight, follow one, or go alone."""
        plan, now = ticket.plan, self._sources.monotonic()
        usable = self._usable(expired, plan.rule.stale_while_revalidate)
        exchange = current(self._state.realm)
        own_page = exchange is not None and exchange.leading == plan.slot
        if own_page or (after is not None and now >= after.deadline):
            return self._forward(ticket)
        if ticket.fallback and after is not None and after.flight.result is Outcome.RESCUED:
            return self._state.stale(ticket.fallback, None)
        if usable and self._flights.stumbled(plan.slot):
            return self._state.stale(usable, None)
        flight, leads = self._flights.join(plan.slot, ticket.generation)
        if leads:
            ticket.flight = flight
            if usable is None:
                return self._forward(ticket)
            # A page that was refused a moment ago is not refreshed at every request.
            return self._state.stale(usable, ticket if flight is not None else None)
        if usable:
            if flight is not None:
                self._flights.left()
            return self._state.stale(usable, None)
        if flight is None:
            self._counters.count("bench-full")
            return self._forward(ticket)
        deadline = after.deadline if after else now + self._patience
        self._counters.count("wait")
        return Wait(flight, plan, deadline)

    async def _look_again(self, verdict: Forward | Stale) -> Verdict:
        """After getting the lock, look again: a flight landed between our read and our own flight,
        and its page may be the one that we are about to render.
        """
        ticket = verdict.ticket
        if ticket is None or ticket.flight is None or self._state.is_late(ticket.spent):
            return verdict
        plan = ticket.plan
        try:
            page, tokens = await self._store.read(plan.slot, plan.namespaces)
        except BaseException as error:
            self._state.settle(ticket, Outcome.FAILED)
            if isinstance(error, Exception):
                return self._state.store_failed(error)
            raise
        now = self._sources.now()
        if page is None or reuse.fitness(page, plan.key, tokens, now) is not Fitness.FRESH:
            return verdict
        self._state.settle(ticket, page if tokens == ticket.generation else Outcome.FAILED)
        return self._hit(page, now)

    def _usable(self, expired: StoredResponse | None, window: float) -> StoredResponse | None:
        """The expired page while it is within its stale window (RFC 5861)."""
        if expired is None or not reuse.may_be_stale(expired, window, self._sources.now()):
            return None
        return expired

    def _forward(self, ticket: Ticket) -> Forward:
        self._counters.count("forward")
        return Forward(ticket)
