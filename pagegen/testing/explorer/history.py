"""What happened in a run, as far as promises look at it. Moments are numbers of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ...messages import StoredResponse

#: Places that stand for what promises compare: arrivals with answers and returns, and the first
#: steps of handlers with those of calls of ``invalidate``. One kind writes, so that the other kind
#: may change places among itself.
COMING: Final = "coming"
CALLING: Final = "calling"


class How(StrEnum):
    """How a visit was answered."""

    HIT = "hit"
    COLLAPSED = "collapsed"
    STALE = "stale"
    FORWARD = "forward"
    VALIDATED = "validated"
    BYPASS = "bypass"
    NOT_CACHED = "not-cached"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Rendering:
    """One run of an application's handler, and what it saw.

    ``began``: at which step.  ``generation``: the tokens read before it, empty without.
    ``inputs``: what it saw of the request besides its address.  ``versions``: of the rows that it
    read.  ``late``: namespaces that it named.  ``confirmed``: when a later one began that found its
    page still good, by the tokens that it was stored under then.
    """

    number: int
    actor: str
    began: int
    slot: bytes = b""
    generation: tuple[bytes, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    late: tuple[str, ...] = ()
    private: bool = False
    confirmed: dict[tuple[bytes, ...], int] = field(default_factory=dict)

    def since(self, generation: tuple[bytes, ...]) -> int:
        """When the handler began that made the page, or last found it good under these tokens."""
        return max(self.began, self.confirmed.get(generation, 0))


@dataclass(slots=True, eq=False)
class Visit:
    """One request and its answer.

    ``arrived`` and ``answered`` are steps, ``came`` and ``went`` virtual seconds, ``wall`` what its
    process's clock said at the end. ``page``: the stored response that was sent, None without.
    ``rendering``: what the answer shows. ``error``: what a verb of the engine raised.
    """

    name: str
    process: str
    arrived: int
    came: float
    inputs: Mapping[str, str] = field(default_factory=dict)
    answered: int = 0
    went: float = 0.0
    wall: float = 0.0
    waited: float = 0.0
    how: How | None = None
    page: StoredResponse | None = None
    rendering: Rendering | None = None
    error: Exception | None = None
    probe: bool = False


@dataclass(slots=True, eq=False)
class Forgetting:
    """One call of ``invalidate``. ``returned`` is None until it did, or where it raised.

    ``failed``: when it raised; ``paid``: when its process owed nothing of it any more.
    ``unowed``: namespaces that were not acknowledged, and that nobody owes either.
    """

    actor: str
    namespaces: tuple[str, ...]
    called: int
    process: str = ""
    soft: bool = False
    returned: int | None = None
    failed: int | None = None
    paid: int | None = None
    error: Exception | None = None
    unowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Owing:
    """From ``since`` on everybody who comes has to see a row at this version or a later one."""

    row: str
    version: int
    since: int


@dataclass(slots=True, eq=False)
class History:
    """All of one run."""

    visits: list[Visit] = field(default_factory=list)
    renderings: list[Rendering] = field(default_factory=list)
    forgettings: list[Forgetting] = field(default_factory=list)
    owing: list[Owing] = field(default_factory=list)
    #: What strict writers have committed while their marks were up.
    strict: list[Owing] = field(default_factory=list)
    #: For each namespace its tokens, as readers see them, in the order of their first coming.
    tokens: dict[str, dict[bytes, int]] = field(default_factory=dict)
    #: What a process or an actor did that it must not.
    faults: list[str] = field(default_factory=list)

    def token(self, name: str, token: bytes) -> int:
        """The place of a token among those that its namespace had, counted from 1."""
        known = self.tokens.setdefault(name, {})
        return known.setdefault(token, len(known) + 1)
