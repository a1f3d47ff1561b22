"""What pages, tokens and leases are called inside a shared store.

::

    pg1:SITE:p:SLOT      a page          SITE   9 bytes of the site's digest
    pg1:SITE:t:DIGEST    a token         SLOT   20 bytes, DIGEST 18 bytes of the namespace's
    pg1:SITE:l:SLOT      a lease         each in base64url without padding

At most 50 ASCII bytes without spaces, which every store takes as a key. With a key for names all
digests are keyed, that of the slot once more: a tenant of the store who does not have it cannot
tell which namespace a token belongs to, nor whether the page of a URL and a person that it guesses
is there. Two namespaces whose digests meet would only be forgotten together.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import inf
from typing import Final

from .keyring import Keyring
from .s3fifo import S3Fifo

#: Bytes of names that are remembered: some 7,800 of usual length. They are kept as pages are, so
#: that no flood of namespaces takes away those that visitors ask for; one more costs 2 µs.
REMEMBERED_BYTES: Final = 4 * 2**20
#: Measured: what a name weighs besides the namespace's text, with what is left of as many names
#: that were evicted.
_OVERHEAD: Final = 540
#: Bytes of a key that a site key is made into (BLAKE2b takes at most 64).
KEY_BYTES: Final = 32


def derive(site_key: str, purpose: bytes) -> bytes:
    """A key of 32 bytes for one purpose (at most 16 bytes); empty without a site key."""
    if not site_key:
        return b""
    secret = site_key.encode("utf-8", "surrogatepass")
    return blake2b(secret, digest_size=KEY_BYTES, person=purpose).digest()


def derive_all(site_keys: str | Sequence[str], purpose: bytes) -> list[bytes]:
    """A key for one purpose from each of these site keys, or from the only one."""
    given = (site_keys,) if isinstance(site_keys, str) else site_keys
    return [derive(site_key, purpose) for site_key in given if site_key]


class Names:
    """Names of one site. Thread-safe. ``keys``: a keyring, or the only site key."""

    def __init__(self, site: str, keys: str | Keyring = "") -> None:
        self._key = derive(Keyring.of(keys).naming, b"pagegen names")
        name = site.encode("utf-8", "surrogatepass")
        self.prefix: bytes = b"pg1:%b:" % _text(self._digest(name, 9))
        self._tokens: S3Fifo[str, bytes] = S3Fifo(REMEMBERED_BYTES)

    def page(self, slot: bytes) -> bytes:
        """Where the page of this slot is."""
        return b"%bp:%b" % (self.prefix, self._place(slot))

    def lease(self, slot: bytes) -> bytes:
        """Where the lease of this slot is."""
        return b"%bl:%b" % (self.prefix, self._place(slot))

    def token(self, namespace: str) -> bytes:
        """Where the token of this namespace is."""
        known = self._tokens.get(namespace, 0.0)
        if known is None:
            known = self.worked_out(namespace)
            self._tokens.put(namespace, known, _OVERHEAD + len(namespace), inf)
        return known

    def worked_out(self, namespace: str) -> bytes:
        """:meth:`token` for who remembers it."""
        digest = self._digest(namespace.encode("utf-8", "surrogatepass"), 18)
        return b"%bt:%b" % (self.prefix, _text(digest))

    def statistics(self) -> Mapping[str, int]:
        """``names_…`` of tokens that are remembered: count, bytes, budget, evicted."""
        return {f"names_{kind}": number for kind, number in self._tokens.statistics().items()}

    def _place(self, slot: bytes) -> bytes:
        return _text(self._digest(slot, len(slot)) if self._key else slot)

    def _digest(self, name: bytes, size: int) -> bytes:
        return blake2b(name, digest_size=size, key=self._key).digest()


def _text(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")
