"""The memcached store on real servers: coherence, hung and restarted servers, limits, settings."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pagegen import ConfigError
from pagegen.errors import StoreError
from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores.memcached import MemcachedStore, parts
from pagegen.stores.memcached.verbs import MAX_TTL, Verbs
from pagegen.stores.names import Names
from pagegen.stores.threads import Threaded
from tests.stores.servers import PATIENCE, Memcached
from tests.stores.test_memcached_native import TlsMemcached
from tests.stores.test_memory import page, slot

SITE = "tested"
NAMES = Names(SITE)
#: memcached does not start with ``-m 1`` alone: an item may take half of its memory at most.
ONE_MEBIBYTE = ("-m", "1", "-I", "512k")
NAMESPACES = [f"item:{number}" for number in range(30)]


@contextmanager
def store_on(*servers: Memcached, timeout: float = PATIENCE, **options: Any) -> Iterator[Face]:
    """A store; ``with`` closes it. Both of its faces are tried with the same tests."""
    store = MemcachedStore(
        [server.address for server in servers], site=SITE, timeout=timeout, **options
    )
    try:
        yield Face(store)
    finally:
        store.close()


class Face:
    """The verbs of a store as plain functions, stepped."""

    def __init__(self, store: MemcachedStore) -> None:
        self.store = store

    def read(self, number: int | None, *names: str) -> tuple[StoredResponse | None, Any]:
        return step(self.store.read(None if number is None else slot(number), names))

    def tokens(self, *names: str) -> tuple[bytes | None, ...]:
        return step(self.store.read(None, names)).tokens

    def add(self, **tokens: bytes) -> dict[str, bytes]:
        return dict(step(self.store.add_tokens(tokens, 600)))

    def replace(self, *names: str, token: bytes, ttl: float = 600) -> None:
        step(self.store.replace_tokens(dict.fromkeys(names, token), ttl))

    def write(self, number: int, body: bytes, ttl: float = 600) -> bool:
        return step(self.store.write_page(slot(number), page(body), ttl))

    def body(self, number: int) -> bytes | None:
        found = self.read(number)[0]
        return None if found is None else found.body

    def where(self, name: bytes) -> int:
        return self.store._common.ring.server(name)


def holds(server: Memcached, name: bytes) -> bool:
    return server.ask(f"get {name.decode()}") != b"END\r\n"


def remaining(server: Memcached, name: bytes) -> int:
    """Seconds that a server keeps this; -1 for ever."""
    with server.connect() as sock:
        sock.sendall(b"mg %b t\r\n" % name)
        answer = sock.recv(100)
        assert answer.startswith(b"HD t"), answer
        return int(answer[4:])


def eventually(done: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < until
        time.sleep(0.01)


def works(verb: Callable[[], object]) -> bool:
    try:
        verb()
    except StoreError:
        return False
    return True


def test_two_stores_on_a_ring_see_the_same_whatever_the_order_of_their_lists(
    memcacheds: list[Memcached],
) -> None:
    with store_on(*memcacheds) as one, store_on(*reversed(memcacheds)) as other:
        for number, name in enumerate(NAMESPACES):
            one.replace(name, token=b"%d" % number)
            assert other.tokens(name) == (b"%d" % number,)
            assert other.write(number, b"%d" % number)
            assert one.body(number) == b"%d" % number
        assert one.tokens(*NAMESPACES) == other.tokens(*NAMESPACES)
        assert all(server.stats()["curr_items"] != "0" for server in memcacheds)


def test_a_server_that_comes_back_never_brings_an_old_token_with_it(
    memcacheds: list[Memcached],
) -> None:
    # Ketama-like clients move a name to another server and back again; here it stays and fails.
    with store_on(*memcacheds, timeout=0.1) as store:
        store.replace(*NAMESPACES, token=b"old")
        away = store.where(NAMES.token(NAMESPACES[0]))
        mine = [name for name in NAMESPACES if store.where(NAMES.token(name)) == away]
        others = [name for name in NAMESPACES if name not in mine]
        memcacheds[away].stop()
        for name in mine:
            assert not works(lambda name=name: store.replace(name, token=b"lost"))
            assert not works(lambda name=name: store.tokens(name))
            assert not works(lambda name=name: store.add(**{name: b"lost"}))
        store.replace(*others, token=b"new")
        assert not works(lambda: store.replace(*NAMESPACES, token=b"new"))
        for name in mine:
            for number, server in enumerate(memcacheds):
                assert number == away or not holds(server, NAMES.token(name))
        memcacheds[away].cont()
        eventually(lambda: works(lambda: store.tokens(*mine)))
        # What was not acknowledged may have arrived or not; what is acknowledged counts.
        store.replace(*mine, token=b"newest")
        assert store.tokens(*mine) == (b"newest",) * len(mine)
        assert store.tokens(*others) == (b"new",) * len(others)


def test_a_hung_server_costs_its_pages_and_leaves_the_tokens_of_others(
    memcacheds: list[Memcached],
) -> None:
    with store_on(*memcacheds, timeout=0.1) as store:
        away = store.where(NAMES.page(slot(0)))
        name = next(n for n in NAMESPACES if store.where(NAMES.token(n)) != away)
        store.replace(name, token=b"t")
        assert store.write(0, b"body")
        memcacheds[away].stop()
        assert store.read(0, name) == (None, (b"t",))
        assert not works(lambda: store.write(0, b"newer"))
        memcacheds[away].cont()
        eventually(lambda: store.body(0) in (b"body", b"newer"))


@pytest.mark.alone
def test_a_hung_server_costs_a_bounded_time_and_none_once_the_breaker_is_open(
    memcached: Memcached,
) -> None:
    with store_on(memcached, timeout=0.1) as store:
        store.replace("a", token=b"t")
        memcached.stop()
        took = []
        for _ in range(50):
            began = time.monotonic()
            assert not works(lambda: store.read(0, "a"))
            took.append(time.monotonic() - began)
        assert max(took) < 2
        assert sorted(took)[25] < 0.001
        assert store.store.statistics()["breaker_opened"] >= 1
        memcached.cont()
        eventually(lambda: works(lambda: store.tokens("a")))
        assert store.tokens("a") == (b"t",)


def test_a_restarted_server_is_empty_and_works_at_once(memcached: Memcached) -> None:
    with store_on(memcached) as store:
        store.replace("a", token=b"old")
        assert store.write(0, b"old")
        memcached.kill()
        assert not works(lambda: store.tokens("a"))
        memcached.restart()
        eventually(lambda: works(lambda: store.tokens("a")))
        assert store.read(0, "a") == (None, (None,))
        assert store.add(a=b"new") == {"a": b"new"}


def test_the_breaker_is_one_for_both_faces(memcached: Memcached) -> None:
    with store_on(memcached, timeout=0.1) as store:
        twin = store.store.on_loop()
        assert store.store.on_loop() is twin
        memcached.kill()
        while not store.store.statistics()["breaker_open"]:
            assert not works(lambda: store.tokens("a"))

        async def refused() -> float:
            began = time.monotonic()
            with pytest.raises(StoreError):
                await twin.read(None, ("a",))
            return time.monotonic() - began

        # Twice, as the first one may be the probe.
        assert min(asyncio.run(refused()), asyncio.run(refused())) < 0.05
        assert store.store.statistics()["breaker_open"] == 1


@pytest.mark.parametrize("where", [0, 1])
def test_a_server_with_a_restart_file_is_refused_until_it_has_none(
    memcacheds: list[Memcached], tmp_path: Path, caplog: pytest.LogCaptureFixture, where: int
) -> None:
    server = memcacheds[0]
    server.options = ("-e", str(tmp_path / "memory"))
    server.restart()
    with caplog.at_level(logging.ERROR, "pagegen.stores"), store_on(server) as store:
        twin = store.store.on_loop()
        for _ in range(10):
            with pytest.raises(StoreError, match=r"-e|left alone|breaker is open"):
                if where:
                    asyncio.run(_replace(twin))
                else:
                    store.replace("a", token=b"t")
        assert len(caplog.records) == 1
        assert "was started with -e" in caplog.text
        assert server.address in caplog.text
        assert not holds(server, NAMES.token("a"))
        server.options = ()
        server.restart()
        eventually(lambda: works(lambda: store.replace("a", token=b"t")))
        server.options = ("-e", str(tmp_path / "memory"))
        server.restart()
        assert not works(lambda: store.tokens("a"))


async def _replace(store: Any) -> None:
    await store.replace_tokens({"a": b"t"}, 600)


@pytest.mark.parametrize(
    ("ttl", "kept"),
    [(0.0, 2), (0.1, 2), (1.0, 2), (2.1, 4), (60, 61), (MAX_TTL + 1, MAX_TTL), (2**31, MAX_TTL)],
)
def test_no_ttl_is_a_date_or_for_ever(shared_memcached: Memcached, ttl: float, kept: int) -> None:
    with store_on(shared_memcached) as store:
        store.replace("ttl", token=b"t", ttl=ttl)
        assert store.write(77, b"body", ttl=ttl)
        for name in (NAMES.token("ttl"), NAMES.page(slot(77))):
            assert kept - 2 <= remaining(shared_memcached, name) <= kept


def test_a_page_over_the_item_limit_is_split_and_whole_again(memcacheds: list[Memcached]) -> None:
    with store_on(*memcacheds) as store, store_on(*memcacheds) as other:
        body = bytes(range(256)) * 15_000
        assert store.write(0, body)
        assert other.body(0) == body
        assert other.write(0, b"small")
        assert store.body(0) == b"small"
        assert store.store.statistics()["pages_split"] == 1


def part_names(store: Face, number: int = 0) -> list[bytes]:
    """What the parts of a page are called that is on the first server."""
    name = NAMES.page(slot(number))
    stored = step(store.store._client.get({0: [name]})).values[name]
    manifest = parts.parse(stored)
    return [] if manifest is None else manifest.names(NAMES.prefix)


def test_a_split_page_without_one_of_its_parts_is_none(memcached: Memcached) -> None:
    with store_on(memcached) as store:
        assert store.write(0, b"x" * 3_000_000)
        names = part_names(store)
        assert len(names) == 3
        memcached_delete(memcached, names[1])
        store.replace("a", token=b"t")
        assert store.read(0, "a") == (None, (b"t",))
        assert store.store.statistics()["pages_incomplete"] == 1


def memcached_delete(server: Memcached, name: bytes) -> None:
    with server.connect() as sock:
        sock.sendall(b"delete %b\r\n" % name)
        assert sock.recv(100) == b"DELETED\r\n"


def test_parts_of_two_writings_never_mix(memcached: Memcached) -> None:
    seen: set[bytes] = set()
    with store_on(memcached) as store:
        ends = threading.Event()

        def write(letter: bytes) -> None:
            with store_on(memcached) as own:
                while not ends.is_set():
                    own.write(0, letter * 2_500_000)

        writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
        for writer in writers:
            writer.start()
        try:
            until = time.monotonic() + PATIENCE
            while (len(seen) < 2 or time.monotonic() < until - PATIENCE + 1) and (
                time.monotonic() < until
            ):
                body = store.body(0)
                if body is not None:
                    assert len(set(body)) == 1
                    seen.add(body[:1])
        finally:
            ends.set()
            for writer in writers:
                writer.join(PATIENCE)
    assert seen == {b"a", b"b"}


@pytest.mark.parametrize("at", [0, 1])
def test_a_writer_that_dies_between_parts_and_manifest_leaves_the_page_before(
    memcached: Memcached, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    with store_on(memcached) as store:
        assert store.write(0, b"before" * 300_000)
        put, trips = Verbs._put, iter(range(2))

        async def dying(self: Any, values: Any, *rest: Any) -> bool:
            if next(trips) == at:
                raise SystemExit
            return await put(self, values, *rest)

        monkeypatch.setattr(Verbs, "_put", dying)
        with pytest.raises(SystemExit):
            store.write(0, b"after" * 300_000)
        monkeypatch.undo()
        assert store.body(0) == b"before" * 300_000


@pytest.mark.parametrize(("limit", "count"), [("512k", 3), ("4m", 0)])
def test_the_servers_own_item_limit_is_respected(limit: str, count: int) -> None:
    with Memcached("-I", limit) as server, store_on(server) as store:
        store.add(a=b"t")
        assert store.write(0, b"x" * 1_300_000)
        assert store.body(0) == b"x" * 1_300_000
        assert len(part_names(store)) == count


def test_large_pages_are_refused_where_that_is_asked_for(shared_memcached: Memcached) -> None:
    with store_on(shared_memcached, large="refuse") as store:
        assert not store.write(5, b"x" * 1_100_000)
        assert store.body(5) is None
        assert store.write(5, b"x" * 1_000_000)
        assert store.body(5) == b"x" * 1_000_000
        assert store.store.statistics()["pages_refused"] == 1


@pytest.mark.parametrize("size", range(2**20 - 1400, 2**20 - 300, 100))
def test_pages_around_the_item_limit_are_stored(shared_memcached: Memcached, size: int) -> None:
    with store_on(shared_memcached) as store:
        assert store.write(6, b"x" * size)
        assert store.body(6) == b"x" * size


def test_a_flood_of_pages_in_one_mebibyte_takes_neither_tokens_nor_hot_pages() -> None:
    with Memcached(*ONE_MEBIBYTE) as server, store_on(server) as store:
        store.replace(*NAMESPACES, token=b"kept")
        assert store.write(0, b"hot" * 3000)
        hot = 0
        for number in range(1, 3001):
            store.write(number, b"x" * 10_000)
            if number % 5 == 0:
                found, tokens = store.read(0, *NAMESPACES)
                assert tokens == (b"kept",) * len(NAMESPACES)
                hot += found is not None
                if found is None:
                    store.write(0, b"hot" * 3000)
        assert int(server.stats()["evictions"]) > 1000
        assert int(server.stats()["bytes"]) < 3 * 2**20
        assert hot > 600 * 0.95
        # What has no room at all is refused, and the site goes on.
        store.write(1, b"x" * 5_000_000)
        assert store.tokens(*NAMESPACES) == (b"kept",) * len(NAMESPACES)


def test_a_token_without_room_is_an_error() -> None:
    with Memcached(*ONE_MEBIBYTE, "-M") as server, store_on(server) as store:
        kept = 0
        with pytest.raises(StoreError):
            for number in range(200_000):
                step(store.store.replace_tokens({f"ns:{number}": b"t" * 200}, 600))
                kept += 1
        assert kept > 10
        assert store.tokens("ns:0") == (b"t" * 200,)
        assert not works(lambda: store.add(another=b"t" * 200))
        assert store.write(0, b"x" * 250_000) in (True, False)
        assert store.store.statistics()["breaker_opened"] == 0


def test_a_lease_is_given_back_at_once_and_only_by_its_holder(shared_memcached: Memcached) -> None:
    with store_on(shared_memcached) as store:
        verbs = store.store
        assert step(verbs.acquire(slot(9), b"a" * 16, 60))
        step(verbs.release(slot(9), b"b" * 16))
        assert not step(verbs.acquire(slot(9), b"b" * 16, 60))
        step(verbs.release(slot(9), b"a" * 16))
        assert step(verbs.acquire(slot(9), b"b" * 16, 60))
        step(verbs.release(slot(9), b"b" * 16))


def test_namespaces_asked_for_twice_are_answered_twice(shared_memcached: Memcached) -> None:
    with store_on(shared_memcached) as store:
        store.replace("twice", token=b"t")
        assert store.tokens("twice", "none", "twice") == (b"t", None, b"t")


def test_another_tenants_bytes_in_our_places_are_misses(shared_memcached: Memcached) -> None:
    with store_on(shared_memcached, site_key="secret") as keyed, store_on(shared_memcached) as bare:
        assert bare.write(3, b"planted")
        assert keyed.body(3) is None
        name = NAMES.page(slot(4))
        with shared_memcached.connect() as sock:
            for rubbish in (b"", b"PGM\x01", b"PGM\x01" + bytes(24), b"PGN\x01C" + bytes(99)):
                sock.sendall(b"set %b 7 0 %d\r\n%b\r\n" % (name, len(rubbish), rubbish))
                assert sock.recv(100) == b"STORED\r\n"
                assert bare.body(4) is None


def test_sites_do_not_see_each_other(shared_memcached: Memcached) -> None:
    with store_on(shared_memcached) as store:
        other = MemcachedStore([shared_memcached.address], site="another", timeout=PATIENCE)
        store.replace("a", token=b"t")
        assert step(other.read(None, ("a",))).tokens == (None,)
        other.close()


def test_a_store_is_what_its_url_says(shared_memcached: Memcached, tmp_path: Path) -> None:
    store = MemcachedStore.from_url(
        f"{shared_memcached.url}?timeout=5s&connect_timeout=1s&pool=3&large=refuse&client=threads",
        site=SITE,
    )
    assert step(store.write_page(slot(8), page(), 60))
    assert isinstance(store.on_loop(), Threaded)
    assert not step(store.write_page(slot(8), page(b"x" * 2_000_000), 60))
    store.close()
    several = MemcachedStore.from_url("memcached://h1,H2:5,[::1],/run/mc.sock")
    assert [address.text for address in several._addresses] == [
        "h1:11211", "h2:5", "[::1]:11211", "/run/mc.sock",
    ]  # fmt: skip


def test_tls_is_spoken_on_both_faces_and_only_with_a_server_that_is_known(tmp_path: Path) -> None:
    with TlsMemcached(tmp_path) as server:
        url = f"{server.url}?timeout=20s&tls=on"
        store = MemcachedStore.from_url(f"{url}&tls_ca=certificate.pem", directory=tmp_path)
        twin = store.on_loop()
        for number in range(5):
            step(store.replace_tokens({"a": b"%d" % number}, 60))
            assert asyncio.run(twin.read(None, ("a",))).tokens == (b"%d" % number,)
            assert step(store.write_page(slot(number), page(b"x" * 300_000), 60))
            found = step(store.read(slot(number), ("a",))).page
            assert found is not None
            assert found.body == b"x" * 300_000
        assert store.statistics()["blocking_connects"] == 1
        store.close()
        stranger = MemcachedStore.from_url(url)
        with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
            step(stranger.read(None, ("a",)))
        stranger.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memcached://", "no memcached server is named"),
        ("memcached://h1,", "'' is no server"),
        ("memcached://h1,h1:11211", "named twice"),
        ("memcached://h1?timeout=0s", "timeout of 0 s"),
        ("memcached://h1?timeout=soon", "option timeout"),
        ("memcached://h1?timeout=2m", "timeout of 120 s"),
        ("memcached://h1?pool=0", "pool of 0"),
        ("memcached://h1?pool=x", "option pool"),
        ("memcached://h1?large=drop", "split, refuse"),
        ("memcached://h1?client=twisted", "native, threads"),
        ("memcached://h1?tls_ca=x.pem", "names tls_ca without tls"),
        ("memcached://h1?tls=on&tls_ca=missing.pem", "cannot be read"),
        ("memcached://h1?retries=3", "retries that this store does not know"),
        ("memcached://" + ",".join(f"h{n}" for n in range(101)), "too many servers"),
    ],
)
def test_what_cannot_be_is_refused_at_start(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MemcachedStore.from_url(url)
    assert said in str(caught.value)
    assert caught.value.field == "store"


def test_a_store_whose_servers_are_all_down_starts_and_counts() -> None:
    store = MemcachedStore(["127.0.0.1:1"])
    for _ in range(5):
        with pytest.raises(StoreError):
            step(store.read(None, ("a",)))
    numbers = store.statistics()
    assert numbers["breaker_opened"] == numbers["breaker_open"] == 1
    assert (numbers["blocking_failures"], numbers["blocking_refused"]) == (3, 2)
    store.close()
    store.close()
