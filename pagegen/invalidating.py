"""Forgetting: new tokens for namespaces, acknowledged by the store or owed until they are."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import InvalidationError
from .exchange import Exchange, current
from .law import unsafe
from .messages import Request, ResponseHead
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

    async def invalidate(self, namespaces: Sequence[str]) -> Invalidation:
        """Forget all pages of these namespaces.

        Raises ``NamespaceError`` for what is no name, before anything is done, and
        ``InvalidationError`` when the store does not acknowledge.
        """
        names = tuple(dict.fromkeys(check(name) for name in namespaces))
        self._remarks.invalidated(names)
        if not names:
            return Invalidation(())
        exchange = current(self._state.realm)
        if exchange is not None:
            exchange.owe(names)
        await self._replace(names)
        return Invalidation(names, again=exchange is not None)

    async def settle(self, exchange: Exchange) -> None:
        """Invalidate once more what was invalidated while a handler ran: handlers commit late.

        Called when the handler has ended and before its response does. Never raises, because the
        response is on its way: what the store does not acknowledge is logged, counted and owed.
        """
        exchange.unsettled = False
        # At once: a thread of the handler may still add to it.
        if not (owed := tuple(exchange.owed)):
            return
        debts = {} if self._owed.heard else self._owed.names
        waiting = tuple([name for name in owed if name in debts])
        if waiting:
            # Not tried here again, which takes time; but a retry that is on its way may have begun
            # before the handler committed, and must not pay for it.
            self._owed.owe(waiting, tried=False)
            self._tell(exchange, waiting, "it has not acknowledged the one before either")
        names = tuple([name for name in owed if name not in waiting])
        try:
            if names:
                await self._replace(names)
        except InvalidationError as error:
            exchange.told.update(names)
            self._remarks.not_acknowledged(error)

    def _tell(self, exchange: Exchange, names: tuple[str, ...], cause: str) -> None:
        """Say and count what was not tried, once for each request."""
        if untold := tuple([name for name in names if name not in exchange.told]):
            exchange.told.update(untold)
            self._state.counters.count("invalidation-failed")
            self._remarks.not_acknowledged(InvalidationError(untold, cause))

    async def _replace(self, names: tuple[str, ...]) -> None:
        mark = self._owed.mark()
        try:
            await self._state.forget(self._store, names)
        except BaseException as error:
            # Whoever was cancelled here does not know either whether the store has them.
            self._state.counters.count("invalidation-failed")
            self._owed.owe(names)
            if isinstance(error, Exception):
                raise InvalidationError(names, f"{type(error).__name__}: {error}") from error
            raise
        self._state.counters.count("invalidation")
        if self._owed.names:
            self._owed.paid(names, mark)

    def forgotten_by(self, request: Request, head: ResponseHead) -> tuple[str, ...]:
        """Namespaces that the answer to a write invalidates without code in its handler."""
        names = unsafe.forgotten(self._book, request, head)
        self._remarks.invalidated(names)
        return names
