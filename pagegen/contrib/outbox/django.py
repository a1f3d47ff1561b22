"""The outbox in Django: rows written inside ``atomic``, applied by ``transaction.on_commit``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionProxy

from . import applying, shelf, statements
from .applying import Written, apply
from .box import Outbox
from .shelf import SqlShelf
from .statements import Execute

if TYPE_CHECKING:
    from ...cache import PageCache


def alias_of(target: object) -> str | None:
    """The alias of a database, given as such or as a connection; None for anything else."""
    if isinstance(target, str):
        return target if target in connections else None
    if isinstance(target, BaseDatabaseWrapper | ConnectionProxy):
        alias: str = target.alias
        return alias
    return None


def execute_on(using: str) -> Execute:
    """Runs statements in whatever transaction this thread's connection is in."""

    def execute(statement: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        with connections[using].cursor() as cursor:
            cursor.execute(statements.pyformat(statement), dict(values))
            found: Sequence[Sequence[Any]] = cursor.fetchall() if cursor.description else ()
            return found

    return execute


def write(using: str, site: str, names: Iterable[str]) -> tuple[str, ...]:
    """Write rows in the open ``atomic`` block; returns their ids.

    Raises ``NamespaceError`` before anything is written, ``RuntimeError`` outside of ``atomic``,
    and what the database does.
    """
    connection = connections[using]
    if not connection.in_atomic_block:
        raise RuntimeError(
            f"no transaction is open on {using!r}, so the row cannot be part of the change. Put "
            "the change and this call into transaction.atomic()"
        )
    dialect = statements.supported(connection.vendor)
    return shelf.write(execute_on(using), dialect, site, names)


def settle(using: str, ids: Sequence[str]) -> None:
    """Delete rows whose names were forgotten; called on commit. Raises no ``Exception``: what stays
    is applied once more by a sweeper.
    """
    applying.settle(lambda: _atomic(using), ids)


@contextmanager
def _atomic(using: str) -> Iterator[Execute]:
    with transaction.atomic(using=using):
        yield execute_on(using)


def open_outbox(cache: PageCache, target: object) -> Outbox | None:
    """The outbox of a Django connection or alias; None for anything else."""
    alias = alias_of(target)
    return None if alias is None else AtomicOutbox(cache, alias)


class AtomicOutbox(Outbox):
    """Of one database: applied after the outermost commit, dropped with a savepoint.

    Its block is ``transaction.atomic(using)``.
    """

    def __init__(self, cache: PageCache, using: str) -> None:
        super().__init__(cache)
        self.using = using
        self._blocks: list[Any] = []

    def _write(self, names: Sequence[str], soft: bool) -> None:
        ids = write(self.using, self.site, names)
        written = Written(tuple(names), soft, ids)
        transaction.on_commit(self._applying(written), using=self.using)

    def _applying(self, written: Written) -> Callable[[], None]:
        def applied() -> None:
            if apply(self.cache, [written]):
                settle(self.using, written.ids)

        return applied

    def __enter__(self) -> Self:
        block = transaction.atomic(using=self.using)
        block.__enter__()
        self._blocks.append(block)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._blocks.pop().__exit__(kind, error, at)


def open_shelf(using: str, site: str) -> SqlShelf:
    """A sweeper's shelf on this database: each thread has a connection of its own."""

    @contextmanager
    def begin() -> Iterator[Execute]:
        connection = connections[using]
        try:
            with _atomic(using) as execute:
                yield execute
        except Exception:
            if not connection.in_atomic_block:
                connection.close()
            raise

    def close() -> None:
        connections[using].close()

    vendor = statements.supported(connections[using].vendor)
    return SqlShelf(begin, vendor, site, close)
