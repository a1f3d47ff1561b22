"""The drawings of the demo are well-formed, inside their frame, and true to the stars."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import zip_longest
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sqlalchemy import Engine

from demo_app import chart, heat
from demo_app.catalogue import Catalogue, Package
from demo_app.schema import open_engine
from tests.demo.reading import rows

DAY = date(2024, 1, 1)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_SPARK = re.compile(r'<path class="spark-line" d="([^"]+)"')


@pytest.fixture(scope="module")
def engine(database: Path) -> Iterator[Engine]:
    """The loaded database, for reading."""
    made = open_engine(database)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def packages(engine: Engine) -> list[Package]:
    """Every tenth package."""
    catalogue = Catalogue(engine)
    return [catalogue.package(row["slug"]) for row in rows()[::10]]


def story(package: Package, votes: int = 0) -> chart.Story:
    points = heat.curve(package.history)
    return chart.Story(package.name, points, heat.gaps(package.history), heat.VOTE * votes)


def numbers(element: ElementTree.Element, *names: str) -> list[float]:
    found = (_NUMBER.findall(element.get(name, "")) for name in names)
    return [float(number) for many in found for number in many]


def places(svg: ElementTree.Element) -> Iterator[tuple[float, float]]:
    """All coordinates of the drawing; where one of the two is missing it counts as 0."""
    for element in svg.iter():
        if element.tag != "linearGradient":
            points = numbers(element, "d")
            across = [*numbers(element, "x", "x1", "x2", "cx"), *points[::2]]
            down = [*numbers(element, "y", "y1", "y2", "cy"), *points[1::2]]
            yield from zip_longest(across, down, fillvalue=0.0)


@pytest.mark.parametrize("size", [chart.WIDE, chart.NARROW], ids=lambda size: size.name)
@pytest.mark.parametrize("votes", [0, 1, 400])
def test_charts_are_well_formed_and_stay_in_their_frame(
    packages: list[Package], size: chart.Size, votes: int
) -> None:
    drawn = [package for package in packages if len(package.history) > 1]
    assert len(drawn) > 30
    for package in drawn:
        svg = ElementTree.fromstring(chart.draw(story(package, votes), size))
        assert svg.get("viewBox") == f"0 0 {size.width} {size.height}"
        assert svg.find("path") is not None
        for x, y in places(svg):
            assert 0 <= x <= size.width, package.slug
            assert 0 <= y <= size.height, package.slug


def test_a_chart_says_in_words_what_it_shows(packages: list[Package]) -> None:
    hostile = chart.Story("<b>&amp;</b>", [heat.Point(DAY, 3), heat.Point(DAY, 5)], [], 50.0)
    svg = ElementTree.fromstring(chart.draw(hostile, chart.WIDE))
    assert svg.findtext("title") == "How hot <b>&amp;</b> was from January 2024 to January 2024"
    assert svg.findtext("desc") == "Highest at 5 in January 2024; 55 at the end."
    said = {svg.get("aria-labelledby")}
    assert said == {"chart-wide-title chart-wide-desc"}


def test_small_curves_are_well_formed_and_use_their_height() -> None:
    assert chart.spark([]) == chart.spark([3.0]) == ""
    svg = ElementTree.fromstring(chart.spark([0.0, 40.0, 10.0, 20.0]))
    line = next(path for path in svg if path.get("class") == "spark-line")
    heights = numbers(line, "d")[1::2]
    assert (min(heights), max(heights)) == (2.5, 22.5)
    ElementTree.fromstring(chart.spark([0.0, 0.0]))


def test_a_smooth_line_goes_through_all_points_and_never_overshoots() -> None:
    points = [
        heat.Point(DAY + timedelta(week * 7), float(h)) for week, h in enumerate((0, 9, 9, 1))
    ]
    svg = ElementTree.fromstring(chart.draw(chart.Story("x", points, [], 0.0), chart.WIDE))
    line = next(path for path in svg.iter("path") if path.get("class") == "chart-line")
    pieces = re.split("[MC]", line.get("d", ""))[1:]
    ends = [tuple(map(float, _NUMBER.findall(piece)))[-2:] for piece in pieces]
    assert [y for _, y in ends][1] == [y for _, y in ends][2]
    for (_, before), piece, (_, after) in zip(ends, pieces[1:], ends[1:], strict=False):
        controls = list(map(float, _NUMBER.findall(piece)))[1::2]
        assert min(before, after) <= min(controls) <= max(controls) <= max(before, after)


def test_heat_halves_every_four_weeks_without_new_stars() -> None:
    quiet = [(DAY, 1000), (DAY + timedelta(7), 1400)]
    quiet += [(DAY + timedelta(7 + 28 * month), 1400) for month in (1, 2, 3)]
    by_day = {point.day: point.heat for point in heat.curve(quiet)}
    after = [by_day[DAY + timedelta(7 + 28 * month)] for month in (0, 1, 2, 3)]
    assert after[0] > 400
    assert after[1:] == pytest.approx([after[0] / 2, after[0] / 4, after[0] / 8])


def test_only_a_new_highest_number_of_stars_counts() -> None:
    steady = [(DAY + timedelta(7 * week), 1000 + 10 * week) for week in range(12)]
    dented = [(day, 400 if index == 5 else stars) for index, (day, stars) in enumerate(steady)]
    assert heat.curve(dented)[-1].heat == pytest.approx(heat.curve(steady)[-1].heat, rel=0.05)


def test_a_project_that_moved_into_anothers_repository_gets_no_votes_for_it() -> None:
    steady = [(DAY + timedelta(7 * week), 1000 + 10 * week) for week in range(12)]
    moved = [(day, stars + 5000 * (index > 5)) for index, (day, stars) in enumerate(steady)]
    assert heat.curve(moved)[-1].heat == pytest.approx(heat.curve(steady)[-1].heat, rel=0.3)


def test_only_long_holes_in_the_history_are_told() -> None:
    days = [DAY, DAY + timedelta(35), DAY + timedelta(71)]
    history = [(day, 10 * index) for index, day in enumerate(days)]
    assert heat.gaps(history) == [heat.Span(days[1], days[2])]
    assert heat.curve(history[:1]) == heat.curve([]) == []
