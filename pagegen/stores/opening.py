"""From settings to a store: which kind, where, and what stands in front of it.

The library of a store is imported when its URL is opened, and not before.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import iscoroutine
from pathlib import Path
from time import time
from typing import Any, Final, cast

from ..config import Settings
from ..errors import ConfigError
from ..logs import cause, logger
from ..stepping import SuspendedError, step
from ..units import SIZE_REMEDY, parse_size
from .base import Capabilities, Leases, Store
from .codec import sealing
from .keyring import Keyring
from .memory import DEFAULT_SIZE, MemoryStore
from .near import NearStore
from .options import Options, shown

log = logger("pagegen.stores")

#: By scheme: module below this package, its class, and the extra that brings what it needs.
_KINDS: Final = {
    "lmdb": ("lmdb", "LmdbStore", "lmdb"),
    "memcached": ("memcached", "MemcachedStore", "memcached"),
    "redis": ("redis", "RedisStore", "redis"),
    "rediss": ("redis", "RedisStore", "redis"),
    "redis+unix": ("redis", "RedisStore", "redis"),
}


_VERBS: Final = (
    "read", "add_tokens", "replace_tokens", "remove_tokens", "write_page", "delete_page",
    "statistics", "close",
)  # fmt: skip


def open_store(
    settings: Settings,
    *,
    store: Store | None = None,
    directory: Path | None = None,
    now: Callable[[], float] = time,
) -> Store:
    """The store that settings name, or ``store`` with what they put in front of it.

    Relative paths start at ``directory``. Raises ``ConfigError`` (fields ``store``, ``near`` and
    ``encrypt``).
    """
    if settings.encrypt:
        sealing()
    opened = store if store is not None else _open(settings, directory or Path(), now)
    check(opened)
    if settings.encrypt and store is not None and store.capabilities.shared:
        raise ConfigError(
            "cannot be told to a store that is built already",
            "Give it to the store itself: site_key=Keyring(…, encrypt=…), and leave it out here",
            field="encrypt",
        )
    if not settings.near_size:
        return opened
    if not opened.capabilities.shared:
        raise ConfigError(
            "stands in front of a store that is in the process already",
            "Leave near out, or name a shared store such as lmdb://DIR",
            field="near",
        )
    return NearStore(opened, settings.near_size, max_staleness=settings.near_staleness, now=now)


def _open(settings: Settings, directory: Path, now: Callable[[], float]) -> Store:
    scheme = settings.store.partition("://")[0]
    if scheme == "memory":
        return _memory(settings, now)
    if "://" not in settings.store:
        raise ConfigError(
            f'has no "://" ({shown(settings.store)!r})',
            'Write the kind of store first: "lmdb://.pagegen", "redis://HOST:6379/0"',
            field="store",
        )
    if scheme not in _KINDS:
        known = ", ".join(f"{name}://" for name in ("memory", *_KINDS))
        raise ConfigError(
            f"{shown(settings.store)!r} names a kind of store that is not known",
            f"Known are {known}",
            field="store",
        )
    module, name, extra = _KINDS[scheme]
    try:
        kind: Any = getattr(import_module(f".{module}", __package__), name)
    except ImportError as error:
        raise ConfigError(
            f"{scheme}:// needs a library that is not installed ({error})",
            f"Run: pip install 'pagegen-middleware[{extra}]'",
            field="store",
        ) from error
    keys = Keyring(settings.secrets, settings.naming, settings.encrypt)
    opened = kind.from_url(
        settings.store, site=settings.site, site_key=keys, directory=directory, now=now
    )
    return cast("Store", opened)


def _memory(settings: Settings, now: Callable[[], float]) -> MemoryStore:
    options = Options(settings.store)
    if options.place.strip("/"):
        raise options.error(
            "says what a memory store cannot do",
            'It has no place; its only option is size: "memory://?size=64MiB"',
        )
    size = options.take("size", parse_size, DEFAULT_SIZE, SIZE_REMEDY)
    options.finish()
    return MemoryStore(size, site=settings.site, now=now)


def check(store: Store) -> None:
    """Refuse at start what would fail at a request; raises ``ConfigError``.

    A store that does not answer now is no mistake: the site starts without its pages.
    """
    can = getattr(store, "capabilities", None)
    if not isinstance(can, Capabilities):
        raise ConfigError(
            f"{type(store).__name__} does not say what it can do",
            "Give it a class attribute capabilities = Capabilities(...)",
            field="store",
        )
    if can.leases and not (can.compare_and_set and isinstance(store, Leases)):
        raise ConfigError(
            f"{type(store).__name__} declares leases without what they need",
            "Give it acquire, release and compare_and_set = True, or declare leases = False",
            field="store",
        )
    for name in _VERBS:
        if not callable(getattr(store, name, None)):
            raise ConfigError(
                f"{type(store).__name__} has no {name}",
                "Give it every verb of pagegen.stores.Store",
                field="store",
            )
    try:
        reading = store.read(None, ("pagegen/start",))
        answered = iscoroutine(reading) and isinstance(step(reading).tokens, tuple)
    except SuspendedError:
        raise ConfigError(
            f"{type(store).__name__} waits for an event loop in read",
            "Let its verbs run to their end at once, and give an asynchronous twin in on_loop",
            field="store",
        ) from None
    except Exception as error:
        log.warning(
            "the store does not answer (%s): requests go to the application until it does",
            cause(error),
        )
        return
    if not answered:
        raise ConfigError(
            f"{type(store).__name__} answers read with what is no Reading",
            "Let it be a coroutine that returns Reading(page, a tuple of tokens)",
            field="store",
        )
