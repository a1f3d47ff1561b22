"""The body of a response while it passes through and may still be stored."""

from __future__ import annotations

from .law.storing import Refusal, declared_length
from .messages import ResponseHead


class Collection:
    """Pieces of one body, up to ``limit`` bytes.

    The piece that completes ``Content-Length`` is *held*: it may leave only when the application
    has said that it was the last, because a page is admitted before its last byte leaves, and
    because one byte more would show that the length was a lie.
    """

    __slots__ = ("_declared", "_held", "_holds_all", "_length", "_limit", "_pieces")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._declared: int | None = None
        self._pieces: list[bytes] = []
        self._length = 0
        self._held: list[bytes] = []
        self._holds_all = False

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
        self._pieces.append(piece)
        if self.holding:
            self._held.append(piece)
        return None

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
        """All pieces."""
        return b"".join(self._pieces)
