"""Support: a site whose visitors and settings are full of marked words, and what it lets out.

Each word stands for something that nobody may read in a header that the handler did not send, in a
line of the log, or in the name of a counter.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from pagegen import Identity, Invalidates, Rule
from pagegen.stores import MemoryStore, Reading
from pagegen.testing import Answer, FakeClock, Reply, Scenario, Seen

#: What each marked word is of. All in capitals, and no part of another.
WORDS: Final = {
    "path": "SECRETPATH7",
    "query": "SECRETQUERY7",
    "cookie": "SECRETCOOKIE7",
    "header": "SECRETHEADER7",
    "identity": "SECRETPERSON7",
    "host": "SECRETHOST7",
    "namespace": "SECRETNAME7",
    "body": "SECRETBODY7",
    "agent": "SECRETAGENT7",
    "key": "SECRETKEY7-of-the-site",
}
SEARCH: Final = {"q": {"type": "str", "default": ""}}
RULES: Final = (
    Rule(
        path="/pages/{page}",
        share="public",
        namespaces=["page:{page}"],
        ttl=60,
        swr=30,
        sie=60,
        soft=True,
        groups=True,
        query=SEARCH,
        headers={"x-kind": {}},
        other_query="bypass",
    ),
    Rule(path="/mine/{page}", share=["user"], namespaces=["user:{identity.user}/{page}"], ttl=60),
    Rule(path="/strict/{page}", share="public", namespaces=["strict:{page}"], ttl=60, strict=True),
    Rule(path="/open/{page}", share="public"),
    Rule(path="/short/{page}", share="public", ttl=60, max_body=10),
    Rule(path="/told/{page}", share=["called"], ttl=60),
)
WRITES: Final = (
    Invalidates(methods=["POST"], path="/pages/{page}", namespaces=["page:{page}"], soft=True),
)
PEOPLE: Final = (
    Identity(name="user", sources=["cookie:session", "header:x-user"]),
    Identity(name="called", sources=[f"call:{__name__}:whose"]),
)
FIELDS: Final = {
    "host": f"{WORDS['host'].lower()}.example",
    "cookie": f"session={WORDS['identity']}; other={WORDS['cookie']}",
    "x-kind": WORDS["header"],
    "user-agent": WORDS["agent"],
    "accept-language": WORDS["agent"],
}
SENT: Final = (("Content-Type", "text/plain"), ("Cache-Control", "max-age=60"))
#: A namespace that is of no template, and what handlers say of it or set: their own words.
NAME: Final = f"cart:{WORDS['namespace']}/things"
GROUPS: Final = ("Cache-Groups", f'"{NAME}"')
FORGOTTEN: Final = ("Cache-Group-Invalidation", f'"{NAME}"')
SESSION: Final = ("Set-Cookie", f"session={WORDS['cookie']}")


def whose(context: Mapping[str, Any]) -> str:
    """A function of the application that says in its error who asked."""
    raise LookupError(f"{WORDS['identity']} is nobody:\n{WORDS['cookie']}")


class Moody(MemoryStore):
    """A store that can be away, in a library's own words."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(now=clock)
        self.away: frozenset[str] = frozenset()

    def _asked(self, verb: str) -> None:
        if verb in self.away:
            raise ConnectionError("no answer\n[parameters: ('" + WORDS["namespace"] + "',)]")

    async def read(self, page: bytes | None, names: Sequence[str]) -> Reading:
        self._asked("read")
        return await super().read(page, names)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self._asked("replace_tokens")
        await super().replace_tokens(tokens, ttl)

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Any:
        self._asked("remove_tokens")
        return await super().remove_tokens(tokens)

    async def write_page(self, *args: Any, **kwargs: Any) -> Any:
        self._asked("write_page")
        return await super().write_page(*args, **kwargs)


def handler(seen: Seen) -> Reply:
    """A page with a word in it, and no field but these two."""
    return Reply(WORDS["body"].encode(), fields=list(SENT))


@contextmanager
def site(front: Any, **settings: Any) -> Iterator[tuple[Scenario, Moody]]:
    """A scenario of all these rules, silent unless told otherwise."""
    clock = FakeClock()
    store = Moody(clock)
    given = {"cache_status": False, "site_key": WORDS["key"], "site": "shop"} | settings
    with Scenario(
        front,
        RULES,
        store=store,
        clock=clock,
        invalidates=WRITES,
        identities=PEOPLE,
        **given,
    ) as stage:
        stage.handler = handler
        yield stage, store


class Heard(logging.Handler):
    """Everything that anybody logs, formatted as the standard library does."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


@contextmanager
def listening() -> Iterator[list[str]]:
    """All lines of pagegen's loggers, from debugging on."""
    ours = logging.getLogger("pagegen")
    heard, level = Heard(), ours.level
    ours.addHandler(heard)
    ours.setLevel(logging.DEBUG)
    try:
        yield heard.said
    finally:
        ours.removeHandler(heard)
        ours.setLevel(level)


def leaks(text: str) -> set[str]:
    """Which words are in a text, whatever their case."""
    return {what for what, word in WORDS.items() if word.lower() in text.lower()}


def added(answers: Iterable[Answer]) -> str:
    """All fields of answers that the handler did not send."""
    pairs = ((n, v) for answer in answers for n, v in answer.fields)
    said = (*SENT, GROUPS, FORGOTTEN, SESSION)
    theirs = {(name.lower(), value) for name, value in said}
    return "\n".join(f"{n}: {v}" for n, v in pairs if (n.lower(), v) not in theirs)
