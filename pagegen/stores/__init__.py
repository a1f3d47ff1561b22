"""Where pages and tokens are kept. The contract stands in :mod:`pagegen.stores.base`."""

from __future__ import annotations

from .base import Capabilities, Leases, Reading, Store
from .codec import Codec
from .keyring import Keyring
from .memory import MemoryStore
from .near import NearStore
from .opening import open_store

__all__ = [
    "Capabilities",
    "Codec",
    "Keyring",
    "Leases",
    "MemoryStore",
    "NearStore",
    "Reading",
    "Store",
    "open_store",
]
