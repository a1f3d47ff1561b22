"""What one look at the store has found for a request."""

from __future__ import annotations

from dataclasses import dataclass

from .law.reuse import Fitness
from .law.wishes import Wishes
from .messages import Request, StoredResponse
from .reading import Found
from .verdicts import Plan, Wait


@dataclass(slots=True, eq=False)
class Look:
    """One look: what was asked, what the store had, and what that is worth.

    began: when it began. landings, paid: how many flights had landed by then, and how often what
    was owed had been paid.
    usable: a page that may be served while one refresh runs behind it. since: when a soft
    invalidation made it old; seconds since the epoch.
    """

    request: Request
    resource: Plan
    found: Found
    fitness: Fitness
    asked: Wishes
    after: Wait | None
    began: float
    landings: int
    paid: int
    usable: StoredResponse | None = None
    since: float | None = None

    @property
    def expired(self) -> StoredResponse | None:
        """The page, where it is over its lifetime and nothing worse."""
        return self.found.page if self.fitness is Fitness.EXPIRED else None

    @property
    def early(self) -> bool:
        """Whether the page is fresh, and is renewed before its lifetime ends."""
        return self.fitness is Fitness.FRESH and self.usable is not None

    @property
    def demanded(self) -> bool:
        """Whether the page is fresh, and the request wants the application asked all the same."""
        return self.fitness is Fitness.FRESH and self.usable is None

    @property
    def current(self) -> StoredResponse | None:
        """The page, if no namespace of it was forgotten: the application may find it good."""
        usable = self.fitness in (Fitness.EXPIRED, Fitness.FRESH)
        return self.found.page if usable else None
