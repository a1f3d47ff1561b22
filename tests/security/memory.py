"""Sites under a flood, and what they weigh: for the tests of bounds.

``python -m tests.security.memory '{"keys": 1000000, …}'`` runs :func:`flood` in a process of its
own and prints what it found: resident memory is clean in no process that did other things.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.testing.calling import environ
from pagegen.wsgi import PageCacheMiddleware

ROOT: Final = Path(__file__).resolve().parents[2]
#: Seconds for a process that floods; by hand it may take an hour.
LONGEST: Final = 7200.0
_RULES: Final = (
    Rule(path="/flood/{n}", share="public", ttl="1h", namespaces=["flood:{n}"]),
    Rule(path="/hot/{n}", share="public", ttl="1h", namespaces=["hot:{n}"]),
)


@dataclass(frozen=True, slots=True)
class Flood:
    """A flood of ``keys`` pages of ``body`` bytes, each asked for ``times`` times, ``ratio`` such
    requests for each of a user; users want one of ``hot`` pages. ``pad`` lengthens the flood's
    paths. ``limit``: bytes of data that the process may have beside what it begins with, 0 for any.
    """

    keys: int
    store: str = "memory://?size=16MiB"
    near: str = ""
    times: int = 1
    ratio: float = 1.0
    hot: int = 200
    body: int = 4_000
    pad: int = 20
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """``kept``: the users' part of hits. ``grown``: bytes by which the process grew, from when it
    was empty; ``counts``: the cache's statistics.
    """

    kept: float
    grown: int
    counts: dict[str, int]


class Site:
    """A cache before an application whose pages all differ, driven as a WSGI server does."""

    def __init__(self, body: int, rules: Iterable[Rule] = _RULES, **settings: Any) -> None:
        self.cache = PageCache(rules, **settings)
        self.renders = 0
        self._body = body
        self._base = environ("GET", "/")
        self._front = PageCacheMiddleware(self._app, cache=self.cache)

    def _app(self, _made: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.renders += 1
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"%020d" % self.renders + bytes(self._body)]

    def get(self, path: str, **more: str) -> bytes:
        """The page of a path."""
        response = self._front(
            {**self._base, "PATH_INFO": path, "RAW_URI": path, **more}, lambda *_: lambda _: None
        )
        page = b"".join(response)
        getattr(response, "close", lambda: None)()
        return page


def resident() -> int:
    """Bytes of this process in memory, mapped files apart: those are the kernel's to take back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _said("RssAnon")


def run(flood: Flood) -> Found:
    """Flood a site in this process."""
    site = Site(flood.body, store=flood.store, **({"near": flood.near} if flood.near else {}))
    site.get("/flood/first")  # makes whatever is made only once
    before = resident()
    if flood.limit:
        data = _said("VmData") + flood.limit
        resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    chance = random.Random(7)
    for _ in range(4):
        for number in range(flood.hot):
            site.get(f"/hot/{number}")
    users = hits = 0
    for number in range(flood.keys * flood.times):
        site.get(f"/flood/{number // flood.times:0{flood.pad}}")
        while users < (number + 1) / flood.ratio:
            users, renders = users + 1, site.renders
            site.get(f"/hot/{chance.randrange(flood.hot)}")
            hits += site.renders == renders
    return Found(hits / users, resident() - before, dict(site.cache.statistics()))


def _said(name: str) -> int:
    """Bytes that Linux says of this process under a name; ``VmData`` counts for ``RLIMIT_DATA``."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


async def becomes(true: Callable[[], bool]) -> None:
    """Let all tasks of the loop go on until something is true; fails when it never is."""
    for _ in range(1_000_000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never became so")


def flood(keys: int, **more: Any) -> Found:
    """Run a :class:`Flood` in a process of its own; raises when it does not end well."""
    command = [sys.executable, "-m", "tests.security.memory", json.dumps({"keys": keys, **more})]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=LONGEST)
    if done.returncode:
        raise AssertionError(done.stderr.decode())
    return Found(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(run(Flood(**json.loads(sys.argv[1]))))))
