"""What the engine says in the log: mostly once, so that a flood of requests repeats nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from .errors import InvalidationError
from .law.storing import Refusal
from .rulebook import RuleBook

log = logging.getLogger("pagegen.engine")

#: Names that are doubted; a cache that is told of other caches' names has said enough.
MAX_DOUBTED: Final = 20


class Remarks:
    """Remarks of one engine, each made once."""

    def __init__(self, book: RuleBook) -> None:
        self._book = book
        self._store_failed = False
        self._not_stored: set[tuple[str, Refusal]] = set()
        self._doubted: set[str] = set()

    def store_failed(self, error: Exception) -> None:
        """The store raised in a look-up or an admission."""
        if not self._store_failed:
            self._store_failed = True
            log.error("the store failed; requests go to the application", exc_info=error)

    def not_stored(self, rule: str, refusal: Refusal) -> None:
        """A response under a rule was refused: nothing else shows it."""
        if (rule, refusal) not in self._not_stored:
            self._not_stored.add((rule, refusal))
            log.info("rule %r: a response was not stored: %s (said once)", rule, refusal)

    def not_acknowledged(self, error: InvalidationError) -> None:
        """A late invalidation failed: said each time, because each time pages are old."""
        log.error("%s", error)

    def invalidated(self, names: Sequence[str]) -> None:
        """A name that no rule's pages can have is most often a slip of the pen."""
        for name in names:
            if name in self._doubted or self._book.has(name) or len(self._doubted) >= MAX_DOUBTED:
                continue
            self._doubted.add(name)
            log.warning("no rule of this cache has pages of namespace %r: is it a slip?", name)
