"""The store's verbs, written once for the blocking client and the one on an event loop.

Rules:

- A token is what the one server says to which the ring gives its name. A server that fails makes
  the verb raise, or costs the page; it is never asked again and never replaced.
- Tokens and page are asked for at once. Only a split page needs a second trip, within the first
  one's deadline.
- No time is absolute: memcached takes more than 30 days for a date, by its own clock. Whatever
  should live longer lives 30 days, which costs misses alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from os import urandom
from time import monotonic
from typing import Final

from ...errors import StoreError
from ...forks import fork_safe_lock
from ...messages import StoredResponse
from ..base import Capabilities, Reading
from ..codec import Codec
from ..names import Names
from . import parts
from .client import Answer, Client
from .inspection import Inspector
from .ring import Ring

#: Seconds that memcached still takes for a duration.
MAX_TTL: Final = 30 * 86_400
#: Seconds below which it may forget at once: its clock ticks once a second.
MIN_TTL: Final = 2
#: An expiry that has passed already.
_AT_ONCE: Final = -1


@dataclass(frozen=True, slots=True)
class Common:
    """What both faces of a store share. ``timeout`` in seconds; ``split`` cuts large pages."""

    ring: Ring
    names: Names
    codec: Codec
    inspector: Inspector
    timeout: float
    split: bool
    count: Callable[[str], None]


class Counters:
    """Counters of one store by name. Thread-safe."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock(self)
        self._numbers = dict.fromkeys(("pages_split", "pages_refused", "pages_incomplete"), 0)

    def count(self, name: str) -> None:
        """One more of something."""
        with self._lock:
            self._numbers[name] += 1

    def statistics(self) -> dict[str, int]:
        """Of pages: how many were split, refused as too large or for want of memory, and found
        without one of their parts.
        """
        return dict(self._numbers)


class Verbs:
    """See :class:`Store` and :class:`Leases` for what each of them promises."""

    capabilities = Capabilities(
        blocking_reads=True,
        blocking_writes=True,
        shared=True,
        one_trip=True,
        compare_and_set=True,
        leases=True,
    )

    def __init__(self, common: Common, client: Client) -> None:
        self._common = common
        self._client = client
        self._names = common.names
        self._server = common.ring.server

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        """See :meth:`Store.read`."""
        started = monotonic()
        names = [self._names.token(namespace) for namespace in namespaces]
        page = None if slot is None else self._names.page(slot)
        answer = await self._client.get(self._by_server(names if page is None else (*names, page)))
        if answer.failed:
            self._need(names, answer)
        values = answer.values
        tokens = tuple([values.get(name) for name in names])
        if page is None:
            return Reading(None, tokens)
        stored = values.get(page)
        if stored is None:
            return Reading(None, tokens)
        if stored.startswith(parts.MAGIC):
            stored = await self._joined(stored, self._server(page), started)
        return Reading(None if stored is None else self._common.codec.decode(stored, page), tokens)

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`."""
        until = monotonic() + self._common.timeout
        names = {namespace: self._names.token(namespace) for namespace in tokens}
        wanted = {names[namespace]: token for namespace, token in tokens.items()}
        added = await self._client.add(self._with_values(wanted), _seconds(ttl), until=until)
        self._need(wanted, added)
        values = added.values
        missing = [name for name in wanted if name not in values]
        if missing:
            found = await self._client.get(self._by_server(missing), until=until)
            self._need(missing, found)
            values = values | found.values
        for namespace, name in names.items():
            if name not in values:
                raise StoreError(f"memcached has no room for a token ({namespace!r})")
        return {namespace: values[name] for namespace, name in names.items()}

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """See :meth:`Store.replace_tokens`."""
        wanted = {self._names.token(namespace): token for namespace, token in tokens.items()}
        answer = await self._client.set(self._with_values(wanted), _seconds(ttl))
        self._need(wanted, answer)
        if len(answer.values) != len(wanted):
            raise StoreError("memcached did not store all of the new tokens")

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        """See :meth:`Store.remove_tokens`. One after the other, within one deadline."""
        until = monotonic() + self._common.timeout
        names = {namespace: self._names.token(namespace) for namespace in tokens}
        return [n for n, name in names.items() if await self._take_away(name, tokens[n], until)]

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """See :meth:`Store.write_page`."""
        name = self._names.page(slot)
        stored = self._common.codec.encode(page, name)
        if len(stored) <= self._common.inspector.largest_item - parts.OVERHEAD:
            written = await self._put({name: stored}, self._server(name), _seconds(ttl))
        elif self._common.split:
            written = await self._write_parts(name, stored, _seconds(ttl))
        else:
            written = False
        if not written:
            self._common.count("pages_refused")
        return written

    async def delete_page(self, slot: bytes) -> None:
        """See :meth:`Store.delete_page`. Parts of a split page are left to eviction."""
        name = self._names.page(slot)
        await self._client.delete(self._server(name), (name,))

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        """See :meth:`Leases.acquire`. Terms are whole seconds here, two at least."""
        name = self._names.lease(slot)
        until = monotonic() + self._common.timeout
        for _ in range(2):  # once more where it lapsed between the two questions
            answer = await self._client.add(self._with_values({name: owner}), _seconds(term))
            self._need((name,), answer)
            if name in answer.values:
                return True
            there = await self._client.get({self._server(name): (name,)}, until=until)
            self._need((name,), there)
            if name in there.values:
                return False
        # A server without room refuses, too: as if the lease were lost at once.
        return True

    async def release(self, slot: bytes, owner: bytes) -> None:
        """See :meth:`Leases.release`."""
        until = monotonic() + self._common.timeout
        await self._take_away(self._names.lease(slot), owner, until)

    async def _take_away(self, name: bytes, value: bytes, until: float) -> bool:
        """Remove a name where this is its value; whether it was, until this very moment."""
        server = self._server(name)
        found = await self._client.gets(server, name)
        if found is None or found[0] != value:
            return False
        return await self._client.cas(server, name, value, found[1], _AT_ONCE, until=until)

    async def _joined(self, stored: bytes, server: int, started: float) -> bytes | None:
        manifest = parts.parse(stored)
        if manifest is None:
            return None
        prefix = self._names.prefix
        answer = await self._client.get(
            {server: manifest.names(prefix)}, until=started + self._common.timeout
        )
        joined = None if answer.failed else manifest.join(answer.values, prefix)
        if joined is None:
            self._common.count("pages_incomplete")
        return joined

    async def _write_parts(self, name: bytes, stored: bytes, ttl: int) -> bool:
        """Parts first, the manifest last; all of them on the page's own server."""
        until = monotonic() + self._common.timeout
        manifest = parts.divide(len(stored), self._common.inspector.largest_item, urandom(16))
        if manifest is None:
            return False
        server = self._server(name)
        if not await self._put(manifest.cut(stored, self._names.prefix), server, ttl, until):
            return False
        self._common.count("pages_split")
        return await self._put({name: manifest.encode()}, server, ttl, until)

    async def _put(
        self, values: Mapping[bytes, bytes], server: int, ttl: int, until: float | None = None
    ) -> bool:
        answer = await self._client.set({server: values}, ttl, until=until)
        if answer.failed:
            raise answer.failed[server]
        return len(answer.values) == len(values)

    def _by_server(self, names: Iterable[bytes]) -> dict[int, list[bytes]]:
        """Names by the number of their server, each once."""
        asked: dict[int, list[bytes]] = {}
        for name in dict.fromkeys(names):
            asked.setdefault(self._server(name), []).append(name)
        return asked

    def _with_values(self, values: Mapping[bytes, bytes]) -> dict[int, dict[bytes, bytes]]:
        sent: dict[int, dict[bytes, bytes]] = {}
        for name, value in values.items():
            sent.setdefault(self._server(name), {})[name] = value
        return sent

    def _need(self, names: Iterable[bytes], answer: Answer) -> None:
        """Raise when the server of one of these names failed."""
        if answer.failed:
            for name in names:
                error = answer.failed.get(self._server(name))
                if error is not None:
                    raise error


def _seconds(ttl: float) -> int:
    # Its clock ticks once a second, so that the first second may be over at once. Hold-off flags
    # must not end early.
    return max(MIN_TTL, ceil(min(ttl, MAX_TTL - 1)) + 1)
