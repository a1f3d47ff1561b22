"""How each peer forgets a group of pages: all pages of one user, and nobody else's.

A :class:`Group` renders the pages of users through its cache, fills the cache with many of them,
and forgets those of one user with the peer's own call for that. Like the peers' applications these
modules import nothing of pagegen, but for :mod:`.ours`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

from ..pages import TEXT

T = TypeVar("T")

#: Whose pages are forgotten, and whose stay. No peer's pattern for one may match the other.
OURS: Final = 42
THEIRS: Final = 77
USERS: Final = (OURS, THEIRS)
#: Pages that are written at a time. Filling is not what is measured.
BATCH: Final = 1_000


class Group(ABC):
    """The pages of two users in a cache on ``store``."""

    def __init__(self, store: str) -> None:
        self.rendered = 0

    def render(self) -> str:
        """A page; counts."""
        self.rendered += 1
        return TEXT

    @abstractmethod
    def fill(self, pages: int) -> None:
        """Store so many pages of each user, numbered from 0, as visits to them would."""

    @abstractmethod
    def visit(self, user: int, number: int) -> None:
        """Get a page from the cache, or render and store it."""

    @abstractmethod
    def forget(self) -> None:
        """Forget the pages of ``OURS``: what is measured."""


class AwaitedGroup(Group):
    """The same for a peer of coroutines, which all run in one event loop."""

    def __init__(self, store: str) -> None:
        super().__init__(store)
        self._runner = asyncio.Runner()
        self.run(self.open(store))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return self._runner.run(coroutine)

    def fill(self, pages: int) -> None:
        """See :meth:`Group.fill`."""
        self.run(self.fill_soon(pages))

    def visit(self, user: int, number: int) -> None:
        """See :meth:`Group.visit`."""
        self.run(self.visit_soon(user, number))

    def forget(self) -> None:
        """See :meth:`Group.forget`."""
        self.run(self.forget_soon())

    @abstractmethod
    async def open(self, store: str) -> None:
        """Make the cache."""

    @abstractmethod
    async def fill_soon(self, pages: int) -> None:
        """Coroutine of :meth:`Group.fill`."""

    @abstractmethod
    async def visit_soon(self, user: int, number: int) -> None:
        """Coroutine of :meth:`Group.visit`."""

    @abstractmethod
    async def forget_soon(self) -> None:
        """Coroutine of :meth:`Group.forget`."""


def batches(pages: int) -> Iterator[list[int]]:
    """The numbers of so many pages, a batch at a time."""
    numbers = iter(range(pages))
    while batch := list(islice(numbers, BATCH)):
        yield batch
