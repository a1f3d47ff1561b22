"""The picture: shares of the floor, one panel for each server.

``python -m benchmarks.web.plot FIGURES.json PICTURE [SERVER ...]`` draws what ``--json`` kept, as
``PICTURE.svg`` and ``PICTURE.png``; only those servers, where some are named. Colours are of the
palette by Okabe and Ito, which people with any colour vision can tell apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

_COLOURS: Final = {"pagegen": "#0072B2", "peer": "#E69F00", "proxy": "#999999"}
_MEANINGS: Final = {
    "pagegen": "pagegen",
    "peer": "other caches in Python",
    "proxy": "proxies in front",
}
_FLOOR, _QUIET = "#D55E00", "#555555"
#: Inches: 8 by 100 dots are the 800 pixels that a page of documentation gives a picture. The PNG
#: has twice as many, for screens that can show them.
_WIDTH, _BAR, _PANEL, _HEAD = 8.0, 0.215, 0.62, 1.05
_DOTS: Final = 200
#: Where the panels begin and end, of the width: names stand before them.
_LEFT, _RIGHT = 0.3, 0.975
#: The scale's end, unless a bar is longer: a little beyond the floor.
_END: Final = 1.15
#: The same picture from the same figures, byte by byte.
_STYLE: Final[Any] = {"svg.hashsalt": "pagegen", "font.size": 9.0, "svg.fonttype": "none"}


def draw(document: dict[str, Any], path: Path, servers: Sequence[str] = ()) -> None:
    """Draw what ``--json`` keeps, as SVG and PNG, the suffix of ``path`` left out or replaced.

    Only groups with the main page are drawn: those of sizes and workers are tables.
    """
    groups = [
        group
        for group in document["groups"]
        if group["part"] == group["server"] and (not servers or group["server"] in servers)
    ]
    rows = [_rows(group["subjects"]) for group in groups]
    if not any(rows):
        return
    with mpl.rc_context(_STYLE):
        figure = _figure(document, groups, rows)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(path.with_suffix(".png"), dpi=_DOTS)


def _rows(subjects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What has a bar: pagegen in its order, then the others, the quickest of each kind first."""
    kinds = list(_COLOURS)
    shown = [each for each in subjects if each["group"] in kinds]

    def place(each: dict[str, Any]) -> tuple[int, float]:
        ours = each["group"] == "pagegen"
        return kinds.index(each["group"]), 0.0 if ours else -each["share"].get("median", 0.0)

    return sorted(shown, key=place)


def _figure(
    document: dict[str, Any], groups: Sequence[dict[str, Any]], rows: Sequence[list[dict[str, Any]]]
) -> Figure:
    heights = [_BAR * len(each) for each in rows]
    whole = sum(heights) + _PANEL * len(rows) + _HEAD
    figure = Figure(figsize=(_WIDTH, whole), facecolor="white")
    end = max(_END, *(_right(row) for each in rows for row in each)) + 0.1
    below = whole - _HEAD
    for group, each, height in zip(groups, rows, heights, strict=True):
        below -= height
        axes = figure.add_axes((_LEFT, below / whole, _RIGHT - _LEFT, height / whole))
        _panel(axes, group, each, end)
        below -= _PANEL
    axes.set_xlabel("hits a second, as a share of what the server does with a constant page")
    _head(figure, document, whole)
    return figure


def _right(row: dict[str, Any]) -> float:
    return float(row["share"].get("high", 0.0))


def _panel(axes: Axes, group: dict[str, Any], rows: Sequence[dict[str, Any]], end: float) -> None:
    for place, row in enumerate(rows):
        _bar(axes, place, row)
    axes.axvline(1.0, color=_FLOOR, linewidth=1.4, zorder=3)
    axes.set_xlim(0, end)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set_title(group["title"], loc="left", fontsize=10, fontweight="bold", pad=5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", colors=_QUIET, labelsize=8)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#BBBBBB")


def _bar(axes: Axes, place: int, row: dict[str, Any]) -> None:
    share = row["share"]
    if share["noisy"]:
        said = f"too noisy (±{share['noise']:.0%})"
        axes.text(0.012, place, said, va="center", fontsize=8, color=_QUIET, style="italic")
        return
    median, low, high = share["median"], share["low"], share["high"]
    axes.barh(
        place,
        median,
        height=0.72,
        color=_COLOURS[row["group"]],
        xerr=[[median - low], [high - median]],
        error_kw={"ecolor": "#222222", "elinewidth": 1.0, "capsize": 2.0},
    )
    # On white, or the floor's line would run through the number of who comes near it.
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    number = f"{median:.2f}"
    axes.text(
        high + 0.015, place, number, va="center", fontsize=8, color="#222222", bbox=box, zorder=4
    )


def _head(figure: Figure, document: dict[str, Any], whole: float) -> None:
    said = document["machine"]
    glance = ", a glance" if document["quick"] else ""
    title = "What a hit costs under a web server: 10 kB page, one worker on one core"
    figure.text(0.02, 1 - 0.2 / whole, title, fontsize=11, fontweight="bold", va="center")
    under = (
        f"{said['processor']}, {said['python']}; medians and quartiles of {document['rounds']} "
        f"interleaved runs of {document['seconds']:g} s{glance}"
    )
    figure.text(0.02, 1 - 0.38 / whole, under, fontsize=7.5, va="center", color=_QUIET)
    marks = [Patch(color=colour, label=_MEANINGS[kind]) for kind, colour in _COLOURS.items()]
    floor = Patch(color=_FLOOR, label="floor")
    figure.legend(
        handles=[*marks, floor],
        loc="center left",
        bbox_to_anchor=(0.01, 1 - 0.62 / whole),
        ncols=4,
        frameon=False,
        fontsize=8,
        borderpad=0,
        handlelength=1.1,
        handleheight=0.8,
        columnspacing=1.2,
    )


def main(figures: str, picture: str, *servers: str) -> None:
    """Draw what was kept."""
    draw(json.loads(Path(figures).read_text(encoding="utf-8")), Path(picture), servers)


if __name__ == "__main__":
    main(*sys.argv[1:])
