"""The outbox in SQL. Parameters are written ``:name``; who executes them knows other spellings.

``created`` is written and compared by the database's own clock, at the moment of the statement:
PostgreSQL's ``now()`` would be that of the transaction's beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

TABLE: Final = "pagegen_outbox"

#: Runs one statement and returns its rows, if it has any.
Execute = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]

#: The database's clock, in seconds since the epoch, by dialect. Others are not supported: none of
#: their tests would have been run.
NOW: Final[Mapping[str, str]] = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS double precision)",
}
#: SQLite's texts may hold any bytes, and reading one that is no UTF-8 would fail for ever.
_NAMES: Final[Mapping[str, str]] = {"sqlite": "CAST(names AS blob)", "postgresql": "names"}
#: Dialects whose rows can be locked, and passed over by others. There several sweepers share work.
LOCKING: Final = frozenset({"postgresql"})

CREATE: Final = f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    id varchar(32) NOT NULL PRIMARY KEY,
    site text NOT NULL,
    names text NOT NULL,
    created double precision NOT NULL,
    problem text
)"""
# What a name is formatted into below is a constant of this file.
_WAITING: Final = f"FROM {TABLE} WHERE site = :site AND problem IS NULL"
SET_ASIDE: Final = f"UPDATE {TABLE} SET problem = :problem WHERE id = :id"  # noqa: S608
ASIDE: Final = f"SELECT count(*) FROM {TABLE} WHERE site = :site AND problem IS NOT NULL"  # noqa: S608
#: Ids of one DELETE or SELECT: older SQLite allows 999 parameters.
MAX_IDS: Final = 500

_PARAMETER: Final = re.compile(r":(\w+)")


def supported(dialect: str) -> str:
    """The dialect itself; raises ``TypeError`` for one whose clock is not known here."""
    if dialect not in NOW:
        raise TypeError(
            f"the outbox is for {' and '.join(sorted(NOW))}, not for {dialect}. "
            "Call cache.invalidate() after the commit instead"
        )
    return dialect


def insert(dialect: str) -> str:
    """Parameters ``id``, ``site``, ``names``."""
    return (
        f"INSERT INTO {TABLE} (id, site, names, created) "  # noqa: S608
        f"VALUES (:id, :site, :names, {NOW[dialect]})"
    )


def due(dialect: str) -> str:
    """Id and names, by id. Parameters ``site``, ``grace`` (seconds), ``after`` (an id), ``limit``.

    By id, since only so is no row met twice in one round, whatever else is written or fails.
    """
    lock = " FOR UPDATE SKIP LOCKED" if dialect in LOCKING else ""
    return (
        f"SELECT id, {_NAMES[dialect]} {_WAITING} AND id > :after "
        f"AND created <= {NOW[dialect]} - :grace ORDER BY id LIMIT :limit{lock}"
    )


def waiting(dialect: str) -> str:
    """How many rows wait, and the age of the oldest in seconds. Parameter ``site``."""
    return f"SELECT count(*), {NOW[dialect]} - min(created) {_WAITING}"


def delete(ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    """A statement and its parameters, for at most :data:`MAX_IDS` ids."""
    listed, values = _ids(ids)
    return f"DELETE FROM {TABLE} WHERE id IN ({listed})", values  # noqa: S608


def those(ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Which of these ids are there: a statement and its parameters."""
    listed, values = _ids(ids)
    return f"SELECT id FROM {TABLE} WHERE id IN ({listed})", values  # noqa: S608


def _ids(ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    values = {f"id{number}": identifier for number, identifier in enumerate(ids)}
    return ", ".join(f":{name}" for name in values), values


def pyformat(statement: str) -> str:
    """The same with ``%(name)s``, as psycopg and Django read it."""
    return _PARAMETER.sub(r"%(\1)s", statement)


def chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    """The ids, in pieces that one statement takes."""
    return [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]
