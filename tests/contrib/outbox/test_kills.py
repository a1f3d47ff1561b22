"""Workers that are killed between their commit and their invalidation: nothing stays old."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pagegen import PageCache
from pagegen.contrib.outbox import Sweeper
from pagegen.testing.calling import call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware
from tests.contrib.outbox.databases import Place, make
from tests.databases import Postgresql
from tests.stores.redis_servers import RedisServer

KILLS = 50
WAYS = ("plain", "by_hand", "session", "asynchronous", "core", "django")
ROOT = Path(__file__).resolve().parents[3]
CONFIG = """
[pagegen]
store = "{store}?timeout=9s"
max_delay = "10s"
site_key = "a key of these tests"
[[rule]]
path = "/items/{{id:int}}"
share = "public"
namespaces = ["item:{{id}}"]
ttl = "1h"
"""


class Site:
    """Real pages, in this process, and workers that write, in others."""

    def __init__(self, place: Place, config: Path) -> None:
        self.place = place
        self.config = config
        self.renders = 0
        self.cache = PageCache.from_toml(config)
        self._app = PageCacheMiddleware(self._handler, cache=self.cache)
        self._workers = subprocess.Popen(
            [sys.executable, "-m", "tests.contrib.outbox.workers",
             json.dumps(asdict(place)), str(config)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _handler(self, environ: Any, start_response: Any) -> list[bytes]:
        self.renders += 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [self.place.read(int(environ["PATH_INFO"].rpartition("/")[2])).encode()]

    def get(self, item: int) -> str:
        return call_wsgi(self._app, environ("GET", f"/items/{item}")).body.decode()

    def kill(self, way: str, stop: str, item: int, after: int = 0) -> None:
        """Have a worker write, and kill it where it stands."""
        child = self._ask(way=way, stop=stop, item=item, after=after)
        assert child, "the worker did not come to where it is to be killed"
        os.kill(child, signal.SIGKILL)
        assert self._line() == -signal.SIGKILL

    def run(self, way: str, item: int) -> None:
        """Have a worker write, and live."""
        assert self._ask(way=way, stop="never", item=item) == 0
        assert self._line() == 0

    def _ask(self, **wanted: object) -> int:
        assert self._workers.stdin
        self._workers.stdin.write(json.dumps(wanted) + "\n")
        self._workers.stdin.flush()
        return self._line()

    def _line(self) -> int:
        assert self._workers.stdout
        return int(self._workers.stdout.readline())

    def sweeper(self, **options: Any) -> Sweeper:
        return Sweeper(self.cache, self.place.sync_url, **{"grace": 0, **options})

    def close(self) -> None:
        self._workers.communicate(timeout=30)
        self.cache.close()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["sqlite-lmdb", "postgresql-redis"])
def site(
    request: pytest.FixtureRequest, tmp_path: Path, postgresql: Postgresql, redis: RedisServer
) -> Iterator[Site]:
    database, store = request.param.split("-")
    config = tmp_path / "pagegen.toml"
    # A database of its own for each test on the same server.
    number = getattr(redis, "databases", 0)
    redis.databases = number + 1  # type: ignore[attr-defined]
    url = redis.url.removesuffix("/0") + f"/{number}"
    config.write_text(CONFIG.format(store="lmdb://pages" if store == "lmdb" else url))
    made = Site(make(database, tmp_path, postgresql), config)
    yield made
    made.close()


def test_fifty_workers_killed_between_commit_and_invalidation_leave_no_old_page(site: Site) -> None:
    assert {site.get(item) for item in range(KILLS)} == {"old"}
    for item in range(KILLS):
        site.kill(WAYS[item % len(WAYS)], "committed", item)
        assert site.place.read(item) == "new"
    # Without the sweep they stay, each until it expires: this is what the outbox is for.
    assert {site.get(item) for item in range(KILLS)} == {"old"}
    assert (site.renders, site.place.rows()) == (KILLS, KILLS)
    swept = site.sweeper(batch=20).sweep()
    assert (swept.applied, swept.names, swept.waiting) == (KILLS, KILLS, 0)
    assert {site.get(item) for item in range(KILLS)} == {"new"}


def test_workers_killed_between_invalidation_and_deletion_leave_a_row_and_no_old_page(
    site: Site,
) -> None:
    for item, way in enumerate(WAYS):
        assert site.get(item) == "old"
        site.kill(way, "applied", item)
        assert site.get(item) == "new"
    assert site.place.rows() == len(WAYS)
    assert site.sweeper().sweep().applied == len(WAYS)
    assert {site.get(item) for item in range(len(WAYS))} == {"new"}
    assert site.place.rows() == 0


def test_workers_that_live_leave_nothing(site: Site) -> None:
    for item, way in enumerate(WAYS):
        assert site.get(item) == "old"
        site.run(way, item)
        assert site.get(item) == "new"
    assert site.place.rows() == 0


@pytest.mark.parametrize("stop", ["committed", "applied"])
def test_a_sweeper_killed_in_its_middle_leaves_the_rest_to_the_next(site: Site, stop: str) -> None:
    for item in range(12):
        assert site.get(item) == "old"
        site.kill("plain", "committed", item)
    site.kill("sweep", stop, 3, after=2)  # in its third batch of three
    assert site.place.rows() == 6
    sweeper = site.sweeper()
    for _ in range(1000):  # its locks end when the server has noticed that it is gone
        if not sweeper.sweep().waiting:
            break
    assert site.place.rows() == 0
    assert {site.get(item) for item in range(12)} == {"new"}
