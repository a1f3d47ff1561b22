"""Django, configured once for this process, and what its tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.contrib.django import setting_up

setting_up.configure()

from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.db.backends.signals import connection_created  # noqa: E402
from django.test import override_settings  # noqa: E402

from pagegen.contrib.django import caches  # noqa: E402
from tests.contrib.django.site import TABLE, Site, journal  # noqa: E402

Settings = Callable[..., None]


@pytest.fixture(autouse=True)
def _fresh_cache() -> Iterator[None]:
    """No test finds pages or counters of another."""
    caches.reset()
    yield
    caches.reset()
    connections.close_all()


@pytest.fixture
def database() -> Iterator[None]:
    """Both databases are empty when the test has ended."""
    yield
    for alias in connections:
        call_command("flush", database=alias, interactive=False, verbosity=0)


@pytest.fixture
def pagegen_settings() -> Iterator[Settings]:
    """Change settings for this test; the cache is built anew."""
    with ExitStack() as stack:
        yield lambda **changed: stack.enter_context(override_settings(**changed))


@pytest.fixture(params=["wsgi", "asgi"])
def site(request: pytest.FixtureRequest, pagegen_settings: Settings) -> Iterator[Site]:
    """The whole stack of a small site, under either kind of server."""
    journal.clear()
    middleware = [m for m in setting_up.MIDDLEWARE if "csrf" not in m]
    pagegen_settings(ROOT_URLCONF="tests.contrib.django.site", PAGEGEN=TABLE, MIDDLEWARE=middleware)
    yield Site(request.param)
    Session.objects.all().delete()
    User.objects.all().delete()


@pytest.fixture
def django_queries() -> Iterator[list[str]]:
    """Every statement that any thread has sent to a database."""
    sent: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        sent.append(sql)
        return execute(sql, params, many, context)

    def watch(connection: Any, **_: Any) -> None:
        if note not in connection.execute_wrappers:
            connection.execute_wrappers.append(note)

    connections.close_all()
    connection_created.connect(watch)
    yield sent
    connection_created.disconnect(watch)
    for connection in connections.all():
        if note in connection.execute_wrappers:
            connection.execute_wrappers.remove(note)
