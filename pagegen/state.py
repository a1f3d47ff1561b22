"""What the parts of an engine share, whichever face of the store they stand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import floor, inf
from typing import Final

from . import negotiation
from .collecting import Room
from .config import Configuration
from .debugging import Debugger
from .errors import LateError
from .flights import Flights, Outcome
from .forgetting import Forgetting
from .groups import SEQUENCE, Groups
from .law import marks, reuse, softness, vary, wishes
from .law import said as law_said
from .law.tokens import stamped, young
from .leasing import Leasing
from .messages import StoredResponse
from .owed import Owed
from .planning import Planner, bypass
from .reading import Reader
from .remarks import Remarks
from .shapes import Shapes
from .sources import Sources
from .status import Counters
from .stepping import step
from .stores.base import Store
from .variants import Variants
from .verdicts import Bypass, Plan, Reason, Stale, Ticket
from .wrote import Wrote

#: Seconds for which it is remembered that a page is too large, and pages that it is of. (Varnish
#: remembers for 120 s that an object is not to be kept.)
LARGE_FOR: Final = 120.0
MAX_LARGE: Final = 4096

#: What parsers remember: how many, and how many were forgotten for others.
_OF_THE_PROCESS: Final[Mapping[str, Callable[[], tuple[int, int]]]] = {
    "forms": vary.remembered,
    "preferences": negotiation.remembered,
    "sayings": law_said.remembered,
    "wishes": wishes.remembered,
}


class State:
    """One cache but for its store. ``store`` is the face that pays what is owed, in a thread."""

    def __init__(self, configuration: Configuration, store: Store, sources: Sources) -> None:
        settings = configuration.settings
        self.settings = settings
        self.book = configuration.book
        self.sources = sources
        # Who has spent half of its time may spend the other half on one more verb. A store that
        # waits for nothing is never late, though the machine may be.
        can = store.capabilities
        waits = can.blocking_reads or can.blocking_writes
        self._enough = settings.delay / 2 if waits else inf
        self.counters = Counters()
        self.room = Room()
        self.flights = Flights(settings.max_waiters, sources.monotonic)
        self.variants = Variants(self.counters.count)
        self.groups = Groups()
        self.reader = Reader(self.variants, self.groups)
        self._large: dict[bytes, float] = {}
        self._large_evicted = 0
        self.debugger = Debugger(settings.secrets, sources.now, site=settings.site)
        self.planner = Planner(
            self.book,
            site=settings.site,
            release=settings.release,
            passthrough=settings.passthrough,
            hosts=settings.hosts,
            count=self.counters.count,
        )
        #: Seconds that tokens live.
        self.token_ttl = self.book.token_ttl()
        self.shapes = Shapes(self.book, whole=settings.log_names)
        self.remarks = Remarks(self.book, self.shapes)
        self.remarks.started()
        #: What exchanges belong to: both faces of an engine are one cache.
        self.realm = object()
        self.forgetting = Forgetting(self.token, sources.now, self.token_ttl, self.book)
        self.owed = Owed(lambda names: step(self.forgetting.forget(store, names)))
        self.owed.told = self.shapes.join
        self.leasing = Leasing(store, sources.mint, sources.monotonic, self.counters.count)
        self.wrote = Wrote(settings.secrets, site=settings.site, window=self.book.soft_window)

    def remembered(self) -> dict[str, int]:
        """Of the targets, plans, variants and groups that are remembered: count, bytes, budget and
        how many were evicted for others. Of other memories: count, which is that of all caches of
        the process where a parser remembers, and evicted.
        """
        said = self.planner.statistics()
        for kind, memory in (("variants", self.variants), ("groups", self.groups)):
            said.update({f"{kind}_{k}": v for k, v in memory.statistics().items()})
        others = {kind: told() for kind, told in _OF_THE_PROCESS.items()}
        others["large"] = len(self._large), self._large_evicted
        others["elsewhere"] = self.leasing.remembered()
        for kind, (count, evicted) in others.items():
            said.update({f"{kind}_count": count, f"{kind}_evicted": evicted})
        return said

    def mint(self, names: Sequence[str]) -> dict[str, bytes]:
        """New tokens for these namespaces."""
        return {name: self.token() for name in names}

    def token(self) -> bytes:
        """A new token."""
        return stamped(self.sources.mint(), self.sources.now())

    async def complete(
        self, store: Store, names: Sequence[str], tokens: Sequence[bytes | None]
    ) -> tuple[bytes, ...]:
        """The tokens of these namespaces, minted where missing; raises what the store does.

        Where the database may be behind, who mints a token cannot know what it was replaced by, nor
        when: it holds off as after an invalidation.
        """
        missing = [name for name, token in zip(names, tokens, strict=True) if token is None]
        await self.forgetting.hold(store, missing)
        # Another worker may have been first: what counts is what the store says.
        added = await store.add_tokens(self.mint(missing), self.token_ttl) if missing else {}
        pairs = zip(names, tokens, strict=True)
        return tuple(added[name] if token is None else token for name, token in pairs)

    async def written(self, store: Store, plan: Plan) -> tuple[str, ...]:
        """The namespaces of a strict plan that somebody writes now, so that its pages are not to be
        stored. To be asked *after* tokens were read: marks are put up before new tokens. Raises
        what the store raises.
        """
        registers = marks.marks(plan.namespaces)
        _, found = await store.read(None, registers)
        up = [name for name, token in zip(registers, found, strict=True) if token is not None]
        return tuple(dict.fromkeys(map(marks.namespace, up)))

    async def held(self, store: Store, plan: Plan, tokens: Sequence[bytes]) -> bool:
        """Whether pages of this plan are not to be stored now, because the database that they are
        made from may be behind. To be asked *after* these ``tokens`` were read: invalidations write
        the flags before the tokens. Raises what the store raises.
        """
        lag, now = plan.rule.lag, self.sources.now()
        if any(young(token, lag, now) for token in tokens):
            return True
        names = (*plan.namespaces, SEQUENCE) if plan.rule.groups else plan.namespaces
        _, flags = await store.read(None, list(dict.fromkeys(map(softness.hold, names))))
        return any(flag is not None for flag in flags)

    def owing(self, namespaces: Sequence[str]) -> bool:
        """Whether a page may be old already: an invalidation of it is not acknowledged."""
        owed = self.owed
        return bool(owed.names or owed.overflowed) and owed.touches(namespaces)

    def too_large(self, place: bytes) -> None:
        """Remember that a slot's page is larger than its rule keeps."""
        if len(self._large) >= MAX_LARGE:
            self._large_evicted += len(self._large)
            self._large = {}
        self._large[place] = self.sources.monotonic() + LARGE_FOR

    def is_large(self, place: bytes) -> bool:
        """Whether a slot's page was too large a moment ago. Then a part of it is the application's
        to send: each would cost the whole.
        """
        return self._large.get(place, 0.0) > self.sources.monotonic()

    def is_late(self, spent: float) -> bool:
        """Whether a request that has spent so many seconds on the store is to ask it no more."""
        return spent > self._enough

    def stopwatch(self, spent: float = 0.0) -> Callable[[], None]:
        """What to call before each further verb of a request that has spent so many seconds on the
        store: it raises as :meth:`hurry` does.
        """
        began = self.sources.monotonic() - spent
        return lambda: self.hurry(self.sources.monotonic() - began)

    def hurry(self, spent: float) -> None:
        """Raise ``LateError`` when it is late: what the store costs a request is bounded."""
        if self.is_late(spent):
            raise LateError(
                f"it took {1000 * spent:.0f} ms, more than half of max_delay: it is asked no more "
                "for this request"
            )

    def settle(self, ticket: Ticket, result: StoredResponse | Outcome) -> None:
        """End the flight of a ticket, once."""
        if ticket.settled:
            return
        ticket.settled = True
        if isinstance(result, StoredResponse):
            self.flights.rejoin(ticket.plan.slot)
        if ticket.flight is None:
            return
        if isinstance(result, Outcome):
            self.flights.cancel(ticket.flight, result)
        else:
            self.flights.land(ticket.flight, result)

    def bypass(self, reason: Reason) -> Bypass:
        """The verdict of this reason, counted."""
        self.counters.count(f"bypass:{reason}")
        return bypass(reason)

    def refuge(self, ticket: Ticket, *, reached: bool) -> StoredResponse | None:
        """The expired page that may be served for a ticket whose application answered 5xx, or could
        not be ``reached``; None where its window is over.
        """
        page, now = ticket.fallback, self.sources.now()
        if page is None or now < page.fresh_until:
            return page
        if reached:
            return page if ticket.asked.accepts_on_error(page, now) else None
        return page if reuse.within(page, page.stale_if_unreachable, now) else None

    def stale(
        self, page: StoredResponse, ticket: Ticket | None, since: float | None = None
    ) -> Stale:
        """The verdict that sends a stale page, counted. ``since``: when a soft invalidation made it
        stale, in seconds since the epoch; None where its lifetime did.
        """
        self.counters.count("stale")
        now = self.sources.now()
        until = page.fresh_until if since is None else softness.stale_from(page, since)
        return Stale(page, page.age(now), floor(until - now), ticket)

    def store_failed(self, error: Exception) -> Bypass:
        """A store that fails costs a miss, never a page."""
        self.counters.count("store-failed")
        self.remarks.store_failed(error, self.sources.monotonic())
        return bypass(Reason.STORE)
