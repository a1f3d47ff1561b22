"""What pages, tokens and remembered targets weigh, against what the memory store counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, Final

from pagegen.planning import MEMO_LENGTH, TARGET_BYTES

from .report import Cell, Table
from .timing import Effort, Spread, reference_ns, spread

BODIES: Final = (1_000, 10_000)
FRONTS: Final = ("ASGI", "WSGI")
#: So many that what the process has at hand already does not count.
RESIDENT_PAGES: Final = 6_000
#: Lengths of remembered targets: a usual one, and the longest that is remembered.
TARGETS: Final = (60, MEMO_LENGTH)
#: Processes in turn, with the collector and without, from which a figure is the median.
_MISS_ROUNDS, _MISS_GLANCE = 5, 2


def weigh(*arguments: object) -> dict[str, Any]:
    """What ``benchmarks.weigh`` finds, in a process of its own."""
    return _apart("weigh", *arguments)


def pauses(pages: int, whether: str) -> dict[str, Any]:
    """What ``benchmarks.pauses`` finds, in a process of its own."""
    return _apart("pauses", pages, whether)


def _apart(module: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    directory = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=directory, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tables(effort: Effort) -> Iterator[Table]:
    """Four tables."""
    yield _pages(effort)
    yield _small_things(effort)
    yield _collections(effort)
    yield _misses(effort)


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
    # Of this process, now: for orientation.
    loop_ms = reference_ns(effort).median / 1e6
    rows: tuple[tuple[Cell, ...], ...] = (
        ("none", before, before.times(loop_ms), None, None),
        (
            f"{number:,}",
            after,
            after.times(loop_ms),
            after.times(1 / number),
            found["tracked"] / number,
        ),
    )
    return Table(
        "memory-collection",
        "A full garbage collection",
        "Its time in reference loops, in a process that holds this many small pages.",
        ("pages", "loops", "≈ ms here", "loops a page", "objects tracked a page"),
        rows,
        (
            "CPython collects fully only when what is new is a quarter of what is old; then all "
            "threads wait that long. An application that minds calls gc.freeze() when it is warm.",
        ),
    )


def _misses(effort: Effort) -> Table:
    number = 2_000 if effort.quick else 100_000
    rounds = _MISS_GLANCE if effort.quick else _MISS_ROUNDS
    ways = ("off", "automatic")
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            found[way].append(pauses(number, way))
    return Table(
        "memory-misses",
        "Misses while the garbage collector runs by itself",
        f"A WSGI application that does nothing is rendered {number:,} times, and each page is "
        "stored; each miss is timed alone, in µs of this machine. Off: the same without the "
        "collector.",
        ("collector", "p50", "p99", "p99.9", "longest", "full collections", "longest ≈ ms"),
        tuple((way, *_waits(found[way])) for way in ways),
        (
            f"Medians over {rounds} processes each, in turn.",
            "The longest miss is as long as the longest full collection, or as what else the "
            "machine did meanwhile: compare the two rows.",
        ),
    )


def _waits(found: list[dict[str, Any]]) -> Iterator[Cell]:
    for name in ("p50", "p99", "p999", "longest"):
        yield spread([run[name] for run in found])
    yield round(median(len(run["full"]) for run in found))
    yield median(max(run["full"], default=0.0) for run in found)
