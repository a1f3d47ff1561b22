"""Marks: the registers that say that somebody is writing rows of a namespace at this moment.

Each namespace has four of them, so that four writers at a time each have one of their own: one flag
for all would be taken down by the first who has done, while another one has not committed yet.

Rules of this file (:mod:`pagegen.marking` writes by them, rules with ``strict`` read by them):

1. A writer puts its mark up, *then* gives the namespaces new tokens, *then* commits. So whoever
   reads a token from before finds its page dead when the commit is done.
2. Who renders a page reads its tokens, *then* the marks, *then* runs the handler. Who sees a mark
   stores nothing. So no page is stored that was made under a token of such a writer and before its
   commit: had the mark been missing, the writer would have been done.
3. Hits need no marks: by 1 and 2 there is no page that a hit could wrongly find.
4. A mark lapses after its term. The tokens from before the commit are gone by then, too: who died
   leaves nothing old behind, if it committed within the term or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..namespaces import OF_URLS, RESERVED

#: Marks of one namespace, and so writers of it at one time; a fifth one waits. Each costs every
#: miss of a strict page one more name in a read.
MARKS: Final = 4

_WRITING: Final = f"{RESERVED}writing:"


def mark(number: int, namespace: str) -> str:
    """One of the marks of a namespace, counted from 0."""
    return f"{_WRITING}{number}:{namespace}"


def marked(namespace: str) -> bool:
    """Whether a namespace has marks: those of URLs have none, since nobody commits a URL."""
    return not namespace.startswith(OF_URLS)


def marks(namespaces: Iterable[str]) -> tuple[str, ...]:
    """All marks of these namespaces, as far as they have any."""
    own = dict.fromkeys(filter(marked, namespaces))
    return tuple([mark(number, name) for name in own for number in range(MARKS)])


def namespace(register: str) -> str:
    """The namespace that a mark is of."""
    return register.removeprefix(_WRITING).partition(":")[2]
