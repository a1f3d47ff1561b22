"""What both faces of the sample application have in common: items with versions in SQLite.

===================================  ============================================================
``GET /items/3``                     one item; its namespace is declared by the rule
``GET /lists/1?start=0&end=4``       several items; the namespace is found while rendering
``GET /mine/3``                      one item, a page for each visitor (``X-Visitor``)
``GET /brief/3``                     no namespace, a lifetime of a second
``GET /personal/3``                  an item's page: of its odd versions private, so not to be kept
``GET /soft/12``                     one item; others than the writer may get it old for a while
``GET /lagging/15``                  one item, read from a copy of its row that is behind
``POST /items/3``                    the next version: commit, invalidate, answer with the version;
                                     503 when the store did not acknowledge
``POST /soft/12``                    the same, invalidated softly
``POST /lagging/15``                 the same, and the copy follows
===================================  ============================================================

Everything comes from the environment: ``PAGEGEN_CHECK_STORE``, ``…_NEAR``, ``…_SITE``,
``…_DATABASE`` and ``…_MISTAKE``, which puts one of ``MISTAKES`` in.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import random
from time import monotonic_ns
from typing import Any, Final
from urllib.parse import parse_qs

from .... import Identity, PageCache, Rule
from ....identities import parse_source
from ....logs import logger
from .pages import Told, Versions, page

ITEMS: Final = 12
#: The items of soft and of lagging pages, which are written seldom: they need quiet.
SOFT: Final = range(12, 15)
LAGGING: Final = range(15, 18)
LISTS: Final = 3
VISITORS: Final = ("ann", "bob")
#: Bytes of an item's page: those of items that follow each other, and of the last, which a
#: memcached with ``-I 512k`` has to take in parts.
SIZES: Final = (200, 2_000, 20_000, 80_000)
HUGE: Final = 600_000
LIST_SIZE: Final = 3_000
#: Seconds for which a handler dawdles at most, and how many of them do; and the slowest of them.
DAWDLE: Final = 0.008
DAWDLERS: Final = 0.3
SLOW: Final = 0.06
SLOWEST: Final = 0.05
#: Share of the hard invalidations that are called outside of the request, as by a job in a queue:
#: pagegen does not repeat those when the handler has ended.
OUTSIDE: Final = 0.5
#: Seconds between a mistaken invalidation and the commit that should have come before it.
EARLY: Final = 0.03
#: Lifetime of brief pages, and their stale-while-revalidate, in seconds.
BRIEF_TTL: Final = 1
BRIEF_SWR: Final = 1
#: Seconds for which others may get a page that was invalidated softly. Who renders it dawdles for
#: up to twice as long now and then, so that not everybody finds the new page in time.
SOFT_SWR: Final = 0.4
#: Seconds that copies of rows may be behind, by the rule and in truth. A server that counts its
#: milliseconds once for many commands lets a hold-off end a little early.
LAG: Final = 1.0
BEHIND: Final = 0.9 * LAG

#: What can be wrong with an application, for seeing it found.
MISTAKES: Final = {
    "early": "invalidates before the commit",
    "forgets": "does not invalidate",
    "dict": "keeps rows in a dictionary of its process",
    "mixed": "serves one visitor's page to the other",
    "lag": "does not say that its copies are behind",
    "strips": "drops the cookie by which writers are known, as a proxy may",
}
OK, REFUSED = "200 OK", "503 Not Acknowledged"
Fields = list[tuple[str, str]]


def rules(mistake: str = "") -> tuple[Rule, ...]:
    """By its URL alone no page is forgotten here: that would hide what the namespaces miss."""
    item: dict[str, Any] = {"namespaces": ["item:{n}"], "ttl": "1h", "own_url": False}
    slices = {
        "start": {"type": "int", "default": 0, "min": 0},
        "end": {"type": "int", "default": ITEMS, "max": ITEMS},
    }
    whose: dict[str, Any] = (
        {"share": "public", "passthrough": ["x-visitor"]}
        if mistake == "mixed"
        else {"share": ["visitor"]}
    )
    behind: dict[str, Any] = {} if mistake == "lag" else {"replica_lag": LAG}
    return (
        Rule(path="/items/{n:int}", share="public", **item),
        Rule(path="/mine/{n:int}", **whose, **item),
        Rule(path="/brief/{n:int}", share="public", ttl=BRIEF_TTL, swr=BRIEF_SWR, own_url=False),
        Rule(path="/personal/{n:int}", share="public", passthrough=["x-visitor"], **item),
        Rule(path="/soft/{n:int}", share="public", soft=True, swr=SOFT_SWR, **item),
        Rule(path="/lagging/{n:int}", share="public", **behind, **item),
        Rule(
            path="/lists/{k:int}", share="public", groups=True, own_url=False, ttl="1h",
            query=slices,
        ),
    )  # fmt: skip


def open_cache(
    store: str, near: str = "", *, site: str = "coherence", mistake: str = ""
) -> PageCache:
    """The cache of the application; the same for whoever looks at its store from outside.

    Raises ``ConfigError``.
    """
    settings: dict[str, Any] = {"near": near} if near else {}
    who = Identity(name="visitor", sources=(parse_source("header:x-visitor"),))
    with _unsaid():
        return PageCache(
            rules(mistake), identities=[who], store=store, site=site, cache_status=True,
            site_key=f"of the site {site}", **settings,
        )  # fmt: skip


@contextmanager
def _unsaid() -> Iterator[None]:
    """Without the warning of what loosens the promises: what visitors see unkeyed is tried here."""
    log = logger("pagegen")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def create(path: str | Path) -> None:
    """A new database, all items at version 0."""
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE item (n INTEGER PRIMARY KEY, version INTEGER)")
        rows = [(n,) for n in range(LAGGING.stop)]
        database.executemany("INSERT INTO item VALUES (?, 0)", rows)
        database.execute("CREATE TABLE past (n INTEGER, at INTEGER, version INTEGER)")
        database.execute("CREATE INDEX past_at ON past (n, at)")
    database.close()


class Rows:
    """The database; each thread has a connection of its own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._own = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None or self._own.process != os.getpid():
            connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
            connection.execute("PRAGMA synchronous = OFF")  # killed processes lose nothing by it
            self._own.connection, self._own.process = connection, os.getpid()
        return connection

    def versions(self, items: Sequence[int]) -> Versions:
        """The present versions, of one moment."""
        # One text of a statement for any number of items: SQLite compares with all of them.
        query = "SELECT n, version FROM item WHERE instr(?, ',' || n || ',') ORDER BY n"
        wanted = "".join(f",{item}," for item in items)
        return tuple((str(n), v) for n, v in self._connection().execute(query, (wanted,)))

    def behind(self, item: int, seconds: float) -> Versions:
        """The version that a copy has which is so far behind."""
        query = "SELECT coalesce(max(version), 0) FROM past WHERE n = ? AND at <= ?"
        at = monotonic_ns() - int(seconds * 1e9)
        ((version,),) = self._connection().execute(query, (item, at)).fetchall()
        return ((str(item), int(version)),)

    def bump(self, item: int) -> int:
        """Give an item its next version; it is committed when this returns."""
        query = "UPDATE item SET version = version + 1 WHERE n = ? RETURNING version"
        connection = self._connection()
        if item not in LAGGING:
            ((version,),) = connection.execute(query, (item,)).fetchall()
            return int(version)
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            ((version,),) = connection.execute(query, (item,)).fetchall()
            row = (item, monotonic_ns(), version)
            connection.execute("INSERT INTO past VALUES (?, ?, ?)", row)
        return int(version)


class Site:
    """The application without a face."""

    def __init__(self) -> None:
        given = os.environ
        self.mistake = given.get("PAGEGEN_CHECK_MISTAKE", "")
        self.rows = Rows(given["PAGEGEN_CHECK_DATABASE"])
        self.cache = open_cache(
            given["PAGEGEN_CHECK_STORE"],
            given.get("PAGEGEN_CHECK_NEAR", ""),
            site=given.get("PAGEGEN_CHECK_SITE", "coherence"),
            mistake=self.mistake,
        )
        self._number = count()
        self._by_hand: dict[int, int] = {}

    def render(self, path: str, query: str, visitor: str) -> tuple[bytes, Fields]:
        """The page of a path, and the fields of its response."""
        made = monotonic_ns()
        kind, number = parts(path)
        label, items, size = f"{kind}/{number}", [number], SIZES[number % len(SIZES)]
        if kind == "lists":
            asked = parse_qs(query)
            start, end = int(asked.get("start", ["0"])[0]), int(asked.get("end", [str(ITEMS)])[0])
            items = [n for n in range(ITEMS) if n % LISTS == number][start:end]
            label, size = f"{label}/{start}-{end}", LIST_SIZE
        elif number == ITEMS - 1:
            size = HUGE
        versions = self._told(kind, items)
        alone = kind == "personal" and versions[0][1] % 2 == 1
        whose = visitor if alone or kind == "mine" else ""
        told = Told(versions, label, whose, made, f"{os.getpid()}-{next(self._number)}")
        body = page(told, size if kind in ("items", "lists") else min(size, 2_000))
        more = [("Cache-Control", "private")] if alone else []
        return body, [*fields(body, path), *more]

    def _told(self, kind: str, items: list[int]) -> Versions:
        if kind == "brief":
            return ()
        if kind == "lagging":
            return self.rows.behind(items[0], BEHIND * random())  # noqa: S311 - no secret
        return self._versions(items)

    def _versions(self, items: list[int]) -> Versions:
        if self.mistake != "dict":
            return self.rows.versions(items)
        for item in items:
            if item not in self._by_hand:
                self._by_hand.update((int(n), v) for n, v in self.rows.versions([item]))
        return tuple((str(item), self._by_hand[item]) for item in items)

    def bump(self, item: int) -> int:
        """The next version of an item, committed."""
        version = self.rows.bump(item)
        if self.mistake == "dict":
            self._by_hand[item] = version
        return version


def names(item: int) -> tuple[str, ...]:
    """The namespaces that a write of an item invalidates."""
    return (f"item:{item}", f"list:{item % LISTS}") if item < ITEMS else (f"item:{item}",)


def strips(mistake: str, said: Fields) -> Fields:
    """The fields of an answer, without cookies if that is the mistake."""
    if mistake != "strips":
        return said
    return [(name, value) for name, value in said if name.lower() != "set-cookie"]


def dawdle(path: str = "") -> float:
    """Seconds to dawdle for: mostly none."""
    chance = random()  # noqa: S311 - no secret
    if chance > DAWDLERS:
        return 0.0
    most = SLOW if chance < SLOWEST else DAWDLE
    return random() * (2 * SOFT_SWR if path.startswith("/soft/") else most)  # noqa: S311


def outside(kind: str) -> bool:
    """Whether a write is forgotten outside of its request. Soft ones are not: their client would
    get no cookie.
    """
    return kind != "soft" and random() < OUTSIDE  # noqa: S311


def parts(path: str) -> tuple[str, int]:
    """Kind and number of what a path names."""
    _, kind, number = path.split("/")
    return kind, int(number)


def fields(body: bytes, path: str) -> Fields:
    """Of the response on a path."""
    found = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    kind, number = parts(path)
    return [*found, ("Cache-Groups", f'"list:{number}"')] if kind == "lists" else found
