"""What ``cache.outbox(...)`` returns, whatever it was given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ...namespaces import check
from ...verdicts import Invalidation
from .applying import Written, apply, committed, hard_and_soft, ids_of, settle
from .shelf import Begin

if TYPE_CHECKING:
    from ...cache import PageCache


class Outbox(ABC):
    """Invalidations that are part of a database transaction.

    As a context manager its block *is* the transaction: committed at its end, rolled back when it
    raises; then applied. One object serves one connection or session, in one thread at a time, for
    as many transactions as you like.
    """

    def __init__(self, cache: PageCache) -> None:
        self.cache = cache

    @property
    def site(self) -> str:
        """The cache's name, which its rows bear."""
        return self.cache.configuration.settings.site

    def invalidate(self, *names: str, soft: bool = False) -> Invalidation:
        """Have these namespaces forgotten when the present transaction is committed.

        Their row is written now, in that transaction. Raises ``NamespaceError`` (nothing is
        written), ``RuntimeError`` where no transaction is or can be open, and what the database
        does. ``soft`` as in ``PageCache.invalidate``; a sweeper forgets hard.
        """
        checked = tuple(dict.fromkeys(check(name) for name in names))
        if checked:
            self._write(checked, soft)
        return Invalidation(checked, soft=soft, deferred=True)

    @abstractmethod
    def _write(self, names: Sequence[str], soft: bool) -> None:
        """Write a row in the present transaction, and see to what follows its commit."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None: ...


class ManualOutbox(Outbox):
    """One whose connection does not tell when it commits: after your commit call :meth:`apply`.

    Or use its block, which does. Where ``apply`` is never called, a sweeper applies the rows.
    """

    def __init__(self, cache: PageCache) -> None:
        super().__init__(cache)
        self._written: list[Written] = []

    def apply(self) -> Invalidation:
        """After the commit: forget what was committed, and delete its rows.

        What was rolled back is not there and not forgotten. Raises ``RuntimeError`` while the
        transaction is open, and nothing of the store's or the database's: the change stands.
        """
        if self._is_open():
            raise RuntimeError("the transaction is still open: commit it, then call apply()")
        written, self._written = self._written, []
        begin = self._begin()
        applied = committed(begin, written)
        if apply(self.cache, applied):
            settle(begin, ids_of(applied))
        return Invalidation(sum(hard_and_soft(applied), ()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._written.clear()
            self._roll_back()
            return
        self._commit()
        self.apply()

    @abstractmethod
    def _is_open(self) -> bool:
        """Whether a transaction is open; none is in a connection that was lost."""

    @abstractmethod
    def _begin(self) -> Begin:
        """How to work on the database after the commit."""

    @abstractmethod
    def _commit(self) -> None:
        """Commit, or roll back and raise."""

    @abstractmethod
    def _roll_back(self) -> None:
        """Undo what the block did."""
