"""The header with which one request asks for ``Cache-Status`` where the site does not send it.

::

    Pagegen-Debug: EXPIRY.MAC     EXPIRY   seconds since the epoch, in decimal
                                  MAC      32 hex digits: BLAKE2b of EXPIRY, a colon and the site,
                                           keyed with a key made of the site key for this alone

``Cache-Status`` helps attackers to probe a cache, so only those who were given a value get it
(RFC 9211 §6). Neither host nor path take part in the MAC: a search for a fault follows redirects
and compares pages. Whoever gets hold of a value learns keys (digests) and names of namespaces of
every page that may be asked for until it ends. No page can be read or changed with them; that is
why a value is short-lived, not why it may be published.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

from .errors import ConfigError
from .stores.names import derive_all
from .units import parse_duration

#: The request field, as it is sent and as it is asked for.
DEBUG_FIELD: Final = "Pagegen-Debug"
DEBUG_NAME: Final = "pagegen-debug"
#: Seconds for which a value holds unless more are asked for. (AWS signs requests for 5 minutes.)
DEFAULT_VALIDITY: Final = 300
#: Seconds for which a value may hold: a day of work on one fault. (kubeadm's join tokens: 24 h.)
MAX_VALIDITY: Final = 86_400

_MAC_BYTES: Final = 16
# One spelling for each value, and an end to how much of a longer one is read.
_VALUE: Final = re.compile(r"([1-9][0-9]{0,11})\.([0-9a-f]{32})")


class Debugger:
    """Makes and checks values of ``Pagegen-Debug``. Immutable; thread-safe.

    ``secrets``: the site keys. The first one signs, all are believed; without any it allows
    nothing. ``now``: the wall clock, in seconds. A value for one ``site`` is none for another that
    has the same key.
    """

    def __init__(
        self, secrets: str | Sequence[str], now: Callable[[], float], *, site: str = ""
    ) -> None:
        self._keys = derive_all(secrets, b"pagegen debug")
        self._now = now
        self._site = site.encode("utf-8", "surrogatepass")

    def field(self, seconds: float | str = DEFAULT_VALIDITY) -> str:
        """A value to send, good for so many seconds or a text such as ``"5m"``.

        Raises ``ValueError`` for less than a second and for more than a day, ``ConfigError`` where
        there is no site key.
        """
        if not self._keys:
            raise ConfigError(
                "is not set, and a debug header is signed with it",
                "Give the same secret to all processes",
                field="site_key",
                where="[pagegen]",
            )
        validity = parse_duration(seconds)
        if not 1 <= validity <= MAX_VALIDITY:
            raise ValueError(f"{seconds!r} is not between 1 second and {MAX_VALIDITY} (a day)")
        expiry = str(int(self._now() + validity))
        return f"{expiry}.{self._mac(expiry, self._keys[0])}"

    def allows(self, value: str | None, now: float) -> bool:
        """Whether this value of the field is ours and has not ended; ``now`` in seconds.

        Never raises, and takes as long for a wrong MAC as for a right one. A value that ends later
        than any that could be made now is refused too: the clock was set back.
        """
        if value is None or not self._keys:
            return False
        match = _VALUE.fullmatch(value)
        if match is None:
            return False
        if not any(compare_digest(self._mac(match[1], key), match[2]) for key in self._keys):
            return False
        return now < int(match[1]) <= now + MAX_VALIDITY

    def _mac(self, expiry: str, key: bytes) -> str:
        said = expiry.encode("ascii") + b":" + self._site
        return blake2b(said, digest_size=_MAC_BYTES, key=key).hexdigest()
