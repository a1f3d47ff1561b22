"""What the tests of watched writes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.core.management.color import no_style
from django.db import connections
from django.test import override_settings

PAGES: Final = {
    "pagegen": {"cache_status": True},
    "rule": [
        {"path": "/items/{id:int}", "share": "public", "namespaces": ["item:{id}"], "ttl": "1h"},
        {
            "path": "/shops/{id:int}",
            "share": "public",
            "namespaces": ["shop:{id}/items"],
            "ttl": "1h",
        },
    ],
}


class Record(list[tuple[str, ...]]):
    """The calls that forgot something, each with its names in order."""

    def names(self) -> set[str]:
        """All names since the last look; the record begins anew."""
        found = {name for call in self for name in call}
        self.clear()
        return found


def empty(alias: str) -> None:
    """Take all rows away, and begin the keys anew."""
    connection = connections[alias]
    tables = [name for name in connection.introspection.table_names() if "shop_" in name]
    tables.append("auth_user")
    flush = connection.ops.sql_flush(no_style(), tables, reset_sequences=True, allow_cascade=True)
    connection.ops.execute_sql_flush(flush)


@contextmanager
def rebuilt(**settings: Any) -> Iterator[None]:
    """Other options of ours for a while."""
    with override_settings(PAGEGEN={**PAGES, "django": settings}):
        yield
