"""What no answer may be, whoever asked: the promises that a soak holds a site to.

1. A page of somebody's, and their secret, come to them alone.
2. A word that an attacker sent comes back to that attacker alone.
3. A cookie that was set for one client is set for no other, and never by a hit.
4. A page is whole.
5. A page from the cache is no error, and a 5xx is one that the bare application gives, too.
6. Nobody is told keys without a signed header.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from pagegen.testing import Answer
from tests.security.soak.attacks import EVIL, Attack

_OWNER: Final = re.compile(rb'data-page-of="([0-9]+)"')
_SECRET: Final = re.compile(rb"secret-([0-9]+)-end")
_FRESH: Final = re.compile(r"sid=(fresh-[0-9a-f]{32})")
_KEY: Final = re.compile(r"; key=")
#: What is served from the cache.
_SERVED: Final = ("hit", "stale hit", "collapsed")
#: Breaches that are kept to be shown, and failures to be tried again.
MOST: Final = 60
MOST_FAILURES: Final = 5_000


@dataclass(slots=True)
class Judge:
    """Looks at all answers. ``breaches``: broken promises, in words; ``failures``: requests whose
    answer was a 5xx, to be tried again without a cache.
    """

    breaches: list[str] = field(default_factory=list)
    failures: list[tuple[str, Attack]] = field(default_factory=list)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    traces: Counter[str] = field(default_factory=Counter)
    _cookies: set[str] = field(default_factory=set)

    def look(self, server: str, asked: Attack, found: list[Answer]) -> None:
        """Judge the answers to one request."""
        for answer in found:
            self.statuses[asked.name, answer.status] += 1
            self.traces[answer.trace] += 1
            for breach in self._breaches(asked, answer):
                self.breach(f"{server}, {asked.name}: {breach}", asked)
            if answer.status >= 500 and not (answer.status == 504 and asked.only_if_cached):
                self._failed(server, asked)

    def breach(self, said: str, asked: Attack) -> None:
        """Remember a broken promise."""
        if len(self.breaches) < MOST:
            self.breaches.append(f"{said}\n    {asked.data[:600]!r}")

    def _failed(self, server: str, asked: Attack) -> None:
        if len(self.failures) < MOST_FAILURES:
            self.failures.append((server, asked))

    def _breaches(self, asked: Attack, answer: Answer) -> list[str]:
        text = repr(answer.fields).encode() + answer.body
        owners = {int(one) for one in (*_OWNER.findall(text), *_SECRET.findall(text))}
        evil = {int(one) for one in EVIL.findall(text)}
        served = answer.trace in _SERVED
        broken = {
            f"a page of {owners - asked.who} for {set(asked.who)}": owners - asked.who,
            f"words of {evil - asked.marks} for {set(asked.marks)}": evil - asked.marks,
            "a cookie from the cache": served and answer.get("set-cookie") is not None,
            "a cookie that somebody has already": self._known(answer),
            "a page that is not whole": not _whole(answer),
            "an error from the cache": served and answer.status >= 500,
            "a key": _KEY.search(answer.get("cache-status") or "") is not None,
        }
        return [breach for breach, is_so in broken.items() if is_so]

    def _known(self, answer: Answer) -> bool:
        fresh = set(_FRESH.findall(answer.get("set-cookie") or ""))
        known = bool(fresh & self._cookies)
        self._cookies |= fresh
        return known


def _whole(answer: Answer) -> bool:
    """Whether a large page is what its first line says; others say nothing of it."""
    head, _, body = answer.body.partition(b"\n")
    if answer.status != 200 or not head.startswith(b"sha256:"):
        return True
    return head == b"sha256:" + sha256(body).hexdigest().encode()
