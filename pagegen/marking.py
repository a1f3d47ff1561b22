"""Marking: the two ends of a strict write, around a commit (:mod:`pagegen.law.marks`).

1. *Begin*: one free mark of each namespace, then new tokens for all of them. Both acknowledged, or
   the write does not begin.
2. *End*: new tokens again, which other rules' pages and marks that were lost need; then the own
   marks go, each only where it is still there. Is the store silent, they lapse.

Who finds no free mark gives back what it has before it waits, so nobody waits for who waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .errors import InvalidationError, NamespaceError, WritingError
from .invalidating import Invalidator
from .law import marks
from .logs import cause
from .namespaces import check
from .state import State
from .stores.base import Store


@dataclass(frozen=True, slots=True)
class Marked:
    """What a writer holds: its ``marks``, each as the store gave it, good ``until`` then (monotonic
    seconds), for ``term`` seconds in all.
    """

    namespaces: tuple[str, ...]
    marks: Mapping[str, bytes]
    term: float
    until: float
    soft: bool


class Marking:
    """Begins and ends strict writes in one face of the store."""

    def __init__(self, state: State, store: Store, invalidator: Invalidator) -> None:
        self._state = state
        self._store = store
        self._invalidator = invalidator
        self._monotonic = state.sources.monotonic

    def names(self, namespaces: Iterable[str]) -> tuple[str, ...]:
        """These namespaces, each once and in a fixed order; raises ``NamespaceError``."""
        names = tuple(sorted({check(name) for name in namespaces}))
        for name in names:
            if not marks.marked(name):
                raise NamespaceError(
                    f"{name!r} is a URL's: pages are kept from being stored by the namespaces that "
                    "their rule declares. Name one of these"
                )
        self._state.remarks.writes(names)
        return names

    async def begin(self, names: tuple[str, ...], term: float, *, soft: bool) -> Marked | None:
        """Put marks up for ``term`` seconds and give new tokens; None where a namespace has as many
        writers as it can have. Raises ``WritingError`` when the store does not acknowledge.
        """
        until = self._monotonic() + term
        mine: dict[str, bytes] = {}
        complete = False
        try:
            if complete := await self._claim(names, term, mine):
                await self._invalidator.foretell(names, soft=soft)
        except Exception as error:
            complete = False
            told = self._state.shapes.join(names)
            raise WritingError(names, cause(error), told) from error
        finally:
            if not complete:
                await self.give_back(mine)
        return Marked(names, mine, term, until, soft) if complete else None

    async def _claim(self, names: Sequence[str], term: float, mine: dict[str, bytes]) -> bool:
        """Take a mark of each; False where one has none left. ``mine`` grows by what was taken."""
        left = list(names)
        for number in range(marks.MARKS):
            minted = {marks.mark(number, name): self._state.token() for name in left}
            found = await self._store.add_tokens(minted, term)
            # What is read is what was written, and perhaps who the server is.
            taken = {m: found[m] for m, token in minted.items() if found[m].startswith(token)}
            mine |= taken
            left = [name for name in left if marks.mark(number, name) not in taken]
            if not left:
                return True
        return False

    async def give_back(self, mine: Mapping[str, bytes]) -> bool | None:
        """Take marks down; whether all of them were there. None, and they lapse, where the store
        fails.
        """
        if not mine:
            return True
        try:
            return len(await self._store.remove_tokens(mine)) == len(mine)
        except Exception as error:
            self._state.store_failed(error)
            return None

    async def end(self, marked: Marked) -> bool:
        """Forget the namespaces and take the marks down; whether they were up until now.

        Raises ``InvalidationError`` where the store does not acknowledge: then they lapse.
        """
        ended = self._monotonic()
        await self._invalidator.invalidate(marked.namespaces, soft=marked.soft)
        there = await self.give_back(marked.marks)
        lapsed = self._monotonic() >= marked.until
        # One that lapsed when the block was over already was there for long enough.
        kept = bool(there) or (ended < marked.until and (lapsed or there is None))
        self._state.counters.count("strict-write" if kept else "strict-lost")
        if not kept:
            self._state.remarks.marks_lost(marked.namespaces, marked.term)
        return kept

    def busy(self) -> None:
        """Somebody found no mark in time."""
        self._state.counters.count("strict-busy")

    def tell(self, error: InvalidationError) -> None:
        """An end that was not acknowledged, whose caller hears of something else."""
        self._state.remarks.not_acknowledged(error)
