"""``python -m benchmarks [--quick] [--only NAME] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

from . import eviction, growth, hits, invalidate, memory, phases, rules, stores
from .report import Table, document, number, text
from .timing import FULL, QUICK, Effort, reference_ns

PARTS: Final[dict[str, Callable[[Effort], Iterator[Table]]]] = {
    "hits": hits.tables,
    "phases": phases.tables,
    "rules": rules.tables,
    "growth": growth.tables,
    "invalidate": invalidate.tables,
    "memory": memory.tables,
    "eviction": eviction.tables,
    "stores": stores.tables,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a page, and write the same as JSON where that is asked for."""
    options = _options(arguments)
    effort = QUICK if options.quick else FULL
    started = perf_counter()
    loop = reference_ns(effort)
    print(_heading(effort, number(loop.median)))
    found: list[Table] = []
    for name in options.only or PARTS:
        part = list(PARTS[name](effort))
        print(text(part), end="\n\n", flush=True)
        found.extend(part)
    print(f"{perf_counter() - started:.0f} s")
    if options.json:
        said = json.dumps(document(found, effort, loop), indent=1, ensure_ascii=False)
        options.json.write_text(said + "\n", encoding="utf-8")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds: a glance")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part (repeatable)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(arguments)


def _heading(effort: Effort, loop: str) -> str:
    quick = " (a glance: --quick)" if effort.quick else ""
    return (
        f"pagegen, called directly{quick}\n"
        f"One reference loop takes {loop} ns here now. Every figure is a median over "
        f"{effort.rounds} interleaved rounds;\nnoise is half the distance of its quartiles. The "
        "garbage collector is off while the clock runs.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
