"""Forgetting and groups: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, nan

import pytest

from pagegen import PageCache, Rule
from pagegen import groups as grouping
from pagegen.groups import MAX_GROUPS, SEQUENCE, Groups, found
from pagegen.law.softness import hold
from pagegen.law.tokens import MAX_AHEAD, SKEW, stamped, young
from pagegen.messages import ResponseHead
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from tests.engine.driving import ELSEWHERE, HERE, THERE

# Forgetting -----------------------------------------------------------------------------------


class Wrote(MemoryStore):
    """Remembers the registers that were replaced, at once or one after another."""

    def __init__(self) -> None:
        super().__init__()
        self.wrote: list[tuple[str, ...]] = []

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self.wrote.append(tuple(tokens))
        await super().replace_tokens(tokens, ttl)


def test_a_write_is_flagged_for_its_own_pages_and_nothing_is_where_nothing_was_minted() -> None:
    store = Wrote()
    rule = Rule(path="/a", share="public", namespaces=["a"], ttl="1h", groups=True, replica_lag=0.5)
    forgetting = PageCache([rule], store=store).engine._state.forgetting
    step(forgetting.forget(store, ("url:localhost/a",)))
    # The sequence's flag would keep all pages off the store that may name further namespaces.
    assert store.wrote == [(hold("url:localhost/a"),), ("url:localhost/a",)]
    store.wrote.clear()
    step(forgetting.forget(store, ("a",)))
    assert store.wrote == [(hold("a"), hold(SEQUENCE)), (SEQUENCE,), ("a",)]
    store.wrote.clear()
    step(forgetting.hold(store, ()))
    assert store.wrote == []


def test_a_soft_write_is_one_for_the_shortest_window() -> None:
    rule = Rule(path="/a", share="public", namespaces=["a"], ttl="1h", swr=0.5, soft=True)
    cache = PageCache([rule], site_key="0123456789abcdef" * 2)
    assert cache.invalidate("a", soft=True).soft


@pytest.mark.parametrize(
    ("written", "is_young"),
    [
        (1000.0, True),
        (1000.0 - 5 - SKEW, False),  # whatever lagged has it by now
        (1000.0 - 5 - SKEW + 0.5, True),
        (1000.0 + MAX_AHEAD, True),
        (1000.0 + MAX_AHEAD + 0.5, False),  # of a clock that was set back
        (inf, False),
        (-inf, False),
        (nan, False),
    ],
)
def test_a_token_is_young_for_the_lag_and_what_clocks_differ_by(
    written: float, is_young: bool
) -> None:
    assert young(stamped(b"r" * 16, written), 5.0, 1000.0) is is_young


def test_what_has_no_stamp_is_not_young() -> None:
    assert not young(stamped(b"r" * 16, 1000.0)[:-1], 5.0, 1000.0)


# Groups ---------------------------------------------------------------------------------------


def test_a_page_may_name_so_many_namespaces_and_not_one_more() -> None:
    names = [f"n{number}" for number in range(MAX_GROUPS + 1)]
    head = ResponseHead(200, ())
    assert found(head, names[1:], ()) == tuple(names[1:])
    assert found(head, names, ()) is None
    assert found(head, names, names[:1]) == tuple(names[1:])


def test_the_names_that_are_remembered_are_bounded_over_all_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grouping, "LEARNED_BYTES", 1_500)
    groups = Groups()
    groups.learn(HERE, ("a", "b", "c"))
    groups.learn(THERE, ("d",))
    groups.learn(THERE, ("d",))  # it is known already
    assert [groups.of(slot) for slot in (HERE, THERE)] == [("a", "b", "c"), ("d",)]
    assert groups.statistics()["bytes"] == 2 * 480 + 4 * 61
    groups.learn(ELSEWHERE, ("e", "f", "g", "h"))
    kept = [slot for slot in (HERE, THERE, ELSEWHERE) if groups.of(slot)]
    assert len(kept) == groups.statistics()["count"] == 2
    groups.learn(kept[0], ())  # its page names none any more
    assert groups.of(kept[0]) == ()
    assert groups.statistics()["count"] == 1
