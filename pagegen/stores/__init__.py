"""Where pages and tokens are kept: from a URL to a store."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

from ..errors import ConfigError
from ..units import SIZE_REMEDY
from .base import Reading, Store
from .memory import MemoryStore

__all__ = ["MemoryStore", "Reading", "Store", "open_store"]


def open_store(url: str, *, site: str, now: Callable[[], float]) -> Store:
    """The store that a URL names; raises ``ConfigError`` (field ``store``)."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.scheme != "memory":
        raise ConfigError(
            f"{url!r} names a kind of store that this version does not have",
            'Write "memory://" or "memory://?size=64MiB"',
            field="store",
        )
    unknown = set(options) - {"size"}
    if parts.netloc or parts.path.strip("/") or unknown:
        raise ConfigError(
            f"{url!r} says what a memory store cannot do",
            'Its only option is size: "memory://?size=64MiB"',
            field="store",
        )
    try:
        return MemoryStore(**options, site=site, now=now)
    except ValueError as error:
        raise ConfigError(str(error), SIZE_REMEDY, field="store") from None
