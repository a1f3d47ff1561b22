"""The contract that every store keeps.

A store holds *pages* by slot and *tokens* by namespace, and may lend *leases*. It knows nothing of
rules, requests or HTTP; it never decides whether a page may be served.

Two laws:

- A look-up or an admission that fails is a miss: the engine catches what these verbs raise, and the
  request goes to the application.
- An invalidation that fails is an error: ``replace_tokens`` returns only when the new tokens are
  what every later ``read`` in any process sees, and raises ``StoreError`` otherwise.

All verbs are coroutines, so that the engine is written once. They never *suspend*: without an event
loop they run to their end in one step, which may block the thread for a bounded time. A store that
has a better way on an event loop says so with ``on_loop``: its twin there may suspend. The whole
contract is the docstring of :class:`pagegen.testing.StoreContract`, which is also its test suite.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from ..messages import StoredResponse


class Reading(NamedTuple):
    """Page and tokens of one look-up; what is missing, expired or unreadable is None."""

    page: StoredResponse | None
    tokens: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store says of itself, and what is made of it.

    blocking_reads: ``read`` may wait for a disk, a network or a lock. On an event loop such a store
        runs in a thread, unless it has a twin; one that does not block is called directly.
    blocking_writes: the same for all other verbs.
    shared: other processes see what this one writes. Only shared stores can have a near store.
    one_trip: ``read`` asks for page and tokens at once. Told to people; nothing depends on it.
    compare_and_set: a lease is given back by its holder only, atomically. ``leases`` needs it.
    leases: the store has the verbs of :class:`Leases`.
    """

    blocking_reads: bool
    blocking_writes: bool
    shared: bool
    one_trip: bool = True
    compare_and_set: bool = False
    leases: bool = False


class Store(Protocol):
    """Pages by slot, tokens by namespace. See the module for the two laws.

    A verb raises ``StoreError`` (or what its library raises) when it could not do its work. It is
    safe to call from many threads at once, and after ``fork`` on both sides of it.
    """

    capabilities: Capabilities

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        """Page and tokens in one trip; a ``slot`` of None asks for the tokens alone.

        Raises where a token cannot be known: None says that there is none. A page may be another
        key's: the engine compares whole keys.
        """

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """Give a token to each namespace that has none; returns the tokens that all have now, as a
        ``read`` would. Atomic for each of them. ``ttl`` in seconds.
        """

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """Give these namespaces these tokens, whatever they had: the invalidation.

        - When it returns, no later ``read`` anywhere returns an earlier token.
        - Raises ``StoreError`` when that cannot be said of every one of them; of some it may be
          true all the same. Never sends a token twice, nor to another server than the first.
        """

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        """Remove these where they are what is there, each as ``add_tokens`` or ``read`` gave it:
        what another has put there stays. Returns those that were removed; atomic for each of them.

        Only marks of writers go this way (:mod:`pagegen.law.marks`), never tokens of pages.
        """

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """Put a page into its slot, over what was there, whole or not at all; False when there is
        no room for it. Never touches tokens. ``ttl`` in seconds.
        """

    async def delete_page(self, slot: bytes) -> None:
        """Empty a slot. Housekeeping only: correctness never waits for it."""

    def statistics(self) -> Mapping[str, int]:
        """Counters and sizes (bytes) of this process, by name. Asks nobody outside of it."""

    def close(self) -> None:
        """Give back what the store holds open. Calling it twice is no error."""


@runtime_checkable
class Leases(Protocol):
    """What a store with ``capabilities.leases`` has besides."""

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        """Take the lease of a slot for ``term`` seconds; False while somebody else holds it, and
        only then: without room for another one it is given, and lost at once.

        ``owner`` is 16 random bytes, new each time. No correctness rests on a lease: it saves work.
        """

    async def release(self, slot: bytes, owner: bytes) -> None:
        """Give a lease back. Does nothing to one that is somebody else's by now."""


#: Page and tokens of a glance.
Glimpse = tuple[StoredResponse | None, tuple[bytes | None, ...]]


class Glances(Protocol):
    """What a store has besides that often knows at once what ``read`` would say."""

    def glance(self, slot: bytes | None, namespaces: Sequence[str]) -> Glimpse | None:
        """What ``read`` would return now, found without suspending, blocking or asking anybody
        outside of the process; None where that cannot be. Raises what ``read`` would.

        For speed alone: whoever gets None reads.
        """


def glance_of(store: Store) -> Callable[[bytes | None, Sequence[str]], Glimpse | None] | None:
    """The store's ``glance``; None where it has none that goes with its ``read``.

    A class that replaces ``read`` and inherits ``glance`` has none: it wants to be asked. What
    stands in front of another store may be given the other one's.
    """
    if "glance" in getattr(store, "__dict__", ()):
        return store.glance  # type: ignore[attr-defined, no-any-return]
    for kind in type(store).__mro__:
        if "glance" in vars(kind):
            found: Callable[[bytes | None, Sequence[str]], Glimpse | None]
            found = store.glance  # type: ignore[attr-defined]
            return found
        if "read" in vars(kind):
            break
    return None


@runtime_checkable
class HasTwin(Protocol):
    """A store that has a twin for event loops."""

    def on_loop(self) -> Store:
        """The store to await on an event loop: it sees the same pages and tokens, and may suspend.

        Called once; the twin is used on any number of loops and closed with the store itself.
        """
