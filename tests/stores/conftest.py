"""Servers for the tests of shared stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stores.redis_servers import RedisServer
from tests.stores.servers import Memcached, several


@pytest.fixture
def memcached() -> Iterator[Memcached]:
    """One memcached server, for tests that maltreat it."""
    with Memcached() as server:
        yield server


@pytest.fixture
def memcacheds() -> Iterator[list[Memcached]]:
    """Three memcached servers of a ring."""
    with several(3) as servers:
        yield servers


@pytest.fixture(scope="module")
def shared_memcached() -> Iterator[Memcached]:
    """One memcached server for all tests of a module, none of which maltreats it."""
    with Memcached() as server:
        yield server


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """One Redis server, for tests that maltreat it."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[RedisServer]:
    """One Redis server for all tests of a module, none of which maltreats it."""
    with RedisServer() as server:
        yield server
