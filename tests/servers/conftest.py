"""One uvicorn and one gunicorn for all tests of this folder; every test runs on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving import Server, load_database, serving, show_log


@pytest.fixture(scope="session", params=["uvicorn", "gunicorn"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The demo on a real server."""
    database: Path = load_database(tmp_path_factory)
    with serving(request.param, database, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The server, which must get through the test without an error of its own."""
    before = len(running.logged())
    yield running
    assert "Traceback" not in running.logged()[before:]


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client with a pool of connections."""
    with server.client() as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Iterator[None]:
    """A test that fails shows what the server had to say."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    show_log(item, report)
    return report  # type: ignore[return-value]
