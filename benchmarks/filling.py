"""Many pages of one group in a store, put there faster than by as many requests.

What a store holds of them is what requests would have put there: the form of a real page of the
group, under as many slots. Nobody asks for these slots; whoever asks, asks for real pages.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Final

from pagegen import PageCache
from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores.codec import Codec
from pagegen.stores.names import Names

#: Seconds for which the pages live: longer than any benchmark.
TTL: Final = 7 * 86_400
#: Pages sent to a server before it is asked whether it keeps up; a few hundred kB.
CHUNK: Final = 1_000
#: Seconds that a server may take for them.
PATIENCE: Final = 60.0
#: Bytes of a slot.
_SLOT_BYTES: Final = 20

_slots: Final = (number.to_bytes(_SLOT_BYTES, "big") for number in count(1))


def fill(cache: PageCache, page: StoredResponse, pages: int, program: str, place: str) -> None:
    """Put so many pages like this one into the cache's store.

    ``program`` and ``place`` are those of the store's server, empty without one. Raises
    ``AssertionError`` when the store or server takes fewer.
    """
    slots = islice(_slots, pages)
    if program:
        _send(cache, page, slots, program, place)
        return
    store = cache.engine.store
    for slot in slots:
        assert step(store.write_page(slot, page, TTL)), "the store has no room for all pages"


def _send(
    cache: PageCache, page: StoredResponse, slots: Iterator[bytes], program: str, place: str
) -> None:
    names = Names(cache.configuration.settings.site)
    stored = Codec().encode(page)
    command, before, after = _PROTOCOLS[program]
    host, _, port = place.partition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as server:
        replies = server.makefile("rb")
        for chunk in _chunks(map(names.page, slots)):
            commands = b"".join(command(name, stored) for name in chunk)
            server.sendall(b"".join((before, commands, after)))
            said = replies.readline()
            assert said.startswith((b"VERSION", b"+OK")), f"{program} says {said!r}"


def _memcached(name: bytes, stored: bytes) -> bytes:
    return b"set %b 0 %d %d noreply\r\n%b\r\n" % (name, TTL, len(stored), stored)


def _redis(name: bytes, stored: bytes) -> bytes:
    parts = (b"SET", name, stored, b"EX", b"%d" % TTL)
    return b"*5\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


#: How a page is set, and what stands before and after many so that one answer comes for all.
_PROTOCOLS: Final[dict[str, tuple[Callable[[bytes, bytes], bytes], bytes, bytes]]] = {
    "memcached": (_memcached, b"", b"version\r\n"),
    "redis-server": (_redis, b"CLIENT REPLY OFF\r\n", b"CLIENT REPLY ON\r\n"),
}


def _chunks(names: Iterator[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(names, CHUNK)):
        yield chunk
