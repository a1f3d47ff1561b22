"""The LMDB store between processes: coherence, forks, killed and stopped workers, leases."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pagegen.errors import StoreError
from pagegen.stepping import step
from pagegen.stores.lmdb import LmdbStore, environment
from pagegen.stores.lmdb.locks import OPENING, WRITING
from pagegen.testing import PATIENCE

from .test_lmdb import PATIENT, _of_a_newer_format, body, page, slot, tokens

ROOT = Path(__file__).parents[2]

#: Runs each line it reads as an expression, and answers with what came out.
WORKER = """
import os, random, sys, time
from pagegen.errors import StoreError
from pagegen.stepping import step
from pagegen.stores.lmdb import LmdbStore
from pagegen.testing.promises.samples import page
slot = lambda number: number.to_bytes(20, "big")
store = LmdbStore(sys.argv[1], sys.argv[2], timeout=float(sys.argv[3]))
def body(number):
    found = step(store.read(slot(number), ())).page
    return None if found is None else found.body
def tokens(*names):
    return step(store.read(None, names)).tokens
def write_until_the_end_of(parent):
    number = 0
    while os.getppid() == parent:
        number += 1
        whole = b"%08d" % number * (number * 7919 % 4000 + 1)
        step(store.write_page(slot(number % 50), page(whole), 60))
        step(store.replace_tokens({"a": b"%016d" % number, "b": b"%016d" % number}, 60))
        step(store.acquire(slot(number % 50), b"o" * 16, 60))
def fork_a_writer():
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            write_until_the_end_of(parent)
        finally:
            os._exit(0)
    return child
def stay_in_a_write():
    with store._environment.writing(time.monotonic() + 10) as (generation, txn):
        txn.put(store._names.token("a"), b"\\0" * 24, db=generation.tokens)
        print("inside", flush=True)
        sys.stdin.readline()
def stay_in_a_read():
    generation = store._environment.current()
    with generation.env.begin() as txn:
        print("inside", flush=True)
        sys.stdin.readline()
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(repr(eval(line)), flush=True)
    except StoreError as error:
        print("StoreError", error, flush=True)
"""


class Worker:
    """A process with a store of its own."""

    def __init__(self, path: Path, size: str = "16MiB", timeout: float = PATIENT) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path), size, str(timeout)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def ready(self) -> Worker:
        assert self.line() == "ready", self.process.communicate()[1]
        return self

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, text: str) -> str:
        self.say(text)
        return self.line()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Workers on one directory, ended with the test."""
    workers: list[Worker] = []

    def begin(**options: Any) -> Worker:
        worker = Worker(options.pop("path", tmp_path / "store"), **options)
        workers.append(worker)
        return worker

    yield begin
    for worker in workers:
        worker.end()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    opened = LmdbStore(tmp_path / "store", "16MiB", timeout=PATIENT)
    yield opened
    opened.close()


Start = Callable[..., Worker]


def test_workers_that_start_at_once_make_one_environment(start: Start, tmp_path: Path) -> None:
    workers = [start() for _ in range(4)]
    for worker in workers:
        worker.ready()
    assert workers[0].ask("step(store.add_tokens({'a': b'1'}, 60))") == "{'a': b'1'}"
    assert [worker.ask("tokens('a')") for worker in workers] == ["(b'1',)"] * 4
    assert len(list((tmp_path / "store").iterdir())) == 3


def test_what_one_process_replaced_no_other_reads(store: LmdbStore, start: Start) -> None:
    worker = start().ready()
    for number in range(300):
        step(store.replace_tokens({"a": b"mine %d" % number}, 60))
        assert worker.ask("tokens('a')") == f"(b'mine {number}',)"
        worker.ask(f"step(store.replace_tokens({{'a': b'theirs {number}'}}, 60))")
        assert tokens(store, "a") == (b"theirs %d" % number,)
    step(store.write_page(slot(0), page(b"mine"), 60))
    assert worker.ask("body(0)") == "b'mine'"
    worker.ask("step(store.delete_page(slot(0)))")
    assert body(store, 0) is None


@pytest.mark.parametrize("clear", ["condemned", "removed", "moved away"])
def test_no_process_reads_on_in_files_that_were_replaced(
    clear: str, store: LmdbStore, start: Start, tmp_path: Path
) -> None:
    """An invalidation in new files is seen by those that had the old ones open."""
    worker = start().ready()
    for number in range(10):
        old, new = b"old %d" % number, b"new %d" % number
        step(store.replace_tokens({"a": old}, 60))
        assert worker.ask("tokens('a')") == f"({old!r},)"
        if clear == "condemned":
            assert store._environment is not None
            store._environment._beginning._replaced_at = -1e9
            store._environment.condemn(store._environment.current(), "the test says so")
        elif clear == "removed":
            shutil.rmtree(tmp_path / "store")
        else:
            (tmp_path / "store").rename(tmp_path / f"away {number}")
        step(store.replace_tokens({"a": new}, 60))
        assert worker.ask("tokens('a')") in (f"({new!r},)", "(None,)")


def test_whoever_comes_first_decides_on_the_size(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = start(size="4MiB").ready()
    first.ask("step(store.add_tokens({'a': b'1'}, 60))")
    store = LmdbStore(tmp_path / "store", "16MiB", timeout=PATIENT)
    assert store.statistics()["map_size"] == 4 * 2**20
    assert tokens(store, "a") == (b"1",)
    assert "has 4194304 bytes, not 16777216" in caplog.text
    store.close()


def test_a_store_of_a_newer_format_that_is_in_use_is_left_alone(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer = start().ready()
    assert newer.ask("step(store.add_tokens({'a': b'1'}, 60))") == "{'a': b'1'}"
    about = (tmp_path / "store" / "about").read_text()
    _of_a_newer_format(tmp_path / "store")
    store = LmdbStore(tmp_path / "store", "16MiB", timeout=PATIENT)
    try:
        assert "another format, and somebody uses it" in caplog.text
        with pytest.raises(StoreError, match="another format"):
            tokens(store, "a")
        with pytest.raises(StoreError, match="another format"):
            step(store.replace_tokens({"a": b"2"}, 60))
        assert about.split("\n")[2] in {path.name for path in (tmp_path / "store").iterdir()}
        newer.kill()
        assert step(store.add_tokens({"a": b"2"}, 60)) == {"a": b"2"}
    finally:
        store.close()


# Stopped and killed.


def test_behind_a_writer_that_stands_still_nobody_waits_long(start: Start, tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "store", "16MiB", timeout=0.05)
    step(store.add_tokens({"a": b"1"}, 60))
    step(store.write_page(slot(0), page(b"page"), 60))
    other = start().ready()
    other.say("stay_in_a_write()")
    assert other.line() == "inside"
    other.signal(signal.SIGSTOP)
    try:
        waited = []
        for number in range(200):
            began = time.monotonic()
            with pytest.raises(StoreError):
                step(store.write_page(slot(1), page(), 60))
            waited.append(time.monotonic() - began)
            if number % 20 == 0:
                assert step(store.read(slot(0), ("a",)))[1] == (b"1",)
        # Three wait for 50 ms, then a probe now and then.
        assert sum(wait > 0.04 for wait in waited) <= 10
        assert sorted(waited)[100] < 0.005
        with pytest.raises(StoreError, match="did not finish in time"):
            step(store.replace_tokens({"a": b"2"}, 60))
        assert store.statistics()["write_timeouts"] >= 3
        assert (body(store, 0), tokens(store, "a")) == (b"page", (b"1",))
    finally:
        other.signal(signal.SIGCONT)
    other.kill()  # in the middle of its write
    step(store.replace_tokens({"a": b"3"}, 60))
    assert tokens(store, "a") == (b"3",)
    assert step(store.write_page(slot(1), page(), 60))
    store.close()


def test_a_reader_that_stands_still_costs_pages_but_no_invalidation(
    start: Start, tmp_path: Path
) -> None:
    store = LmdbStore(tmp_path / "store", "4MiB", timeout=PATIENT)
    step(store.add_tokens({"a": b"old"}, 60))
    other = start(size="4MiB").ready()
    other.say("stay_in_a_read()")
    assert other.line() == "inside"
    other.signal(signal.SIGSTOP)
    for number in range(600):
        step(store.write_page(slot(number), page(b"x" * 9000), 60))
        step(store.replace_tokens({"a": b"new %d" % number}, 60))
        assert tokens(store, "a") == (b"new %d" % number,)
    other.signal(signal.SIGCONT)
    other.say("")
    assert other.line() == "None"
    assert other.ask("tokens('a')") == "(b'new 599',)"
    store.close()


def test_places_of_killed_readers_are_given_back(store: LmdbStore, start: Start) -> None:
    assert store._environment is not None
    env = store._environment.current().env
    for _ in range(3):
        worker = start().ready()
        worker.say("stay_in_a_read()")
        assert worker.line() == "inside"
        worker.kill()
    # A line for each reader, below a headline.
    assert len(env.readers().splitlines()) >= 3
    store._environment._check_at = 0.0  # as 30 s later
    step(store.replace_tokens({"a": b"1"}, 60))
    mine = [line for line in env.readers().splitlines() if line.split()[0].isdigit()]
    assert {int(line.split()[0]) for line in mine} <= {os.getpid()}


def test_who_did_not_wait_for_a_read_waits_for_an_invalidation(
    store: LmdbStore, start: Start, tmp_path: Path
) -> None:
    step(store.add_tokens({"a": b"old"}, 60))
    other = start().ready()
    assert other.ask(f"store._environment._locks.take({OPENING}, 0.0)") == "True"
    os.utime(tmp_path / "store" / "about")  # so that it must be opened anew
    assert store._environment is not None and store._environment._generation is not None
    store._environment._generation.seen = 0.0
    with pytest.raises(StoreError, match="another process is opening"):
        tokens(store, "a")
    with pytest.raises(StoreError, match="a moment ago"):  # nor does the next one
        tokens(store, "a")
    assert other.ask(f"store._environment._locks.give({OPENING})") == "None"
    step(store.replace_tokens({"a": b"new"}, 60))
    assert tokens(store, "a") == (b"new",)


def test_sixty_killed_writers_leave_no_torn_page_and_others_go_on(
    start: Start, tmp_path: Path
) -> None:
    # Room for seconds of writing: while this process is kept from running in the middle of a read,
    # nothing that it reads is overwritten, and writers whose map is full begin a new one.
    store = LmdbStore(tmp_path / "store", "1GiB", timeout=PATIENT)
    rng = random.Random(5)
    parent = start(size="1GiB").ready()
    seen = wrote = 0
    for number in range(60):
        writer = int(parent.ask("fork_a_writer()"))
        until = time.monotonic() + 0.003 + rng.random() * 0.03
        while time.monotonic() < until:
            seen += _check_whole(store)
        os.kill(writer, signal.SIGKILL)
        assert parent.ask(f"os.waitpid({writer}, 0)[0]") == str(writer)
        seen += _check_whole(store)
        wrote += tokens(store, "a") != (b"mine",)
        mine = b"mine"
        step(store.replace_tokens({"a": mine, "b": mine}, 60))
        assert tokens(store, "a", "b") == (mine, mine)
        assert step(store.write_page(slot(99), page(b"mine %d" % number), 60))
        assert body(store, 99) == b"mine %d" % number
        # The dead one's leases are free, long before their term.
        assert step(store.acquire(slot(number % 50), b"p" * 16, 60))
        step(store.release(slot(number % 50), b"p" * 16))
    assert wrote > 30
    assert seen > 1000
    store.close()


def _check_whole(store: LmdbStore) -> int:
    """Both tokens are of one write, and each page is of one."""
    one, other = tokens(store, "a", "b")
    assert one == other
    seen = 0
    for number in range(50):
        found = body(store, number)
        if found is not None:
            assert found == found[:8] * (len(found) // 8)
            seen += 1
    return seen


# Leases.


def test_a_killed_holder_loses_its_lease_and_one_that_hangs_keeps_it_for_its_term(
    start: Start, tmp_path: Path
) -> None:
    clock = [0.0]
    store = LmdbStore(
        tmp_path / "store", "16MiB", timeout=PATIENT, clock=lambda: time.monotonic() + clock[0]
    )
    first, second = start().ready(), start().ready()
    assert first.ask("step(store.acquire(slot(0), b'1' * 16, 60))") == "True"
    assert second.ask("step(store.acquire(slot(1), b'2' * 16, 60))") == "True"
    for number in (0, 1):
        assert not step(store.acquire(slot(number), b"3" * 16, 60))
    first.kill()
    assert step(store.acquire(slot(0), b"3" * 16, 60))
    second.signal(signal.SIGSTOP)
    clock[0] = 59.0
    assert not step(store.acquire(slot(1), b"3" * 16, 60))
    clock[0] = 61.0
    assert step(store.acquire(slot(1), b"3" * 16, 60))
    second.signal(signal.SIGCONT)
    assert second.ask("step(store.release(slot(1), b'2' * 16))") == "None"
    assert second.ask("step(store.acquire(slot(1), b'2' * 16, 60))") == "False"
    store.close()


def test_of_processes_that_ask_at_once_one_gets_the_lease(start: Start) -> None:
    workers = [start() for _ in range(3)]
    for worker in workers:
        worker.ready()
    for number in range(30):
        for each, worker in enumerate(workers):
            worker.say(f"step(store.acquire(slot({number}), b'{each}' * 16, 60))")
        assert sorted(worker.line() for worker in workers) == ["False", "False", "True"]


# Forks.


def _in_child(work: Callable[[], object]) -> str:
    """What the work returns in a child process."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = repr(work())
        except BaseException as error:
            said = f"{type(error).__name__} {error}"
        os.write(sender, said.encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, encoding="utf-8") as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


def test_a_child_has_an_environment_of_its_own(store: LmdbStore) -> None:
    step(store.add_tokens({"a": b"1"}, 60))
    assert store._environment is not None
    assert step(store.acquire(slot(0), b"o" * 16, 60))
    mine = store._environment.number
    locks = store._environment._locks

    def child() -> object:
        assert store._environment is not None
        assert store._environment._locks is not locks
        assert store._environment.number != mine
        assert tokens(store, "a") == (b"1",)
        step(store.replace_tokens({"a": b"2"}, 60))
        assert not step(store.acquire(slot(0), b"c" * 16, 60)), "the parent's lease"
        assert step(store.acquire(slot(1), b"c" * 16, 60))
        return tokens(store, "a")

    assert _in_child(child) == "(b'2',)"
    assert tokens(store, "a") == (b"2",)
    assert step(store.acquire(slot(1), b"o" * 16, 60)), "the child is dead"
    assert not step(store.acquire(slot(0), b"p" * 16, 60)), "the fork took no lease away"


def test_nothing_of_lmdb_is_open_while_a_process_forks(store: LmdbStore) -> None:
    """Otherwise a child gives back places of readers that its parent still uses."""
    step(store.add_tokens({"a": b"1"}, 60))
    names = ("data.mdb", "lock.mdb")

    def open_files() -> list[str]:
        found = []
        for link in Path("/proc/self/fd").iterdir():
            try:
                name = str(link.readlink())
            except OSError:
                continue
            found += [name] if name.endswith(names) else []
        return found

    assert len(open_files()) >= 2
    seen: list[int] = []
    os.register_at_fork(before=lambda: None)  # the store's own comes first and last
    before = store._environment
    assert before is not None
    real = before.before_fork

    def looked() -> None:
        real()
        seen.append(len(open_files()))

    before.before_fork = looked  # type: ignore[method-assign]
    assert _in_child(lambda: tokens(store, "a")) == "(b'1',)"
    assert seen == [0]
    assert tokens(store, "a") == (b"1",)


@pytest.mark.untraced
def test_forks_beside_busy_threads_harm_neither_side(store: LmdbStore) -> None:
    step(store.add_tokens({"a": b"1"}, 60))
    stop = threading.Event()
    wrong: list[BaseException] = []
    done = [0, 0]

    def read() -> None:
        while not stop.is_set():
            try:
                assert tokens(store, "a") == (b"1",)
                done[0] += 1
            except StoreError:
                pass  # while it forks
            except BaseException as error:
                wrong.append(error)

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                step(store.write_page(slot(number % 20), page(b"x" * 5000), 60))
                done[1] += 1
            except StoreError:
                pass
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for work in (read, read, write)]
    for thread in threads:
        thread.start()
    try:
        for number in range(20):
            step(store.replace_tokens({"b": b"%d" % number}, 60))
            mine = (b"1", b"%d" % number)
            assert _in_child(lambda: tokens(store, "a", "b")) == repr(mine)
            before = list(done)
            until = time.monotonic() + PATIENCE
            while not all(now > then for now, then in zip(done, before, strict=True)):
                assert time.monotonic() < until, "a thread of the parent came to no end"
                time.sleep(0.001)
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert wrong == []


def test_a_child_of_a_fork_in_the_middle_of_a_write_only_misses(
    store: LmdbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "SHUTTING_PATIENCE", 0.05)
    step(store.add_tokens({"a": b"1"}, 60))
    inside, done = threading.Event(), threading.Event()

    def write() -> None:
        assert store._environment is not None
        with store._environment.writing(time.monotonic() + PATIENCE):
            inside.set()
            done.wait(PATIENCE)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert inside.wait(PATIENCE)
        said = "StoreError this process was forked in the middle of a write"
        assert _in_child(lambda: tokens(store, "a")) == said
        assert _in_child(lambda: step(store.replace_tokens({"a": b"2"}, 60))) == said
    finally:
        done.set()
        thread.join(PATIENCE)
    assert tokens(store, "a") == (b"1",)
    step(store.replace_tokens({"a": b"3"}, 60))
    assert _in_child(lambda: tokens(store, "a")) == "(b'3',)"


def test_the_gate_is_between_processes_and_threads(store: LmdbStore, start: Start) -> None:
    worker = start(timeout=0.2).ready()
    assert store._environment is not None
    with store._environment.writing(time.monotonic() + PATIENCE):
        answer = worker.ask("step(store.replace_tokens({'a': b'1'}, 60))")
        assert answer == "StoreError another writer did not finish in time"
        locks = store._environment._locks
        assert locks is not None
        assert not store._environment.gate.lock.acquire(blocking=False)
    assert worker.ask("step(store.replace_tokens({'a': b'1'}, 60))") == "None"
    assert locks.take(WRITING, 0.0)
    locks.give(WRITING)
