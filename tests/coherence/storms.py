"""Storms for tests: clients around a block, and what must hold of what they saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, sleep

from pagegen.testing.check import Judge, Promise, Read, Terms, Verdict
from pagegen.testing.check.clients import WRITES, Log, visiting
from pagegen.testing.check.faults import Fault, have
from pagegen.testing.check.running import TICK, recovery
from pagegen.testing.check.workers import Workers
from tests.coherence.backends import SECONDS

#: Seconds in which a mistake must have been noticed, on a machine that is busy with other things.
NOTICED = 20.0


@dataclass(slots=True)
class Storm:
    """What came of a storm; complete when it is over."""

    judge: Judge
    log: Log
    verdict: Verdict | None = None
    workers: set[int] = field(default_factory=set)

    def __getitem__(self, promise: Promise) -> bool:
        """Whether a promise was broken."""
        assert self.verdict is not None
        return self.verdict[promise].broken > 0

    def take(self) -> None:
        """Judge what clients have told."""
        events = self.log.take()
        self.workers |= {e.worker for e in events if isinstance(e, Read) and e.worker}
        self.judge.add(events)

    def notice(self, promise: Promise) -> None:
        """Wait until the promise is found broken, or for as long as it may take."""
        until = monotonic() + NOTICED
        while not self.judge[promise].broken and monotonic() < until:
            sleep(TICK)
            self.take()

    def of_pages(self, promise: Promise) -> set[str]:
        """The kinds of pages that the examples of a broken promise are of."""
        assert self.verdict is not None
        shown = [event for events in self.verdict[promise].requests for event in events]
        return {event.page.partition("/")[0] for event in shown if isinstance(event, Read)}


@contextmanager
def storm(port: int, *, writes: float = WRITES, breaks: bool = False) -> Iterator[Storm]:
    """Clients write and read while the block runs; everything is judged after it."""
    log = Log()
    made = Storm(Judge(Terms(breaks=breaks)), log)
    with visiting(port, log, writes=writes):
        yield made
    made.take()
    made.verdict = made.judge.verdict()


def check(seen: Storm) -> None:
    """What must hold whatever happened. A history without hits or writes would be good, too."""
    print(seen.judge.counts)
    assert seen.verdict is not None
    broken = [finding for finding in seen.verdict.findings if finding.broken]
    assert not broken, "\n".join(
        f"{f.promise}: {example}" for f in broken for example in f.examples
    )
    assert seen.verdict.state == "kept", seen.verdict.missing
    assert seen.judge.counts["hits"] > 50
    assert seen.judge.counts["writes"] > 10


def recovers(served: Workers) -> None:
    """Writes are acknowledged and pages are hits again soon after all trouble is over."""
    log = Log()
    found = recovery(log, served)
    assert found.well, found.said
    judge = Judge()
    judge.add(log.take())
    assert not any(finding.broken for finding in judge.verdict().findings)


def weather(served: Workers, faults: Sequence[Fault]) -> None:
    """A storm with faults in it, checked, and a recovery."""
    with storm(served.port) as seen:
        happened = have(faults, SECONDS)
    print(happened)
    check(seen)
    recovers(served)
