"""What of a configuration loosens a promise of pagegen's: named at start, in one warning.

Each of these may be right where somebody knows why. None of them is to be there unnoticed: from
then on a promise rests on the application, or on whoever can reach the store. What only costs
memory or time, and what tightens, is not among them; nor is ``cache_status``, which shows in each
answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .config import Configuration, Settings
from .identities import Identity
from .logs import logger
from .messages import ERRORS_OF_PATHS
from .rules import Rule

log = logger("pagegen")

#: Where each of them is explained.
PAGE: Final = "docs/reference/configuration.md#what-loosens-the-promises"
#: Stores that nobody but this user's processes can write to.
_OUR_OWN: Final = frozenset(("memory", "lmdb"))
#: What passes by default: it names a request, and no handler makes a page of it.
_USUAL: Final = frozenset(Settings().passthrough)


@dataclass(frozen=True, slots=True, order=True)
class Loose:
    """One setting that loosens a promise.

    where: the table it stands in, as in errors.  key: its name there.  what: which promise, and on
    whom it rests instead.
    """

    where: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.where} {self.key}: {self.what}"


def found(configuration: Configuration) -> tuple[Loose, ...]:
    """All settings of a configuration that loosen a promise, sorted; empty for a careful one."""
    book = configuration.book
    shared = {name for rule in book.rules for name in rule.identities}
    loose = [Loose("[pagegen]", key, what) for key, what in _settings(configuration.settings)]
    for name in shared & book.identities.keys():
        where = f"[identity.{name}]"
        loose += [Loose(where, key, what) for key, what in _identity(book.identities[name])]
    for rule in book.rules:
        loose += [Loose(f'rule "{rule.name}"', key, what) for key, what in _rule(rule)]
    return tuple(sorted(loose))


def warn(configuration: Configuration) -> None:
    """Name them in the log: one warning, or none."""
    if loose := found(configuration):
        log.warning(
            "this configuration loosens what pagegen promises (%s): "
            + "; ".join(["%s"] * len(loose)),
            PAGE,
            *loose,
        )


def _settings(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.near_staleness:
        yield "near_max_staleness", "pages outlive their invalidation for so long"
    if more := sorted(set(settings.passthrough) - _USUAL):
        yield "passthrough", _passes(more)
    if settings.store.partition("://")[0] not in _OUR_OWN and not settings.secret:
        yield "site_key", "there is none, so whoever can write to the store can plant pages"


def _identity(identity: Identity) -> Iterator[tuple[str, str]]:
    if identity.anonymous == "reveal":
        yield "anonymous", "visitors share pages of objects that nothing proves to be alike"
    if identity.reveal:
        shown = ", ".join(map(str, identity.reveal))
        yield "reveal", f"handlers see {shown}, which the key does not hold"


def _rule(rule: Rule) -> Iterator[tuple[str, str]]:
    if rule.open and rule.cache:
        yield "mode", "http: handlers see the whole request, and Vary alone keeps visitors apart"
    if more := sorted(set(rule.passthrough) - _USUAL):
        yield "passthrough", _passes(more)
    if rule.set_cookie == "drop":
        yield "set_cookie", "pages are stored that were made together with a visitor's cookie"
    if errors := sorted(
        status for status in rule.lifetimes if status >= 400 and status not in ERRORS_OF_PATHS
    ):
        listed = ", ".join(map(str, errors))
        yield "ttl", f"{listed}: errors of one client or moment are everybody's pages"


def _passes(names: list[str]) -> str:
    return f"handlers see {', '.join(names)}, which the key does not hold"
