"""A small reverse proxy as an application: it puts pagegen in front of any origin server.

::

    app = PageCacheMiddleware(ReverseProxy("http://127.0.0.1:9000"), cache=cache)       # ASGI
    app = PageCacheMiddleware(WSGIReverseProxy("http://127.0.0.1:9000"), cache=cache)   # WSGI

It passes method, target, header pairs and bodies as they came, both ways, and adds nothing; only
fields of the connection are taken out (RFC 9110 §7.6.1). An origin that cannot be reached raises
``OriginError`` before the response has started, one that breaks off its body raises after it.
``GatewayErrors`` and ``WSGIGatewayErrors``, outermost, make a 502 or 504 of the former.

``python -m pagegen.testing.proxy ORIGIN`` serves that. A tool for tests: it names no client to the
origin (``X-Forwarded-For``, ``Via``), and sends each request once. Needs the extra ``proxy``.
"""

try:
    from .asgi import GatewayErrors, ReverseProxy
    from .origin import OriginError
    from .wsgi import WSGIGatewayErrors, WSGIReverseProxy
except ModuleNotFoundError as error:
    if error.name != "httpx":
        raise
    raise ImportError(
        "pagegen.testing.proxy needs httpx: pip install 'pagegen-middleware[proxy]'"
    ) from error

__all__ = [
    "GatewayErrors",
    "OriginError",
    "ReverseProxy",
    "WSGIGatewayErrors",
    "WSGIReverseProxy",
]
