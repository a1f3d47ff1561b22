"""The client for event loops: one pipelined connection per server, and one for large bodies.

asyncio alone, because no library was at once safe to cancel, quick to notice a dead server and
fast. Each event loop has connections of its own; they are closed with the loop (when it shuts down
its asynchronous generators, as ``asyncio.run`` and all servers do), or with the client.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from ssl import SSLContext
from threading import Lock
from time import monotonic
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from ...errors import StoreError
from ...stepping import step
from ..breaker import Breaker
from .addresses import Address
from .client import Answer, Check, Found
from .connection import Connection, Counts, Target, Waiter
from .wire import Get, Question, Settings, deleting, storing, swapping

#: Seconds for one verb, connecting included.
TIMEOUT: Final = 0.05
#: Bytes of a value above which it has the other connection: a body of 1 MB in front of a token
#: delayed it from 210 to 497 µs.
LARGE: Final = 64 * 1024
#: Names of large values that are remembered; when they are so many, the memory starts anew.
MAX_LARGE: Final = 4096


class NativeClient:
    """A :class:`Client` for ``addresses``, with one breaker for each. Thread-safe.

    ``timeout`` is in seconds, for one verb; ``connect_timeout`` (the same by default) may be
    longer: the verbs fail in time, while the attempt goes on. ``ssl`` is for TCP servers alone.
    Used on any number of event loops. After ``fork`` the child connects anew.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        timeout: float = TIMEOUT,
        connect_timeout: float | None = None,
        breakers: Sequence[Breaker],
        ssl: SSLContext | None = None,
        check: Check | None = None,
    ) -> None:
        self._counts = Counts()
        patience = timeout if connect_timeout is None else connect_timeout
        self._targets = [
            Target(number, address, timeout, patience, breaker, ssl, check, self._counts)
            for number, (address, breaker) in enumerate(zip(addresses, breakers, strict=True))
        ]
        self._large: dict[bytes, None] = {}
        self._closed = False
        self._start()
        _clients.add(self)

    def _start(self) -> None:
        self._lock = Lock()
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, _Place] = WeakKeyDictionary()

    async def get(
        self, asked: Mapping[int, Sequence[bytes]], *, until: float | None = None
    ) -> Answer:
        """See :meth:`Client.get`."""
        questions = {server: Get(keys) for server, keys in asked.items() if keys}
        known = self._large.keys()
        large = [
            server for server in questions if known and not known.isdisjoint(asked[server])
        ]  # fmt: skip
        answer = Answer(failed=await self._ask(questions, large, until))
        for server, question in questions.items():
            if question.refusal and server not in answer.failed:
                answer.failed[server] = self._refused(server, question)
            elif server not in answer.failed:
                answer.values.update(question.values)
                if question.size > LARGE or server in large:
                    self._remember(question.values)
        return answer

    async def set(
        self, sent: Mapping[int, Mapping[bytes, bytes]], ttl: int, *, until: float | None = None
    ) -> Answer:
        """See :meth:`Client.set`."""
        return await self._store(b"set", sent, ttl, until)

    async def add(
        self, sent: Mapping[int, Mapping[bytes, bytes]], ttl: int, *, until: float | None = None
    ) -> Answer:
        """See :meth:`Client.add`."""
        return await self._store(b"add", sent, ttl, until)

    async def gets(self, server: int, key: bytes) -> Found | None:
        """See :meth:`Client.gets`."""
        question = Get((key,), unique=True)
        await self._ask_one(server, question)
        value = question.values.get(key)
        return None if value is None else (value, question.numbers[key])

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
        question = swapping(key, value, unique, ttl)
        await self._ask_one(server, question, until)
        return bool(question.done)

    async def delete(self, server: int, keys: Sequence[bytes]) -> None:
        """See :meth:`Client.delete`."""
        if keys:
            await self._ask_one(server, deleting(keys))

    async def settings(self, server: int) -> Mapping[str, str]:
        """See :meth:`Client.settings`."""
        question = Settings()
        await self._ask_one(server, question)
        return question.found

    def statistics(self) -> dict[str, int]:
        """Counters of this process, by name: what became of connections and calls."""
        return {counter.name: getattr(self._counts, counter.name) for counter in fields(Counts)}

    def close(self) -> None:
        """See :meth:`Client.close`. From any thread; verbs fail from now on."""
        with self._lock:
            self._closed = True
            places = list(self._places.items())
            self._places.clear()
        for loop, place in places:
            if loop is _running():
                place.close()
            else:
                # A loop that is closed has closed its connections.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(place.close)

    async def _store(
        self,
        verb: bytes,
        sent: Mapping[int, Mapping[bytes, bytes]],
        ttl: int,
        until: float | None,
    ) -> Answer:
        questions = {server: storing(verb, items, ttl) for server, items in sent.items() if items}
        large = [server for server in questions if len(questions[server].request) > LARGE]
        for server in large:
            self._remember(sent[server])
        answer = Answer(failed=await self._ask(questions, large, until))
        for server, question in questions.items():
            if server not in answer.failed:
                answer.values.update((key, sent[server][key]) for key in question.done)
        return answer

    def _remember(self, values: Mapping[bytes, bytes]) -> None:
        """Which names hold large values, so that the next reading goes the other way."""
        for key, value in values.items():
            if len(value) <= LARGE:
                self._large.pop(key, None)
            else:
                if len(self._large) >= MAX_LARGE:
                    self._large = {}
                self._large[key] = None

    async def _ask_one(self, server: int, question: Question, until: float | None = None) -> None:
        large = (server,) if len(question.request) > LARGE else ()
        failed = await self._ask({server: question}, large, until)
        if failed:
            raise StoreError(str(failed[server]))
        if question.refusal:
            raise self._refused(server, question)

    async def _ask(
        self, questions: Mapping[int, Question], large: Iterable[int], until: float | None
    ) -> dict[int, Exception]:
        """Ask all at once; what went wrong, by server. The answers stand in the questions."""
        failed: dict[int, Exception] = {}
        waiters: dict[int, Waiter] = {}
        try:
            place = self._place()
        except StoreError as closed:
            return dict.fromkeys(questions, closed)
        try:
            for server, question in questions.items():
                sent = self._send(place, server, question, server in large, until)
                if isinstance(sent, StoreError):
                    failed[server] = sent
                else:
                    waiters[server] = sent
            if until is not None and waiters:
                await asyncio.wait(waiters.values(), timeout=until - monotonic())
            for server, waiter in waiters.items():
                in_time = until is None or waiter.done()
                error = await waiter if in_time else self._late(server, waiter)
                if error is not None:
                    failed[server] = error
        except BaseException:
            for waiter in waiters.values():
                waiter.cancel()
            raise
        return failed

    def _send(
        self, place: _Place, server: int, question: Question, large: bool, until: float | None
    ) -> Waiter | StoreError:
        target = self._targets[server]
        if until is not None and until <= monotonic():
            return target.error("no time is left")
        if not target.breaker.allows():
            self._counts.refused_by_breaker += 1
            cause = target.breaker.cause or "it failed repeatedly"
            return target.error(f"it is left alone for a while: {cause}")
        try:
            return place.connection(target, large).ask(question)
        except StoreError as error:
            target.breaker.undecided()
            return error

    def _late(self, server: int, waiter: Waiter) -> StoreError:
        waiter.cancel()
        return self._targets[server].error("no answer in the time that was left")

    def _refused(self, server: int, question: Question) -> StoreError:
        line = question.refusal[:200].decode("latin-1")
        return self._targets[server].error(line)

    def _place(self) -> _Place:
        loop = asyncio.get_running_loop()
        place = self._places.get(loop)
        if place is None or place.closed:
            with self._lock:
                if self._closed:
                    raise StoreError("the memcached client was closed")
                # What a loop left that was closed without a word would keep it alive.
                for other in [loop for loop in self._places if loop.is_closed()]:
                    self._places.pop(other).close()
                place = self._places[loop] = _Place(loop)
        return place


class _Place:
    """The connections of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.closed = False
        self.connections: dict[tuple[int, bool], Connection] = {}
        self._loop = loop
        self._guard = self._until_shutdown()
        step(self._guard.__anext__())

    def connection(self, target: Target, large: bool) -> Connection:
        """The connection to a server, a new one when there is none or it is gone."""
        key = target.number, large
        found = self.connections.get(key)
        if found is None or found.gone:
            found = self.connections[key] = Connection(self._loop, target)
        return found

    def close(self) -> None:
        """Close them all. In the loop's thread, or when the loop is closed."""
        if self.closed:
            return
        self._end()
        step(self._guard.aclose())

    def _end(self) -> None:
        self.closed = True
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()

    async def _until_shutdown(self) -> AsyncGenerator[None, None]:
        """Hears when the loop shuts down: then ``shutdown_asyncgens`` runs what stands last here.

        It is the one announcement that event loops make.
        """
        try:
            yield
        finally:
            if not self.closed:
                self._end()
                await asyncio.sleep(0)  # the transports close their sockets in the next turn


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_clients: WeakSet[NativeClient] = WeakSet()
#: In a child: what the parent had. It must not be finalised here; see ``Connection.disown``.
_kept: list[_Place] = []


def _after_fork() -> None:
    for client in list(_clients):
        for place in list(client._places.values()):
            for connection in place.connections.values():
                connection.disown()
            _kept.append(place)
        client._start()


os.register_at_fork(after_in_child=_after_fork)
