"""The memory store: budget, eviction, expiry, tokens apart, threads, and a word about company."""

from __future__ import annotations

import gc
import random
import subprocess
import sys
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen import ConfigError, PageCache
from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.stores.s3fifo import S3Fifo
from pagegen.stores.shelf import MAX_WARM
from pagegen.testing import PATIENCE, FakeClock


def page(body: bytes = b"x", key: bytes = b"key") -> StoredResponse:
    return StoredResponse(
        key, ("ns",), (b"t" * 16,), 200, "200 OK", body, None, None, 0.0, 0.0, 1e12, 0.0,
        (("Content-Type", "text/plain"),), ((b"content-type", b"text/plain"),), (), (),
    )  # fmt: skip


def slot(number: int) -> bytes:
    return number.to_bytes(20, "big")


def read(store: MemoryStore, number: int = 0, *names: str) -> tuple[StoredResponse | None, ...]:
    return step(store.read(slot(number), names))


def test_a_page_and_its_tokens_come_in_one_read() -> None:
    store = MemoryStore()
    first = page()
    assert step(store.write_page(slot(0), first, 60))
    step(store.add_tokens({"a": b"1", "b": b"2"}, 60))
    assert step(store.read(slot(0), ("b", "missing", "a"))) == (first, (b"2", None, b"1"))
    assert step(store.read(slot(1), ())) == (None, ())


def test_add_keeps_what_is_there_and_replace_does_not() -> None:
    store = MemoryStore()
    step(store.add_tokens({"a": b"1"}, 60))
    step(store.add_tokens({"a": b"2", "b": b"3"}, 60))
    assert step(store.read(slot(0), ("a", "b"))).tokens == (b"1", b"3")
    step(store.replace_tokens({"a": b"4"}, 60))
    assert step(store.read(slot(0), ("a", "b"))).tokens == (b"4", b"3")


def test_entries_expire_each_at_its_own_time() -> None:
    clock = FakeClock()
    store = MemoryStore(now=clock)
    step(store.write_page(slot(0), page(), 10))
    step(store.add_tokens({"a": b"1"}, 20))
    clock.advance(9.9)
    assert read(store, 0)[0] is not None
    clock.advance(0.1)
    assert read(store, 0)[0] is None
    assert step(store.read(slot(0), ("a",))).tokens == (b"1",)
    clock.advance(10)
    assert step(store.read(slot(0), ("a",))).tokens == (None,)
    step(store.add_tokens({"a": b"2"}, 20))
    assert step(store.read(slot(0), ("a",))).tokens == (b"2",)
    assert store.statistics()["pages_count"] == 0


def test_memory_stays_within_its_budget_whatever_comes() -> None:
    store = MemoryStore("1MiB")
    rng = random.Random(7)
    for number in range(5_000):
        step(store.write_page(slot(number % 700), page(b"x" * rng.randrange(20_000)), 60))
        assert store.statistics()["pages_bytes"] <= store.statistics()["pages_budget"]
    assert store.statistics()["pages_evicted"] > 0


def test_a_page_larger_than_the_budget_is_refused_and_leaves_nothing_old_behind() -> None:
    store = MemoryStore("100KiB")
    assert step(store.write_page(slot(0), page(b"old"), 60))
    assert not step(store.write_page(slot(0), page(b"x" * 200_000), 60))
    assert read(store, 0)[0] is None
    assert store.statistics()["pages_bytes"] == 0


def test_no_flood_of_pages_takes_a_token_away() -> None:
    store = MemoryStore("1MiB")
    names = [f"user:{number}" for number in range(200)]
    step(store.add_tokens(dict.fromkeys(names, b"t"), 60))
    for number in range(20_000):
        step(store.write_page(slot(number), page(b"x" * 1000), 60))
    assert step(store.read(slot(0), names)).tokens == (b"t",) * 200


def test_a_flood_of_tokens_is_bounded_and_leaves_the_hot_ones() -> None:
    store = MemoryStore("1MiB")
    step(store.add_tokens({"hot": b"t"}, 60))
    for number in range(20_000):
        step(store.add_tokens({f"user:{number}": b"x"}, 60))
        if number % 50 == 0:
            step(store.read(slot(0), ("hot",)))
    numbers = store.statistics()
    assert numbers["tokens_bytes"] <= numbers["tokens_budget"]
    assert step(store.read(slot(0), ("hot",))).tokens == (b"t",)


def test_hot_pages_survive_a_flood_of_pages_that_are_read_once() -> None:
    store = MemoryStore("1MiB")
    hot = range(50)
    for number in hot:
        step(store.write_page(slot(number), page(b"x" * 1000), 60))
    for number in range(1000, 21_000):
        step(store.write_page(slot(number), page(b"x" * 1000), 60))
        read(store, hot[number % 50])
    kept = sum(read(store, number)[0] is not None for number in hot)
    assert kept == 50


def test_a_page_that_was_evicted_or_removed_is_not_held_beside_the_budget() -> None:
    store = MemoryStore("1MiB")
    for number in range(100):
        step(store.write_page(slot(number), page(b"x" * 100_000), 60))
        read(store, number)
    shelf = store._pages
    assert set(shelf._warm) <= {at for at, _, _ in shelf.items()}
    for number in range(100):
        step(store.delete_page(slot(number)))
    assert not shelf._warm


def test_s3fifo_keeps_more_than_lru_on_skewed_traffic_with_scans() -> None:
    rng = random.Random(42)
    ranks = [1 / (rank + 1) for rank in range(5000)]
    requests = rng.choices(range(5000), ranks, k=60_000)
    for position in range(0, 60_000, 20):  # one in twenty is a scan, never asked for again
        requests[position] = 10_000 + position
    cache: S3Fifo[int, bool] = S3Fifo(500)
    lru: OrderedDict[int, None] = OrderedDict()
    hits = lru_hits = 0
    for key in requests:
        if cache.get(key, 0.0):
            hits += 1
        else:
            cache.put(key, True, 1, 1e9)
        if key in lru:
            lru_hits += 1
            lru.move_to_end(key)
        else:
            lru[key] = None
            if len(lru) > 500:
                lru.popitem(last=False)
    assert hits > lru_hits * 1.05


@given(
    st.lists(
        st.tuples(st.sampled_from("gpad"), st.integers(0, 8), st.integers(1, 60)), max_size=200
    )
)
def test_bytes_are_counted_exactly_through_any_history(history: list[tuple[str, int, int]]) -> None:
    cache: S3Fifo[int, int] = S3Fifo(100)
    shadow: dict[int, int] = {}
    for act, key, size in history:
        if act == "g":
            found = cache.get(key, 0.0)
            assert found is None or found == shadow[key]
        elif act == "p":
            cache.put(key, size, size, 1e9)
            shadow[key] = size
        elif act == "a":
            if cache.add(key, size, size, 1e9, 0.0):
                shadow[key] = size
        else:
            cache.discard(key)
            shadow.pop(key, None)
        alive = [size for key in range(9) if (size := cache.get(key, 0.0)) is not None]
        assert cache.statistics()["bytes"] == sum(alive) <= 100
        assert cache.statistics()["count"] == len(alive)


def test_a_key_that_returns_while_its_ghost_is_there_enters_the_main_queue() -> None:
    cache: S3Fifo[int, bool] = S3Fifo(100)
    for key in range(101):  # the first ones leave through the small queue
        cache.put(key, True, 1, 1e9)
    assert cache.get(0, 0.0) is None
    cache.put(0, True, 1, 1e9)
    for key in range(1000, 1100):  # read once: none of these gets past the small queue
        cache.put(key, True, 1, 1e9)
    assert cache.get(0, 0.0)


def test_removing_out_of_turn_leaves_no_heap_of_the_dead() -> None:
    cache: S3Fifo[int, int] = S3Fifo(10**9)
    for number in range(10_000):
        cache.put(number, 1, 1, 1e9)
        cache.discard(number)
    assert len(cache._small) + len(cache._main) < 100


def test_threads_leave_the_books_in_order() -> None:
    store = MemoryStore("256KiB")
    start = threading.Barrier(8)
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        start.wait(PATIENCE)
        for _ in range(2_000):
            number = rng.randrange(400)
            if rng.random() < 0.3:
                body = b"%d" % number * rng.randrange(1, 500)
                step(store.write_page(slot(number), page(body, slot(number)), 60))
            elif rng.random() < 0.1:
                step(store.replace_tokens({f"n{number}": b"t"}, 60))
            else:
                found = read(store, number, f"n{number}")[0]
                if found is not None and found.key != slot(number):
                    wrong.append(found)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not wrong
    numbers = store.statistics()
    assert numbers["pages_bytes"] == sum(page.size() for _, page, _ in store._pages.items())
    assert numbers["pages_bytes"] <= numbers["pages_budget"]


def test_of_threads_that_add_one_token_all_read_the_same() -> None:
    store = MemoryStore()
    start = threading.Barrier(16)
    seen: list[bytes | None] = []

    def add(number: int) -> None:
        start.wait(PATIENCE)
        step(store.add_tokens({"ns": b"%d" % number}, 60))
        seen.append(step(store.read(slot(0), ("ns",))).tokens[0])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(seen) == 16
    assert len(set(seen)) == 1


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("memory://?size=lots", "'lots' is not a size"),
        ("memory://?limit=1MiB", "an option limit that this store does not know"),
        ("memory://host", "what a memory store cannot do"),
        ("memory://?size=1MiB&size=2MiB", "names an option twice"),
        ("sqlite://.pagegen", "a kind of store that is not known"),
        ("nonsense", 'has no "://"'),
    ],
)
def test_a_url_that_opens_no_store_stops_the_start(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        PageCache(store=url)
    assert (caught.value.where, caught.value.field) == ("[pagegen]", "store")
    assert caught.value.remedy


def test_a_size_in_the_url_is_the_budget() -> None:
    numbers = PageCache(store="memory://?size=8MiB").statistics()
    assert numbers["store_pages_budget"] + numbers["store_tokens_budget"] == 8 * 2**20


WORKER = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from tests.stores.test_memory import page, slot
step(MemoryStore(site=sys.argv[1]).write_page(slot(0), page(), 60))
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_second_process_of_the_same_site_is_told_of_the_first() -> None:
    root = Path(__file__).parents[2]

    def worker(site: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, site],
            cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def first_line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline()

    with worker("company") as first, worker("other") as alone:
        assert first_line(first) == "ready\n"
        assert first_line(alone) == "ready\n"
        with worker("company") as second:
            assert "another process keeps pages of site 'company'" in first_line(second)
            second.communicate(timeout=PATIENCE)
        for process in (first, alone):
            process.communicate(timeout=PATIENCE)
    with worker("company") as third:  # the lock died with its holder
        assert first_line(third) == "ready\n"
        third.communicate(timeout=PATIENCE)


def test_the_garbage_collector_looks_at_no_page_that_only_lies_here() -> None:
    def objects() -> int:
        return sum(isinstance(thing, StoredResponse) for thing in gc.get_objects())

    gc.collect()
    others = objects()
    store = MemoryStore("64MiB")
    for number in range(2 * MAX_WARM):
        made = replace(page(b"x"), key=b"key %d" % number, namespaces=(f"item:{number}",))
        step(store.write_page(slot(number), made, 60))
        step(store.add_tokens({f"item:{number}": b"%16d" % number}, 60))
    del made
    gc.collect()
    assert objects() - others <= MAX_WARM  # those that were put last are objects
    store._pages._warm.clear()
    gc.collect()
    before = len(gc.get_objects())
    del store
    gc.collect()
    assert before - len(gc.get_objects()) < 200  # and of the others there is nothing to follow
