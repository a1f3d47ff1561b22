"""Pages and tokens of all workers of one machine, in LMDB."""

from .store import LmdbStore

__all__ = ["LmdbStore"]
