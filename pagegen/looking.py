"""Looking up: the verb between a request and what its front must do."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from .boarding import Boarding
from .exchange import current
from .flights import Outcome
from .groups import SEQUENCE
from .law import early, freshening, reuse, softness
from .law.ranges import is_unread
from .law.reuse import Fitness
from .law.wishes import NOTHING, Wishes, wishes
from .look import Look
from .messages import Request, StoredResponse
from .reading import Found
from .state import State
from .steering import PERSONAL
from .stores.base import Store
from .variants import names_of, values_of, variant
from .verdicts import Bypass, NotCached, Plan, Reason, Ticket, Verdict, Wait

#: Request fields that tell of a person.
_CREDENTIALS: Final = ("authorization", "cookie", *sorted(PERSONAL))
_NONE: Final = frozenset[str]()


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
        self._boarding = Boarding(state, store)
        self.give_back = self._boarding.give_back

    def look_up(
        self, request: Request, after: Wait | None = None, plan: Plan | Bypass | None = None
    ) -> Coroutine[Any, Any, Verdict]:
        """What to do with a request. ``after``: the wait that has just ended for it. ``plan``: the
        request's, where it is made already.
        """
        return self._look(request, plan=plan) if after is None else self._resume(request, after)

    async def _resume(self, request: Request, after: Wait) -> Verdict:
        """Look what became of a wait. Who led others and does so no more lets one of them."""
        leads = after.ticket
        self._flights.left()
        try:
            if leads is None and (landed := self._landed(after, request)) is not None:
                if self._state.owing(landed.namespaces):
                    return self._state.bypass(Reason.OWED)
                stored = not after.flight.is_turn
                now = self._sources.now()
                return self._boarding.hit(landed, now, collapsed=True, stored=stored)
            if leads is not None and not leads.stores:
                return self._boarding.begin_turn(leads)
            return await self._look(request, after)
        finally:
            if leads is not None:
                self._state.settle(leads, Outcome.DECLINED)

    def _count_unread(self, request: Request, asked: Wishes | None) -> None:
        if asked is not None and asked.unread:
            self._state.counters.count("unread:cache-control")
        if is_unread(request.fields.get("range")):
            self._state.counters.count("unread:range")

    async def _look(
        self, request: Request, after: Wait | None = None, plan: Plan | Bypass | None = None
    ) -> Verdict:
        if plan is None:
            plan = self._planner.plan(request) if after is None else after.plan
        if isinstance(plan, Bypass):
            return self._state.bypass(plan.reason)
        if self._state.owing(plan.namespaces):
            return self._state.bypass(Reason.OWED)
        rule = plan.rule
        asked = wishes(request.fields, reloads=rule.client_reload == "honour")
        if after is None:
            self._count_unread(request, asked)
        landings, paid = self._flights.landings, self._state.owed.payments
        began = self._sources.monotonic()
        try:
            found = None
            if rule.learns:
                hurry = self._state.stopwatch()
                found = await self._state.reader.read(self._store, plan, request, hurry)
                # What was owed when this request came may have been paid behind the read.
                if self._state.owing(found.namespaces) or self._state.owed.payments != paid:
                    return self._state.bypass(Reason.OWED)
                key, page, tokens = found.plan.key, found.page, found.tokens
            else:
                key = plan.key
                page, tokens = await self._store.read(plan.slot, plan.namespaces)
            now = self._sources.now()
            fitness = reuse.fitness(page, key, tokens, now)
            good = None
            if (fitness is Fitness.FRESH and page is not None) and (
                asked is None or asked.accepts_fresh(page, now)
            ):
                if after is None and not self._renews(page, rule.early_beta, now):
                    return self._boarding.hit(page, now)
                good = page
        except Exception as error:
            return self._without_store(request, plan, asked or NOTHING, after, error)
        found = found or Found(plan, page, tokens)
        look = Look(request, plan, found, fitness, asked or NOTHING, after, began, landings, paid)
        if good is not None:
            return await self._fresh(look, good, now)
        return self._as_asked(look) or await self._missed(look)

    def _renews(self, page: StoredResponse, beta: float, now: float) -> bool:
        """Whether this request renews a fresh page before it expires."""
        return early.near_end(page, beta, now) and early.due(
            page, beta, now, self._sources.chance()
        )

    def _landed(self, after: Wait, request: Request) -> StoredResponse | None:
        """The page of the flight that ended, if it is this request's."""
        page = after.flight.result
        if not isinstance(page, StoredResponse):
            return None
        if not reuse.within(page, page.stale_while_revalidate, self._sources.now()):
            return None  # who was stopped for so long looks again
        plan = after.plan
        late = len(page.namespaces) > len(plan.namespaces)
        paid = self._state.owed.payments != after.paid
        if late and (paid or after.sequence != after.flight.sequence):
            return None  # what was found may have been forgotten before this request came
        if plan.rule.open:
            plan = variant(plan, names_of(page, plan), values_of(plan, request.fields))
        return page if page.key == plan.key else None

    async def _fresh(self, look: Look, page: StoredResponse, now: float) -> Verdict:
        """A fresh page: the one that was waited for, or one that is renewed before it expires."""
        leads = look.after.ticket if look.after is not None else None
        if look.after is not None:
            if leads is not None and leads.is_for(page):
                self._state.settle(leads, page)
            return self._boarding.hit(page, now, collapsed=leads is not None)
        if look.request.method == "GET" and not look.asked.shares_nothing:
            look.usable = page
            try:
                return await self._boarding.embark(await self._ticket(look), look)
            except Exception as error:
                self._state.store_failed(error)
        return self._boarding.hit(page, now)

    def _as_asked(self, look: Look) -> Verdict | None:
        """What the request's own directives make of a look that found no page to serve at once."""
        asked, expired = look.asked, look.expired
        if expired is not None and asked.accepts_stale(expired, self._sources.now()):
            return self._state.stale(expired, None)
        if asked.only_if_cached:
            self._state.counters.count("not-cached")
            return NotCached()
        return self._state.bypass(Reason.NO_STORE) if asked.no_store else None

    async def _missed(self, look: Look) -> Verdict:
        self._use(look)
        head = look.request.method == "HEAD"
        if head and look.current is None and look.usable is None:
            return self._state.bypass(Reason.HEAD_MISS)
        if look.request.fields.get("range") and self._state.is_large(look.found.plan.slot):
            return self._state.bypass(Reason.RANGE)
        try:
            self._state.hurry(self._sources.monotonic() - look.began)
            ticket = await self._ticket(look)
        except Exception as error:
            return self._without_store(look.request, look.resource, look.asked, look.after, error)
        return await self._boarding.embark(ticket, look)

    def _use(self, look: Look) -> None:
        """Note the page that may be served while one refresh runs behind it (RFC 5861 §3): an
        expired one, or one that was softly invalidated, but not for who made the write.
        """
        page, now = look.expired, self._sources.now()
        if page is not None:
            within = reuse.within(page, page.stale_while_revalidate, now)
        elif look.fitness is Fitness.INVALIDATED and look.found.plan.rule.soft:
            within = self._softly(look, now)
            page = look.found.page
        else:
            return
        if within and page is not None and look.asked.bears_stale(page, now):
            look.usable = page

    def _softly(self, look: Look, now: float) -> bool:
        """Whether a page that lost a token may be served to others for a while."""
        page = look.found.page
        if page is None:
            return False
        look.since = softness.since(page, look.found.tokens)
        if look.since is None or self._state.wrote.wrote(look.request, now):
            return False
        most = look.asked.max_stale
        if most is not None and now > softness.stale_from(page, look.since) + most:
            return False
        return softness.served(page, look.since, now)

    async def _ticket(self, look: Look) -> Ticket:
        """The right to go forward. Its tokens are read, or minted, here. Raises what the store
        raises.
        """
        generation, sequence = await self._generation(look.found)
        plan, page, asked = look.found.plan, look.current, look.asked
        held = False
        if plan.rule.strict:
            self._state.hurry(self._sources.monotonic() - look.began)
            held = bool(await self._state.written(self._store, plan))
            if held:
                self._state.counters.count("being-written")
        elif plan.rule.lag:
            self._state.hurry(self._sources.monotonic() - look.began)
            read = generation if sequence is None else (*generation, sequence)
            held = await self._state.held(self._store, plan, read)
        head = look.request.method == "HEAD"
        # What is renewed early need not make an error of a fresh page.
        fallback = None if asked.no_cache else look.usable if look.early else look.expired
        askable = not held and page is not None and (head or bool(freshening.conditions(page)))
        ticket = Ticket(
            plan,
            look.resource,
            generation,
            self._sources.now(),
            _cause(look),
            changed=_changed(look),
            fallback=fallback,
            validating=page if askable else None,
            credentials=_credentials(plan, look.request),
            sequence=sequence,
            asked=asked,
            spent=self._sources.monotonic() - look.began,
            stores=not held,
        )
        leads = look.after.ticket if look.after is not None else None
        flight = leads.flight if leads is not None and ticket.stores else None
        if leads is not None and flight is not None and flight.key == (plan.slot, generation):
            ticket.flight, leads.settled = flight, True
        return ticket

    async def _generation(self, found: Found) -> tuple[tuple[bytes, ...], bytes | None]:
        """The present tokens of the plan's namespaces and the sequence's, where the rule has one;
        minted where missing. Raises if that fails.
        """
        names, tokens = found.plan.namespaces, found.tokens[: len(found.plan.namespaces)]
        complete = self._state.complete
        if not found.plan.rule.groups:
            return await complete(self._store, names, tokens), None
        names, tokens = (*names, SEQUENCE), (*tokens, found.sequence)
        *generation, sequence = await complete(self._store, names, tokens)
        return tuple(generation), sequence

    def _without_store(
        self,
        request: Request,
        plan: Plan,
        asked: Wishes,
        after: Wait | None,
        error: Exception,
    ) -> Verdict:
        """The store failed: the page is rendered in turns, or the application gets the untouched
        request where nobody else could want the same.
        """
        failed = self._state.store_failed(error)
        exchange = current(self._state.realm)
        if request.method != "GET" or request.fields.get("range") is not None:
            return failed
        if asked.shares_nothing:
            return failed
        variants = self._state.variants
        target = variants.selected(plan, variants.marking(plan), request)
        if exchange is not None and exchange.leading == target.slot:
            return failed
        ticket = Ticket(
            target,
            plan,
            (),
            self._sources.now(),
            "bypass",
            asked=asked,
            credentials=_credentials(target, request),
            stores=False,
        )
        return self._boarding.take_turn(ticket, plan, after)


def _credentials(plan: Plan, request: Request) -> frozenset[str]:
    """The fields that tell of a person, and that the handler sees though they are not keyed."""
    if not plan.rule.open:
        return _NONE
    value_of = values_of(plan, request.fields)
    return frozenset(
        name for name in _CREDENTIALS if name not in plan.keyed and value_of(name) is not None
    )


def _changed(look: Look) -> tuple[str, ...]:
    """The namespaces by which the page that was there has gone."""
    return softness.declared(reuse.changed(look.found.page, look.found.tokens, look.fitness))


def _cause(look: Look) -> str:
    """RFC 9211's word for why this request goes forward (§2.2)."""
    if look.early:
        return "miss"
    if look.demanded:
        return "request"
    if look.fitness not in (Fitness.ABSENT, Fitness.FOREIGN):
        return "stale"
    return "vary-miss" if look.found.plan is not look.resource else "uri-miss"
