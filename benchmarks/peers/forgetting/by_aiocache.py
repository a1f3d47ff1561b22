"""aiocache: ``clear(namespace=…)``, with a namespace for each user."""

from __future__ import annotations

from typing import Any

from aiocache import Cache
from aiocache.serializers import NullSerializer, StringSerializer

from ..aiocaches import options
from ..pages import HOUR
from . import OURS, USERS, AwaitedGroup, batches


class Namespaces(AwaitedGroup):
    """In memory it looks at every key of the cache; on Redis at every key of the server.

    There it sends all keys that it found back in one command. Its deadline of five seconds is
    lifted for the call, or large groups would be an error.
    """

    _cache: Any

    async def open(self, store: str) -> None:
        """See :meth:`AwaitedGroup.open`."""
        serializer = NullSerializer() if store == "memory" else StringSerializer()
        found = {**options(store), "serializer": serializer}
        self._cache = Cache(found.pop("cache"), **found)

    async def fill_soon(self, pages: int) -> None:
        """See :meth:`Group.fill`."""
        for user in USERS:
            for batch in batches(pages):
                pairs = [(f"pages/{number}", self.render()) for number in batch]
                await self._cache.multi_set(pairs, ttl=HOUR, namespace=_namespace(user))

    async def visit_soon(self, user: int, number: int) -> None:
        """See :meth:`Group.visit`."""
        key, namespace = f"pages/{number}", _namespace(user)
        if await self._cache.get(key, namespace=namespace) is None:
            await self._cache.set(key, self.render(), ttl=HOUR, namespace=namespace)

    async def forget_soon(self) -> None:
        """See :meth:`Group.forget`."""
        await self._cache.clear(namespace=_namespace(OURS), timeout=0)


def _namespace(user: int) -> str:
    return f"users/{user}/"
