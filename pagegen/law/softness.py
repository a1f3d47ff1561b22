"""Soft invalidation: a token that remembers which ones it replaced, and since when.

A namespace has two registers: its token, which every invalidation replaces, and a *hard* one beside
it, which soft invalidations leave alone. Pages of a rule with ``soft`` carry both.

A soft token, as it is written and as ``read`` returns it::

    head      random bytes and stamp, as every token has (:mod:`pagegen.law.tokens`)
    records   at most 8, the latest first: which token it was (8 bytes, a digest), and when it was
              softly replaced (seconds since the epoch, a big-endian double)
    rest      what a store mixes in of its own: fewer than 16 bytes, or more that match no token

Rules of this file:

1. A record names a token by what ``read`` gave, and so does a page's generation. A store that mixes
   in who it is changes both or neither.
2. The moment of a record was taken *before* the token it names was read. So a page stored under
   that token may seem older than it is, never younger.
3. Two writers do not see each other between reading a token and replacing it: a hard invalidation
   can vanish in the records of a soft one, and only its hard register tells. So a token that
   differs counts as softly replaced only where the page has the hard register, unchanged.
4. What cannot be read is no record. A page without a record is dead, as after a hard invalidation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from math import isfinite
from struct import Struct
from typing import Final

from ..messages import StoredResponse
from ..namespaces import OF_URLS, RESERVED
from .tokens import HEAD_BYTES, MAX_AHEAD

#: How the registers begin that hard invalidations replace, and those that say that a replica may
#: not have heard of a write yet.
HARD: Final = f"{RESERVED}hard:"
HOLD: Final = f"{RESERVED}hold:"
#: Tokens that one remembers; pages under older ones are dead. 152 bytes in all, and a page's codec
#: takes 255, so a store may mix in 103.
MAX_RECORDS: Final = 8

_RECORD: Final = Struct(">8sd")


def hard(namespace: str) -> str:
    """The register of a namespace that only hard invalidations replace."""
    return f"{HARD}{namespace}"


def hold(namespace: str) -> str:
    """The register that holds a namespace's pages off the store while replicas lag behind; that of
    a hard register is its namespace's.
    """
    return f"{HOLD}{namespace.removeprefix(HARD)}"


def softens(namespace: str) -> bool:
    """Whether a namespace can be invalidated softly: those of URLs never are (RFC 9111 §4.4)."""
    return not namespace.startswith(OF_URLS)


def registers(namespaces: Iterable[str]) -> tuple[str, ...]:
    """The hard registers of those of these namespaces that can be invalidated softly."""
    return tuple([hard(name) for name in namespaces if softens(name)])


def declared(names: Iterable[str]) -> tuple[str, ...]:
    """Names as people know them, each once: a hard register is its namespace."""
    known = dict.fromkeys(name.removeprefix(HARD) for name in names)
    return tuple([name for name in known if not name.startswith(RESERVED)])


def succeed(previous: bytes | None, fresh: bytes, stamp: float) -> bytes:
    """The token that softly replaces ``previous``, which is as ``read`` gave it (None: missing).

    ``fresh``: a new token. ``stamp``: seconds since the epoch, from before that reading.
    """
    if previous is None or len(fresh) != HEAD_BYTES or not isfinite(stamp):
        return fresh
    records = [(_named(previous), stamp), *_records(previous)]
    return fresh + b"".join(_RECORD.pack(*record) for record in records[:MAX_RECORDS])


def superseded(captured: bytes, present: bytes) -> float | None:
    """When ``captured`` was softly replaced by ``present`` or one between them; None if it was not.

    Never raises, whatever the store holds.
    """
    if captured == present:
        return None
    name = _named(captured)
    return min((moment for token, moment in _records(present) if token == name), default=None)


def since(page: StoredResponse, tokens: Sequence[bytes | None]) -> float | None:
    """Since when a page is softly invalidated and nothing worse; None if it is not, or is dead.

    ``tokens``: the present ones of the page's namespaces, one by one. The earliest moment counts.
    """
    names, captured = page.namespaces, page.generation
    if not len(names) == len(captured) == len(tokens):
        return None
    pairs = list(zip(names, captured, tokens, strict=True))
    spared = {name for name, then, now in pairs if then == now and name.startswith(HARD)}
    moments = []
    for name, then, now in pairs:
        if then == now:
            continue
        moment = None if now is None or hard(name) not in spared else superseded(then, now)
        if moment is None:
            return None
        moments.append(moment)
    return min(moments, default=None)


def stale_from(page: StoredResponse, since: float) -> float:
    """When a softly invalidated page became stale, in seconds since the epoch: by that, or before
    by its age.
    """
    return min(since, page.fresh_until)


def served(page: StoredResponse, since: float, now: float) -> bool:
    """Whether others than the writer may get a page that is softly invalidated ``since`` then."""
    if since > now + MAX_AHEAD:
        return False  # nobody knows for how long it would be served
    return now < stale_from(page, since) + page.stale_while_revalidate


def _named(token: bytes) -> bytes:
    return blake2b(token, digest_size=8, person=b"pagegen softness").digest()


def _records(token: bytes) -> Iterator[tuple[bytes, float]]:
    """The records in a token; what is no moment is left out."""
    room = (len(token) - HEAD_BYTES) // _RECORD.size
    for number in range(min(room, MAX_RECORDS)):
        name, moment = _RECORD.unpack_from(token, HEAD_BYTES + number * _RECORD.size)
        if isfinite(moment):
            yield name, moment
