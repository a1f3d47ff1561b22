"""Admitting: what no other test told from a small change (docs/reference/mutation-check.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pagegen import Rule
from pagegen.admitting import LINGER
from pagegen.exchange import Exchange, handling
from pagegen.fields import format_http_date
from pagegen.flights import Outcome
from pagegen.law.storing import Refusal
from pagegen.leasing import Mark
from pagegen.messages import ResponseHead
from pagegen.stepping import step
from pagegen.testing import FakeClock
from pagegen.verdicts import Admitted, Course, Forward, Refused, Wait
from tests.engine.driving import GROUPS, LATE, LONG, OPEN, PAGE, Hooked, Process, asking, fail, mark

GOOD = ResponseHead(200, (("Content-Type", "text/html"),))
#: As old when it comes as it may be, and a second more; the application may be asked about it.
OLD = (("Cache-Control", "max-age=60"), ("Age", "61"), ("ETag", '"a"'))


# Courses --------------------------------------------------------------------------------------


def test_what_promises_more_than_its_rule_keeps_is_not_collected(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(PAGE, max_body=100))
    ticket, request = process.leads().ticket, asking()
    heads = [ResponseHead(200, (("Content-Length", str(length)),)) for length in (100, 101)]
    courses = [process.engine.course(ticket, request, head) for head in heads]
    assert courses == [Course.COLLECT, Refusal.TOO_LARGE]


def test_what_no_front_can_collect_is_refused_for_that_reason(process: Process) -> None:
    ticket, request = process.leads().ticket, asking()
    course = process.engine.course
    assert course(ticket, request, GOOD, Refusal.EXTENSION) is Refusal.EXTENSION
    assert course(ticket, request, ResponseHead(500, ()), Refusal.EXTENSION) is Refusal.EXTENSION
    assert course(ticket, request, ResponseHead(304, ())) is Refusal.STATUS


@pytest.mark.parametrize("compress", [(), ("gzip",)])
@pytest.mark.parametrize("stores", [True, False])
def test_a_page_is_coded_where_its_rule_says_so_and_it_is_stored(
    clock: FakeClock, store: Hooked, compress: tuple[str, ...], stores: bool
) -> None:
    process = Process(clock, store, replace(PAGE, compress=compress))
    ticket = replace(process.leads().ticket, stores=stores)
    coded = process.engine.worth_coding(ticket, GOOD, 100_000)
    assert coded is (stores and bool(compress))
    assert not process.engine.worth_coding(ticket, GOOD, 1)


def test_codings_and_page_together_are_not_larger_than_the_rule_keeps(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(PAGE, compress=["gzip"], max_body=100_000))
    ticket = process.leads().ticket
    assert [name for name, _ in process.engine.coded(ticket, b"a" * 90_000)] == ["gzip"]
    assert process.engine.coded(ticket, b"a" * 100_000) == ()


# What is stored -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "fields", "windows"),
    [
        (replace(PAGE, ttl=100, swr=7, sie=5), (), 7),
        (replace(PAGE, ttl=100, swr=5, sie=7), (), 7),
        (OPEN, [("Cache-Control", "max-age=100, stale-while-revalidate=9")], None),
    ],
)
def test_a_page_is_kept_for_its_lifetime_and_all_that_may_follow(
    clock: FakeClock,
    store: Hooked,
    rule: Rule,
    fields: list[tuple[str, str]],
    windows: float | None,
) -> None:
    page = Process(clock, store, rule).stores(asking(), *fields)
    beyond = page.stale_while_revalidate, page.stale_if_error, page.stale_if_unreachable
    assert windows is None or max(beyond[:2]) == windows
    assert store.kept_for == [100 + max(beyond) + LINGER]


def test_a_page_is_kept_until_the_moment_that_it_names(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, OPEN)
    page = process.stores(asking(), ("Expires", format_http_date(clock() + 100)))
    assert page.fresh_until == clock() + 100


def test_a_page_that_has_expired_when_it_comes_is_kept_for_what_may_follow(
    clock: FakeClock, store: Hooked
) -> None:
    page = Process(clock, store, OPEN).stores(asking(), *OLD)
    assert page.fresh_until < clock()
    windows = page.stale_while_revalidate, page.stale_if_error, page.stale_if_unreachable
    assert store.kept_for[0] == max(windows) + LINGER


@pytest.mark.parametrize("late", [(), (LATE,)])
def test_the_late_namespaces_of_a_page_are_learned_with_it_and_no_others(
    clock: FakeClock, store: Hooked, late: tuple[tuple[str, str], ...]
) -> None:
    process = Process(clock, store, GROUPS)
    forward = process.leads()
    process.state.groups.learn(forward.ticket.plan.slot, ("earlier",))
    process.answer(forward, b"page", *late)
    assert process.state.groups.of(forward.ticket.plan.slot) == (("late",) if late else ())


def test_a_rule_without_late_namespaces_learns_of_none(process: Process) -> None:
    forward = process.leads()
    process.state.groups.learn(forward.ticket.plan.slot, ("earlier",))
    process.answer(forward)
    assert process.state.groups.of(forward.ticket.plan.slot) == ("earlier",)


def test_fields_that_are_keyed_select_no_variant(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, replace(OPEN, mode="http", headers={"x-kind": {}}))
    fields = [("Vary", "X-Kind"), ("Cache-Control", "max-age=60")]
    page = process.stores(asking(x_kind="a"), *fields)
    assert page.key == process.state.planner.plan(asking(x_kind="a")).key  # type: ignore[union-attr]


def test_what_varies_is_known_to_though_the_store_failed(clock: FakeClock, store: Hooked) -> None:
    """Who waits for a page and gets another one does not wait for the next in vain."""
    process = Process(clock, store, OPEN)
    german, french = asking(accept_language="de"), asking(accept_language="fr")
    forward = process.leads(german)
    process.engine.view(forward.ticket, german)
    store.on["write_page"] = fail
    fields = [("Vary", "Accept-Language"), ("Cache-Control", "max-age=60")]
    admitted = process.answer(forward, b"de", *fields)
    assert isinstance(admitted, Admitted)
    assert not admitted.kept
    assert isinstance(process.ask(german), Forward)
    assert isinstance(process.ask(french), Forward)
    assert isinstance(process.ask(french), Wait)


def test_the_latest_page_that_does_not_vary_ends_what_was_known(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, OPEN)
    german, lifetime = asking(accept_language="de"), ("Cache-Control", "max-age=60")
    page = process.stores(german, ("Vary", "Accept-Language"), lifetime)
    clock.advance(61)
    forward = process.leads(german)
    process.engine.view(forward.ticket, german)
    again = process.answer(forward, b"de", lifetime)
    assert isinstance(again, Admitted)
    assert again.page.key != page.key
    assert process.state.variants.marking(forward.ticket.resource) is None


# What is not stored ---------------------------------------------------------------------------


def test_a_page_that_the_store_fails_to_take_is_its_clients_and_is_counted(
    process: Process, store: Hooked
) -> None:
    store.on["write_page"] = fail
    forward, follower = process.leads(), process.waits()
    admitted = process.answer(forward)
    assert isinstance(admitted, Admitted)
    assert not admitted.kept
    assert follower.flight.result is admitted.page
    counts = [process.count(name) for name in ("no-room", "store-failed", "admitted")]
    assert counts == [1, 1, 0]
    assert mark(process, forward) is None  # nobody knows whether it is there


def test_a_page_that_the_store_has_no_room_for_is_counted_and_marked(
    process: Process, store: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = store.write_page

    async def full(slot: bytes, page: object, ttl: float) -> bool:
        return bool(not page.status and await write(slot, page, ttl))  # type: ignore

    monkeypatch.setattr(store, "write_page", full)
    forward = process.leads()
    admitted = process.answer(forward)
    assert isinstance(admitted, Admitted)
    assert not admitted.kept
    counts = [process.count(name) for name in ("no-room", "store-failed", "admitted")]
    assert counts == [1, 0, 0]
    assert mark(process, forward) is Mark.UNKEPT


def test_a_page_that_is_kept_is_counted_and_not_marked(process: Process, store: Hooked) -> None:
    marks: list[None] = []
    store.on["mark"] = lambda: marks.append(None)
    forward = process.leads()
    assert process.answer(forward).kept  # type: ignore[union-attr]
    counts = [process.count(name) for name in ("no-room", "store-failed", "admitted")]
    assert counts == [0, 0, 1]
    assert marks == []


@pytest.mark.parametrize("leases", [True, False])
def test_a_page_that_is_old_when_it_comes_is_nobody_elses(
    clock: FakeClock, store: Hooked, leases: bool
) -> None:
    process = Process(clock, store, OPEN, leases=leases)
    forward, follower = process.leads(), process.waits()
    process.engine.view(forward.ticket, asking())
    admitted = process.answer(forward, b"page", *OLD)
    assert isinstance(admitted, Admitted)
    assert admitted.kept
    assert follower.flight.result is Outcome.REFUSED
    # Without a lease no other process waits, so nobody has to be told.
    assert mark(process, forward) is (Mark.REFUSED if leases else None)


def test_what_nobody_stores_or_waits_for_is_not_judged(process: Process, store: Hooked) -> None:
    store.on["read"] = fail
    forward = process.leads()
    assert process.answer(forward, b"page", ("Cache-Control", "private")) == Refused(None)
    assert forward.ticket.flight is not None
    assert forward.ticket.flight.result is Outcome.DECLINED


def test_who_shares_a_turn_gets_its_page_though_nothing_of_it_is_stored(
    clock: FakeClock, store: Hooked
) -> None:
    """Nor are the tokens of what the page names read."""
    process = Process(clock, store, GROUPS)
    store.on["read"] = fail
    first, second, third = process.leads(), process.waits(), process.waits()
    process.answer(first)
    store.on = {"read": fail, "read tokens": fail, "write_page": fail}
    failed = process.count("store-failed")
    forward = process.leads(after=second)
    admitted = process.answer(forward, b"page", LATE)
    assert isinstance(admitted, Admitted)
    assert not admitted.kept
    assert third.flight.result is admitted.page
    assert process.count("store-failed") == failed
    assert process.count("no-room") == 0


@pytest.mark.parametrize("owed", ["page", "late", "another"])
def test_a_page_is_not_stored_while_any_namespace_of_it_is_owed(
    clock: FakeClock, store: Hooked, owed: str
) -> None:
    process = Process(clock, store, GROUPS)
    forward = process.leads()
    process.owes(owed)
    answered = process.answer(forward, b"page", LATE)
    assert isinstance(answered, Admitted if owed == "another" else Refused)
    assert answered.refusal is (None if owed == "another" else Refusal.OWED)
    process.state.owed.paid([owed], process.state.owed.mark())


def test_a_tag_without_a_rule_for_late_namespaces_refuses_the_page(process: Process) -> None:
    forward = process.leads()
    exchange = Exchange(process.engine.realm)
    exchange.tags["late"] = None
    with handling(exchange):
        assert process.answer(forward) == Refused(Refusal.GROUPS)


# Late tokens ----------------------------------------------------------------------------------


def reads_fail(store: Hooked, process: Process) -> None:
    store.on["read tokens"] = fail


def adding_fails(store: Hooked, process: Process) -> None:
    store.on["add_tokens"] = fail


def reading_is_slow(store: Hooked, process: Process) -> None:
    store.on["read tokens"] = lambda: process.clock.advance(LONG)


def adding_is_slow(store: Hooked, process: Process) -> None:
    store.on["add_tokens"] = lambda: process.clock.advance(LONG)


def something_is_forgotten(store: Hooked, process: Process) -> None:
    step(process.engine.invalidate(["another"]))


def test_a_look_that_was_slow_leaves_no_time_for_late_tokens(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, GROUPS)
    forward = process.leads()
    forward.ticket.spent = LONG
    store.asked.clear()
    assert process.answer(forward, b"page", LATE) == Refused(Refusal.STORE)
    assert store.asked == []


@pytest.mark.parametrize(
    ("meanwhile", "verbs", "refusal"),
    [
        (reads_fail, 1, Refusal.STORE),
        (reading_is_slow, 1, Refusal.STORE),
        (adding_fails, 2, Refusal.STORE),
        (adding_is_slow, 2, Refusal.STORE),
        (something_is_forgotten, 3, Refusal.SEQUENCE),
        (lambda store, process: None, 4, None),
    ],
)
def test_a_page_is_stored_if_the_tokens_of_its_late_namespaces_are_sure(
    clock: FakeClock,
    store: Hooked,
    meanwhile: Callable[[Hooked, Process], None],
    verbs: int,
    refusal: Refusal | None,
) -> None:
    process = Process(clock, store, GROUPS)
    forward = process.leads()
    meanwhile(store, process)
    store.asked.clear()
    answered = process.answer(forward, b"page", LATE)
    asked = ["read tokens", "add_tokens", "read tokens", "write_page"]
    assert [verb for verb in store.asked if verb != "mark"] == asked[:verbs]
    assert isinstance(answered, Admitted if refusal is None else Refused)
    assert answered.refusal is refusal
    assert process.count("store-failed") == (refusal is Refusal.STORE)
