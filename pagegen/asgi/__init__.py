"""The ASGI front: wraps any ASGI 3 application.

::

    app = PageCacheMiddleware(app, cache=cache)              # any application
    app.add_middleware(PageCacheMiddleware, cache=cache)     # Starlette, FastAPI

Lifespan and websocket scopes pass untouched. Only this package imports asyncio.
"""

from .middleware import PageCacheMiddleware

__all__ = ["PageCacheMiddleware"]
