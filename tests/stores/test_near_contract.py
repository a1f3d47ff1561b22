"""The contract of a near store in front of each real store, on both faces."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagegen.stores import NearStore, Store
from pagegen.stores.lmdb import LmdbStore
from pagegen.stores.memcached import MemcachedStore
from pagegen.stores.redis import RedisStore
from pagegen.testing import StoreContract
from tests.stores.redis_servers import RedisServer
from tests.stores.servers import Memcached

#: Seconds: promises are tested here, not speed.
PATIENT = 5.0
SIZE = 32 * 2**20


class TestNearLmdb(StoreContract):
    short_ttl = 0.5

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.place = tmp_path / "store"

    def open(self) -> Store:
        return NearStore(LmdbStore(self.place, "32MiB", timeout=PATIENT), SIZE)


class TestNearLmdbOnALoop(TestNearLmdb):
    on_loop = True


class TestNearMemcached(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, shared_memcached: Memcached) -> None:
        self.server = shared_memcached

    def open(self) -> Store:
        behind = MemcachedStore([self.server.address], timeout=PATIENT, site="near contract")
        return NearStore(behind, SIZE)


class TestNearMemcachedOnALoop(TestNearMemcached):
    on_loop = True


class TestNearRedis(StoreContract):
    short_ttl = 0.3

    @pytest.fixture(autouse=True)
    def _server(self, shared_redis: RedisServer) -> None:
        self.server = shared_redis

    def open(self) -> Store:
        behind = RedisStore(self.server.url, timeout=PATIENT, site="near contract")
        return NearStore(behind, SIZE)


class TestNearRedisOnALoop(TestNearRedis):
    on_loop = True
