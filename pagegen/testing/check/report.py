"""What a run looks like: a line while it lasts, a table for people, an object for machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TextIO

from ...logs import escaped
from .events import Read, Write
from .running import Outcome
from .verdict import SAID, Finding, State, Verdict

#: Exit status by what came of a run.
EXIT: Final[dict[State, int]] = {"kept": 0, "reported": 0, "broken": 1, "unchecked": 2}
_COUNTED: Final = (
    "requests", "writes", "hits", "forwards", "owed", "lost", "refused", "other", "excused",
    "spared",
)  # fmt: skip
_MARKS: Final[dict[State, str]] = {
    "kept": "kept", "broken": "BROKEN", "unchecked": "-", "reported": "seen",
}  # fmt: skip
_COLUMNS: Final = ("", "sent (s)", "answered", "client", "worker", "")
#: Counter-examples that people are shown of each promise; the rest is for machines.
_SHOWN: Final = 3


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


def table(verdict: Verdict, outcome: Outcome | None = None, *, history: str = "") -> str:
    """For people: a line for each promise, then counter-examples. ``history``: its file."""
    lines = []
    for finding in verdict.findings:
        mark = _MARKS[finding.state]
        count = f"{finding.broken} of {finding.checks}" if finding.broken else str(finding.checks)
        said = finding.note or SAID[finding.promise]
        lines.append(f"{mark:<7} {finding.promise.value:<17} {count:>14}  {said}")
    if outcome is not None:
        lines += ["", *_counts(outcome)]
    for finding in verdict.findings:
        lines += _examples(finding, verdict.began)
    if verdict.state == "broken":
        lines += ["", *_again(outcome, history)]
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


def _examples(finding: Finding, began: int) -> Iterator[str]:
    """The first breaches of a promise, each with its requests. Times count from the first one."""
    if not finding.examples:
        return
    times = "once" if finding.broken == 1 else f"{finding.broken} times"
    first = f"; the first {_SHOWN}" if finding.broken > _SHOWN else ""
    yield f"\n{finding.promise.value.upper()} is broken {times}{first}:"
    for example, requests in list(zip(finding.examples, finding.requests, strict=True))[:_SHOWN]:
        yield f"\n  {escaped(example)}"
        if requests:
            yield from _aligned([_COLUMNS, *(_row(request, began) for request in requests)])


def _row(request: Read | Write, began: int) -> tuple[str, ...]:
    sent, answered = ((time - began) / 1e9 for time in (request.sent, request.answered))
    told = [f"status {request.status}"] if request.status != 200 else []
    if isinstance(request, Read):
        kind, subject = "read", request.page
        versions = ", ".join(f"{item}={version}" for item, version in request.versions)
        if len(request.versions) == 1:
            versions = f"version {request.versions[0][1]}"
        told += [versions, request.how.partition(";")[0] or "no trace"]
        if request.made:
            made = f"made at {(request.made - began) / 1e9:.6f}"
            told.append(f"{made} by {request.rendering}" if request.rendering else made)
    else:
        kind, subject = "write", f"item {request.item}"
        version = "some version" if request.version is None else f"version {request.version}"
        told += [version, request.outcome]
    who = (str(request.client), str(request.worker or "-"))
    said = "; ".join(filter(None, told))
    # What the application said, on somebody's terminal.
    return kind, f"{sent:.6f}", f"{answered:.6f}", *who, escaped(f"{subject}: {said}")


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    """Columns of one width each; what stands between the first and the last is to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *middle, last in rows:
        cells = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
        yield f"    {'  '.join([first.ljust(widths[0]), *cells, last])}".rstrip()


def _again(outcome: Outcome | None, history: str) -> list[str]:
    command = "python -m pagegen.testing.check"
    if not history:
        return ["Nothing was recorded: the same again with --record FILE keeps the history."]
    if outcome is None:
        return []
    cut = " Its end is missing: it grew too long." if outcome.cut else ""
    return [
        f"All requests are in {history}.{cut} To judge it again:",
        f"  {command} --judge {history}",
    ]


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
