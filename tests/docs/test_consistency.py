"""Each promise of the contract names tests that are there; each of the explorer is told."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

import pytest

from pagegen.testing import explorer
from pagegen.testing.explorer import PROMISES
from tests.docs.pages import ROOT, code, prose, rows, section, text
from tests.explorer.faulty import FAULTS
from tests.explorer.test_stores import FIT
from tests.explorer.thorough import BOUNDS

CONTRACT: Final = "docs/explanation/consistency.md"
HERD: Final = "docs/explanation/never-a-herd.md"
CAUGHT: Final = "Which test would catch a breach"


class Row(NamedTuple):
    """A promise, what the explorer calls it, and the tests that would go red."""

    page: str
    promise: str
    explorer: tuple[str, ...]
    tests: str


def _rows() -> Iterator[Row]:
    for page in (CONTRACT, HERD):
        for promise, explored, tests in rows(section(page, CAUGHT)):
            yield Row(page, promise, tuple(code(explored)), tests)


ROWS: Final = tuple(_rows())
EACH: Final = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.promise)


@cache
def _functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def _cited(tests: str) -> Iterator[tuple[str, str]]:
    """File and name of each test that a cell names."""
    path = ""
    for word in code(tests):
        if word.endswith(".py"):
            path = word
        else:
            yield path, word


@EACH
def test_the_tests_of_a_promise_are_there(row: Row) -> None:
    cited = list(_cited(row.tests))
    assert cited
    for path, name in cited:
        assert name.startswith("test_") and name in _functions(path), f"{path} has no {name}"
    assert {word for word in code(row.tests) if word.endswith(".py")} == {path for path, _ in cited}


def test_every_promise_of_the_explorer_is_told_and_no_other() -> None:
    told = {name for row in ROWS for name in row.explorer}
    assert told == {promise.__name__ for promise in PROMISES}


def test_every_promise_of_the_contract_stands_at_a_glance_and_has_its_tests() -> None:
    glance = [row[0] for row in rows(section(CONTRACT, "At a glance"))]
    named = [match[1] for cell in glance if (match := re.match(r"\[([^\]]+)\]\(#", cell))]
    assert named == [row.promise for row in ROWS if row.page == CONTRACT]
    headings = re.findall(r"^## (.+)$", prose(CONTRACT), re.M)
    assert [heading for heading in headings if heading in named] == named


@pytest.mark.parametrize("promise", [row.promise for row in ROWS if row.page == CONTRACT])
def test_a_promise_says_what_and_why(promise: str) -> None:
    part = section(CONTRACT, promise)
    assert part.strip().startswith("*")
    assert "**Why.**" in part


def test_test_names_in_the_text_are_in_the_tables() -> None:
    # Elsewhere nothing would notice that a test was renamed.
    for page in (CONTRACT, HERD):
        outside = text(page).replace(section(page, CAUGHT), "")
        assert not re.findall(r"`test_\w+`", outside)


def test_what_the_explorer_holds_is_as_much_as_the_contract_says() -> None:
    said = section(CONTRACT, "How far the explorer looks")
    assert f"It has {len(BOUNDS)} worlds" in said
    assert f"{len(FIT)} of the worlds on LMDB, Redis and memcached" in said
    assert len(FAULTS) == 23
    assert "[Twenty-three variants]" in said
    assert len(PROMISES) == 11
    assert "eleven promises" in section(CONTRACT, CAUGHT).replace("\n", " ")


def test_every_public_name_of_the_explorer_is_listed_and_no_other() -> None:
    part = section("docs/reference/python-api.md", "`pagegen.testing.explorer`")
    listed = {re.match(r"\w+", name)[0] for row in rows(part) for name in code(row[0])}  # type: ignore[index]
    assert listed == set(explorer.__all__)
