"""How long a lease lasts, what it is for, and the mark that a refused page leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pagegen import PageCache, Rule
from pagegen.leasing import MARKED_FOR, Leasing, Mark, lease_place, mark_place
from pagegen.messages import GivenFields, Request
from pagegen.sources import mint
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.testing import FakeClock
from pagegen.verdicts import Plan, Ticket

PAGE = Rule(path="/{name}", share="public", namespaces=["page"], ttl="1h")
ONE, OTHER = b"1" * 16, b"2" * 16


def plan(name: str = "a") -> Plan:
    fields = GivenFields({"host": "localhost"})
    request = Request("GET", "http", "", f"/{name}", None, "", fields, {})
    planned: Any = PageCache([PAGE]).engine._state.planner.plan(request)
    return planned


def ticket(made: Plan, generation: tuple[bytes, ...] = (ONE,)) -> Ticket:
    return Ticket(made, made, generation, 0.0, "uri-miss")


@pytest.mark.parametrize(
    ("learned", "took", "seconds"),
    [
        (None, None, 4.0),
        (None, 2.0, 8.0),
        (2.0, None, 8.0),
        (9.0, 2.0, 8.0),
        (None, 0.0, 1.0),
        (None, 0.25, 1.0),
        (None, 15.0, 60.0),
        (None, 1e9, 60.0),
    ],
)
def test_a_lease_lasts_as_long_as_its_page_lets_expect(
    learned: float | None, took: float | None, seconds: float
) -> None:
    leasing = Leasing(MemoryStore(), mint)
    if learned is not None:
        leasing.learn(plan("another"), learned)
    assert leasing.term(plan(), took) == seconds


def test_each_generation_of_each_slot_has_a_lease_of_its_own() -> None:
    generations = [(), (ONE,), (OTHER,), (ONE, OTHER), (ONE + OTHER,)]
    places = {
        lease_place(slot, tokens) for slot in (b"a" * 20, b"b" * 20) for tokens in generations
    }
    assert len(places | {mark_place(b"a" * 20), mark_place(b"b" * 20)}) == 2 * len(generations) + 2


def test_who_has_a_lease_has_it_alone_until_it_is_given_back() -> None:
    store, leasing = MemoryStore(), Leasing(MemoryStore(), mint)
    first, second = ticket(plan()), ticket(plan())
    assert step(leasing.take(store, first, None))
    assert not step(leasing.take(store, second, None))
    assert second.lease is None
    step(leasing.give_back(store, second))  # it has none to give
    assert not step(leasing.take(store, second, None))
    assert step(leasing.take(store, ticket(plan(), (OTHER,)), None))
    step(leasing.give_back(store, first))
    step(leasing.give_back(store, first))  # twice is no error
    assert step(leasing.take(store, second, None))


def test_a_mark_is_of_one_page_and_of_a_while() -> None:
    clock = FakeClock()
    store = MemoryStore(now=clock)
    step(Leasing.leave_mark(store, plan(), Mark.REFUSED, clock()))
    assert step(Leasing.marked(store, plan(), clock()))
    assert not step(Leasing.marked(store, plan("b"), clock()))
    # Clocks differ, and one that was set back does not keep it for ever.
    assert step(Leasing.marked(store, plan(), clock() - 1))
    assert not step(Leasing.marked(store, plan(), clock() + MARKED_FOR))


def test_what_another_page_left_in_the_place_of_a_mark_is_none() -> None:
    clock = FakeClock()
    store, here, there = MemoryStore(now=clock), plan(), plan("b")
    step(Leasing.leave_mark(store, here, Mark.REFUSED, clock()))
    page, _ = step(store.read(mark_place(here.slot), ()))
    assert page is not None
    for foreign in (replace(page, key=there.key), replace(page, status=200)):
        step(store.write_page(mark_place(here.slot), foreign, 60.0))
        assert not step(Leasing.marked(store, here, clock()))
