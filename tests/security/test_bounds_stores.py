"""What floods do to the queues that stores and memories keep what they hold in."""

from __future__ import annotations

import random

import pytest

from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.stores.s3fifo import S3Fifo
from pagegen.variants import LEARNED_BYTES, Marking, Variants

ROOM = 2_000
HOT = 200


def kept(times: int, ratio: int, requests: int = 60_000) -> float:
    """The users' part of hits in a flood of keys, each asked for so many times."""
    cache: S3Fifo[tuple[str, int], bool] = S3Fifo(ROOM)
    chance = random.Random(3)

    def ask(key: tuple[str, int]) -> bool:
        return bool(cache.get(key, 0.0) or (cache.put(key, True, 1, 1e9) and False))

    for _ in range(4):
        for number in range(HOT):
            ask(("hot", number))
    hits = []
    for number in range(requests):
        ask(("flood", number // times))
        if number % ratio == 0:
            hits.append(ask(("hot", chance.randrange(HOT))))
    return sum(hits) / len(hits)


@pytest.mark.parametrize("ratio", [1, 10, 100])
@pytest.mark.parametrize("times", [1, 2])
def test_keys_that_are_asked_for_once_or_twice_take_no_place_from_others(
    times: int, ratio: int
) -> None:
    assert kept(times, ratio) == 1.0


@pytest.mark.parametrize(("ratio", "least"), [(1, 0.999), (10, 0.98)])
def test_keys_that_are_asked_for_three_times_take_few(ratio: int, least: float) -> None:
    assert kept(3, ratio) >= least


def test_a_token_that_is_minted_and_read_once_takes_no_place_from_others() -> None:
    store, chance = MemoryStore("1MiB"), random.Random(3)
    hot = [f"hot:{number}" for number in range(40)]
    for _ in range(4):
        for name in hot:
            step(store.add_tokens({name: b"t" * 24}, 60))
            step(store.read(None, [name]))
    for number in range(8_000):
        for _ in range(2):
            if step(store.read(None, [f"flood:{number}"])).tokens == (None,):
                step(store.add_tokens({f"flood:{number}": b"t" * 24}, 60))
        if number % 25 == 0:
            name = chance.choice(hot)
            assert step(store.read(None, [name])).tokens == (b"t" * 24,)
    assert store.statistics()["tokens_evicted"] > 7_000


def test_the_memory_of_variants_keeps_to_its_bytes_whatever_vary_says() -> None:
    variants, names = Variants(), tuple(f"x-{number}" * 20 for number in range(16))
    for number in range(2_000):
        slots = tuple(number.to_bytes(19, "big") + bytes([at]) for at in range(64))
        variants._learn(slots[0], Marking(names, slots))
        assert variants.statistics()["bytes"] <= LEARNED_BYTES
    assert variants.statistics()["evicted"] > 1_000


def test_ghosts_of_what_left_are_as_few_as_what_is_there() -> None:
    cache: S3Fifo[str, bool] = S3Fifo(100)
    for number in range(10_000):
        cache.put("x" * 500 + str(number), True, 1, 1e9)
    assert len(cache._ghosts) <= 100
    assert all(isinstance(ghost, int) for ghost in cache._ghosts)
