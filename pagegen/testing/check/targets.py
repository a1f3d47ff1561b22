"""What clients ask for, and how they read the answers: of the sample, or of your application."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

from .events import Outcome
from .sample.pages import told_by
from .sample.site import BRIEF_SWR, BRIEF_TTL, ITEMS, LISTS, VISITORS
from .wire import Answer

#: Seconds that a brief page may be older than its times say: its rendering, and how long a worker
#: may stand still between that and the storing.
SLACK: Final = 3.0


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


class Targets(Protocol):
    """A deployment as clients see it."""

    #: Items by name, those that are asked for as often as the others.
    items: Sequence[str]

    def page_of(self, item: str, random: Random) -> Ask:
        """Some page that tells the version of this item."""

    def any_page(self, item: str, random: Random) -> Ask:
        """Some page, of this item if it belongs to any."""

    def write_of(self, item: str) -> Ask:
        """The next write of this item."""

    def read(self, ask: Ask, answer: Answer) -> Said:
        """What a page with status 200 tells."""

    def written(self, ask: Ask, answer: Answer) -> tuple[Outcome, int | None]:
        """What came of a write that was answered, and the version that it made if that is known."""


class SampleTargets:
    """The sample application's pages."""

    items: Sequence[str] = tuple(map(str, range(ITEMS)))
    _version: Final = re.compile(rb"([0-9]{1,15})(?:$| the store did not acknowledge)")

    def detail_of(self, item: str) -> Ask:
        """The page of the item alone."""
        return Ask("GET", f"/items/{item}", f"items/{item}", item)

    def page_of(self, item: str, random: Random) -> Ask:
        """Of the item, of its visitor or of its list."""
        chance = random.random()
        if chance < 0.6:
            return self.detail_of(item)
        if chance < 0.75:
            whose = random.choice(VISITORS)
            fields = (("X-Visitor", whose),)
            return Ask("GET", f"/mine/{item}", f"mine/{item} of {whose}", item, fields)
        number, start, end = int(item) % LISTS, random.choice((0, 1)), ITEMS // LISTS
        target = f"/lists/{number}?start={start}&end={end}"
        return Ask("GET", target, f"lists/{number}/{start}-{end}", item)

    def any_page(self, item: str, random: Random) -> Ask:
        """The same, or one of those that end by themselves."""
        if item == self.items[-1]:  # the huge one is not asked for as often as the others
            item = random.choice(self.items)
        if random.random() < 0.1:
            return Ask("GET", f"/brief/{item}", f"brief/{item}", item)
        return self.page_of(item, random)

    def write_of(self, item: str) -> Ask:
        """A version more."""
        return Ask("POST", f"/items/{item}", f"items/{item}", item)

    def read(self, ask: Ask, answer: Answer) -> Said:
        """What a page tells by itself."""
        told = told_by(answer.body)
        if told is None:
            return Said(flaw=f"a page that is not whole: {answer.body[:80]!r}")
        label, _, visitor = ask.page.partition(" of ")
        if told.label != label:
            return Said(flaw=f"the page of {told.label}")
        kind = label.partition("/")[0]
        stranger = "" if told.visitor == visitor else f"{told.visitor or 'nobody'}, not {visitor}"
        bound = BRIEF_TTL + BRIEF_SWR + SLACK if kind == "brief" else 0.0
        return Said(
            told.versions, kind == "lists", told.made, bound, told.rendering, stranger=stranger
        )

    def written(self, ask: Ask, answer: Answer) -> tuple[Outcome, int | None]:
        """The answer tells the version, also when the store did not acknowledge."""
        version = self._version.match(answer.body)
        if version is None or answer.status not in (200, 503):
            return "lost", None
        return "kept" if answer.status == 200 else "owed", int(version[1])


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

    def write_of(self, item: str) -> Ask:
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
