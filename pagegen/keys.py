"""Keys: from keyed inputs to bytes, and from those to the slot.

The encoding is injective: every value carries its type and its length, so no two different inputs
run together into the same bytes, absent (None) differs from empty, and 1 differs from "1".

::

    None    n              text    s LENGTH : UTF-8 (lone surrogates kept)
    False   f              bytes   b LENGTH : BYTES
    True    t              tuple   l COUNT  : MEMBERS, each encoded
    int     i LENGTH : DECIMAL
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from .steering import PERSONAL

Encodable = None | bool | int | str | bytes | tuple["Encodable", ...]

#: Bytes of a slot. 160 bits: no two of 2^60 pages meet by chance, and a page carries its whole key.
SLOT_BYTES: Final = 20
#: Part of every key: pages of another format of key are not found.
KEY_FORMAT: Final = 1


def encode(value: Encodable) -> bytes:
    """The injective encoding of a value; raises ``TypeError`` for a type that has none."""
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return b"s%d:%b" % (len(raw), raw)
    if value is None:
        return b"n"
    if isinstance(value, tuple):
        return b"l%d:%b" % (len(value), b"".join(map(encode, value)))
    if isinstance(value, bytes):
        return b"b%d:%b" % (len(value), value)
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, int):
        digits = b"%d" % value
        return b"i%d:%b" % (len(digits), digits)
    raise TypeError(f"{type(value).__name__} has no encoding")


def slot(key: bytes) -> bytes:
    """Where the page of this key lives: BLAKE2b (RFC 7693) of the whole key."""
    return blake2b(key, digest_size=SLOT_BYTES).digest()


#: Names of request fields that tell who asks, as they stand in a key.
_OF_PERSONS: Final = tuple(map(encode, sorted({"authorization", "cookie"} | PERSONAL)))


def personal(key: bytes) -> bool:
    """Whether this is the key of a page that may be one person's: it is shared by identity, or
    selected by a cookie, ``Authorization`` or another field that tells who asks.

    Keys of pages are (site and release), (rule), (identities), (place), (query), ((headers),
    (cookies), (people)), and those of variants end with ("vary", (headers)); see ``planning`` and
    ``variants``. Never raises: what is no such key is taken for a person's.
    """
    try:
        identities = _end(key, _end(key, 0))
        inputs = _end(key, _end(key, _end(key, identities)))
        headers, cookies, _ = _members(key, inputs)
        if not all(key.startswith(b"l0:", at) for at in (identities, cookies)):
            return True
        found, end = [headers], _end(key, inputs)
        if end != len(key):
            _, selecting = _members(key, end)
            found, end = [headers, selecting], _end(key, end)
        return end != len(key) or any(_names_persons(key, at) for at in found)
    except ValueError:
        return True


def _names_persons(key: bytes, at: int) -> bool:
    """Whether a field that tells who asks is among these (name, value)."""
    for pair in _members(key, at):
        name, _ = _members(key, pair)
        if key.startswith(_OF_PERSONS, name):
            return True
    return False


def _members(key: bytes, at: int) -> Iterator[int]:
    """Where the members of the tuple begin that begins ``at``; raises ``ValueError`` as they are
    asked for where there is none.
    """
    if key[at : at + 1] != b"l":
        raise ValueError("no tuple")
    count, at = _length(key, at)
    for _ in range(count):
        yield at
        at = _end(key, at)


def _end(key: bytes, at: int) -> int:
    """Where the encoded value ends that begins ``at``; raises ``ValueError`` where none does."""
    left = 1
    while left:
        left -= 1
        kind = key[at : at + 1]
        if kind in (b"n", b"t", b"f"):
            at += 1
            continue
        length, at = _length(key, at)
        if kind == b"l":
            left += length
        else:
            at += length
    return at


def _length(key: bytes, at: int) -> tuple[int, int]:
    """The length of the value that begins ``at``, and where what is so long begins."""
    colon = key.index(b":", at)
    digits = key[at + 1 : colon]
    if not digits.isdigit():
        raise ValueError("a length that is none")
    return int(digits), colon + 1
