"""Writes that nobody watched: SQL of one's own on a table whose model declares namespaces.

What goes through Django's own INSERT, UPDATE and DELETE is watched by :mod:`.writes`. All other SQL
passes here on its way to the database. The statement's first words say whether it writes, and
where. What never passes: ``callproc()``, psycopg's ``cursor.copy()``, a connection of one's own,
triggers, and cascades inside the database. What passes and is not understood: a ``SELECT`` or
``CALL`` of a function that writes; MySQL's second table of ``UPDATE a JOIN b``, and its
``DELETE a FROM a JOIN b``; and what stands behind a text with an apostrophe that a backslash
escapes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import FrameType
from typing import Any, Final

from django.db import connections
from django.db.backends.signals import connection_created

from pagegen.errors import PagegenError
from pagegen.logs import logger

from . import plans
from .conf import options

log = logger("pagegen.contrib.django")

#: Places that were warned of. More than this are generated code: none is remembered then.
MAX_PLACES: Final = 1_000
#: Statements whose tables are remembered, and characters of the longest that is.
MAX_STATEMENTS: Final = 512
MAX_LENGTH: Final = 4_096

_QUOTED: Final = r'"(?:[^"]|"")+"|`(?:[^`]|``)+`'
_ONE: Final = rf"(?:{_QUOTED}|\[[^\]]+\]|[\w$]+)"
_NAME: Final = rf"(?:{_ONE}\s*\.\s*)*(?P<one>{_ONE})"
_WRITES: Final = re.compile(
    r"\b(?:(?:INSERT(?:\s+(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE|OR\s+\w+))*|REPLACE|MERGE)"
    r"(?:\s+INTO)?|UPDATE(?:\s+(?:LOW_PRIORITY|IGNORE|OR\s+\w+))*(?:\s+ONLY)?"
    r"|DELETE(?:\s+(?:LOW_PRIORITY|QUICK|IGNORE))*\s+FROM(?:\s+ONLY)?|COPY"
    r"|LOAD\s+(?:DATA|XML)\b[^;]{0,400}?\bINTO\s+TABLE)\b\s*" + _NAME,
    re.IGNORECASE,
)
_TRUNCATES: Final = re.compile(r"\bTRUNCATE\b(?:\s+TABLE)?(?:\s+ONLY)?\s+([^;]+)", re.IGNORECASE)
_LISTED: Final = re.compile(r"(?:^|,)\s*(?:ONLY\s+)?" + _NAME, re.IGNORECASE)
#: Comments and texts, in which words mean nothing. Names between quotes stay, and so does what
#: stands behind ``/*!``: MySQL runs that.
_MUTE: Final = re.compile(rf"({_QUOTED})|--[^\n]*|/\*(?!!).*?\*/|'(?:[^']|'')*'", re.DOTALL)

_accounted: Final[ContextVar[bool]] = ContextVar("pagegen_accounted", default=False)
_warned: Final[set[tuple[str, int]]] = set()


class UnseenWriteError(PagegenError, RuntimeError):
    """A write whose rows pagegen cannot know; nothing was written. The message has the remedy."""


@contextmanager
def accounted() -> Iterator[None]:
    """Say that the writes in this block are accounted for: you call ``cache.invalidate`` for them.

    Inside a transaction the call waits for the commit, so make it in the same ``atomic`` block.
    """
    token = _accounted.set(True)
    try:
        yield
    finally:
        _accounted.reset(token)


def install() -> None:
    """Look at the statements of every connection, open or to come. May be called again."""
    connection_created.connect(_created, dispatch_uid="pagegen.contrib.django.guard")
    for connection in connections.all(initialized_only=True):
        _created(connection=connection)


def written(sql: str) -> tuple[str, ...]:
    """The tables that a statement writes to, in lower case and without their schema."""
    return _remembered(sql) if len(sql) <= MAX_LENGTH else _parsed(sql)


def _created(*, connection: Any, **_: Any) -> None:
    if _look not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _look)


def _look(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Django's execute wrapper: reads the statement, and mostly does nothing."""
    # Most statements are SELECTs. A second one behind a semicolon is somebody's own SQL.
    plain = isinstance(sql, str) and sql.startswith("SELECT ") and ";" not in sql
    if not plain and not _accounted.get():
        text = sql if isinstance(sql, str) else _text(sql, context["connection"])
        targets = written(text)
        if targets:
            _meet(targets)
    return execute(sql, params, many, context)


def _text(sql: Any, connection: Any) -> str:
    """What psycopg's composed statements and bytes say."""
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    as_string = getattr(sql, "as_string", None)
    return str(as_string(connection.connection) if as_string is not None else sql)


def _parsed(sql: str) -> tuple[str, ...]:
    text = _MUTE.sub(lambda match: match[1] or " ", sql)
    found = [_bare(match["one"]) for match in _WRITES.finditer(text)]
    for match in _TRUNCATES.finditer(text):
        found += [_bare(name["one"]) for name in _LISTED.finditer(match[1])]
    return tuple(dict.fromkeys(found))


def _bare(name: str) -> str:
    """A table's name without its quotes, in lower case."""
    quote = name[0]
    if quote not in '"`[':
        return name.lower()
    return name[1:-1].replace(quote * 2, quote).lower()


_remembered = lru_cache(MAX_STATEMENTS)(_parsed)


def _meet(targets: tuple[str, ...]) -> None:
    """Warn of a write to a declared table, or refuse it; raises ``UnseenWriteError``."""
    declared = plans.tables()
    labels = [f"{declared[table]} ({table})" for table in targets if table in declared]
    if not labels:
        return
    kind = options().unseen_writes
    if kind == "allow":
        return
    place, flushed = _place()
    message = (
        f"SQL that pagegen did not see through writes to {', '.join(labels)}, whose model declares "
        "namespaces: pages of its rows stay as they are. Write it as `with accounted(): …` (from "
        "pagegen.contrib.django.guard) and call cache.invalidate for the rows that it changes"
    )
    if kind == "raise" and not flushed:
        raise UnseenWriteError(message)
    if place not in _warned:
        if len(_warned) < MAX_PLACES:
            _warned.add(place)
        log.warning("%s:%d: %s", *place, message)


def _place() -> tuple[tuple[str, int], bool]:
    """The file and line outside of Django that wrote, and whether the tables are being emptied.

    Emptying them (``manage.py flush``, the end of a TransactionTestCase) is never refused: the
    tables have no rows afterwards that a page could show.
    """
    frame: FrameType | None = sys._getframe(1)
    last, flushed = ("?", 0), False
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        flushed = flushed or frame.f_code.co_name == "execute_sql_flush"
        last = (frame.f_code.co_filename, frame.f_lineno)
        if not name.startswith(("django.", "pagegen.contrib.django", "contextlib")):
            break
        frame = frame.f_back
    return last, flushed
