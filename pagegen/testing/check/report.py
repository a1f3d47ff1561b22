"""What a run looks like: a line while it lasts, a table for people, an object for machines."""

from __future__ import annotations

from typing import Any, Final, TextIO

from .running import Outcome
from .verdict import SAID, State, Verdict

#: Exit status by what came of a run.
EXIT: Final[dict[State, int]] = {"kept": 0, "reported": 0, "broken": 1, "unchecked": 2}
_COUNTED: Final = (
    "requests", "writes", "hits", "forwards", "owed", "lost", "refused", "other", "excused",
)  # fmt: skip
_MARKS: Final[dict[State, str]] = {
    "kept": "kept", "broken": "BROKEN", "unchecked": "-", "reported": "seen",
}  # fmt: skip


class Progress:
    """One line that is written over, on a terminal; nothing elsewhere."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._shown = file.isatty()
        self._width = 0

    def __call__(self, outcome: Outcome) -> None:
        """Show a run that lasts."""
        if not self._shown:
            return
        counts = outcome.counts
        text = (
            f"{outcome.seconds:6.0f} s  {counts['requests']} requests  {counts['writes']} writes  "
            f"{counts['hits']} hits  {sum(outcome.faults.values())} faults"
        )
        self._file.write("\r" + text.ljust(self._width))
        self._file.flush()
        self._width = len(text)

    def end(self) -> None:
        """Leave the line."""
        if self._width:
            self._file.write("\r" + " " * self._width + "\r")
            self._file.flush()


def table(verdict: Verdict, outcome: Outcome | None = None) -> str:
    """For people: a line for each promise, then counter-examples."""
    lines = []
    for finding in verdict.findings:
        mark = _MARKS[finding.state]
        count = f"{finding.broken} of {finding.checks}" if finding.broken else str(finding.checks)
        said = finding.note or SAID[finding.promise]
        lines.append(f"{mark:<7} {finding.promise.value:<17} {count:>14}  {said}")
    for finding in verdict.findings:
        lines += [f"\n{finding.promise.value}, broken:"] if finding.examples else []
        lines += [f"  {example}" for example in finding.examples]
    if outcome is not None:
        lines += ["", *_counts(outcome)]
    if verdict.state == "unchecked":
        lines += ["", f"This proves nothing; never checked: {', '.join(verdict.missing)}"]
    return "\n".join(lines)


def _counts(outcome: Outcome) -> list[str]:
    counts = [f"{outcome.counts[name]} {name}" for name in _COUNTED if outcome.counts[name]]
    lines = [f"{outcome.seconds:.0f} s: {', '.join(counts)}"]
    if outcome.faults:
        faults = (f"{name} {count}" for name, count in sorted(outcome.faults.items()))
        lines.append(f"faults: {', '.join(faults)}")
    if outcome.interrupted:
        lines.append("interrupted: this is what there was")
    return lines


def as_object(verdict: Verdict, outcome: Outcome | None = None) -> dict[str, Any]:
    """For machines."""
    told: dict[str, Any] = {"state": verdict.state, "exit": EXIT[verdict.state]}
    if outcome is not None:
        told |= {
            "seconds": round(outcome.seconds, 3),
            "interrupted": outcome.interrupted,
            **{name: outcome.counts[name] for name in _COUNTED},
            "faults": dict(sorted(outcome.faults.items())),
        }
    return {**told, "promises": verdict.table()}
