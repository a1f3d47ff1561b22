"""Four workers: no page is older than a write acknowledged before the page was asked for.

Faults of workers and of the network are in :mod:`tests.testing.test_check_storms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import sleep

import pytest

from pagegen.testing.check import Promise
from pagegen.testing.check.faults import of_directory
from pagegen.testing.check.workers import WORKERS, Server, serving
from tests.coherence.backends import FULL, SECONDS, Kind, backend, shared
from tests.coherence.storms import check, storm, weather
from tests.coherence.troubles import of_server

pytestmark = pytest.mark.timeout(4 * SECONDS + 120)

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


@pytest.mark.parametrize(
    ("mistake", "server", "promise"),
    [
        ("early", "gunicorn", Promise.RESURRECTION),
        ("early", "uvicorn", Promise.OWN_WRITES),
        ("forgets", "gunicorn", Promise.OWN_WRITES),
        ("forgets", "uvicorn", Promise.GROUPS),
        ("dict", "gunicorn", Promise.RESURRECTION),
        ("mixed", "uvicorn", Promise.ISOLATION),
        ("lag", "gunicorn", Promise.RESURRECTION),
        ("strips", "uvicorn", Promise.OWN_WRITES),
    ],
)
def test_an_application_that_is_wrong_is_found_out(
    mistake: str, server: Server, promise: Promise, tmp_path: Path
) -> None:
    workers = 2 if mistake == "dict" else 1
    with (
        shared("lmdb", tmp_path) as store,
        serving(server, tmp_path, store, mistake=mistake, workers=workers) as served,
        storm(served.port) as seen,
    ):
        seen.notice(promise)
    assert seen[promise]
    assert not seen[Promise.ANSWERS]
    assert not seen[Promise.TRANSPARENT]
    assert seen[Promise.ISOLATION] == (mistake == "mixed")
    if mistake in ("lag", "strips"):
        assert not seen[Promise.GROUPS]
        assert seen.of_pages(promise) <= {"lagging" if mistake == "lag" else "soft"}


@pytest.mark.alone
@every(
    [
        ("lmdb", NEAR, "uvicorn"),
        ("memcached", NEAR, "gunicorn"),
        ("redis", "", "gunicorn"),
    ]
)
def test_no_page_is_old(kind: Kind, near: str, server: Server, tmp_path: Path) -> None:
    with (
        shared(kind, tmp_path) as store,
        serving(server, tmp_path, store, near=near) as served,
    ):
        with storm(served.port) as seen:
            sleep(SECONDS)
        check(seen)
        assert len(seen.workers) > WORKERS / 2
        assert seen.judge.counts["hits"] > seen.judge.counts["forwards"]
        assert seen.judge.counts["spared"], "no page was old that may be"


@every([("memcached", "", "uvicorn"), ("redis", NEAR, "gunicorn")], STORES[1:])
def test_no_page_is_old_while_the_server_is_stopped_and_killed(
    kind: Kind, near: str, server: Server, tmp_path: Path
) -> None:
    with (
        backend(kind) as there,
        serving(server, tmp_path, there.url(), near=near) as served,
    ):
        weather(served, of_server(there))


@every([("lmdb", NEAR, "gunicorn")], STORES[:1])
def test_no_page_is_old_while_somebody_clears_the_directory(
    kind: Kind, near: str, server: Server, tmp_path: Path
) -> None:
    with (
        shared(kind, tmp_path) as store,
        serving(server, tmp_path, store, near=near) as served,
    ):
        weather(served, of_directory(tmp_path / "pages", served))
