"""The outbox in SQL. Parameters are written ``:name``; who executes them knows other spellings.

``created`` is written and compared by the database's own clock, at the moment of the statement:
PostgreSQL's ``now()`` would be that of the transaction's beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .rows import Id, RawText

TABLE: Final = "pagegen_outbox"

#: Runs one statement and returns its rows, if it has any.
Execute = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]

#: The database's clock, in seconds since the epoch, by dialect. Others are not supported: none of
#: their tests would have been run.
NOW: Final[Mapping[str, str]] = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS double precision)",
}
#: SQLite's texts may hold any bytes, and reading one that is no Unicode would fail for ever. So ids
#: that are not plain ASCII are read as the bytes that the database holds.
_RAW: Final = "typeof(id) = 'text' AND (id GLOB '*[^ -~]*' OR instr(id, char(0)) > 0)"
#: What is read of a row: whether its id is the bytes of a text, the id, the names.
_READ: Final[Mapping[str, str]] = {
    "sqlite": f"{_RAW}, CASE WHEN {_RAW} THEN CAST(id AS blob) ELSE id END, CAST(names AS blob)",
    "postgresql": "false, id, names",
}
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


def due(dialect: str, after: Id) -> tuple[str, dict[str, Any]]:
    """Rows behind that id, by id: a statement and its parameters; others are ``site``, ``grace``
    (seconds) and ``limit``. :func:`found` reads a row of it.

    By id, since only so is no row met twice in one round, whatever else is written or fails. A time
    to come is none that a writer of ours had: the clock was wrong, or it is no number of seconds
    (in SQLite a text is greater than any number). Such a row is due at once, not some day.
    """
    lock = " FOR UPDATE SKIP LOCKED" if dialect in LOCKING else ""
    now = NOW[dialect]
    place, values = _place("after", after)
    return (
        f"SELECT {_READ[dialect]} {_WAITING} AND id > {place} "
        f"AND (created <= {now} - :grace OR created > {now}) ORDER BY id LIMIT :limit{lock}"
    ), values


def found(row: Sequence[Any]) -> tuple[Id, object]:
    """Id and names of a row that :func:`due` found."""
    is_raw, identifier, names = row
    return (RawText(identifier) if is_raw else identifier), names


def waiting(dialect: str) -> str:
    """How many rows wait, and the age of the oldest in seconds. Parameter ``site``."""
    return f"SELECT count(*), {NOW[dialect]} - min(created) {_WAITING}"


def set_aside(identifier: Id, problem: str) -> tuple[str, dict[str, Any]]:
    """A statement and its parameters."""
    place, values = _place("id", identifier)
    statement = f"UPDATE {TABLE} SET problem = :problem WHERE id = {place}"  # noqa: S608
    return statement, values | {"problem": problem}


def delete(ids: Sequence[Id]) -> tuple[str, dict[str, Any]]:
    """A statement and its parameters, for at most :data:`MAX_IDS` ids."""
    listed, values = _ids(ids)
    return f"DELETE FROM {TABLE} WHERE id IN ({listed})", values  # noqa: S608


def those(ids: Sequence[Id]) -> tuple[str, dict[str, Any]]:
    """Which of these ids are there: a statement and its parameters."""
    listed, values = _ids(ids)
    return f"SELECT id FROM {TABLE} WHERE id IN ({listed})", values  # noqa: S608


def _ids(ids: Sequence[Id]) -> tuple[str, dict[str, Any]]:
    placed = [_place(f"id{number}", identifier) for number, identifier in enumerate(ids)]
    values = {name: value for _, given in placed for name, value in given.items()}
    return ", ".join(place for place, _ in placed), values


def _place(name: str, identifier: Id) -> tuple[str, dict[str, Any]]:
    """How an id stands in a statement, and its parameters. A blob in the statement itself is taken
    for a text of the database's own encoding; SQLite takes parameters for UTF-8.
    """
    if isinstance(identifier, RawText):
        return f"CAST(x'{identifier.hex()}' AS text)", {}
    return f":{name}", {name: identifier}


def pyformat(statement: str) -> str:
    """The same with ``%(name)s``, as psycopg and Django read it."""
    return _PARAMETER.sub(r"%(\1)s", statement)


def chunks(ids: Sequence[Id]) -> list[Sequence[Id]]:
    """The ids, in pieces that one statement takes."""
    return [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]
