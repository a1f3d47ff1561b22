"""The table of attacks is true as far as a test can tell: its tests exist, and so do its groups."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.docs.pages import ROOT, code, section, text
from tests.docs.pages import rows as table_rows

PAGE: Final = "docs/reference/attacks.md"
GROUPS: Final = (
    "Leaking", "Poisoning", "Confusion", "Storing", "The store", "Resources", "Telling", "Bindings",
)  # fmt: skip
FEWEST: Final = 50
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_NUMBER: Final = re.compile(r"CVE-\w+-\w+")
#: A year from the first one on, and at least four digits.
_CVE: Final = re.compile(r"CVE-(?:1999|20[0-9]{2})-[0-9]{4,}")


class Row(NamedTuple):
    """One attack."""

    attack: str
    source: str
    answer: str
    test: str
    seen: str


def _found() -> list[Row]:
    listed = [(group, cells) for group in GROUPS for cells in table_rows(section(PAGE, group))]
    assert all(len(cells) == len(Row._fields) for _, cells in listed), listed
    return [Row(*cells) for _, cells in listed]


ROWS: Final = _found()
EACH: Final = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.attack[:60])


@cache
def _tests_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [node.name for node in ast.walk(tree) if isinstance(node, kinds)]
    return frozenset(name for name in names if name.startswith("test_"))


def _files(row: Row) -> list[Path]:
    links = _LINK.findall(row.test)
    assert links, f"no test: {row.attack}"
    for label, target in links:
        assert target.endswith(f"/{label}"), f"{label} leads to {target}"
    return [(ROOT / PAGE).parent.joinpath(target).resolve() for _, target in links]


def test_there_are_as_many_attacks_as_the_issue_asks_for_in_each_group_some() -> None:
    assert len(ROWS) >= FEWEST
    headings = re.findall(r"^## (.+)$", text(PAGE), re.MULTILINE)
    assert headings == list(GROUPS)
    assert all(table_rows(section(PAGE, group)) for group in GROUPS)


def test_no_attack_stands_there_twice() -> None:
    attacks = [row.attack for row in ROWS]
    assert len(attacks) == len(set(attacks))


@EACH
def test_each_cell_says_something(row: Row) -> None:
    assert all(cell.strip() for cell in row)
    assert not {row.attack, row.answer, row.seen} & {"—", "-", "?"}


@EACH
def test_each_attack_has_tests_that_are_there(row: Row) -> None:
    files = _files(row)
    assert all(file.is_file() for file in files), files
    known = frozenset[str]().union(*map(_tests_in, files))
    named = {name.partition("[")[0] for name in code(_LINK.sub("", row.test))}
    assert named, f"no name of a test: {row.attack}"
    assert named <= known, f"not in {[file.name for file in files]}: {named - known}"
    # A file that is linked, and none of whose tests is named, is a link too many.
    assert all(named & _tests_in(file) for file in files), files


@EACH
def test_each_number_of_a_vulnerability_has_the_form_of_one(row: Row) -> None:
    for number in _NUMBER.findall(" ".join(row)):
        assert _CVE.fullmatch(number), number


#: Files of tests/security that hold no attack: they try tools, and this table.
NO_ATTACKS: Final = {"test_attack_table.py", "test_fuzz_runner.py"}


def test_every_file_of_the_attacks_tests_is_in_the_table() -> None:
    there = {path.name for path in (ROOT / "tests" / "security").glob("test_*.py")} - NO_ATTACKS
    listed = {file.name for row in ROWS for file in _files(row)}
    assert there <= listed, there - listed
