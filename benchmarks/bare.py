"""The floor of a store: the same keys, asked for with the same client and nothing around it.

Each floor opens what it needs on the ground's stack, and gives a *getter*: for some keys, the
action that gets their values. Options are the libraries' own: no timeouts, no breaker, no checks.
Actions of floors whose name ends in ``_awaited`` are awaited, the others block.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any, Final

from pagegen.stores.threads import THREADS

Keys = Sequence[bytes]
Held = Mapping[bytes, bytes]
Getter = Callable[[Keys], Callable[[], Any]]


@dataclass(frozen=True, slots=True)
class Ground:
    """What is open while stores are measured: one event loop, and what has to be closed."""

    stack: ExitStack
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    def __post_init__(self) -> None:
        self.stack.enter_context(self.runner)


#: ``place`` is the server's; ``held`` is what the store holds, for floors that cannot ask it.
Floor = Callable[[Ground, str, Held], Getter]

_MAP_BYTES: Final = 16 << 20


def values(answer: Any, keys: Keys) -> list[bytes | None]:
    """What a getter got, in the order of the keys: clients answer with mappings or with lists."""
    return [answer.get(key) for key in keys] if isinstance(answer, Mapping) else list(answer)


def memory(_ground: Ground, _place: str, held: Held) -> Getter:
    """A dictionary."""
    get = dict(held).get
    return lambda keys: lambda: [get(key) for key in keys]


def lmdb(ground: Ground, _place: str, held: Held) -> Getter:
    """One read transaction, in an environment of its own: a process opens each only once."""
    directory = ground.stack.enter_context(TemporaryDirectory())
    environment = import_module("lmdb").open(
        directory, map_size=_MAP_BYTES, sync=False, metasync=False, readahead=False
    )
    ground.stack.callback(environment.close)
    with environment.begin(write=True) as transaction:
        for key, value in held.items():
            transaction.put(key, value)

    def getter(keys: Keys) -> Callable[[], list[bytes | None]]:
        def action() -> list[bytes | None]:
            with environment.begin() as transaction:
                return [transaction.get(key) for key in keys]

        return action

    return getter


def at_once_awaited(floor: Floor) -> Floor:
    """A floor that neither waits nor suspends, in a coroutine."""

    def awaited(ground: Ground, place: str, held: Held) -> Getter:
        getter = floor(ground, place, held)

        def awaited_getter(keys: Keys) -> Callable[[], Awaitable[Any]]:
            action = getter(keys)

            async def awaited_action() -> Any:
                return action()

            return awaited_action

        return awaited_getter

    return awaited


def pymemcache(ground: Ground, place: str, _held: Held) -> Getter:
    """``PooledClient.get_many``."""
    client = import_module("pymemcache.client.base").PooledClient(place)
    ground.stack.callback(client.close)
    return lambda keys: lambda: client.get_many(keys)


def pymemcache_awaited(ground: Ground, place: str, held: Held) -> Getter:
    """``PooledClient.get_many`` in a thread, of as many as pagegen has."""
    getter = pymemcache(ground, place, held)
    threads = ground.stack.enter_context(ThreadPoolExecutor(THREADS))

    def awaited_getter(keys: Keys) -> Callable[[], Awaitable[Any]]:
        action = getter(keys)
        return lambda: asyncio.get_running_loop().run_in_executor(threads, action)

    return awaited_getter


def redis(ground: Ground, place: str, _held: Held) -> Getter:
    """``Redis.mget``."""
    client = import_module("redis").Redis.from_url(f"redis://{place}/0")
    ground.stack.callback(client.close)
    return lambda keys: lambda: client.mget(keys)


def redis_awaited(ground: Ground, place: str, _held: Held) -> Getter:
    """``redis.asyncio.Redis.mget``."""
    client = import_module("redis.asyncio").Redis.from_url(f"redis://{place}/0")
    ground.stack.callback(lambda: ground.runner.run(client.aclose()))
    return lambda keys: lambda: client.mget(keys)


def pipelined_awaited(ground: Ground, place: str, _held: Held) -> Getter:
    """One connection to memcached, and as little on it as can be awaited: a :class:`Pipeline`."""
    host, _, port = place.partition(":")
    loop = ground.runner.get_loop()
    connecting = loop.create_connection(Pipeline, host, int(port))
    transport, pipeline = loop.run_until_complete(connecting)
    ground.stack.callback(transport.close)

    def getter(keys: Keys) -> Callable[[], Awaitable[Any]]:
        line = b"get %b\r\n" % b" ".join(keys)
        return lambda: pipeline.get(line)

    return getter


class Pipeline(asyncio.Protocol):
    """Lines out, replies in, futures in a queue. No deadlines, no cancelling, no doubts."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[Held]] = deque()
        self._came = bytearray()

    def connection_made(self, transport: Any) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = transport

    def get(self, line: bytes) -> asyncio.Future[Held]:
        """The values that this ``get`` finds."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._transport.write(line)
        return future

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._came += data
        while self._waiting and (reply := self._reply()) is not None:
            self._waiting.popleft().set_result(reply)

    def _reply(self) -> Held | None:
        came, at = self._came, 0
        found: dict[bytes, bytes] = {}
        while (end := came.find(b"\r\n", at)) >= 0:
            if came.startswith(b"END", at):
                del came[: end + 2]
                return found
            _, key, _, size = bytes(came[at:end]).split()
            at = end + 4 + int(size)
            found[key] = bytes(came[end + 2 : at - 2])
        return None
