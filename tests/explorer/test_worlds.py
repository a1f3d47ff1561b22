"""Every promise in every world: all schedules up to a bound, and some hundred beyond it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pagegen.testing.explorer import World, explore_randomly
from tests.explorer.thorough import SECONDS, WORLDS, explored

Build = Callable[[World], object]
EACH = pytest.mark.parametrize("build", WORLDS, ids=lambda build: build.__name__)


@pytest.mark.timeout(120 + SECONDS)
@EACH
def test_no_schedule_within_the_bound_breaks_a_promise(
    build: Build, record_property: Callable[[str, object], None]
) -> None:
    for number, report in enumerate(explored(build)):
        print(report)
        record_property("explored", str(report))
        assert report.found is None, report.found
        assert report.complete or number, "the fixed bound is explored completely"


@EACH
def test_no_random_schedule_breaks_a_promise(build: Build) -> None:
    report = explore_randomly(build, schedules=30, seed=1)
    assert report.found is None, report.found
    assert report.schedules == 30
