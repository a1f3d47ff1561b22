"""Which server a name belongs to: always the same one, whatever happens to the servers.

Rendezvous hashing (D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates",
1998): each server weighs each name, and the heaviest has it. The order of the list does not matter,
and one more server takes over its own share only. There is no second choice: on another server
would be other tokens, and when the first one came back, its old ones with it.

So all processes need the same list, and a list that changes is a new store. Change it while none
of them runs, and empty the servers (or take another ``site``) before a list comes back that has
been used within the 30 days for which a token may live.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

#: Names whose server is remembered; when they are so many, the memory starts anew.
MAX_REMEMBERED: Final = 16_384


class Ring:
    """Servers by their names, in the configured order. Thread-safe."""

    def __init__(self, servers: Sequence[str]) -> None:
        self._weighers = [
            blake2b(
                digest_size=16,
                salt=blake2b(server.encode(), digest_size=16).digest(),
                person=b"pagegen ring",
            )
            for server in servers
        ]
        self._alone = len(servers) == 1
        self._known: dict[bytes, int] = {}
        #: Names that were forgotten for others.
        self.evicted = 0

    def server(self, name: bytes) -> int:
        """The number of the server that has this name."""
        if self._alone:
            return 0
        known = self._known.get(name)
        if known is None:
            known = self._heaviest(name)
            if len(self._known) >= MAX_REMEMBERED:
                self.evicted += len(self._known)
                self._known = {}
            self._known[name] = known
        return known

    def _heaviest(self, name: bytes) -> int:
        weights = []
        for number, weigher in enumerate(self._weighers):
            own = weigher.copy()
            own.update(name)
            weights.append((own.digest(), number))
        return max(weights)[1]
