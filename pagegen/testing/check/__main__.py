"""``python -m pagegen.testing.check``: holds what a cache serves against what was written.

Exit status: 0 all promises kept, 1 a promise broken, 2 a mistake in what was asked for, or a run in
which nothing could be checked. Ctrl-C or SIGTERM end a run early, and what there is is judged.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from . import options
from .events import HistoryError, read_events, read_terms
from .judging import Judge
from .report import EXIT, Progress, as_object, table
from .running import Outcome, SetupError, Yours, run_own, run_yours
from .verdict import Verdict


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run, judge, tell; raises ``SystemExit``."""
    parser = options.parser()
    wanted = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # children end as with Ctrl-C
    try:
        verdict, outcome = _rejudged(wanted) if wanted.judge else _run(wanted)
    except (SetupError, HistoryError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(2, f"{parser.prog}: interrupted before there was anything\n")
    if wanted.json:
        told = json.dumps(as_object(verdict, outcome))
    else:
        history = wanted.record or wanted.judge or ""
        told = table(verdict, outcome, history=history and shlex.quote(history))
    sys.stdout.write(f"{told}\n")
    sys.exit(EXIT[verdict.state])


def _run(wanted: Namespace) -> tuple[Verdict, Outcome]:
    progress = Progress(sys.stderr)
    limits = options.limits_of(wanted)
    with ExitStack() as stack:
        stack.callback(progress.end)
        prepared = options.yours_of(wanted) if wanted.url else options.own_of(wanted)
        if wanted.record:
            file = stack.enter_context(Path(wanted.record).open("w", encoding="utf-8"))
            limits = replace(limits, record=file)
        if isinstance(prepared, Yours):
            outcome = run_yours(prepared, limits, progress)
        else:
            outcome = run_own(prepared, limits, progress)
    assert outcome.verdict is not None  # noqa: S101 - runs end with one
    return outcome.verdict, outcome


def _rejudged(wanted: Namespace) -> tuple[Verdict, None]:
    with Path(wanted.judge).open(encoding="utf-8") as file:
        terms = read_terms(file)
        judge = Judge(replace(terms, herd=wanted.herd or terms.herd))
        judge.add(read_events(file))
    return judge.verdict(), None


if __name__ == "__main__":
    main()
