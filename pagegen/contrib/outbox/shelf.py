"""Where rows of the outbox are kept, as a sweeper sees it, and the one way to do that in SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from . import statements
from .rows import Id, Row, decode, encode
from .statements import Execute


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is in the outbox: rows that wait, those set aside, and seconds since the oldest came."""

    rows: int
    aside: int
    oldest: float


class Batch(Protocol):
    """Rows that nobody else is given while they are held, where the database can lock them."""

    rows: Sequence[Row]

    def done(self, ids: Sequence[Id]) -> None:
        """Delete rows whose names were forgotten. Ids that are gone are no error."""

    def set_aside(self, problems: Mapping[Id, str]) -> None:
        """Keep rows, by id, that nobody can read, and do not give them again."""


class Shelf(Protocol):
    """What a sweeper needs. All but ``close`` may raise whatever the database does.

    A shelf whose connection was lost opens another one on the next call. Not thread-safe.
    """

    def batch(self, limit: int, grace: float, after: Id) -> AbstractContextManager[Batch]:
        """At most ``limit`` rows that are ``grace`` seconds old, whose id is behind ``after``."""

    def waiting(self) -> Waiting:
        """What there is at this moment."""

    def close(self) -> None:
        """Give back what is open."""


#: A transaction: committed when its block ends, rolled back when it raises.
Begin = Callable[[], AbstractContextManager[Execute]]


def write(execute: Execute, dialect: str, site: str, names: Iterable[str]) -> tuple[str, ...]:
    """Write rows in the transaction that ``execute`` works in; returns their ids.

    Raises ``NamespaceError`` before anything is written, and what the database does.
    """
    statement = statements.insert(dialect)
    rows = encode(names)
    for identifier, text in rows:
        execute(statement, {"id": identifier, "site": site, "names": text})
    return tuple(identifier for identifier, _ in rows)


def present(execute: Execute, ids: Sequence[str]) -> list[str]:
    """Those of the rows that are there: a rolled back savepoint took its own along."""
    found: list[str] = []
    for part in statements.chunks(ids):
        found += [row[0] for row in execute(*statements.those(part))]
    return found


def delete(execute: Execute, ids: Sequence[Id]) -> None:
    """Delete rows. Ids that are gone are no error."""
    for part in statements.chunks(ids):
        execute(*statements.delete(part))


class _SqlBatch:
    def __init__(self, rows: Sequence[Row], begin: Begin) -> None:
        self.rows = rows
        self._begin = begin

    def done(self, ids: Sequence[Id]) -> None:
        with self._begin() as execute:
            delete(execute, ids)

    def set_aside(self, problems: Mapping[Id, str]) -> None:
        with self._begin() as execute:
            for identifier, problem in problems.items():
                execute(*statements.set_aside(identifier, problem))


class SqlShelf:
    """Rows of one site, in any database that :data:`statements.NOW` knows."""

    def __init__(
        self, begin: Begin, dialect: str, site: str, close: Callable[[], None] | None = None
    ) -> None:
        self._begin = begin
        self._dialect = statements.supported(dialect)
        self._site = site
        self._close = close

    @contextmanager
    def batch(self, limit: int, grace: float, after: Id) -> Iterator[Batch]:
        """See :class:`Shelf`. Where rows are locked, one transaction lasts as long as the block.

        Elsewhere each step is one of its own: SQLite has one writer, and a transaction that read
        first could not become that writer.
        """
        statement, values = statements.due(self._dialect, after)
        values |= {"site": self._site, "grace": grace, "limit": limit}
        with self._begin() as execute:
            rows = [decode(*statements.found(row)) for row in execute(statement, values)]
            if self._dialect in statements.LOCKING:
                yield _SqlBatch(rows, lambda: _same(execute))
                return
        yield _SqlBatch(rows, self._begin)

    def waiting(self) -> Waiting:
        """See :class:`Shelf`."""
        with self._begin() as execute:
            ((rows, oldest),) = execute(statements.waiting(self._dialect), {"site": self._site})
            ((aside,),) = execute(statements.ASIDE, {"site": self._site})
        return Waiting(rows, aside, max(0.0, float(oldest or 0.0)))

    def close(self) -> None:
        """See :class:`Shelf`."""
        if self._close is not None:
            self._close()


@contextmanager
def _same(execute: Execute) -> Iterator[Execute]:
    yield execute
