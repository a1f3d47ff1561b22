"""Workers killed in the middle of whatever they do: the others go on, and nothing is left over."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic, sleep

import pytest

from pagegen.errors import StoreError
from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores.base import Store
from pagegen.testing.check.faults import kill_one
from pagegen.testing.check.sample.site import open_cache
from pagegen.testing.check.wire import PATIENCE
from pagegen.testing.check.workers import serving
from tests.coherence.backends import SECONDS, Kind, shared
from tests.coherence.storms import check, recovers, storm
from tests.coherence.test_coherent import STORES

KILLS = 60
#: Seconds between two kills at the storm's worst.
PAUSE = 0.1
#: Processes that are killed at one time, and the seconds for which each holds a lease.
TOGETHER = 10
TERM = 3.0

pytestmark = pytest.mark.timeout(SECONDS + 120)


def test_sixty_killed_workers_leave_nothing_old_and_nothing_torn(tmp_path: Path) -> None:
    random = Random(0)
    with (
        shared("lmdb", tmp_path) as store,
        # Forked from a main process that has opened the store: quick, and the hardest case.
        serving("gunicorn", tmp_path, store, options=("--preload",)) as served,
    ):
        with storm(served.port, writes=0.3, breaks=True) as seen:
            for _ in range(KILLS):
                sleep(PAUSE * random.random())
                kill_one(served, random)
        check(seen)
        recovers(served)


def page(slot: bytes, turn: int) -> StoredResponse:
    """A page whose body, if it is whole, is one byte many times."""
    body = bytes((turn % 256,)) * 600_000
    return StoredResponse(
        slot, ("ns",), (b"t" * 16,), 200, "200 OK", body, None, None, 0.0, 0.0, 1e12, 0.0,
        (("Content-Type", "text/plain"),), ((b"content-type", b"text/plain"),), (), (),
    )  # fmt: skip


def slots_of(number: int) -> tuple[bytes, bytes]:
    """A slot to lease and one to write."""
    return b"lease" + number.to_bytes(15, "big"), b"write" + (number % 7).to_bytes(15, "big")


def lend(store: Store, slot: bytes) -> bool:
    """Take a lease; False when somebody has it, or when the store is too busy to say."""
    with suppress(Exception):
        taken: bool = step(store.acquire(slot, os.urandom(16), TERM))  # type: ignore[attr-defined]
        return taken
    return False


def busy_until_killed(store: Store, number: int, told: int) -> None:
    """Take a lease, tell so, and write pages for ever. Gives up where no lease is to be had."""
    leased, written = slots_of(number)
    until = monotonic() + PATIENCE
    while not lend(store, leased) and monotonic() < until:
        sleep(0.001)
    if monotonic() >= until:
        return
    os.write(told, b".")
    turn = 0
    while True:
        turn += 1
        with suppress(Exception):
            step(store.write_page(written, page(written, turn), 60.0))


def kill_some(store: Store, numbers: range, random: Random) -> None:
    """Start processes, and kill each at any moment after it has got its lease."""
    reading, told = os.pipe()
    children = []
    try:
        for number in numbers:
            if (child := os.fork()) == 0:
                try:
                    busy_until_killed(store, number, told)
                finally:
                    os._exit(1)
            children.append(child)
        os.close(told)
        for _ in children:
            assert os.read(reading, 1) == b".", "a process could not do its work"
    finally:
        for child, number in zip(children, numbers, strict=False):
            sleep(0.01 * random.random())
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            with suppress(StoreError):
                look(store, number)
        os.close(reading)


def look(store: Store, number: int) -> bool:
    """Whether the page of a process is there; it must be whole."""
    found = step(store.read(slots_of(number)[1], ())).page
    assert found is None or len(set(found.body)) == 1, "a page in two parts"
    return found is not None


@pytest.mark.parametrize("kind", STORES)
def test_sixty_killed_writers_leave_whole_pages_and_leases_that_lapse(
    kind: Kind, tmp_path: Path
) -> None:
    random = Random(0)
    with shared(kind, tmp_path) as url:
        store = open_cache(url).engine.store
        for first in range(0, KILLS, TOGETHER):
            kill_some(store, range(first, first + TOGETHER), random)
        killed = monotonic()
        assert sum(look(store, number) for number in range(7))
        waiting = {slots_of(number)[0] for number in range(KILLS)}
        while waiting and monotonic() < killed + TERM + 2.0:
            waiting -= {slot for slot in waiting if lend(store, slot)}
            sleep(0.02)
        assert not waiting, f"{len(waiting)} leases outlived their term"
        store.close()
