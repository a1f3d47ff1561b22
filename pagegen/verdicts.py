"""What the engine tells a front to do, and what became of a response.

A front dispatches on the type: :class:`Hit` and :class:`Stale` carry a page to send,
:class:`Forward` a ticket for running the application, :class:`Wait` another one's flight,
:class:`Bypass` a reason, and :class:`NotCached` nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, NamedTuple

from .identification import Identified
from .law.storing import Refusal
from .law.wishes import NOTHING, Wishes
from .messages import Fields, StoredResponse
from .rules import Rule

if TYPE_CHECKING:
    from .flights import Flight


class Reason(StrEnum):
    """Why a request is a bypass: it goes to the application untouched, nothing is stored."""

    METHOD = "method"
    NO_RULE = "no-rule"
    RULE = "rule"
    MALFORMED = "malformed"
    HOST = "host"
    PATH = "path"
    QUERY = "query"
    BODY = "body"
    UPGRADE = "upgrade"
    AUTHORIZATION = "authorization"
    HEADER = "header"
    COOKIE = "cookie"
    IDENTITY = "identity"
    NAMESPACE = "namespace"
    HEAD_MISS = "head-miss"
    STORE = "store"
    OWED = "owed"
    NO_STORE = "no-store"
    RANGE = "range"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a page is keyed by besides rule and path: canonical, each with its name.

    ``query`` is the canonical text; None stands for an absent header or cookie.
    """

    host: str
    query: str
    headers: tuple[tuple[str, str | None], ...] = ()
    cookies: tuple[tuple[str, str | None], ...] = ()
    people: tuple[Identified, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A cacheable request: where its page lives, which namespaces it has, what it is keyed by.

    ``keyed`` names the request fields that are part of the key (lower case); ``passing`` what the
    handler sees unkeyed, as ``passthrough`` names it. Nothing in a plan depends on what is not in
    its key, so plans are remembered and shared between requests.
    """

    rule: Rule
    key: bytes
    slot: bytes
    namespaces: tuple[str, ...]
    keyed: frozenset[str]
    inputs: Inputs
    passing: tuple[str, ...] = ()


class Lease(NamedTuple):
    """A store's short lock on one rendering: the ``place`` it has there, and whose it is."""

    place: bytes
    owner: bytes


@dataclass(slots=True, eq=False)
class Ticket:
    """The right to run the application for a page: the tokens are those read *before* it.

    plan: of the page.  resource: the same without what ``Vary`` selects by.
    started: when the look-up had ended, in seconds since the epoch.  spent: seconds that it took.
    cause: RFC 9211's ``fwd`` token.  changed: the namespaces that lost their token since the slot's
        page was rendered.
    flight: None when nobody waits for this one.  settled: whether that has ended.
    lease: on this rendering, over all processes; None without one.
    stores: whether the page may be stored. One that is rendered without tokens, or from a database
        that may be behind, is for those who wait for it alone.
    fallback: an expired page of the same generation, that may stand in for a failing application.
    validating: a page of the same generation, with whose validators the application is asked.
    asked: what the request's own directives say.
    credentials: names of the request's fields that tell of a person and are not keyed, where the
        rule shows the handler the whole request.  seen: all the fields that the handler sees.
    sequence: the register's value from before the handler, where the rule lets pages name further
        namespaces (:mod:`pagegen.groups`).  late: these with their tokens.
    """

    plan: Plan
    resource: Plan
    generation: tuple[bytes, ...]
    started: float
    cause: str
    changed: tuple[str, ...] = ()
    flight: Flight | None = None
    fallback: StoredResponse | None = None
    validating: StoredResponse | None = None
    credentials: frozenset[str] = frozenset()
    asked: Wishes = NOTHING
    seen: Mapping[str, str] = field(default_factory=dict)
    sequence: bytes | None = None
    late: Mapping[str, bytes] = field(default_factory=dict)
    spent: float = 0.0
    lease: Lease | None = None
    stores: bool = True
    settled: bool = False

    def is_for(self, page: StoredResponse) -> bool:
        """Whether a page that somebody else has rendered is the one that this ticket is for."""
        own = page.generation[: len(self.generation)]
        return page.key == self.plan.key and own == self.generation


# Not frozen: a frozen one takes twice as long to make, and hits are made at every request.
@dataclass(slots=True, eq=False)
class Hit:
    """Send this page; ``age``, and the ``ttl`` that is left of its lifetime, in seconds.

    collapsed: it waited for another request's page, which is ``stored`` or not.
    ticket: also renew the page behind the client's back, because its lifetime ends soon.
    """

    page: StoredResponse
    age: int
    ttl: int
    collapsed: bool = False
    stored: bool = True
    ticket: Ticket | None = None


@dataclass(frozen=True, slots=True)
class Stale:
    """Send this page, which is over its lifetime or softly invalidated: for ``-ttl`` seconds now.
    With a ticket, also refresh it behind the client's back.
    """

    page: StoredResponse
    age: int
    ttl: int
    ticket: Ticket | None


@dataclass(frozen=True, slots=True)
class Forward:
    """Run the application with the plan's view, collect its response, then admit or abandon."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until ``flight`` ends or the moment ``until``, then look up again.

    deadline: when this request's patience ends; monotonic seconds, as ``until``.
    sequence: what this request read of the register (:mod:`pagegen.groups`).
    again: its patience was over once, and somebody else began anew then.
    paid: how often what was owed had been paid when this request looked.
    ticket: of who leads others of this process, and waits for another process, or its turn.
    pause: seconds that a wait for another process takes until the next look.
    """

    flight: Flight
    plan: Plan
    deadline: float
    until: float
    sequence: bytes | None = None
    ticket: Ticket | None = None
    pause: float = 0.0
    again: bool = False
    paid: int = 0


@dataclass(frozen=True, slots=True)
class Bypass:
    """Run the application with the untouched request; store nothing."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class NotCached:
    """Answer 504: the request wants no page but from the cache (``only-if-cached``), which has none
    that would do (RFC 9111 §5.2.1.7).
    """


Verdict = Hit | Stale | Forward | Wait | Bypass | NotCached


class Course(Enum):
    """What becomes of a response whose head is there.

    COLLECT: it passes while it is collected. VALIDATE: it is the 304 that was asked for; the client
    gets the page. REPLACE: an expired page is served in its place. PASS: it has no body to collect.
    """

    COLLECT = auto()
    VALIDATE = auto()
    REPLACE = auto()
    PASS = auto()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The response is whole, and is what the client gets.

    ``refusal`` says why it is not stored all the same: only a page that the application has just
    validated comes so. ``kept``: whether the store has it. ``withheld``: fields that this client
    gets and nobody else.
    """

    page: StoredResponse
    refusal: Refusal | None = None
    kept: bool = True
    withheld: Fields = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The response is not stored: it goes to the client as the application made it.

    ``refusal``: why; None where the ticket's page may not be stored and nobody waits for it, so
    that nothing was judged.
    """

    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class Invalidation:
    """What ``invalidate`` did: the namespaces whose token it replaced.

    ``again`` says that it was called while a request is handled, and acts once more when the
    handler has ended; ``soft`` that old pages are left to others for a while, where their rules
    allow it; ``deferred`` that nothing has happened yet: it waits for the commit of the transaction
    that it was called in.
    """

    namespaces: tuple[str, ...]
    again: bool = False
    soft: bool = False
    deferred: bool = False


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the cache holds for a request, asked without changing anything.

    ``state``: ``fresh``, ``stale`` (over its ttl), ``invalidated``, ``absent`` or ``uncacheable``.
    ``age`` and ``render_seconds`` in seconds; ``changed``: the namespaces it was forgotten by;
    ``writing``: those that somebody writes at this moment, where the rule is strict.
    """

    state: str
    rule: str | None = None
    namespaces: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    age: float | None = None
    render_seconds: float | None = None
    reason: str | None = None
    writing: tuple[str, ...] = ()
