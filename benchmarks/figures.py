"""``python -m benchmarks.figures [--check]``: puts measured tables into the documentation.

A page holds places such as these, and what stands between is made from a run that is kept in
``benchmarks/runs``, so no figure is ever typed::

    <!-- figures: web.json web-goals -->
    <!-- figures: direct.json hits-asgi: request, ≈ µs here -->
    <!-- end of figures -->

The first word is the file, the second the table's name in it; behind a colon stand the columns, all
of them where there is none.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from .report import number

ROOT: Final = Path(__file__).resolve().parents[1]
RUNS: Final = ROOT / "benchmarks" / "runs"
PAGES: Final = (ROOT / "README.md", ROOT / "docs" / "explanation" / "performance.md")
_END: Final = "<!-- end of figures -->"
_PLACE: Final = re.compile(
    r"(<!-- figures: (?P<file>\S+) (?P<table>[^\s:]+)(?:: (?P<columns>[^>]+?))? -->\n).*?"
    + re.escape(_END),
    re.DOTALL,
)
_PLACE_FILES: Final = re.compile(r"<!-- figures: (\S+) ")


def filled(page: str) -> str:
    """The page with all its tables as they were measured.

    Raises ``LookupError`` for a table, and ``ValueError`` for a column, that the run has not.
    """
    return _PLACE.sub(_filled, page)


def _filled(place: re.Match[str]) -> str:
    table = _table(place["file"], place["table"])
    wanted = [name.strip() for name in (place["columns"] or "").split(",") if name.strip()]
    return f"{place[1]}{markdown(table, wanted)}{_END}"


@cache
def run(file: str) -> Mapping[str, Any]:
    """A run that is kept."""
    found: Mapping[str, Any] = json.loads((RUNS / file).read_text(encoding="utf-8"))
    return found


def _table(file: str, name: str) -> Mapping[str, Any]:
    kept = run(file)
    for table in (*kept["tables"], *kept.get("direct", {}).get("tables", ())):
        if table["name"] == name:
            return table  # type: ignore[no-any-return]
    raise LookupError(f"benchmarks/runs/{file} has no table {name!r}")


def markdown(table: Mapping[str, Any], wanted: Sequence[str] = ()) -> str:
    """A table of a run in Markdown, with these columns."""
    columns = table["columns"]
    places = [columns.index(name) for name in wanted or columns]
    rows = [[_text(row[at]) for at in places] for row in table["rows"]]
    heading = [columns[at] for at in places]
    rule = ["---", *["--:"] * (len(places) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (heading, rule, *rows))


def _text(cell: Any) -> str:
    if isinstance(cell, dict):
        return "too noisy" if cell["noisy"] else number(cell["median"])
    if cell is None:
        return ""
    return str(cell) if isinstance(cell, str) else number(cell)


def main(arguments: Iterable[str] | None = None) -> int:
    """Rewrite the pages, or say which of them differ from their runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args(None if arguments is None else list(arguments))
    different = 0
    for page in PAGES:
        there = page.read_text(encoding="utf-8")
        if (right := filled(there)) != there:
            different += 1
            print(f"{page.relative_to(ROOT)}: {'differs' if options.check else 'written'}")
            if not options.check:
                page.write_text(right, encoding="utf-8")
    return 1 if different and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
