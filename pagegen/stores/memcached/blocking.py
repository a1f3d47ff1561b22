"""The client that blocks: for many servers, over pymemcache, with a deadline for each verb.

Rules:

- Several servers are asked at once: all questions are sent before the first answer is read.
- Nothing is sent twice. A connection that is found dead is replaced before the question is sent.
- A connection on which anything went wrong is closed, by whatever exception: no answer can be taken
  for that of another question.
- A breaker counts what says something of its server, and nothing else: not a pool that was
  exhausted, not a deadline that was nearly over when the server was asked.
- After ``fork`` a child closes its copies of its parent's sockets and begins anew.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from ssl import SSLContext
from threading import Lock
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from ...errors import StoreError
from ..breaker import Breaker
from .addresses import Address
from .client import Answer, Check, Found
from .exchange import Call, Exchange, Server
from .pooled import Connection, Pool

#: Seconds for one verb (issue: at most 60 ms more for a request while a store hangs).
DEFAULT_TIMEOUT: Final = 0.05
#: Connections to each server (memcached takes 1,024 from all its clients together).
DEFAULT_POOL: Final = 16
#: Share of the timeout that a server must have had before its silence counts.
FAIR_SHARE: Final = 0.5

_clients: WeakSet[BlockingClient] = WeakSet()


class BlockingClient:
    """See :class:`Client` for the verbs; they never suspend. Thread-safe, and safe to fork.

    ``timeout`` in seconds for a whole verb, connecting included; ``connect_timeout`` can only make
    connecting shorter. ``pool`` connections to each server.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        breakers: Sequence[Breaker],
        timeout: float = DEFAULT_TIMEOUT,
        connect_timeout: float | None = None,
        pool: int = DEFAULT_POOL,
        ssl: SSLContext | None = None,
        check: Check | None = None,
    ) -> None:
        self._timeout = timeout
        self._counting = Lock()
        self._counts = dict.fromkeys(("connects", "stale", "failures", "refused", "busy"), 0)
        self._servers = [
            Server(
                number=number,
                text=address.text,
                breaker=breaker,
                pool=Pool(partial(Connection, address, ssl, connect_timeout), pool),
                check=partial(check or _accept, number),
                fair=timeout * FAIR_SHARE,
                count=self._count,
            )
            for number, (address, breaker) in enumerate(zip(addresses, breakers, strict=True))
        ]
        self._closed = False
        _clients.add(self)

    async def get(
        self, asked: Mapping[int, Sequence[bytes]], *, until: float | None = None
    ) -> Answer:
        """See :meth:`Client.get`."""
        return self._all(asked, Connection.values, until)

    async def set(
        self, sent: Mapping[int, Mapping[bytes, bytes]], ttl: int, *, until: float | None = None
    ) -> Answer:
        """See :meth:`Client.set`."""
        return self._all(sent, lambda line, values: line.store(b"set", values, ttl), until)

    async def add(
        self, sent: Mapping[int, Mapping[bytes, bytes]], ttl: int, *, until: float | None = None
    ) -> Answer:
        """See :meth:`Client.add`."""
        return self._all(sent, lambda line, values: line.store(b"add", values, ttl), until)

    async def gets(self, server: int, key: bytes) -> Found | None:
        """See :meth:`Client.gets`."""
        found: Found | None = self._one(server, Connection.found, key)
        return found

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
        """See :meth:`Client.cas`."""
        return bool(
            self._one(server, lambda line, _: line.cas(key, value, unique, ttl), None, until)
        )

    async def delete(self, server: int, keys: Sequence[bytes]) -> None:
        """See :meth:`Client.delete`."""
        self._one(server, Connection.delete_many, keys)

    async def settings(self, server: int) -> Mapping[str, str]:
        """See :meth:`Client.settings`."""
        settings: Mapping[str, str] = self._one(server, lambda line, _: line.settings(), None)
        return settings

    def statistics(self) -> dict[str, int]:
        """``connects``; ``stale``: connections found dead before they were used; ``failures`` of
        servers; ``refused``: calls that an open breaker kept; ``busy``: no connection was free.
        """
        return dict(self._counts)

    def close(self) -> None:
        """Close all connections; verbs raise ``StoreError`` from now on."""
        self._closed = True
        for server in self._servers:
            server.pool.close()

    def after_fork(self) -> None:
        """In the child: nothing of the parent's is used, and nothing said on it."""
        self._counting = Lock()
        for server in self._servers:
            server.pool.abandon()

    def _one(self, server: int, call: Call, what: Any, until: float | None = None) -> Any:
        exchange = self._run({server: what}, call, until)[0]
        if exchange.error is not None:
            raise exchange.error
        return exchange.result

    def _all(self, asked: Mapping[int, Any], call: Call, until: float | None) -> Answer:
        answer = Answer()
        for exchange in self._run(asked, call, until):
            if exchange.error is not None:
                answer.failed[exchange.server.number] = exchange.error
            else:
                answer.values.update(exchange.result)
        return answer

    def _run(self, asked: Mapping[int, Any], call: Call, until: float | None) -> list[Exchange]:
        if self._closed:
            raise StoreError("the store is closed")
        latest = monotonic() + self._timeout
        until = latest if until is None else min(until, latest)
        exchanges = [
            Exchange(self._servers[number], call, asked[number], until) for number in sorted(asked)
        ]
        try:
            # In this order everywhere, so that no two threads wait for each other's connections.
            for exchange in exchanges:
                exchange.go(Exchange.take)
            if len(exchanges) > 1:
                _ask_ahead(exchanges)
            else:
                for exchange in exchanges:
                    exchange.go(Exchange.start)
            for exchange in exchanges:
                exchange.go(Exchange.finish)
        finally:
            for exchange in exchanges:
                exchange.end()
        return exchanges

    def _count(self, name: str) -> None:
        with self._counting:
            self._counts[name] += 1


def _ask_ahead(exchanges: list[Exchange]) -> None:
    # Those that are connected first: connecting may take all the time there is.
    for exchange in sorted(exchanges, key=lambda each: not each.connected()):
        exchange.go(Exchange.start)
        exchange.go(Exchange.ask)


def _accept(_server: int, _settings: Mapping[str, str]) -> None:
    pass


def _renew() -> None:
    for client in list(_clients):
        client.after_fork()


os.register_at_fork(after_in_child=_renew)
