"""Tables: what the benchmark says, as text for people and as JSON for machines."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from textwrap import fill
from typing import Any, Final

import pagegen

from .timing import MAX_NOISE, Effort, Measured, Spread

WIDTH: Final = 96

Cell = str | int | float | Spread | None

#: Headings that every comparison shares; see :func:`costs`.
COST_COLUMNS: Final = ("× floor", "noise", "extra loops", "≈ µs here")


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the page. ``lead`` says how to read it, ``notes`` what it does not cover."""

    name: str
    title: str
    lead: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def costs(measured: Measured) -> tuple[Cell, ...]:
    """The cells of :data:`COST_COLUMNS`."""
    noise = f"{max(measured.ratio.noise, measured.extra.noise):.0%}"
    return (measured.ratio, noise, measured.extra, measured.extra_us)


def text(tables: Iterable[Table]) -> str:
    """All tables, as a page of plain text."""
    return "\n\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    cells = [list(table.columns), *([_text(cell) for cell in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    lines = [_line(row, widths) for row in cells]
    lines.insert(1, "  ".join("─" * width for width in widths))
    notes = [fill(note, WIDTH, initial_indent="* ", subsequent_indent="  ") for note in table.notes]
    return "\n".join(
        [table.title, "═" * len(table.title), fill(table.lead, WIDTH), "", *lines, *notes]
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first = row[0].ljust(widths[0])
    rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join((first, *rest)).rstrip()


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Spread):
        return f"too noisy (±{cell.noise:.0%})" if cell.noisy else number(cell.median)
    return cell if isinstance(cell, str) else number(cell)


def number(value: float) -> str:
    """A number with three digits that matter, or more before the point."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def document(tables: Iterable[Table], effort: Effort, loop: Spread) -> dict[str, Any]:
    """The same as JSON values. A figure that is too noisy says so and has no median."""
    return {
        "pagegen": pagegen.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "quick": effort.quick,
        "rounds": effort.rounds,
        "max_noise": MAX_NOISE,
        "reference_loop_ns": value(loop),
        "tables": [
            {**asdict(table), "rows": [[value(cell) for cell in row] for row in table.rows]}
            for table in tables
        ],
    }


def value(cell: Cell) -> Any:
    """A cell as JSON has it."""
    if not isinstance(cell, Spread):
        return cell
    figure = {"noise": round(cell.noise, 4), "noisy": cell.noisy}
    if not cell.noisy:
        figure |= {"median": cell.median, "low": cell.low, "high": cell.high}
    return figure
