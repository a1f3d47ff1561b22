"""What can go wrong, and who hears of it.

::

    PagegenError
    ├── ConfigError         a rule or the file is wrong: raised at start, never later
    ├── NamespaceError      a namespace's name is not one: a mistake in the calling code
    ├── IdentityError       a source cannot tell who asks: its request is a bypass
    └── StoreError          the store did not do what it was asked
        ├── LateError           it works, but too slowly for this request
        ├── WritingError        a strict write did not begin: its block did not run
        └── InvalidationError   pages that somebody took for gone may still be served

A request never raises any of these: doubts about a request are verdicts (``Bypass``), a store that
fails while a page is looked up or admitted is a miss.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class PagegenError(Exception):
    """Base of all errors that pagegen raises."""


@dataclass(eq=False)
class ConfigError(PagegenError, ValueError):
    """One mistake in the configuration.

    ``file`` is None for rules written in Python; ``where`` names the table (``rule "favorites"``),
    ``field`` the key inside it (``query.start.min``).
    """

    problem: str
    remedy: str
    field: str | None = None
    where: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.file, self.where, self.field) if part)
        return f"{place + ': ' if place else ''}{self.problem}. {self.remedy}"

    def at(self, *, where: str | None = None, file: str | None = None) -> ConfigError:
        """The same error, told with the place that the caller knows."""
        return ConfigError(
            self.problem, self.remedy, self.field, where or self.where, file or self.file
        )

    def inside(self, prefix: str) -> ConfigError:
        """The same error, its field seen from the enclosing table."""
        field = f"{prefix}.{self.field}" if self.field else prefix
        return ConfigError(self.problem, self.remedy, field, self.where, self.file)


class NamespaceError(PagegenError, ValueError):
    """A namespace's name is empty, too long, or holds characters that a name cannot have."""


class IdentityError(PagegenError, LookupError):
    """A source of an identity cannot tell who asks. Its text is logged and says why, not who: of
    whatever else a source raises the log tells kind and place alone.
    """


class StoreError(PagegenError):
    """The store failed. On a look-up or an admission the engine turns this into a miss."""


class LateError(StoreError):
    """A request has spent so long on the store that it asks it for nothing more."""


@dataclass(eq=False)
class WritingError(StoreError):
    """The block of a strict write did not run: nothing was written, nothing is to be undone.

    ``cause``: the store did not acknowledge the marks of its ``namespaces``, or others had them all
    for longer than ``wait``. ``told``: as in :class:`InvalidationError`.
    """

    namespaces: tuple[str, ...] = field(repr=False)
    cause: str
    told: str = ""

    def __str__(self) -> str:
        return (
            f"the strict write of {self.told or _counted(self.namespaces)} did not begin "
            f"({self.cause}). Nothing was written. Try again later, or write without cache.writing"
        )


@dataclass(eq=False)
class InvalidationError(StoreError):
    """The store did not acknowledge an invalidation; ``namespaces`` may still be served elsewhere.

    It is owed: tried again in the background, and bypassed in this process until acknowledged.
    ``told``: what its text calls the names, which may say who somebody is and end in a log.
    """

    namespaces: tuple[str, ...] = field(repr=False)
    cause: str
    told: str = ""

    def __str__(self) -> str:
        return (
            "the store did not acknowledge the invalidation of "
            f"{self.told or _counted(self.namespaces)} "
            f"({self.cause}). Other processes may still serve their pages. It is tried again "
            "in the background; until then this process does not use the cache for them"
        )


def _counted(names: tuple[str, ...]) -> str:
    return f"{len(names)} namespace{'s' if len(names) != 1 else ''}"
