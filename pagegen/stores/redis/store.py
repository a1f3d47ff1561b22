"""The Redis store: what each verb asks the server, written once for both faces.

- A read is one ``MGET`` of all tokens and the page, with the server's identity behind it.
- Tokens and pages are ``SET`` with their time to live in ms. The server may evict either: a lost
  token is a miss.
- A lease is ``SET NX PX``, given back by a script that compares and deletes.

Redis Cluster is not supported: page and tokens are asked for at once, and live in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from ...errors import StoreError
from ...messages import StoredResponse
from ...units import MAX_SECONDS
from ..base import Capabilities, Reading
from ..codec import Codec
from ..keyring import Keyring
from ..names import Names
from .blocking import BlockingClient
from .gate import Gate
from .identity import LABEL_BYTES
from .native import NativeClient
from .packets import WHICH_HISTORY, Packet, Reply, has_room, number, pack, stored, values
from .server import DEFAULT_POOL, DEFAULT_TIMEOUT, parse_server

T = TypeVar("T")

_HISTORY: Final = pack(WHICH_HISTORY)
_GIVE_BACK: Final = b"""\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])"""


class Client(Protocol):
    """What the store needs of a face: packets out, answers back."""

    async def run(self, packet: Packet[T]) -> T:
        """The answer to a packet; raises ``StoreError``."""

    def close(self) -> None:
        """Close the connections. Calling it twice is no error."""


class RedisVerbs:
    """The verbs of a store over one face's client. See :class:`Store` and :class:`Leases`."""

    capabilities = Capabilities(
        blocking_reads=True,
        blocking_writes=True,
        shared=True,
        compare_and_set=True,
        leases=True,
    )

    def __init__(self, client: Client, gate: Gate, names: Names, codec: Codec) -> None:
        self._client = client
        self._gate = gate
        self._names = names
        self._codec = codec

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        """See :meth:`Store.read`."""
        keys = [self._names.token(name) for name in namespaces]
        if slot is not None:
            keys.append(self._names.page(slot))
        if not keys:
            return Reading(None, ())
        found, label = await self._look(b"", keys)
        if slot is None:
            return Reading(None, _labelled(found, label))
        stored_page = found.pop()
        page = None if stored_page is None else self._codec.decode(stored_page, keys[-1])
        return Reading(page, _labelled(found, label))

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`. Returns the tokens with the server's identity in them."""
        if not tokens:
            return {}
        keys = [self._names.token(name) for name in tokens]
        adding = [
            (b"SET", key, token, b"NX", b"PX", _ms(ttl))
            for key, token in zip(keys, tokens.values(), strict=True)
        ]
        found, label = await self._look(pack(*adding), keys, before=len(adding))
        present = dict(zip(tokens, _labelled(found, label), strict=True))
        kept = {name: token for name, token in present.items() if token is not None}
        if len(kept) < len(present):
            lost = next(name for name, token in present.items() if token is None)
            raise StoreError(f"Redis at {self._gate.server.name} has no room for {lost!r}")
        return kept

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """See :meth:`Store.replace_tokens`."""
        if not tokens:
            return
        names = self._names
        setting = [
            (b"SET", names.token(name), token, b"PX", _ms(ttl)) for name, token in tokens.items()
        ]

        def check(process: bytes, replies: Sequence[Reply]) -> bool:
            # Whether this is still the server that others read from: a failover behind this reply
            # gives all tokens another identity, so nothing that was lost with it matters.
            self._gate.identity.label(process, replies[-1])
            return all(stored(reply) for reply in replies[:-1])

        packet = Packet(pack(*setting) + _HISTORY, len(setting) + 1, check)
        if not await self._client.run(packet):
            raise StoreError(f"Redis at {self._gate.server.name} did not take a token")

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        """See :meth:`Store.remove_tokens`. A token of another identity of the server is none."""
        if not tokens:
            return ()
        # The identity stands behind each token, and not in the server.
        taking = [
            (b"EVAL", _GIVE_BACK, b"1", self._names.token(name), token[:-LABEL_BYTES])
            for name, token in tokens.items()
        ]

        def check(process: bytes, replies: Sequence[Reply]) -> list[str]:
            label = self._gate.identity.label(process, replies[-1])
            told = zip(tokens.items(), replies[:-1], strict=True)
            return [
                name for (name, token), reply in told if number(reply) and token.endswith(label)
            ]

        packet = Packet(pack(*taking) + _HISTORY, len(taking) + 1, check)
        return await self._client.run(packet)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """See :meth:`Store.write_page`. False when the server is out of memory."""
        name = self._names.page(slot)
        command = (b"SET", name, self._codec.encode(page, name), b"PX", _ms(ttl))
        return await self._ask(command, has_room)

    async def delete_page(self, slot: bytes) -> None:
        """See :meth:`Store.delete_page`."""
        await self._ask((b"UNLINK", self._names.page(slot)), number)

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        """See :meth:`Leases.acquire`."""
        lease = self._names.lease(slot)
        return await self._ask((b"SET", lease, owner, b"NX", b"PX", _ms(term)), stored)

    async def release(self, slot: bytes, owner: bytes) -> None:
        """See :meth:`Leases.release`."""
        await self._ask((b"EVAL", _GIVE_BACK, b"1", self._names.lease(slot), owner), number)

    def statistics(self) -> Mapping[str, int]:
        """Of this process and both faces: ``failures`` and ``refused`` verbs (the breaker's),
        ``exhausted`` (no connection was free), ``connections`` opened, ``stale_connections``
        replaced, ``breaker_opened``, ``breaker_is_open`` (0 or 1), ``identity_changes``; and
        ``names_…``, the names of tokens that are remembered.
        """
        return {**self._gate.statistics(), **self._names.statistics()}

    def close(self) -> None:
        """See :meth:`Store.close`."""
        self._client.close()

    async def _look(
        self, sent: bytes, keys: Sequence[bytes], before: int = 0
    ) -> tuple[list[bytes | None], bytes]:
        """Values behind what is sent first, and the identity that goes with them."""

        def check(process: bytes, replies: Sequence[Reply]) -> tuple[list[bytes | None], bytes]:
            label = self._gate.identity.label(process, replies[-1])
            return values(replies[-2], len(keys)), label

        data = b"".join((sent, pack((b"MGET", *keys)), _HISTORY))
        return await self._client.run(Packet(data, before + 2, check, repeatable=not sent))

    async def _ask(self, command: Sequence[bytes], meaning: Callable[[Reply], T]) -> T:
        return await self._client.run(Packet(pack(command), 1, lambda _, said: meaning(said[0])))


class RedisStore(RedisVerbs):
    """Pages and tokens of one ``site`` on the server that ``url`` names (see server.py).

    ``timeout`` in seconds is for a whole verb; ``pool`` is the number of connections of a process
    and of each event loop. Raises ``ConfigError``.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379/0",
        *,
        site: str = "default",
        site_key: str | Keyring = "",
        timeout: float = DEFAULT_TIMEOUT,
        pool: int = DEFAULT_POOL,
        directory: Path | None = None,
    ) -> None:
        server = parse_server(url, timeout=timeout, pool=pool, directory=directory)
        gate = Gate(server)
        names, codec = Names(site, site_key), Codec(site_key)
        super().__init__(BlockingClient(gate), gate, names, codec)
        self._twin = RedisVerbs(NativeClient(gate), gate, names, codec)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        site: str,
        site_key: str | Keyring = "",
        directory: Path | None = None,
        **_: Any,
    ) -> RedisStore:
        """The store of a URL in the configuration."""
        return cls(url, site=site, site_key=site_key, directory=directory)

    def on_loop(self) -> RedisVerbs:
        """See :meth:`HasTwin.on_loop`: the same server through redis-py's asyncio client."""
        return self._twin

    def close(self) -> None:
        """See :meth:`Store.close`. Closes both faces."""
        super().close()
        self._twin.close()

    def __repr__(self) -> str:
        return f"<RedisStore {self._gate.server.name}>"


def _ms(seconds: float) -> bytes:
    return b"%d" % max(1, ceil(min(seconds, MAX_SECONDS) * 1000))


def _labelled(found: Sequence[bytes | None], label: bytes) -> tuple[bytes | None, ...]:
    return tuple([None if token is None else token + label for token in found])
