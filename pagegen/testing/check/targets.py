"""What clients ask for, and how they read the answers: of the sample, or of your application."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Any, Final, Protocol

from .events import Outcome
from .sample.pages import told_by
from .sample.site import (
    BRIEF_SWR,
    BRIEF_TTL,
    ITEMS,
    LAG,
    LAGGING,
    LISTS,
    SOFT,
    SOFT_SWR,
    VISITORS,
)
from .wire import Answer

#: Seconds that a brief page may be older than its times say: its rendering, and how long a worker
#: may stand still between that and the storing.
SLACK: Final = 3.0
#: Seconds between two writes of an item that needs quiet, on the average: longer than any hold-off,
#: which memcached rounds up by as much as two seconds.
QUIET: Final = {"soft": 1.0, "lagging": 2.5}
#: Of so many clients one writes softly. It never gets a soft page of before, the others may.
SOFTLY: Final = 4
#: Share of the soft writes that wait for a hard one of the same item, and seconds for which.
MEET: Final = 0.5
MEETS_WITHIN: Final = 0.03
#: Share of the writes that go for the item that was written last: what is rendered then is old
#: before it is done.
AGAIN: Final = 0.4
#: Names of visitors of pages that are made for each of them.
MANY: Final = 10_000


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: ``page`` is what the history calls it."""

    method: str
    target: str
    page: str
    item: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    version: int | None = None
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What a page told, in the words of :class:`~pagegen.testing.check.Read`."""

    versions: tuple[tuple[str, int], ...] = ()
    group: bool = False
    made: int = 0
    bound: float = 0.0
    rendering: str = ""
    flaw: str = ""
    stranger: str = ""
    soft: float = 0.0
    lag: float = 0.0


class Targets(Protocol):
    """A deployment as clients see it."""

    #: Items by name, those that are asked for as often as the others.
    items: Sequence[str]

    def to_write(self, random: Random, client: int) -> str:
        """The item that this client writes next."""

    def page_of(self, item: str, random: Random) -> Ask:
        """Some page that tells the version of this item."""

    def any_page(self, item: str, random: Random) -> Ask:
        """Some page, of this item if it belongs to any."""

    def write_of(self, item: str, client: int) -> Ask:
        """The next write of this item."""

    def read(self, ask: Ask, answer: Answer) -> Said:
        """What a page with status 200 tells."""

    def written(self, ask: Ask, answer: Answer) -> tuple[Outcome, int | None]:
        """What came of a write that was answered, and the version that it made if that is known."""


class Seldom:
    """Items that are written now and then, each after about so many seconds. Thread-safe."""

    def __init__(self, items: Sequence[int], seconds: float) -> None:
        self._lock = threading.Lock()
        self._seconds = seconds
        now = monotonic()
        self._due = {str(n): now + place * 0.1 for place, n in enumerate(items)}

    def due(self, random: Random) -> str | None:
        """An item whose time has come; it counts as written then."""
        now = monotonic()
        with self._lock:
            item = min(self._due, key=self._due.__getitem__)
            if self._due[item] > now:
                return None
            self._due[item] = now + self._seconds * (0.5 + random.random())
            return item


class Meeting:
    """Two clients that write the same item at one time. Nearly right is enough."""

    def __init__(self) -> None:
        self._item = ""
        self._met = threading.Event()

    def wait(self, item: str) -> None:
        """Until somebody comes for the item, or nobody does."""
        self._met.clear()
        self._item = item
        self._met.wait(MEETS_WITHIN)
        self._item = ""

    def come(self) -> str:
        """The item that somebody waits with, if any."""
        item, self._item = self._item, ""
        if item:
            self._met.set()
        return item


class SampleTargets:
    """The sample application's pages."""

    items: Sequence[str] = tuple(map(str, range(ITEMS)))
    _kinds: Final = {
        str(n): kind for kind, found in (("soft", SOFT), ("lagging", LAGGING)) for n in found
    }
    _version: Final = re.compile(rb"([0-9]{1,15})(?:$| the store did not acknowledge)")

    def __init__(self) -> None:
        self._softly = Seldom(SOFT, QUIET["soft"])
        self._lagging = Seldom(LAGGING, QUIET["lagging"])
        self._meeting = Meeting()
        self._last = self.items[0]

    def to_write(self, random: Random, client: int) -> str:
        """Those that are written seldom when their time has come, else any."""
        if client % SOFTLY:
            met: str | None = self._meeting.come()
        else:
            met = self._softly.due(random)
            if met and random.random() < MEET:
                self._meeting.wait(met)
        if met := met or self._lagging.due(random):
            return met
        if random.random() >= AGAIN:
            self._last = random.choice(self.items)
        return self._last

    def detail_of(self, item: str) -> Ask:
        """The page of the item alone."""
        kind = self._kinds.get(item, "items")
        return Ask("GET", f"/{kind}/{item}", f"{kind}/{item}", item)

    def page_of(self, item: str, random: Random) -> Ask:
        """Of the item, of its visitor or of its list."""
        chance = random.random()
        if chance < 0.5 or item in self._kinds:
            return self.detail_of(item)
        if chance < 0.6:
            whose = f"v{random.randrange(MANY)}"
            fields = (("X-Visitor", whose),)
            return Ask("GET", f"/personal/{item}", f"personal/{item} of {whose}", item, fields)
        if chance < 0.75:
            whose = random.choice(VISITORS)
            fields = (("X-Visitor", whose),)
            return Ask("GET", f"/mine/{item}", f"mine/{item} of {whose}", item, fields)
        number, start, end = int(item) % LISTS, random.choice((0, 1)), ITEMS // LISTS
        target = f"/lists/{number}?start={start}&end={end}"
        return Ask("GET", target, f"lists/{number}/{start}-{end}", item)

    def any_page(self, item: str, random: Random) -> Ask:
        """The same, or one of those that end by themselves, are soft, or lag."""
        if item == self.items[-1]:  # the huge one is not asked for as often as the others
            item = random.choice(self.items)
        chance = random.random()
        if chance < 0.1 and item not in self._kinds:
            return Ask("GET", f"/brief/{item}", f"brief/{item}", item)
        if chance > 0.8:
            item = random.choice(tuple(self._kinds))
        return self.page_of(item, random)

    def write_of(self, item: str, client: int) -> Ask:
        """A version more."""
        if self._kinds.get(item) == "soft" and client % SOFTLY:
            return Ask("POST", f"/items/{item}", f"items/{item}", item, hard=True)
        page = self.detail_of(item)
        return Ask("POST", page.target, page.page, item)

    def read(self, ask: Ask, answer: Answer) -> Said:
        """What a page tells by itself."""
        told = told_by(answer.body)
        if told is None:
            return Said(flaw=f"a page that is not whole: {answer.body[:80]!r}")
        label, _, visitor = ask.page.partition(" of ")
        if told.label != label:
            return Said(flaw=f"the page of {told.label}")
        kind = label.partition("/")[0]
        # A personal page is made for its visitor, or for nobody.
        good = told.visitor == visitor or (kind == "personal" and not told.visitor)
        return Said(
            told.versions,
            kind == "lists",
            told.made,
            BRIEF_TTL + BRIEF_SWR + SLACK if kind == "brief" else 0.0,
            "" if kind in _NOT_KEPT else told.rendering,
            stranger="" if good else f"{told.visitor or 'nobody'}, not {visitor}",
            soft=SOFT_SWR if kind == "soft" else 0.0,
            lag=LAG if kind == "lagging" else 0.0,
        )

    def written(self, ask: Ask, answer: Answer) -> tuple[Outcome, int | None]:
        """The answer tells the version, also when the store did not acknowledge."""
        version = self._version.match(answer.body)
        if version is None or answer.status not in (200, 503):
            return "lost", None
        return "kept" if answer.status == 200 else "owed", int(version[1])


#: Kinds of pages that are rendered again for each version, because they may not be stored.
_NOT_KEPT: Final = ("personal", "lagging")
#: Named groups of a pattern that finds several items in a page.
_SEVERAL: Final = frozenset(("id", "version"))
_STEP: Final = re.compile(r"\.([\w-]+)|\[([0-9]+)\]")
Reader = Callable[[bytes, str], "tuple[tuple[str, int], ...]"]


def reader(text: str) -> Reader:
    """From ``--version``: a JSON path such as ``$.item.version``, or a regular expression with one
    group, or with the groups ``id`` and ``version`` for pages of several items, where one without
    an id is the item that was asked for. Raises ``ValueError``.
    """
    if text.startswith(("$.", "$[")):
        return _json_reader(text)
    try:
        pattern = re.compile(text.encode(), re.DOTALL)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    several = pattern.groupindex.keys() >= _SEVERAL
    if pattern.groups != (2 if several else 1):
        raise ValueError(f"{text!r} must have one group, or the groups id and version")

    def read(body: bytes, item: str) -> tuple[tuple[str, int], ...]:
        if several:
            return tuple(
                (m["id"].decode() if m["id"] else item, int(m["version"]))
                for m in pattern.finditer(body)
            )
        found = pattern.search(body)
        return ((item, int(found[1])),) if found else ()

    return read


def _json_reader(text: str) -> Reader:
    steps = [name or int(index) for name, index in _STEP.findall(text[1:])]
    if _STEP.sub("", text[1:]):
        raise ValueError(f"{text!r} is no JSON path such as $.item.version or $[0].version")

    def read(body: bytes, item: str) -> tuple[tuple[str, int], ...]:
        found: Any = json.loads(body)
        for step in steps:
            found = found[step]
        return ((item, int(found)),)

    return read


class YourTargets:
    """Pages of an application that is running already.

    Templates name ``{id}``, and the write's body may name ``{version}``: then the checker says
    which version a write makes. Otherwise each write must make it higher.
    """

    def __init__(
        self,
        reads: Sequence[str],
        write: str,
        version: str,
        items: Sequence[str],
        *,
        body: str = "",
        content_type: str = "application/x-www-form-urlencoded",
        fields: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Raises ``ValueError``."""
        self.items: Sequence[str] = tuple(items)
        self._details = [target for target in reads if "{id}" in target]
        self._lists = [target for target in reads if "{id}" not in target]
        self._method, _, self._write = write.partition(" ")
        self._read = reader(version)
        self._body = body
        self._fields = tuple(fields)
        self._type = (("Content-Type", content_type),) if body else ()
        self._versions: dict[str, int] = {}
        if not self._method.isupper() or not self._write.startswith("/"):
            raise ValueError(f"{write!r} is no method and target, such as 'POST /items/{{id}}'")
        if not all(target.startswith("/") for target in reads) or not self._details:
            raise ValueError("a page to read is a target with {id} in it, such as /items/{id}")

    def page_of(self, item: str, random: Random) -> Ask:
        """One of the pages that name the item in their target, or a list."""
        if self._lists and random.random() < 0.25:
            target = random.choice(self._lists)
        else:
            target = random.choice(self._details).replace("{id}", item)
        return Ask("GET", target, target, item, self._fields)

    any_page = page_of

    def to_write(self, random: Random, client: int) -> str:
        """Any item."""
        return random.choice(self.items)

    def pages(self) -> list[Ask]:
        """All of them."""
        named = [
            (target.replace("{id}", item), item) for item in self.items for target in self._details
        ]
        return [
            Ask("GET", target, target, item, self._fields)
            for target, item in (*named, *((target, self.items[0]) for target in self._lists))
        ]

    def began(self, item: str, version: int) -> None:
        """An item has this version already, so that writes must go on from there."""
        self._versions[item] = max(version, self._versions.get(item, 0))

    def write_of(self, item: str, client: int) -> Ask:
        """To be called by one client at a time for each item."""
        version = None
        if "{version}" in self._body:
            version = self._versions[item] = self._versions.get(item, 0) + 1
        body = self._body.replace("{id}", item).replace("{version}", str(version))
        target = self._write.replace("{id}", item)
        fields = (*self._fields, *self._type)
        return Ask(self._method, target, target, item, fields, body.encode(), version)

    def read(self, ask: Ask, answer: Answer) -> Said:
        """The versions in a page; a page without one is flawed."""
        try:
            versions = self._read(answer.body, ask.item)
        except (ValueError, LookupError, TypeError):
            versions = ()
        if not versions:
            return Said(flaw=f"no version in {answer.body[:120]!r}")
        return Said(versions, group=ask.target in self._lists)

    def written(self, ask: Ask, answer: Answer) -> tuple[Outcome, int | None]:
        """By its status: redirects are how many applications say that all is well."""
        if answer.status < 400:
            return "kept", ask.version
        if answer.status == 503:
            return "owed", ask.version
        return ("refused" if answer.status < 500 else "lost"), ask.version
