"""Chromium without a window, and one demo for it to look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.serving import Server, load_database, serving, show_log

MakePage = Callable[..., Page]

#: Milliseconds for which a page may take to show what is expected of it.
PATIENCE: Final = 20_000
_ARGUMENTS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium from ``CHROMIUM`` or the path. Without one these tests fail: they are not optional.

    It ends with the module, because Playwright's event loop runs in this thread until then.
    """
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.fail(
            "Chromium is missing. Run `apt-get install chromium`, or set CHROMIUM=/path/to/it"
        )
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo, whose cache is empty at first. Each test has pages and people of its own."""
    database: Path = load_database(tmp_path_factory)
    with serving("uvicorn", database, tmp_path_factory.mktemp("browser")) as made:
        yield made
        assert "Traceback" not in made.logged()


@pytest.fixture
def opened() -> list[Page]:
    """The pages that the test opened."""
    return []


@pytest.fixture
def visitor(
    browser: Browser, server: Server, opened: list[Page], tmp_path: Path
) -> Iterator[MakePage]:
    """Make a visitor: a page in a context with cookies and a cache of its own.

    No page may complain in its console: of an exception, or of something its policy forbids.
    """
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # A page with a status of 4xx is one of the demo's own and complains of nothing else.
        if (
            message.type == "error"
            and "the server responded with a status of 4" not in message.text
        ):
            complaints.append(message.text)

    with ExitStack() as stack:

        def make(**options: Any) -> Page:
            context = browser.new_context(base_url=server.url, **options)
            stack.callback(context.close)
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.on("console", listen)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            opened.append(page)
            return page

        yield make
    assert complaints == []


@pytest.fixture
def page(visitor: MakePage) -> Page:
    """One visitor who has not been here before."""
    return visitor()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that fails shows what the server said, and pictures of its pages."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    arguments: dict[str, Any] = getattr(item, "funcargs", {})
    show_log(item, report)
    if report.when == "call" and report.failed:
        for number, page in enumerate(arguments.get("opened", ())):
            picture = arguments["tmp_path"] / f"page-{number}.png"
            page.screenshot(path=picture, full_page=True)
            report.sections.append(("picture", f"{page.url}: {picture}"))
    return report  # type: ignore[return-value]
