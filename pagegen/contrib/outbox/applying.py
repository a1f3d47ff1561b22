"""After the commit: names are forgotten, and only then their rows deleted.

Nothing here raises an ``Exception``: the change stands, whatever becomes of the cache. What the
store does not acknowledge is owed by this process, and its row stays for a sweeper.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import InvalidationError

if TYPE_CHECKING:
    from ...cache import PageCache

log = logging.getLogger("pagegen.contrib.outbox")

#: Names that are shown in a line of the log.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Written:
    """What one call wrote: names, whether softly, and the ids of its rows."""

    names: tuple[str, ...]
    soft: bool
    ids: tuple[str, ...]


def hard_and_soft(written: Iterable[Written]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names to forget hard and softly, each once; what is to be forgotten hard is so."""
    calls = list(written)
    hard = dict.fromkeys(name for call in calls if not call.soft for name in call.names)
    soft = dict.fromkeys(name for call in calls if call.soft for name in call.names)
    return tuple(hard), tuple(name for name in soft if name not in hard)


def apply(cache: PageCache, written: Sequence[Written]) -> bool:
    """Forget; whether the store acknowledged all."""
    names: tuple[str, ...] = ()
    try:
        for names, soft in zip(hard_and_soft(written), (False, True), strict=True):
            if names:
                now_of(cache)(*names, soft=soft)
    except InvalidationError as error:
        tell(error, names)
        return False
    return True


async def aapply(cache: PageCache, written: Sequence[Written]) -> bool:
    """:func:`apply` without blocking an event loop."""
    names: tuple[str, ...] = ()
    try:
        for names, soft in zip(hard_and_soft(written), (False, True), strict=True):
            if names:
                await cache.ainvalidate(*names, soft=soft)
    except InvalidationError as error:
        tell(error, names)
        return False
    return True


def now_of(cache: PageCache) -> Callable[..., object]:
    """At once: a cache that waits for commits of its own framework is past them here."""
    now: Callable[..., object] = getattr(cache, "invalidate_now", cache.invalidate)
    return now


def tell(error: Exception, names: Sequence[str]) -> None:
    """The commit stands and the store did not hear of it."""
    log.error(
        "committed, but the store did not acknowledge (%s): %s. The rows stay in the outbox until "
        "a sweeper has applied them",
        type(error).__name__,
        shown(names),
    )


def left(error: Exception, ids: Sequence[str]) -> None:
    """Applied, but not deleted."""
    log.warning(
        "applied, but %d rows of the outbox could not be deleted (%s: %s): a sweeper applies them "
        "once more, which is harmless",
        len(ids),
        type(error).__name__,
        error,
    )


def shown(names: Sequence[str]) -> str:
    """Names for a line of the log."""
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
