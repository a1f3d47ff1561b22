"""Telling what happened: counters for machines, ``Cache-Status`` (RFC 9211) for people.

A member of that list says one of two things, never both (§2.1)::

    hit         the application was not asked
    fwd=CAUSE   it was: fwd-status (§2.3), stored (§2.5) and collapsed (§2.6) belong to this one

``ttl`` (§2.4), ``key`` (§2.7) and ``detail`` (§2.8) may stand with either. The order of parameters
is fixed: hit or fwd, fwd-status, ttl, stored, collapsed, key, detail. A response that the cache
makes up by itself, such as a 504 for ``only-if-cached``, has no member (§2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from itertools import count as ticking
from typing import Final, NamedTuple

from .fields import format_http_date
from .forks import fork_safe_lock
from .keys import slot
from .messages import Fields, ResponseHead, StoredResponse, WireFields
from .verdicts import Admitted, Bypass, Hit, Reason, Refused, Stale, Ticket

#: The name that ``Cache-Status`` carries.
CACHE_NAME: Final = "pagegen"
#: The values of ``fwd`` (RFC 9211 §2.2). No page is stored in part, so ``partial`` is never said.
CAUSES: Final = frozenset(
    ("bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial")
)
#: Characters of a detail before escaping; namespaces that do not fit are counted. nginx takes a
#: whole response head of 4 or 8 kB by default (proxy_buffer_size): this is at most a quarter.
MAX_DETAIL: Final = 1024
#: What a structured-field integer can hold (RFC 9651 §3.3.1); a ttl beyond it says this.
MAX_INTEGER: Final = 10**15 - 1

_FIELD: Final = "Cache-Status"
_KEYED: Final = 'key="'
_ALONE: Final[Fields] = (("Cache-Control", "no-store"),)
_ALONE_WIRE: Final[WireFields] = ((b"cache-control", b"no-store"),)
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
#: Characters kept free for the number of namespaces that are not named.
_TAIL: Final = 32


class Tell(IntEnum):
    """How much a response says of the cache: nothing, what it did, or the page's key too."""

    NOTHING = 0
    OUTCOME = 1
    ALL = 2


class Manner(NamedTuple):
    """How a request is answered: how much of the cache is told, and whether the answer is ``dated``
    here. Otherwise the server dates whatever it sends.

    Members of ``Cache-Status`` are None where nothing is told.
    """

    tell: Tell
    dated: bool

    def of_hit(self, hit: Hit | Stale) -> str | None:
        """The member for a page from the cache."""
        return of_hit(hit, key=key_of(hit.page, self.tell)) if self.tell else None

    def of_rescue(self, stale: Stale, status: int | None) -> str | None:
        """The member for an expired page that stands in for an application that failed."""
        key = key_of(stale.page, self.tell)
        return of_rescue(stale, status=status, key=key) if self.tell else None

    def admitted_fields(self, ticket: Ticket, admitted: Admitted, head: ResponseHead) -> Fields:
        """What the client of a response that was just admitted gets besides the page's fields."""
        more, page = admitted.withheld, admitted.page
        if self.dated:
            more += (("Date", page.date),)
        if head.has("age"):
            more += (("Age", str(int(page.initial_age))),)
        if not self.tell:
            return more
        return appended(more, of_admitted(ticket, admitted, head.status, self.tell))

    def leaving_fields(
        self, ticket: Ticket, fields: Fields, refused: Refused | None, now: float, *, stored: bool
    ) -> Fields:
        """All fields of a response that leaves as the application made it. ``stored``: it may be
        stored yet, and is dated as all hits of it will be. ``now`` in seconds.
        """
        if self.dated:
            fields = dated(fields, now)
        elif stored:
            fields = tuple(pair for pair in fields if pair[0].lower() != "date")
        if not self.tell:
            return fields
        key = ticket.plan.slot if self.tell is Tell.ALL else None
        return appended(fields, of_forward(ticket, refused, stored=False, key=key))


def dated(fields: Fields, now: float) -> Fields:
    """Fields with a ``Date`` of now, in seconds, where they have none (RFC 9110 §6.6.1)."""
    if any(name.lower() == "date" for name, _ in fields):
        return fields
    return (*fields, ("Date", format_http_date(now)))


class Counters:
    """Counts of events by name; exact under threads."""

    def __init__(self) -> None:
        # To step an iterator written in C is atomic, and takes a fifth of what a lock does.
        self._ticks: dict[str, ticking[int]] = {}
        self._looks = 0
        self._lock = fork_safe_lock(self)

    def count(self, event: str) -> None:
        """One more of this event."""
        next(self._ticks.get(event) or self._begin(event))

    def ticker(self, event: str) -> Callable[[], object]:
        """What to call for one more of this event."""
        return (self._ticks.get(event) or self._begin(event)).__next__

    def snapshot(self) -> dict[str, int]:
        """All counts so far, of what has been counted."""
        with self._lock:
            # To see where an iterator stands is to step it.
            counts = {event: next(ticks) - self._looks for event, ticks in self._ticks.items()}
            self._looks += 1
        return {event: number for event, number in counts.items() if number}

    def _begin(self, event: str) -> ticking[int]:
        with self._lock:
            return self._ticks.setdefault(event, ticking(self._looks))


def of_hit(hit: Hit | Stale, *, key: bytes | None = None) -> str:
    """The member for a page from the cache. A ``ttl`` below 0 says that it is stale (§2.4).

    A page that another request rendered meanwhile is no hit (§2.1), since the two were one forward;
    why it was wanted was asked before they met. ``key`` is the page's slot, for clients that may
    know it (§6).
    """
    if isinstance(hit, Hit) and hit.collapsed:
        return _forward("miss", ttl=hit.ttl, stored=hit.stored, collapsed=True, key=key)
    return _joined("hit", f"ttl={_integer(hit.ttl)}", _key(key))


def of_forward(
    ticket: Ticket,
    outcome: Refused | Admitted | None,
    *,
    stored: bool,
    status: int | None = None,
    ttl: int | None = None,
    key: bytes | None = None,
) -> str:
    """The member for a response that the application just made, or validated.

    Nothing is said of storing when the head leaves before the body is there, nor ``stored`` of what
    was refused, whatever the caller says.

    status: what the application answered; clients take a missing one for that of the response, so
        a 304 that freshened a page has to be told (§2.3).
    ttl: seconds for which the stored page is fresh.
    key: the page's slot, for clients that may know it (§6).
    """
    detail = ""
    refusal = None if outcome is None else outcome.refusal
    if refusal is not None:
        detail, stored = f"refused-{refusal}", False
    elif not ticket.stores:
        # Who has no tokens by a failure bypasses the store; a page may also belong to nothing.
        detail = Reason.STORE if ticket.cause == "bypass" else _held(ticket)
    elif ticket.changed:
        detail = _changed(ticket.changed)
    return _forward(ticket.cause, status, ttl, stored=stored, key=key, detail=detail)


def _held(ticket: Ticket) -> str:
    """Why a page with tokens is not stored: a strict rule has no replicas that lag."""
    return "writing" if ticket.plan.rule.strict else "replica-lag"


def of_admitted(ticket: Ticket, admitted: Admitted, status: int, tell: Tell) -> str:
    """The member for a page that was just admitted; ``status`` is the application's."""
    page = admitted.page
    ttl = int(page.fresh_until - page.stored_at)
    stored = admitted.kept and admitted.refusal is None
    # The response's own status would say nothing (§2.3).
    asked = None if status == page.status else status
    key = key_of(page, tell)
    return of_forward(ticket, admitted, stored=stored, status=asked, ttl=ttl, key=key)


def of_rescue(stale: Stale, *, status: int | None = None, key: bytes | None = None) -> str:
    """The member for an expired page that stands in for an application that was asked and failed.

    That is no hit, because the request went forward (§2.1). ``status`` is the application's; None
    when it gave none, because it raised.
    """
    detail = "stale-if-unreachable" if status is None else "stale-if-error"
    return _forward("stale", status, stale.ttl, key=key, detail=detail)


def key_of(page: StoredResponse, tell: Tell) -> bytes | None:
    """The slot of a page, where it may be told."""
    return slot(page.key) if tell is Tell.ALL else None


def of_bypass(bypass: Bypass) -> str:
    """The member for a request that the cache did not look at: it has no key and no ttl."""
    cause = "method" if bypass.reason is Reason.METHOD else "bypass"
    return _forward(cause, detail=bypass.reason)


def appended(fields: Iterable[tuple[str, str]], member: str) -> Fields:
    """Response fields with a member added to their ``Cache-Status``.

    What caches nearer to the origin said stays in front of ours (§2), as it came. Only empty lines
    are taken out: with them the combined value would not parse (RFC 9651 §4.2.1). What tells a key
    is for who asked for it alone, so no cache on the way may keep it (RFC 9111 §5.2.2.5).
    """
    kept = (
        (name, value)
        for name, value in fields
        if value.strip(" \t") or name.lower() != "cache-status"
    )
    return (*kept, *(_ALONE if _KEYED in member else ()), (_FIELD, member))


def appended_wire(fields: Iterable[tuple[bytes, bytes]], member: str) -> WireFields:
    """:func:`appended` for fields as ASGI has them; ours is named in lower case."""
    kept = (
        (name, value)
        for name, value in fields
        if value.strip(b" \t") or name.lower() != b"cache-status"
    )
    alone = _ALONE_WIRE if _KEYED in member else ()
    return (*kept, *alone, (b"cache-status", member.encode("ascii")))


def _forward(
    cause: str,
    status: int | None = None,
    ttl: int | None = None,
    *,
    stored: bool = False,
    collapsed: bool = False,
    key: bytes | None = None,
    detail: str = "",
) -> str:
    return _joined(
        f"fwd={cause if cause in CAUSES else 'miss'}",
        f"fwd-status={status}" if status is not None and 100 <= status <= 999 else "",
        "" if ttl is None else f"ttl={_integer(ttl)}",
        "stored" if stored else "",
        "collapsed" if collapsed else "",
        _key(key),
        f"detail={_detail(detail)}" if detail else "",
    )


def _joined(*parameters: str) -> str:
    return "; ".join((CACHE_NAME, *filter(None, parameters)))


def _integer(number: int) -> int:
    return max(-MAX_INTEGER, min(number, MAX_INTEGER))


def _key(key: bytes | None) -> str:
    return "" if key is None else f'{_KEYED}{key.hex()}"'


def _detail(text: str) -> str:
    """A token where it is one, else a string (RFC 9651 §4.1.6)."""
    text = _UNPRINTABLE.sub("?", text)
    if _TOKEN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _changed(names: Sequence[str]) -> str:
    """Which namespaces changed. Tokens have no times, so not when."""
    shown: list[str] = []
    room = MAX_DETAIL - _TAIL
    for name in names:
        room -= len(name) + 2
        if room < 0:
            break
        shown.append(name)
    left = len(names) - len(shown)
    more = f"{' and ' if shown else ''}{left} more" if left else ""
    return f"changed: {', '.join(shown)}{more}"
