"""What the log calls a namespace: its shape, because its values may say who somebody is.

``user:42/favorites`` is ``user:{user}/favorites`` by the template that made it, and
``user:…/favorites`` where no template did: what stands behind a colon is a value, and so is every
part with a digit, an escape or an ``@``. An operator learns what kind of pages is concerned and how
many there are; which ones, code has in ``InvalidationError.namespaces``. ``log_names`` writes whole
names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from itertools import islice
from typing import Final

from .namespaces import OF_URLS, RESERVED
from .rulebook import RuleBook

#: Names that one line of the log tells of; the others are counted.
SHOWN: Final = 50
#: Characters of a part that may be a word; longer ones are values.
MAX_WORD: Final = 32
_VALUE: Final = re.compile(r"[0-9%@]")


class Shapes:
    """Tells names of one cache. ``whole``: as they are. Immutable; thread-safe."""

    def __init__(self, book: RuleBook, *, whole: bool = False) -> None:
        self._book = book
        self._whole = whole

    def of(self, name: str) -> str:
        """What one name is called."""
        if self._whole:
            return name
        if name.startswith((OF_URLS, RESERVED)):
            return f"{name.partition(':')[0]}:…"
        template = self._book.template(name)
        return _guessed(name) if template is None else template.text

    def join(self, names: Collection[str]) -> str:
        """What several are called, those of one shape together with how many they are."""
        counts = Counter(map(self.of, islice(names, SHOWN)))
        told = [f"{shape} ({n} of them)" if n > 1 else shape for shape, n in counts.items()]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return ", ".join(told) + more


def _guessed(name: str) -> str:
    return "/".join(map(_part, name.split("/")))


def _part(part: str) -> str:
    word, colon, _ = part.partition(":")
    if len(word) > MAX_WORD or _VALUE.search(word):
        return "…"
    return f"{word}:…" if colon else word
