"""aiocache's stores, for the two peers that stand on them."""

from __future__ import annotations

from typing import Any

from aiocache import Cache

from .pages import CONNECTIONS, SITE, address


def options(store: str) -> dict[str, Any]:
    """What aiocache calls a store, where that is, and our name in it.

    Its pool for memcached has two connections by default, while that for Redis has no bound:
    both get as many as there are requests at a time. Its deadline of five seconds stays.
    """

    match store:
        case "memcached":
            host, port = address(store)
            return {
                "cache": Cache.MEMCACHED,
                "namespace": f"{SITE}:",
                "endpoint": host,
                "port": port,
                "pool_size": CONNECTIONS,
            }
        case "redis":
            host, port = address(store)
            return {"cache": Cache.REDIS, "namespace": SITE, "endpoint": host, "port": port}
        case _:
            return {"cache": Cache.MEMORY, "namespace": f"{SITE}:"}
