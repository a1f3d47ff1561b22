"""Pages and tokens on a Redis or Valkey server, for many machines."""

from __future__ import annotations

from .store import RedisStore

__all__ = ["RedisStore"]
