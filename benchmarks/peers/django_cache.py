"""Django's cache for whole sites: ``UpdateCacheMiddleware`` and ``FetchFromCacheMiddleware``.

As in "The per-site cache" of Django 5.2's documentation, without the ``CommonMiddleware`` that
stands between the two there: it takes no part in caching. Backends are the four that come with
Django; of the two for memcached it is that on pymemcache, which is pagegen's client too.

Django has one configuration in a process, so only one of the applications can be had in each.
"""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.cache import never_cache

from .pages import CALLS, HOUR, SITE, TYPE, address, by_store, directory

_MIDDLEWARE: Final = [
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
]


def _backend(store: str) -> dict[str, Any]:
    backends = "django.core.cache.backends"
    match store:
        case "memcached":
            where = {
                "BACKEND": f"{backends}.memcached.PyMemcacheCache",
                "LOCATION": address(store).text,
            }
        case "redis":
            where = {
                "BACKEND": f"{backends}.redis.RedisCache",
                "LOCATION": f"redis://{address(store).text}",
            }
        case "files":
            where = {"BACKEND": f"{backends}.filebased.FileBasedCache", "LOCATION": directory()}
        case _:
            where = {"BACKEND": f"{backends}.locmem.LocMemCache"}
    return where


def _build(store: str) -> Any:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        CACHES={"default": _backend(store)},
        CACHE_MIDDLEWARE_KEY_PREFIX=SITE,
        CACHE_MIDDLEWARE_SECONDS=HOUR,
        MIDDLEWARE=_MIDDLEWARE,
        ROOT_URLCONF=_routes(),
        SECRET_KEY="signs nothing here",
        # Both would be part of every key.
        USE_I18N=False,
        USE_TZ=False,
    )
    return get_wsgi_application()


def _routes() -> Any:
    def item(_request: Any, number: int) -> Any:
        return HttpResponse(CALLS.render(), content_type=TYPE)

    @never_cache
    def calls(_request: Any) -> Any:
        return HttpResponse(CALLS.text(), content_type="text/plain")

    return (path("items/<int:number>", item), path("calls", calls))


__getattr__ = by_store(_build, "memory", "memcached", "redis", "files")
