"""cashews: ``delete_tags`` and ``delete_match``."""

from __future__ import annotations

from typing import Any, Final

from ..cashews import opened
from ..pages import HOUR, SITE
from . import OURS, USERS, AwaitedGroup, batches

#: Entries that the store in memory keeps: its default of 1000 would be too few.
SIZE: Final = 1_000_000
#: What cashews puts before the name of a tag to get the key of its set.
_TAG: Final = "_tag:"


class Tags(AwaitedGroup):
    """A set per tag holds the keys; they are taken out and deleted a hundred at a time.

    The sets are filled in batches, with the command that ``set(…, tags=…)`` uses for each page:
    in memory that copies the whole set every time.
    """

    _cache: Any
    _page: Any

    async def open(self, store: str) -> None:
        """See :meth:`AwaitedGroup.open`."""
        size = {"size": SIZE} if store == "memory" else {}
        self._cache = opened(store, **size)

        @self._cache(ttl=HOUR, key=f"{SITE}:pages:{{user}}:{{number}}", tags=("user:{user}",))
        async def page(user: int, number: int) -> str:
            return self.render()

        self._page = page

    async def fill_soon(self, pages: int) -> None:
        """See :meth:`Group.fill`."""
        for user in USERS:
            for batch in batches(pages):
                filled = {f"{SITE}:pages:{user}:{number}": self.render() for number in batch}
                await self._cache.set_many(filled, expire=HOUR)
                await self._cache.set_add(f"{_TAG}user:{user}", *filled, expire=HOUR)

    async def visit_soon(self, user: int, number: int) -> None:
        """See :meth:`Group.visit`."""
        await self._page(user, number)

    async def forget_soon(self) -> None:
        """See :meth:`Group.forget`."""
        await self._cache.delete_tags(f"user:{OURS}")


class Match(Tags):
    """All keys are compared with a pattern; on Redis the server compares them.

    The keys have tags here too: those of the pages that go are taken out of their sets.
    """

    async def forget_soon(self) -> None:
        """See :meth:`Group.forget`."""
        await self._cache.delete_match(f"{SITE}:pages:{OURS}:*")
