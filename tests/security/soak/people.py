"""People who use the site while it is attacked: they browse, read what is theirs, and write."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Final
from urllib.parse import urlencode

from pagegen.testing import Answer
from tests.security.soak.attacks import HOST, HOT, Attack
from tests.security.soak.judging import Judge
from tests.security.soak.wire import PATIENCE, Kept

#: Seconds between two pages of one person.
_READING: Final = 0.02
_PATH: Final = re.compile(rb'data-path="([^"]*)"')
_LIST: Final = re.compile(rb'data-owner="([0-9]+)"')
_OWN: Final = ("/own", "/own", "/own/settings")


@dataclass(slots=True)
class Diary:
    """What people met: ``seconds`` that each page took, by server, and how many of them were hits;
    writes that were made, and those for which the database was too busy.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    hits: int = 0
    writes: int = 0
    busy: int = 0

    def share(self) -> float:
        """The part of pages that came from the cache."""
        return self.hits / max(1, self.pages())

    def pages(self) -> int:
        """How many pages they got."""
        return sum(map(len, self.seconds.values()))

    def quantile(self, server: str, part: float) -> float:
        """Seconds within which this part of a server's pages came."""
        taken = sorted(self.seconds[server])
        return taken[int(part * (len(taken) - 1))]


@dataclass(slots=True)
class Person:
    """One user, with one connection, which a mistake of the server's would mix up."""

    number: int
    server: str
    port: int
    judge: Judge
    diary: Diary
    random: Random

    async def browse(self, until: float) -> None:
        """Look at pages, one after the other, until then."""
        line = Kept(self.port)
        try:
            while monotonic() < until:
                await self._step(line)
                await asyncio.sleep(_READING)
        finally:
            line.close()

    async def _step(self, line: Kept) -> None:
        target = self.random.choice((*HOT, *_OWN, *_OWN))
        asked = self._asked("GET", target)
        began = monotonic()
        try:
            answer = await asyncio.wait_for(line.ask("GET", target, self._fields()), PATIENCE)
        except (OSError, EOFError, TimeoutError) as error:
            self.judge.breach(f"{self.server}: no answer to {self.number}: {error!r}", asked)
            return
        self.diary.seconds.setdefault(self.server, []).append(monotonic() - began)
        self.diary.hits += answer.trace in ("hit", "stale hit", "collapsed")
        self.judge.look(self.server, asked, [answer])
        self._look(target, asked, answer)

    def _look(self, target: str, asked: Attack, answer: Answer) -> None:
        """Whether it is the page that was asked for."""
        path = target.partition("?")[0].encode()
        if target == "/fragile/hot" and answer.status == 200 and b"whole" not in answer.body:
            self.judge.breach("an error that somebody else asked for", asked)
        wrong = [other for other in _PATH.findall(answer.body) if other != path]
        if path.startswith(b"/users/"):
            wrong += [of for of in _LIST.findall(answer.body) if of != path.split(b"/")[2]]
        if wrong or answer.status != 200:
            what = f"{answer.status} with {wrong} instead of {target}"
            self.judge.breach(f"{self.server}: {self.number} got {what}", asked)

    async def write(self, until: float) -> None:
        """Vote, and change their favourites, now and then."""
        line = Kept(self.port)
        while monotonic() < until:
            slug = self.random.choice(("flask", "django", "fastapi", "starlette"))
            target = self.random.choice(
                (f"/packages/{slug}/vote", f"/users/{self.number}/favorites/{slug}")
            )
            body = urlencode({"next": "/"}).encode()
            fields = {
                **self._fields(),
                "Content-Type": "application/x-www-form-urlencoded",
                "Content-Length": str(len(body)),
            }
            try:
                answer = await asyncio.wait_for(line.ask("POST", target, fields, body), PATIENCE)
                self.diary.writes += answer.status == 303
                # The database is one file, which one process at a time may write.
                self.diary.busy += answer.status >= 500
                self.judge.look(self.server, self._asked("POST", target, fields, body), [answer])
            except (OSError, EOFError, TimeoutError) as error:
                said = f"{self.server}: no answer to a write of {self.number}: {error!r}"
                self.judge.breach(said, self._asked("POST", target))
            await asyncio.sleep(10 * _READING + self.random.random())
        line.close()

    def _fields(self) -> dict[str, str]:
        mine = f"demo_user={self.number}; sid=secret-{self.number}-end"
        return {"Host": HOST, "Cookie": mine, "User-Agent": f"secret-{self.number}-end"}

    def _asked(
        self, method: str, target: str, fields: dict[str, str] | None = None, body: bytes = b""
    ) -> Attack:
        """What was asked, as bytes, for the judge."""
        lines = "".join(f"{k}: {v}\r\n" for k, v in (fields or self._fields()).items())
        head = f"{method} {target} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"
        return Attack(f"people, {method}", head.encode() + body, method)
