"""Was any page old? Asked twice, of the requests as they came and of what is there in the end.

1. The judge of ``pagegen.testing.check`` holds each page's version against the writes that were
   answered before the page was asked for. A page's version is its database's at the moment before
   its handler started (``site``).
2. When all is quiet, pages are asked for once more, and compared with what the demo without pagegen
   makes of the same database: byte by byte, but for the strip that tells when and how they were
   made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from pagegen.testing.check import Judge, Promise, Read, Terms, Write

from .client import Answer, Jar, replay
from .mix import Step
from .serving import BARE, Server
from .versions import VERSION, item_of

#: Pages that are compared in the end: those that were written first, then those that were read.
MAX_COMPARED: Final = 300
#: Everything that a page may not be older than.
JUDGED: Final = (
    Promise.RESURRECTION, Promise.OWN_WRITES, Promise.GROUPS, Promise.MONOTONIC,
)  # fmt: skip
#: Examples that are shown.
MAX_SAID: Final = 5

_TOLD: Final = re.compile(rb"\r\n" + VERSION + rb": *([^=\r]+)=([0-9]+)", re.IGNORECASE)
_HIT: Final = re.compile(rb"\r\ncache-status:[^\r]*; *hit", re.IGNORECASE)
_STRIP: Final = re.compile(rb'<footer class="strip".*?</footer>', re.DOTALL)


@dataclass(slots=True)
class Found:
    """What came of it. ``checks``: comparisons that were made, without which there is no verdict.
    ``stale``: those that found a page old. ``wrong``: answers that are none (neither 200 to a
    read, nor 303 to a form).
    """

    checks: int = 0
    stale: int = 0
    wrong: int = 0
    said: list[str] = field(default_factory=list)

    def say(self, what: str) -> None:
        """Keep an example."""
        if len(self.said) < MAX_SAID:
            self.said.append(what)

    def plus(self, other: Found) -> Found:
        """Both."""
        checks, stale = self.checks + other.checks, self.stale + other.stale
        said = [*self.said, *other.said][:MAX_SAID]
        return Found(checks, stale, self.wrong + other.wrong, said)


def is_hit(answer: Answer) -> bool:
    """Whether pagegen answered it from its store."""
    return _HIT.search(answer.head) is not None


def judged(answers: Sequence[Answer]) -> Found:
    """The requests as they came."""
    found = Found()
    judge = Judge(Terms(strict=False))
    judge.add(_events(answers))
    verdict = judge.verdict()
    for promise in JUDGED:
        finding = verdict[promise]
        found.checks += finding.checks
        found.stale += finding.broken
        for example in finding.examples:
            found.say(example)
    for answer in answers:
        if answer.status != (200 if answer.step.method == "GET" else 303):
            found.wrong += 1
            found.say(f"{answer.step.method} {answer.step.target}: status {answer.status}")
    return found


def _events(answers: Sequence[Answer]) -> Iterator[Read | Write]:
    items = {item for answer in answers for item in answer.step.writes}
    for item in items:
        # Nothing was written before: the versions begin with 0.
        yield Write(client=-1, item=item, version=0, sent=0, answered=1)
    for answer in answers:
        if answer.step.method == "GET":
            yield _read(answer)
        else:
            yield from _writes(answer)


def _read(answer: Answer) -> Read:
    told = _TOLD.search(answer.head)
    versions = ((told[1].decode(), int(told[2])),) if told else ()
    return Read(
        client=answer.step.user,
        page=answer.step.target,
        sent=answer.sent,
        answered=answer.answered,
        versions=versions,
        status=answer.status,
        how="hit" if is_hit(answer) else "",
        group=told is not None and told[1] == b"catalogue",
    )


def _writes(answer: Answer) -> Iterator[Write]:
    """One for each item. Their versions are not told; each made its items' versions higher by 1."""
    for item in answer.step.writes:
        yield Write(
            client=answer.step.user,
            item=item,
            sent=answer.sent,
            answered=answer.answered,
            status=answer.status,
            outcome="kept" if answer.status == 303 else "lost",
        )


def compared(server: Server, steps: Sequence[Step], visitors: int) -> Found:
    """What is there in the end, against the demo without pagegen on the same database."""
    targets = _targets(steps)
    pages = _pages(server, "", targets, visitors)
    right = _pages(server, BARE, targets, visitors)
    found = Found(checks=len(targets))
    for target in targets:
        if pages[target] != right[target]:
            found.stale += 1
            found.say(f"{target} is not what the demo without pagegen answers when all is quiet")
    return found


def _targets(steps: Sequence[Step]) -> list[str]:
    read = dict.fromkeys(step.target for step in steps if step.method == "GET")
    written = {item for step in steps for item in step.writes}
    first = [target for target in read if _item(target) in written]
    return list(dict.fromkeys((*first, *read)))[:MAX_COMPARED]


def _item(target: str) -> str | None:
    return item_of(target.partition("?")[0])


def _pages(
    server: Server, prefix: str, targets: Sequence[str], visitors: int
) -> dict[str, tuple[int, bytes]]:
    steps = [Step(target, "GET", prefix + target, 0) for target in targets]
    run = replay(server.port, steps, visitors=visitors, jar=Jar(), bodies=True)
    return {
        answer.step.action: (answer.status, _STRIP.sub(b"", answer.body)) for answer in run.answers
    }
