"""The WSGI front: wraps any WSGI application (PEP 3333).

::

    app = PageCacheMiddleware(app, cache=cache)                        # any application
    app.wsgi_app = PageCacheMiddleware(app.wsgi_app, cache=cache)      # Flask
"""

from .middleware import PageCacheMiddleware

__all__ = ["PageCacheMiddleware"]
