"""Server-drawn SVG: the heat of one package over time, and the small curves of the catalogue."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from math import floor, log10
from typing import Final

from markupsafe import Markup, escape

from demo_app.heat import Point, Span

XY = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Size:
    """The drawing area. Text must not shrink with the page, so narrow screens get their own."""

    name: str
    width: int
    height: int
    left: int
    top: int = 26
    right: int = 14
    bottom: int = 30


WIDE: Final = Size("wide", 860, 300, left=48)
NARROW: Final = Size("narrow", 360, 240, left=38)


@dataclass(frozen=True, slots=True)
class Story:
    """What a chart shows: a package's curve, its holes, and the heat of votes made in the demo."""

    name: str
    points: Sequence[Point]
    gaps: Sequence[Span]
    bonus: float


class _Frame:
    """Days and heat to coordinates."""

    def __init__(self, story: Story, size: Size) -> None:
        self.size = size
        self.first = story.points[0].day
        self.days = max((story.points[-1].day - self.first).days, 1)
        highest = max(point.heat for point in story.points)
        self.step = _nice(max(highest, story.points[-1].heat + story.bonus, 1.0) / 4)
        self.ceiling = max(highest * 1.06, story.points[-1].heat + story.bonus, self.step)
        self.base = size.height - size.bottom

    def x(self, day: date) -> float:
        inner = self.size.width - self.size.left - self.size.right
        return round(self.size.left + inner * (day - self.first).days / self.days, 1)

    def y(self, heat: float) -> float:
        return round(self.base - (self.base - self.size.top) * heat / self.ceiling, 1)


def draw(story: Story, size: Size) -> Markup:
    """The chart as an `svg` element. `story` has two points at least."""
    frame = _Frame(story, size)
    curve = _smooth([(frame.x(point.day), frame.y(point.heat)) for point in story.points])
    ident = f"chart-{size.name}"
    return Markup("").join(
        (
            Markup(
                '<svg class="chart chart-{0}" viewBox="0 0 {1} {2}" role="img" '
                'aria-labelledby="{3}-title {3}-desc">'
            ).format(size.name, size.width, size.height, ident),
            _words(story, ident),
            Markup(
                '<defs><linearGradient id="{0}-fill" x1="0" y1="0" x2="0" y2="1">'
                '<stop class="chart-from" offset="0"/><stop class="chart-to" offset="1"/>'
                "</linearGradient></defs>"
            ).format(ident),
            _levels(frame),
            _years(frame),
            _area(story, curve, ident, frame),
            _holes(story.gaps, frame),
            _marks(story, frame),
            Markup("</svg>"),
        )
    )


def spark(heats: Sequence[float]) -> Markup:
    """A curve without words, 96 by 24, scaled to its own highest point."""
    if len(heats) < 2:
        return Markup("")
    highest, width, height = max(*heats, 1.0), 96.0, 24.0
    step = width / (len(heats) - 1)
    points = [
        (round(index * step, 1), round(height - 1.5 - (height - 4) * heat / highest, 1))
        for index, heat in enumerate(heats)
    ]
    return Markup(
        '<svg class="spark" viewBox="0 0 96 24" aria-hidden="true" preserveAspectRatio="none">'
        '<path class="spark-area" d="{0}L96 24L0 24Z"/><path class="spark-line" d="{0}"/></svg>'
    ).format(_smooth(points))


def _words(story: Story, ident: str) -> Markup:
    first, last = story.points[0], story.points[-1]
    peak = max(story.points, key=lambda point: point.heat)
    now = last.heat + story.bonus
    return Markup('<title id="{0}-title">{1}</title><desc id="{0}-desc">{2}</desc>').format(
        ident,
        f"How hot {story.name} was from {first.day:%B %Y} to {last.day:%B %Y}",
        f"Highest at {peak.heat:,.0f} in {peak.day:%B %Y}; {now:,.0f} at the end.",
    )


def _holes(gaps: Iterable[Span], frame: _Frame) -> Markup:
    drawn = []
    for gap in gaps:
        left, right = frame.x(gap.first), frame.x(gap.last)
        top, height = frame.size.top, frame.base - frame.size.top
        drawn.append(
            Markup('<rect class="chart-gap" x="{}" y="{}" width="{}" height="{}"/>').format(
                left, top, round(right - left, 1), height
            )
        )
        if right - left > 90:
            drawn.append(_text("chart-note", (left + right) / 2, top + 14, "no snapshots"))
    return Markup("").join(drawn)


def _levels(frame: _Frame) -> Markup:
    drawn, level = [], 0.0
    right = frame.size.width - frame.size.right
    while level <= frame.ceiling:
        drawn.append(
            Markup('<line class="chart-level" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
                frame.size.left, right, y=frame.y(level)
            )
        )
        drawn.append(_text("chart-y", frame.size.left - 8, frame.y(level) + 4, _brief(level)))
        level += frame.step
    return Markup("").join(drawn)


def _years(frame: _Frame) -> Markup:
    drawn = []
    last = date.fromordinal(frame.first.toordinal() + frame.days)
    for year in range(frame.first.year, last.year + 1):
        x = frame.x(max(date(year, 1, 1), frame.first))
        room = frame.x(min(date(year, 12, 31), last)) - x
        drawn.append(
            Markup('<line class="chart-tick" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(
                frame.base, frame.base + 5, x=x
            )
        )
        if room > 34:
            drawn.append(_text("chart-x", x + 1, frame.base + 20, str(year)))
    return Markup("").join(drawn)


def _area(story: Story, curve: Markup, ident: str, frame: _Frame) -> Markup:
    first, last = frame.x(story.points[0].day), frame.x(story.points[-1].day)
    return Markup(
        '<path class="chart-area" fill="url(#{0}-fill)" d="{1}L{2} {3}L{4} {3}Z"/>'
        '<path class="chart-line" d="{1}"/>'
    ).format(ident, curve, last, frame.base, first)


def _marks(story: Story, frame: _Frame) -> Markup:
    peak = max(story.points, key=lambda point: point.heat)
    x, y = frame.x(peak.day), frame.y(peak.heat)
    edges = frame.size.left + 80, frame.size.width - 80
    anchor = "start" if x < edges[0] else "end" if x > edges[1] else "mid"
    end = story.points[-1]
    drawn = [
        _dot("chart-peak", x, y),
        _text(f"chart-top {anchor}", x, y - 9, f"{_brief(peak.heat)} in {peak.day:%b %Y}"),
    ]
    if story.bonus:
        drawn.append(
            Markup('<line class="chart-bonus" x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(
                frame.y(end.heat), frame.y(end.heat + story.bonus), x=frame.x(end.day)
            )
        )
        drawn.append(_dot("chart-votes", frame.x(end.day), frame.y(end.heat + story.bonus)))
    drawn.append(_dot("chart-end", frame.x(end.day), frame.y(end.heat)))
    return Markup("").join(drawn)


def _dot(name: str, x: float, y: float) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="4"/>').format(name, x, y)


def _text(name: str, x: float, y: float, words: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
        name, round(x, 1), round(y, 1), escape(words)
    )


def _nice(rough: float) -> float:
    scale: float = 10.0 ** floor(log10(rough))
    return next(scale * nice for nice in (1, 2, 2.5, 5, 10) if scale * nice >= rough)


def _brief(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _smooth(points: Sequence[XY]) -> Markup:
    """A path through all points that never overshoots one (Fritsch and Carlson, 1980)."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) if b[0] > a[0] else 0.0 for a, b in pairwise(points)]
    turns = [slopes[0], *(_turn(a, b) for a, b in pairwise(slopes)), slopes[-1]]
    path = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for (a, b), before, after in zip(pairwise(points), turns, turns[1:], strict=False):
        third = (b[0] - a[0]) / 3
        path.append(
            f"C{a[0] + third:.1f} {a[1] + before * third:.1f} "
            f"{b[0] - third:.1f} {b[1] - after * third:.1f} {b[0]:g} {b[1]:g}"
        )
    return Markup("").join(path)


def _turn(before: float, after: float) -> float:
    # The harmonic mean keeps each piece monotone; a peak or a valley is level.
    return 2 * before * after / (before + after) if before * after > 0 else 0.0
