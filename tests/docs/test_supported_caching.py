"""What the page of supported clauses says is there, is there: modules, tests and rows of tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

import pytest

from tests.docs.pages import ROOT, code, prose, rows

PAGE: Final = "docs/reference/supported-caching.md"
STATUSES: Final = {"yes", "no", "departs"}
LEVEL: Final = re.compile(r"\b(?:MUST|SHOULD)\b")

#: Sections of RFC 9111 that ask something of caches.
OF_CACHES: Final = (
    "1.2.2", "3", "3.1", "3.2", "3.3", "3.4", "3.5",
    "4", "4.1", "4.2", "4.2.1", "4.2.2", "4.2.3", "4.2.4",
    "4.3.1", "4.3.2", "4.3.3", "4.3.4", "4.3.5", "4.4", "5.1", "5.2",
    *("5.2.1", *(f"5.2.1.{number}" for number in range(1, 8))),
    *("5.2.2", *(f"5.2.2.{number}" for number in range(1, 11))),
    "5.2.3", "5.3", "5.4", "5.5",
)  # fmt: skip
#: How often the key words MUST, SHOULD and their negations are said there to caches; what is for
#: senders, for registries and for caches that store parts or have no clock is told by a row too.
KEY_WORDS: Final = {
    "1.2.2": 1, "3": 1, "3.1": 3, "3.2": 2, "3.3": 3, "3.4": 1, "3.5": 1,
    "4": 5, "4.1": 2, "4.2": 4, "4.2.2": 1, "4.2.3": 1, "4.2.4": 2,
    "4.3.1": 2, "4.3.2": 5, "4.3.3": 1, "4.3.4": 2, "4.3.5": 4, "4.4": 2,
    "5.1": 2, "5.2": 1, "5.2.1.5": 3, "5.2.1.7": 1, "5.2.2": 1, "5.2.2.2": 4, "5.2.2.3": 1,
    "5.2.2.4": 1, "5.2.2.5": 4, "5.2.2.6": 1, "5.2.2.7": 2, "5.2.2.8": 1, "5.2.2.10": 1,
    "5.2.3": 1, "5.3": 3,
}  # fmt: skip


class Clause(NamedTuple):
    """A row of the page; ``rfc`` is the heading that it stands under."""

    rfc: str
    section: str
    requirement: str
    modules: str
    tests: str
    status: str
    reason: str


def _clauses() -> Iterator[Clause]:
    for part in re.split(r"^## ", prose(PAGE), flags=re.MULTILINE)[1:]:
        for row in rows(part):
            if len(row) == 6:
                yield Clause(part.partition("\n")[0], *row)


CLAUSES: Final = tuple(_clauses())
EACH: Final = pytest.mark.parametrize(
    "clause",
    [pytest.param(c, id=f"{c.rfc.split(':')[0]} {c.section} {i}") for i, c in enumerate(CLAUSES)],
)


def _of_9111(section: str) -> list[Clause]:
    return [c for c in CLAUSES if c.rfc.startswith("RFC 9111") and c.section == f"§{section}"]


@cache
def _names(path: str) -> frozenset[str]:
    """Functions of a test file and all text in it, among which are the ids of its rows."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return frozenset(found)


def _cited(tests: str) -> Iterator[tuple[str, str]]:
    """File and name of each test that a cell names."""
    path = ""
    for text in code(tests):
        if text.endswith(".py"):
            path = text
        else:
            yield path, text


@EACH
def test_a_clause_has_a_status_and_a_reason_where_it_needs_one(clause: Clause) -> None:
    assert clause.status in STATUSES
    assert clause.status == "yes" or clause.reason
    assert clause.requirement and not clause.requirement.endswith(".")


@EACH
def test_the_modules_of_a_clause_are_there(clause: Clause) -> None:
    found = code(clause.modules)
    assert found
    for name in found:
        assert (ROOT / "pagegen" / f"{name}.py").is_file() or (ROOT / "pagegen" / name).is_dir()


@EACH
def test_the_tests_of_a_clause_are_there(clause: Clause) -> None:
    cited = list(_cited(clause.tests))
    assert cited
    for path, name in cited:
        assert name in _names(path), f"{path} has no {name}"


@EACH
def test_a_clause_cites_tests_behind_each_file(clause: Clause) -> None:
    # "`file.py`" with nothing behind it would prove nothing.
    files = [text for text in code(clause.tests) if text.endswith(".py")]
    assert set(files) == {path for path, _ in _cited(clause.tests)}


@pytest.mark.parametrize("section", OF_CACHES)
def test_every_section_that_asks_something_of_caches_has_a_row(section: str) -> None:
    assert _of_9111(section)


@pytest.mark.parametrize("section", KEY_WORDS)
def test_no_key_word_of_a_section_is_passed_over(section: str) -> None:
    said = sum(len(LEVEL.findall(clause.requirement)) for clause in _of_9111(section))
    assert said >= KEY_WORDS[section]


def test_every_departure_is_told_at_a_glance() -> None:
    glance = prose(PAGE).partition("## The departures at a glance")[2].partition("\n## ")[0]
    told = set(re.findall(r"§[0-9.]*[0-9]", glance))
    departs = {c.section for c in CLAUSES if c.status == "departs"}
    assert departs <= told | {"§13.1.1"}  # which refers to RFC 9111 §4.3.2
