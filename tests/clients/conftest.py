"""The site on each server, nginx and Varnish in front of it, and the clients that look at it.

Tests share the servers, so each has items of its own: ``new_item`` names one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

import pytest

from tests.clients import programs
from tests.clients.programs import Origin, Program

NewItem = Callable[[str], str]

_NUMBERS: Final = count(1)


@pytest.fixture(scope="module", params=["uvicorn", "gunicorn"])
def origin(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Origin]:
    """The site behind pagegen on a real server."""
    with programs.site(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running
        assert "Traceback" not in running.logged()


@pytest.fixture(scope="module", params=["nginx", "varnish"])
def proxy(
    request: pytest.FixtureRequest, origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """A shared cache of somebody else in front of pagegen."""
    start = programs.nginx if request.param == "nginx" else programs.varnish
    with start(origin, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def new_item() -> NewItem:
    """Name a page of this kind that nobody has asked for yet: ``new_item("timed")``."""
    return lambda kind: f"/{kind}/{next(_NUMBERS)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that fails shows what the programs had to say."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    arguments: dict[str, Any] = getattr(item, "funcargs", {})
    if report.failed:
        for program in arguments.values():
            if isinstance(program, Program):
                report.sections.append((f"log of {program.name}", program.logged()[-2000:]))
    return report  # type: ignore[return-value]
