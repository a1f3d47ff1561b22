"""Requests, responses and stored responses, as every floor above sees them.

Fields are a tuple of pairs, never a dictionary: two ``Set-Cookie`` lines are two. Names of request
fields are asked for in lower case; response fields keep the case that the application gave them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

Fields = tuple[tuple[str, str], ...]
WireFields = tuple[tuple[bytes, bytes], ...]
#: All that a server says of what is asked for: method, path, query, host, scheme, mount point, as
#: a front found them.
Target = tuple[str | bytes | None, ...]
#: Content codings of one body, best first, each with its bytes.
Codings = tuple[tuple[str, bytes], ...]

#: Methods whose pages are cached.
CACHED_METHODS: Final = ("GET", "HEAD")
#: Methods whose answers never invalidate: the safe ones (RFC 9110 §9.2.1 and its registry).
SAFE_METHODS: Final = frozenset(
    (*CACHED_METHODS, "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH")
)
#: Statuses without a page of their own: a part of one, and word that it has not changed.
PARTS: Final = frozenset((206, 304))
#: Errors that are about a method and a path: those that caches may keep unasked (RFC 9110 §15.1
#: and RFC 7725 §3). Others may be caused by any field of a request, and so by anybody, for
#: everybody (H. V. Nguyen et al., "Your Cache Has Fallen", 2019).
ERRORS_OF_PATHS: Final = frozenset((404, 405, 410, 414, 451, 501))
#: Fields of one connection, in requests and responses alike (RFC 9110 §7.6.1).
OF_CONNECTION: Final = frozenset(
    (
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade",
    )
)  # fmt: skip


def wire_form(fields: Fields) -> WireFields:
    """Fields as ASGI servers take them: bytes, names in lower case."""
    return tuple(
        (name.encode("latin-1").lower(), value.encode("latin-1")) for name, value in fields
    )


class RequestFields(Protocol):
    """The header section of a request, read without copying it.

    Several lines of one name are one value, joined as RFC 9110 §5.3 allows (``", "``; ``"; "`` for
    ``cookie``).
    """

    def get(self, name: str) -> str | None:
        """The combined value of a field (name in lower case), None when there is none."""

    def pairs(self) -> Iterable[tuple[str, str]]:
        """Name (in lower case) and combined value of each field."""


class GivenFields(dict[str, str]):
    """Request fields that are there as a mapping, names in lower case."""

    def pairs(self) -> Iterable[tuple[str, str]]:
        """See :class:`RequestFields`."""
        return self.items()


@dataclass(slots=True, eq=False)
class Request:
    """What a front read from its environ or scope; nothing in it is checked yet.

    ``path`` is the decoded path below ``root`` (where the application is mounted), ``raw_path``
    the whole path as it came over the wire, when the server tells. ``query`` is raw, without ``?``.
    ``context`` is the WSGI environ or ASGI scope itself: only identities look into it. ``target``
    stands for all before ``fields``, and the host, where the front has it at hand.
    """

    method: str
    scheme: str
    root: str
    path: str
    raw_path: str | None
    query: str
    fields: RequestFields
    context: Mapping[str, Any]
    target: Target = ()


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and fields of a response, before or without its body."""

    status: int
    fields: Fields
    reason: str = ""
    _lines: dict[str, list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lines: dict[str, list[str]] = {}
        for name, value in self.fields:
            lines.setdefault(name.lower(), []).append(value)
        object.__setattr__(self, "_lines", lines)

    def get(self, name: str) -> str | None:
        """The combined value of a field (name in lower case), None when there is none."""
        found = self._lines.get(name)
        return ", ".join(found) if found else None

    def lines(self, name: str) -> list[str]:
        """The value of each line of a field (name in lower case)."""
        return self._lines.get(name, [])

    def has(self, name: str) -> bool:
        """Whether there is at least one field of this name (in lower case)."""
        return name in self._lines


class _Noted:
    """What is found out about a page when it is first sent, and is no part of it."""

    __slots__ = ("sent", "sent_wire")

    #: What is sent of it as it stands, by either front: an age in seconds, whether it is dated, and
    #: the fields at that age for documents and for all else.
    sent: tuple[int, bool, list[tuple[str, str]], list[tuple[str, str]]]
    sent_wire: tuple[int, bool, list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]


@dataclass(slots=True, eq=False)
class StoredResponse(_Noted):
    """What a slot holds: one page, the generation it was rendered under, and its times.

    All a hit sends is made here once, at admission: header tuples in the form of each front, and
    those of the 304 that stands for the page. Times are seconds since the epoch; ``initial_age``
    is how old the response was when it came (RFC 9111 §4.2.3). ``date`` is the ``Date`` it came
    with, ``control`` its ``Pagegen-Cache-Control``, which no client gets. The ``stale_`` windows
    are seconds past ``fresh_until`` within which it may be served while one refresh runs, in place
    of an error, and when the application cannot be reached; 0 where the response forbids it.
    ``codings`` are content codings that the body is also kept in, each with its bytes; ``forms``
    remembers what is sent of the page in each of them.
    """

    key: bytes
    namespaces: tuple[str, ...]
    generation: tuple[bytes, ...]
    status: int
    status_line: str
    body: bytes
    etag: str | None
    last_modified: float | None
    stored_at: float
    initial_age: float
    fresh_until: float
    render_seconds: float
    fields: Fields
    wire_fields: WireFields
    not_modified_fields: Fields
    not_modified_wire_fields: WireFields
    own_fields: int = 0
    date: str = ""
    control: str = ""
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    stale_if_unreachable: float = 0.0
    codings: Codings = ()
    forms: dict[str | None, StoredResponse] = field(default_factory=dict, repr=False)

    def from_application(self) -> Fields:
        """The fields that the application itself sent: the first ``own_fields`` of all."""
        return self.fields[: self.own_fields]

    def current_age(self, now: float) -> float:
        """Seconds since the response was made or validated (RFC 9111 §4.2.3)."""
        return self.initial_age + now - self.stored_at

    def age(self, now: float) -> int:
        """The same as ``Age`` says it, in whole seconds; a clock that stepped back counts 0."""
        age = int(self.initial_age + now - self.stored_at)
        return age if age > 0 else 0

    def size(self) -> int:
        """Bytes this page takes in memory, headers and Python's overhead counted."""
        text = sum(len(name) + len(value) for name, value in self.fields)
        strings = 2 * (len(self.fields) + len(self.not_modified_fields))
        names = sum(map(len, self.namespaces)) + sum(33 + len(token) for token in self.generation)
        # The fields stand here as text and as bytes; a short str or bytes object has about
        # 50 bytes of its own and a pair 56.
        fields = 2 * text + strings * 2 * 50 + strings * 56
        coded = sum(len(body) for _, body in self.codings)
        # Each form has fields of its own.
        fields *= 2 + len(self.codings) if self.codings else 1
        return len(self.body) + coded + len(self.key) + fields + names + 600
