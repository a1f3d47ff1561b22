"""What the answer to an unsafe request invalidates: declared namespaces and groups (RFC 9875 §3).

RFC 9111 §4.4 also wants the written URL itself forgotten, which this version leaves to the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from ..fields import strings
from ..messages import ResponseHead
from ..namespaces import is_name
from ..rulebook import RuleBook
from ..rules import SAFE_METHODS

_SLASHES: Final = re.compile("/{2,}")


def forgotten(book: RuleBook, method: str, path: str, head: ResponseHead) -> tuple[str, ...]:
    """Namespaces that this answer invalidates, each once.

    ``[[invalidates]]`` counts for answers below 400: an error is taken to have changed nothing
    (RFC 9111 §4.4). ``Cache-Group-Invalidation`` counts whatever the status, since the application
    says so itself; on safe methods it is ignored (RFC 9875 §3).
    """
    method = method.upper()  # frameworks read it so
    if method in SAFE_METHODS:
        return ()
    found = dict.fromkeys(_groups(head))
    if head.status < 400:
        for spelling in _spellings(path):
            found |= dict.fromkeys(_declared(book, method, spelling))
    return tuple(found)


def _spellings(path: str) -> Iterable[str]:
    """The path as it came, and as lenient routers read it: forgetting too much costs a miss."""
    merged = _SLASHES.sub("/", path)
    bare = merged.rstrip("/")
    return dict.fromkeys((path, merged, bare or "/", f"{bare}/"))


def _declared(book: RuleBook, method: str, path: str) -> Iterator[str]:
    for position in book.write_index.all(path):
        entry = book.invalidates[position]
        if method not in entry.methods:
            continue
        known = {f"path.{name}": value for name, value in book.write_index.values(position, path)}
        # What no name can be, no page has: an empty {rest:path} makes such.
        yield from filter(is_name, (template.render(known) for template in entry.templates))


def _groups(head: ResponseHead) -> tuple[str, ...]:
    return tuple(filter(is_name, strings(head.get("cache-group-invalidation"))))
