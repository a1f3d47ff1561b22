"""A history of replacements and of what readers saw meanwhile, checked afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Condition
from typing import Final

from ..loop import PATIENCE
from .ground import Handle, holds

#: Replacements of one history.
ROUNDS: Final = 100


class History:
    """One writer replaces the tokens of all names; readers read them all the time.

    The writer goes on when each reader has read once more since the last replacement returned, so
    that no interleaving is left to the scheduler alone.
    """

    def __init__(self, writer: Handle, readers: Sequence[Handle], names: Sequence[str]) -> None:
        self._writer = writer
        self._readers = readers
        self._names = names
        self._rounds = [writer.give(*names)]
        self._acknowledged = 0
        self._ended = False
        self._turn = Condition()
        self._reads = [0] * len(readers)
        #: For each reader: the last round acknowledged before it asked, and what it was told.
        self._seen: list[list[tuple[int, tuple[bytes | None, ...]]]] = [[] for _ in readers]

    def write(self) -> None:
        """Replace the tokens of all names, round after round."""
        try:
            for number in range(1, ROUNDS + 1):
                self._writer.replace(*self._names)
                self._acknowledged = number
                now = self._writer.tokens(*self._names)
                self._rounds.append(tuple(token or b"" for token in now))
                self._await_readers()
        finally:
            self._ended = True

    def read(self, number: int) -> None:
        """Read with one of the readers' handles until the writer is done."""
        seen = self._seen[number]
        try:
            while not self._ended:
                entry = self._acknowledged, self._readers[number].tokens(*self._names)
                if not seen or seen[-1] != entry:
                    seen.append(entry)
                with self._turn:
                    self._reads[number] += 1
                    self._turn.notify_all()
        finally:
            with self._turn:
                self._ended = True
                self._turn.notify_all()

    def problems(self) -> list[str]:
        """What no reader may have seen, in words."""
        found = []
        for position, name in enumerate(self._names):
            order = {tokens[position]: n for n, tokens in enumerate(self._rounds)}
            for seen in self._seen:
                latest = 0
                for acknowledged, tokens in seen:
                    token = tokens[position]
                    if token is None:
                        continue
                    at = order.get(token)
                    if at is None:
                        found.append(f"{name}: a token that nobody gave")
                    elif at < acknowledged:
                        found.append(f"{name}: token {at} after {acknowledged} was acknowledged")
                    elif at < latest:
                        found.append(f"{name}: token {at} after token {latest}")
                    latest = max(latest, at or 0)
        return found

    def _await_readers(self) -> None:
        """Until each reader has begun and ended a read since now."""
        with self._turn:
            enough = [count + 2 for count in self._reads]
            come = self._turn.wait_for(
                lambda: self._ended or all(map(int.__ge__, self._reads, enough)), PATIENCE
            )
        holds(come, "readers go on reading while tokens are replaced")
