"""Pages and tokens on memcached servers."""

from .store import MemcachedStore

__all__ = ["MemcachedStore"]
