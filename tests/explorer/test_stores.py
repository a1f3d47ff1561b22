"""The same worlds on real stores, some seeds each.

Names of slots and tokens are new in each run, because each has a site of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from pagegen.stores import Store
from pagegen.stores.lmdb import LmdbStore
from pagegen.stores.memcached import MemcachedStore
from pagegen.stores.redis import RedisStore
from pagegen.testing.explorer import PROMISES, World, explore_randomly
from tests.explorer import strict, troubles, worlds
from tests.stores.redis_servers import RedisServer
from tests.stores.servers import Memcached

Build = Callable[[World], object]
Opens = Callable[[World], Store]

#: Worlds that maltreat nobody's memory, and need no time of the store's to pass.
FIT = (
    worlds.plain, worlds.machines, worlds.two_namespaces, worlds.late_namespaces,
    worlds.variants, worlds.validation, troubles.crash, troubles.partition, worlds.posting,
    worlds.leases_and_writer, worlds.soft, strict.strict_writers,
)  # fmt: skip
#: Seconds that a verb may take here: promises are tested, not speed.
PATIENCE = 5.0


def on(opens: Opens, build: Build) -> Build:
    """A world on another store."""

    def built(world: World) -> None:
        world.store(opens(world))
        build(world)

    built.__name__ = build.__name__
    return built


@pytest.fixture(scope="module")
def lmdb(tmp_path_factory: pytest.TempPathFactory) -> Opens:
    path: Path = tmp_path_factory.mktemp("explorer")
    runs = count()
    return lambda world: LmdbStore(path, site=f"run{next(runs)}", now=world.wall, timeout=PATIENCE)


@pytest.fixture(scope="module")
def redis() -> Iterator[Opens]:
    opened: list[RedisStore] = []
    runs = count()

    def opens(_world: World) -> Store:
        for store in opened:
            store.close()
        opened[:] = [RedisStore(server.url, site=f"run{next(runs)}", timeout=PATIENCE)]
        return opened[0]

    with RedisServer() as server:
        yield opens
        for store in opened:
            store.close()


@pytest.fixture(scope="module")
def memcached() -> Iterator[Opens]:
    opened: list[MemcachedStore] = []
    runs = count()

    def opens(_world: World) -> Store:
        for store in opened:
            store.close()
        opened[:] = [MemcachedStore([server.address], site=f"run{next(runs)}", timeout=PATIENCE)]
        return opened[0]

    with Memcached() as server:
        yield opens
        for store in opened:
            store.close()


@pytest.mark.parametrize("build", FIT, ids=lambda build: build.__name__)
@pytest.mark.parametrize(("store", "schedules"), [("lmdb", 200), ("redis", 60), ("memcached", 60)])
def test_no_random_schedule_on_a_real_store_breaks_a_promise(
    build: Build, store: str, schedules: int, request: pytest.FixtureRequest
) -> None:
    opens: Opens = request.getfixturevalue(store)
    answers: Counter[str] = Counter()

    def seen(world: World) -> None:
        answers.update(str(visit.how) for visit in world.history.visits)

    promises = (*PROMISES, seen)
    report = explore_randomly(on(opens, build), schedules=schedules, seed=100, promises=promises)
    assert report.found is None, report.found
    assert report.schedules == schedules
    # Pages come back from this store: nothing would be shown by one that keeps none.
    assert answers["hit"] + answers["validated"] > schedules / 2
