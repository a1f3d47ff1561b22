"""Django: an app for ``INSTALLED_APPS``, a middleware, and invalidation that waits for the commit.

::

    INSTALLED_APPS = [..., "pagegen.contrib.django"]
    MIDDLEWARE = [..., "pagegen.contrib.django.middleware.PageCacheMiddleware"]
    PAGEGEN = {"rule": [{"path": "/items/{item:int}", "share": "public", "ttl": "1h"}]}

Nothing here asks for settings when it is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .caches import DjangoPageCache, cache, get_cache
from .views import page

if TYPE_CHECKING:
    from .middleware import PageCacheMiddleware
    from .rows import register

__all__ = [
    "DjangoPageCache",
    "PageCacheMiddleware",
    "cache",
    "get_cache",
    "page",
    "register",
]

# What only some modules of a project need, and what it is in.
_ELSEWHERE = {"PageCacheMiddleware": "middleware", "register": "rows"}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ELSEWHERE[name]}", __name__), name)
