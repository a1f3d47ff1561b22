"""The table of limits names what counts each of them, and that counter goes up when it is hit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import MakeScenario
from tests.docs.pages import ROOT, code, prose, rows
from tests.security import limits_of_memory, limits_of_requests, limits_of_stores
from tests.security.limits import CASES, Case, Stage

PAGE: Final = "docs/reference/limits.md"
#: Why nothing counts a limit, as the page explains.
REASONS: Final = frozenset(("start", "time", "part", "work", "words", "doubt"))
FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
#: Counters of the whole process: a test before this one may have moved them.
OF_THE_PROCESS: Final = frozenset(
    f"remembered_{kind}_evicted" for kind in ("forms", "preferences", "sayings", "wishes")
)
#: Modules that have cases.
assert all((limits_of_memory, limits_of_requests, limits_of_stores))
#: Limits that the tests of their own parts hit, with what counts there.
ELSEWHERE: Final = {
    "key `max_waiters`": "security/test_bounds_waiting.py::"
    "test_who_finds_the_bench_full_is_counted_and_renders",
    "key `max_delay`": "engine/test_mutants_state.py::"
    "test_only_a_store_that_waits_for_something_is_late",
    "pagegen.stores.memcached.blocking.DEFAULT_POOL": "stores/test_memcached_client.py::"
    "test_who_finds_no_free_connection_waits_until_the_deadline_and_blames_nobody",
    "pagegen.stores.memcached.parts.MIN_PART": "stores/test_memcached_ring.py::"
    "test_pages_of_too_many_parts_or_too_small_ones_are_not_cut",
    "pagegen.stores.memcached.wire.MAX_REPLY": "stores/test_memcached_wire.py::"
    "test_the_values_of_an_answer_have_a_bound",
    "pagegen.stores.memcached.wire.MAX_LINE": "stores/test_memcached_wire.py::"
    "test_a_line_has_a_bound",
    "pagegen.stores.memcached.wire.MAX_SETTINGS": "stores/test_memcached_wire.py::"
    "test_settings_have_a_bound",
    "pagegen.stores.memcached.sockets.MAX_IDLE_TALK": "stores/test_memcached_client.py::"
    "test_rubbish_without_end_is_left_early",
    "pagegen.stores.memcached.connection.MAX_CALLS": "stores/test_memcached_native.py::"
    "test_over_a_number_of_waiting_calls_the_next_one_fails_at_once",
    "pagegen.stores.memcached.connection.MAX_QUEUED": "stores/test_memcached_native.py::"
    "test_over_a_number_of_waiting_bytes_the_next_call_fails_at_once",
    "pagegen.stores.memcached.connection.GRACE": "stores/test_memcached_native.py::"
    "test_a_server_that_hangs_costs_little_and_soon_nothing",
    "pagegen.stores.redis.server.DEFAULT_POOL": "stores/test_redis_crowds.py::"
    "test_who_finds_no_connection_waits_and_the_server_is_not_blamed",
    "pagegen.stores.redis.identity.MAX_REMEMBERED": "stores/test_redis_identity.py::"
    "test_what_is_remembered_of_servers_is_bounded",
    "pagegen.wsgi.middleware.MAX_REFRESHES": "scenarios/test_regressions.py::"
    "test_refreshes_behind_the_clients_backs_are_bounded",
    "pagegen.asgi.middleware.MAX_REFRESHES": "scenarios/test_regressions.py::"
    "test_refreshes_behind_the_clients_backs_are_bounded",
    "pagegen.law.marks.MARKS": "scenarios/test_strict.py::"
    "test_who_finds_no_free_mark_in_time_gives_back_what_it_had",
    "pagegen.writing.DEFAULT_WAIT": "scenarios/test_strict.py::"
    "test_who_finds_no_free_mark_in_time_gives_back_what_it_had",
    "pagegen.writing.DEFAULT_TERM": "scenarios/test_strict.py::"
    "test_a_block_that_outlasts_its_term_is_told",
}
#: Limits that no test hits from within a cache: parsers are tried with such answers alone.
NOT_HIT: Final = frozenset(
    f"pagegen.stores.memcached.wire.{name}" for name in ("_SIZE_DIGITS", "_DIGITS")
)


def _table() -> list[tuple[frozenset[str], str]]:
    """Of each row the names of its limits, and what counts them."""
    found = []
    for row in rows(prose(PAGE)):
        assert len(row) == 5, row
        named = frozenset(name for name in code(row[2]) if name.startswith("pagegen."))
        found.append((named or frozenset({row[2].partition(" and ")[0]}), row[4]))
    return found


TABLE: Final = _table()


def _counters(limit: str) -> set[str]:
    """What counts a limit, as its row says."""
    return next(set(code(cell)) for names, cell in TABLE if limit in names)


def test_every_limit_says_what_counts_it_or_why_nothing_does() -> None:
    assert {cell for _, cell in TABLE if not code(cell)} == REASONS
    text = prose(PAGE).partition("## ")[0]
    assert all(f"- `{reason}`: " in text for reason in REASONS)


def test_every_limit_that_is_counted_is_hit_by_a_test_and_no_other() -> None:
    hit = {*(case.limit for case in CASES), *ELSEWHERE, *NOT_HIT}
    # Stores wait alike: one name of a row stands for all.
    missing = [names for names, cell in TABLE if code(cell) and not names & hit]
    assert not missing
    known = frozenset[str]().union(*(names for names, cell in TABLE if code(cell)))
    assert hit <= known, hit - known
    assert not {case.limit for case in CASES} & ELSEWHERE.keys()


@pytest.mark.parametrize("limit", sorted({case.limit for case in CASES}))
def test_every_counter_of_a_limit_is_seen_to_go_up(limit: str) -> None:
    assert {case.counter for case in CASES if case.limit == limit} == _counters(limit)


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_what_is_hit_elsewhere_is_tested_there(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, FUNCTIONS)}


@pytest.fixture
def stage(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Stage]:
    """One front, with what a case may use."""
    with ExitStack() as stack:
        yield Stage(scenario, monkeypatch, tmp_path, stack.enter_context)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.limit}-{case.counter}")
def test_a_limit_that_is_hit_is_counted_and_one_that_is_not_is_not(
    case: Case, stage: Stage
) -> None:
    cache, within, over = case.trial(stage)
    within()
    before = cache.statistics().get(case.counter, 0)
    assert before == 0 or case.counter in OF_THE_PROCESS
    over()
    assert cache.statistics().get(case.counter, 0) > before
