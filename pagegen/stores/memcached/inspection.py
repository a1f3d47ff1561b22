"""What a server says of itself, looked at on each new connection before anything else is asked.

A server may have been started anew since the last time, with other options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ...errors import StoreError
from ...logs import logger
from .addresses import Address

log = logger("pagegen.stores")

#: Bytes of an item that every memcached takes unless it was told otherwise with ``-I``.
DEFAULT_ITEM: Final = 2**20
#: What stands for "no file" in ``stats settings``.
_NO_FILE: Final = ("", "(null)", "NULL")


class Inspector:
    """Refuses servers that cannot be trusted with tokens; knows how large an item may be.

    ``largest_item`` is in bytes: the least that any of the servers seen takes.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses
        self._sizes: dict[int, int] = {}
        self._told: dict[int, str] = {}
        self.largest_item = DEFAULT_ITEM

    def __call__(self, server: int, settings: Mapping[str, str]) -> None:
        """See :data:`Check`."""
        problem = _problem(settings)
        if problem:
            self._tell(server, problem)
            raise StoreError(problem)
        self._told.pop(server, None)
        self._sizes[server] = int(settings["item_size_max"])
        self.largest_item = min(tuple(self._sizes.values()))

    def _tell(self, server: int, problem: str) -> None:
        """Say so once, and once more when it has been better meanwhile."""
        if self._told.get(server) != problem:
            self._told[server] = problem
            log.error("memcached %s is not used: %s", self._addresses[server].text, problem)


def _problem(settings: Mapping[str, str]) -> str:
    if not settings.get("item_size_max", "").isdecimal():
        return (
            "it does not tell its settings, so it may be a proxy that moves keys between servers "
            "(or it has too many connections). Name the memcached servers themselves"
        )
    if settings.get("memory_file", "") not in _NO_FILE:
        return "it was started with -e, and a restart would bring old tokens back. Start it without"
    return ""
