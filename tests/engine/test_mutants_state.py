"""State, readers, variants and the engine itself: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event

import pytest

from pagegen import owed as debts
from pagegen import state as states
from pagegen.debugging import DEBUG_NAME
from pagegen.errors import LateError
from pagegen.flights import Outcome
from pagegen.groups import SEQUENCE
from pagegen.law.storing import Refusal
from pagegen.law.tokens import SKEW
from pagegen.leasing import LONGEST_PAUSE
from pagegen.messages import StoredResponse
from pagegen.owed import Owed
from pagegen.reading import Found
from pagegen.state import LARGE_FOR
from pagegen.status import Tell
from pagegen.stepping import step
from pagegen.testing import PATIENCE, FakeClock
from pagegen.verdicts import Bypass, Hit, Reason, Stale
from tests.engine.driving import (
    GROUPS,
    HERE,
    KEY,
    LATE,
    LONG,
    OPEN,
    PAGE,
    SOFT,
    THERE,
    Hooked,
    Process,
    asking,
    fail,
    planned,
)

GERMAN = (("Vary", "Accept-Language"), ("Cache-Control", "max-age=100"))


# State ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reads", "writes", "late"),
    [(True, False, True), (False, True, True), (False, False, False)],
)
def test_only_a_store_that_waits_for_something_is_late(
    clock: FakeClock, store: Hooked, reads: bool, writes: bool, late: bool
) -> None:
    store.capabilities = replace(store.capabilities, blocking_reads=reads, blocking_writes=writes)
    state = Process(clock, store, max_delay=2).state
    assert [state.is_late(spent) for spent in (1.0, 1.001, 1e9)] == [False, late, late]
    state.hurry(1.0)
    if late:
        said = "it took 1500 ms, more than half of max_delay: it is asked no more for this request"
        with pytest.raises(LateError, match=said):
            state.hurry(1.5)


def test_what_was_too_large_is_remembered_for_a_while_and_so_many(
    process: Process, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "MAX_LARGE", 2)
    state = process.state
    state.too_large(HERE)
    clock.advance(LARGE_FOR - 1)
    assert state.is_large(HERE)
    clock.advance(1)
    assert not state.is_large(HERE)
    for slot in (HERE, THERE):
        state.too_large(slot)
    assert state.is_large(HERE)
    state.too_large(b"e" * 20)  # the memory starts anew
    assert [state.is_large(slot) for slot in (HERE, THERE, b"e" * 20)] == [False, False, True]


def test_a_page_that_is_stored_is_waited_for_again(process: Process) -> None:
    slot = process.leads().ticket.plan.slot
    process.state.flights.keep_apart(slot)
    forward = process.leads()
    assert forward.ticket.flight is None
    assert process.answer(forward).kept  # type: ignore[union-attr]
    assert not process.state.flights.apart(slot)


def test_what_is_refused_is_waited_for_by_nobody(process: Process) -> None:
    forward = process.leads()
    step(process.engine.abandon(forward.ticket, Refusal.PRIVATE))
    assert process.state.flights.apart(forward.ticket.plan.slot)


def test_what_is_stale_is_counted(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, replace(PAGE, ttl=60, swr=60))
    process.stores()
    clock.advance(61)
    verdict = process.ask()
    assert isinstance(verdict, Stale)
    assert (verdict.age, verdict.ttl) == (61, -1)
    assert process.count("stale") == 1


def test_who_owes_more_than_it_remembers_serves_nothing(process: Process) -> None:
    process.stores()
    process.state.owed.overflowed = True
    assert process.ask() == Bypass(Reason.OWED)


def test_other_pages_writes_hold_off_only_those_that_may_be_of_any_namespace(
    clock: FakeClock, store: Hooked
) -> None:
    rules = [replace(PAGE, replica_lag=1), replace(GROUPS, path="/list", name="l", replica_lag=1)]
    process = Process(clock, store, *rules)
    for target in ("/page", "/list"):
        process.declines(process.leads(asking(target)))
    clock.advance(1 + SKEW + 1)
    step(process.state.forgetting.hold(store, ["another", SEQUENCE]))
    for target, stores in (("/page", True), ("/list", False)):
        forward = process.leads(asking(target))
        assert forward.ticket.stores is stores
        process.declines(forward)


def test_a_page_that_names_others_is_held_off_by_its_own_namespaces_too(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(GROUPS, replica_lag=1))
    process.declines(process.leads())
    clock.advance(1 + SKEW + 1)
    step(process.state.forgetting.hold(store, ["page"]))
    assert not process.leads().ticket.stores


def test_another_process_is_asked_again_after_a_pause(process: Process, clock: FakeClock) -> None:
    process.state.leasing.note_elsewhere(HERE)
    assert process.state.leasing.is_elsewhere(HERE)
    clock.advance(LONGEST_PAUSE)
    assert not process.state.leasing.is_elsewhere(HERE)


def test_each_site_says_all_to_those_alone_who_have_its_own_field(
    clock: FakeClock, store: Hooked
) -> None:
    sites = [Process(clock, store, site=site, **KEY) for site in "ab"]
    name, value = sites[0].engine.debug_header(60)
    assert name.lower() == DEBUG_NAME
    request = asking(**{DEBUG_NAME: value})
    assert [site.engine.tells(request) for site in sites] == [Tell.ALL, Tell.NOTHING]


@pytest.mark.parametrize("setting", ["site", "release"])
def test_each_site_and_each_release_has_its_own_pages(
    clock: FakeClock, store: Hooked, setting: str
) -> None:
    slots = {planned(Process(clock, store, **{setting: value})).slot for value in ("a", "b", "")}
    assert len(slots) == 3


def test_each_site_knows_its_own_writers(clock: FakeClock, store: Hooked) -> None:
    rule = SOFT
    a, b = (Process(clock, store, rule, site=s, **KEY) for s in "ab")
    cookie, _ = a.state.wrote.cookie(clock(), secure=False)
    request = asking(cookie=cookie.partition(";")[0])
    assert [each.state.wrote.wrote(request, clock()) for each in (a, b)] == [True, False]


# Reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("learned", [False, True])
def test_a_page_is_judged_by_its_late_namespaces_known_or_not(
    clock: FakeClock, store: Hooked, learned: bool
) -> None:
    first, second = (Process(clock, store, replace(GROUPS, ttl=60)) for _ in range(2))
    page = first.stores(asking(), LATE)
    process = first if learned else second
    store.asked.clear()
    assert isinstance(process.ask(), Hit)
    assert store.asked == ["read"] + ["read tokens"] * (not learned)
    assert process.state.groups.of(planned(process).slot) == ("late",)
    clock.advance(60)
    store.asked.clear()
    forward = process.leads()
    assert forward.ticket.sequence is not None
    assert "add_tokens" not in store.asked  # all are known, the sequence too
    process.declines(forward)
    step(process.engine.invalidate(["late"]))
    assert process.leads().ticket.changed == ("late",)
    assert page.namespaces[-1] == "late"


@pytest.mark.parametrize(
    "change",
    [
        lambda page: replace(page, key=b"another"),
        lambda page: replace(page, namespaces=("other", *page.namespaces[1:])),
    ],
    ids=["another key", "other namespaces"],
)
def test_a_page_of_another_plan_is_not_asked_for_its_namespaces(
    clock: FakeClock, store: Hooked, change: Callable[[StoredResponse], StoredResponse]
) -> None:
    first, second = (Process(clock, store, GROUPS) for _ in range(2))
    foreign, plan = change(first.stores(asking(), LATE)), planned(second)
    step(store.write_page(plan.slot, foreign, 3600))
    store.asked.clear()
    found = step(second.state.reader.read(store, plan, asking()))
    assert found.page == foreign
    assert store.asked == ["read"]
    assert len(found.tokens) == len(plan.namespaces)
    assert found.namespaces == plan.namespaces
    assert found.sequence is not None


def test_a_find_has_the_namespaces_of_its_page_where_those_were_read(process: Process) -> None:
    page, plan = process.stores(), planned(process)
    late = replace(page, namespaces=(*plan.namespaces, "late"))
    tokens = (b"1",) * len(plan.namespaces)
    assert Found(plan, None, tokens).namespaces == plan.namespaces
    assert Found(plan, late, tokens).namespaces == plan.namespaces
    assert Found(plan, late, (*tokens, b"2")).namespaces == late.namespaces


def test_who_is_late_after_reading_a_marker_reads_no_variant(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = (Process(clock, store, OPEN) for _ in range(2))
    first.stores(asking(), *GERMAN)
    store.on["read"] = lambda: clock.advance(LONG)
    store.asked.clear()
    second.ask()
    assert store.asked == ["read"]


def test_a_variant_with_late_namespaces_costs_three_trips_once(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = (Process(clock, store, OPEN) for _ in range(2))
    first.stores(asking(), *GERMAN, LATE)
    for trips in (["read", "read", "read tokens"], ["read"]):
        store.asked.clear()
        assert isinstance(second.ask(), Hit)
        assert store.asked == trips


def test_a_page_with_late_namespaces_that_does_not_vary_costs_two_trips_once(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = (Process(clock, store, OPEN) for _ in range(2))
    first.stores(asking(), GERMAN[1], LATE)
    for trips in (["read", "read tokens"], ["read"]):
        store.asked.clear()
        assert isinstance(second.ask(), Hit)
        assert store.asked == trips


# The engine -----------------------------------------------------------------------------------


def test_who_leaves_waits_no_more_and_leads_nobody(clock: FakeClock, store: Hooked) -> None:
    first, second = (Process(clock, store) for _ in range(2))
    first.leads()
    leads, follows = second.waits(), second.waits()
    assert second.count("flights_waiting") == 2
    second.engine.leave(follows)
    assert second.count("flights_waiting") == 1
    assert leads.flight.result is None
    second.engine.leave(leads)
    assert second.count("flights_waiting") == 0
    assert leads.flight.result is Outcome.DECLINED


def test_who_ends_pays_what_it_owes(
    process: Process, store: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[None] = []
    monkeypatch.setattr(store, "close", lambda: closed.append(None))
    process.owes("page")
    process.engine.close()
    assert len(closed) == 1
    assert "replace_tokens" in store.asked
    assert process.state.owed.names == {}


def test_who_owes_too_much_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    owed = Owed(lambda names: None)
    for _ in range(2):
        owed._overflow()
    assert caplog.text.count("more than 100000 namespaces wait") == 1


def test_closing_ends_the_payer_and_what_comes_later_is_paid_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = [f"n{number}" for number in range(6)]

    def pause(closed: Event, seconds: float) -> object:
        return closed.wait(PATIENCE)

    def refuse(names: object) -> None:
        fail()

    owed = Owed(refuse, pause)
    owed.owe(names)
    thread = owed._thread
    assert thread is not None
    assert owed in debts._indebted
    owed.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert owed not in debts._indebted
    assert [name in caplog.text for name in names] == [True] * 5 + [False]
    paid = Event()
    owed._pause = lambda closed, seconds: None
    owed._replace = lambda names: paid.set()
    owed.owe(["later"])
    assert paid.wait(PATIENCE)
