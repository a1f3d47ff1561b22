"""Runs targets under libFuzzer and tells what came of it; replays a find.

::

    python -m tests.security.fuzz                          every target for a minute
    python -m tests.security.fuzz --seconds 600 plans      one for ten minutes
    python -m tests.security.fuzz --replay plans FILE      try one input again, with its traceback
    python -m tests.security.fuzz --json                   the table as JSON

Finds are files in ``.fuzz/TARGET/finds``, and what leads to new lines is kept in
``.fuzz/TARGET/corpus`` for the next run. Needs ``atheris`` (``pip install -e ".[fuzz]"``); the
corpus in the repository is replayed by the tests without it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from .targets import Target, all_targets, target_named

_ROOT: Final = Path(__file__).resolve().parents[3]
#: Seconds for one input, and MiB for all: more is a find. The slowest ones take some 10 ms.
_SLOW: Final = 20
_MEMORY: Final = 1500
#: Seconds that a target may take to be imported with all its lines marked.
_STARTING: Final = 300
_COVERED: Final = re.compile(r"cov: ([0-9]+) ft: ([0-9]+) corp: ([0-9]+)/")
_UNITS: Final = re.compile(r"number_of_executed_units: ([0-9]+)")
_ENDED: Final = re.compile(r"Done ([0-9]+) runs? in ([0-9]+) second")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run brought. ``coverage`` counts edges, ``features`` how often each was passed.

    ``seconds`` are those of fuzzing. ``failed``: why there is nothing to tell; empty when it went
    as it should.
    """

    target: str
    executions: int
    seconds: int
    coverage: int
    features: int
    kept: int
    finds: tuple[str, ...]
    failed: str = ""


def words_of(target: Target) -> str:
    """The target's words as libFuzzer's dictionary."""
    raw = [word.encode("latin-1", "replace") for word in target.words]
    return "".join('"{}"\n'.format("".join(f"\\x{b:02x}" for b in word)) for word in raw)


def outcome_of(name: str, log: str, finds: Sequence[Path]) -> Outcome:
    """What libFuzzer's log says."""
    covered = _COVERED.findall(log)
    units, ended = _UNITS.search(log), _ENDED.search(log)
    coverage, features, kept = map(int, covered[-1]) if covered else (0, 0, 0)
    failed = "" if finds or ended else f"did not end as it should: {log[-400:]!r}"
    return Outcome(
        name,
        int(units[1]) if units else 0,
        int(ended[2]) if ended else 0,
        coverage,
        features,
        kept,
        tuple(map(str, finds)),
        failed,
    )


def fuzz(target: Target, seconds: int, folder: Path) -> Outcome:
    """Run one target for so long, in a process of its own."""
    own = folder / target.name
    for name in ("corpus", "finds"):
        (own / name).mkdir(parents=True, exist_ok=True)
    (own / "words").write_text(words_of(target), encoding="ascii")
    before = set((own / "finds").iterdir())
    options = {
        "max_total_time": seconds,
        "max_len": target.length,
        "timeout": _SLOW,
        "rss_limit_mb": _MEMORY,
        "print_final_stats": 1,
        "dict": own / "words",
        "artifact_prefix": f"{own / 'finds'}/",
    }
    kept = [target.corpus] if target.corpus.is_dir() else []
    command = [sys.executable, "-m", f"{__package__}.driver", target.name]
    command += [f"-{name}={value}" for name, value in options.items()]
    command += map(str, [own / "corpus", *kept])
    try:
        ended = subprocess.run(
            command, cwd=_ROOT, capture_output=True, timeout=seconds + _STARTING, check=False
        )
    except subprocess.TimeoutExpired as error:
        log = (error.stderr or b"").decode("utf-8", "replace")
    else:
        log = (ended.stdout + ended.stderr).decode("utf-8", "replace")
    (own / "log").write_text(log, encoding="utf-8")
    return outcome_of(target.name, log, sorted(set((own / "finds").iterdir()) - before))


_ROW: Final = "{:<20} {:>12} {:>8} {:>7} {:>9} {:>6} {:>6}"


def _table(outcomes: Sequence[Outcome]) -> str:
    """All of it for people."""
    rows = [_ROW.format("target", "executions", "seconds", "edges", "features", "kept", "finds")]
    for each in outcomes:
        numbers = each.executions, each.seconds, each.coverage, each.features, each.kept
        rows.append(_ROW.format(each.target, *numbers, len(each.finds)))
    total = sum(each.executions for each in outcomes), sum(each.seconds for each in outcomes)
    rows.append(_ROW.format("all", *total, "", "", "", sum(len(each.finds) for each in outcomes)))
    for each in outcomes:
        rows += [f"{each.target}: {each.failed}"] if each.failed else []
        for find in each.finds:
            rows.append(f"replay: python -m {__package__} --replay {each.target} {find}")
    return "\n".join(rows)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--folder", type=Path, default=_ROOT / ".fuzz", help="of finds (.fuzz)")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "FILE"), help="try one input")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 when there were finds, 2 when it could not run."""
    options = _options(arguments)
    if options.replay:
        name, file = options.replay
        target_named(name)(Path(file).read_bytes())
        print(f"{name}: nothing is wrong with {file}")
        return 0
    targets = all_targets()
    unknown = [name for name in options.targets if name not in targets]
    if unknown:
        print(f"No target {', '.join(unknown)}. There are: {', '.join(targets)}", file=sys.stderr)
        return 2
    if find_spec("atheris") is None:
        print('atheris is not installed. Run: pip install -e ".[fuzz]"', file=sys.stderr)
        return 2
    folder = options.folder.resolve()
    outcomes = []
    for name in options.targets or targets:
        print(f"{name} …", file=sys.stderr, flush=True)
        outcomes.append(fuzz(targets[name], options.seconds, folder))
    if options.json:
        print(json.dumps([asdict(each) for each in outcomes], indent=1))
    else:
        print(_table(outcomes))
    return 1 if any(each.finds or each.failed for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
