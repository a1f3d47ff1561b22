"""Forgetting: new tokens for namespaces, acknowledged by the store or owed until they are."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from .errors import InvalidationError
from .exchange import Exchange
from .namespaces import check
from .owed import Owed
from .remarks import Remarks
from .sources import Sources
from .status import Counters
from .stepping import step
from .stores.base import Store
from .verdicts import Invalidation


class Invalidator:
    """Invalidates in one store. ``token_ttl`` in seconds."""

    def __init__(
        self,
        store: Store,
        token_ttl: float,
        sources: Sources,
        counters: Counters,
        remarks: Remarks,
    ) -> None:
        self._store = store
        self._token_ttl = token_ttl
        self._sources = sources
        self._counters = counters
        self._remarks = remarks
        self.owed = Owed(self._mint_and_replace)

    def over(self, store: Store) -> Invalidator:
        """The same, through another face of the store: debts are shared."""
        twin = copy(self)
        twin._store = store
        return twin

    async def invalidate(
        self, namespaces: Sequence[str], exchange: Exchange | None
    ) -> Invalidation:
        """Forget all pages of these namespaces; see :meth:`PageCache.invalidate`."""
        names = tuple(dict.fromkeys(check(name) for name in namespaces))
        self._remarks.invalidated(names)
        if not names:
            return Invalidation(())
        if exchange is not None:
            exchange.owe(names)
        await self._replace(names)
        return Invalidation(names, again=exchange is not None)

    async def settle(self, exchange: Exchange) -> None:
        """Invalidate once more what was invalidated while a handler ran: handlers commit late.

        Called when the handler has ended and before its response does. Never raises, because the
        response is on its way: what the store does not acknowledge is logged, counted and owed.
        """
        debts = self.owed.names
        if waiting := [name for name in exchange.owed if name in debts]:
            # Not tried here again, which takes time; but a retry that is on its way may have begun
            # before the handler committed, and must not pay for it.
            self.owed.owe(waiting)
        if not (names := tuple(name for name in exchange.owed if name not in waiting)):
            return
        try:
            await self._replace(names)
        except InvalidationError as error:
            self._remarks.not_acknowledged(error)

    async def _replace(self, names: tuple[str, ...]) -> None:
        mark = self.owed.mark()
        try:
            fresh = {name: self._sources.mint() for name in names}
            await self._store.replace_tokens(fresh, self._token_ttl)
        except BaseException as error:
            # Whoever was cancelled here does not know either whether the store has them.
            self._counters.count("invalidation-failed")
            self.owed.owe(names)
            if isinstance(error, Exception):
                raise InvalidationError(names, f"{type(error).__name__}: {error}") from error
            raise
        self._counters.count("invalidation")
        if self.owed.names:
            self.owed.paid(names, mark)

    def _mint_and_replace(self, names: Sequence[str]) -> None:
        fresh = {name: self._sources.mint() for name in names}
        step(self._store.replace_tokens(fresh, self._token_ttl))
