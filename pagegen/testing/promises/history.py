"""Histories: one writer, readers beside it, and what they saw, checked afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Condition
from typing import Final

from ..loop import PATIENCE
from .ground import Handle, holds
from .samples import page

#: Rounds of one history.
ROUNDS: Final = 60


class _Beside:
    """One writer, and readers who do the same over and over until the writer is done.

    The writer begins the next round when each reader has done its part twice since the last
    one returned, so that no interleaving is left to the scheduler alone.
    """

    def __init__(self, writer: Handle, readers: Sequence[Handle], names: Sequence[str]) -> None:
        self._writer = writer
        self._readers = readers
        self._names = names
        self._acknowledged = 0
        self._ended = False
        self._turn = Condition()
        self._turns = [0] * len(readers)

    def write(self) -> None:
        """All rounds of the writer."""
        try:
            for number in range(1, ROUNDS + 1):
                self._invalidate(number)
                self._await_readers()
        finally:
            self._ended = True

    def read(self, number: int) -> None:
        """One reader, until the writer is done."""
        try:
            while not self._ended:
                self._look(number)
                with self._turn:
                    self._turns[number] += 1
                    self._turn.notify_all()
        finally:
            with self._turn:
                self._ended = True
                self._turn.notify_all()

    def _invalidate(self, number: int) -> None:
        raise NotImplementedError

    def _look(self, number: int) -> None:
        raise NotImplementedError

    def _await_readers(self) -> None:
        with self._turn:
            enough = [count + 3 for count in self._turns]
            come = self._turn.wait_for(
                lambda: self._ended or all(map(int.__ge__, self._turns, enough)), PATIENCE
            )
        holds(come, "readers go on reading while tokens are replaced")


class History(_Beside):
    """The writer replaces the tokens of all names; readers read them all the time."""

    def __init__(self, writer: Handle, readers: Sequence[Handle], names: Sequence[str]) -> None:
        super().__init__(writer, readers, names)
        self._rounds = [writer.give(*names)]
        #: For each reader: the last round acknowledged before it asked, and what it was told.
        self._seen: list[list[tuple[int, tuple[bytes | None, ...]]]] = [[] for _ in readers]

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

    def _invalidate(self, number: int) -> None:
        self._writer.replace(*self._names)
        self._acknowledged = number
        now = self._writer.tokens(*self._names)
        self._rounds.append(tuple(token or b"" for token in now))

    def _look(self, number: int) -> None:
        seen = self._seen[number]
        entry = self._acknowledged, self._readers[number].tokens(*self._names)
        if not seen or seen[-1] != entry:
            seen.append(entry)


class Site(_Beside):
    """The writer writes a row and invalidates; readers serve the page of it, or render it anew."""

    def __init__(
        self, writer: Handle, readers: Sequence[Handle], names: Sequence[str], slot: bytes
    ) -> None:
        super().__init__(writer, readers, names)
        self._slot = slot
        self._row = 0
        self.old: list[str] = []
        self.served = 0

    def _invalidate(self, number: int) -> None:
        self._row = number
        self._writer.replace(*self._names)
        self._acknowledged = number

    def _look(self, number: int) -> None:
        handle, acknowledged = self._readers[number], self._acknowledged
        found, tokens = handle.read(self._slot, *self._names)
        if found is not None and found.generation == tokens:
            self.served += 1
            if int(found.body) < acknowledged:
                self.old.append(f"row {int(found.body)} after {acknowledged} was acknowledged")
            return
        present = handle.give(*self._names)
        row = self._row
        rendered = page(b"%d" % row, namespaces=tuple(self._names), generation=present)
        handle.write(self._slot, rendered)
