"""A row of the outbox: names that a transaction changed, waiting to be forgotten.

Columns, each with its reason:

- ``id``: random, made by the writer. The number of a sequence may be used anew after a rollback,
  and who deletes by it could delete the row of another transaction. A random one never comes back.
  Ours are hexadecimal; in SQLite those of triggers may be blobs, or texts of any bytes.
- ``site``: several caches may share a database; each takes its own rows.
- ``names``: a JSON list of texts, so that triggers and other languages can write rows, too.
- ``created``: seconds since the epoch by the *database's* clock. It spares work and tells how old
  the oldest row is; nothing that must hold depends on it. What is no time of the past is due.
- ``problem``: why the row was set aside, NULL while it waits. What nobody can read stays for people
  to look at, and is not tried again.

There is none for *soft*: that window begins with the write, so what a crash has left is forgotten
hard. There is none for a version: ``problem`` keeps what a later form would hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Final

from ...namespaces import check, is_name

#: Names in one row: 51,200 characters of JSON at most, so that a batch of rows has a size.
MAX_NAMES: Final = 100
#: Characters or bytes of ``names`` that are read at all; a longer text is no row of ours.
MAX_TEXT: Final = 1_000_000
#: Bytes of randomness of an id: as many as of a UUID.
ID_BYTES: Final = 16
#: Characters of a problem that are kept.
MAX_PROBLEM: Final = 500


class RawText(bytes):
    """A text of SQLite as the bytes that the database holds: they need not be Unicode."""

    def __str__(self) -> str:
        return self.decode("utf-8", "backslashreplace")


#: A text; in SQLite also its bytes (:class:`RawText`), or a blob.
Id = str | bytes


@dataclass(frozen=True, slots=True)
class Row:
    """What a shelf gave. ``names``: those that can be names; ``problem``: what else it held."""

    id: Id
    names: tuple[str, ...]
    problem: str | None = None


def encode(names: Iterable[str]) -> list[tuple[str, str]]:
    """Rows for these names, each an id and a text. Raises ``NamespaceError`` before any is made."""
    checked = list(dict.fromkeys(check(name) for name in names))
    parts = [checked[start : start + MAX_NAMES] for start in range(0, len(checked), MAX_NAMES)]
    return [(token_hex(ID_BYTES), json.dumps(part)) for part in parts]


def decode(identifier: Id, text: object) -> Row:
    """A row as it was found. Never raises: whatever it holds, its good names are forgotten."""
    if not isinstance(text, str | bytes) or len(text) > MAX_TEXT:
        return Row(identifier, (), f"no text of at most {MAX_TEXT} characters")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Row(identifier, (), f"no JSON: {error}"[:MAX_PROBLEM])
    if not isinstance(found, list):
        return Row(identifier, (), f"no list: {text!a}"[:MAX_PROBLEM])
    good = tuple(dict.fromkeys(name for name in found if is_name(name)))
    bad = [name for name in found if not is_name(name)]
    problem = f"no namespaces: {bad!a}"[:MAX_PROBLEM] if bad else None
    return Row(identifier, good, problem)


def merge(rows: Sequence[Row]) -> tuple[str, ...]:
    """The names of all rows, each once."""
    return tuple(dict.fromkeys(name for row in rows for name in row.names))
