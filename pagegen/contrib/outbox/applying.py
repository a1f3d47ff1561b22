"""After the commit: names are forgotten, and only then their rows deleted.

Nothing here raises an ``Exception``: the change stands, whatever becomes of the cache. What the
store does not acknowledge is owed by this process, and its row stays for a sweeper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import InvalidationError
from ...logs import cause, logger
from . import shelf
from .shelf import Begin

if TYPE_CHECKING:
    from ...cache import PageCache

log = logger("pagegen.contrib.outbox")


@dataclass(frozen=True, slots=True)
class Written:
    """What one call wrote: names, whether softly, and the ids of its rows."""

    names: tuple[str, ...]
    soft: bool
    ids: tuple[str, ...]


def ids_of(written: Iterable[Written]) -> list[str]:
    """The ids of all rows."""
    return [identifier for call in written for identifier in call.ids]


def hard_and_soft(written: Iterable[Written]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names to forget hard and softly, each once; what is to be forgotten hard is so."""
    calls = list(written)
    hard = dict.fromkeys(name for call in calls if not call.soft for name in call.names)
    soft = dict.fromkeys(name for call in calls if call.soft for name in call.names)
    return tuple(hard), tuple(name for name in soft if name not in hard)


def apply(cache: PageCache, written: Sequence[Written]) -> bool:
    """Forget; whether the store acknowledged all. What fails for some is tried for the others."""
    heard = True
    for names, soft in _calls(written):
        try:
            now_of(cache)(*names, soft=soft)
        except Exception as error:  # whatever a store raises, the change is committed
            heard = False
            _tell(cache, error, names)
    return heard


async def aapply(cache: PageCache, written: Sequence[Written]) -> bool:
    """:func:`apply` without blocking an event loop."""
    heard = True
    for names, soft in _calls(written):
        try:
            await cache.ainvalidate(*names, soft=soft)
        except Exception as error:
            heard = False
            _tell(cache, error, names)
    return heard


def _calls(written: Iterable[Written]) -> list[tuple[tuple[str, ...], bool]]:
    hard, soft = hard_and_soft(written)
    return [(names, how) for names, how in ((hard, False), (soft, True)) if names]


def now_of(cache: PageCache) -> Callable[..., object]:
    """At once: a cache that waits for commits of its own framework is past them here."""
    now: Callable[..., object] = getattr(cache, "invalidate_now", cache.invalidate)
    return now


def _tell(cache: PageCache, error: Exception, names: Sequence[str]) -> None:
    log.error(
        "committed, but the store did not acknowledge (%s): %s. The rows stay in the outbox until "
        "a sweeper has applied them",
        type(error).__name__,
        cache.engine.shown(names),
        exc_info=None if isinstance(error, InvalidationError) else error,
    )


def committed(begin: Begin, written: list[Written]) -> list[Written]:
    """Those that no rolled back savepoint took along; all where the database does not answer.

    To forget what was not committed costs a rendering. What was, and is not forgotten, is old.
    """
    ids = ids_of(written)
    if not ids:
        return []
    try:
        with begin() as execute:
            there = frozenset(shelf.present(execute, ids))
    except Exception as error:  # the database's: its libraries share none
        _unasked(error, ids)
        return written
    return [call for call in written if there.issuperset(call.ids)]


def settle(begin: Begin, ids: Sequence[str]) -> None:
    """Delete rows whose names were forgotten, in a transaction of its own."""
    if not ids:
        return
    try:
        with begin() as execute:
            shelf.delete(execute, ids)
    except Exception as error:
        _left(error, ids)


def _unasked(error: Exception, ids: Sequence[str]) -> None:
    log.warning(
        "the database could not be asked which of %d rows of the outbox were committed (%s): "
        "the names of all are forgotten",
        len(ids),
        cause(error),
    )


def _left(error: Exception, ids: Sequence[str]) -> None:
    log.warning(
        "applied, but %d rows of the outbox could not be deleted (%s): a sweeper applies them "
        "once more, which is harmless",
        len(ids),
        cause(error),
    )
