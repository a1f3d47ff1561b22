"""The judge: holds every read against the writes that were answered before it was sent.

It takes events as they come and judges them as far as the past is complete (``settle``), so that an
hour of history needs no more memory than its last seconds. Rules:

1. A read is judged once every event sent before it is known.
2. It is held against what was *answered* before it was *sent*: what overlaps proves nothing.
3. A write that was lost or owed excuses a page that goes back over it, and nothing else.
4. A page that says ``soft`` is held against a write so much later, but for its writer's, and for
   one that was hard; one that says ``lag`` so much later for all, and what is owed, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import count
from typing import Final, Literal, TypeAlias, assert_never

from .events import Event, Mark, Read, Recovery, Terms, Write
from .excuses import Excuses
from .herd import Herd
from .timelines import Timeline
from .verdict import Finding, Promise, Verdict

#: Nanoseconds in a second.
SECOND: Final = 1_000_000_000
#: Whom a timeline of writes binds: everybody, one client or one worker; and everybody again, by
#: those writes that spare nobody where a page spares others.
Whom: TypeAlias = tuple[Literal["everybody", "client", "worker", "hard"], int]
_ALL: Final[Whom] = ("everybody", 0)
_HARD: Final[Whom] = ("hard", 0)
#: What may become of a write that got an answer.
_HONEST: Final = ("kept", "owed")

_NEEDED: Final = frozenset(
    (Promise.RESURRECTION, Promise.OWN_WRITES, Promise.ANSWERS, Promise.MONOTONIC)
)
_STRICT: Final = _NEEDED | {
    Promise.GROUPS, Promise.AGE, Promise.ISOLATION, Promise.TRANSPARENT,
}  # fmt: skip


class Judge:
    """Takes events, and says in the end which promises were kept. For one thread."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = terms or Terms()
        self.counts: Counter[str] = Counter()
        self._found = {promise: Finding(promise) for promise in Promise}
        self._number = count()
        self._reads: list[tuple[int, int, Read]] = []
        self._unresolved: list[tuple[int, int, Write]] = []
        self._kept: dict[tuple[str, Whom], Timeline[Write]] = {}
        self._seen: dict[str, Timeline[Read]] = {}
        self._last: dict[tuple[int, str, str], Read] = {}
        self._excuses = Excuses()
        self._herd = Herd()
        self._began: int | None = None
        #: The longest that any page may be old after a write, as far as seen.
        self._grace = _nanoseconds(self.terms.soft)

    def add(self, events: Iterable[Event]) -> None:
        """Take events in any order."""
        for event in events:
            if isinstance(event, Read):
                self._add_read(event)
            elif isinstance(event, Write):
                self._add_write(event)
            elif isinstance(event, Recovery):
                self._check(Promise.RECOVERY, event.well, event.said)
            elif isinstance(event, Mark):
                self.settle(event.before)
            else:
                assert_never(event)

    def settle(self, before: int) -> None:
        """Judge all reads that were sent before this time; no event from before may follow."""
        self._resolve(before)
        while self._reads and self._reads[0][0] < before:
            self._judge(heappop(self._reads)[2])
        self._forget(before)

    def verdict(self) -> Verdict:
        """What came of it. Judges what is left: no event may follow."""
        last = [time for time, _, _ in (*self._reads, *self._unresolved)]
        self.settle(max(last, default=0) + 1)
        herd = self._found[Promise.HERD]
        herd.checks, herd.note, herd.judged = (
            self._herd.checks,
            str(self._herd),
            self.terms.herd > 0,
        )
        if herd.judged and self._herd.ratio > self.terms.herd and not herd.broken:
            herd.breach(f"{self._herd}; {self.terms.herd:g} are allowed")
        needed = _STRICT if self.terms.strict else _NEEDED
        return Verdict(tuple(self._found.values()), needed, self._began or 0)

    def __getitem__(self, promise: Promise) -> Finding:
        """What was found of a promise so far."""
        return self._found[promise]

    @property
    def pending(self) -> int:
        """Events that wait for the past to be complete."""
        return len(self._reads) + len(self._unresolved)

    # Taking ----------------------------------------------------------------------------------

    def _add_read(self, read: Read) -> None:
        if self._answered("GET", read.page, read):
            self.counts["hits" if read.how.startswith("hit") else "forwards"] += 1
            self._grace = max(self._grace, _nanoseconds(read.soft + read.lag))
            heappush(self._reads, (read.sent, next(self._number), read))

    def _answered(self, method: str, what: str, event: Read | Write) -> bool:
        """Whether there is an answer to judge; that there is none may be a breach in itself."""
        self.counts["requests"] += 1
        self._began = event.sent if self._began is None else min(self._began, event.sent)
        seconds = (event.answered - event.sent) / SECOND
        if event.status == -1:
            self.counts["lost"] += 1
            said = f"{method} {what}: the connection broke after {seconds:.2f} s"
            self._check(Promise.ANSWERS, self.terms.breaks, said, event)
            return False
        if event.status == 0:
            said = f"{method} {what}: no answer in {seconds:.0f} s"
            self._check(Promise.ANSWERS, False, said, event)
            return False
        good = event.status == 200 if isinstance(event, Read) else event.outcome in _HONEST
        if not self.terms.strict:
            good = good or event.status < 500
        self._check(Promise.ANSWERS, good, f"{method} {what}: status {event.status}", event)
        self.counts["other"] += isinstance(event, Read) and event.status != 200
        return isinstance(event, Write) or event.status == 200

    def _add_write(self, write: Write) -> None:
        self.counts["writes" if write.outcome == "kept" else write.outcome] += write.status > 0
        self._answered("write of", write.item, write)
        if write.outcome == "refused":
            return
        self._excuses.add(write)
        if write.version is None and write.outcome == "kept":
            heappush(self._unresolved, (write.answered, next(self._number), write))
        elif write.version is not None:
            self._promise(write, write.version)

    def _promise(self, write: Write, version: int) -> None:
        """From its answer on nobody may get an older version, or who owes it may not."""
        if write.outcome == "kept":
            self._line(write.item, _ALL).add(write.answered, version, write)
            self._line(write.item, ("client", write.client)).add(write.answered, version, write)
            if write.hard:
                self._line(write.item, _HARD).add(write.answered, version, write)
        elif write.outcome == "owed" and write.worker:
            self._line(write.item, ("worker", write.worker)).add(write.answered, version, write)

    def _line(self, item: str, whom: Whom) -> Timeline[Write]:
        return self._kept.setdefault((item, whom), Timeline())

    # Judging ---------------------------------------------------------------------------------

    def _resolve(self, before: int) -> None:
        """Writes that tell no version made a higher one than any that was there before them."""
        for sent, _, read in self._reads:
            if sent < before:
                self._see(read)
        while self._unresolved and self._unresolved[0][0] < before:
            _, _, write = heappop(self._unresolved)
            known = [
                found[0]
                for found in (
                    self._seen.get(write.item, _NOTHING).before(write.sent),
                    self._line(write.item, _ALL).before(write.sent),
                )
                if found is not None
            ]
            if known:
                self._promise(write, max(known) + 1)

    def _see(self, read: Read) -> None:
        for item, version in read.versions:
            self._seen.setdefault(item, Timeline()).add(read.answered, version, read)

    def _judge(self, read: Read) -> None:
        self._check(Promise.TRANSPARENT, not read.flaw, f"GET {read.page}: {read.flaw}", read)
        if read.flaw:
            return
        said = f"GET {read.page} ({read.how or 'no trace'}): made for {read.stranger}"
        self._check(Promise.ISOLATION, not read.stranger, said, read)
        if self._settled(read):
            self._herd.add(read)
        if read.bound and read.made:
            old = (read.sent - read.made) / SECOND
            said = f"GET {read.page}: {old:.2f} s old, may be {read.bound:g} s"
            self._check(Promise.AGE, old <= read.bound, said, read)
        for item, version in read.versions:
            self._judge_version(read, item, version)

    def _settled(self, read: Read) -> bool:
        """Whether all writes up to what a page tells were over when it was asked for, by whoever
        had it rendered. The pages of a group tell only a part of what they are forgotten for.
        """
        if read.group:
            return False
        began = min(read.made, read.sent)
        for item, version in read.versions if read.made else ():
            line = self._kept.get((item, _ALL))
            found = line.before(began) if line is not None else None
            written = version == 0 or (found is not None and found[0] >= version)
            if not written or self._excuses.reaches(item, version, began):
                return False
        return True

    def _judge_version(self, read: Read, item: str, version: int) -> None:
        lag = _nanoseconds(read.lag)
        grace = lag + _nanoseconds(max(self.terms.soft, read.soft))
        public = Promise.GROUPS if read.group else Promise.RESURRECTION
        self._hold(public, read, item, version, _ALL, grace)
        if read.soft:
            self._hold(public, read, item, version, _HARD, lag)
        self._hold(Promise.OWN_WRITES, read, item, version, ("client", read.client), lag)
        if read.worker:
            self._hold(public, read, item, version, ("worker", read.worker), lag)
        if grace:
            newest = self._kept.get((item, _ALL), _UNWRITTEN).before(read.sent)
            self.counts["spared"] += newest is not None and version < newest[0]
        if self.terms.age:
            known = self._seen.get(item, _NOTHING).before(read.sent - _nanoseconds(self.terms.age))
            if known is not None:
                said = f"{_told(read, item, version)}; version {known[0]} was there "
                said += f"{(read.sent - known[1].answered) / SECOND:.1f} s before"
                self._check(Promise.AGE, known[0] <= version, said, known[1], read)
        self._go_on(read, item, version, grace)

    def _hold(
        self, promise: Promise, read: Read, item: str, version: int, whom: Whom, grace: int
    ) -> None:
        line = self._kept.get((item, whom))
        found = line.before(read.sent - grace) if line is not None else None
        if found is None:
            return
        newest, write = found
        late = (read.sent - write.answered) / 1e6
        said = (
            f"{_told(read, item, version)}, asked for {late:.2f} ms after version {newest} was "
            f"{'acknowledged' if write.outcome == 'kept' else 'owed by the same worker'}"
        )
        self._check(promise, version >= newest, said, write, read)

    def _go_on(self, read: Read, item: str, version: int, grace: int) -> None:
        """No page of a client is older than what the same page told it before."""
        key = (read.client, read.page, item)
        last = self._last.get(key)
        if last is None or last.answered > read.sent:
            self._last.setdefault(key, read)
            return
        newest = dict(last.versions)[item]
        if version >= newest:
            self._last[key] = read
            self._check(Promise.MONOTONIC, True, "")
        elif self._excuses.has(item, version, newest, last.answered, read.sent, grace):
            self.counts["excused"] += 1
        else:
            said = f"{_told(read, item, version)} after the same client had got version {newest}"
            self._check(Promise.MONOTONIC, False, said, last, read)

    def _check(self, promise: Promise, good: bool, said: str, *shown: Read | Write) -> None:
        found = self._found[promise]
        found.checks += 1
        if not good:
            found.breach(said, *shown)

    # Forgetting ------------------------------------------------------------------------------

    def _forget(self, before: int) -> None:
        """What no read that may still come can be held against."""
        age = _nanoseconds(self.terms.age)
        for line in self._kept.values():
            line.forget(before - self._grace)
        for seen in self._seen.values():
            seen.forget(before - age)
        self._forget_workers(before)
        self._excuses.forget(before - self._grace)

    def _forget_workers(self, before: int) -> None:
        """What a worker owed counts no more once everybody was promised as much."""
        for item, whom in list(self._kept):
            if whom[0] == "worker":
                owed = self._kept[item, whom].before(before)
                public = self._line(item, _ALL).before(before - self._grace)
                if owed and public and len(self._kept[item, whom]) == 1 and public[0] >= owed[0]:
                    del self._kept[item, whom]


_NOTHING: Final[Timeline[Read]] = Timeline()
_UNWRITTEN: Final[Timeline[Write]] = Timeline()


def _nanoseconds(seconds: float) -> int:
    return int(seconds * SECOND)


def _told(read: Read, item: str, version: int) -> str:
    return f"item {item}: version {version} on {read.page} ({read.how or 'no trace'})"


def judge(events: Iterable[Event], terms: Terms | None = None) -> Verdict:
    """Judge a whole history."""
    made = Judge(terms)
    made.add(events)
    return made.verdict()
