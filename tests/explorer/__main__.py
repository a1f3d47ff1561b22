"""The explorer by hand: ``python -m tests.explorer --random 1000000 --seed 1``.

Without ``--random`` all schedules up to ``--preemptions`` (``all``: any number), as far as
``--seconds`` reach. Ends with 0 when every promise was kept, 1 when one was broken, 2 for what it
does not understand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from math import inf
from time import monotonic

from pagegen.testing.explorer import Report, World, explore, explore_randomly, replay
from tests.explorer.thorough import BOUNDS, WORLDS

#: Random schedules of one piece of work, after which progress is told.
PIECE = 2_000
BY_NAME: dict[str, Callable[[World], object]] = {build.__name__: build for build in WORLDS}


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.explorer", description=__doc__)
    parser.add_argument("--world", action="append", choices=sorted(BY_NAME), help="only these")
    parser.add_argument("--random", type=int, metavar="N", help="so many random schedules in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--preemptions", metavar="N", help="a number, or all")
    parser.add_argument("--seconds", type=float, default=inf, help="for each world")
    parser.add_argument("--replay", metavar="SCHEDULE", help="of the one --world; or a seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", action="store_true", help="one line for each report")
    chosen = parser.parse_args(given)
    if chosen.replay is not None and len(chosen.world or ()) != 1:
        parser.error("--replay needs the one --world that the schedule is of")
    if chosen.preemptions not in (None, "all") and not chosen.preemptions.isdigit():
        parser.error("--preemptions is a number, or all")
    return chosen


def _pieces(chosen: argparse.Namespace) -> Iterator[tuple[str, dict[str, object]]]:
    names = chosen.world or list(BY_NAME)
    for at, name in enumerate(names):
        if chosen.random is None:
            bound = BOUNDS[BY_NAME[name]]
            if chosen.preemptions is not None:
                bound = None if chosen.preemptions == "all" else int(chosen.preemptions)
            yield name, {"preemptions": bound, "seconds": chosen.seconds}
            continue
        share = chosen.random // len(names) + (at < chosen.random % len(names))
        for first in range(0, share, PIECE):
            count = min(PIECE, share - first)
            yield name, {"schedules": count, "seed": chosen.seed + first}


def _work(name: str, options: dict[str, object]) -> Report:
    search: Callable[..., Report] = explore_randomly if "schedules" in options else explore
    return search(BY_NAME[name], **options)


def _replayed(chosen: argparse.Namespace) -> int:
    text = chosen.replay
    found = replay(BY_NAME[chosen.world[0]], int(text) if text.isdigit() else text)
    print(found or "every promise was kept")
    return int(found is not None)


def main(given: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    chosen = _arguments(given)
    if chosen.replay is not None:
        try:
            return _replayed(chosen)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
    began, schedules, broken = monotonic(), 0, 0
    pieces = list(_pieces(chosen))
    with ProcessPoolExecutor(chosen.jobs) as pool:
        works = [pool.submit(_work, name, options) for name, options in pieces]
        for done, work in enumerate(as_completed(works), 1):
            report = work.result()
            schedules += report.schedules
            broken += report.found is not None
            _tell(report, chosen)
            passed = monotonic() - began
            print(
                f"{done} of {len(pieces)} pieces, {schedules} schedules, {passed:.0f} s, "
                f"{schedules / passed:.0f}/s, {broken} broken",
                file=sys.stderr,
            )
    return int(broken > 0)


def _tell(report: Report, chosen: argparse.Namespace) -> None:
    if chosen.json:
        print(json.dumps(asdict(report)), flush=True)
    elif report.found is not None or chosen.random is None:
        print(report, flush=True)
        if report.found is not None:
            print(report.found, flush=True)


if __name__ == "__main__":
    sys.exit(main())
