"""Each known-bad variant is caught, by the promise that it breaks, and its schedule replays."""

from __future__ import annotations

import pytest

from pagegen.testing.explorer import explore, replay
from tests.explorer.faulty import FAULTS, Fault, no_rehash


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_known_bad_variant_is_caught(fault: Fault) -> None:
    report = explore(fault.build, preemptions=fault.preemptions, seconds=100)
    assert report.found is not None, f"{report}: nothing was found"
    assert report.found.promise in fault.breaks, report.found
    again = replay(fault.build, report.found.schedule)
    assert again is not None
    assert (again.promise, again.why) == (report.found.promise, report.found.why)
    assert report.found.schedule in report.found.text


def test_the_ring_of_servers_is_sound_where_nothing_moves() -> None:
    report = explore(no_rehash, preemptions=2)
    assert report.found is None, report.found
    assert report.complete
