"""What pages, tokens and leases are called inside a shared store.

::

    pg1:SITE:p:SLOT      a page          SITE   9 bytes of the site's digest
    pg1:SITE:t:DIGEST    a token         SLOT   20 bytes, DIGEST 18 bytes of the namespace's
    pg1:SITE:l:SLOT      a lease         each in base64url without padding

At most 50 ASCII bytes without spaces, which every store takes as a key. With a site key all digests
are keyed: a tenant of the store who does not have it cannot tell which namespace a token belongs
to. Two namespaces whose digests meet would only be forgotten together.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Final

#: Names that are remembered; when they are so many, the memory starts anew.
MAX_REMEMBERED: Final = 16_384
#: Bytes of a key that a site key is made into (BLAKE2b takes at most 64).
KEY_BYTES: Final = 32


def derive(site_key: str, purpose: bytes) -> bytes:
    """A key of 32 bytes for one purpose (at most 16 bytes); empty without a site key."""
    if not site_key:
        return b""
    secret = site_key.encode("utf-8", "surrogatepass")
    return blake2b(secret, digest_size=KEY_BYTES, person=purpose).digest()


class Names:
    """Names of one site. Thread-safe."""

    def __init__(self, site: str, site_key: str = "") -> None:
        self._key = derive(site_key, b"pagegen names")
        name = site.encode("utf-8", "surrogatepass")
        self.prefix: bytes = b"pg1:%b:" % _text(self._digest(name, 9))
        self._tokens: dict[str, bytes] = {}

    def page(self, slot: bytes) -> bytes:
        """Where the page of this slot is."""
        return b"%bp:%b" % (self.prefix, _text(slot))

    def lease(self, slot: bytes) -> bytes:
        """Where the lease of this slot is."""
        return b"%bl:%b" % (self.prefix, _text(slot))

    def token(self, namespace: str) -> bytes:
        """Where the token of this namespace is."""
        known = self._tokens.get(namespace)
        if known is None:
            digest = self._digest(namespace.encode("utf-8", "surrogatepass"), 18)
            known = b"%bt:%b" % (self.prefix, _text(digest))
            if len(self._tokens) >= MAX_REMEMBERED:
                self._tokens = {}
            self._tokens[namespace] = known
        return known

    def _digest(self, name: bytes, size: int) -> bytes:
        return blake2b(name, digest_size=size, key=self._key).digest()


def _text(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")
