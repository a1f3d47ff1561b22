"""A run as people read it: one column for each actor, one line for each thing that happened."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Final

from .run import Noted, Run

#: Characters of a line, and the fewest of a column.
WIDTH: Final = 132
NARROWEST: Final = 20


def timeline(run: Run, promise: str, why: str, schedule: str, seed: int | None) -> str:
    """The record of a run that broke a promise."""
    replayed = f"replay with the schedule {schedule!r}"
    if seed is not None:
        replayed += f", or the seed {seed}"
    return "\n".join((f"BROKEN: {promise}", *wrap(why, WIDTH), "", *_lines(run), "", replayed))


def _lines(run: Run) -> Iterator[str]:
    names = list(dict.fromkeys(note.actor for note in run.notes))
    if len(names) * NARROWEST > WIDTH:
        yield from (f"{n.step:>4} {n.time:>7.3f} s  {n.actor}: {n.text}" for n in run.notes)
        return
    width = min(40, max(NARROWEST, WIDTH // max(1, len(names))))
    yield "step   time " + "".join(f"{name:<{width}}" for name in names).rstrip()
    shown = None
    for note in run.notes:
        yield from _cells(note, names.index(note.actor), width, new=note.step != shown)
        shown = note.step


def _cells(note: Noted, column: int, width: int, *, new: bool) -> Iterator[str]:
    head = f"{note.step:>4} {note.time:>6.1f} " if new else " " * 12
    for line in wrap(note.text, width - 1, subsequent_indent="  "):
        yield head + " " * (column * width) + line
        head = " " * 12
