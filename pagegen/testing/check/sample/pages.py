"""Pages that tell what they are: versions, whose they are, when and by which rendering made.

The first line tells the versions, the second the rest, the last is a digest of all others, so that
a page put together from two is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

Versions = tuple[tuple[str, int], ...]

#: Bytes of the digest, in two hexadecimal figures each.
_DIGEST: Final = 8


@dataclass(frozen=True, slots=True)
class Told:
    """What a page tells. ``label``: which page it is; ``made``: nanoseconds of the monotonic
    clock, before anything was read from the database.
    """

    versions: Versions
    label: str
    visitor: str
    made: int
    rendering: str


def page(told: Told, size: int) -> bytes:
    """A page of about ``size`` bytes."""
    versions = " ".join(f"{item}={version}" for item, version in told.versions)
    first = (
        f"{versions}\n{told.label} {told.visitor or '-'} {told.made} {told.rendering}\n".encode()
    )
    filler = (versions.encode() + b"; ") * (size // (len(versions) + 2))
    text = first + filler + b"\n"
    return text + blake2b(text, digest_size=_DIGEST).hexdigest().encode()


def told_by(body: bytes) -> Told | None:
    """What a page tells; None for one that is not whole."""
    text, _, digest = body.rpartition(b"\n")
    text += b"\n"
    if blake2b(text, digest_size=_DIGEST).hexdigest().encode() != digest:
        return None
    versions, rest, *_ = text.decode().split("\n", 2)
    label, visitor, made, rendering = rest.split(" ")
    return Told(_pairs(versions.split()), label, visitor.strip("-"), int(made), rendering)


def _pairs(words: Iterable[str]) -> Versions:
    parts = (word.partition("=") for word in words)
    return tuple((item, int(version)) for item, _, version in parts)
