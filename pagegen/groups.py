"""Namespaces found while a page is rendered: ``Cache-Groups`` (RFC 9875) and ``cache.tag``.

Their tokens cannot be read before the handler starts, since nobody knows their names. So there is
one more random register, the *sequence*: every invalidation, but of URLs alone, replaces it
*before* the tokens.

1. Read the sequence before the handler starts.
2. When it has ended, read the late tokens, and after them the sequence again.
3. Was it replaced, something was invalidated meanwhile, maybe one of these: do not store.

Only in this order is it safe. A write that the handler did not see ends after 1. If 2 reads a late
token from before that write, the write replaces it still, and the page dies. If 2 reads the new
one, the sequence was replaced before it, and 3 sees that.

Requests wait on equal tokens; a page with such namespaces is handed over on an equal sequence
only, for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Final

from .fields import strings
from .messages import ResponseHead
from .namespaces import OF_URLS, is_name
from .stores.s3fifo import S3Fifo

#: The register's name among the namespaces.
SEQUENCE: Final = "pagegen:sequence"
#: Namespaces that one response may add. RFC 9875 §2 asks for 32 at least.
MAX_GROUPS: Final = 128
#: Bytes of names that are remembered, of all slots together: some 5,000 of usual length. They are
#: kept as pages are, so that no flood of pages takes away those that visitors ask for.
LEARNED_BYTES: Final = 2**20
#: Measured: what a slot's names weigh besides their text, and each of them.
_OVERHEAD: Final = 480
_NAME_OVERHEAD: Final = 60


def found(head: ResponseHead, tags: Iterable[str], known: Iterable[str]) -> tuple[str, ...] | None:
    """The namespaces that a response adds to the ``known`` ones.

    None when they are too many, or one has no name that it could be forgotten by. Another page's
    URL is none either: what forgets a URL does not replace the sequence.
    """
    own = frozenset(known)
    named = dict.fromkeys((*strings(head.get("cache-groups")), *tags))
    late = tuple(name for name in named if name not in own)
    sound = all(is_name(name) and not name.startswith(OF_URLS) for name in late)
    return late if sound and len(late) <= MAX_GROUPS else None


class Groups:
    """What was found of slots, so that a hit fetches all tokens in its first trip. Thread-safe."""

    def __init__(self) -> None:
        self._learned: S3Fifo[bytes, tuple[str, ...]] = S3Fifo(LEARNED_BYTES)

    def of(self, slot: bytes) -> tuple[str, ...]:
        """The namespaces that this slot's page was last seen to add."""
        return self._learned.get(slot, 0.0) or ()

    def learn(self, slot: bytes, names: tuple[str, ...]) -> None:
        """Remember the namespaces that a slot's page adds."""
        if not names:
            self._learned.discard(slot)
        elif self._learned.get(slot, 0.0) != names:
            weight = _OVERHEAD + sum(len(name) + _NAME_OVERHEAD for name in names)
            self._learned.put(slot, names, weight, inf)

    def statistics(self) -> Mapping[str, int]:
        """Of the slots whose names are remembered: count, bytes, budget, evicted."""
        return self._learned.statistics()
