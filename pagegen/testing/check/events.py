"""What clients saw, as events, and a file of them: one JSON object a line.

Times are nanoseconds of one monotonic clock. ``sent`` is taken before a request is sent and
``answered`` after its last byte was read, so what is found to be old was old beyond doubt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, TextIO, TypeAlias

#: What a history's first line says of its form.
FORM: Final = 1

#: ``kept``: old pages are gone, its answer said.  ``owed``: written, and the answer was an honest
#: "not acknowledged".  ``lost``: no answer, or a failure: it may be written, now or later.
#: ``refused``: not written.
Outcome: TypeAlias = Literal["kept", "owed", "lost", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One page, as one client got it.

    versions: each item that the page tells, and its version.  status: 0 for none within the
    client's patience, -1 for a connection that broke.  how: what the cache said.  group: whether a
    write reaches the page by a group.  made: when it was rendered (0: not known), and ``bound`` the
    seconds it may live.  rendering: which rendering it is from.  flaw: what is wrong with its
    bytes.  stranger: whom it was made for, if not for this client.  soft: seconds for which others
    than a writer may get it old.  lag: seconds for which anybody may.
    """

    client: int
    page: str
    sent: int
    answered: int
    versions: tuple[tuple[str, int], ...] = ()
    status: int = 200
    how: str = ""
    worker: int = 0
    group: bool = False
    made: int = 0
    bound: float = 0.0
    rendering: str = ""
    flaw: str = ""
    stranger: str = ""
    soft: float = 0.0
    lag: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write of an item. ``version`` None: not told, but higher than any before. ``answered``
    is when the client had the answer, or gave up. An owed write binds ``worker`` alone, which
    bypasses what it owes. ``hard``: nobody may get old pages, not even soft ones.
    """

    client: int
    item: str
    sent: int
    answered: int
    version: int | None = None
    outcome: Outcome = "kept"
    status: int = 200
    worker: int = 0
    hard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """After the last fault: whether writes were acknowledged and pages were hits again in time."""

    well: bool
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """All events that were sent before this time have been told."""

    before: int


Event: TypeAlias = Read | Write | Recovery | Mark

_KINDS: Final[dict[str, type[Any]]] = {
    "read": Read, "write": Write, "recovery": Recovery, "mark": Mark,
}  # fmt: skip
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,), "str": (str,), "bool": (bool,), "float": (int, float), "Outcome": (str,),
    "int | None": (int, type(None)), "tuple[tuple[str, int], ...]": (list,),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was promised, as far as it depends on the deployment.

    soft: seconds for which others than the writer may still get the old page, whichever it is.
    age: seconds after which nobody may, whatever came of the write (0: not known).  herd:
    renderings per page and version that are allowed (0: reported only).  breaks: whether
    connections may break.  strict: whether every page is a 200, and what need not be checked
    without it.
    """

    soft: float = 0.0
    age: float = 0.0
    herd: float = 0.0
    breaks: bool = False
    strict: bool = True


class HistoryError(ValueError):
    """A file that is no history; says the line."""


def write_terms(file: TextIO, terms: Terms) -> None:
    """Begin a history."""
    file.write(json.dumps({"pagegen-history": FORM, **asdict(terms)}) + "\n")


def write_events(file: TextIO, events: Iterable[Event]) -> None:
    """Add to a history; what an event has by default is left out."""
    file.writelines(json.dumps(as_said(event), separators=(",", ":")) + "\n" for event in events)


def as_said(event: Event) -> dict[str, Any]:
    """An event as a history says it; what it has by default is left out."""
    said = {
        field.name: value
        for field in fields(event)
        if (value := getattr(event, field.name)) != field.default
    }
    return {"is": _NAMES[type(event)], **said}


def read_terms(file: TextIO) -> Terms:
    """The beginning of a history. Raises ``HistoryError``."""
    said = _object(file.readline(), 1)
    if said.pop("pagegen-history", None) != FORM:
        raise HistoryError(f"line 1 does not say that this is a history of form {FORM}")
    made: Terms = _made(Terms, said, 1)
    return made


def read_events(file: TextIO) -> Iterator[Event]:
    """The rest of a history. Raises ``HistoryError``."""
    for number, line in enumerate(file, start=2):
        said = _object(line, number)
        kind = _KINDS.get(str(said.pop("is", "")))
        if kind is None:
            raise HistoryError(f"line {number} is no event")
        event: Event = _made(kind, said, number)
        yield event


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError as error:
        raise HistoryError(f"line {number} is no JSON: {error}") from None
    if not isinstance(said, dict):
        raise HistoryError(f"line {number} is no object")
    return said


def _made(kind: type[Any], said: dict[str, Any], number: int) -> Any:
    for field in fields(kind):
        value = said.get(field.name, field.default)
        if field.name in said and not isinstance(value, _TYPES[str(field.type)]):
            raise HistoryError(f"line {number}: {field.name} cannot be {value!r}")
    try:
        if "versions" in said:
            said["versions"] = tuple(
                (str(item), int(version)) for item, version in said["versions"]
            )
        return kind(**said)
    except (TypeError, ValueError) as error:
        raise HistoryError(f"line {number}: {error}") from None
