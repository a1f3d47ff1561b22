"""What stands in front of one server for both faces of the store: breaker, counters, plain words.

Whatever a verb's exchange raises ends here and becomes a ``StoreError`` that names the server, the
trouble and, where there is one, the remedy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from redis.exceptions import (
    AuthenticationError,
    ClusterCrossSlotError,
    ClusterError,
    MovedError,
    NoPermissionError,
)

from ...errors import StoreError
from ...logs import logger
from ..breaker import Breaker
from .identity import Identity
from .packets import Demoted, Refused
from .server import Server

log = logger("pagegen.stores")

#: What the operator can do, by what the server answered. Each is said once in a process.
_REMEDIES: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...]] = (
    (AuthenticationError, "Write user and password in the URL: redis://USER:PASSWORD@HOST"),
    (
        NoPermissionError,
        "Allow this user: resetkeys ~pg1:* +info +mget +set +unlink +eval +get +del",
    ),
    (
        (MovedError, ClusterCrossSlotError, ClusterError),
        "Redis Cluster is not supported: name a server that is in none",
    ),
    (Demoted, "Name the primary, or an address that follows it"),
)


class Exhausted(StoreError):  # noqa: N818
    """All connections stayed in use for as long as the verb could wait."""


class Gate:
    """The breaker of one server and what is counted about it. Thread-safe.

    Call :meth:`enter` before an exchange, and :meth:`passed` or :meth:`judge` behind it.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.identity = Identity(server.name)
        self.counts: Counter[str] = Counter()
        self.breaker = Breaker(told=self._tell)
        self._said: set[str] = set()

    def enter(self) -> None:
        """Raises ``StoreError`` at once when nobody may ask the server now."""
        if not self.breaker.allows():
            self.counts["refused"] += 1
            cause = self.breaker.cause or "it failed repeatedly"
            raise StoreError(f"Redis at {self.server.name} is left alone for a while: {cause}")

    def passed(self) -> None:
        """The server answered."""
        self.breaker.succeeded()

    def judge(self, error: BaseException, *, late: bool = False) -> BaseException:
        """What to raise for what an exchange raised, once the breaker knows of it.

        ``late`` says that the time ran out while this process was not looking: nobody knows whether
        the server was in time.
        """
        if isinstance(error, Refused):
            self.passed()
        elif isinstance(error, Exhausted):
            self.counts["exhausted"] += 1
            self.breaker.undecided()
        elif not isinstance(error, Exception) or late:
            self.breaker.undecided()
        else:
            self.counts["failures"] += 1
            self.breaker.failed(self._explain(error))
        if not isinstance(error, Exception):
            return error
        return StoreError(f"Redis at {self.server.name}: {self._explain(error)}")

    def statistics(self) -> Mapping[str, int]:
        """All counters; the keys are always the same."""
        names = ("failures", "refused", "exhausted", "connections", "stale_connections")
        return {
            **{name: self.counts[name] for name in names},
            "breaker_opened": self.breaker.opened,
            "breaker_is_open": int(self.breaker.is_open),
            "identity_changes": self.identity.changes,
        }

    def _tell(self, failing: bool, cause: str) -> None:
        if failing:
            log.warning(
                "Redis at %s fails (%s): it is left alone, and asked from time to time",
                self.server.name,
                cause,
            )
        else:
            log.warning("Redis at %s answers again", self.server.name)

    def _explain(self, error: Exception) -> str:
        text = str(error) or ("it took too long" if isinstance(error, TimeoutError) else "")
        text = text or type(error).__name__
        cause = error.__cause__ or error
        for kind, remedy in _REMEDIES:
            if isinstance(error, kind) or isinstance(cause, kind):
                self._say_once(f"{text}. {remedy}")
                return f"{text}. {remedy}"
        return text

    def _say_once(self, text: str) -> None:
        if text not in self._said and len(self._said) < 100:
            self._said.add(text)
            log.warning("Redis at %s cannot be used: %s", self.server.name, text)
