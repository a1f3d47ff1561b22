"""Other processes, and the second look: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pagegen.flights import Outcome
from pagegen.law.storing import Refusal
from pagegen.leasing import FIRST_PAUSE, GROWTH, LONGEST_PAUSE, Mark
from pagegen.stepping import step
from pagegen.testing import FakeClock
from pagegen.verdicts import Forward, Hit, Stale, Wait
from tests.engine.driving import GROUPS, LATE, LONG, OPEN, PAGE, SWR, Hooked, Process, asking, fail
from tests.scenarios.test_collapse import until

VARIES = [("Vary", "Accept-Language"), ("Cache-Control", "max-age=60")]


class CancelledError(BaseException):
    """What ends a task, in place of asyncio's."""


def cancel() -> None:
    raise CancelledError


def two(clock: FakeClock, store: Hooked, *rules: object, **settings: object) -> list[Process]:
    return [Process(clock, store, *rules, **settings) for _ in range(2)]


# Waiting for another process ------------------------------------------------------------------


def test_pauses_grow_until_patience_is_over_and_then_it_renders(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = two(clock, store, max_wait=3)
    first.leads()
    began, pause = clock(), FIRST_PAUSE
    wait = second.waits()
    while True:
        assert wait.deadline == began + 3
        assert wait.pause == pytest.approx(pause)
        assert wait.until == pytest.approx(min(began + 3, clock() + pause))
        assert not wait.again
        assert wait.ticket is not None
        clock.time = wait.until
        if clock() == wait.deadline:
            break
        wait = second.waits(after=wait)
        pause = min(LONGEST_PAUSE, pause * GROWTH)
    assert pause == LONGEST_PAUSE
    forward = second.leads(after=wait)
    assert forward.ticket.lease is None  # whoever has it is slow, or dead
    assert forward.ticket.flight is wait.flight
    assert second.count("wait") == 1
    assert second.count("flights_waiting") == 0


def test_who_waits_for_the_second_time_says_so_to_itself(clock: FakeClock, store: Hooked) -> None:
    first, second = two(clock, store, max_wait=5)
    first.leads()
    wait = second.waits()
    clock.time = wait.until
    again = second.waits(after=replace(wait, again=True))
    assert again.again
    assert again.deadline == wait.deadline


def test_what_may_not_be_stored_is_waited_for_in_no_process(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = two(clock, store)
    renders, leads, follows = first.leads(), second.waits(), second.waits()
    step(first.engine.abandon(renders.ticket, Refusal.PRIVATE))
    step(first.engine.give_back(renders.ticket))
    ticket = second.leads(after=leads).ticket
    assert (ticket.flight, ticket.settled, ticket.lease) == (None, False, None)
    assert follows.flight.result is Outcome.REFUSED
    assert second.count("store-failed") == 0


def test_what_is_not_kept_is_rendered_once_in_each_process(clock: FakeClock, store: Hooked) -> None:
    first, second = two(clock, store)
    renders, leads, follows = first.leads(), second.waits(), second.waits()
    marking = first.state.leasing.leave_mark
    step(marking(store, renders.ticket.plan, Mark.UNKEPT, clock()))
    ticket = second.leads(after=leads).ticket
    assert ticket.flight is follows.flight
    assert ticket.lease is None
    assert second.count("store-failed") == 0


def test_an_old_page_is_served_while_another_process_renders(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = two(clock, store, SWR)
    first.stores()
    clock.advance(61)
    renews = first.ask()
    assert isinstance(renews, Stale)
    assert renews.ticket is not None
    followers: list[Wait] = []
    choosy = asking(cache_control="max-stale=0")
    store.on_acquire = lambda: followers.append(second.waits(choosy))
    verdict = second.ask()
    assert isinstance(verdict, Stale)
    assert verdict.ticket is None
    assert followers[0].flight.result is Outcome.DECLINED
    assert second.state.leasing.is_elsewhere(renews.ticket.plan.slot)
    assert second.count("flights_flying") == second.count("store-failed") == 0


@pytest.mark.parametrize("why", ["it wants the application asked", "too many wait"])
def test_who_may_not_wait_for_another_process_renders(
    clock: FakeClock, store: Hooked, why: str
) -> None:
    demands = why == "it wants the application asked"
    first, second = two(clock, store, max_waiters=10 if demands else 0)
    first.leads()
    verdict = second.ask(asking(cache_control="no-cache") if demands else asking())
    assert isinstance(verdict, Forward)
    assert verdict.ticket.lease is None
    assert verdict.ticket.flight is not None
    assert second.count("flights_waiting") == second.count("wait") == 0


# A store that fails, and tasks that end -------------------------------------------------------


def test_a_lease_that_cannot_be_had_keeps_nobody(
    clock: FakeClock, store: Hooked, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(clock, store)
    store.on_acquire = fail
    forward, follower = process.leads(), process.waits()
    assert forward.ticket.flight is follower.flight
    assert process.count("store-failed") == 1
    assert "no route to host" in caplog.text


def test_who_is_cancelled_leads_nobody_and_keeps_no_lease(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store)
    followers: list[Wait] = []

    def second_look() -> None:
        store.on["read"] = lambda: None
        followers.append(process.waits())
        store.on["read"] = cancel

    store.on_acquire = second_look
    with pytest.raises(CancelledError):
        process.ask()
    assert followers[0].flight.result is Outcome.DECLINED
    assert store.out == set()
    assert store.terms != []


def test_a_lease_that_cannot_be_given_back_is_counted(
    clock: FakeClock, store: Hooked, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(clock, store)
    forward = process.leads()
    store.on["release"] = fail
    step(process.engine.give_back(forward.ticket))
    assert process.count("store-failed") == 1
    assert "no route to host" in caplog.text
    step(process.engine.give_back(forward.ticket))  # it has none any more
    assert process.count("store-failed") == 1


def test_who_is_cancelled_while_it_gives_its_lease_back_lets_a_thread_do_it(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store)
    forward = process.leads()

    def once() -> None:
        store.on.clear()
        cancel()

    store.on["release"] = once
    with pytest.raises(CancelledError):
        step(process.engine.give_back(forward.ticket))
    until(lambda: store.out == set())


# The second look ------------------------------------------------------------------------------


Meanwhile = Callable[[Process, Process], object]


def meanwhile(store: Hooked, first: Process, second: Process, act: Meanwhile) -> list[Wait]:
    """What happens between the first look of the second process and its lease. The other has no
    leases there; somebody of the second process comes to wait for its flight.
    """
    followers: list[Wait] = []

    def between() -> None:
        followers.append(second.waits())
        act(first, second)

    store.on_acquire = between
    return followers


def stores(first: Process, second: Process) -> None:
    rule = first.state.book.rules[0]
    fields = VARIES if rule.open else [LATE] if rule.groups else []
    first.stores(asking(accept_language="de"), *fields)


def forgets_and_stores(first: Process, second: Process) -> None:
    step(first.engine.invalidate(["page"]))
    stores(first, second)


def owes(first: Process, second: Process) -> None:
    stores(first, second)
    second.owes("late")


def pays(first: Process, second: Process) -> None:
    stores(first, second)
    second.state.owed.paid(["anything"], second.state.owed.mark())


def is_slow(first: Process, second: Process) -> None:
    stores(first, second)
    second.clock.advance(LONG)


@pytest.mark.parametrize(
    ("rule", "act", "said", "is_hit", "lands"),
    [
        (PAGE, stores, None, True, True),
        (GROUPS, stores, None, True, True),
        (OPEN, stores, None, True, False),  # nobody knew of its variants
        (PAGE, forgets_and_stores, None, True, False),
        (PAGE, stores, "no-cache", False, False),
        (PAGE, stores, "min-fresh=9999", False, False),
        (PAGE, pays, None, False, False),
        (GROUPS, owes, None, False, False),
        (PAGE, is_slow, None, False, False),
    ],
)
def test_what_was_stored_between_two_looks_is_served_if_it_would_be_at_the_first(
    clock: FakeClock,
    store: Hooked,
    rule: object,
    act: Meanwhile,
    said: str | None,
    is_hit: bool,
    lands: bool,
) -> None:
    first, second = Process(clock, store, rule, leases=False), Process(clock, store, rule)
    followers = meanwhile(store, first, second, act)
    fields = {"accept_language": "de"} | ({"cache_control": said} if said else {})
    verdict = second.ask(asking(**fields))
    result = followers[0].flight.result
    if is_hit:
        assert isinstance(verdict, Hit)
        assert not verdict.collapsed
        assert result == (verdict.page if lands else Outcome.DECLINED)
        assert store.out == set()
    else:
        assert isinstance(verdict, Forward)
        assert verdict.ticket.flight is followers[0].flight
        assert result is None
    assert second.count("store-failed") == (act is is_slow)


def test_a_second_look_that_is_slow_asks_for_no_late_tokens(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = Process(clock, store, GROUPS, leases=False), Process(clock, store, GROUPS)

    def act(first: Process, second: Process) -> None:
        stores(first, second)
        store.asked.clear()
        store.on["read"] = lambda: clock.advance(LONG)

    meanwhile(store, first, second, act)
    assert isinstance(second.ask(), Forward)
    assert store.asked == ["read"]
    assert second.count("store-failed") == 1
