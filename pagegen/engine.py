"""The engine: the verbs between fronts and stores.

``look_up``, ``admit``, ``freshen``, ``abandon`` and ``invalidate`` decide and keep the order that
makes pagegen safe; ``settle`` and ``give_back`` end what a request began:

1. The tokens of a page are read before its handler starts; missing ones are minted with *add*.
2. A page is stored with the tokens read *before* its handler ran.
3. A page is served only when its tokens equal the present ones, one by one.
4. An invalidation writes new random tokens, and returns when the store has them.

The engine never sleeps and never runs the application: it returns what the front must do. Its
coroutines await store calls and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .admitting import Admission
from .config import Configuration
from .debugging import DEBUG_FIELD, DEBUG_NAME
from .flights import Outcome
from .glancing import Glance
from .inspecting import inspect
from .invalidating import Invalidator
from .law import freshening
from .looking import LookUp
from .marking import Marking
from .messages import Request
from .sources import Sources
from .state import State
from .status import Tell
from .stores.base import Store
from .verdicts import Inspection, Ticket, Wait
from .views import View, view


class Engine:
    """One cache on one face of its store. Thread-safe, and shared by any number of event loops.

    The verbs are those of its parts: :class:`LookUp`, :class:`Admission`, :class:`Invalidator`.
    """

    def __init__(
        self, configuration: Configuration, store: Store, sources: Sources | None = None
    ) -> None:
        self._stand(State(configuration, store, sources or Sources()), store)

    def over(self, store: Store) -> Engine:
        """The same engine on another face of its store: all else is shared."""
        twin = Engine.__new__(Engine)
        twin._stand(self._state, store)
        return twin

    def _stand(self, state: State, store: Store) -> None:
        self._state = state
        self.store = store
        self.settings = state.settings
        self.realm = state.realm
        self.now = state.sources.now
        self.shown = state.shapes.join
        self.glance = Glance(state, store)
        self.plan = state.planner.plan
        looking = LookUp(state, store)
        self.look_up = looking.look_up
        self.give_back = looking.give_back
        admission = Admission(state, store)
        self.course = admission.course
        self.collection = admission.collection
        self.leaving_fields = admission.leaving_fields
        self.refused_fields = admission.refused_fields
        self.worth_coding = admission.worth_coding
        self.coded = admission.coded
        self.admit = admission.admit
        self.freshen = admission.freshen
        self.consult = admission.consult
        self.rescue = admission.rescue
        self.decline = admission.decline
        self.abandon = admission.abandon
        invalidator = Invalidator(state, store)
        self.invalidate = invalidator.invalidate
        self.settle = invalidator.settle
        self.answered = invalidator.answered
        self.marking = Marking(state, store, invalidator)

    def tells(self, request: Request) -> Tell:
        """How much the answer to this request says of the cache."""
        debugger = self._state.debugger
        if debugger.allows(request.fields.get(DEBUG_NAME), self._state.sources.now()):
            return Tell.ALL
        return Tell.OUTCOME if self.settings.cache_status else Tell.NOTHING

    def debug_header(self, seconds: float | str) -> tuple[str, str]:
        """See :meth:`pagegen.PageCache.debug_header`."""
        return DEBUG_FIELD, self._state.debugger.field(seconds)

    def leave(self, wait: Wait) -> None:
        """Somebody waits no longer; a :meth:`look_up` ``after`` it says so."""
        self._state.flights.left()
        if wait.ticket is not None:
            self._state.settle(wait.ticket, Outcome.DECLINED)

    def view(self, ticket: Ticket, request: Request) -> View:
        """What the handler of this forward may see."""
        seen, page = view(ticket.plan, request), ticket.validating
        ticket.seen = dict(seen.fields)
        if page is None or request.method != "GET":
            return seen
        return replace(seen, fields=seen.fields + freshening.conditions(page))

    async def inspect(self, request: Request) -> Inspection:
        """What the cache holds for a request; changes nothing. Raises what the store raises."""
        return await inspect(request, self._state, self.store)

    def statistics(self) -> Mapping[str, int]:
        """Counters of this process, what it remembers, flights in the air, the store's own."""
        state = self._state
        return {
            **state.counters.snapshot(),
            **state.owed.statistics(),
            **{f"remembered_{k}": v for k, v in state.remembered().items()},
            **{f"flights_{k}": v for k, v in state.flights.statistics().items()},
            **{f"store_{k}": v for k, v in self.store.statistics().items()},
        }

    def close(self) -> None:
        """Pay what is owed if that can be, and give back what the store holds open."""
        self._state.owed.close()
        self.store.close()
