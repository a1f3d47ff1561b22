"""Admitting: what becomes of the application's response to a forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import groups
from .collecting import Collection
from .compression import compressed
from .exchange import current
from .flights import Outcome
from .law import codings, downstream, freshening, reuse, staleness, storing, vary
from .law.storing import Refusal
from .leasing import Mark
from .messages import Codings, Fields, Request, ResponseHead, StoredResponse
from .pages import stored_response
from .state import State
from .stores.base import Store
from .variants import variant
from .verdicts import Admitted, Course, Plan, Refused, Stale, Ticket

#: Seconds for which an expired page stays where it is, so that a miss can say what became of it.
#: Eviction takes it earlier when its place is wanted.
LINGER: Final = 3600.0
#: What a 304 says so of the page itself (RFC 9111 §3.2), and not of its visitor or its moment: the
#: stored page must not be used again either.
_RENOUNCED: Final = frozenset((Refusal.NO_STORE, Refusal.PRIVATE, Refusal.VARY))
#: Refusals that say nothing of the next response: who waits tries again.
_FAILURES: Final = frozenset(
    (Refusal.CROWDED, Refusal.FAILED, Refusal.INCOMPLETE, Refusal.SEQUENCE, Refusal.STORE)
)


class Admission:
    """Admits into one face of the store: a page is stored with the tokens of its ticket, which were
    read before its handler ran. Every ticket ends here, with a page or without.
    """

    def __init__(self, state: State, store: Store) -> None:
        self._state = state
        self._store = store
        self._sources = state.sources
        self._counters = state.counters
        self._variants = state.variants

    def refusal(self, ticket: Ticket, head: ResponseHead) -> Refusal | None:
        """Why this head can never be admitted; asked before the body, so none is collected."""
        plan = ticket.plan
        length = storing.declared_length(head)
        if length is not None and length > plan.rule.body_limit:
            return Refusal.TOO_LARGE
        return storing.refusal(
            head,
            plan.rule,
            plan.keyed,
            plan.namespaces,
            self._sources.now(),
            ticket.credentials,
            ticket.seen,
        )

    def course(
        self, ticket: Ticket, request: Request, head: ResponseHead, refusal: Refusal | None = None
    ) -> Course | Refusal:
        """What becomes of a response with this head. ``refusal``: why no front can collect it."""
        if request.method == "HEAD":
            return Course.REPLACE if self.replaces(ticket, head) else Course.PASS
        if head.status == 304 and ticket.validating is not None:
            return Course.VALIDATE
        refusal = refusal or self.refusal(ticket, head)
        if refusal is None:
            return Course.COLLECT
        return Course.REPLACE if self.replaces(ticket, head) else refusal

    def collection(self, ticket: Ticket) -> Collection:
        """Where the body of a response to this ticket is collected."""
        return Collection(ticket.plan.rule.body_limit, self._state.room)

    def leaving_fields(self, ticket: Ticket, request: Request, head: ResponseHead) -> Fields:
        """The fields of a response that leaves while it is still collected."""
        return downstream.passing_fields(head, ticket.plan.rule, ticket.plan.keyed, request)

    def refused_fields(self, ticket: Ticket, head: ResponseHead) -> Fields:
        """The fields of a response that leaves and is not stored."""
        return downstream.refused_fields(head, ticket.plan.rule, ticket.plan.keyed)

    def worth_coding(self, ticket: Ticket, head: ResponseHead, length: int) -> bool:
        """Whether a page is also to be kept in the codings of its rule."""
        kept = ticket.stores and bool(ticket.plan.rule.compress)
        return kept and codings.worth_coding(head, length)

    def coded(self, ticket: Ticket, body: bytes) -> Codings:
        """The codings that a page is also kept in; takes some milliseconds."""
        rule = ticket.plan.rule
        return compressed(body, rule.compress, rule.body_limit - len(body))

    async def admit(
        self,
        ticket: Ticket,
        head: ResponseHead,
        body: bytes,
        coded: Codings = (),
        old: StoredResponse | None = None,
    ) -> Admitted | Refused:
        """Store a whole response under the tokens of its ticket, and hand it to those who wait.

        ``old``: the stored page that the body is from, whose namespaces it keeps.
        """
        if not ticket.stores and (ticket.flight is None or not ticket.flight.followers):
            # Nobody else gets it: the client may have it as the application made it.
            self._state.settle(ticket, Outcome.DECLINED)
            return Refused(None)
        hurry = self._state.stopwatch(ticket.spent)
        refusal = await self._refusal_of_whole(ticket, head, len(body), old, hurry)
        if refusal is not None:
            return await self.abandon(ticket, refusal)
        now = self._sources.now()
        target, names = self._target(ticket, head)
        page = stored_response(target, ticket, head, body, now, coded)
        self._state.leasing.learn(target, page.render_seconds)
        kept = await self._keep(ticket, target, names, page, hurry)
        # What is stale when it comes is nobody else's page without asking the application, unless
        # it says that it may be served meanwhile.
        good = reuse.within(page, page.stale_while_revalidate, now)
        self._state.settle(ticket, page if good else Outcome.REFUSED)
        if ticket.lease is not None and kept is not None and not (good and kept):
            await self._mark(ticket, Mark.UNKEPT if good else Mark.REFUSED, hurry)
        return Admitted(page, kept=bool(kept), withheld=storing.withheld_fields(head))

    async def _keep(
        self,
        ticket: Ticket,
        target: Plan,
        names: tuple[str, ...],
        page: StoredResponse,
        hurry: Callable[[], None],
    ) -> bool | None:
        """Put a page into the store, if that is where it may go; whether it is there. None: the
        store failed.
        """
        if names:
            # Before the store is asked, and though it may fail: who waits for this page and gets
            # another one must not wait for the next in vain, too.
            self._variants.expect(ticket.resource, names)
        if not ticket.stores:
            return False
        try:
            hurry()
            kept = await self._write(ticket, target, names, page, hurry)
        except Exception as error:
            self._state.store_failed(error)
            self._counters.count("no-room")
            return None
        self._counters.count("admitted" if kept else "no-room")
        return kept

    async def _refusal_of_whole(
        self,
        ticket: Ticket,
        head: ResponseHead,
        length: int,
        old: StoredResponse | None,
        hurry: Callable[[], None],
    ) -> Refusal | None:
        """Why a response with a body of ``length`` bytes is not stored, now that it is whole. One
        that may be has the tokens of its late namespaces in its ticket then.
        """
        plan, late = ticket.plan, self._late(ticket.plan, head, old)
        refusal = self.refusal(ticket, head) or storing.body_refusal(head, length, plan.rule)
        if refusal is not None:
            return refusal
        if late is None:
            return Refusal.GROUPS
        if self._state.owing((*plan.namespaces, *late)):
            return Refusal.OWED
        return await self._belong(ticket, late, hurry) if late and ticket.stores else None

    def _target(self, ticket: Ticket, head: ResponseHead) -> tuple[Plan, tuple[str, ...]]:
        """Where this response lives, and the names of the request fields that select it."""
        resource = ticket.resource
        if not resource.rule.open:
            return ticket.plan, ()
        names = vary.selecting(head, resource.keyed) or ()
        return variant(resource, names, ticket.seen.get), names

    async def _write(
        self,
        ticket: Ticket,
        target: Plan,
        names: tuple[str, ...],
        page: StoredResponse,
        hurry: Callable[[], None],
    ) -> bool:
        now = page.stored_at
        windows = (page.stale_while_revalidate, page.stale_if_error, page.stale_if_unreachable)
        keep = max(0.0, page.fresh_until - now) + max(windows) + LINGER
        kept = await self._store.write_page(target.slot, page, keep)
        if target.rule.groups:
            self._state.groups.learn(target.slot, tuple(ticket.late))
        if target.rule.open:
            if names:
                await self._variants.mark(
                    self._store, ticket.resource, target, names, now, keep, hurry
                )
            else:
                self._variants.unlearn(ticket.resource)
        return kept

    def _late(
        self, plan: Plan, head: ResponseHead, old: StoredResponse | None
    ) -> tuple[str, ...] | None:
        """The namespaces that were found while rendering; None for any that the rule forbids.

        A handler that finds its page still good renders nothing, and so names none: what it named
        when it made these bytes holds.
        """
        exchange = current(self._state.realm)
        tags = () if exchange is None else tuple(exchange.tags)
        if old is not None:
            tags += old.namespaces[len(plan.namespaces) :]
        late = groups.found(head, tags, plan.namespaces)
        return late if plan.rule.groups or not late else None

    async def _belong(
        self, ticket: Ticket, late: tuple[str, ...], hurry: Callable[[], None]
    ) -> Refusal | None:
        """Read the tokens of late namespaces into the ticket, and after them the sequence."""
        try:
            hurry()
            _, present = await self._store.read(None, late)
            hurry()
            tokens = await self._state.complete(self._store, late, present)
            hurry()
            _, (sequence,) = await self._store.read(None, (groups.SEQUENCE,))
        except Exception as error:
            self._state.store_failed(error)
            return Refusal.STORE
        if ticket.sequence is None or sequence != ticket.sequence:
            return Refusal.SEQUENCE
        ticket.late = dict(zip(late, tokens, strict=True))
        return None

    async def freshen(self, ticket: Ticket, head: ResponseHead) -> Admitted | None:
        """Give the ticket's page a new lifetime after a 304 from the application, under the tokens
        of the ticket (RFC 9111 §4.3.4).

        None: the 304 is about another page, and the application has to be asked without condition.
        What the 304 forbids to store is not stored, and still is this client's answer.
        """
        old = ticket.validating
        if old is None or not freshening.selects(old, head):
            return None
        updated = freshening.updated(old, head)
        outcome = await self._readmit(ticket, old, updated)
        if isinstance(outcome, Admitted):
            return outcome
        closed = staleness.newly_forbidden(old, updated, ticket.plan.rule)
        if (closed or outcome.refusal in _RENOUNCED) and not ticket.credentials:
            await self._drop(ticket)
        page = stored_response(ticket.plan, ticket, updated, old.body, self._sources.now())
        withheld = storing.withheld_fields(updated)
        withheld += storing.cookies_set(head)
        return Admitted(page, outcome.refusal, kept=False, withheld=withheld)

    async def consult(self, ticket: Ticket, head: ResponseHead) -> None:
        """Use the answer to a HEAD for the page that a GET would get (RFC 9111 §4.3.5).

        It is freshened when both agree. Otherwise it is not what the application has any more.
        """
        old = ticket.validating
        if old is None or head.status != 200:
            await self.abandon(ticket, Refusal.STATUS)
        elif not freshening.head_agrees(old, head):
            # What one visitor was told is no word on everybody's page.
            if not ticket.credentials:
                await self._drop(ticket)
            await self.abandon(ticket, Refusal.PARTIAL)
        elif not freshening.names_page(head):
            await self.abandon(ticket, Refusal.STATUS)
        else:
            await self._readmit(ticket, old, freshening.updated(old, head))

    async def _readmit(
        self, ticket: Ticket, old: StoredResponse, head: ResponseHead
    ) -> Admitted | Refused:
        """Store the bytes of a page again, under the head that its validation gave it."""
        codings = old.codings if self.worth_coding(ticket, head, len(old.body)) else ()
        outcome = await self.admit(ticket, head, old.body, codings, old)
        self._counters.count("validated")
        return outcome

    async def _drop(self, ticket: Ticket) -> None:
        try:
            await self._store.delete_page(ticket.plan.slot)
        except Exception as error:
            self._state.store_failed(error)

    def rescue(self, ticket: Ticket, error: Exception | None = None) -> Stale | None:
        """The expired page that may stand in for a failing application.

        Without an ``error`` the application answered 5xx, which is for ``stale-if-error`` (RFC 5861
        §4). An exception means that it cannot be reached (RFC 9111 §4.2.4); one that stands for a
        client error (frameworks raise 404 so) is an answer: None.
        """
        reached = error is None
        page = self._state.refuge(ticket, reached=reached)
        if page is None or reuse.stands_for_client_error(error):
            return None
        self._counters.count(f"refused:{Refusal.FAILED}")
        self._state.settle(ticket, Outcome.RESCUED if reached else Outcome.UNREACHABLE)
        return self._state.stale(page, None)

    def replaces(self, ticket: Ticket, head: ResponseHead) -> bool:
        """Whether an expired page is served in place of this answer of the application."""
        failed = head.status in staleness.ERRORS
        return failed and self._state.refuge(ticket, reached=True) is not None

    def decline(self, ticket: Ticket) -> None:
        """There is no room for another refresh: nobody uses this ticket."""
        self._counters.count("declined")
        self._state.settle(ticket, Outcome.DECLINED)

    async def abandon(self, ticket: Ticket, refusal: Refusal) -> Refused:
        """End a forward without a page. Whoever waits forwards itself or tries again."""
        self._counters.count(f"refused:{refusal}")
        self._state.remarks.not_stored(ticket.plan.rule.name, refusal)
        if refusal is Refusal.TOO_LARGE:
            self._state.too_large(ticket.plan.slot)
        failed = refusal in _FAILURES
        self._state.settle(ticket, Outcome.FAILED if failed else Outcome.REFUSED)
        if ticket.lease is not None and self._state.flights.apart(ticket.plan.slot):
            await self._mark(ticket, Mark.REFUSED, self._state.stopwatch(ticket.spent))
        return Refused(refusal)

    async def _mark(self, ticket: Ticket, mark: Mark, hurry: Callable[[], None]) -> None:
        """Tell other processes what becomes of this page."""
        now = self._sources.now()
        try:
            hurry()
            await self._state.leasing.leave_mark(self._store, ticket.plan, mark, now)
        except Exception as error:
            self._state.store_failed(error)
