"""The contract on real memcached servers: one and three, both clients, TCP and unix sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pagegen.stores.base import Store
from pagegen.stores.memcached import MemcachedStore
from pagegen.stores.memcached.store import Which
from pagegen.testing import StoreContract
from tests.stores.servers import Memcached, several

#: Seconds: promises are tested here, not speed.
PATIENT = 5.0


class OnMemcached(StoreContract):
    client: Which = "native"
    servers: list[Memcached]

    def open(self) -> Store:
        return MemcachedStore(
            [server.address for server in self.servers],
            timeout=PATIENT,
            client=self.client,
            site="contract",
        )


@pytest.fixture(scope="module")
def three() -> Iterator[list[Memcached]]:
    with several(3) as servers:
        yield servers


@pytest.fixture(scope="module")
def unix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Memcached]]:
    with Memcached(path=tmp_path_factory.mktemp("mc") / "s") as server:
        yield [server]


class TestOneServer(OnMemcached):
    @pytest.fixture(autouse=True)
    def _servers(self, shared_memcached: Memcached) -> None:
        self.servers = [shared_memcached]


class TestUnixSocketOnALoop(OnMemcached):
    on_loop = True

    @pytest.fixture(autouse=True)
    def _servers(self, unix: list[Memcached]) -> None:
        self.servers = unix


class TestThreeServersOnALoop(OnMemcached):
    on_loop = True

    @pytest.fixture(autouse=True)
    def _servers(self, three: list[Memcached]) -> None:
        self.servers = three


class TestThreeServersInThreads(TestThreeServersOnALoop):
    client = "threads"
