"""The explorer itself: it misses nothing, repeats itself exactly, and says what it saw."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import pytest

from pagegen.testing.explorer import World, explore, explore_randomly, point, replay, until
from pagegen.testing.explorer.choosing import parsed, written
from tests.explorer import troubles, worlds
from tests.explorer.faulty import collapse_by_slot, timestamp_tokens

Build = Callable[[World], object]


def independent(world: World) -> None:
    """Two actors of two steps each, which touch nothing in common."""

    async def walks() -> None:
        await point("a step")

    world.actor("A", walks())
    world.actor("B", walks())


def dependent(world: World) -> None:
    """Two actors of three steps each, all of which touch one thing."""

    async def writes() -> None:
        for _ in range(2):
            world.run.writes("thing")
            await point("write")
        world.run.writes("thing")

    world.actor("A", writes())
    world.actor("B", writes())


def seen(build: Build, preemptions: int | None) -> set[str]:
    """What visitors saw, over all schedules."""
    outcomes = set()

    def note(world: World) -> None:
        visits = sorted(world.history.visits, key=lambda visit: visit.name)
        owing = {o.version: o.since for o in world.history.owing}
        outcomes.add(
            str(
                [
                    (v.name, v.how, v.rendering.versions, v.rendering.actor,
                     [version for version, since in owing.items() if since < v.arrived])
                    for v in visits
                    if v.rendering is not None
                ]
            )
        )  # fmt: skip

    report = explore(build, preemptions=preemptions, promises=(note,))
    assert report.complete
    return outcomes


def test_without_a_bound_every_order_of_dependent_steps_is_run_once() -> None:
    report = explore(dependent, preemptions=None)
    assert report.complete
    assert report.schedules == comb(6, 3)


def test_orders_of_independent_steps_are_run_only_once() -> None:
    assert explore(independent, preemptions=None).schedules == 1
    assert explore(independent, preemptions=4).schedules == comb(4, 2)


def test_a_bound_counts_switches_away_from_who_could_go_on() -> None:
    assert [explore(dependent, preemptions=n).schedules for n in range(3)] == [2, 6, 14]


@pytest.mark.parametrize(
    "build",
    [worlds.plain, worlds.leases, troubles.lease_of_the_dead],
    ids=lambda build: build.__name__,
)
def test_leaving_out_equal_schedules_leaves_out_no_outcome(build: Build) -> None:
    """What two preemptions can show, the reduced search shows, too."""
    bounded = seen(build, 2)
    assert bounded <= seen(build, None)
    assert len(bounded) > 1


def test_every_way_that_a_step_can_turn_out_is_explored() -> None:
    found = []

    def build(world: World) -> None:
        async def chooses() -> None:
            found.append((world.run.choose(3), world.run.choose(2)))

        world.actor("A", chooses())

    assert explore(build, preemptions=0).schedules == 6
    assert sorted(set(found)) == [(a, b) for a in range(3) for b in range(2)]
    found.clear()
    assert explore(build, preemptions=None).schedules == 6
    assert len(set(found)) == 6


def test_a_price_counts_as_a_preemption_does() -> None:
    def build(world: World) -> None:
        async def chooses() -> None:
            for _ in range(3):
                world.run.choose(2, cost=1)

        world.actor("A", chooses())

    assert [explore(build, preemptions=n).schedules for n in range(4)] == [1, 4, 7, 8]


def test_time_passes_only_when_nobody_can_act() -> None:
    moments = []

    def build(world: World) -> None:
        async def sleeps(seconds: float) -> None:
            await until(lambda: False, "sleep", seconds)
            moments.append((seconds, world.run.time))

        world.actor("A", sleeps(5.0))
        world.actor("B", sleeps(2.0))

    explore(build, preemptions=1)
    assert set(moments) == {(5.0, 5.0), (2.0, 2.0)}


def test_a_moment_that_may_come_anytime_comes_before_and_after_each_step_of_others() -> None:
    moments = set()

    def build(world: World) -> None:
        steps = []

        async def works() -> None:
            for _ in range(2):
                steps.append(1)
                await point("work")
            steps.append(1)

        async def polls() -> None:
            await until(lambda: len(steps) == 9, "poll", 3.0, anytime=True)
            moments.add((len(steps), world.run.time))

        world.actor("A", works())
        world.actor("B", polls())

    explore(build, preemptions=3)
    assert {done for done, _ in moments} >= {1, 2, 3}
    assert {time for _, time in moments} == {3.0}


def test_who_waits_for_ever_is_found() -> None:
    def build(world: World) -> None:
        async def waits() -> None:
            await until(lambda: False, "wait for nothing")

        world.actor("A", waits())

    report = explore(build)
    assert report.found is not None
    assert report.found.promise == "everybody_is_answered"
    assert "A (wait for nothing)" in report.found.why


def test_who_never_ends_is_found() -> None:
    def build(world: World) -> None:
        async def runs() -> None:
            while True:
                await point("run")

        world.actor("A", runs())

    report = explore(build)
    assert report.found is not None
    assert "did not end" in report.found.why


def test_a_breach_prints_as_a_timeline_with_tokens_versions_and_how_to_replay_it() -> None:
    found = explore(collapse_by_slot).found
    assert found is not None
    text = str(found)
    assert text.startswith("BROKEN: no_resurrection\n")
    head = text.splitlines()[3].split()
    assert head[:5] == ["step", "time", "F", "W", "G"]
    for wanted in ("item=T1", "item=T2", "commit item: version 1", "wait for a flight"):
        assert wanted in text
    assert f"replay with the schedule {found.schedule!r}" in text


def test_a_seed_replays_what_it_found() -> None:
    report = explore_randomly(timestamp_tokens, schedules=200, seed=7)
    assert report.found is not None
    assert report.found.seed is not None
    again = replay(timestamp_tokens, report.found.seed)
    assert again is not None
    assert again.schedule == report.found.schedule
    assert again.text == report.found.text
    assert f"seed {again.seed}" in again.text


def test_the_same_seeds_give_the_same_runs() -> None:
    runs = [str(explore_randomly(troubles.partition, schedules=20, seed=3).steps) for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_schedule_reads_back_as_it_was_written() -> None:
    trace: list[str | int] = ["F", "F", "F", 1, 0, "W", "F"]
    assert written(trace) == "F*3 ?1 ?0 W F"
    assert list(parsed(written(trace))) == trace


def test_a_schedule_of_another_world_is_refused() -> None:
    with pytest.raises(ValueError, match="'Z'"):
        replay(worlds.plain, "F Z")


def test_a_search_ends_when_its_time_or_its_number_is_up() -> None:
    assert not explore(troubles.partition, preemptions=3, seconds=0.05).complete
    few = explore(worlds.plain, preemptions=3, schedules=10)
    assert (few.schedules, few.complete) == (10, False)
