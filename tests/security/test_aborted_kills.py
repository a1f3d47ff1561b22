"""A worker that is killed in the middle of a page leaves a whole one or none, and nobody waits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pagegen import PageCache, Rule
from pagegen.stores.lmdb import LmdbStore
from pagegen.testing.calling import call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware
from tests.processes import PATIENCE

BODY = b"0123456789" * 1_000
PIECE = 1_000
PAGE = Rule(path="/a", share="public", ttl=60)

pytestmark = pytest.mark.untraced

Deadly = Callable[[], None]


def die() -> NoReturn:
    """As by ``kill -9``: no ``finally`` runs, no buffer is written."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


class Mortal(LmdbStore):
    """A store whose process dies before or behind one of its verbs."""

    deadly = ""

    async def write_page(self, *arguments: Any) -> bool:
        """See ``Store``."""
        if self.deadly == "before the page is written":
            die()
        kept = await super().write_page(*arguments)
        if self.deadly == "when the page is written":
            die()
        return kept

    async def add_tokens(self, *arguments: Any) -> Any:
        """See ``Store``."""
        if self.deadly == "before the tokens are there":
            die()
        added = await super().add_tokens(*arguments)
        if self.deadly == "when the tokens are there":
            die()
        return added


def application(deadly: str) -> Any:
    """It streams its page, and dies where it is told to."""

    def app(made: Any, start_response: Any) -> Iterable[bytes]:
        if deadly == "before the head":
            die()
        start_response("200 OK", [("Content-Type", "text/plain")])
        for number in range(0, len(BODY), PIECE):
            if deadly == f"at byte {number}":
                die()
            yield BODY[number : number + PIECE]
        if deadly == "behind the last byte":
            die()

    return app


def worker(folder: Path, deadly: str) -> None:
    """One process of a server, for one request."""
    store = Mortal(str(folder), "16MiB")
    store.deadly = deadly
    cache = PageCache([PAGE], store=store)
    answer = call_wsgi(PageCacheMiddleware(application(deadly), cache=cache), environ("GET", "/a"))
    if deadly == "when the client has all" and answer.body == BODY:
        die()


def killed(folder: Path, deadly: str) -> None:
    """Run a worker in a process of its own, which must not come to its end."""
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(int(PATIENCE))
            worker(folder, deadly)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), deadly
    assert os.WTERMSIG(status) == signal.SIGKILL, deadly


BEFORE = [
    "before the tokens are there", "when the tokens are there", "before the head",
    *(f"at byte {number}" for number in range(0, len(BODY), PIECE)), "behind the last byte",
    "before the page is written",
]  # fmt: skip
AFTER = ["when the page is written", "when the client has all"]


@pytest.mark.parametrize("deadly", [*BEFORE, *AFTER])
def test_a_killed_worker_leaves_a_whole_page_or_none(tmp_path: Path, deadly: str) -> None:
    killed(tmp_path / "pages", deadly)
    store = LmdbStore(str(tmp_path / "pages"), "16MiB")
    cache = PageCache([PAGE], store=store, cache_status=True, max_wait=PATIENCE)
    try:
        visit = PageCacheMiddleware(application(""), cache=cache)
        answers = [call_wsgi(visit, environ("GET", "/a")) for _ in range(2)]
    finally:
        cache.close()
    assert [answer.body for answer in answers] == [BODY] * 2
    # One that streams has left with its head before it was stored.
    first = "hit" if deadly in AFTER else "uri-miss"
    assert [answer.trace for answer in answers] == [first, "hit"]
