"""What the engine says in the log: once, or now and then, so that a flood repeats nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Final

from .errors import InvalidationError, LateError, StoreError
from .law.storing import Refusal
from .logs import cause, logger
from .namespaces import parse
from .rulebook import RuleBook
from .shapes import Shapes

log = logger("pagegen.engine")

#: Names that are doubted; a cache that is told of other caches' names has said enough.
MAX_DOUBTED: Final = 20
#: Seconds between two words about a store that goes on failing.
REPEAT: Final = 60.0
_REMEDIES: Final = {
    Refusal.SET_COOKIE: "The handler sets a cookie: let it not, or drop the field with set_cookie",
    Refusal.VARY: "The page varies by a header that the rule does not key: key it, or keep what "
    "reads it (a session, compression, CORS) off this page",
    Refusal.REFLECTS: "The page hands back a field of its request: name it in Vary, or key it",
    Refusal.NO_LIFETIME: "Give the rule a ttl, or the response a max-age",
    Refusal.PRIVATE: "The application says private: it has the last word",
    Refusal.NO_STORE: "The application says no-store: it has the last word",
    Refusal.NO_CACHE: "The application says no-cache: it has the last word",
    Refusal.AUTHORIZATION: "The request had credentials: a page for everybody says public",
    Refusal.COOKIE: "The handler saw cookies: a page for everybody says public, or Vary: Cookie",
    Refusal.PERSONAL: "The handler saw who asks: a page for everybody says public, or Vary by that",
    Refusal.GROUPS: "The page names namespaces that the rule does not declare: set groups = true",
    Refusal.TOO_LARGE: "Raise max_body, or set cache = false",
    Refusal.MALFORMED: "A field of the response is none that every recipient reads alike: mend it",
}


_declared: Final[dict[str, re.Pattern[str]]] = {}


def declared(templates: Iterable[str]) -> None:
    """Names of these templates are declared elsewhere, on rows, and are no slips of the pen: a row
    may belong to more than some cache has pages of. Raises ``NamespaceError``.
    """
    for template in templates:
        literals = map(re.escape, parse(template).literals)
        _declared.setdefault(template, re.compile(".+".join(literals)))


class Remarks:
    """Remarks of one engine. ``shapes``: what names are called; without it, their shapes."""

    def __init__(self, book: RuleBook, shapes: Shapes | None = None) -> None:
        self._book = book
        self._shapes = Shapes(book) if shapes is None else shapes
        self._failures = 0
        self._next_word = 0.0
        self._not_stored: set[tuple[str, Refusal]] = set()
        self._doubted: set[str] = set()
        self._lenient: set[str] = set()

    def store_failed(self, error: Exception, now: float) -> None:
        """The store raised in a look-up or an admission; ``now`` in monotonic seconds."""
        self._failures += 1
        if now < self._next_word:
            return
        failures, self._failures, self._next_word = self._failures, 0, now + REPEAT
        log.log(
            logging.WARNING if isinstance(error, LateError) else logging.ERROR,
            "the store failed; such requests go to the application (%s; said at most once a "
            "minute): %s",
            "the first time" if failures == 1 else f"{failures} times since this was last said",
            cause(error),
            exc_info=None if isinstance(error, StoreError) else error,
        )

    def not_stored(self, rule: str, refusal: Refusal) -> None:
        """A response under a rule was refused: nothing else shows it.

        A warning where rule and application disagree, for information where one response is odd.
        """
        if (rule, refusal) in self._not_stored:
            return
        self._not_stored.add((rule, refusal))
        remedy = _REMEDIES.get(refusal)
        log.log(
            logging.INFO if remedy is None else logging.WARNING,
            "rule %r: a response was not stored: %s (said once)%s",
            rule,
            refusal,
            f". {remedy}" if remedy else "",
        )

    def not_acknowledged(self, error: InvalidationError) -> None:
        """A late invalidation failed: said each time, because each time pages are old."""
        log.error("%s", error)

    def started(self) -> None:
        """A write that forgets what no page has is most often a slip of the pen, too."""
        for entry in self._book.invalidates:
            if entry.soft and not self._book.soft_window:
                log.warning(
                    "invalidates %r says soft, but no rule does: it forgets at once",
                    entry.name or entry.path,
                )
            for template in entry.templates:
                if not self._book.has("7".join(template.literals)):
                    log.warning(
                        "invalidates %r: no rule of this cache has pages of namespace %r",
                        entry.name or entry.path,
                        template.text,
                    )

    def invalidated(self, names: Sequence[str]) -> None:
        """A name that no rule's pages can have is most often a slip of the pen."""
        for name in names:
            if len(self._doubted) >= MAX_DOUBTED or self._book.has(name):
                continue
            if any(pattern.fullmatch(name) for pattern in _declared.values()):
                continue
            if (told := self._shapes.of(name)) not in self._doubted:
                self._doubted.add(told)
                log.warning("no rule of this cache has pages of namespace %r: is it a slip?", told)

    def writes(self, names: Sequence[str]) -> None:
        """A strict write of what no strict rule has pages of protects nothing."""
        for name in names:
            if len(self._lenient) >= MAX_DOUBTED or not self._book.rules:
                return
            if self._book.is_strict(name) or (told := self._shapes.of(name)) in self._lenient:
                continue
            self._lenient.add(told)
            log.warning(
                "cache.writing(%r): no rule of this cache that says strict has pages of this "
                "namespace, so readers may still get the old row before the block has ended",
                told,
            )

    def marks_lost(self, names: Sequence[str], term: float) -> None:
        """Said each time: some reader may have been given the old row for a while."""
        log.error(
            "the marks of a strict write of %s were gone before its block had ended: it took "
            "longer than its term of %g s (raise term), or the store lost them. What was stored "
            "meanwhile is forgotten now",
            self._shapes.join(names),
            term,
        )
