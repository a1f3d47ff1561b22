"""Flights and turns: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

from typing import Any

import pytest

from pagegen import flights as flying
from pagegen.flights import APART, OVERDUE, Flights, Outcome, Turn
from pagegen.testing import FakeClock
from tests.engine.driving import ELSEWHERE, HERE, THERE
from tests.stores.test_memory import page

OLD = (b"1" * 16,)
PAGE = page()


def lead(flights: Flights, slot: bytes = HERE, *more: Any) -> flying.Flight:
    flight, leads = flights.join(slot, OLD, *more)
    assert flight is not None
    assert leads
    return flight


# Flights --------------------------------------------------------------------------------------


def test_who_joins_follows_until_the_bench_is_full(clock: FakeClock) -> None:
    flights = Flights(1, clock)
    flight = lead(flights, HERE, b"sequence")
    assert flight.sequence == b"sequence"
    assert flights.join(HERE, OLD) == (flight, False)
    assert flights.join(HERE, OLD) == (None, False)
    assert not flights.sit()
    flights.left()
    assert flights.sit()
    assert flights.statistics()["waiting"] == 1


def test_a_flight_is_lost_when_it_is_overdue_and_not_before(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    first = lead(flights)
    clock.advance(OVERDUE - 1)
    assert flights.join(HERE, OLD) == (first, False)
    clock.advance(1)
    assert lead(flights) is not first


def test_who_has_lost_patience_takes_a_flight_for_lost_sooner(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    first = lead(flights)
    clock.advance(2)
    assert flights.join(HERE, OLD, None, 3.0) == (first, False)
    assert lead(flights, HERE, None, 2.0) is not first


def test_a_flight_that_begins_late_is_overdue_late(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    flight = lead(flights)
    clock.advance(OVERDUE - 1)
    flights.restart(flight)
    clock.advance(OVERDUE - 1)
    assert flights.join(HERE, OLD) == (flight, False)


def test_nobody_who_follows_can_cancel_what_all_wait_for(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    flight = lead(flights)
    assert not flight.future.cancel()
    flights.land(flight, PAGE)
    assert flight.result is PAGE


def test_what_was_refused_is_led_by_everybody_until_a_while_is_over(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    flights.cancel(lead(flights), Outcome.REFUSED)
    assert flights.join(HERE, OLD) == (None, True)
    assert flights.take_turn(HERE) == Turn(None)
    clock.advance(APART - 1)
    assert flights.apart(HERE)
    clock.advance(1)
    assert not flights.apart(HERE)
    assert flights.statistics()["apart"] == 0
    lead(flights)


def test_the_second_failure_within_a_while_is_a_refusal(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    flights.cancel(lead(flights), Outcome.FAILED)
    assert flights.stumbled(HERE)
    clock.advance(APART)
    assert not flights.stumbled(HERE)
    flights.cancel(lead(flights), Outcome.FAILED)
    assert not flights.apart(HERE)
    clock.advance(APART - 1)
    flights.cancel(lead(flights), Outcome.FAILED)
    assert flights.apart(HERE)


@pytest.mark.parametrize("outcome", [Outcome.RESCUED, Outcome.UNREACHABLE])
def test_what_an_old_page_stood_in_for_is_a_failure_but_no_refusal(
    clock: FakeClock, outcome: Outcome
) -> None:
    flights = Flights(9, clock)
    for _ in range(3):
        flights.cancel(lead(flights), outcome)
        assert flights.stumbled(HERE)
    assert not flights.apart(HERE)


def test_what_is_stored_has_neither_failed_nor_been_refused(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    flights.keep_apart(HERE)
    flights.rejoin(HERE)
    assert not flights.apart(HERE)
    flights.cancel(lead(flights), Outcome.FAILED)
    flights.rejoin(HERE)
    assert not flights.stumbled(HERE)


def test_of_too_many_the_first_are_no_longer_remembered(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flying, "MAX_APART", 2)
    flights = Flights(9, clock)
    for slot in (HERE, THERE, HERE, ELSEWHERE):
        flights.keep_apart(slot)
    assert [flights.apart(slot) for slot in (HERE, THERE, ELSEWHERE)] == [True, False, True]
    flights = Flights(9, clock)
    for slot in (HERE, THERE, ELSEWHERE):
        flights.cancel(lead(flights, slot), Outcome.FAILED)
    assert [flights.stumbled(slot) for slot in (HERE, THERE, ELSEWHERE)] == [False, True, True]


def test_what_lands_is_counted_and_what_is_cancelled_is_not(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    before = flights.landings
    flights.land(lead(flights), PAGE)
    flights.land(lead(flights), PAGE)
    flights.cancel(lead(flights), Outcome.DECLINED)
    assert flights.landings == before + 2
    assert flights.statistics()["flying"] == 0


def test_who_was_taken_for_lost_may_land_behind_who_came_after_it(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    lost = lead(flights)
    clock.advance(OVERDUE)
    flights.land(lead(flights), PAGE)
    flights.land(lost, PAGE)
    assert lost.result is PAGE
    assert flights.statistics()["flying"] == 0


def test_who_was_taken_for_lost_and_lands_ends_the_flight_after_it(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    lost = lead(flights)
    clock.advance(OVERDUE)
    second = lead(flights)
    flights.cancel(lost, Outcome.FAILED)
    assert second.result is None  # whose failure it was has nothing to say of the other
    third = lead(flights, THERE)
    clock.advance(OVERDUE)
    fourth = lead(flights, THERE)
    flights.land(third, PAGE)
    assert fourth.result is PAGE
    assert flights.statistics()["flying"] == 1
    flights.cancel(fourth, Outcome.REFUSED)  # too late: it has landed
    assert fourth.result is PAGE


# Turns ----------------------------------------------------------------------------------------


def test_one_runs_one_leads_those_behind_it_and_they_share_its_turn(clock: FakeClock) -> None:
    flights = Flights(3, clock)
    running = flights.take_turn(HERE)
    assert (running.leads, running.before) == (True, None)
    following = flights.take_turn(HERE)
    assert following == Turn(following.flight, leads=True, before=running.flight)
    assert following.flight is not None
    assert following.flight.is_turn
    for number in (1, 2):
        assert flights.take_turn(HERE) == Turn(following.flight, leads=False)
        assert following.flight.followers == number
    assert flights.take_turn(HERE) == Turn(None)  # the bench is full
    assert flights.statistics() == {"flying": 2, "waiting": 3, "apart": 0, "apart_evicted": 0}


def test_a_turn_is_lost_after_a_while_and_somebody_else_takes_it(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    running = flights.take_turn(HERE).flight
    clock.advance(OVERDUE - 1)
    following = flights.take_turn(HERE)
    assert following.before is running
    clock.advance(1)
    assert flights.take_turn(HERE) == Turn(following.flight, leads=False)
    clock.advance(OVERDUE - 1)
    anew = flights.take_turn(HERE)
    assert anew.leads
    assert anew.before is None
    assert anew.flight not in (running, following.flight)


def test_who_follows_one_that_was_lost_leads_the_next_turn(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    flights.take_turn(HERE)
    lost = flights.take_turn(HERE).flight
    clock.advance(1)
    assert lost is not None
    assert flights.begin(lost)  # it runs from now on
    second = flights.take_turn(HERE)
    assert second.before is lost
    clock.advance(OVERDUE - 1)
    flights.restart(lost)
    clock.advance(1)
    third = flights.take_turn(HERE)
    assert third == Turn(third.flight, leads=True, before=lost)
    assert third.flight is not second.flight


def test_a_turn_behind_one_that_was_refused_ends_before_it_begins(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    running, following = flights.take_turn(HERE).flight, flights.take_turn(HERE).flight
    assert running is not None
    assert following is not None
    flights.cancel(running, Outcome.REFUSED)
    assert not flights.begin(following)
    assert following.result is Outcome.REFUSED
    assert flights.statistics()["flying"] == 0


def test_a_turn_that_lands_is_for_those_who_share_it_alone(clock: FakeClock) -> None:
    flights = Flights(9, clock)
    lost = flights.take_turn(HERE).flight
    assert lost is not None
    clock.advance(OVERDUE + 1)
    second = flights.take_turn(HERE).flight
    assert second is not None
    flights.land(lost, PAGE)
    assert second.result is None
