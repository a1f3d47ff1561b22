"""Flask-Caching 2: ``@cache.cached`` around a view, which stores what the view returns.

As in "Caching View Functions" of its documentation. For memcached it takes the first client that
it finds: pylibmc, in C, or from Python 3.12 on, for which pylibmc has no wheels, python-memcached.
(libmc has them, but Flask-Caching cannot write many keys with it.) The one connection that it opens
by itself would make threads wait for each other: ``pool_size`` is its own option against that.
"""

from __future__ import annotations

from typing import Any, Final

from flask import Flask
from flask_caching import Cache

from .pages import CALLS, CONNECTIONS, HOUR, SITE, address, by_store

#: Pages that the store in memory keeps: its default of 500 would be too few for groups.
THRESHOLD: Final = 1_000_000


def settings(store: str) -> dict[str, Any]:
    """The configuration of Flask-Caching for a store."""
    common: dict[str, Any] = {"CACHE_KEY_PREFIX": f"{SITE}:", "CACHE_DEFAULT_TIMEOUT": HOUR}
    match store:
        case "memcached":
            return {
                **common,
                "CACHE_TYPE": "MemcachedCache",
                "CACHE_MEMCACHED_SERVERS": [address(store).text],
                "CACHE_OPTIONS": {"pool_size": CONNECTIONS},
            }
        case "redis":
            url = f"redis://{address(store).text}/0"
            return {**common, "CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url}
        case _:
            return {**common, "CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": THRESHOLD}


def _build(store: str) -> Any:
    app = Flask(__name__)
    cache = Cache(app, config=settings(store))

    @app.get("/items/<int:number>")
    @cache.cached()
    def item(number: int) -> str:
        return CALLS.render()

    @app.get("/calls")
    def calls() -> Any:
        return CALLS.text(), {"Content-Type": "text/plain"}

    return app


__getattr__ = by_store(_build, "memory", "memcached", "redis")
