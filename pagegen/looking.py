"""Looking up: the verb between a request and what its front must do."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Final

from .exchange import current
from .fields import tokens
from .flights import Outcome
from .groups import SEQUENCE
from .law import freshening, reuse, storing
from .law.reuse import Fitness
from .law.storing import Refusal
from .law.wishes import NOTHING, Wishes, wishes
from .messages import Request, ResponseHead, StoredResponse
from .reading import Found
from .state import State
from .steering import PERSONAL
from .stores.base import Store
from .variants import names_of, values_of, variant
from .verdicts import Bypass, Forward, Hit, NotCached, Plan, Reason, Stale, Ticket, Verdict, Wait
from .views import shown

#: Request fields that tell of a person.
_CREDENTIALS: Final = ("authorization", "cookie", *sorted(PERSONAL))
_NONE: Final = frozenset[str]()
_PERSONAL: Final = (Refusal.AUTHORIZATION, Refusal.COOKIE, Refusal.PERSONAL)


@dataclass(slots=True, eq=False)
class _Look:
    """One look: what was asked, what the store had, and what that is worth."""

    request: Request
    resource: Plan
    found: Found
    fitness: Fitness
    asked: Wishes
    after: Wait | None
    began: float

    @property
    def expired(self) -> StoredResponse | None:
        """The page, where it is over its lifetime and nothing worse."""
        return self.found.page if self.fitness is Fitness.EXPIRED else None

    @property
    def demanded(self) -> bool:
        """Whether the page is fresh, and the request wants the application asked all the same."""
        return self.fitness is Fitness.FRESH

    @property
    def current(self) -> StoredResponse | None:
        """The page, if no namespace of it was forgotten: the application may find it good."""
        usable = self.fitness in (Fitness.EXPIRED, Fitness.FRESH)
        return self.found.page if usable else None


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
        if after is not None and (landed := self._landed(after, request)) is not None:
            return self._hit(landed, self._sources.now(), collapsed=True)
        rule = plan.rule
        asked = wishes(request.fields, reloads=rule.client_reload == "honour")
        landings = self._flights.landings
        began = self._sources.monotonic()
        try:
            found = None
            if rule.learns:
                hurry = self._state.stopwatch()
                found = await self._state.reader.read(self._store, plan, request, hurry)
                if self._state.owing(found.namespaces):
                    return self._state.bypass(Reason.OWED)
                key, page, tokens = found.plan.key, found.page, found.tokens
            else:
                key = plan.key
                page, tokens = await self._store.read(plan.slot, plan.namespaces)
            now = self._sources.now()
            fitness = reuse.fitness(page, key, tokens, now)
            if (fitness is Fitness.FRESH and page is not None) and (
                asked is None or asked.accepts_fresh(page, now)
            ):
                return self._hit(page, now)
        except Exception as error:
            return self._state.store_failed(error)
        found = found or Found(plan, page, tokens)
        look = _Look(request, plan, found, fitness, asked or NOTHING, after, began)
        verdict = self._as_asked(look) or await self._missed(look)
        if isinstance(verdict, Forward | Stale) and self._flights.landings != landings:
            return await self._look_again(verdict, look)
        return verdict

    def _landed(self, after: Wait, request: Request) -> StoredResponse | None:
        """The page of the flight that ended, if it is this request's."""
        page = after.flight.result
        if not isinstance(page, StoredResponse):
            return None
        plan = after.plan
        late = len(page.namespaces) > len(plan.namespaces)
        if late and after.sequence != after.flight.sequence:
            return None  # what was found may have been forgotten before this request came
        if plan.rule.open:
            plan = variant(plan, names_of(page, plan), values_of(plan, request.fields))
        return page if page.key == plan.key else None

    def _hit(self, page: StoredResponse, now: float, *, collapsed: bool = False) -> Hit:
        self._counters.count("collapsed" if collapsed else "hit")
        return Hit(page, page.age(now), floor(page.fresh_until - now), collapsed)

    def _as_asked(self, look: _Look) -> Verdict | None:
        """What the request's own directives make of a look that found no page to serve at once."""
        asked, expired = look.asked, look.expired
        if expired is not None and asked.accepts_stale(expired, self._sources.now()):
            return self._state.stale(expired, None)
        if asked.only_if_cached:
            self._counters.count("not-cached")
            return NotCached()
        return self._state.bypass(Reason.NO_STORE) if asked.no_store else None

    async def _missed(self, look: _Look) -> Verdict:
        if look.request.method == "HEAD" and look.current is None:
            return self._state.bypass(Reason.HEAD_MISS)
        if look.request.fields.get("range") and self._state.is_large(look.found.plan.slot):
            return self._state.bypass(Reason.RANGE)
        try:
            self._state.hurry(self._sources.monotonic() - look.began)
            generation, sequence = await self._generation(look.found)
        except Exception as error:
            return self._state.store_failed(error)
        return self._embark(self._ticket(look, generation, sequence), look)

    def _ticket(self, look: _Look, generation: tuple[bytes, ...], sequence: bytes | None) -> Ticket:
        plan, page, asked = look.found.plan, look.current, look.asked
        head = look.request.method == "HEAD"
        return Ticket(
            plan,
            look.resource,
            generation,
            self._sources.now(),
            _cause(look),
            changed=reuse.changed(look.found.page, look.found.tokens, look.fitness),
            fallback=None if asked.no_cache else look.expired,
            validating=page if page is not None and (head or freshening.conditions(page)) else None,
            credentials=_credentials(plan, look.request),
            sequence=sequence,
            asked=asked,
            spent=self._sources.monotonic() - look.began,
        )

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

    def _embark(self, ticket: Ticket, look: _Look) -> Verdict:
        """Lead a flight, follow one, or go alone."""
        usable = self._usable(look)
        if (alone := self._alone(ticket, look, usable)) is not None:
            return alone
        flight, leads = self._flights.join(ticket.plan.slot, ticket.generation, ticket.sequence)
        if leads:
            ticket.flight = flight
            if usable is None:
                return self._forward(ticket)
            # A page that was refused a moment ago is not refreshed at every request.
            return self._state.stale(usable, ticket if flight is not None else None)
        if usable or look.asked.demands:
            # Whoever wants the application asked does not wait for what was asked before.
            if flight is not None:
                self._flights.left()
            return self._state.stale(usable, None) if usable else self._forward(ticket)
        if flight is None:
            self._counters.count("bench-full")
            return self._forward(ticket)
        after = look.after
        deadline = after.deadline if after else self._sources.monotonic() + self._patience
        self._counters.count("wait")
        return Wait(flight, look.resource, deadline, ticket.sequence)

    def _alone(self, ticket: Ticket, look: _Look, usable: StoredResponse | None) -> Verdict | None:
        """What needs no flight, or must not wait for one; None where there has to be one."""
        place, after = ticket.plan.slot, look.after
        if look.request.method == "HEAD":
            return self._state.stale(usable, None) if usable else self._forward(ticket)
        exchange = current(self._state.realm)
        own_page = exchange is not None and exchange.leading == place
        if own_page or (after is not None and self._sources.monotonic() >= after.deadline):
            return self._forward(ticket)
        if after is not None and (page := self._rescued(ticket, after)) is not None:
            return self._state.stale(page, None)
        if usable and (self._flights.stumbled(place) or _in_vain(usable, ticket)):
            return self._state.stale(usable, None)
        return None

    def _rescued(self, ticket: Ticket, after: Wait) -> StoredResponse | None:
        """The expired page for a request that waited for an application that failed."""
        outcome = after.flight.result
        if outcome not in (Outcome.RESCUED, Outcome.UNREACHABLE):
            return None
        return self._state.refuge(ticket, reached=outcome is Outcome.RESCUED)

    async def _look_again(self, verdict: Forward | Stale, look: _Look) -> Verdict:
        """After getting the lock, look again: a flight landed between our read and our own flight,
        and its page may be the one that we are about to render.
        """
        ticket = verdict.ticket
        if ticket is None or ticket.flight is None or self._state.is_late(ticket.spent):
            return verdict
        if look.demanded:
            return verdict
        try:
            hurry = self._state.stopwatch(ticket.spent)
            found = await self._state.reader.read(self._store, look.resource, look.request, hurry)
        except BaseException as error:
            self._state.settle(ticket, Outcome.FAILED)
            if isinstance(error, Exception):
                return self._state.store_failed(error)
            raise
        now, page = self._sources.now(), found.page
        fitness = reuse.fitness(page, found.plan.key, found.tokens, now)
        if page is None or fitness is not Fitness.FRESH or not look.asked.accepts_fresh(page, now):
            return verdict
        same = page.key == ticket.plan.key
        same = same and found.tokens[: len(ticket.generation)] == ticket.generation
        self._state.settle(ticket, page if same else Outcome.FAILED)
        return self._hit(page, now)

    def _usable(self, look: _Look) -> StoredResponse | None:
        """The expired page while it may be served and refreshed behind it (RFC 5861 §3)."""
        page, now = look.expired, self._sources.now()
        if page is None or not reuse.within(page, page.stale_while_revalidate, now):
            return None
        return page if look.asked.bears_stale(page, now) else None

    def _forward(self, ticket: Ticket) -> Forward:
        self._counters.count("forward")
        return Forward(ticket)


def _credentials(plan: Plan, request: Request) -> frozenset[str]:
    """The fields that tell of a person, and that the handler sees though they are not keyed."""
    if not plan.rule.open:
        return _NONE
    get = request.fields.get
    nominated = tokens(get("connection"))
    return frozenset(
        name
        for name in _CREDENTIALS
        if get(name) is not None and name not in plan.keyed and shown(plan, name, nominated)
    )


def _cause(look: _Look) -> str:
    """RFC 9211's word for why this request goes forward (§2.2)."""
    if look.demanded:
        return "request"
    if look.fitness not in (Fitness.ABSENT, Fitness.FOREIGN):
        return "stale"
    return "vary-miss" if look.found.plan is not look.resource else "uri-miss"


def _in_vain(page: StoredResponse, ticket: Ticket) -> bool:
    """Whether a refresh with this visitor's credentials would be refused, for all that is known.

    It would keep those from refreshing the page who could.
    """
    plan, who = ticket.plan, ticket.credentials
    head = ResponseHead(page.status, page.from_application())
    asked = (head, plan.rule, plan.keyed, page.namespaces, page.stored_at)
    return bool(who) and storing.refusal(*asked, who) in _PERSONAL
