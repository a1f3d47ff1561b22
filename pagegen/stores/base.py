"""The contract that every store keeps.

A store holds *pages* by slot and *tokens* by namespace. It knows nothing of rules, requests or
HTTP; it never decides whether a page may be served.

Two laws:

- A look-up or an admission that fails is a miss: the engine catches what these verbs raise, and the
  request goes to the application.
- An invalidation that fails is an error: ``replace_tokens`` returns only when the new tokens are
  what every later ``read`` in any process sees, and raises ``StoreError`` otherwise.

All verbs are coroutines. A store that declares ``blocks = False`` never suspends in them, so the
WSGI front can step them without an event loop, and never waits for a disk or a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from ..messages import StoredResponse


class Reading(NamedTuple):
    """Page and tokens of one look-up; what is missing, expired or unreadable is None."""

    page: StoredResponse | None
    tokens: tuple[bytes | None, ...]


class Store(Protocol):
    """Pages by slot, tokens by namespace. See the module for the two laws."""

    #: Whether a verb may wait for something outside the process.
    blocks: bool
    #: Whether other processes see what this one writes.
    shared: bool

    async def read(self, slot: bytes, namespaces: Sequence[str]) -> Reading:
        """Page and tokens in one trip.

        - Tokens come in the order of ``namespaces``.
        - A page may be another key's: the engine compares whole keys.
        - Never creates, extends or changes anything.
        """

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """Give a token to each namespace that has none; those that have one keep it.

        - Atomic for each namespace: of two that add at once, one wins and both then read the same.
        - ``ttl`` in seconds; a token may vanish earlier (a miss), it never comes back.
        """

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """Give these namespaces these tokens, whatever they had: the invalidation.

        - When it returns, no later ``read`` anywhere returns an earlier token.
        - Raises ``StoreError`` when that cannot be said of every one of them.
        """

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """Put a page into its slot, over what was there; False when there is no room for it.

        - Whole or not at all: no ``read`` sees a part.
        - ``ttl`` in seconds; the page may vanish earlier.
        - Never touches tokens, neither by writing nor by making room.
        """

    async def delete_page(self, slot: bytes) -> None:
        """Empty a slot. Housekeeping only: correctness never waits for it."""

    def statistics(self) -> Mapping[str, int]:
        """Counters and sizes (bytes) of this process, by name."""

    def close(self) -> None:
        """Give back what the store holds open. Calling it twice is no error."""
