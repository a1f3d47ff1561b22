"""Writes that are not over: pages may go back and forth over what they wrote."""

from __future__ import annotations

from typing import Final

from .events import Write

#: Unfinished writes of one item that are told apart. Of more, the oldest stands for all, which can
#: only make the judgement milder.
MAX_OPEN: Final = 512


class Excuses:
    """Writes under way, lost and owed, by item."""

    def __init__(self) -> None:
        self._open: dict[str, list[Write]] = {}
        #: The earliest write of an item that may be any version.
        self._unknown: dict[str, int] = {}

    def add(self, write: Write) -> None:
        """A write that is not over before its answer, or ever."""
        if write.version is None and write.outcome != "kept":
            self._blur(write.item, write.sent)
            return
        found = self._open.setdefault(write.item, [])
        found.append(write)
        never = [other for other in found if other.outcome != "kept"]
        if len(never) > MAX_OPEN:
            self._blur(write.item, min(other.sent for other in never))
            self._open[write.item] = [other for other in found if other.outcome == "kept"]

    def _blur(self, item: str, sent: int) -> None:
        self._unknown[item] = min(sent, self._unknown.get(item, sent))

    def has(self, item: str, low: int, high: int, seen: int, now: int, grace: int = 0) -> bool:
        """Whether a page that was seen with version ``high`` by the time ``seen`` may have ``low``
        when it is asked for at ``now``. ``grace``: nanoseconds that a write needs to be over for
        everybody after it was answered.
        """
        if self._unknown.get(item, seen) < seen:
            return True
        return any(
            write.sent < seen
            and (write.version is None or low < write.version <= high)
            and not (write.outcome == "kept" and write.answered + grace < now)
            for write in self._open.get(item, ())
        )

    def reaches(self, item: str, version: int, began: int) -> bool:
        """Whether a write up to this version may have forgotten pages after this time."""
        return any(
            (write.version is None or write.version <= version)
            and (write.outcome != "kept" or write.answered > began)
            for write in self._open.get(item, ())
        )

    def forget(self, before: int) -> None:
        """Forget what is over for every read sent after this time, its grace taken off."""
        for item, writes in self._open.items():
            newest = max(
                (
                    write.version or 0
                    for write in writes
                    if write.outcome == "kept" and write.answered < before
                ),
                default=-1,
            )
            self._open[item] = [
                write
                for write in writes
                if (
                    write.answered >= before
                    if write.outcome == "kept"
                    # Who goes back over a newer one that was acknowledged is found out by that.
                    else write.version is not None and write.version > newest
                )
            ]
