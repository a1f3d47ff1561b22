"""What a response says of caching, read once: the field that governs, and its directives.

1. Of the targeted fields (RFC 9213 §2.2) the first that is valid governs, alone: what stands in
   ``Cache-Control`` and ``Expires`` is then for other caches.
2. Without one it is ``Cache-Control`` (RFC 9111 §5.2). Several lines are one value.
3. A directive that forbids does so with any argument. One that permits what would otherwise be
   forbidden does so only as it is defined: rubbish never opens what is closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from ..fields import delta_seconds, directives, field_names, targeted
from ..messages import ResponseHead

#: Ours: what the application tells this cache and nobody else.
OWN: Final = "pagegen-cache-control"
#: The target list (RFC 9213 §2.2): this cache stands with its origin server, as a CDN's does.
TARGETS: Final = (OWN, "cdn-cache-control")
CACHE_CONTROL: Final = "cache-control"
#: Different values that are remembered; an application has a handful.
MAX_REMEMBERED: Final = 128


@dataclass(frozen=True, slots=True)
class Said:
    """The directives of a response: name in lower case to argument, None where it has none.

    ``field`` is the field they stand in, in lower case.
    """

    directives: Mapping[str, str | None]
    field: str

    def __contains__(self, name: str) -> bool:
        return name in self.directives

    def bare(self, name: str) -> bool:
        """Whether this directive is there as one without an argument."""
        return name in self.directives and self.directives[name] is None

    def seconds(self, name: str) -> float | None:
        """The argument of a directive in seconds; None when it is absent or no delta-seconds."""
        found = delta_seconds(self.directives.get(name))
        return None if found is None else float(found)

    @property
    def targeted(self) -> bool:
        """Whether a targeted field governs."""
        return self.field != CACHE_CONTROL

    @property
    def no_cache(self) -> bool:
        """Whether every reuse must be validated (RFC 9111 §5.2.2.4, unqualified)."""
        return self._unqualified("no-cache")

    @property
    def private(self) -> bool:
        """Whether the whole response is one visitor's (RFC 9111 §5.2.2.7, unqualified)."""
        return self._unqualified("private")

    @property
    def withheld(self) -> frozenset[str]:
        """Fields, in lower case, that qualified ``no-cache`` and ``private`` take out of a page."""
        return frozenset((*self._named("no-cache"), *self._named("private")))

    def _unqualified(self, name: str) -> bool:
        """Whether it is there and names no field that can be read."""
        return name in self.directives and not self._named(name)

    def _named(self, name: str) -> tuple[str, ...]:
        argument = self.directives.get(name)
        return field_names(argument) if argument else ()


def said(head: ResponseHead) -> Said:
    """The directives that govern a response."""
    return _read(*map(head.get, (*TARGETS, CACHE_CONTROL)))


@lru_cache(MAX_REMEMBERED)
def _read(*values: str | None) -> Said:
    """The directives of the values of all ``TARGETS``, in order, and of ``Cache-Control``."""
    *aimed, plain = values
    for name, value in zip(TARGETS, aimed, strict=True):
        if value is not None and (found := targeted(value)) is not None:
            return Said(MappingProxyType(dict(found)), name)
    return Said(MappingProxyType(directives(plain)), CACHE_CONTROL)


def remembered() -> tuple[int, int]:
    """Readings remembered now, in the whole process, and those that were forgotten for others."""
    memo = _read.cache_info()
    return memo.currsize, memo.misses - memo.currsize
