"""What the checker's clients ask of a forum."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Final

from pagegen.testing.check.targets import Ask, Said, YourTargets
from pagegen.testing.check.wire import Answer

from .serving import THREADS

PUBLIC: Final = ("/threads/{id}/", "/threads/{id}/?page=2")
LISTS: Final = ("/", "/?start=5&end=15", "/boards/1/", "/picks/")
VERSION: Final = "#(?P<id>[0-9]+) v(?P<version>[0-9]+)"
WRITE: Final = "POST /threads/{id}/write/"
BODY: Final = "version={version}"
#: Any will do that is as long as Django's: cookie and field say the same.
_TOKEN: Final = "t" * 32
_WHOM: Final = re.compile(rb"for (\w+)<")


def fields_of(session: str) -> tuple[tuple[str, str], ...]:
    """What a script of a page of ours would send when this visitor writes."""
    return ("Cookie", f"sessionid={session}; csrftoken={_TOKEN}"), ("X-CSRFToken", _TOKEN)


class Visitors(YourTargets):
    """Half of those who read are logged in, and a third of what they read is their own."""

    def __init__(self, sessions: Mapping[str, str]) -> None:
        super().__init__(
            (*PUBLIC, *LISTS), WRITE, VERSION, tuple(map(str, range(1, THREADS + 1))), body=BODY
        )
        self._who = {name: fields_of(session) for name, session in sessions.items()}

    def page_of(self, item: str, random: Random) -> Ask:
        """A list as often as the page of a thread."""
        name = random.choice(list(self._who))
        fields = self._who[name]
        lists = random.random() < 0.5
        if random.random() < 0.3:
            target = "/me/" if lists else f"/threads/{item}/mine/"
            return Ask("GET", target, f"{target} of {name}", item, fields)
        target = random.choice(LISTS if lists else PUBLIC).replace("{id}", item)
        return Ask("GET", target, target, item, fields if random.random() < 0.5 else ())

    any_page = page_of

    def write_of(self, item: str, client: int) -> Ask:
        """One visitor for each client."""
        ask = super().write_of(item, client)
        names = list(self._who)
        return replace(ask, fields=(*ask.fields, *self._who[names[client % len(names)]]))

    def read(self, ask: Ask, answer: Answer) -> Said:
        """Versions, and for whom the page was made."""
        said = replace(super().read(ask, answer), group=ask.target in (*LISTS, "/me/"))
        _, _, name = ask.page.partition(" of ")
        whom = _WHOM.search(answer.body)
        made_for = whom[1].decode() if whom else ""
        return said if made_for == name else replace(said, stranger=f"{made_for!r}, not {name!r}")
