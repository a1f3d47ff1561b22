"""What the tests of all bindings share: databases, and declarations that last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.databases import Postgresql


@pytest.fixture(autouse=True)
def no_rows_are_declared() -> None:
    """Rows are: classes of models declare once, for all tests here."""


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """One PostgreSQL server for all tests; ``postgresql.fresh()`` is a database of one's own."""
    with Postgresql() as server:
        yield server
