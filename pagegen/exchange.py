"""What one request's handler says to the cache while it runs.

The front opens an exchange around the application; ``cache.invalidate`` and ``cache.tag`` find it
through a context variable, in threads that the framework starts for the handler too, since those
copy the context.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final


class Exchange:
    """Namespaces that are to be invalidated once more at the end, and those the page was tagged.

    ``owner`` is the cache that the exchange belongs to: caches may stand one inside the other.
    ``leading`` is the slot that this handler renders: a handler that asks for its own page through
    the cache must not wait for itself. ``declared``: the namespaces of that page which were known
    before it was rendered.
    """

    __slots__ = (
        "declared",
        "ended",
        "leading",
        "outer",
        "owed",
        "owner",
        "promised",
        "tags",
        "told",
        "unsettled",
    )

    def __init__(
        self, owner: object, leading: bytes | None = None, declared: tuple[str, ...] = ()
    ) -> None:
        self.owner = owner
        self.declared = declared
        self.outer: Exchange | None = None
        #: Namespaces, each with whether it is to be invalidated softly.
        self.owed: dict[str, bool] = {}
        #: Until when its client is known as a writer, in seconds since the epoch: 0 where it is
        #: not, None while the head of the answer is still here.
        self.promised: float | None = None
        #: Whether something was invalidated since they all were, the last time.
        self.unsettled = False
        self.tags: dict[str, None] = {}
        #: Namespaces whose late invalidation was said to have failed.
        self.told: set[str] = set()
        self.leading = leading
        self.ended = False

    @property
    def nested(self) -> bool:
        """Whether the answer goes to another handler of this cache, which may tell its own client
        anything.
        """
        outer = self.outer
        while outer is not None and (outer.ended or outer.owner is not self.owner):
            outer = outer.outer
        return outer is not None

    def owe(self, namespaces: Iterable[str], *, soft: bool = False) -> None:
        """Remember what has to be invalidated when the handler has ended. What was to be
        invalidated hard stays so, whatever comes after it.
        """
        owed = self.owed
        owed.update({name: soft and owed.get(name, True) for name in namespaces})
        self.unsettled = bool(owed)

    def end(self) -> None:
        """The request is over. Tasks that it started, and requests that a server runs in its
        context afterwards, are outside of it.
        """
        self.ended = True
        self.owed = {}
        self.outer = None


_current: Final[ContextVar[Exchange | None]] = ContextVar("pagegen_exchange", default=None)


def current(owner: object) -> Exchange | None:
    """The innermost exchange of this cache that this code runs in, None outside of a request."""
    exchange = _current.get()
    while exchange is not None and (exchange.ended or exchange.owner is not owner):
        exchange = exchange.outer
    return exchange


@contextmanager
def handling(exchange: Exchange) -> Iterator[None]:
    """Run a piece of the application inside its exchange."""
    outer = _current.get()
    if outer is not exchange:
        exchange.outer = None if outer is None or outer.ended else outer
    token = _current.set(exchange)
    try:
        yield
    finally:
        _current.reset(token)
