"""The contract on a real Redis server, on both faces, over TCP and over a unix socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pagegen.stores.base import Store
from pagegen.stores.redis import RedisStore
from pagegen.testing import StoreContract
from tests.stores.redis_faces import AMPLE
from tests.stores.redis_servers import RedisServer


class TestRedis(StoreContract):
    short_ttl = 0.3
    server: RedisServer

    @pytest.fixture(autouse=True)
    def _server(self, shared_redis: RedisServer) -> None:
        self.server = shared_redis

    def open(self) -> Store:
        return RedisStore(self.server.url, timeout=AMPLE, site="contract", site_key="key")


class TestRedisOnALoop(TestRedis):
    on_loop = True


@pytest.fixture(scope="module")
def unix() -> Iterator[RedisServer]:
    with RedisServer(unix=True) as server:
        yield server


class TestRedisOnAUnixSocket(TestRedis):
    @pytest.fixture(autouse=True)
    def _server(self, unix: RedisServer) -> None:
        self.server = unix
