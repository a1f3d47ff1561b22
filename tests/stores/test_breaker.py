"""The breaker: opens after failures in a row, lets one probe through, closes when it answers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pagegen.stores.breaker import FIRST_PAUSE, LONGEST_PAUSE, LOST_PROBE, THRESHOLD, Breaker
from pagegen.testing import PATIENCE, FakeClock


def breaker(clock: FakeClock, chance: float = 0.5) -> Breaker:
    """With a chance of one half, a pause is just as long as it says."""
    return Breaker(now=clock, chance=lambda: chance)


def opened(clock: FakeClock, chance: float = 0.5) -> Breaker:
    made = breaker(clock, chance)
    for _ in range(THRESHOLD):
        assert made.allows()
        made.failed()
    return made


def test_it_opens_after_failures_in_a_row() -> None:
    made = breaker(FakeClock())
    for _ in range(THRESHOLD - 1):
        made.failed()
        assert made.allows()
        assert not made.is_open
    made.failed()
    assert made.is_open
    assert not made.allows()
    assert made.opened == 1


def test_an_answer_in_between_begins_the_count_anew() -> None:
    made = breaker(FakeClock())
    for _ in range(5):
        for _ in range(THRESHOLD - 1):
            made.failed()
        made.succeeded()
    assert made.allows()
    assert made.opened == 0


def test_after_the_pause_one_caller_is_the_probe() -> None:
    clock = FakeClock()
    made = opened(clock)
    clock.advance(FIRST_PAUSE - 0.001)
    assert not made.allows()
    clock.advance(0.002)
    assert [made.allows() for _ in range(4)] == [True, False, False, False]
    assert made.is_open


def test_a_probe_that_is_answered_closes_it() -> None:
    clock = FakeClock()
    made = opened(clock)
    clock.advance(FIRST_PAUSE + 0.001)
    assert made.allows()
    made.succeeded()
    assert not made.is_open
    assert all(made.allows() for _ in range(4))
    made.failed()
    assert made.allows(), "and it takes as many failures as before to open it"


def test_pauses_double_up_to_the_longest_and_begin_anew_after_an_answer() -> None:
    clock = FakeClock()
    made = opened(clock)
    expected = FIRST_PAUSE
    for _ in range(8):
        clock.advance(expected * 0.99)
        assert not made.allows()
        clock.advance(expected * 0.02)
        assert made.allows()
        made.failed()
        assert not made.allows(), "a probe that fails opens it at once"
        expected = min(LONGEST_PAUSE, expected * 2)
    assert expected == LONGEST_PAUSE
    assert made.opened == 9
    made.succeeded()
    for _ in range(THRESHOLD):
        made.failed()
    clock.advance(FIRST_PAUSE * 1.01)
    assert made.allows()


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 0.5), (0.999, 1.499)])
def test_pauses_are_scattered_so_that_processes_do_not_probe_in_step(
    chance: float, factor: float
) -> None:
    clock = FakeClock()
    made = opened(clock, chance)
    clock.advance(FIRST_PAUSE * factor - 0.001)
    assert not made.allows()
    clock.advance(0.002)
    assert made.allows()


def test_a_probe_that_never_comes_back_is_taken_to_be_lost() -> None:
    clock = FakeClock()
    made = opened(clock)
    clock.advance(FIRST_PAUSE + 0.001)
    assert made.allows()
    clock.advance(LOST_PROBE - 0.001)
    assert not made.allows()
    clock.advance(0.002)
    assert [made.allows(), made.allows()] == [True, False]


def test_a_probe_that_was_cancelled_leaves_its_place_to_the_next() -> None:
    clock = FakeClock()
    made = opened(clock)
    clock.advance(FIRST_PAUSE + 0.001)
    assert made.allows()
    made.undecided()
    assert made.is_open
    assert [made.allows(), made.allows()] == [True, False]
    made.succeeded()
    assert not made.is_open


def test_late_failures_of_calls_from_before_do_not_lengthen_the_pause() -> None:
    clock = FakeClock()
    made = opened(clock)
    for _ in range(50):
        made.failed()
    assert made.opened == 1
    clock.advance(FIRST_PAUSE + 0.001)
    assert made.allows()


def test_a_late_answer_closes_it() -> None:
    made = opened(FakeClock())
    made.succeeded()
    assert made.allows()


def test_of_many_threads_one_is_the_probe() -> None:
    clock = FakeClock()
    for _ in range(20):
        made = opened(clock)
        clock.advance(FIRST_PAUSE + 0.001)
        start = threading.Barrier(8)
        allowed: list[bool] = []

        def ask(
            made: Breaker = made, start: threading.Barrier = start, said: list[bool] = allowed
        ) -> None:
            start.wait(PATIENCE)
            said.append(made.allows())

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(allowed) == [False] * 7 + [True]


class ClosesMeanwhile:
    """A lock before which another thread has closed the breaker."""

    def __init__(self, made: Breaker) -> None:
        self.made = made
        self.lock = made._lock
        made._lock = self  # type: ignore[assignment]

    def __enter__(self) -> None:
        self.made._lock = self.lock
        self.made.succeeded()
        self.lock.acquire()

    def __exit__(self, *_: Any) -> None:
        self.lock.release()


def test_who_asks_while_it_is_being_closed_is_no_probe() -> None:
    made = opened(FakeClock())
    ClosesMeanwhile(made)
    assert made.allows()
    made.succeeded()
    made.failed()
    assert made.allows(), "one failure does not open a closed breaker"
