"""The LMDB store in one process: the contract, its room, its directory, damage."""

from __future__ import annotations

import logging
import os
import random
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

from pagegen import ConfigError
from pagegen.errors import StoreError
from pagegen.stepping import step
from pagegen.stores.lmdb import LmdbStore, environment, place, registry
from pagegen.stores.lmdb import generation as generation_module
from pagegen.stores.lmdb.eviction import LARGEST_SHARE, State
from pagegen.stores.lmdb.generation import Generation, make
from pagegen.testing import PATIENCE, FakeClock, StoreContract
from tests.stores.test_memory import page, slot

#: Tests are of promises, not of speed: writers wait long enough on a machine that is busy.
PATIENT = 10.0


def body(store: LmdbStore, number: int) -> bytes | None:
    found = step(store.read(slot(number), ())).page
    return None if found is None else found.body


def tokens(store: LmdbStore, *names: str) -> tuple[bytes | None, ...]:
    return step(store.read(None, names)).tokens


Open = Callable[..., LmdbStore]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Open]:
    """Stores in one directory, closed at the end."""
    opened: list[LmdbStore] = []

    def make(size: str | int = "16MiB", **options: object) -> LmdbStore:
        path = options.pop("path", tmp_path / "store")
        store = LmdbStore(path, size, **{"timeout": PATIENT, **options})  # type: ignore[arg-type]
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


class TestContract(StoreContract):
    flood = 1500
    short_ttl = 0.5

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.place = tmp_path / "store"

    def open(self) -> LmdbStore:
        return LmdbStore(self.place, "16MiB", timeout=PATIENT)


class TestContractOnALoop(TestContract):
    on_loop = True


# What is kept, and how long.


def test_entries_expire_each_at_its_own_time(open_store: Open) -> None:
    clock = FakeClock()
    store = open_store(now=clock)
    step(store.write_page(slot(0), page(), 10))
    step(store.add_tokens({"a": b"1"}, 20))
    clock.advance(9.9)
    assert body(store, 0) == b"x"
    clock.advance(0.1)
    assert body(store, 0) is None
    assert tokens(store, "a") == (b"1",)
    clock.advance(10)
    assert tokens(store, "a") == (None,)
    assert step(store.add_tokens({"a": b"2"}, 20)) == {"a": b"2"}
    assert tokens(store, "a") == (b"2",)


def test_a_damaged_value_is_a_miss_and_says_nothing_of_others(open_store: Open) -> None:
    store = open_store()
    for number in range(3):
        step(store.write_page(slot(number), page(b"body %d" % number), 60))
    step(store.add_tokens({"a": b"1" * 16}, 60))
    assert store._environment is not None
    generation = store._environment.current()
    names = [store._names.page(slot(number)) for number in range(3)]
    with generation.env.begin(write=True) as txn:
        value = bytearray(txn.get(names[0], db=generation.pages) or b"")
        value[-1] ^= 1
        txn.put(names[0], bytes(value), db=generation.pages)
        txn.put(names[1], b"cut", db=generation.pages)
        txn.put(store._names.token("b"), b"short", db=generation.tokens)
    assert [body(store, number) for number in range(3)] == [None, None, b"body 2"]
    assert tokens(store, "a", "b") == (b"1" * 16, None)


def test_pages_of_sites_and_keys_do_not_meet(open_store: Open) -> None:
    one, other = open_store(site="one"), open_store(site="other")
    keyed = open_store(site="one", site_key="secret")
    step(one.write_page(slot(0), page(b"one"), 60))
    step(one.add_tokens({"a": b"1"}, 60))
    for store in (other, keyed):
        assert step(store.read(slot(0), ("a",))) == (None, (None,))
    step(keyed.write_page(slot(0), page(b"keyed"), 60))
    assert (body(one, 0), body(keyed, 0)) == (b"one", b"keyed")


# Room.


def test_a_flood_of_pages_leaves_what_is_read_and_stays_in_the_map(open_store: Open) -> None:
    store = open_store("16MiB")
    names = [f"user:{number}" for number in range(200)]
    step(store.add_tokens(dict.fromkeys(names, b"t" * 16), 60))
    for number in range(20):
        assert step(store.write_page(slot(number), page(b"hot" * 1000), 60))
    missed = 0
    for number in range(20_000):
        assert step(store.write_page(slot(1000 + number), page(b"x" * 10_000), 60))
        missed += number % 5 == 0 and body(store, number // 5 % 20) is None
    assert missed == 0
    assert tokens(store, *names) == (b"t" * 16,) * 200
    numbers = store.statistics()
    assert numbers["pages_evicted"] > 18_000
    assert numbers["pages_bytes"] <= numbers["pages_budget"] < 0.8 * 16 * 2**20
    assert 800 < numbers["pages_count"] < 1000
    used = [file.stat() for file in Path(store._environment.place).rglob("data.mdb")]  # type: ignore[union-attr]
    assert [file.st_size for file in used] == [16 * 2**20]
    assert numbers["map_reached"] <= 16 * 2**20


def test_pages_of_all_sizes_are_placed_or_refused_and_nothing_breaks(open_store: Open) -> None:
    store = open_store("4MiB")
    rng = random.Random(7)
    refused = 0
    for number in range(1500):
        size = int(rng.paretovariate(0.7) * 500) % 600_000
        refused += not step(store.write_page(slot(number % 400), page(b"x" * size), 60))
        if number % 10 == 0:
            step(store.replace_tokens({f"n{number}": b"t" * 16}, 60))
    numbers = store.statistics()
    assert numbers["pages_refused"] == refused < 150
    assert numbers["pages_bytes"] <= numbers["pages_budget"]
    assert numbers["pages_count"] > 50


def test_a_page_too_large_is_refused_and_leaves_nothing_old_behind(open_store: Open) -> None:
    store = open_store("4MiB")
    assert step(store.write_page(slot(0), page(b"old"), 60))
    assert step(store.write_page(slot(1), page(b"other"), 60))
    large = int(store.statistics()["pages_budget"] * LARGEST_SHARE) + 1
    assert not step(store.write_page(slot(0), page(b"x" * large), 60))
    assert (body(store, 0), body(store, 1)) == (None, b"other")
    assert store.statistics()["pages_refused"] == 1


def test_the_books_are_in_order_after_any_history(open_store: Open) -> None:
    store = open_store("4MiB")
    rng = random.Random(3)
    clock = FakeClock()
    store._now = clock
    for _ in range(4000):
        number = rng.randrange(300)
        clock.advance(0.1)
        if rng.random() < 0.6:
            length = rng.choice((10, 1800, 2200, 20_000, 100_000))
            step(store.write_page(slot(number), page(b"x" * length), rng.randrange(200)))
        elif rng.random() < 0.2:
            step(store.delete_page(slot(number)))
        else:
            body(store, number)
    assert store._environment is not None
    generation = store._environment.current()
    shelf = generation.shelf
    with generation.env.begin() as txn:
        listed = {key: value for key, value in txn.cursor(shelf._index) if key != b"state"}
        queue = dict(txn.cursor(shelf._queue))
        pages = dict(txn.cursor(generation.pages))
        kept, ghosts = shelf.count(txn)
        state = State(txn.get(b"state", db=shelf._index))
        assert shelf.used(txn) <= generation.for_pages
    assert {name for name, entry in listed.items() if entry[:1] in b"sm"} == set(pages)
    assert {value: key[:1] for key, value in queue.items()} == {
        name: entry[:1] for name, entry in listed.items()
    }
    sizes = {name: len(pages[name]) for name, entry in listed.items() if entry[:1] == b"s"}
    assert (state.small, state.small_bytes) == (len(sizes), sum(sizes.values()))
    assert (kept, ghosts) == (len(pages), len(listed) - len(pages))
    assert ghosts <= max(kept, 16) + 2
    assert len(pages) > 30


def test_a_flood_of_tokens_is_bounded_and_leaves_the_hot_ones(open_store: Open) -> None:
    store = open_store("4MiB")
    step(store.write_page(slot(0), page(b"page"), 60))
    hot = [f"hot:{number}" for number in range(20)]
    step(store.add_tokens(dict.fromkeys(hot, b"t" * 16), 60))
    lost = 0
    for number in range(800):
        flood = {f"user:{number}:{n}": b"x" * 16 for n in range(10)}
        assert step(store.add_tokens(flood, 60)) == flood
        assert tokens(store, *flood) == (b"x" * 16,) * 10
        lost += tokens(store, *hot).count(None)
    numbers = store.statistics()
    assert numbers["tokens_evicted"] > 3000
    assert numbers["tokens_bytes"] <= numbers["tokens_budget"] * 1.3
    assert lost == 0
    assert body(store, 0) == b"page"


def test_a_reader_that_stands_still_costs_pages_but_no_invalidation(open_store: Open) -> None:
    store = open_store("4MiB")
    step(store.add_tokens({"a": b"old"}, 60))
    assert store._environment is not None
    before = store._environment.current()
    with before.reading(), before.env.begin() as reader:
        # It pins every page of the map that is freed from now on.
        written = [
            step(store.write_page(slot(number), page(b"x" * 9000), 60)) for number in range(1200)
        ]
        assert written[:80] == [True] * 80
        assert not all(written)
        for number in range(300):
            step(store.replace_tokens({"a": b"new %d" % number}, 60))
            assert tokens(store, "a") == (b"new %d" % number,)
        assert reader.get(store._names.token("a"), db=before.tokens)[8:] == b"old"
    assert step(store.write_page(slot(0), page(b"again"), 60))
    assert body(store, 0) == b"again"


def test_more_readers_than_there_are_places_are_misses(open_store: Open) -> None:
    store = open_store()
    step(store.add_tokens({"a": b"1"}, 60))
    assert store._environment is not None
    generation = store._environment.current()
    readers = [generation.env.begin() for _ in range(generation.env.max_readers())]
    with pytest.raises(StoreError, match="ReadersFull"):
        tokens(store, "a")
    readers.pop().abort()
    del readers[:]
    assert tokens(store, "a") == (b"1",)


def test_threads_read_whole_pages_while_others_write_and_evict(open_store: Open) -> None:
    store = open_store("4MiB")
    start = threading.Barrier(6)
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        start.wait(PATIENCE)
        for _ in range(500):
            number = rng.randrange(200)
            try:
                if rng.random() < 0.3:
                    whole = b"%06d" % number * rng.randrange(1, 6000)
                    step(store.write_page(slot(number), page(whole, slot(number)), 60))
                else:
                    found = step(store.read(slot(number), ("a",))).page
                    if found is not None and (
                        found.key != slot(number)
                        or found.body != b"%06d" % number * (len(found.body) // 6)
                    ):
                        wrong.append(found)
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []


# The directory.


def test_two_stores_of_one_directory_share_it_by_whatever_name(
    open_store: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = open_store()
    (tmp_path / "link").symlink_to(tmp_path / "store")
    other = open_store("64MiB", path=tmp_path / "link")
    assert one._environment is other._environment
    assert caplog.text.count("others use it with that size") == 1
    step(one.add_tokens({"a": b"1"}, 60))
    one.close()
    one.close()
    assert tokens(other, "a") == (b"1",)
    with pytest.raises(StoreError, match="closed"):
        tokens(one, "a")
    assert one.statistics()["pages_refused"] == 0
    other.close()
    assert tokens(open_store(), "a") == (b"1",)


def test_a_store_that_nobody_closed_does_not_keep_the_directory(tmp_path: Path) -> None:
    step(LmdbStore(tmp_path / "store", "4MiB").add_tokens({"a": b"1"}, 60))
    store = LmdbStore(tmp_path / "store", "4MiB")
    assert tokens(store, "a") == (b"1",)
    store.close()


def test_another_size_takes_effect_when_nobody_else_uses_the_directory(open_store: Open) -> None:
    store = open_store("4MiB")
    step(store.add_tokens({"a": b"1"}, 60))
    store.close()
    store = open_store("8MiB")
    assert store.statistics()["map_size"] == 8 * 2**20
    assert tokens(store, "a") == (None,)


def test_directory_and_files_are_for_this_user_alone(open_store: Open, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o755)
    open_store()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store").rglob("*")}
    assert modes == {0o700, 0o600}
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def _world_writable(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def _with_strangers(path: Path) -> None:
    path.mkdir(mode=0o755)
    (path / "index.html").touch()


def _a_file(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (_world_writable, "is open to everybody"),
        (_with_strangers, "holds other files (index.html)"),
        (_a_file, "is a file"),
    ],
)
def test_a_directory_that_cannot_be_one_stops_the_start(
    prepare: Callable[[Path], None], problem: str, tmp_path: Path
) -> None:
    prepare(tmp_path / "store")
    with pytest.raises(ConfigError, match=re.escape(problem)) as caught:
        LmdbStore(tmp_path / "store")
    assert caught.value.field == "store"
    assert str(tmp_path / "store") in caught.value.problem
    if (tmp_path / "store").is_dir():
        assert not (tmp_path / "store" / "about").exists()


def test_a_directory_of_somebody_else_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        LmdbStore(tmp_path / "store")


MOUNTS = """22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:50 / /srv rw,relatime shared:1 - nfs4 server:/export rw
31 30 0:51 / /srv/my\\040disk rw,relatime - xfs /dev/vdb rw
32 22 0:52 / /mnt rw - fuse.sshfs user@host: rw
33 22 0:53 / /mnt rw - tmpfs tmpfs rw
mangled
34 22 0:54
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/cache", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/pages", "nfs4"),
        ("/srvs", "ext4"),
        ("/srv/my disk/pages", "xfs"),
        ("/mnt/x", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_the_innermost_mount(path: str, kind: str) -> None:
    assert place.file_system(Path(path), MOUNTS) == kind


def test_a_network_file_system_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 0:50 / {tmp_path} rw - nfs server:/export rw\n")
    monkeypatch.setattr(place, "MOUNTS", mounts)
    with pytest.raises(ConfigError, match=r"network file system \(nfs\)"):
        LmdbStore(tmp_path / "store")
    monkeypatch.setattr(place, "MOUNTS", tmp_path / "missing")
    LmdbStore(tmp_path / "store", "4MiB").close()


def test_a_system_without_posix_locks_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "fcntl", None)
    with pytest.raises(ConfigError, match="POSIX file locks"):
        LmdbStore(tmp_path / "store")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("lmdb://", "names no directory"),
        ("lmdb://d?size=lots", "'lots' is not a size"),
        ("lmdb://d?size=1kB", "has no room for pages"),
        ("lmdb://d?size=4000000GiB", "cannot be opened"),
        ("lmdb://d?timeout=soon", "'soon' is not a duration"),
        ("lmdb://d?timeout=0s", "cannot wait"),
        ("lmdb://d?colour=red", "has an option colour"),
        ("lmdb:///proc/nowhere/d", "cannot be made"),
    ],
)
def test_a_url_that_opens_no_store_stops_the_start(url: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        LmdbStore.from_url(url, directory=tmp_path)
    assert caught.value.field == "store"
    assert caught.value.remedy


def test_a_url_names_a_directory_below_that_of_its_file(tmp_path: Path) -> None:
    store = LmdbStore.from_url("lmdb://.page%20gen?size=4MiB&timeout=1s", directory=tmp_path)
    assert (tmp_path / ".page gen" / "about").is_file()
    assert store.statistics()["map_size"] == 4 * 2**20
    store.close()


# Starting empty.


def _about(path: Path) -> list[str]:
    return (path / "about").read_text().split("\n")


def _rewrite(path: Path, line: int, text: str) -> None:
    lines = _about(path)
    lines[line] = text
    (path / "about").write_text("\n".join(lines))


def _of_another_boot(path: Path) -> None:
    _rewrite(path, 1, "another boot")


def _of_a_newer_format(path: Path) -> None:
    _rewrite(path, 0, "pagegen-lmdb 2")


def _rubbish(path: Path) -> None:
    (path / "about").write_bytes(os.urandom(300))


def _truncated(path: Path) -> None:
    os.truncate(path / _about(path)[2] / "data.mdb", 10_000)


def _no_data(path: Path) -> None:
    (path / _about(path)[2] / "data.mdb").unlink()


def _foreign_data(path: Path) -> None:
    data = path / _about(path)[2] / "data.mdb"
    data.write_bytes(b"SQLite format 3\0" * (data.stat().st_size // 16))


def _no_marks(path: Path) -> None:
    (path / _about(path)[2] / "marks").unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        *(_of_another_boot, _of_a_newer_format, _rubbish, _truncated, _no_data, _foreign_data),
        _no_marks,
    ],
)
def test_what_cannot_be_trusted_starts_empty_and_says_so_once(
    spoil: Callable[[Path], None],
    open_store: Open,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = open_store()
    step(store.add_tokens({"a": b"1"}, 60))
    step(store.write_page(slot(0), page(), 60))
    store.close()
    spoil(tmp_path / "store")
    with caplog.at_level(logging.WARNING, "pagegen.stores"):
        store = open_store()
        assert step(store.add_tokens({"a": b"2"}, 60)) == {"a": b"2"}
        assert step(store.read(slot(0), ("a",))) == (None, (b"2",))
    assert len(caplog.records) <= 2
    assert caplog.text.count("starts empty") == 1
    assert len(list((tmp_path / "store").iterdir())) == 3


def test_files_that_are_cut_or_removed_under_a_running_store_are_misses(
    open_store: Open, tmp_path: Path
) -> None:
    for spoil in (_truncated, _no_data, _no_marks, _rubbish):
        store = open_store()
        assert store._environment is not None
        step(store.add_tokens({"a": b"1"}, 60))
        generation = store._environment.current()
        spoil(tmp_path / "store")
        generation.seen = 0.0  # as 10 ms later
        with pytest.raises(StoreError, match="nothing to read"):
            tokens(store, "a")
        store._environment._beginning._replaced_at = -1e9  # as a second later
        assert step(store.add_tokens({"a": b"2"}, 60)) == {"a": b"2"}
        assert tokens(store, "a") == (b"2",)


def test_damage_that_lmdb_finds_is_a_miss_is_told_once_and_mends(
    open_store: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    for number in range(50):
        step(store.write_page(slot(number), page(b"x" * 9000), 60))
    step(store.add_tokens({f"n{number}": b"1" * 16 for number in range(500)}, 60))
    data = next((tmp_path / "store").rglob("data.mdb"))
    with data.open("r+b") as file:  # all but the two pages that say where the rest is
        file.seek(2 * 4096)
        file.write(b"\xff" * (data.stat().st_size // 2))
    for _ in range(5):
        with pytest.raises(StoreError):
            tokens(store, "n1")
    assert 1 <= caplog.text.count(" failed (") <= 2
    assert step(store.add_tokens({"n1": b"2"}, 60)) == {"n1": b"2"}
    assert tokens(store, "n1", "n2") == (b"2", None)
    assert caplog.text.count("the files are damaged") == 1


def test_a_record_of_the_queues_that_is_damaged_has_all_begin_anew(open_store: Open) -> None:
    store = open_store()
    assert store._environment is not None
    step(store.write_page(slot(0), page(), 60))
    generation = store._environment.current()
    with generation.env.begin(write=True) as txn:
        txn.put(b"state", b"short", db=generation.index)
    with pytest.raises(StoreError, match="unpack"):
        step(store.write_page(slot(1), page(), 60))
    assert step(store.write_page(slot(1), page(b"anew"), 60))
    assert (body(store, 0), body(store, 1)) == (None, b"anew")


def test_an_error_of_lmdb_has_its_consequences(open_store: Open) -> None:
    store = open_store()
    assert store._environment is not None
    step(store.add_tokens({"a": b"1"}, 60))
    first = store._environment.current()
    store._environment.blame(first, lmdb.ReadersFullError("passes"))
    assert store._environment.current() is first
    store._environment.blame(first, lmdb.PanicError("opened anew"))
    assert tokens(store, "a") == (b"1",)
    second = store._environment.current()
    assert second is not first
    store._environment.blame(second, lmdb.CorruptedError("replaced"))
    with pytest.raises(StoreError):
        tokens(store, "a")
    assert step(store.add_tokens({"a": b"2"}, 60)) == {"a": b"2"}


def test_a_directory_that_is_cleared_under_a_running_store_is_made_again(
    open_store: Open, tmp_path: Path
) -> None:
    store = open_store()
    step(store.add_tokens({"a": b"old"}, 60))
    for path in sorted((tmp_path / "store").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "store").rmdir()
    step(store.replace_tokens({"a": b"new"}, 60))
    assert tokens(store, "a")[0] in (None, b"new")
    step(store.replace_tokens({"a": b"newer"}, 60))
    assert tokens(store, "a") == (b"newer",)
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert tokens(open_store(), "a") == (b"newer",)


def test_an_invalidation_whose_files_were_replaced_meanwhile_is_made_again(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed to files that are the truth no more is seen by nobody."""
    store = open_store()
    step(store.add_tokens({"a": b"old"}, 60))
    kept = store._environment
    assert kept is not None
    real = environment.Environment.still
    replaced: list[str] = []

    def still(self: environment.Environment, generation: Generation) -> bool:
        if not replaced:  # after the commit, before the look: somebody else begins anew
            replaced.append(generation.about.generation)
            about = place.About(1, place.boot_id(), "0123456789abcdef", generation.about.size)
            make(self.place, about.generation, about.size)
            about.write(self.place)
        return real(self, generation)

    monkeypatch.setattr(environment.Environment, "still", still)
    kept.current().seen += 1000.0  # only the look after the commit looks
    step(store.replace_tokens({"a": b"new"}, 60))
    assert replaced
    assert kept.current().about.generation == "0123456789abcdef"
    # Sent twice, a token could take the place of a later one.
    assert tokens(store, "a") == (None,)


def test_nobody_uses_a_generation_before_all_others_have_looked(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    real = environment.sleep

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        real(seconds)

    monkeypatch.setattr(environment, "sleep", sleep)
    open_store()
    assert sum(slept) > environment.BELIEVED
    # Whoever makes one does not trust the wall clock with it.
    monkeypatch.setattr(generation_module, "time", lambda: time.time() + 1000)
    slept.clear()
    open_store(path=tmp_path / "other")
    assert sum(slept) > environment.BELIEVED


def test_lmdb_itself_refuses_what_the_registry_prevents(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    assert store._environment is not None
    folder = tmp_path / "store" / store._environment.current().about.generation
    with pytest.raises(lmdb.Error, match="already open"):
        lmdb.open(str(folder))
