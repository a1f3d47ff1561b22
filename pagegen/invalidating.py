"""Forgetting: new tokens for namespaces, acknowledged by the store or owed until they are.

A soft invalidation leaves old pages to others for a while, never to who made the write. So it is
soft only where the client is told from others by then: outside of requests, or in a request whose
answer passes by, with a cookie in its head (:mod:`pagegen.wrote`). Elsewhere it is hard: while a
page is rendered, when the head has left, without site key. What the store does not acknowledge is
owed, and paid, as a hard one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .errors import InvalidationError
from .exchange import Exchange, current
from .law import unsafe
from .logs import cause
from .messages import Fields, Request, ResponseHead
from .namespaces import check
from .state import State
from .stores.base import Store
from .verdicts import Invalidation


class Invalidator:
    """Invalidates in one face of the store."""

    def __init__(self, state: State, store: Store) -> None:
        self._state = state
        self._store = store
        self._book = state.book
        self._remarks = state.remarks
        self._owed = state.owed
        self._forgetting = state.forgetting
        self._wrote = state.wrote

    async def invalidate(self, namespaces: Sequence[str], *, soft: bool = False) -> Invalidation:
        """Forget all pages of these namespaces. ``soft``: leave them to others for a while, where
        their rules allow it and the client that writes is known.

        Raises ``NamespaceError`` for what is no name, before anything is done, and
        ``InvalidationError`` when the store does not acknowledge.
        """
        names = tuple(dict.fromkeys(check(name) for name in namespaces))
        self._remarks.invalidated(names)
        if not names:
            return Invalidation(())
        exchange = current(self._state.realm)
        soft = soft and self._forgetting.softens and self._will_be_known(exchange)
        if exchange is not None:
            exchange.owe(names, soft=soft)
        await self._replace(names, names if soft else ())
        return Invalidation(names, again=exchange is not None, soft=soft)

    async def foretell(self, names: Sequence[str], *, soft: bool) -> None:
        """Give namespaces new tokens though nothing is committed yet. Owes nothing where it fails,
        and raises what the store does.
        """
        soft = soft and self._forgetting.softens
        soft = soft and self._will_be_known(current(self._state.realm))
        await self._forgetting.forget(self._store, names, soft=names if soft else ())

    def _will_be_known(self, exchange: Exchange | None) -> bool:
        """Whether the client of this exchange, if there is one, is known as a writer in time."""
        if exchange is None:
            return True
        if not self._wrote.possible or exchange.leading is not None or exchange.nested:
            return False
        return exchange.promised is None or self._is_known(exchange)

    def _is_known(self, exchange: Exchange) -> bool:
        """Whether the head told the client so, and for long enough."""
        return self._wrote.lasts(exchange.promised, self._state.sources.now())

    def answered(self, exchange: Exchange, request: Request, head: ResponseHead | None) -> Fields:
        """The head of an answer that passes by is about to leave. Owes what the answer forgets
        without code in its handler, and returns the fields to add to it.

        ``head``: None where the request's method is safe. Such an answer may be stored on its way
        to the client, so it gets no cookie, and what it forgot is forgotten hard.
        """
        if head is None:
            exchange.promised = 0.0
            return ()
        self._owe_forgotten(exchange, request, head)
        # A copy: a thread of the handler may still add to it.
        if not any(exchange.owed.copy().values()):
            exchange.promised = 0.0
            return ()
        secure = request.scheme.lower() == "https"
        value, exchange.promised = self._wrote.cookie(self._state.sources.now(), secure=secure)
        return (("Set-Cookie", value),)

    def _owe_forgotten(self, exchange: Exchange, request: Request, head: ResponseHead) -> None:
        names = unsafe.forgotten(self._book, request, head)
        self._remarks.invalidated(names)
        soft: Collection[str] = ()
        if self._forgetting.softens and self._will_be_known(exchange):
            soft = unsafe.softly(self._book, request, head)
        exchange.owe([name for name in names if name not in soft])
        exchange.owe([name for name in names if name in soft], soft=True)

    async def settle(self, exchange: Exchange) -> None:
        """Invalidate once more what was invalidated while a handler ran: handlers commit late.

        Called when the handler has ended and before its response does. Never raises, because the
        response is on its way: what the store does not acknowledge is logged, counted and owed.
        """
        exchange.unsettled = False
        # At once: a thread of the handler may still add to it.
        if not (owed := exchange.owed.copy()):
            return
        debts = {} if self._owed.heard else self._owed.names
        waiting = tuple([name for name in owed if name in debts])
        if waiting:
            # Not tried here again, which takes time; but a retry that is on its way may have begun
            # before the handler committed, and must not pay for it.
            self._owed.owe(waiting, tried=False)
            self._tell(exchange, waiting, "it has not acknowledged the one before either")
        names = tuple([name for name in owed if name not in waiting])
        known = self._is_known(exchange)
        try:
            if names:
                await self._replace(names, [name for name in names if known and owed[name]])
        except InvalidationError as error:
            exchange.told.update(names)
            self._remarks.not_acknowledged(error)

    def _error(self, names: tuple[str, ...], why: str) -> InvalidationError:
        return InvalidationError(names, why, self._state.shapes.join(names))

    def _tell(self, exchange: Exchange, names: tuple[str, ...], why: str) -> None:
        """Say and count what was not tried, once for each request."""
        if untold := tuple([name for name in names if name not in exchange.told]):
            exchange.told.update(untold)
            self._state.counters.count("invalidation-failed")
            self._remarks.not_acknowledged(self._error(untold, why))

    async def _replace(self, names: tuple[str, ...], soft: Collection[str]) -> None:
        mark = self._owed.mark()
        try:
            await self._forgetting.forget(self._store, names, soft=soft)
        except BaseException as error:
            # Whoever was cancelled here does not know either whether the store has them.
            self._state.counters.count("invalidation-failed")
            self._owed.owe(names)
            if isinstance(error, Exception):
                raise self._error(names, cause(error)) from error
            raise
        self._state.counters.count("invalidation")
        if self._owed.names:
            # What is owed is owed hard.
            self._owed.paid([name for name in names if name not in soft], mark)
