"""What clients saw of writes and pages, and the one question that is asked of it afterwards.

Times are nanoseconds of one monotonic clock. A read's time is taken before its request is sent and
a write's after its answer was read, so a page that is found to be old was old beyond doubt.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Read:
    """A page said that ``item`` has this version; ``how`` is what the cache said of the page, and
    ``worker`` the process that sent it.
    """

    item: int
    version: int
    sent: int
    how: str = ""
    worker: int = 0


@dataclass(frozen=True, slots=True)
class Write:
    """A write gave the item this version, and its answer said that old pages are gone: everywhere,
    or, when the store did not acknowledge, at ``worker``, which bypasses what it owes.
    """

    item: int
    version: int
    answered: int
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class Stale:
    """A page older than a write that had been answered before the page was asked for."""

    read: Read
    write: Write

    def __str__(self) -> str:
        late = (self.read.sent - self.write.answered) / 1e6
        return (
            f"item {self.read.item}: version {self.read.version} ({self.read.how or 'no trace'}), "
            f"asked for {late:.2f} ms after version {self.write.version} was "
            f"{'acknowledged' if self.write.worker is None else 'owed by the same worker'}"
        )


@dataclass(slots=True)
class History:
    """Reads and answered writes of one client, or of all. A write without an answer promises
    nothing and is left out.
    """

    reads: list[Read] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)

    def add(self, other: History) -> None:
        """Take over what another client saw."""
        self.reads.extend(other.reads)
        self.writes.extend(other.writes)

    def stale(self) -> list[Stale]:
        """Every read of a version that was known to be gone when the read was sent."""
        newest = _newest_by_time(self.writes)
        found = []
        for read in self.reads:
            for worker in (None, read.worker):
                times, writes = newest.get((read.item, worker), ([], []))
                before = bisect_left(times, read.sent)
                if before and writes[before - 1].version > read.version:
                    found.append(Stale(read, writes[before - 1]))
                    break
        return found


Promise = tuple[int, int | None]


def _newest_by_time(writes: Iterable[Write]) -> dict[Promise, tuple[list[int], list[Write]]]:
    """For each item, and those to whom its writes were promised, the moments of the answers, and
    the newest version by then.
    """
    promised: dict[Promise, list[Write]] = {}
    for write in sorted(writes, key=lambda write: write.answered):
        promised.setdefault((write.item, write.worker), []).append(write)
    return {
        promise: (
            [write.answered for write in ordered],
            list(accumulate(ordered, lambda a, b: a if a.version > b.version else b)),
        )
        for promise, ordered in promised.items()
    }
