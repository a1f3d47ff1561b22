"""Runs the blocks of one page in order, in one namespace: ``python -m tests.docs.run_page PAGE``.

It is a program of its own because Django's settings, modules and loggers belong to a process. The
working directory is the page's own: a block whose first line names a file (``# app.py``) is also
written there, so later blocks can import or open it.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import ModuleType

from pagegen import PageCache
from pagegen.config import from_table
from tests.docs.pages import ROOT, Block, blocks


def run(page: str) -> int:
    """Run a page; returns how many blocks were run. Raises what its code raises."""
    sys.path.insert(0, str(Path.cwd()))
    module = sys.modules["docs_page"] = ModuleType("docs_page")
    count = 0
    for block in blocks(page):
        if block.info not in ("python", "toml"):
            continue
        count += 1
        if block.file:
            Path(block.file).write_text(block.code, encoding="utf-8")
        if block.info == "toml":
            _load(page, block)
        else:
            # Empty lines in front make tracebacks name the line of the page.
            source = "\n" * (block.line - 1) + block.code
            exec(compile(source, str(ROOT / page), "exec"), module.__dict__)
    return count


def _load(page: str, block: Block) -> None:
    try:
        PageCache.from_configuration(from_table(tomllib.loads(block.code)))
    except ValueError as error:
        error.add_note(f"in the block of {page}, line {block.line}")
        raise


if __name__ == "__main__":
    print(run(sys.argv[1]))
