"""What the memcached store asks of a client, blocking or on an event loop.

Servers are known by their number in the configured order. A verb that speaks to several servers
asks all of them at once, under one deadline. A server that fails (refused, silent over the
deadline, closed, or answering what is no answer) is named in ``failed`` and never replaced by
another one; the verbs themselves do not raise for it. An answer that is an error (``SERVER_ERROR``)
to a ``get`` is a failure too, though none that a breaker counts: what is there is not known.

Some verbs of the store are two trips. The second one says with ``until`` when the first one's
deadline is: seconds of ``time.monotonic``. It can only make a client's own deadline nearer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

#: What stands under a key: the value, and the number that ``cas`` wants to see again.
Found = tuple[bytes, int]
#: Looks at a server's number and its ``stats settings``, on each new connection and before anything
#: else is asked there; raises ``StoreError`` for a server that must not be used.
Check = Callable[[int, Mapping[str, str]], None]


@dataclass(slots=True)
class Answer:
    """What came of asking several servers: values by key, and the servers that failed."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    failed: dict[int, Exception] = field(default_factory=dict)


class Client(Protocol):
    """Verbs of memcached's text protocol, for many servers. ``ttl`` in the protocol's seconds."""

    async def get(
        self, asked: Mapping[int, Sequence[bytes]], *, until: float | None = None
    ) -> Answer:
        """The values of these keys; one multi-get per server."""

    async def set(
        self, sent: Mapping[int, Mapping[bytes, bytes]], ttl: int, *, until: float | None = None
    ) -> Answer:
        """Store these values. ``values`` holds those that were acknowledged; a value that the
        server refused (no memory, too large) is missing there without the server having failed.
        """

    async def add(
        self, sent: Mapping[int, Mapping[bytes, bytes]], ttl: int, *, until: float | None = None
    ) -> Answer:
        """Store these values where there is none. ``values`` holds those that were stored."""

    async def gets(self, server: int, key: bytes) -> Found | None:
        """A value and its unique number; raises ``StoreError`` when the server fails."""

    async def cas(
        self,
        server: int,
        key: bytes,
        value: bytes,
        unique: int,
        ttl: int,
        *,
        until: float | None = None,
    ) -> bool:
        """Replace the value that :meth:`gets` saw; False when it is another one by now."""

    async def delete(self, server: int, keys: Sequence[bytes]) -> None:
        """Remove keys; raises ``StoreError`` when the server fails."""

    async def settings(self, server: int) -> Mapping[str, str]:
        """What ``stats settings`` says; raises ``StoreError`` when the server fails."""

    def close(self) -> None:
        """Close all connections. Calling it twice is no error."""
