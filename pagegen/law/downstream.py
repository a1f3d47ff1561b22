"""What the cache says to clients where the application is silent.

A page that can be invalidated must not outlive that in a browser: ``Cache-Control: no-cache`` makes
the browser ask each time (RFC 9111 §5.2.2.4), and a strong validator makes asking cheap.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..messages import Fields, ResponseHead
from . import storing, validation


def added(head: ResponseHead, namespaces: Sequence[str]) -> Fields:
    """Fields that can be told before the body is there."""
    if namespaces and not head.has("cache-control") and not head.has("expires"):
        return (("Cache-Control", "no-cache"),)
    return ()


def page_fields(head: ResponseHead, body: bytes, namespaces: Sequence[str]) -> Fields:
    """All fields that a stored page is sent with, its validator and length included."""
    fields = storing.stored_fields(head)
    if not head.has("etag"):
        fields += (("ETag", validation.strong_etag(body, fields)),)
    return (*fields, *added(head, namespaces), ("Content-Length", str(len(body))))
