"""The usual hit at a glance: the page that a look-up would answer with, in one step.

Nearly every request that a cache answers says nothing that has to be weighed, and finds a fresh
page in a store that answers at once. It needs no coroutine and no verdict.

Rules of this file:

1. A glance gives the page that a look-up would answer with, or none. Any doubt is none; then the
   look-up begins anew, and says and counts what there is to say.
2. It reads page and tokens in the store's own order, and counts a hit as a look-up does.
"""

from __future__ import annotations

from math import floor
from typing import Final

from .debugging import DEBUG_NAME
from .law import early
from .messages import Request, StoredResponse, Target
from .state import State
from .stores.base import Store, glance_of
from .verdicts import Bypass, Hit, Plan

#: Request fields that a look-up weighs under any rule.
WEIGHED: Final = frozenset(
    (
        "authorization", "cache-control", "content-length", "pragma", "range",
        "transfer-encoding", "upgrade", DEBUG_NAME,
    )
)  # fmt: skip


class Glance:
    """Glances into one face of the store. Thread-safe."""

    __slots__ = ("_groups", "_now", "_owed", "_plan", "_read", "_variants", "count", "recall")

    def __init__(self, state: State, store: Store) -> None:
        self._read = glance_of(store)
        self._owed = state.owed
        self._variants = state.variants
        self._groups = state.groups
        self._now = state.sources.now
        self._plan = state.planner.plan
        #: See :meth:`Planner.recall`.
        self.recall = state.planner.recall
        #: Counts a hit.
        self.count = state.counters.ticker("hit")

    def look(self, request: Request) -> Hit | Plan | Bypass:
        """The hit for a request without the fields in :data:`WEIGHED`; else its plan, to look up
        with.
        """
        plan = self._plan(request)
        if isinstance(plan, Bypass) or (page := self.page(plan)) is None:
            return plan
        self.count()
        now = self._now()
        return Hit(page, page.age(now), floor(page.fresh_until - now))

    def plain(self, target: Target) -> StoredResponse | None:
        """The page for a request with this target that says nothing else, counted; None where it
        is not the page as it stands that answers it.
        """
        plan = self.recall(target)
        page = None if plan is None else self.page(plan)
        if page is None or page.codings:
            return None
        self.count()
        return page

    def page(self, plan: Plan) -> StoredResponse | None:
        """The fresh page of this plan, for a request without the fields in :data:`WEIGHED`; None
        where somebody has to look.

        Never raises: a store that fails is asked once more by the look-up, which says so.
        """
        read, owed, rule = self._read, self._owed, plan.rule
        if read is None or owed.names or owed.overflowed:
            return None
        names = plan.namespaces
        if rule.learns:
            if self._variants.marking(plan) is not None:
                return None
            names += self._groups.of(plan.slot)
        try:
            found = read(plan.slot, names)
        except Exception:
            return None
        if found is None:
            return None
        page, tokens = found
        # As law.reuse.fitness and law.early.near_end have it; a call of each would cost as much.
        if page is None or page.key != plan.key or page.generation != tokens:
            return None
        left = page.fresh_until - self._now()
        return page if left > page.render_seconds * rule.early_beta * early.HORIZON else None
