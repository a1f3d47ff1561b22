"""Pages that vary: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pagegen import variants as varying
from pagegen.errors import LateError
from pagegen.messages import GivenFields
from pagegen.stepping import step
from pagegen.testing import FakeClock
from pagegen.variants import MAX_VARIANTS, Marking, marker, marking_of, values_of, variant
from tests.engine.driving import HERE, OPEN, THERE, Hooked, Process, planned

# Variants -------------------------------------------------------------------------------------


def test_a_variant_is_told_by_names_and_values(process: Process) -> None:
    plan = planned(process)
    assert variant(plan, (), {}.get) is plan
    values = {"a": "1", "b": "2"}
    made = [variant(plan, names, values.get) for names in (("a",), ("b",), ("a", "b"))]
    made.append(variant(plan, ("b",), {"b": "1"}.get))
    assert len({each.slot for each in made} | {plan.slot}) == 5
    assert len({each.key for each in made}) == 4


def test_the_cookie_of_a_writer_is_seen_in_no_cookie_and_in_other_fields_as_it_is(
    clock: FakeClock, store: Hooked
) -> None:
    said = "pagegen_wrote_00000000=1"
    plan = planned(Process(clock, store, OPEN))
    value_of = values_of(plan, GivenFields({"host": "h", "cookie": said, "x-said": said}))
    assert (value_of("cookie"), value_of("x-said")) == (None, said)


def test_a_marking_holds_what_is_selected_by_the_same_fields() -> None:
    marking = Marking(("a",), (HERE,))
    assert marking.holds(HERE, ("a",))
    assert not marking.holds(HERE, ("b",))
    assert not marking.holds(THERE, ("a",))


def test_a_marker_says_what_was_marked(process: Process, clock: FakeClock) -> None:
    plan, marking = planned(process), Marking(("a", "b"), (HERE, THERE))
    assert marking_of(marker(plan, marking, clock()), plan) == marking


def test_the_fields_that_a_resource_varies_by_may_change(process: Process) -> None:
    variants, plan = process.state.variants, planned(process)
    for names in (("a",), ("b",)):
        variants.expect(plan, names)
        assert variants.marking(plan) == Marking(names)
    variants._learn(plan.slot, Marking(("b",), (HERE,)))
    variants.expect(plan, ("b",))
    assert variants.marking(plan) == Marking(("b",), (HERE,))


def test_so_many_resources_are_remembered(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varying, "LEARNED_BYTES", 2 * (640 + 61))
    variants, plan = varying.Variants(), planned(process)
    plans = [replace(plan, slot=bytes([number]) * 20) for number in range(3)]
    for each in plans:
        variants.expect(each, ("a",))
    assert [variants.marking(each) is not None for each in plans] == [False, True, True]
    assert variants.statistics()["bytes"] == 2 * (640 + 61)


@pytest.mark.parametrize(("left", "again"), [(49.0, True), (50.0, True), (51.0, False)])
def test_a_marker_is_written_anew_when_half_of_its_time_is_over(
    process: Process, store: Hooked, clock: FakeClock, left: float, again: bool
) -> None:
    variants, plan = process.state.variants, planned(process)
    target = variant(plan, ("a",), {"a": "1"}.get)
    marks: list[bool] = []
    for _ in range(2):
        store.asked.clear()
        step(variants.mark(store, plan, target, ("a",), clock(), 100.0, lambda: None))
        marks.append("mark" in store.asked)
        clock.advance(100.0 - left)
    assert marks == [True, again]


@pytest.mark.parametrize("late_at", [1, 2, 3])
def test_who_is_late_marks_no_further(
    process: Process, store: Hooked, clock: FakeClock, late_at: int
) -> None:
    variants, plan = process.state.variants, planned(process)
    slots = [variant(plan, ("a",), {"a": str(n)}.get) for n in range(MAX_VARIANTS + 1)]
    for target in slots[:-1]:
        step(variants.mark(store, plan, target, ("a",), clock(), 100.0, lambda: None))
    calls: list[None] = []

    def hurry() -> None:
        calls.append(None)
        if len(calls) == late_at:
            raise LateError("late")

    store.asked.clear()
    with pytest.raises(LateError):
        step(variants.mark(store, plan, slots[-1], ("a",), clock(), 100.0, hurry))
    assert store.asked == ["read", "mark"][: late_at - 1]
