"""Floods of distinct keys beside users: the hot set stays, and memory keeps to its budget.

``PAGEGEN_FLOOD=1000000`` runs the one that issue 7 asks for; it takes some minutes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import pytest

from pagegen.planning import TARGET_BYTES
from pagegen.stores.memory import DEFAULT_SIZE
from tests.security.memory import flood
from tests.stores.servers import Memcached

KEYS: Final = int(os.environ.get("PAGEGEN_FLOOD", "9000"))
#: What issue 7 asks for.
KEPT: Final = 0.95
#: Bytes of data that a process under the flood may have at most, beside what it begins with: more
#: is a ``MemoryError``. The C library keeps some of what it gives back.
DATA: Final = 96 * 2**20
#: Bytes that are remembered beside a store in a flood of addresses, and what Python and the C
#: library keep free for themselves.
BESIDE: Final = 6 * 2**20
#: The same of names of tokens, in front of a shared store.
NAMES: Final = 5 * 2**20


def test_memory_stays_at_its_budget_and_a_tenth_and_users_keep_their_pages() -> None:
    found = flood(KEYS, store="memory://", body=9_000, pad=60, limit=DATA)
    assert found.counts["store_pages_evicted"] > 0
    assert found.counts["remembered_targets_evicted"] > 0
    assert found.kept >= KEPT
    assert found.grown <= 1.1 * DEFAULT_SIZE


@pytest.mark.parametrize(("times", "ratio"), [(1, 100.0), (2, 10.0), (3, 1.0)])
def test_a_flood_that_asks_more_often_than_users_do_leaves_them_their_pages(
    times: int, ratio: float
) -> None:
    found = flood(max(5_000, KEYS // 2), times=times, ratio=ratio, hot=150)
    assert found.counts["store_pages_evicted"] > 0
    assert found.kept >= KEPT
    assert found.grown <= 16 * 2**20 + BESIDE


def test_pages_of_a_few_bytes_weigh_what_they_count() -> None:
    found = flood(9_000, store="memory://?size=16MiB", body=0, pad=120)
    assert found.counts["store_pages_evicted"] > 0
    assert found.grown <= 1.1 * 16 * 2**20 + TARGET_BYTES


def test_a_flood_of_long_addresses_fills_no_memory() -> None:
    found = flood(4_000, store="memory://?size=8MiB", body=100, pad=3_000)
    assert found.counts["bypass:namespace"] == 4_000
    assert found.grown <= 8 * 2**20 + BESIDE


def near(keys: int, store: str, **more: Any) -> float:
    """The users' part of hits of a near store of 8 MiB, whose bounds are held."""
    found = flood(keys, store=store, near="8MiB", hot=100, body=4_000, **more)
    assert found.counts["store_near_evicted"] > 0
    assert found.grown <= 8 * 2**20 + BESIDE + NAMES
    return found.kept


def test_in_front_of_lmdb_users_keep_their_pages_and_the_map_keeps_to_its_size(
    tmp_path: Path,
) -> None:
    assert near(max(5_000, KEYS // 4), f"lmdb://{tmp_path / 'pages'}?size=24MiB") >= KEPT
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_blocks * 512 for path in files) <= 26 * 2**20


def test_in_front_of_memcached_users_keep_their_pages() -> None:
    with Memcached("-m", "16") as server:
        assert near(max(4_000, KEYS // 4), server.url) >= KEPT
