"""Leases and looks: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from pagegen import PageCache, Rule
from pagegen import leasing as lending
from pagegen.law.storing import Refusal
from pagegen.law.tokens import RANDOM_BYTES
from pagegen.leasing import LONGEST_PAUSE, Leasing, mark_place
from pagegen.sources import Sources, mint
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.testing import PATIENCE, FakeClock, Reply, Scenario, environ
from pagegen.variants import Marking, marker
from pagegen.verdicts import Forward, Ticket, Wait
from pagegen.wsgi.requests import read_request
from tests.engine.driving import ELSEWHERE, HERE, THERE
from tests.scenarios.test_collapse import until
from tests.scenarios.test_early_refresh import always, draws
from tests.scenarios.test_early_refresh import early as renewed
from tests.scenarios.test_leases import SharedStore, all_handle, renders
from tests.unit.test_leasing import plan


def in_another_thread(act: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(act).result(PATIENCE)


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


def test_a_lease_that_is_let_go_is_given_back_by_a_thread_of_that_name() -> None:
    store = SharedStore(FakeClock())
    leasing = Leasing(store, mint)
    first, second = (Ticket(plan(), plan(), (b"token",), 0.0, "uri-miss") for _ in range(2))
    assert step(leasing.take(store, first, None))
    assert not step(leasing.take(store, second, None))
    assert first.lease is not None
    assert len(first.lease.owner) == RANDOM_BYTES
    leasing.let_go(first.lease)
    until(lambda: step(leasing.take(store, second, None)))
    assert any(thread.name.startswith("pagegen-leases") for thread in threading.enumerate())
