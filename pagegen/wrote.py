"""The cookie that tells that its client wrote: it never gets a page that its write made old.

::

    [__Host-]pagegen_wrote_SITE=EXPIRY.MAC

    SITE     8 hex digits of a digest of the site, so that two caches on one host keep theirs apart
    EXPIRY   seconds since the epoch, in decimal: a minute after others get the old page no more
    MAC      32 hex digits: BLAKE2b of EXPIRY, a colon and the site, keyed with a key made of the
             site key for this alone

It leaves with the answer to a request that invalidated softly. It names nobody, and whoever copies
it gets nothing but pages that are fresh. So it is no credential: open rules neither count it as one
nor show it to handlers, and no page varies by it (:func:`others`).

The ``__Host-`` (RFC 6265bis §4.1.3.2) stands in front where the scheme is https: no neighbour in
the same domain can then put another one in its place. Over http browsers refuse such a name. Both
are understood whatever the scheme, which not every server behind a proxy knows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest
from math import ceil
from typing import Final

from .fields import MAX_COOKIES, cookies
from .messages import Request
from .stores.names import derive_all

#: How the cookie's name begins.
NAME: Final = "pagegen_wrote"
#: Seconds that the cookie lasts longer than the old page: for clocks that differ (as
#: ``law.tokens.MAX_AHEAD``), and for an answer that takes long to leave.
MARGIN: Final = 60
#: Seconds beyond all that for which an expiry is believed: one that is further ahead is of a clock
#: that was set back by more than any handler takes. (nginx gives an application 60 seconds.)
MAX_AHEAD: Final = 3600

_HOST_ONLY: Final = "__Host-"
_MAC_BYTES: Final = 16
_OURS: Final = re.compile(rf"(?:{_HOST_ONLY})?{NAME}_[0-9a-f]{{8}}")
_VALUE: Final = re.compile(r"([1-9][0-9]{0,11})\.([0-9a-f]{32})")


def others(jar: str | None) -> str | None:
    """A ``Cookie`` field without our cookies, None where nothing is left; the others as they came.

    It is what handlers of open rules see, and what a page may vary by.
    """
    if jar is None or NAME not in jar:
        return jar
    parts = jar.split(";")
    kept = [part for part in parts if not _OURS.fullmatch(part.partition("=")[0].strip())]
    if len(kept) == len(parts):
        return jar
    return ";".join(kept).strip() or None


class Wrote:
    """Makes and knows the cookie of one cache. Immutable; thread-safe.

    ``window``: the longest time in seconds for which others get an old page. ``secrets``: the site
    keys; the first one signs, all are believed. Without either there is no cookie, and nobody is
    known to have written.
    """

    def __init__(
        self, secrets: str | Sequence[str], *, site: str = "", window: float = 0.0
    ) -> None:
        self._site = site.encode("utf-8", "surrogatepass")
        self._window = window
        keys = derive_all(secrets, b"pagegen wrote") if window else []
        #: Each key with the name of its cookies; the first one signs.
        self._keys = [(key, self._called(key)) for key in keys]
        self._first = self._keys[0] if self._keys else (b"", self._called(b""))

    @property
    def possible(self) -> bool:
        """Whether writers can be told from others."""
        return bool(self._keys)

    def lasts(self, until: float | None, now: float) -> bool:
        """Whether a cookie that ends then outlives what is softly invalidated now. None: there is
        no cookie. Both in seconds since the epoch.
        """
        return until is not None and now + self._window <= until

    def cookie(self, now: float, *, secure: bool) -> tuple[str, float]:
        """The value of a ``Set-Cookie`` for who writes now, and when it ends."""
        until = ceil(now + self._window + MARGIN)
        key, plain = self._first
        name = f"{_HOST_ONLY if secure else ''}{plain}"
        said = f"{name}={until}.{self._mac(str(until), key)}"
        age = ceil(self._window + MARGIN)
        kept = f"Max-Age={age}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
        return f"{said}; {kept}", float(until)

    def wrote(self, request: Request, now: float) -> bool:
        """Whether this client invalidated softly so lately that it might get a page from before.

        ``now`` in seconds since the epoch. Never raises. One cookie of ours that is good is enough,
        whatever stands beside it: somebody who plants another must not show a writer old pages. So
        a field too long to be read to its end counts as one, too.
        """
        jar = request.fields.get("cookie")
        if not jar or not self._keys:
            return False
        if len(jar) > MAX_COOKIES:
            return True
        if NAME not in jar:
            return False
        sent = cookies(jar)
        return any(
            name in (plain, f"{_HOST_ONLY}{plain}") and self._is_good(value, key, now)
            for key, plain in self._keys
            for name, value in sent
        )

    def _is_good(self, value: str, key: bytes, now: float) -> bool:
        match = _VALUE.fullmatch(value)
        if match is None or not compare_digest(self._mac(match[1], key), match[2]):
            return False
        return now < int(match[1]) <= now + self._window + MARGIN + MAX_AHEAD

    def _called(self, key: bytes) -> str:
        return f"{NAME}_{blake2b(self._site, digest_size=4, key=key).hexdigest()}"

    def _mac(self, until: str, key: bytes) -> str:
        said = until.encode("ascii") + b":" + self._site
        return blake2b(said, digest_size=_MAC_BYTES, key=key).hexdigest()
