"""What no other test told from a small change to the engine: docs/reference/mutation-check.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from pagegen import PageCache, Rule
from pagegen import flights as flying
from pagegen import groups as grouping
from pagegen import leasing as lending
from pagegen.flights import APART, OVERDUE, Flights, Outcome, Turn
from pagegen.groups import MAX_GROUPS, SEQUENCE, Groups, found
from pagegen.law.softness import hold
from pagegen.law.storing import Refusal
from pagegen.law.tokens import MAX_AHEAD, SKEW, stamped, young
from pagegen.leasing import LONGEST_PAUSE, Leasing, mark_place
from pagegen.messages import ResponseHead
from pagegen.sources import Sources, mint
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.testing import PATIENCE, FakeClock, Reply, Scenario, environ
from pagegen.variants import Marking, marker
from pagegen.verdicts import Forward, Wait
from pagegen.wsgi.requests import read_request
from tests.scenarios.test_collapse import until
from tests.scenarios.test_early_refresh import always, draws
from tests.scenarios.test_early_refresh import early as renewed
from tests.scenarios.test_leases import SharedStore, all_handle, renders
from tests.stores.test_memory import page
from tests.unit.test_leasing import plan

HERE, THERE, ELSEWHERE = b"h" * 20, b"t" * 20, b"e" * 20
OLD = (b"1" * 16,)
PAGE = page()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def lead(flights: Flights, slot: bytes = HERE, *more: Any) -> flying.Flight:
    flight, leads = flights.join(slot, OLD, *more)
    assert flight is not None
    assert leads
    return flight


def in_another_thread(act: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(act).result(PATIENCE)


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
    assert flights.statistics() == {"flying": 2, "waiting": 3, "apart": 0}


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


# Leases ---------------------------------------------------------------------------------------


def test_what_is_elsewhere_is_so_for_one_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lending, "MAX_ELSEWHERE", 2)
    clock = FakeClock(0.0)
    leasing = Leasing(MemoryStore(), mint, clock)
    leasing.note_elsewhere(HERE)
    assert leasing.is_elsewhere(HERE)
    clock.advance(LONGEST_PAUSE)
    assert not leasing.is_elsewhere(HERE)
    leasing.note_elsewhere(HERE)
    leasing.note_elsewhere(THERE)  # and now the memory starts anew
    assert [leasing.is_elsewhere(slot) for slot in (HERE, THERE)] == [True, True]
    leasing.note_elsewhere(ELSEWHERE)
    assert [leasing.is_elsewhere(slot) for slot in (HERE, ELSEWHERE)] == [False, True]


def test_a_mark_that_another_release_left_says_nothing(clock: FakeClock) -> None:
    store, here = MemoryStore(now=clock), plan()
    left = marker(here, Marking(("unheard-of",)), clock())
    step(store.write_page(mark_place(here.slot), left, 60.0))
    assert step(Leasing.marked(store, here, clock())) is None
    step(store.write_page(mark_place(here.slot), replace(left, fields=()), 60.0))
    assert step(Leasing.marked(store, here, clock())) is None


# Looks ----------------------------------------------------------------------------------------


def test_what_another_process_has_just_renewed_is_not_renewed_again(
    clock: FakeClock,
) -> None:
    """The first process renews it after the second one looked, and before it has the lease."""
    rule = Rule(path="/page", share="public", namespaces=["page"], ttl=100)
    store = SharedStore(clock)
    with ExitStack() as stack:
        first, second = stages = [
            stack.enter_context(Scenario("wsgi", [rule], store=store, clock=clock))
            for _ in range(2)
        ]
        all_handle(stages, lambda seen: Reply(clock.advance(2) or b"page"))
        first.get("/page")
        clock.advance(99)
        for stage in stages:
            draws(stage, always)

        def renew() -> None:
            assert first.get("/page").trace == "hit"
            until(lambda: renders(stages) == 2 and not store.out)

        store.on_acquire = lambda: in_another_thread(renew)
        assert second.get("/page").trace == "hit"
        assert store.out == set()
        assert (renders(stages), renewed(second)) == (2, 0)


@pytest.mark.parametrize("early", [True, False])
def test_who_has_lost_patience_twice_goes_alone_and_nobody_earlier(
    clock: FakeClock, early: bool
) -> None:
    rule = Rule(path="/page", share="public", namespaces=["page"], ttl="1h")
    sources = Sources(now=clock, monotonic=clock)
    engine = PageCache([rule], sources=sources, max_wait=5).engine
    request = read_request(environ("GET", "/page"))
    assert isinstance(step(engine.look_up(request)), Forward)
    waits = [step(engine.look_up(request)) for _ in range(2)]
    clock.advance(5)
    anew, again = [step(engine.look_up(request, wait)) for wait in waits]
    assert isinstance(anew, Forward)
    assert isinstance(again, Wait)
    assert (again.again, again.deadline) == (True, clock() + 5)
    clock.advance(2 if early else 5)
    if early:
        step(engine.abandon(anew.ticket, Refusal.FAILED))
    last = step(engine.look_up(request, again))
    assert isinstance(last, Forward)
    # One that begins anew has others behind it.
    assert (last.ticket.flight is not None) is early


# Forgetting -----------------------------------------------------------------------------------


class Wrote(MemoryStore):
    """Remembers the registers that were replaced, at once or one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.wrote: list[tuple[str, ...]] = []

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self.wrote.append(tuple(tokens))
        await super().replace_tokens(tokens, ttl)


def test_a_write_is_flagged_for_its_own_pages_and_nothing_is_where_nothing_was_minted() -> None:
    store = Wrote()
    rule = Rule(path="/a", share="public", namespaces=["a"], ttl="1h", groups=True, replica_lag=0.5)
    forgetting = PageCache([rule], store=store).engine._state.forgetting
    step(forgetting.forget(store, ("url:localhost/a",)))
    # The sequence's flag would keep all pages off the store that may name further namespaces.
    assert store.wrote == [(hold("url:localhost/a"),), ("url:localhost/a",)]
    store.wrote.clear()
    step(forgetting.forget(store, ("a",)))
    assert store.wrote == [(hold("a"), hold(SEQUENCE)), (SEQUENCE,), ("a",)]
    store.wrote.clear()
    step(forgetting.hold(store, ()))
    assert store.wrote == []


def test_a_soft_write_is_one_for_the_shortest_window() -> None:
    rule = Rule(path="/a", share="public", namespaces=["a"], ttl="1h", swr=0.5, soft=True)
    cache = PageCache([rule], site_key="0123456789abcdef" * 2)
    assert cache.invalidate("a", soft=True).soft


@pytest.mark.parametrize(
    ("written", "is_young"),
    [
        (1000.0, True),
        (1000.0 - 5 - SKEW, False),  # whatever lagged has it by now
        (1000.0 - 5 - SKEW + 0.5, True),
        (1000.0 + MAX_AHEAD, True),
        (1000.0 + MAX_AHEAD + 0.5, False),  # of a clock that was set back
        (inf, False),
        (-inf, False),
        (nan, False),
    ],
)
def test_a_token_is_young_for_the_lag_and_what_clocks_differ_by(
    written: float, is_young: bool
) -> None:
    assert young(stamped(b"r" * 16, written), 5.0, 1000.0) is is_young


def test_what_has_no_stamp_is_not_young() -> None:
    assert not young(stamped(b"r" * 16, 1000.0)[:-1], 5.0, 1000.0)


# Groups ---------------------------------------------------------------------------------------


def test_a_page_may_name_so_many_namespaces_and_not_one_more() -> None:
    names = [f"n{number}" for number in range(MAX_GROUPS + 1)]
    head = ResponseHead(200, ())
    assert found(head, names[1:], ()) == tuple(names[1:])
    assert found(head, names, ()) is None
    assert found(head, names, names[:1]) == tuple(names[1:])


def test_the_names_that_are_remembered_are_bounded_over_all_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grouping, "MAX_LEARNED", 4)
    groups = Groups()
    groups.learn(HERE, ("a", "b", "c"))
    groups.learn(THERE, ("d",))
    groups.learn(THERE, ("d",))  # it is known already
    assert [groups.of(slot) for slot in (HERE, THERE)] == [("a", "b", "c"), ("d",)]
    groups.learn(ELSEWHERE, ("e", "f", "g", "h"))
    assert [groups.of(slot) for slot in (HERE, THERE)] == [(), ()]
    groups.learn(HERE, ("i",))
    assert [groups.of(slot) for slot in (HERE, ELSEWHERE)] == [("i",), ()]
    groups.learn(THERE, ("j", "k"))
    groups.learn(ELSEWHERE, ("l",))
    groups.learn(b"another", ())
    assert [groups.of(slot) for slot in (HERE, THERE)] == [("i",), ("j", "k")]
