"""pagegen: whole-page caching for WSGI and ASGI applications, forgotten in groups by one call."""

from .cache import PageCache
from .config import Settings
from .errors import (
    ConfigError,
    InvalidationError,
    NamespaceError,
    PagegenError,
    StoreError,
    WritingError,
)
from .identities import Identity, parse_source
from .namespaces import namespace
from .parameters import KeyedField, Parameter
from .rules import Invalidates, Rule
from .verdicts import Inspection, Invalidation

__all__ = [
    "ConfigError",
    "Identity",
    "Inspection",
    "Invalidates",
    "Invalidation",
    "InvalidationError",
    "KeyedField",
    "NamespaceError",
    "PageCache",
    "PagegenError",
    "Parameter",
    "Rule",
    "Settings",
    "StoreError",
    "WritingError",
    "namespace",
    "parse_source",
]

__version__ = "0.1.0"
