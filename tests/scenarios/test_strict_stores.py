"""Two strict writers that overlap, with readers between their steps: real stores, both fronts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest

from pagegen import PageCache, Rule
from pagegen.stores import Store
from pagegen.stores.lmdb import LmdbStore
from pagegen.stores.memcached import MemcachedStore
from pagegen.stores.redis import RedisStore
from pagegen.testing import PATIENCE, Scenario, Seen
from pagegen.testing.scenario import Front
from tests.stores.redis_servers import RedisServer
from tests.stores.servers import Memcached

Opens = Callable[[], Store]
PAGE = Rule(path="/page", share="public", namespaces=["a", "b"], ttl="1h", early=False, strict=True)
#: Seconds that a verb may take here: promises are tested, not speed.
SLOW = 5.0


@pytest.fixture(scope="module", params=["lmdb", "redis", "memcached"])
def opens(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opens]:
    with ExitStack() as servers:
        if request.param == "lmdb":
            path: Path = tmp_path_factory.mktemp("strict")
            yield lambda: LmdbStore(path, size="16MiB", timeout=SLOW)
        elif request.param == "redis":
            redis = servers.enter_context(RedisServer())
            yield lambda: RedisStore(redis.url, timeout=SLOW)
        else:
            memcached = servers.enter_context(Memcached())
            yield lambda: MemcachedStore([memcached.address], timeout=SLOW)


#: Moments at which readers look: before both commits, between them, behind the first one's end,
#: behind the second commit.
MOMENTS = 4


class Writers:
    """Two blocks that overlap: both begin, ``a`` commits and ends, ``b`` commits and ends."""

    def __init__(self, rows: dict[str, int]) -> None:
        self.rows = rows
        self.both = Barrier(2)
        self.looks = Barrier(3)

    def write(self, cache: PageCache, row: str) -> bool | None:
        """The block of one of them; whether it was strict."""
        with cache.writing("a", "b", term=60) as block:
            self.both.wait(PATIENCE)
            self.look(1)
            if row == "a":
                self.rows[row] = 1
            self.look(1)
            if row == "b":
                self.both.wait(PATIENCE)  # the other block has ended
                self.look(1)
                self.rows[row] = 1
                self.look(1)
        if row == "a":
            self.both.wait(PATIENCE)
            self.look(2)
        return block.kept

    def look(self, times: int) -> None:
        """Let readers look, and go on when they have."""
        for _ in range(2 * times):
            self.looks.wait(PATIENCE)


def test_two_writers_overlap_and_readers_come_between(front: Front, opens: Opens) -> None:
    rows = {"a": 0, "b": 0}
    writers = Writers(rows)

    def handler(seen: Seen) -> str:
        return f"{rows['a']}{rows['b']}"

    with ExitStack() as closing, ThreadPoolExecutor(2) as pool:
        stage = closing.enter_context(Scenario(front, [PAGE], store=opens(), max_delay="10s"))
        stage.handler = handler
        caches = [PageCache([PAGE], store=opens()) for _ in rows]
        for cache in caches:
            closing.callback(cache.close)
        stage.get("/page")
        assert stage.get("/page").trace == "hit"
        ends = [pool.submit(writers.write, *each) for each in zip(caches, rows, strict=True)]
        seen = []
        for _ in range(MOMENTS):
            writers.looks.wait(PATIENCE)
            answers = [stage.get("/page") for _ in range(2)]
            assert [answer.trace for answer in answers] == ["writing", "writing"]
            seen += [answer.text for answer in answers]
            writers.looks.wait(PATIENCE)
        assert seen == ["00", "00", "10", "10", "10", "10", "11", "11"]
        assert [end.result(PATIENCE) for end in ends] == [True, True]
        assert [stage.get("/page").text for _ in range(2)] == ["11", "11"]
        assert stage.get("/page").trace == "hit"
