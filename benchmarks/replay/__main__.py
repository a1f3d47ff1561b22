"""``python -m benchmarks.replay [--quick] [--requests N] [--users N] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks.report import document, text
from benchmarks.timing import QUICK as GLANCE
from benchmarks.timing import Effort, reference_ns

from .client import loop_name
from .run import Plan, rounds
from .serving import MISTAKES, Variant
from .tables import raw, tables

FULL: Final = Plan(rounds=5, warm_up=3_000, requests=6_000, users=16)
QUICK: Final = Plan(rounds=2, warm_up=500, requests=1_000, users=16)
#: Rounds without which there is no spread.
MIN_ROUNDS: Final = 2
#: Requests without which there are no percentiles: some of them must be writes.
MIN_REQUESTS: Final = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay and print what came of it. 1 when a page was old, or an answer was a failure."""
    options = _options(arguments)
    plan = _plan(options)
    variants = _variants(options)
    started = perf_counter()
    loop = reference_ns(GLANCE)
    found = rounds(variants, plan, lambda said: print(said, file=sys.stderr, flush=True))
    made = list(tables(variants, found, plan))
    print(text(made), end="\n\n")
    print(f"{perf_counter() - started:.0f} s")
    if options.json:
        said = document(made, Effort(plan.rounds, 0, options.quick), loop)
        said |= {"plan": asdict(plan), "client": loop_name(), "runs": raw(found)}
        options.json.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return int(any(one.found.stale or one.found.wrong for runs in found.values() for one in runs))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer requests and rounds: a glance")
    parser.add_argument("--requests", type=_at_least(MIN_REQUESTS), help="that are measured")
    parser.add_argument("--warm-up", type=_at_least(MIN_REQUESTS), help="requests before those")
    parser.add_argument("--rounds", type=_at_least(MIN_ROUNDS))
    parser.add_argument("--users", type=_at_least(1), help="visitors at a time")
    parser.add_argument("--seed", type=int, help="another sequence of requests")
    parser.add_argument(
        "--workers", type=_at_least(1), nargs="+", default=[1], help="such as 1 4; default 1"
    )
    parser.add_argument(
        "--mistake", choices=MISTAKES, default="", help="see it find old pages: pagegen hears of "
        "no write (deaf), or this rule of the demo has lost its namespaces",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(arguments)


def _at_least(least: int) -> type[int]:
    def number(given: str) -> int:
        value = int(given)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return number  # type: ignore[return-value]


def _plan(options: argparse.Namespace) -> Plan:
    said = asdict(QUICK if options.quick else FULL)
    for name in ("requests", "warm_up", "rounds", "users", "seed"):
        if (given := getattr(options, name)) is not None:
            said[name] = given
    return Plan(**said)


def _variants(options: argparse.Namespace) -> list[Variant]:
    """Without pagegen, in memory where there is one process, and in LMDB."""
    return [
        Variant(store, workers, options.mistake if store else "")
        for workers in dict.fromkeys(options.workers)
        for store in ("", "memory", "LMDB")
        if store != "memory" or workers == 1
    ]


if __name__ == "__main__":
    sys.exit(main())
