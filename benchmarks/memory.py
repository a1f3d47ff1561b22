"""What pages, tokens and remembered targets weigh, against what the memory store counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

from pagegen.planning import MEMO_LENGTH, TARGET_BYTES

from .report import Cell, Table
from .timing import Effort, Spread

BODIES: Final = (1_000, 10_000)
FRONTS: Final = ("ASGI", "WSGI")
#: So many that what the process has at hand already does not count.
RESIDENT_PAGES: Final = 6_000
#: Lengths of remembered targets: a usual one, and the longest that is remembered.
TARGETS: Final = (60, MEMO_LENGTH)


def weigh(*arguments: object) -> dict[str, Any]:
    """What ``benchmarks.weigh`` finds, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.weigh", *map(str, arguments)]
    directory = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=directory, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tables(effort: Effort) -> Iterator[Table]:
    """Three tables."""
    yield _pages(effort)
    yield _small_things(effort)
    yield _collections(effort)


def _pages(effort: Effort) -> Table:
    number = 300 if effort.quick else 1_500
    cases = list(product(FRONTS, BODIES, (1, 2, 3)))
    rows: list[tuple[Cell, ...]] = []
    for front, body, namespaces in cases[:: 7 if effort.quick else 1]:
        page = weigh("pages", front, body, namespaces, number)
        rows.append(
            (
                f"{front}, {body // 1000} kB, namespaces: {namespaces}",
                round(page["counted"]),
                round(page["taken"]),
                page["taken"] / page["counted"],
                "" if effort.quick else _resident(front, body, namespaces),
            )
        )
    return Table(
        "memory-pages",
        "Memory of a stored page",
        "Bytes a page, with 8 fields from its application and 3 from pagegen. Counted is what the "
        "store charges to its budget; below 1 it charges more than is taken.",
        ("page", "counted", "taken", "taken / counted", "resident / counted"),
        tuple(rows),
        (
            "Taken is what Python's allocators gave out (tracemalloc) for pages alone. Resident is "
            "the growth of the process, tokens counted on both sides: allocators round up.",
            "The ASGI application's fields come as bytes and are text made anew for each page; the "
            "WSGI one's are the same strings in all pages, as constants of a framework are.",
        ),
    )


def _resident(front: str, body: int, namespaces: int) -> Cell:
    if not Path("/proc/self/statm").exists():
        return "not known here"
    found = weigh("whole", front, body, namespaces, RESIDENT_PAGES)
    return float(found["taken"] / found["counted"])


def _small_things(effort: Effort) -> Table:
    token = weigh("tokens", 2_000 if effort.quick else 20_000)
    full = weigh("full", 10_000)
    rows: list[tuple[Cell, ...]] = [
        ("a token", round(token["counted"]), round(token["taken"]), None),
        ("all tokens of a store that evicts", full["counted"], full["taken"], None),
    ]
    for length in TARGETS:
        found = weigh("targets", length)
        each = round(found["taken"] / found["entries"])
        rows.append((f"a target of {length} characters", None, each, found["taken"]))
    return Table(
        "memory-others",
        "Memory of a token and of a remembered target",
        "Bytes each. Tokens have names of 12 characters. Targets are remembered by the planner, "
        f"in {TARGET_BYTES:,} bytes, beside the store's budget; here with 3 namespaces.",
        ("thing", "counted", "taken", "all, when full"),
        tuple(rows),
        ("A token is counted with the ghost that it leaves when it is evicted.",),
    )


def _collections(effort: Effort) -> Table:
    number = 5_000 if effort.quick else 100_000
    found = weigh("collection", number)
    before, after = Spread(*found["before"]), Spread(*found["after"])
    rows: tuple[tuple[Cell, ...], ...] = (
        ("none", before, None, None),
        (
            f"{number:,}",
            after,
            after.times(1 / number),
            found["tracked"] / number,
        ),
    )
    return Table(
        "memory-collection",
        "A full garbage collection",
        "Its time in reference loops, in a process that holds this many small pages.",
        ("pages", "loops", "loops a page", "objects tracked a page"),
        rows,
        (
            "CPython collects fully only when what is new is a quarter of what is old; then all "
            "threads wait that long. An application that minds calls gc.freeze() when it is warm.",
        ),
    )
