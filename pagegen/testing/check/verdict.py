"""The promises by name, and what was found of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

from .events import Read, Write, as_said

#: Counter-examples that are kept of each promise; further ones are counted.
MAX_EXAMPLES: Final = 5


class Promise(StrEnum):
    """What is judged, in the order of the report."""

    RESURRECTION = "no resurrection"
    OWN_WRITES = "read your writes"
    GROUPS = "groups"
    MONOTONIC = "monotonic"
    AGE = "bounded age"
    ISOLATION = "isolation"
    TRANSPARENT = "transparent"
    ANSWERS = "answers"
    RECOVERY = "recovery"
    HERD = "one regeneration"


#: What a promise says, for people.
SAID: Final[dict[Promise, str]] = {
    Promise.RESURRECTION: "no page is older than a write answered before it was asked for",
    Promise.OWN_WRITES: "who wrote never gets a page from before",
    Promise.GROUPS: "a write is seen on the lists, too",
    Promise.MONOTONIC: "a client's page never goes back once a write is over",
    Promise.AGE: "no page outlives its lifetime and windows",
    Promise.ISOLATION: "nobody gets a page that was made for somebody else",
    Promise.TRANSPARENT: "pages are what the application made, byte by byte",
    Promise.ANSWERS: "every request is answered, and failures are honest",
    Promise.RECOVERY: "all is well again after the last fault",
    Promise.HERD: "a page is rendered once for each of its versions",
}

State: TypeAlias = Literal["kept", "broken", "unchecked", "reported"]


@dataclass(slots=True)
class Finding:
    """One promise: how often it was checked and found broken, with the first examples and the
    requests that show each. What is not ``judged`` is reported only.
    """

    promise: Promise
    checks: int = 0
    broken: int = 0
    examples: list[str] = field(default_factory=list)
    requests: list[tuple[Read | Write, ...]] = field(default_factory=list)
    note: str = ""
    judged: bool = True

    def breach(self, example: str, *requests: Read | Write) -> None:
        """Found broken, how, and what shows it: the requests in the order of their times."""
        self.broken += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(example)
            self.requests.append(requests)

    @property
    def state(self) -> State:
        """What came of it: nothing was checked is not the same as kept."""
        if self.broken:
            return "broken"
        if not self.checks:
            return "unchecked"
        return "kept" if self.judged else "reported"


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings. ``needed``: promises without which a history says nothing. ``began``: when the
    first request of the history was sent, in nanoseconds.
    """

    findings: tuple[Finding, ...]
    needed: frozenset[Promise]
    began: int = 0

    @property
    def state(self) -> State:
        """Broken if any promise is, unchecked if a needed one is, else kept."""
        if any(finding.broken for finding in self.findings):
            return "broken"
        return "unchecked" if self.missing else "kept"

    @property
    def missing(self) -> list[Promise]:
        """Needed promises that were never checked."""
        return [f.promise for f in self.findings if f.promise in self.needed and not f.checks]

    def __getitem__(self, promise: Promise) -> Finding:
        return next(finding for finding in self.findings if finding.promise is promise)

    def table(self) -> dict[str, Any]:
        """For machines."""
        return {
            finding.promise.value: {
                "state": finding.state,
                "checks": finding.checks,
                "broken": finding.broken,
                "examples": finding.examples,
                "requests": [[as_said(one) for one in shown] for shown in finding.requests],
                **({"note": finding.note} if finding.note else {}),
            }
            for finding in self.findings
        }
