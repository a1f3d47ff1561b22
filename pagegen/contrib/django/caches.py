"""The one cache of a Django process, built from the settings when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import get_ident
from typing import Any, Final, cast

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed

from pagegen.cache import PageCache
from pagegen.config import Configuration
from pagegen.errors import ConfigError
from pagegen.forks import fork_safe_lock
from pagegen.identification import Identifier
from pagegen.rulebook import RuleBook
from pagegen.verdicts import Invalidation

from . import conf, transactions, views

#: Invalidations whose caller may have been cancelled.
_unfinished: Final[set[asyncio.Task[Invalidation]]] = set()


class DjangoPageCache(PageCache):
    """A page cache whose invalidations wait for the commit of the transaction around them."""

    @property
    def options(self) -> conf.Options:
        """What the settings say of Django alone."""
        return conf.options()

    def invalidate(self, *names: str, soft: bool = False, using: str | None = None) -> Invalidation:
        """Forget every page of these namespaces: now, or after the outermost commit.

        Inside of ``transaction.atomic`` the names wait for the commit, are dropped by a rollback,
        and the answer says ``deferred``; nothing is raised after a commit. ``using``: the database
        alias whose transaction this belongs to; without it, every one that is open in this thread.
        Else as :meth:`pagegen.PageCache.invalidate`. In coroutines call :meth:`ainvalidate`, which
        sees the transactions of the thread that runs their synchronous code.
        """
        deferred = transactions.later(self, names, soft=soft, using=using)
        return super().invalidate(*names, soft=soft) if deferred is None else deferred

    async def ainvalidate(
        self, *names: str, soft: bool = False, using: str | None = None
    ) -> Invalidation:
        """:meth:`invalidate` without blocking an event loop.

        Who is cancelled here, because the client has gone for instance, has forgotten nonetheless.
        """
        task = asyncio.get_running_loop().create_task(self._forget(names, soft, using))
        _unfinished.add(task)
        task.add_done_callback(_finished)
        return await asyncio.shield(task)

    async def _forget(self, names: Sequence[str], soft: bool, using: str | None) -> Invalidation:
        # Connections belong to threads. No transaction can be open in an event loop's own; but in
        # the thread that runs this context's synchronous code one can be: async_to_sync may have
        # been called inside of it.
        later = sync_to_async(transactions.later, thread_sensitive=True)
        try:
            deferred = await later(self, names, soft=soft, using=using)
        except asyncio.CancelledError:  # the event loop ends
            with suppress(Exception):
                super().invalidate(*names, soft=soft)
            raise
        return await super().ainvalidate(*names, soft=soft) if deferred is None else deferred

    def invalidate_now(self, *names: str, soft: bool = False) -> Invalidation:
        """Forget now, whatever transaction is open: for code that knows that it has committed."""
        return super().invalidate(*names, soft=soft)


def _finished(task: asyncio.Task[Invalidation]) -> None:
    _unfinished.discard(task)
    if not task.cancelled():
        task.exception()  # its caller has it, or was cancelled; the engine owes what it is about


def configuration() -> Configuration:
    """What the settings say, and behind it the rules at views. Raises ``ConfigError``.

    It imports the URLconf, and so views.
    """
    written = conf.written()
    declared = views.declared_rules(written.book.rules)
    if not declared:
        return written
    book = written.book
    rules = (*book.rules, *declared)
    return replace(written, book=RuleBook(rules, book.invalidates, book.identities))


class _Holder:
    """Builds one cache for this process, whoever asks first."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock(self)
        self._cache: DjangoPageCache | None = None
        self._readers: set[int] = set()

    def get(self) -> DjangoPageCache:
        """The cache; raises ``ConfigError``."""
        if (built := self._cache) is not None:
            return built
        with self._reading():
            # Modules are imported before the lock is taken: a thread that imports one of them may
            # wait for the lock.
            found = configuration()
            for identity in found.book.identities.values():
                Identifier(identity)
            with self._lock:
                if self._cache is None:
                    self._cache = DjangoPageCache.from_configuration(found)
                return self._cache

    @contextmanager
    def _reading(self) -> Iterator[None]:
        thread = get_ident()
        if thread in self._readers:
            raise ConfigError(
                "get_cache() was called while the URLconf, which says the rules, or the module of "
                "an identity was being imported",
                "Write `from pagegen.contrib.django import cache`, and use it inside of functions",
            )
        self._readers.add(thread)
        try:
            yield
        finally:
            self._readers.discard(thread)

    def reset(self) -> None:
        """Close and drop the cache; the next one who asks gets a new one."""
        with self._lock:
            built, self._cache = self._cache, None
        if built is not None:
            built.close()


_holder = _Holder()


def get_cache() -> DjangoPageCache:
    """The cache of this process, built from the settings and the rules at views.

    Raises ``ConfigError``. Where the URLconf imports a module, that may not call this while it is
    imported: use :data:`cache` there.
    """
    return _holder.get()


def reset() -> None:
    """Close the cache of this process; the next call of :func:`get_cache` builds another one."""
    _holder.reset()


class _Lazy:
    """Stands for the cache of this process before there is one, and after settings changed."""

    __slots__ = ()

    # So that it passes for a cache without building one.
    __class__ = property(lambda self: DjangoPageCache)

    def __getattr__(self, name: str) -> Any:
        return getattr(get_cache(), name)

    def __repr__(self) -> str:
        return "<pagegen.contrib.django.cache>"


#: The cache of this process, looked up at each use: import it anywhere.
cache = cast(DjangoPageCache, _Lazy())


def _rebuild(*, setting: str, **_: object) -> None:
    if setting in conf.OURS:
        reset()


setting_changed.connect(_rebuild, dispatch_uid="pagegen.contrib.django.caches")
