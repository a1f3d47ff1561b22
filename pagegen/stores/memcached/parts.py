"""A page larger than an item: cut into parts, and a manifest in the page's place.

The names of the parts come from 16 random bytes in the manifest, new for each writing, so parts of
two writings never mix. The manifest is written last. It is as hostile as all stored bytes; the page
that the parts make has its own check.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final, NamedTuple

MAGIC: Final = b"PGM\x01"
#: Parts of one page at most: 64 MiB with memcached's own limit for items.
MAX_PARTS: Final = 64
#: Bytes of an item that are not the value: memcached takes 1 MiB less this.
OVERHEAD: Final = 512
#: Bytes of a part below which cutting is not worth it, and pages are refused.
MIN_PART: Final = 4096
_FORM: Final = Struct("<4s16sII")


class Manifest(NamedTuple):
    """Which parts make a page: the writing's number, and the bytes of a part and of all."""

    writing: bytes
    part: int
    whole: int

    def encode(self) -> bytes:
        """As it is stored."""
        return _FORM.pack(MAGIC, *self)

    def names(self, prefix: bytes) -> list[bytes]:
        """What the parts are called, in order; ``prefix`` is the site's."""
        count = -(-self.whole // self.part)
        return [b"%bx:%b:%d" % (prefix, self.writing.hex().encode(), n) for n in range(count)]

    def cut(self, page: bytes, prefix: bytes) -> dict[bytes, bytes]:
        """The parts of a page by name."""
        names = enumerate(self.names(prefix))
        return {name: page[n * self.part : (n + 1) * self.part] for n, name in names}

    def join(self, found: Mapping[bytes, bytes], prefix: bytes) -> bytes | None:
        """The page; None when a part is missing or has another length than it should."""
        names = self.names(prefix)
        parts = [found.get(name, b"") for name in names]
        last = self.whole - self.part * (len(names) - 1)
        if any(len(part) != self.part for part in parts[:-1]) or len(parts[-1]) != last:
            return None
        return b"".join(parts)


def divide(size: int, largest_item: int, writing: bytes) -> Manifest | None:
    """How to cut a page of so many bytes; None when it has too many parts, or they are too small.

    ``writing`` is 16 random bytes.
    """
    part = largest_item - OVERHEAD
    if part < MIN_PART or size > part * MAX_PARTS:
        return None
    return Manifest(writing, part, size)


def parse(stored: bytes) -> Manifest | None:
    """The manifest in what stands in a page's place; None when it is none."""
    if not stored.startswith(MAGIC) or len(stored) != _FORM.size:
        return None
    _, writing, part, whole = _FORM.unpack(stored)
    if part < MIN_PART or not 0 < whole <= part * MAX_PARTS:
        return None
    return Manifest(writing, part, whole)
