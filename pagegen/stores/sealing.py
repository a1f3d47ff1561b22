"""Encrypting what shared stores keep: AES-256-GCM (NIST SP 800-38D), from ``cryptography``.

::

    salt     16 random bytes, from which and the site key each page's own key is made
    nonce    12 random bytes
    sealed   what was sealed, encrypted, and the tag of 16 bytes

One key for all pages would bear 2^32 of them: so many random nonces may be drawn before two of them
are likely enough to meet (SP 800-38D §8.3). With a key of its own for each page two writings share
key and nonce only where all 28 random bytes are the same, which no number of pages brings about.
(XAES-256-GCM extends the nonce in the same way.)

What stands around it in clear, and the name it is stored under, are authenticated with it: a sealed
page that is put elsewhere does not open.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from os import urandom
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .names import derive_all

#: What SP 800-38D wants of a nonce, and as much again and more for the salt.
NONCE_BYTES: Final = 12
SALT_BYTES: Final = 16
#: AES-256.
KEY_BYTES: Final = 32


class Sealer:
    """Seals with the first of these site keys, and opens with each. Immutable; thread-safe."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._roots = derive_all(secrets, b"pagegen seal")

    def seal(self, content: bytes, around: bytes) -> bytes:
        """These bytes sealed. ``around``: what they are bound to.

        Raises ``ValueError`` for more than AES-GCM takes at once (2 GiB).
        """
        salt, nonce = urandom(SALT_BYTES), urandom(NONCE_BYTES)
        try:
            sealed = _cipher(self._roots[0], salt).encrypt(nonce, content, around)
        except OverflowError as error:
            raise ValueError(str(error)) from None
        return b"".join((salt, nonce, sealed))

    def open(self, stored: memoryview, around: bytes) -> bytes | None:
        """What was sealed; None where it is not whole, not ours, or was bound to something else."""
        first = bytes(stored[: SALT_BYTES + NONCE_BYTES])
        salt, nonce, sealed = first[:SALT_BYTES], first[SALT_BYTES:], stored[len(first) :]
        if len(nonce) < NONCE_BYTES:
            return None
        for root in self._roots:
            try:
                return _cipher(root, salt).decrypt(nonce, sealed, around)
            except InvalidTag:
                continue
        return None


def _cipher(root: bytes, salt: bytes) -> AESGCM:
    return AESGCM(blake2b(salt, digest_size=KEY_BYTES, key=root).digest())
