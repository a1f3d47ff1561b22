"""The sample application of the checker, for WSGI and ASGI servers."""
