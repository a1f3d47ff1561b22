"""fastapi-cache2: ``FastAPICache.clear(namespace=…)``, with keys that begin with their user."""

from __future__ import annotations

from typing import Any

from fastapi_cache import FastAPICache
from fastapi_cache.coder import PickleCoder
from fastapi_cache.decorator import cache

from ..fastapi_cache import backend
from ..pages import HOUR, SITE
from . import OURS, USERS, AwaitedGroup, batches


class Namespaces(AwaitedGroup):
    """In memory it looks at every key; Redis does, in a script that nothing interrupts.

    The decorator's own namespace is fixed, so a key builder makes one for each user.
    """

    _backend: Any
    _page: Any

    async def open(self, store: str) -> None:
        """See :meth:`AwaitedGroup.open`."""
        self._backend = backend(store)
        FastAPICache.init(self._backend, prefix=SITE, coder=PickleCoder, expire=HOUR)

        def key(*_: Any, args: tuple[int, int], **__: Any) -> str:
            return _key(*args)

        @cache(key_builder=key)
        async def page(user: int, number: int) -> str:
            return self.render()

        self._page = page

    async def fill_soon(self, pages: int) -> None:
        """See :meth:`Group.fill`."""
        for user in USERS:
            for batch in batches(pages):
                coded = {_key(user, number): PickleCoder.encode(self.render()) for number in batch}
                await self._write(coded)

    async def _write(self, coded: dict[str, bytes]) -> None:
        redis = getattr(self._backend, "redis", None)
        if redis is None:
            for key, value in coded.items():
                await self._backend.set(key, value, HOUR)
            return
        async with redis.pipeline(transaction=False) as pipe:
            for key, value in coded.items():
                pipe.set(key, value, ex=HOUR)
            await pipe.execute()

    async def visit_soon(self, user: int, number: int) -> None:
        """See :meth:`Group.visit`."""
        await self._page(user, number)

    async def forget_soon(self) -> None:
        """See :meth:`Group.forget`."""
        await FastAPICache.clear(namespace=f"user:{OURS}")


def _key(user: int, number: int) -> str:
    return f"{SITE}:user:{user}:{number}"
