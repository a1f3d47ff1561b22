"""Slow and failing stores, and handlers that ask their own cache: what no other test told from a
small change (docs/reference/mutation-check.md).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pagegen import Rule
from pagegen.exchange import Exchange, handling
from pagegen.law.tokens import SKEW
from pagegen.testing import FakeClock
from pagegen.verdicts import Admitted, Bypass, Forward, Hit, Reason, Wait
from tests.engine.driving import GROUPS, LONG, OPEN, PAGE, Hooked, Process, asking, fail
from tests.scenarios.test_early_refresh import always

# A store that is slow, or fails ---------------------------------------------------------------


def test_who_cannot_renew_a_page_early_gets_it_all_the_same_and_it_is_counted(
    clock: FakeClock, store: Hooked
) -> None:
    rule = replace(PAGE, ttl=100, early=True, replica_lag=1)
    process = Process(clock, store, rule)
    process.leads()  # mints the token, and nothing is stored for as long as that is young
    clock.advance(1 + SKEW + 1)
    forward = process.leads()
    clock.advance(2)
    assert isinstance(process.answer(forward), Admitted)
    clock.advance(97)
    object.__setattr__(process.state.sources, "chance", always)
    store.on["read tokens"] = fail
    verdict = process.ask()
    assert isinstance(verdict, Hit)
    assert verdict.ticket is None
    assert process.count("store-failed") == 1
    store.on.clear()
    renewed = process.ask()
    assert isinstance(renewed, Hit)
    assert renewed.ticket is not None
    assert renewed.ticket.cause == "miss"


@pytest.mark.parametrize("known", [False, True])
def test_who_is_late_after_one_read_asks_for_nothing_more(
    clock: FakeClock, store: Hooked, known: bool
) -> None:
    """Late namespaces that this process has not learned cost a second read."""
    first, second = (Process(clock, store, GROUPS) for _ in range(2))
    first.stores(asking(), ("Cache-Groups", '"late"'))
    process = first if known else second
    reads: list[float] = []

    def slow() -> None:
        reads.append(clock())
        clock.advance(LONG)

    store.on = {"read": slow, "read tokens": slow}
    assert isinstance(process.ask(), Hit if known else Forward)
    assert len(reads) == 1
    assert process.count("store-failed") == (not known)


@pytest.mark.parametrize(
    ("slow", "spared", "rule"),
    [
        ("read", "add_tokens", PAGE),
        ("add_tokens", "read tokens", replace(PAGE, replica_lag=1)),
        ("add_tokens", "read tokens", replace(PAGE, strict=True)),
    ],
    ids=["nothing is minted", "no flag is read", "no mark is read"],
)
def test_who_is_late_renders_without_asking_further(
    clock: FakeClock, store: Hooked, slow: str, spared: str, rule: Rule
) -> None:
    process = Process(clock, store, rule)
    asked: list[str] = []
    store.on = {slow: lambda: clock.advance(LONG), spared: lambda: asked.append(spared)}
    assert not process.leads().ticket.stores
    assert asked == []
    assert process.count("store-failed") == 1


def test_who_is_late_when_its_tokens_are_minted_asks_for_no_lease(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store)
    store.on["add_tokens"] = lambda: clock.advance(LONG)
    assert process.leads().ticket.lease is None
    assert store.terms == []


# A handler that asks its own cache ------------------------------------------------------------


def test_a_handler_that_asks_for_another_page_waits_for_it_and_not_for_its_own(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(PAGE, path="/{name}"))
    own, other = (process.leads(asking(target)) for target in ("/own", "/other"))
    assert own.ticket.plan.slot != other.ticket.plan.slot
    with handling(Exchange(process.engine.realm, own.ticket.plan.slot)):
        assert isinstance(process.ask(asking("/other")), Wait)
        assert isinstance(process.ask(asking("/own")), Forward)


def test_a_handler_that_asks_for_another_page_takes_its_turn_while_the_store_is_away(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(PAGE, path="/{name}"))
    store.on["read"] = fail
    own, _ = (process.leads(asking(target)) for target in ("/own", "/other"))
    with handling(Exchange(process.engine.realm, own.ticket.plan.slot)):
        assert isinstance(process.ask(asking("/other")), Wait)
        assert process.ask(asking("/own")) == Bypass(Reason.STORE)


def test_what_is_rendered_in_turns_is_for_those_who_want_the_same(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, OPEN)
    german, french = asking(accept_language="de", cookie="a=1"), asking(accept_language="fr")
    page = process.stores(
        german, ("Vary", "Accept-Language"), ("Cache-Control", "public, max-age=60")
    )
    store.on["read"] = fail
    ticket = process.leads(german).ticket
    assert (ticket.plan.key, ticket.started, ticket.stores) == (page.key, clock(), False)
    assert ticket.credentials == {"cookie"}
    assert isinstance(process.ask(german), Wait)
    assert process.leads(french).ticket.plan.key != page.key
    anew = process.leads(asking("/page", accept_language="en", cache_control="no-cache"))
    assert anew.ticket.asked.no_cache


def test_where_nothing_has_happened_between_them_there_is_no_second_look(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, leases=False)
    store.asked.clear()
    process.leads()
    assert store.asked == ["read", "add_tokens"]


def test_a_page_may_vary_by_a_field_that_is_passed_through_by_name(
    clock: FakeClock, store: Hooked
) -> None:
    """One that ends at this cache for all others: the request's own connection names it."""
    process = Process(clock, store, replace(OPEN, mode="http", passthrough=["x-hop"]))
    request = asking(connection="x-hop", x_hop="a")
    leader, follower = process.leads(request), process.waits(request)
    process.engine.view(leader.ticket, request)
    process.answer(leader, b"page", ("Vary", "X-Hop"), ("Cache-Control", "max-age=60"))
    verdict = process.ask(request, follower)
    assert isinstance(verdict, Hit)
    assert verdict.collapsed
