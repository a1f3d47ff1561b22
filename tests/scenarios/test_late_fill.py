"""A handler that read before a write and ends after it never makes its page visible."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagegen import Rule
from pagegen.testing import PATIENCE, Scenario, Seen
from tests.conftest import MakeScenario

ITEM = Rule(path="/items/{id:int}", share="public", namespaces=["item:{id}"], ttl="1h")
MANY = Rule(
    path="/shops/{id:int}", share="public", namespaces=["shop:{id}", "shop:{id}/items"], ttl="1h"
)


class Row:
    """A row of a database, and a handler that can be stopped between reading and answering."""

    def __init__(self, stage: Scenario) -> None:
        self.value = "old"
        self.has_read = threading.Event()
        self.may_answer = threading.Event()
        self.slow = True
        stage.handler = self.handler

    def handler(self, seen: Seen) -> str:
        value = self.value
        if self.slow:
            self.has_read.set()
            assert self.may_answer.wait(PATIENCE)
        return value


@pytest.mark.parametrize(
    ("rule", "target", "forgotten"),
    [
        (ITEM, "/items/7", "item:7"),
        (MANY, "/shops/1", "shop:1"),
        (MANY, "/shops/1", "shop:1/items"),
    ],
    ids=["one namespace", "the first of two", "the second of two"],
)
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "token known"])
def test_a_late_page_is_stored_under_a_dead_generation(
    scenario: MakeScenario, rule: Rule, target: str, forgotten: str, *, warm: bool
) -> None:
    stage = scenario(rule)
    row = Row(stage)
    if warm:
        row.slow = False
        stage.get(target)
        stage.cache.invalidate(forgotten)
        row.slow = True
    with ThreadPoolExecutor(1) as late_reader:
        late = late_reader.submit(stage.get, target)
        assert row.has_read.wait(PATIENCE)
        row.value = "new"  # the write commits …
        stage.cache.invalidate(forgotten)  # … and forgets
        row.may_answer.set()
        assert late.result(PATIENCE).text == "old"  # it asked before the write
    row.slow = False
    after = stage.get(target)
    assert (after.text, after.trace) == ("new", "stale, stored")
    assert stage.get(target).trace == "hit"


def test_a_request_after_the_write_does_not_wait_for_the_late_page(
    scenario: MakeScenario,
) -> None:
    """Flights are joined on equal tokens only, never by slot alone."""
    stage = scenario(ITEM)
    row = Row(stage)
    with ThreadPoolExecutor(1) as late_reader:
        late = late_reader.submit(stage.get, "/items/7")
        assert row.has_read.wait(PATIENCE)
        row.value, row.slow = "new", False
        stage.cache.invalidate("item:7")
        assert stage.get("/items/7").text == "new"
        assert "wait" not in stage.cache.statistics()
        row.may_answer.set()
        assert late.result(PATIENCE).text == "old"
    # The late page came last and took the slot, but nobody is served from it.
    assert stage.get("/items/7").text == "new"


def test_a_handler_that_commits_after_its_own_call_is_covered_by_the_late_invalidation(
    scenario: MakeScenario,
) -> None:
    stage = scenario(ITEM)
    row = Row(stage)
    row.slow = False

    def write(seen: Seen) -> str:
        if seen.method == "GET":
            return row.handler(seen)
        stage.cache.invalidate("item:7")
        # Another visitor reads between the call and the commit, and caches the old row.
        with ThreadPoolExecutor(1) as other:
            assert other.submit(stage.get, "/items/7").result(PATIENCE).text == "old"
        row.value = "new"
        return "done"

    stage.handler = write
    stage.post("/items/7")
    assert stage.get("/items/7").text == "new"


def test_a_token_that_expires_or_vanishes_costs_a_miss_and_serves_nothing_old(
    scenario: MakeScenario,
) -> None:
    stage = scenario(ITEM)
    row = Row(stage)
    with ThreadPoolExecutor(1) as late_reader:
        late = late_reader.submit(stage.get, "/items/7")
        assert row.has_read.wait(PATIENCE)
        row.value, row.slow = "new", False
        stage.cache.invalidate("item:7")
        stage.clock.advance(400 * 86_400)  # all tokens are gone
        row.may_answer.set()
        late.result(PATIENCE)
    assert stage.get("/items/7").text == "new"
