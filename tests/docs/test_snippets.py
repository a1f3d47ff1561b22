"""Every example of the documentation runs, and proves what the page says with its own asserts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, pages

RUN = ("python", "toml")
# Commands for people, and text that a program printed or that stands for something else.
SHOWN = ("console", "text")
WITH_CODE = [page for page in pages() if any(b.info in RUN for b in blocks(page))]


@pytest.mark.parametrize("page", WITH_CODE)
def test_the_examples_of_a_page_run(page: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.docs.run_page", page],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,  # one of them runs all tests of a store, which wait for real time
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(sum(b.info in RUN for b in blocks(page)))


@pytest.mark.parametrize("page", pages())
def test_no_block_escapes_by_its_kind(page: str) -> None:
    strange = {block.line: block.info for block in blocks(page) if block.info not in RUN + SHOWN}
    assert not strange, f"lines and kinds: {strange}"


@pytest.mark.parametrize("page", [p for p in WITH_CODE if p != "CONTRIBUTING.md"])
def test_a_page_with_python_asserts_something(page: str) -> None:
    code = [block.code for block in blocks(page) if block.info == "python"]
    assert not code or any("assert " in part for part in code)


@pytest.mark.parametrize("page", pages())
def test_code_fits_on_the_screen(page: str) -> None:
    long = [line for b in blocks(page) for line in b.code.splitlines() if len(line) > 100]
    assert not long
