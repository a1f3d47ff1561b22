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

from hashlib import blake2b
from typing import Final

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


def personal(key: bytes) -> bool:
    """Whether this is the key of a page that is shared by identity, and so not everybody's.

    Keys of pages begin with (site and release), (rule), (identities); see ``planning``. Never
    raises: what is no such key is taken for a person's.
    """
    try:
        return not key.startswith(b"l0:", _end(key, _end(key, 0)))
    except ValueError:
        return True


def _end(key: bytes, at: int) -> int:
    """Where the encoded value ends that begins ``at``; raises ``ValueError`` where none does."""
    left = 1
    while left:
        left -= 1
        kind = key[at : at + 1]
        if kind in (b"n", b"t", b"f"):
            at += 1
            continue
        colon = key.index(b":", at)
        digits = key[at + 1 : colon]
        if not digits.isdigit():
            raise ValueError("a length that is none")
        at = colon + 1
        if kind == b"l":
            left += int(digits)
        else:
            at += int(digits)
    return at
