"""The engine: five verbs between fronts and stores.

``look_up``, ``admit``, ``freshen``, ``abandon`` and ``invalidate`` decide and keep the order that
makes pagegen safe:

1. The tokens of a page are read before its handler starts; missing ones are minted with *add* and
   read again.
2. A page is stored with the tokens read *before* its handler ran.
3. A page is served only when its tokens equal the present ones, one by one.
4. An invalidation writes new random tokens, and returns when the store has them.

The engine never sleeps and never runs the application: it returns what the front must do. Its
coroutines await store calls and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Final

from .config import Configuration
from .exchange import Exchange, current
from .flights import Flights, Outcome
from .inspecting import inspect
from .invalidating import Invalidator
from .law import downstream, reuse, storing, unsafe
from .law.reuse import Fitness
from .law.storing import Refusal
from .messages import Fields, Request, ResponseHead, StoredResponse
from .pages import stored_response
from .planning import Planner, bypass
from .remarks import Remarks
from .sources import Sources
from .status import Counters
from .stores.base import Reading, Store
from .verdicts import (
    Admitted,
    Bypass,
    Forward,
    Hit,
    Inspection,
    Invalidation,
    Plan,
    Reason,
    Refused,
    Stale,
    Ticket,
    Verdict,
    Wait,
)
from .views import View

#: Seconds for which an expired page stays where it is, so that a miss can say what became of it.
#: Eviction takes it earlier when its place is wanted.
LINGER: Final = 3600.0


class Engine:
    """One cache. Thread-safe, and shared by any number of event loops."""

    def __init__(
        self, configuration: Configuration, store: Store, sources: Sources | None = None
    ) -> None:
        settings = configuration.settings
        self.settings = settings
        self.store = store
        self.counters = Counters()
        self._book = configuration.book
        self._sources = sources or Sources()
        self._flights = Flights(settings.max_waiters, self._sources.monotonic)
        self._planner = Planner(
            self._book,
            site=settings.site,
            release=settings.release,
            passthrough=settings.passthrough,
        )
        self._token_ttl = configuration.book.token_ttl()
        self._remarks = Remarks(self._book)
        self._remarks.started()
        #: What exchanges belong to: both faces of an engine are one cache.
        self.realm = object()
        self._invalidator = Invalidator(
            store, self._token_ttl, self._sources, self.counters, self._remarks
        )
        self._owed = self._invalidator.owed

    def over(self, store: Store) -> Engine:
        """The same engine on another face of its store: all else is shared."""
        twin = copy(self)
        twin.store = store
        twin._invalidator = self._invalidator.over(store)
        return twin

    def close(self) -> None:
        """Pay what is owed if that can be, and give back what the store holds open."""
        self._owed.close()
        self.store.close()

    # look_up ---------------------------------------------------------------------------------

    async def look_up(self, request: Request, after: Wait | None = None) -> Verdict:
        """What to do with a request. ``after``: the wait that has just ended for it."""
        plan = after.plan if after is not None else self._planner.plan(request)
        if isinstance(plan, Bypass):
            self.counters.count(f"bypass:{plan.reason}")
            return plan
        if after is not None:
            self.leave(after)
        if self._owing(plan.namespaces):
            return self._bypass(Reason.OWED)
        if after is not None:
            result = after.flight.result
            if isinstance(result, StoredResponse):
                return self._hit(result, self._sources.now(), collapsed=True)
        landings = self._flights.landings
        try:
            page, tokens = await self.store.read(plan.slot, plan.namespaces)
        except Exception as error:
            return self._store_failed(error)
        now = self._sources.now()
        fitness = reuse.fitness(page, plan.key, tokens, now)
        if fitness is Fitness.FRESH and page is not None:
            return self._hit(page, now)
        if request.method == "HEAD":
            return self._head_missed(page if fitness is Fitness.EXPIRED else None, plan)
        verdict = await self._missed(plan, Reading(page, tokens), fitness, after)
        if isinstance(verdict, Forward | Stale) and self._flights.landings != landings:
            return await self._look_again(verdict)
        return verdict

    def _hit(self, page: StoredResponse, now: float, *, collapsed: bool = False) -> Hit:
        self.counters.count("collapsed" if collapsed else "hit")
        return Hit(page, page.age(now), int(page.fresh_until - now), collapsed)

    def _head_missed(self, expired: StoredResponse | None, plan: Plan) -> Stale | Bypass:
        """HEAD renders nothing: it gets an expired page in its window, or passes untouched."""
        if usable := self._usable(expired, plan.rule.stale_while_revalidate):
            return self._stale(usable, None)
        return self._bypass(Reason.HEAD_MISS)

    def _bypass(self, reason: Reason) -> Bypass:
        self.counters.count(f"bypass:{reason}")
        return bypass(reason)

    async def _missed(
        self,
        plan: Plan,
        reading: Reading,
        fitness: Fitness,
        after: Wait | None,
    ) -> Verdict:
        expired = reading.page if fitness is Fitness.EXPIRED else None
        try:
            generation = await self._generation(plan, reading.tokens)
        except Exception as error:
            return self._store_failed(error)
        ticket = Ticket(
            plan,
            generation,
            None,
            self._sources.now(),
            cause="uri-miss" if fitness in (Fitness.ABSENT, Fitness.FOREIGN) else "stale",
            changed=reuse.changed(reading.page, reading.tokens, fitness),
            fallback=self._usable(expired, plan.rule.stale_if_error),
        )
        return self._embark(ticket, expired, after)

    async def _generation(self, plan: Plan, tokens: Sequence[bytes | None]) -> tuple[bytes, ...]:
        """The present tokens of all namespaces, minted where missing; raises if that fails."""
        missing = [n for n, t in zip(plan.namespaces, tokens, strict=True) if t is None]
        # Another worker may have been first: what counts is what the store says.
        fresh = {name: self._sources.mint() for name in missing}
        added = await self.store.add_tokens(fresh, self._token_ttl) if missing else {}
        pairs = zip(plan.namespaces, tokens, strict=True)
        return tuple(added[name] if token is None else token for name, token in pairs)

    def _embark(
        self, ticket: Ticket, expired: StoredResponse | None, after: Wait | None
    ) -> Verdict:
        """Lead a flight, follow one, or go alone."""
        plan, now = ticket.plan, self._sources.monotonic()
        usable = self._usable(expired, plan.rule.stale_while_revalidate)
        exchange = current(self.realm)
        own_page = exchange is not None and exchange.leading == plan.slot
        if own_page or (after is not None and now >= after.deadline):
            return self._forward(ticket)
        if ticket.fallback and after is not None and after.flight.result is Outcome.RESCUED:
            return self._stale(ticket.fallback, None)
        if usable and self._flights.stumbled(plan.slot):
            return self._stale(usable, None)
        flight, leads = self._flights.join(plan.slot, ticket.generation)
        if leads:
            ticket.flight = flight
            if usable is None:
                return self._forward(ticket)
            # A page that was refused a moment ago is not refreshed at every request.
            return self._stale(usable, ticket if flight is not None else None)
        if usable:
            if flight is not None:
                self._flights.left()
            return self._stale(usable, None)
        if flight is None:
            self.counters.count("bench-full")
            return self._forward(ticket)
        deadline = after.deadline if after else now + self.settings.patience
        self.counters.count("wait")
        return Wait(flight, plan, deadline)

    async def _look_again(self, verdict: Forward | Stale) -> Verdict:
        """After getting the lock, look again: a flight landed between our read and our own flight,
        and its page may be the one that we are about to render.
        """
        ticket = verdict.ticket
        if ticket is None or ticket.flight is None:
            return verdict
        plan = ticket.plan
        try:
            page, tokens = await self.store.read(plan.slot, plan.namespaces)
        except BaseException as error:
            self._settle(ticket, Outcome.FAILED)
            if isinstance(error, Exception):
                return self._store_failed(error)
            raise
        now = self._sources.now()
        if page is None or reuse.fitness(page, plan.key, tokens, now) is not Fitness.FRESH:
            return verdict
        self._settle(ticket, page if tokens == ticket.generation else Outcome.FAILED)
        return self._hit(page, now)

    def _usable(self, expired: StoredResponse | None, window: float) -> StoredResponse | None:
        """The expired page while it is within its stale window (RFC 5861)."""
        if expired is None or not reuse.may_be_stale(expired, window, self._sources.now()):
            return None
        return expired

    def _forward(self, ticket: Ticket) -> Forward:
        self.counters.count("forward")
        return Forward(ticket)

    def _stale(self, page: StoredResponse, ticket: Ticket | None) -> Stale:
        self.counters.count("stale")
        now = self._sources.now()
        return Stale(page, page.age(now), int(page.fresh_until - now), ticket)

    def _store_failed(self, error: Exception) -> Bypass:
        """A store that fails costs a miss, never a page."""
        self.counters.count("store-failed")
        self._remarks.store_failed(error, self._sources.monotonic())
        return bypass(Reason.STORE)

    def leave(self, wait: Wait) -> None:
        """Somebody waits no longer; a :meth:`look_up` ``after`` it says so."""
        self._flights.left()

    def view(self, ticket: Ticket, request: Request) -> View:
        """What the handler of this forward may see."""
        return self._planner.view(ticket.plan, request)

    # admit, freshen, abandon -----------------------------------------------------------------

    def refusal(self, ticket: Ticket, head: ResponseHead) -> Refusal | None:
        """Why this head can never be admitted; asked before the body, so none is collected."""
        plan = ticket.plan
        length = storing.declared_length(head)
        if length is not None and length > plan.rule.body_limit:
            return Refusal.TOO_LARGE
        return storing.refusal(head, plan.rule, plan.keyed, plan.namespaces, self._sources.now())

    def leaving_fields(self, ticket: Ticket, head: ResponseHead) -> Fields:
        """The fields of a response that leaves while it is still collected."""
        plan = ticket.plan
        return downstream.passing_fields(head, plan.rule, plan.namespaces)

    async def admit(self, ticket: Ticket, head: ResponseHead, body: bytes) -> Admitted | Refused:
        """Store a whole response under the tokens of its ticket, and hand it to those who wait."""
        plan = ticket.plan
        refusal = (
            self.refusal(ticket, head)
            or storing.body_refusal(head, len(body), plan.rule)
            or self._untagged(plan.namespaces)
            or (Refusal.OWED if self._owing(plan.namespaces) else None)
        )
        if refusal is not None:
            return await self.abandon(ticket, refusal)
        now = self._sources.now()
        page = stored_response(ticket, head, body, now)
        windows = max(plan.rule.stale_while_revalidate, plan.rule.stale_if_error)
        keep = page.fresh_until - now + windows + LINGER
        try:
            kept = await self.store.write_page(plan.slot, page, keep)
        except Exception as error:
            self._store_failed(error)
            kept = False
        self.counters.count("admitted" if kept else "no-room")
        self._settle(ticket, page)
        return Admitted(page)

    def _untagged(self, namespaces: Sequence[str]) -> Refusal | None:
        """A page tagged with what its rule does not declare could not be forgotten by it."""
        exchange = current(self.realm)
        if exchange is not None and not exchange.tags.keys() <= set(namespaces):
            return Refusal.GROUPS
        return None

    def _owing(self, namespaces: Sequence[str]) -> bool:
        """Whether a page may be old already: an invalidation of it is not acknowledged."""
        return bool(self._owed.names) and self._owed.touches(namespaces)

    async def freshen(self, ticket: Ticket, head: ResponseHead) -> Admitted | Refused:
        """Give the ticket's expired page a new lifetime after a 304 from the application.

        Its fields are updated by those of the 304 (RFC 9111 §3.2) and it is admitted anew, under
        the tokens of the ticket.
        """
        old = ticket.fallback
        if old is None:
            return await self.abandon(ticket, Refusal.STATUS)
        new = {name.lower() for name, _ in head.fields} - {"content-length", "content-encoding"}
        kept = tuple(pair for pair in old.from_application() if pair[0].lower() not in new)
        fresh = tuple(pair for pair in head.fields if pair[0].lower() in new)
        updated = ResponseHead(old.status, (*kept, *fresh), old.status_line[4:])
        return await self.admit(ticket, updated, old.body)

    def rescue(self, ticket: Ticket, error: Exception | None = None) -> Stale | None:
        """The expired page that may stand in for a failing application (RFC 5861 §4).

        Those who wait get it too, each within its own window. An exception that stands for a
        client error (frameworks raise 404 so) is no failure: None.
        """
        if ticket.fallback is None or reuse.stands_for_client_error(error):
            return None
        self.counters.count(f"refused:{Refusal.FAILED}")
        self._settle(ticket, Outcome.RESCUED)
        return self._stale(ticket.fallback, None)

    def decline(self, ticket: Ticket) -> None:
        """Give a ticket back unused: there is no room for another refresh."""
        self.counters.count("declined")
        self._settle(ticket, Outcome.DECLINED)

    async def abandon(self, ticket: Ticket, refusal: Refusal) -> Refused:
        """End a forward without a page. Whoever waits forwards itself or tries again."""
        self.counters.count(f"refused:{refusal}")
        self._remarks.not_stored(ticket.plan.rule.name, refusal)
        failed = refusal in (Refusal.FAILED, Refusal.INCOMPLETE)
        self._settle(ticket, Outcome.FAILED if failed else Outcome.REFUSED)
        return Refused(refusal)

    def _settle(self, ticket: Ticket, result: StoredResponse | Outcome) -> None:
        if ticket.settled:
            return
        ticket.settled = True
        if isinstance(result, StoredResponse):
            self._flights.rejoin(ticket.plan.slot)
        if ticket.flight is None:
            return
        if isinstance(result, Outcome):
            self._flights.cancel(ticket.flight, result)
        else:
            self._flights.land(ticket.flight, result)

    # invalidate ------------------------------------------------------------------------------

    async def invalidate(self, namespaces: Sequence[str]) -> Invalidation:
        """Forget all pages of these namespaces.

        Raises ``NamespaceError`` for what is no name, before anything is done, and
        ``InvalidationError`` when the store does not acknowledge.
        """
        return await self._invalidator.invalidate(namespaces, current(self.realm))

    async def settle(self, exchange: Exchange) -> None:
        """Invalidate once more what was invalidated while a handler ran; never raises."""
        if exchange.owed:
            await self._invalidator.settle(exchange)

    def forgotten_by(self, request: Request, head: ResponseHead) -> tuple[str, ...]:
        """Namespaces that the answer to a write invalidates without code in its handler."""
        names = unsafe.forgotten(self._book, request.method, request.path, head)
        self._remarks.invalidated(names)
        return names

    # asking ----------------------------------------------------------------------------------

    async def inspect(self, request: Request) -> Inspection:
        """What the cache holds for a request; changes nothing. Raises what the store raises."""
        return await inspect(self._planner.plan(request), self.store, self._sources.now)

    def statistics(self) -> Mapping[str, int]:
        """Counters of this process, flights in the air and the store's own statistics."""
        return {
            **self.counters.snapshot(),
            **self._owed.statistics(),
            **{f"flights_{k}": v for k, v in self._flights.statistics().items()},
            **{f"store_{k}": v for k, v in self.store.statistics().items()},
        }
