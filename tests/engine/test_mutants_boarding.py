"""Going forward: what no other test told from a small change (docs/reference/mutation-check.md)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pagegen.exchange import Exchange, handling
from pagegen.flights import OVERDUE, Outcome
from pagegen.law.storing import Refusal
from pagegen.stepping import step
from pagegen.testing import FakeClock
from pagegen.verdicts import Admitted, Forward, Hit, Refused, Stale, Wait
from tests.engine.driving import KEY, OPEN, PAGE, SWR, Hooked, Process, asking, fail
from tests.scenarios.test_early_refresh import always

COLD = {"cache_control": "no-cache"}


def is_alone(verdict: object) -> bool:
    """Whether a request goes forward, and nobody waits for it."""
    assert isinstance(verdict, Forward)
    return verdict.ticket.flight is None


def serves(verdict: object) -> bool:
    """Whether it is an old page, and nobody renews it behind that."""
    assert isinstance(verdict, Stale)
    return verdict.ticket is None


# Flights --------------------------------------------------------------------------------------


def test_what_became_of_requests_is_counted(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, max_waiters=1)
    leader, follower = process.leads(), process.waits()
    assert is_alone(process.ask())  # the bench is full
    process.answer(leader)
    clock.advance(10)
    collapsed, hit = process.ask(after=follower), process.ask()
    assert isinstance(collapsed, Hit)
    assert isinstance(hit, Hit)
    assert [(each.age, each.ttl, each.stored, each.collapsed) for each in (collapsed, hit)] == [
        (10, 3590, True, True),
        (10, 3590, True, False),
    ]
    names = ("forward", "wait", "bench-full", "collapsed", "hit")
    assert [process.count(name) for name in names] == [2, 1, 1, 1, 1]


def test_a_newcomer_waits_longer_for_a_flight_than_who_has_lost_patience(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, max_wait=5, leases=False)
    process.leads()
    follower = process.waits()
    clock.advance(5)
    assert isinstance(process.ask(), Wait)
    assert not is_alone(process.ask(after=follower))
    clock.advance(OVERDUE - 1)
    assert isinstance(process.ask(), Wait)


def test_who_may_have_an_old_page_waits_for_none(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, SWR)
    process.stores()
    clock.advance(61)
    assert not serves(process.ask())
    assert serves(process.ask())
    assert process.count("flights_waiting") == process.count("wait") == 0


def test_who_wants_the_application_asked_waits_for_nobody(process: Process) -> None:
    process.stores()
    first, second = (process.ask(asking(**COLD)) for _ in range(2))
    assert [is_alone(first), is_alone(second)] == [False, True]
    assert process.count("flights_waiting") == process.count("wait") == 0


def test_a_handler_gets_its_own_page_if_it_is_fresh_and_renews_it_not(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(PAGE, ttl=100, early=True))
    forward = process.leads()
    with handling(Exchange(process.engine.realm, forward.ticket.plan.slot)):
        assert is_alone(process.ask())
    clock.advance(2)
    process.answer(forward)
    step(process.engine.give_back(forward.ticket))
    clock.advance(97)
    object.__setattr__(process.state.sources, "chance", always)
    with handling(Exchange(process.engine.realm, forward.ticket.plan.slot)):
        own = process.ask()
    other = process.ask()
    assert isinstance(own, Hit)
    assert isinstance(other, Hit)
    assert [own.ticket is None, other.ticket is None] == [True, False]
    assert (process.count("early"), process.count("store-failed")) == (1, 0)


def test_how_stale_a_softly_forgotten_page_is(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, replace(SWR, soft=True), **KEY)
    process.stores()
    clock.advance(20)
    step(process.engine.invalidate(["page"], soft=True))
    clock.advance(10)
    verdict = process.ask()
    assert isinstance(verdict, Stale)
    assert (verdict.age, verdict.ttl) == (30, -10)


@pytest.mark.parametrize("leases", [True, False])
def test_what_another_process_renders_is_not_refreshed_here(
    clock: FakeClock, store: Hooked, leases: bool
) -> None:
    process = Process(clock, store, SWR, leases=leases)
    page = process.stores()
    clock.advance(61)
    process.state.leasing.note_elsewhere(process.state.planner.plan(asking()).slot)  # type: ignore[union-attr]
    verdict = process.ask()
    assert isinstance(verdict, Stale)
    assert verdict.page == page
    assert serves(verdict) is leases


def test_what_failed_a_moment_ago_is_not_refreshed_again(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, replace(SWR, path="/{name}"))
    for target in ("/page", "/other"):
        process.stores(asking(target))
    clock.advance(61)
    first = process.ask()
    assert isinstance(first, Stale)
    assert first.ticket is not None
    step(process.engine.abandon(first.ticket, Refusal.FAILED))
    step(process.engine.give_back(first.ticket))
    assert serves(process.ask())
    assert not serves(process.ask(asking("/other")))


@pytest.mark.parametrize(
    ("fields", "in_vain"),
    [
        ({}, False),
        ({"cookie": "a=1"}, True),
        ({"authorization": "Basic eA=="}, True),
        ({"x_auth_token": "x"}, True),
    ],
)
def test_who_could_not_refresh_a_page_leaves_that_to_others(
    clock: FakeClock, store: Hooked, fields: dict[str, str], in_vain: bool
) -> None:
    process = Process(clock, store, OPEN)
    process.stores(asking(), ("Cache-Control", "max-age=60, stale-while-revalidate=60"))
    clock.advance(61)
    assert serves(process.ask(asking(**fields))) is in_vain
    assert process.count("store-failed") == 0


def test_whose_credentials_are_of_no_matter_refreshes_a_page(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, OPEN)
    process.stores(asking(), ("Cache-Control", "public, max-age=60, stale-while-revalidate=60"))
    clock.advance(61)
    assert not serves(process.ask(asking(cookie="a=1")))
    assert process.count("store-failed") == 0


def test_who_led_others_and_gets_an_old_page_leads_them_no_more(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = (Process(clock, store, SWR, max_wait=300) for _ in range(2))
    renders, leads, follows = first.leads(), second.waits(), second.waits()
    first.answer(renders)
    clock.advance(61)
    second.state.flights._stumbles(renders.ticket.plan.slot)
    assert serves(second.ask(after=leads))
    assert follows.flight.result is Outcome.DECLINED


def test_who_leads_others_and_has_waited_twice_leads_them_still(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = (Process(clock, store) for _ in range(2))
    first.leads()
    leads, follows = second.waits(), second.waits()
    clock.advance(5)
    forward = second.leads(after=replace(leads, again=True))
    assert forward.ticket.flight is follows.flight
    assert forward.ticket.lease is None
    assert follows.flight.result is None
    assert follows.flight.started == clock()


@pytest.mark.parametrize(
    ("outcome", "served"), [(Outcome.RESCUED, False), (Outcome.UNREACHABLE, True)]
)
def test_who_waited_gets_an_old_page_for_the_reason_for_which_it_may(
    clock: FakeClock, store: Hooked, outcome: Outcome, served: bool
) -> None:
    process = Process(clock, store, replace(PAGE, ttl=60), leases=False)
    process.stores()
    clock.advance(61)
    forward, follower = process.leads(), process.waits()
    process.state.settle(forward.ticket, outcome)
    assert isinstance(process.ask(after=follower), Stale if served else Forward)


# Turns ----------------------------------------------------------------------------------------


def away(process: Process, store: Hooked) -> None:
    store.on["read"] = fail


def unminted(process: Process, store: Hooked) -> None:
    store.on["add_tokens"] = fail


def held(process: Process, store: Hooked) -> None:
    pass


@pytest.mark.parametrize(
    ("trouble", "lag"),
    [(away, None), (unminted, None), (held, 100)],
    ids=["without tokens", "without new ones", "held off"],
)
def test_who_waits_for_a_turn_loses_patience_once_and_then_goes_alone(
    clock: FakeClock, store: Hooked, trouble: object, lag: float | None
) -> None:
    process = Process(clock, store, replace(PAGE, replica_lag=lag), max_wait=5)
    trouble(process, store)  # type: ignore[operator]
    running, leads, follows = process.leads(), process.waits(), process.waits()
    slot = running.ticket.plan.slot
    assert process.count("wait") == 2
    for wait in (leads, follows):
        assert (wait.plan.slot, wait.again) == (slot, False)
        assert wait.deadline == wait.until == clock() + 5
    assert leads.ticket is not None
    assert follows.ticket is None
    clock.advance(5)
    again = process.waits(after=follows)
    assert (again.again, again.deadline, again.plan.slot) == (True, clock() + 5, slot)
    clock.advance(4)
    early = process.waits(after=again)
    assert (early.again, early.deadline) == (True, clock() + 1)
    clock.advance(1)
    assert is_alone(process.ask(after=early))


def test_who_leads_a_turn_after_it_lost_patience_says_so(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, max_wait=5)
    away(process, store)
    process.leads()
    leads, follows = process.waits(), process.waits()
    clock.advance(5)
    assert not is_alone(process.ask(after=leads))  # its turn begins, and others get the next
    anew = process.waits(after=follows)
    assert anew.ticket is not None
    assert (anew.again, anew.deadline) == (True, clock() + 5)


def test_a_turn_begins_when_the_one_before_it_has_ended(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store)
    away(process, store)
    running, leads, follows = process.leads(), process.waits(), process.waits()
    clock.advance(2)
    assert process.answer(running) == Refused(None)
    forward = process.leads(after=leads)
    assert forward.ticket.flight is follows.flight
    assert (forward.ticket.started, forward.ticket.settled) == (clock(), False)
    clock.advance(1)
    admitted = process.answer(forward)
    assert isinstance(admitted, Admitted)
    assert admitted.page.render_seconds == 1
    shared = process.ask(after=follows)
    assert isinstance(shared, Hit)
    assert (shared.collapsed, shared.stored) == (True, False)


def test_behind_a_turn_that_was_refused_all_go_alone(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store)
    away(process, store)
    running, leads, follows = process.leads(), process.waits(), process.waits()
    step(process.engine.abandon(running.ticket, Refusal.PRIVATE))
    assert is_alone(process.ask(after=leads))
    assert follows.flight.result is Outcome.REFUSED
    assert is_alone(process.ask(after=follows))
