"""What the answer to an unsafe request invalidates (RFC 9111 §4.4, RFC 9875 §3)."""

from __future__ import annotations

from typing import Final

from ..errors import NamespaceError
from ..fields import strings
from ..messages import ResponseHead
from ..namespaces import check
from ..rulebook import RuleBook

#: Methods whose answers never invalidate (RFC 9110 §9.2.1).
SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "QUERY"))


def forgotten(book: RuleBook, method: str, path: str, head: ResponseHead) -> tuple[str, ...]:
    """Namespaces that this answer invalidates, each once.

    ``[[invalidates]]`` counts for answers below 400: an error is taken to have changed nothing
    (RFC 9111 §4.4). ``Cache-Group-Invalidation`` counts whatever the status, since the application
    says so itself; on safe methods it is ignored (RFC 9875 §3).
    """
    if method in SAFE:
        return ()
    found = dict.fromkeys(_groups(head))
    if head.status < 400:
        for position in book.write_index.all(path):
            entry = book.invalidates[position]
            if method not in entry.methods:
                continue
            values = book.write_index.values(position, path)
            known = {f"path.{name}": value for name, value in values}
            found |= dict.fromkeys(template.render(known) for template in entry.templates)
    return tuple(found)


def _groups(head: ResponseHead) -> tuple[str, ...]:
    names = []
    for name in strings(head.get("cache-group-invalidation")):
        try:
            names.append(check(name))
        except NamespaceError:
            continue
    return tuple(names)
