"""Admitting: what becomes of the application's response to a forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .exchange import current
from .flights import Outcome
from .law import downstream, reuse, storing
from .law.storing import Refusal
from .messages import Fields, ResponseHead
from .pages import stored_response
from .state import State
from .stores.base import Store
from .verdicts import Admitted, Refused, Stale, Ticket

#: Seconds for which an expired page stays where it is, so that a miss can say what became of it.
#: Eviction takes it earlier when its place is wanted.
LINGER: Final = 3600.0


class Admission:
    """Admits into one face of the store: a page is stored with the tokens of its ticket, which were
    read before its handler ran. Every ticket ends here, with a page or without.
    """

    def __init__(self, state: State, store: Store) -> None:
        self._state = state
        self._store = store
        self._sources = state.sources
        self._counters = state.counters

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
            or (Refusal.OWED if self._state.owing(plan.namespaces) else None)
        )
        if refusal is not None:
            return await self.abandon(ticket, refusal)
        now = self._sources.now()
        page = stored_response(ticket, head, body, now)
        windows = max(plan.rule.stale_while_revalidate, plan.rule.stale_if_error)
        keep = page.fresh_until - now + windows + LINGER
        try:
            self._state.hurry(ticket.spent)
            kept = await self._store.write_page(plan.slot, page, keep)
        except Exception as error:
            self._state.store_failed(error)
            kept = False
        self._counters.count("admitted" if kept else "no-room")
        self._state.settle(ticket, page)
        return Admitted(page)

    def _untagged(self, namespaces: Sequence[str]) -> Refusal | None:
        """A page tagged with what its rule does not declare could not be forgotten by it."""
        exchange = current(self._state.realm)
        if exchange is not None and not exchange.tags.keys() <= set(namespaces):
            return Refusal.GROUPS
        return None

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
        self._counters.count(f"refused:{Refusal.FAILED}")
        self._state.settle(ticket, Outcome.RESCUED)
        return self._state.stale(ticket.fallback, None)

    def decline(self, ticket: Ticket) -> None:
        """Give a ticket back unused: there is no room for another refresh."""
        self._counters.count("declined")
        self._state.settle(ticket, Outcome.DECLINED)

    async def abandon(self, ticket: Ticket, refusal: Refusal) -> Refused:
        """End a forward without a page. Whoever waits forwards itself or tries again."""
        self._counters.count(f"refused:{refusal}")
        self._state.remarks.not_stored(ticket.plan.rule.name, refusal)
        failed = refusal in (Refusal.FAILED, Refusal.INCOMPLETE)
        self._state.settle(ticket, Outcome.FAILED if failed else Outcome.REFUSED)
        return Refused(refusal)
