"""Writes that go past the watch: SQL as text, and statements over a connection of one's own.

Every statement of a watched engine passes here, as text. Whether it writes a declared table is told
from its words, so an odd one may escape, and a word in a string may be taken for a table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal
from weakref import WeakSet

from sqlalchemy import Table
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Mapper

from ...logs import logger
from .connections import said_for
from .declarations import Catalogue
from .ledger import Ledger

log = logger("pagegen.contrib.sqlalchemy")

Unseen = Literal["warn", "raise", "allow"]

#: The execution option by which a caller says what a statement forgets.
OPTION: Final = "pagegen_names"
#: Statements whose words are remembered: more than applications have.
_STATEMENTS: Final = 2_048
_NAME: Final = r'(?:["`\[]?[\w$]+["`\]]?\s*\.\s*)*["`\[]?([\w$]+)'
# Names are looked at and not passed: "update" in a comment would otherwise take the next line's
# "insert" for a table, and overlook it.
_WRITES: Final = re.compile(
    r"\b(?:insert\s+(?:or\s+\w+\s+)?into|replace\s+into|update(?:\s+or\s+\w+)?|merge\s+into"
    rf"|delete\s+from|truncate(?:\s+table)?|copy)\s+(?:only\s+)?(?={_NAME})",
    re.IGNORECASE,
)
_DELETES: Final = re.compile(
    rf"\b(?:delete\s+from|truncate(?:\s+table)?|replace\s+into)\s+(?:only\s+)?(?={_NAME})",
    re.IGNORECASE,
)
#: Characters of a statement that are told, and what values in it look like: numbers, and texts to
#: their end, cut off or not (of MySQL in double quotes). They may say who somebody is.
SAID: Final = 200
_VALUES: Final = re.compile(r"'(?:[^']|'')*(?:'|$)|\"[^\"]*(?:\"|$)|\b[0-9][\w.]*")
_REMEDY: Final = (
    "Say what it forgets with execution_options={'pagegen_names': ['item:7']}, or write it as a "
    "statement of session.execute()"
)


class UnseenWriteError(RuntimeError):
    """A write to a declared table whose rows cannot be told. Nothing of it is committed: it is
    raised before the statement, or asks for a rollback.
    """


class Guard:
    """Sees statements before they are sent. ``unseen``: what to do about those nobody covers."""

    def __init__(self, catalogue: Catalogue, ledger: Ledger, unseen: Unseen) -> None:
        self._catalogue = catalogue
        self._ledger = ledger
        self._unseen = unseen
        self._told: set[str] = set()
        #: Those that watched sessions use: another database may have tables of the same names.
        self.engines: WeakSet[Engine] = WeakSet()

    def before_cursor_execute(
        self, connection: Connection, cursor: Any, statement: str, given: Any, context: Any, _: bool
    ) -> None:
        """Take the names that the caller says, or judge the statement."""
        if connection.engine not in self.engines:
            return
        options = context.execution_options if context is not None else {}
        said = options.get(OPTION)
        if isinstance(said, str):
            raise TypeError(f"{OPTION}={said!r} is a text. Give a list of names: [{said!r}]")
        if said is None and (statement[:6].lower() == "select" or not self._is_write(statement)):
            return
        session = self._ledger.session_of(connection)
        if said is not None:
            if session is not None:
                self._ledger.add(session, said)
                return
            if (pending := said_for(connection)) is not None:
                pending.add(*said)
                return
        elif session is None:
            if said_for(connection) is not None:
                return
        else:
            book = self._ledger.book(session)
            if book.covered:
                return
            if book.inside is not None:
                if not book.flushes:
                    self._refuse_legacy()
                    return
                if not book.flush.done and _is_of_flush(connection, options):
                    return
        self._judge(statement)

    def deletes(self, table: Table) -> None:
        """Rows of this table are about to be deleted, other than by a flush."""
        self._judge_followers(table.name.lower())

    def stranger(self, mapper: Mapper[Any]) -> None:
        """A flush is about to write rows by this class."""
        for kind in self._catalogue.beside(mapper):
            name = mapper.class_.__qualname__
            self._tell(
                name,
                f"{name} declares nothing, and writes rows of {kind.mapper.local_table!s}, for "
                f"which {kind.declared.label} does",
                "Declare the same for both, or watch(…, classes=…)",
            )

    def _is_write(self, statement: str) -> bool:
        if not self._catalogue.table_names.isdisjoint(written(statement)):
            return True
        along = self._catalogue.takes_along
        return bool(along) and not along.keys().isdisjoint(deleted(statement))

    def _refuse_legacy(self) -> None:
        if self._unseen != "allow":
            raise UnseenWriteError(
                "bulk_save_objects and the other bulk_…() methods of a session tell nobody which "
                "rows they write. Write session.execute(insert(Item), rows) or "
                "session.execute(update(Item), rows)"
            )

    def _judge(self, statement: str) -> None:
        tables = ", ".join(sorted(written(statement) & self._catalogue.table_names))
        if tables or not deleted(statement):
            said = _VALUES.sub("…", statement[:SAID])
            what = f"a statement past the watch writes {tables or 'a table'}: {said!r}"
            self._tell(tables, what, _REMEDY)
        for name in sorted(deleted(statement)):
            self._judge_followers(name)

    def _judge_followers(self, table: str) -> None:
        if others := self._catalogue.takes_along.get(table):
            self._tell(
                f"{table} and others",
                f"a statement deletes rows of {table}, and the database changes those of "
                f"{', '.join(others)} by itself",
                "Delete these first, by a statement of their own; or say it: "
                "execution_options={'pagegen_names': ['item:7']}",
            )

    def _tell(self, subject: str, what: str, remedy: str) -> None:
        if self._unseen == "raise":
            raise UnseenWriteError(f"{what}. {remedy}")
        if self._unseen == "warn" and subject not in self._told:
            self._told.add(subject)
            log.warning("%s: pages may stay old. %s", what, remedy)


@lru_cache(_STATEMENTS)
def written(statement: str) -> frozenset[str]:
    """Names of the tables that a statement may write, in lower case and without schema."""
    return frozenset(name.lower() for name in _WRITES.findall(statement))


@lru_cache(_STATEMENTS)
def deleted(statement: str) -> frozenset[str]:
    """Those of which it may delete rows."""
    return frozenset(name.lower() for name in _DELETES.findall(statement))


def _is_of_flush(connection: Connection, options: Mapping[str, Any]) -> bool:
    """Whether the flush itself sends it: it compiles into a cache of its mapper, unlike what a
    listener of the application sends meanwhile.
    """
    own = options.get("compiled_cache")
    return own is not None and own is not connection.get_execution_options().get("compiled_cache")
