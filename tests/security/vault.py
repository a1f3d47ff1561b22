"""Shared stores in hostile hands: what stands in them is read, changed and put elsewhere.

Each kind is a real server, or real files. ``Hands`` go past pagegen's store straight to what it
keeps, as a tenant of the server or a finder of the disk would.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from struct import Struct
from time import monotonic
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from pagegen import Identity, Rule
from pagegen.stepping import step
from pagegen.stores import Keyring, Store
from pagegen.stores.lmdb import LmdbStore
from pagegen.stores.memcached import MemcachedStore
from pagegen.stores.redis import RedisStore
from pagegen.testing import FakeClock, Front, Scenario, Seen
from tests.stores.redis_servers import RedisServer
from tests.stores.servers import Memcached

KINDS: Final = ("lmdb", "memcached", "redis")
KEY: Final = "the key of this site, and of nobody else"
NEXT: Final = "the key that comes after that one"
#: Long enough for machines that are busy with other tests.
TIMEOUT: Final = 5.0
_EXPIRY: Final = Struct("<d")
_NEVER: Final = _EXPIRY.pack(1e300)


class Hands(Protocol):
    """What somebody can do who reaches the bytes themselves. ``url`` names the store."""

    url: str

    def names(self) -> list[bytes]:
        """All names, sorted."""

    def get(self, name: bytes) -> bytes:
        """What stands there."""

    def put(self, name: bytes, value: bytes) -> None:
        """Put something there that does not expire."""

    def open(self, keys: str | Keyring, site: str, clock: FakeClock) -> Store:
        """A store of pagegen's on the same bytes."""


class OnMemcached:
    """The hands of another tenant of a memcached server."""

    def __init__(self, server: Memcached) -> None:
        self._server = server
        self.url = f"{server.url}?timeout=5s"

    def names(self) -> list[bytes]:
        with self._server.connect() as sock:
            sock.sendall(b"lru_crawler metadump hash\r\n")
            text = _until(sock, b"END\r\n")
        assert b"BUSY" not in text
        lines = [line for line in text.split(b"\n") if line.startswith(b"key=")]
        return sorted(unquote_to_bytes(line.split()[0][4:]) for line in lines)

    def get(self, name: bytes) -> bytes:
        with self._server.connect() as sock:
            sock.sendall(b"get %b\r\n" % name)
            head, _, rest = _until(sock, b"END\r\n").partition(b"\r\n")
        return rest[: int(head.split()[3])]

    def put(self, name: bytes, value: bytes) -> None:
        with self._server.connect() as sock:
            sock.sendall(b"set %b 0 0 %d\r\n%b\r\n" % (name, len(value), value))
            assert _until(sock, b"\r\n") == b"STORED\r\n"

    def open(self, keys: str | Keyring, site: str, clock: FakeClock) -> Store:
        return MemcachedStore([self._server.address], site=site, site_key=keys, timeout=TIMEOUT)


class OnRedis:
    """The hands of another tenant of a Redis server."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self.url = f"{server.url}?timeout=5s"

    def names(self) -> list[bytes]:
        return sorted(self._server.run("KEYS", "*"))

    def get(self, name: bytes) -> bytes:
        found: bytes = self._server.run("GET", name)
        return found

    def put(self, name: bytes, value: bytes) -> None:
        assert self._server.run("SET", name, value)

    def run(self, *command: Any) -> Any:
        """Any command."""
        return self._server.run(*command)

    def open(self, keys: str | Keyring, site: str, clock: FakeClock) -> Store:
        return RedisStore(self._server.url, site=site, site_key=keys, timeout=TIMEOUT)


class OnLmdb:
    """The hands of another program of the same user. ``put`` sees to the expiry in front."""

    TREES: Final = ("pages", "tokens", "leases")

    def __init__(self, place: Path) -> None:
        self._place = place
        self.url = f"lmdb://{place}?size=8MiB&timeout=5s"
        self._own: LmdbStore = LmdbStore(place, "8MiB", timeout=TIMEOUT)

    def names(self) -> list[bytes]:
        return sorted(name for tree in self.TREES for name in self._all(tree))

    def get(self, name: bytes) -> bytes:
        return self._all(_tree_of(name))[name]

    def put(self, name: bytes, value: bytes) -> None:
        self.put_raw(name, value if _tree_of(name) == "leases" else _NEVER + value)

    def put_raw(self, name: bytes, value: bytes) -> None:
        """Put a whole record there."""
        with self._own._open().writing(monotonic() + TIMEOUT) as (generation, txn):
            txn.put(name, value, db=getattr(generation, _tree_of(name)))

    def open(self, keys: str | Keyring, site: str, clock: FakeClock) -> Store:
        return LmdbStore(self._place, "8MiB", site=site, site_key=keys, now=clock, timeout=TIMEOUT)

    def close(self) -> None:
        """Leave the directory."""
        self._own.close()

    def _all(self, tree: str) -> dict[bytes, bytes]:
        with self._own._open().current().reading() as generation, generation.env.begin() as txn:
            cursor = txn.cursor(getattr(generation, tree))
            cut = 0 if tree == "leases" else _EXPIRY.size
            return {bytes(name): bytes(value)[cut:] for name, value in cursor}


def _tree_of(name: bytes) -> str:
    return {b"p": "pages", b"t": "tokens", b"l": "leases"}[name.split(b":")[2]]


def _until(sock: socket.socket, end: bytes) -> bytes:
    said = b""
    while not said.endswith(end):
        piece = sock.recv(65_536)
        assert piece, said
        said += piece
    return said


@contextmanager
def hands_on(kind: str, tmp_path: Path) -> Iterator[Hands]:
    """A fresh store of this kind, and hands on it."""
    with ExitStack() as stack:
        if kind == "memcached":
            yield OnMemcached(stack.enter_context(Memcached()))
        elif kind == "redis":
            yield OnRedis(stack.enter_context(RedisServer()))
        else:
            on = OnLmdb(tmp_path / "store")
            stack.callback(on.close)
            yield on


def of_kind(hands: Hands, letter: bytes) -> list[bytes]:
    """Names of pages (``p``), tokens (``t``) or leases (``l``)."""
    return [name for name in hands.names() if name.split(b":")[2] == letter]


MINE: Final = Rule(
    path="/mine/{thing}", share=["user"], namespaces=["user:{identity.user}"], ttl="1h"
)
OPEN: Final = Rule(path="/open/{thing}", share="public", namespaces=["thing:{thing}"], ttl="1h")
#: Pages that have all their namespaces in common, so that their tokens are the same.
TWIN: Final = Rule(
    path="/twin/{thing}", share=["user"], namespaces=["twins"], own_url=False, ttl="1h"
)
RULES: Final = (MINE, OPEN, TWIN)
USER: Final = Identity(name="user", sources=("header:x-user",))


class Site(Scenario):
    """A site with pages of its own for each user, and some for everybody, on a shared store.

    A page says whose it is and how often anything was rendered; ``version`` is its content.
    """

    def __init__(
        self,
        hands: Hands,
        *,
        front: Front = "wsgi",
        keys: str | Keyring = KEY,
        site: str = "shop",
        clock: FakeClock | None = None,
        rules: Sequence[Rule] = RULES,
        **settings: Any,
    ) -> None:
        clock = clock or FakeClock()
        ring = Keyring.of(keys)
        self.opened = hands.open(ring, site, clock)
        self.version = "first"
        if ring.secrets:
            settings |= {"site_key": list(ring.secrets), "names_key": ring.naming}
        super().__init__(
            front, rules, store=self.opened, clock=clock, site=site,
            identities=[USER], max_delay="5s", **settings,
        )  # fmt: skip
        self.handler = self._show

    def look(self, target: str, user: str = "") -> str:
        """The text that somebody gets."""
        answer = self.get(target, {"x-user": user} if user else None)
        assert answer.status == 200
        return answer.text

    def _show(self, seen: Seen) -> str:
        return f"{seen.path} of {seen.fields.get('x-user', 'nobody')}: {self.version}"


def read_page(store: Store, slot: bytes) -> Any:
    """What a store finds in a slot."""
    return step(store.read(slot, ())).page
