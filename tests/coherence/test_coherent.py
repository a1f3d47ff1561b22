"""Four workers: no page is older than a write acknowledged before the page was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.coherence.backends import FULL, SECONDS, Kind, backend, shared
from tests.coherence.load import PATIENCE, Client, Tally, storm
from tests.coherence.proxy import proxied
from tests.coherence.troubles import Trouble, have, of_directory, of_network, of_server, of_workers
from tests.coherence.workers import WORKERS, Server, Workers, serving

pytestmark = pytest.mark.timeout(4 * SECONDS + 120)

#: Seconds in which a mistake must have been noticed.
NOTICED = 1.5
STORES: Sequence[Kind] = ("lmdb", "memcached", "redis")
SERVERS: Sequence[Server] = ("gunicorn", "uvicorn")
NEAR = "16MiB"


def every(
    covering: Sequence[tuple[Kind, str, Server]], stores: Sequence[Kind] = STORES
) -> pytest.MarkDecorator:
    """All combinations when there is time, and otherwise those that cover each value."""
    whole = [(kind, near, server) for kind in stores for near in ("", NEAR) for server in SERVERS]
    chosen = whole if FULL else covering
    names = [f"{kind}{'-near' if near else ''}-{server}" for kind, near, server in chosen]
    return pytest.mark.parametrize(("kind", "near", "server"), chosen, ids=names)


def check(tally: Tally, *, lost: bool = False) -> None:
    """What must hold whatever happened: nothing old, nothing wrong, nothing lost."""
    print(tally)
    stale = tally.history.stale()
    assert not stale, f"{len(stale)} old pages, such as\n" + "\n".join(map(str, stale[:5]))
    assert not tally.wrong, "\n".join(tally.wrong[:5])
    assert lost or not tally.counts["lost"]
    # A history without hits or writes would be good, too.
    assert tally.counts["hits"] > 50
    assert tally.counts["writes"] > 10


def _lately(tally: Tally) -> str:
    """What each worker answered to the latest reads."""
    told = Counter((read.worker, read.how) for read in tally.history.reads[-200:])
    return ", ".join(f"{worker}: {how} {count}" for (worker, how), count in told.most_common())


def recovers(served: Workers) -> None:
    """Writes are acknowledged and pages are hits again soon after all trouble is over."""
    client = Client(served.port, 1)
    until = monotonic() + PATIENCE
    try:
        in_a_row = 0
        while in_a_row < 4 * WORKERS:
            assert monotonic() < until, f"no recovery: {client.tally}; {_lately(client.tally)}"
            written = client.write(0)
            client.read("/items/0")
            well = written and client.read("/items/0").startswith("hit")
            in_a_row = in_a_row + 1 if well else 0
    finally:
        client.close()
    assert not client.tally.wrong, client.tally.wrong


def weather(served: Workers, troubles: Sequence[Trouble]) -> None:
    """A storm with troubles in it, checked, and a recovery."""
    with storm(served.port) as tally:
        happened = have(troubles, SECONDS)
    print(happened)
    check(tally)
    recovers(served)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("mistake", ["invalidates before the commit", "forgets to invalidate"])
def test_an_application_that_is_wrong_is_found_out(
    server: Server, mistake: str, tmp_path: Path
) -> None:
    with (
        serving(server, tmp_path, "memory://", mistake=mistake, workers=1) as served,
        storm(served.port) as tally,
    ):
        sleep(NOTICED)
    assert tally.history.stale()
    assert not tally.wrong


@every(
    [
        ("lmdb", "", "gunicorn"),
        ("lmdb", NEAR, "uvicorn"),
        ("memcached", NEAR, "gunicorn"),
        ("memcached", "", "uvicorn"),
        ("redis", "", "gunicorn"),
        ("redis", NEAR, "uvicorn"),
    ]
)
def test_no_page_is_old(kind: Kind, near: str, server: Server, tmp_path: Path) -> None:
    with (
        shared(kind, tmp_path) as store,
        serving(server, tmp_path, store, near=near) as served,
    ):
        with storm(served.port) as tally:
            sleep(SECONDS)
        check(tally)
        assert len(tally.workers) > WORKERS / 2
        assert tally.counts["hits"] > tally.counts["forwards"]


@every([("memcached", "", "uvicorn"), ("redis", NEAR, "gunicorn")], STORES[1:])
def test_no_page_is_old_while_the_server_is_stopped_and_killed(
    kind: Kind, near: str, server: Server, tmp_path: Path
) -> None:
    with (
        backend(kind) as there,
        serving(server, tmp_path, there.url(), near=near) as served,
    ):
        weather(served, of_server(there))


@every([("memcached", NEAR, "gunicorn"), ("redis", "", "uvicorn")], STORES[1:])
def test_no_page_is_old_while_the_network_fails(
    kind: Kind, near: str, server: Server, tmp_path: Path
) -> None:
    with (
        backend(kind) as there,
        proxied(there.server.port) as proxy,
        serving(server, tmp_path, there.url(proxy.port), near=near) as served,
    ):
        weather(served, of_network(proxy))


@every([("lmdb", "", "uvicorn")])
def test_no_page_is_old_while_workers_are_stopped(
    kind: Kind, near: str, server: Server, tmp_path: Path
) -> None:
    with (
        shared(kind, tmp_path) as store,
        serving(server, tmp_path, store, near=near) as served,
    ):
        weather(served, of_workers(served))


@every([("lmdb", NEAR, "gunicorn")], STORES[:1])
def test_no_page_is_old_while_somebody_clears_the_directory(
    kind: Kind, near: str, server: Server, tmp_path: Path
) -> None:
    with (
        shared(kind, tmp_path) as store,
        serving(server, tmp_path, store, near=near) as served,
    ):
        weather(served, of_directory(tmp_path / "pages", served))
