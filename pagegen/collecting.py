"""The body of a response while it passes through and may still be stored."""

from __future__ import annotations

from typing import Final

from .forks import fork_safe_lock
from .law.storing import Refusal, declared_length
from .messages import ResponseHead

#: Bytes that bodies which pass through may take together, each without its first ``FREE`` ones. Who
#: reads slowly keeps what was collected of a page for as long. (No precedent: proxies write such
#: bodies to disk.)
MAX_COLLECTED: Final = 32 * 2**20
#: Bytes of each that are not counted: what a server holds of a slow client's answer in any case
#: (uvicorn: 64 KiB). So slow readers of large pages do not keep small ones from being stored.
FREE: Final = 65_536


class Room:
    """The room for all bodies that are collected at one time. Thread-safe."""

    def __init__(self, size: int = MAX_COLLECTED) -> None:
        self._left = size
        self._lock = fork_safe_lock(self)

    def take(self, size: int) -> bool:
        """Take so many bytes of it; False where they are not left."""
        with self._lock:
            fits = size <= self._left
            self._left -= size * fits
        return fits

    def give(self, size: int) -> None:
        """Give so many bytes back."""
        with self._lock:
            self._left += size


class Collection:
    """Pieces of one body, up to ``limit`` bytes, as far as there is ``room``.

    The piece that completes ``Content-Length`` is *held*: it may leave only when the application
    has said that it was the last, because a page is admitted before its last byte leaves, and
    because one byte more would show that the length was a lie.
    """

    __slots__ = (
        "_counted", "_declared", "_first", "_held", "_holds_all", "_length", "_limit", "_rest",
        "_room",
    )  # fmt: skip

    def __init__(self, limit: int, room: Room) -> None:
        self._limit = limit
        self._room = room
        self._counted = 0
        self._declared: int | None = None
        self._first = b""
        # Not a list: a megabyte that comes byte by byte would take forty in objects.
        self._rest = bytearray()
        self._length = 0
        self._held: list[bytes] = []
        self._holds_all = False

    def __del__(self) -> None:
        self._room.give(self._counted)

    def hold_all(self) -> None:
        """Hold every piece: all of them are there already, so nobody waits for them."""
        self._holds_all = True

    def expect(self, head: ResponseHead) -> None:
        """Learn the length that the head promises; a 204 ends with its head (RFC 9112 §6.3)."""
        self._declared = 0 if head.status == 204 else declared_length(head)

    def take(self, piece: bytes) -> Refusal | None:
        """Collect a piece, or say why the response cannot be stored with it."""
        self._length += len(piece)
        if self._declared is not None and self._length > self._declared:
            return Refusal.LENGTH
        if self._length > self._limit:
            return Refusal.TOO_LARGE
        if not self._fits():
            return Refusal.CROWDED
        if self._first:
            self._rest += piece
        else:
            self._first = piece
        if piece and self.holding:
            self._held.append(piece)
        return None

    def _fits(self) -> bool:
        """Whether there is room for what came so far; a whole list is in memory in any case."""
        more = self._length - FREE - self._counted
        if more <= 0 or self._holds_all:
            return True
        fits = self._room.take(more)
        self._counted += more * fits
        return fits

    @property
    def holding(self) -> bool:
        """Whether the last piece is held back."""
        return self._holds_all or self._declared == self._length

    def release(self) -> bytes:
        """What was held and may leave now; empty the second time."""
        held, self._held = self._held, []
        return b"".join(held)

    @property
    def begun(self) -> bool:
        """Whether there is anything of the body yet."""
        return self._length > 0

    def body(self) -> bytes:
        """All pieces, which are let go of."""
        first, rest = self._first, self._rest
        self._first, self._rest = b"", bytearray()
        return b"".join((first, rest)) if rest else first
