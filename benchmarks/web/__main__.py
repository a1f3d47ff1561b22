"""``python -m benchmarks.web``: pagegen and its peers under real servers, beside their floor."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill
from time import perf_counter
from typing import Any, Final

import pagegen

from ..report import WIDTH, Table, text, value
from ..servers import MissingError
from . import groups, parts, tables, wrk
from .cores import choose
from .groups import Ground, Group, Ready
from .processes import NotStartedError
from .progress import Progress
from .proof import NoHitError
from .rounds import MAX_NOISE, Pace, measure, runs_in, turn
from .tables import Measured
from .versions import machine, versions

FULL: Final = Pace(2.0, 5)
QUICK: Final = Pace(0.5, 3)
#: Quartiles of fewer say nothing, and an interrupted client needs a moment to count.
MIN_ROUNDS, MIN_SECONDS = 2, 0.3

_ERRORS: Final = (MissingError, NotStartedError, NoHitError, wrk.WrongAnswersError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a page, and write what was asked for.

    0; 1 for no figures, because the floor or pagegen did something wrong, or direct calls did; 2
    for figures without those of others that did.
    """
    options = _options(arguments)
    try:
        wrk.require()
        found, document = _run(options)
    except _ERRORS as error:
        print(f"No figures: {error}", file=sys.stderr)
        return 1
    _write(options, document)
    if options.direct:
        document["direct"] = _direct(quick=options.quick)
        _write(options, document)
        if document["direct"] is None:
            return 1
    failed = [name for each in found for name in each.failed]
    if failed:
        print(f"Did something wrong, see the notes: {', '.join(failed)}", file=sys.stderr)
    return 2 if failed else 0


def _run(options: argparse.Namespace) -> tuple[list[Measured], dict[str, Any]]:
    started, cores, pace = perf_counter(), choose(), _pace(options)
    names = options.only or (parts.GLANCE if options.quick else parts.NAMES)
    plan = list(parts.groups(names, options.subject or ()))
    total = sum(runs_in(len(group.subjects), pace.rounds) for group in plan)
    with ExitStack() as stack:
        ground = Ground(stack, cores)
        progress = stack.enter_context(Progress(total))
        found = [_measured(ground, group, pace, progress) for group in plan]
    shown = [*tables.all_tables(found)]
    said = {**_circumstances(pace, plan), "quick": options.quick, "pinned": cores.said}
    print(_heading(said), text(shown), sep="\n\n", end="\n\n", flush=True)
    print(f"{perf_counter() - started:.0f} s", flush=True)
    return found, {**said, "groups": tables.document(found), "tables": [*map(_table, shown)]}


def _measured(ground: Ground, group: Group, pace: Pace, progress: Progress) -> Measured:
    def turned(ready: Ready) -> Any:
        progress.step(f"{group.title}: {ready.subject.name}")
        return turn(ready, pace.seconds, ground.cores)

    with ExitStack() as stack:
        opened = groups.opened(ground, stack, group)
        results = measure(group, opened, pace, turned)
        return Measured(group, results, opened.missing, opened.failed)


def _pace(options: argparse.Namespace) -> Pace:
    pace = QUICK if options.quick else FULL
    given = {name: getattr(options, name) for name in ("seconds", "rounds")}
    return replace(pace, **{name: each for name, each in given.items() if each is not None})


def _circumstances(pace: Pace, plan: Sequence[Group]) -> dict[str, Any]:
    subjects = [subject for group in plan for subject in group.subjects]
    return {
        "pagegen": pagegen.__version__,
        "machine": machine(),
        "versions": versions((group.server for group in plan), subjects),
        "connections": wrk.CONNECTIONS,
        "max_noise": MAX_NOISE,
        **asdict(pace),
    }


def _heading(said: dict[str, Any]) -> str:
    here, quick = said["machine"], " (a glance: --quick)" if said["quick"] else ""
    runs = f"{said['rounds']} interleaved runs of {said['seconds']:g} s"
    known = fill(", ".join(f"{name} {number}" for name, number in said["versions"].items()), WIDTH)
    return (
        f"pagegen under web servers{quick}\n"
        f"{here['processor']}, {here['cores']} cores, Linux {here['kernel']}, {here['python']}\n"
        f"{known}\n{said['pinned']}\n"
        f"Every figure is a median over {runs} with {said['connections']} connections;\n"
        f"noise is half the distance of its quartiles, and over {MAX_NOISE:.0%} there is no figure."
    )


def _table(table: Table) -> dict[str, Any]:
    return {**asdict(table), "rows": [[value(cell) for cell in row] for row in table.rows]}


def _direct(*, quick: bool) -> dict[str, Any] | None:
    """The direct-call half, in a process that did nothing before; what it prints is printed.

    None where it failed: its error stands there, and the web's figures are kept.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder, "direct.json")
        command = [sys.executable, "-m", "benchmarks", "--json", str(file)]
        if subprocess.run([*command, *(["--quick"] if quick else [])], check=False).returncode:
            return None
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return found


def _write(options: argparse.Namespace, document: dict[str, Any]) -> None:
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        said = json.dumps(document, indent=1, ensure_ascii=False)
        options.json.write_text(said + "\n", encoding="utf-8")
    if options.plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        # matplotlib is slow to import, and wanted here alone.
        import_module("benchmarks.web.plot").draw(document, options.plot)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="shorter and fewer runs: a glance")
    add("--only", action="append", choices=parts.NAMES, help="this part (repeatable)")
    add("--subject", action="append", metavar="WORD", help="names with this word (repeatable)")
    add("--seconds", type=float, metavar="S", help="length of a run")
    add("--rounds", type=int, metavar="N", help="runs of each subject")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--plot", type=Path, metavar="FILE", help="draw them there, as FILE.svg and FILE.png")
    add("--direct", action="store_true", help="the direct calls of python -m benchmarks too")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < MIN_ROUNDS:
        parser.error(f"--rounds: at least {MIN_ROUNDS}")
    if options.seconds is not None and options.seconds < MIN_SECONDS:
        parser.error(f"--seconds: at least {MIN_SECONDS}")
    return options


if __name__ == "__main__":
    sys.exit(main())
