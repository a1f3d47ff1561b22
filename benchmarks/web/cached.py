"""The counted page behind pagegen, as servers import it: ``asgi_app`` and ``wsgi_app``.

``PAGEGEN_BENCH_STORE`` is the store's URL, ``PAGEGEN_BENCH_NEAR`` the size of its near store or
nothing, and ``PAGEGEN_BENCH_SITE`` our name in a store that others use too.
"""

from __future__ import annotations

import os
from typing import Final

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as AsgiMiddleware
from pagegen.wsgi import PageCacheMiddleware as WsgiMiddleware

from .pages import asgi_counted, wsgi_counted

RULE: Final = Rule(path="/items/{id:int}", share="public", ttl="1h", namespaces=["item:{id}"])

CACHE: Final = PageCache(
    [RULE],
    store=os.environ.get("PAGEGEN_BENCH_STORE", "memory://"),
    near=os.environ.get("PAGEGEN_BENCH_NEAR", ""),
    site=os.environ.get("PAGEGEN_BENCH_SITE", "bench"),
    # As the clients' own timeout: a machine that stalls must make no forward of a measured hit.
    max_delay="1s",
)

asgi_app = AsgiMiddleware(asgi_counted, cache=CACHE)
wsgi_app = WsgiMiddleware(wsgi_counted, cache=CACHE)
