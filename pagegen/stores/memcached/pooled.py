"""pymemcache's client for one connection, made strict, and a pool of them that waits.

pymemcache's own pool raises at once when it is exhausted and loses a place for each exception that
is no ``Exception``; its reader takes sizes and ends as they come. The commands and their answers
are pymemcache's; the only library that this store needs is imported here alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ssl import SSLContext
from threading import Condition
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from pymemcache.client.base import Client  # type: ignore[import-untyped]
from pymemcache.exceptions import (  # type: ignore[import-untyped]
    MemcacheClientError,
    MemcacheServerError,
    MemcacheUnknownCommandError,
)

from ...errors import StoreError
from .addresses import Address
from .client import Found
from .sockets import Asked, HungUpError, Sockets

#: Bytes of the largest value that is read: as large as the largest page that is ever split.
MAX_VALUE: Final = 64 * 2**20
_VALUE: Final = re.compile(rb"VALUE (\S{1,250}) [0-9]{1,10} ([0-9]{1,9})(?: ([0-9]{1,20}))?")
#: Answers all the same: the server is there.
ANSWERED: Final = (MemcacheClientError, MemcacheServerError, MemcacheUnknownCommandError)


class BusyError(StoreError):
    """No connection became free within the deadline."""


class Connection(Client):  # type: ignore[misc]
    """One connection, made when it is used and again after it was closed. Not thread-safe."""

    def __init__(self, address: Address, tls: SSLContext | None, connect: float | None) -> None:
        self._sockets = Sockets(address.host, tls, connect)
        super().__init__(
            address.path or (address.host, address.port),
            no_delay=True,
            default_noreply=False,
            socket_module=self._sockets,
        )
        self.reused = False

    def prepare(self, until: float, check: Callable[[Mapping[str, str]], None]) -> bool:
        """Make it ready for a question; False when the connection it had was dead.

        A new connection is shown to ``check`` first. ``until`` is in seconds of ``monotonic``.
        """
        self._sockets.until = until
        alive = self.sock is None or not self.sock.stale()
        if not alive:
            self.close()
        self.reused = self.sock is not None
        if not self.reused:
            check(self.settings())
            if self.sock is None:
                raise HungUpError
        self.sock.begin()
        return alive

    def ask(self, call: Callable[[Connection, Any], Any], what: Any) -> None:
        """Send a question without waiting: the same call later finds it sent."""
        self.sock.asking = True
        with suppress(Asked):
            call(self, what)
        self.sock.asking, self.sock.asked = False, True

    def drop(self) -> None:
        """Close whatever there is, a socket that is just being connected included."""
        self.close()
        self._sockets.forget()

    def __del__(self) -> None:
        with suppress(Exception):
            self.drop()

    def settings(self) -> dict[str, str]:
        """What ``stats settings`` says, as text; nothing when the answer is an error."""
        try:
            found = self.stats("settings")
        except ANSWERED:
            return {}
        return {
            key.decode("latin-1"): value.decode("latin-1")
            if isinstance(value, bytes)
            else str(value)
            for key, value in found.items()
        }

    def values(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of these keys."""
        found: dict[bytes, bytes] = self.get_many(keys)
        return found

    def found(self, key: bytes) -> Found | None:
        """A value and its unique number."""
        value, unique = self.gets(key)
        return None if value is None else (value, int(unique))

    def store(self, verb: bytes, values: Mapping[bytes, bytes], ttl: int) -> dict[bytes, bytes]:
        """Send values with ``set`` or ``add`` in one trip; returns those that were stored.

        pymemcache has no ``add`` for many. When it hears an error it stops listening, so of values
        that the server had no room for none counts as stored.
        """
        try:
            stored = self._store_cmd(verb, values, ttl, False)
        except (MemcacheServerError, MemcacheClientError):
            return {}
        return {key: values[key] for key, done in stored.items() if done}

    def _extract_value(
        self, expect_cas: bool, line: bytes, buf: bytes, remapped_keys: dict[bytes, bytes], _: Any
    ) -> tuple[bytes, Any, bytes]:
        """One value of an answer: asked for, not given yet, of the length that it announces."""
        match = _VALUE.fullmatch(line)
        if match is None or (match[3] is not None) != expect_cas:
            raise ValueError("a value that is none")
        key, size = remapped_keys.pop(match[1]), int(match[2])
        if size > MAX_VALUE:
            raise ValueError("a value without measure")
        self.sock.expect(size)
        chunks, have = [buf], len(buf)
        while have < size + 2:
            chunk = self.sock.recv()
            chunks.append(chunk)
            have += len(chunk)
        rest = _cut(chunks, have - size)
        if not rest.startswith(b"\r\n"):
            raise ValueError("a value longer than it says")
        value = b"".join(chunks)
        return key, (value, match[3]) if expect_cas else value, rest[2:]


def _cut(chunks: list[bytes], excess: int) -> bytes:
    """Take the last bytes off what was received, so that what is left is joined without a copy."""
    while len(chunks[-1]) < excess:
        chunks[-2:] = [b"".join(chunks[-2:])]
    last = chunks[-1]
    chunks[-1] = last[: len(last) - excess]
    return last[len(last) - excess :]


class Pool:
    """At most ``size`` connections to one server, made when needed. Thread-safe.

    The one given back last is taken first, so that no more are open than are used at once. One that
    an interruption took from its user before anybody could give it back is gone with the last who
    knew it, and its place is free again.
    """

    def __init__(self, make: Callable[[], Connection], size: int) -> None:
        self._make = make
        self._size = size
        self._closed = False
        self._renew()

    def take(self, until: float) -> Connection:
        """A connection nobody uses; raises ``BusyError`` when there is none by ``until``."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._find(until)

    def give(self, connection: Connection) -> None:
        """Give a connection back."""
        if self._closed:
            connection.drop()
        self._idle.append(connection)
        # Whoever waits has said so before it looked for the last time.
        if self._waiting:
            with self._freed:
                self._freed.notify()

    def close(self) -> None:
        """Close those that nobody uses; the others are closed when they are given back."""
        self._closed = True
        for connection in list(self._idle):
            connection.drop()

    def abandon(self) -> None:
        """Close all and begin anew, in a child after ``fork``: nobody else uses this pool then."""
        for connection in list(self._all):
            connection.drop()
        self._renew()

    def _renew(self) -> None:
        self._freed = Condition()
        self._waiting = 0
        self._all: WeakSet[Connection] = WeakSet()
        self._idle: list[Connection] = []

    def _find(self, until: float) -> Connection:
        with self._freed:
            self._waiting += 1
            try:
                while True:
                    if self._idle:
                        return self._idle.pop()
                    if len(self._all) < self._size:
                        made = self._make()
                        self._all.add(made)
                        return made
                    left = until - monotonic()
                    if left <= 0 or not self._freed.wait(left):
                        raise BusyError("all connections are in use")
            finally:
                self._waiting -= 1
