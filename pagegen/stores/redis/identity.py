"""Which server it is that answers, as part of every token.

A server that comes back with older data (a restart that loads an old snapshot, a replica that is
promoted and had not heard of an invalidation) brings tokens back that were replaced. So what
readers see as a token is the stored one and 8 bytes of a digest of two random values:

- the *run id*, new with every process of the server; learnt once on each connection, because a
  connection ends with the process;
- the *replication id*, new whenever a server becomes a primary; asked for in every packet that
  reads or writes tokens.

A server can have other data than those that were written to it in this process and as a primary
only by ceasing to be that process or that primary, and then one of the two is another. No pair ever
comes back. Behind a failover all tokens are unknown ones and every page is a miss; so it is when a
primary gets its first replica, and an hour after it lost the last one (``repl-backlog-ttl``).

Rule 1: the identity is asked for *behind* the commands it speaks for. Asked for before them, a
failover in between would put the old identity on values of the new data, among them tokens that had
been replaced: an old page's generation, whole. Asked for behind them, old values get the new
identity, under which no page was stored before this question was sent.

Rule 2: a server that is no primary is not believed, whatever it answers.

What no client can see are two primaries at once, in a network that is cut in two: one of them
acknowledges what the other one never hears of. ``min-replicas-to-write 1`` on the server keeps that
time short. Neither can proxies be seen that send reads to replicas: they must not be used.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from ...logs import logger
from .packets import Demoted, Garbled, Reply, answered

log = logger("pagegen.stores")

#: Bytes that an identity adds to a token: 64 bits of digests over random ids.
LABEL_BYTES: Final = 8
#: Identities that are remembered; when they are so many, the memory starts anew.
MAX_REMEMBERED: Final = 256


class Identity:
    """What this process knows of who its server is. Thread-safe."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: The run id that the newest connection found: other connections lead to where it was.
        self.process = b""
        self.changes = 0
        self._labels: dict[tuple[bytes, bytes], bytes] = {}
        self._present = b""

    def meet(self, info: Reply) -> bytes:
        """The run id in the answer to ``INFO server``."""
        self.process = _field(info, b"run_id")
        return self.process

    def label(self, process: bytes, info: Reply) -> bytes:
        """What the answer to ``INFO replication`` adds to tokens.

        Raises ``Demoted`` for a server that is no primary.
        """
        role = _field(info, b"role")
        if role != b"master":
            raise Demoted(f"it is a {role.decode('latin-1')}, not the primary")
        history = _field(info, b"master_replid")
        label = self._labels.get((process, history))
        if label is None:
            label = self._first_seen(process, history)
        if label != self._present:
            self._changed(label)
        return label

    def _first_seen(self, process: bytes, history: bytes) -> bytes:
        label = blake2b(b"%b %b" % (process, history), digest_size=LABEL_BYTES).digest()
        if len(self._labels) >= MAX_REMEMBERED:
            self._labels = {}
        if self._labels:
            log.warning(
                "the Redis server at %s is another one than before, or lost the rest of its "
                "history (a restart or a failover): all pages stored so far are misses",
                self.name,
            )
        self._labels[process, history] = label
        return label

    def _changed(self, label: bytes) -> None:
        self.changes += bool(self._present)
        self._present = label


def _field(info: Reply, name: bytes) -> bytes:
    text = answered(info)
    if not isinstance(text, bytes):
        raise Garbled("it answers something else than was asked")
    value = text.partition(b"\n%b:" % name)[2].partition(b"\r")[0]
    if not value:
        raise Garbled(f"it does not tell its {name.decode()}")
    return value
