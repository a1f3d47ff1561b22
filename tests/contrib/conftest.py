"""Databases for the tests of all bindings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.databases import Postgresql


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """One PostgreSQL server for all tests; ``postgresql.fresh()`` is a database of one's own."""
    with Postgresql() as server:
        yield server
