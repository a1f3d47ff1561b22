"""Looking up: what no other test told from a small change (docs/reference/mutation-check.md).

The engine is driven as a front drives it, step by step and without threads.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pagegen import Rule
from pagegen.flights import Outcome
from pagegen.groups import SEQUENCE
from pagegen.law.storing import Refusal
from pagegen.law.tokens import SKEW
from pagegen.stepping import step
from pagegen.testing import FakeClock
from pagegen.verdicts import (
    Admitted,
    Bypass,
    Forward,
    Hit,
    NotCached,
    Reason,
    Stale,
)
from tests.engine.driving import GROUPS, KEY, OPEN, PAGE, SOFT, Hooked, Process, asking

# Who has waited -------------------------------------------------------------------------------


def test_what_was_forgotten_in_vain_while_one_waited_is_a_bypass(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store)
    leader, follower = process.leads(), process.waits()
    process.answer(leader)
    process.owes("page")
    verdict = process.ask(after=follower)
    assert isinstance(verdict, Bypass)
    assert verdict.reason is Reason.OWED


@pytest.mark.parametrize(
    ("rule", "paid", "shared"),
    [(PAGE, True, True), (GROUPS, False, True), (GROUPS, True, False)],
    ids=["its own namespaces", "late ones", "late ones, and something was paid meanwhile"],
)
def test_a_page_with_late_namespaces_is_shared_unless_one_was_forgotten_before(
    clock: FakeClock, store: Hooked, rule: Rule, paid: bool, shared: bool
) -> None:
    """What is owed is not known of a late namespace before the page names it."""
    process = Process(clock, store, rule)
    process.state.owed.paid(["anything"], process.state.owed.mark())
    leader, follower = process.leads(), process.waits()
    process.answer(leader, b"page", *([("Cache-Groups", '"late"')] if rule.groups else []))
    if paid:
        process.state.owed.paid(["anything"], process.state.owed.mark())
    verdict = process.ask(after=follower)
    assert isinstance(verdict, Hit)
    assert verdict.collapsed is shared


def test_a_page_that_varies_by_what_another_asked_is_not_shared(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, OPEN)
    german, french = asking(accept_language="de"), asking(accept_language="fr")
    leader, same, other = process.leads(german), process.waits(german), process.waits(french)
    process.engine.view(leader.ticket, german)
    process.answer(leader, b"de", ("Vary", "Accept-Language"), ("Cache-Control", "max-age=60"))
    shared = process.ask(german, same)
    assert isinstance(shared, Hit)
    assert shared.collapsed
    assert isinstance(process.ask(french, other), Forward)


@pytest.mark.parametrize("rule", [PAGE, replace(OPEN, mode="http")], ids=["keyed", "http"])
def test_a_page_that_varies_by_what_is_keyed_is_shared(
    clock: FakeClock, store: Hooked, rule: Rule
) -> None:
    process = Process(clock, store, replace(rule, headers={"accept-language": {}}))
    request = asking(accept_language="de")
    leader, follower = process.leads(request), process.waits(request)
    process.engine.view(leader.ticket, request)
    process.answer(leader, b"de", ("Vary", "Accept-Language"), ("Cache-Control", "max-age=9"))
    verdict = process.ask(request, follower)
    assert isinstance(verdict, Hit)
    assert verdict.collapsed


def test_who_led_others_and_finds_the_page_of_another_process_hands_it_on(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = (Process(clock, store) for _ in range(2))
    renders, leads, follows = first.leads(), second.waits(), second.waits()
    page = first.answer(renders)
    assert isinstance(page, Admitted)
    verdict = second.ask(after=leads)
    assert isinstance(verdict, Hit)
    assert verdict.collapsed
    assert follows.flight.result == page.page


def test_who_led_others_does_not_hand_them_a_page_of_other_tokens(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = (Process(clock, store) for _ in range(2))
    renders, leads, follows = first.leads(), second.waits(), second.waits()
    step(first.engine.invalidate(["page"]))
    first.stores()
    assert isinstance(second.ask(after=leads), Hit)
    assert follows.flight.result is Outcome.DECLINED
    step(first.engine.abandon(renders.ticket, Refusal.FAILED))


def test_who_led_others_and_comes_to_render_still_leads_them(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = (Process(clock, store) for _ in range(2))
    renders, leads, follows = first.leads(), second.waits(), second.waits()
    first.declines(renders)
    forward = second.leads(after=leads)
    assert forward.ticket.flight is follows.flight
    assert follows.flight.result is None
    page = second.answer(forward)
    assert isinstance(page, Admitted)
    assert follows.flight.result is page.page


def test_who_led_others_and_comes_to_render_under_other_tokens_leads_them_no_more(
    clock: FakeClock, store: Hooked
) -> None:
    first, second = (Process(clock, store) for _ in range(2))
    first.leads()
    leads, follows = second.waits(), second.waits()
    step(first.engine.invalidate(["page"]))
    forward = second.leads(after=leads)
    assert forward.ticket.flight not in (None, follows.flight)
    assert follows.flight.result is Outcome.DECLINED


def test_who_led_others_and_may_not_store_the_page_leads_them_no_more(
    clock: FakeClock, store: Hooked
) -> None:
    """A write whose token never arrived has left the flag of its replicas."""
    rule = replace(PAGE, replica_lag=1)
    first, second = (Process(clock, store, rule) for _ in range(2))
    first.leads()  # mints the token
    clock.advance(1 + SKEW + 1)
    first.leads()
    leads, follows = second.waits(), second.waits()
    step(first.state.forgetting.hold(store, ["page"]))
    assert not second.leads(after=leads).ticket.stores
    assert follows.flight.result is Outcome.DECLINED
    assert second.count("store-failed") == 0


def test_who_has_waited_long_enough_for_a_page_to_end_looks_again(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(PAGE, ttl=60), max_wait=300)
    leader, follower = process.leads(), process.waits()
    process.answer(leader)
    clock.advance(60)
    assert isinstance(process.ask(after=follower), Forward)


# What was asked for ---------------------------------------------------------------------------


def test_who_wants_nothing_but_the_cache_is_counted(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store)
    assert isinstance(process.ask(asking(cache_control="only-if-cached")), NotCached)
    assert process.count("not-cached") == 1


def test_a_head_gets_a_softly_forgotten_page_as_others_do(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, SOFT, **KEY)
    assert process.ask(asking(method="HEAD")) == Bypass(Reason.HEAD_MISS)
    process.stores()
    step(process.engine.invalidate(["page"], soft=True))
    assert isinstance(process.ask(asking(method="HEAD")), Stale)


def test_a_part_of_what_was_too_large_is_the_applications_and_the_whole_is_not(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store)
    step(process.engine.abandon(process.leads().ticket, Refusal.TOO_LARGE))
    assert process.ask(asking(range="bytes=0-1")) == Bypass(Reason.RANGE)
    assert isinstance(process.ask(), Forward)


@pytest.mark.parametrize(
    ("after", "served"), [(0.0, True), (10.0, True), (10.5, False), (30.0, False)]
)
def test_a_softly_forgotten_page_is_as_stale_as_the_client_bears(
    clock: FakeClock, store: Hooked, after: float, served: bool
) -> None:
    process = Process(clock, store, SOFT, **KEY)
    process.stores()
    clock.advance(60)
    step(process.engine.invalidate(["page"], soft=True))
    clock.advance(after)
    verdict = process.ask(asking(cache_control="max-stale=10"))
    assert isinstance(verdict, Stale if served else Forward)


def test_a_page_of_another_key_is_never_served_however_stale_it_might_be(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, SOFT, **KEY)
    forward = process.leads()
    page = process.answer(forward)
    assert isinstance(page, Admitted)
    foreign = replace(page.page, key=b"another")
    step(store.write_page(forward.ticket.plan.slot, foreign, 3600))
    step(process.engine.invalidate(["page"], soft=True))
    assert process.leads().ticket.cause == "uri-miss"


def test_what_an_old_page_is_good_for(clock: FakeClock, store: Hooked) -> None:
    """One without validators cannot be asked about, and who wants it anew gets no old one."""
    process = Process(clock, store, replace(PAGE, ttl=60, sie=60))
    page = process.stores()
    clock.advance(60)
    forward = process.leads()
    ticket = forward.ticket
    assert (ticket.validating, ticket.fallback, ticket.cause) == (None, page, "stale")
    process.declines(forward)
    head = process.leads(asking(method="HEAD"))
    assert head.ticket.validating == page  # its fields may agree
    process.declines(head)
    anew = process.leads(asking(cache_control="no-cache")).ticket
    assert (anew.fallback, anew.asked.no_cache) == (None, True)


def test_a_token_that_is_young_keeps_a_page_off_the_store_whichever_it_is(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(GROUPS, replica_lag=1))
    for young in ((), ("page",), (SEQUENCE,)):  # the first time all are minted
        step(store.replace_tokens({name: process.state.token() for name in young}, 3600))
        for stores in (False, True):
            forward = process.leads()
            assert forward.ticket.stores is stores
            process.declines(forward)
            clock.advance(1 + SKEW + 1)


def test_a_field_that_is_keyed_tells_of_nobody_whose_page_it_is_not(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(OPEN, mode="http", headers={"x-user-id": {}}))
    forward = process.leads(asking(x_user_id="7", x_auth_token="secret"))
    assert forward.ticket.credentials == {"x-auth-token"}
