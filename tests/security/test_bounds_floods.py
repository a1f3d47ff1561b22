"""Floods of one kind each, under a limit of memory: what grows is bounded, and counted."""

from __future__ import annotations

from typing import Final

import pytest

from tests.security.floods import KINDS, STORE, flood
from tests.security.test_flood import BESIDE

#: Requests of a flood, and what counts that it hit a limit.
FLOODS: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "queries": (2_500, ("store_pages_evicted", "remembered_targets_evicted")),
    "dropped queries": (3_000, ("remembered_targets_evicted",)),
    "headers": (1_500, ("store_pages_evicted", "remembered_plans_evicted")),
    "cookies": (1_500, ("store_pages_evicted", "remembered_plans_evicted")),
    "names of headers": (1_500, ()),  # nothing remembers them
    "huge headers": (1_500, ()),
    "values that select": (500, ("remembered_variants_dropped",)),
    "names that select": (1_500, ("remembered_variants_evicted", "store_tokens_evicted")),
    "preferences": (1_500, ("remembered_preferences_evicted",)),
    "wishes": (1_500, ("remembered_wishes_evicted",)),
    "ranges": (150, ("unread:range",)),
    "groups": (1_000, ("remembered_groups_evicted", "store_tokens_evicted")),
    "heads of pages": (1_000, ("store_pages_evicted",)),
    "bodies": (300, ("store_pages_evicted",)),
    "namespaces": (1_500, ("store_tokens_evicted",)),
    "patterns": (150, ()),  # they are read once, at start
}


def test_every_kind_is_tried() -> None:
    assert FLOODS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_fills_the_store_and_what_is_remembered_and_is_counted(kind: str) -> None:
    number, counters = FLOODS[kind]
    grown, counts = flood(kind, number)
    assert grown <= 1.1 * STORE + BESIDE
    assert [name for name in counters if not counts.get(name)] == []
