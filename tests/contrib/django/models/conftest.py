"""Databases that writes are watched on, and a record of what is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest
from django.apps import apps
from django.db import connections
from django.test import override_settings

from pagegen.cache import PageCache
from tests.contrib.django.models.helping import PAGES, Record, empty
from tests.databases import Postgresql

POSTGRESQL: Final = "postgresql"


@pytest.fixture(scope="session")
def second(postgresql: Postgresql) -> Iterator[str]:
    """The alias of a PostgreSQL database with all tables."""
    if POSTGRESQL in connections.settings:  # of another directory's tests
        yield POSTGRESQL
        return
    default = connections.settings["default"]
    entry = {**default, "OPTIONS": {}, **postgresql.fresh().django()}
    connections.settings[POSTGRESQL] = entry
    with connections[POSTGRESQL].schema_editor() as editor:
        for model in apps.get_models():
            if not model._meta.proxy:
                editor.create_model(model)
    connections[POSTGRESQL].close()
    yield POSTGRESQL
    connections[POSTGRESQL].close()
    del connections.settings[POSTGRESQL]


@pytest.fixture(params=["default", POSTGRESQL])
def alias(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each database in turn, empty before and after."""
    name: str = request.param
    if name == POSTGRESQL:
        request.getfixturevalue("second")
    else:
        connections[name].cursor().execute("PRAGMA synchronous = OFF")
    empty(name)
    yield name
    if name == "default":
        empty(name)
    connections[name].close()


@pytest.fixture(autouse=True)
def _rules() -> Iterator[None]:
    with override_settings(PAGEGEN=PAGES):
        yield


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """What the real cache is told to forget, from here on."""
    calls = Record()
    forget = PageCache.invalidate

    def invalidate(self: PageCache, *names: str, soft: bool = False) -> Any:
        calls.append(names)
        return forget(self, *names, soft=soft)

    monkeypatch.setattr(PageCache, "invalidate", invalidate)
    return calls


@pytest.fixture
def django_queries() -> Iterator[Any]:
    """Call it with an alias: a list that fills with the statements sent there."""
    with ExitStack() as stack:

        def listen(alias: str) -> list[str]:
            sent: list[str] = []

            def keep(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
                sent.append(str(sql))
                return execute(sql, params, many, context)

            stack.enter_context(connections[alias].execute_wrapper(keep))
            return sent

        yield listen
