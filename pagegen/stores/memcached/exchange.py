"""One question to one server and its answer, and what the breaker is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from pymemcache.exceptions import MemcacheError  # type: ignore[import-untyped]

from ...errors import StoreError
from ..breaker import Breaker
from .pooled import ANSWERED, BusyError, Connection, Pool

#: Asks something on a connection, and returns the answer.
Call = Callable[[Connection, Any], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    """One server as the blocking client knows it.

    ``fair`` is the number of seconds that it must have had before its silence counts.
    """

    number: int
    text: str
    breaker: Breaker
    pool: Pool
    check: Callable[[Mapping[str, str]], None]
    fair: float
    count: Callable[[str], None]


class Exchange:
    """``take`` a connection, ``start`` it, ``ask`` ahead if there are other servers, ``finish``.

    Each step goes through :meth:`go`, which keeps the first error for later and then does nothing.
    :meth:`end` must be called whatever happens.
    """

    __slots__ = ("_call", "_line", "_since", "_until", "_what", "error", "result", "server")

    def __init__(self, server: Server, call: Call, what: Any, until: float) -> None:
        self.server = server
        self._call = call
        self._what = what
        self._until = until
        self._since = 0.0
        self._line: Connection | None = None
        self.error: StoreError | None = None
        self.result: Any = None

    def go(self, step: Callable[[Exchange], None]) -> None:
        """Do a step, unless one before it failed."""
        if self.error is None:
            try:
                step(self)
            except Exception as error:
                self._failed(error)

    def take(self) -> None:
        """Get a connection, if the breaker lets anybody pass."""
        if not self.server.breaker.allows():
            self.server.count("refused")
            self.error = StoreError(
                f"memcached {self.server.text} is left alone for a while: "
                f"{self.server.breaker.cause or 'it failed repeatedly'}"
            )
            return
        self._line = self.server.pool.take(self._until)

    def connected(self) -> bool:
        """Whether the connection stands already."""
        return self._line is not None and self._line.sock is not None

    def start(self) -> None:
        """Connect where that is needed."""
        self._since = monotonic()
        alive = self._connection.prepare(self._until, self.server.check)
        if not alive:
            self.server.count("stale")
        if not self._connection.reused:
            self.server.count("connects")

    def ask(self) -> None:
        """Send the question, and do not wait for its answer."""
        self._connection.ask(self._call, self._what)

    def finish(self) -> None:
        """Send the question if that has not been done, and hear its answer."""
        line = self._connection
        self.result = self._call(line, self._what)
        self._line = None
        self.server.pool.give(line)
        self.server.breaker.succeeded()

    def end(self) -> None:
        """Close and give back a connection whose answer was not heard to its end."""
        line, self._line = self._line, None
        if line is not None:
            # Neither answered nor failed: somebody was interrupted, which says nothing of a server.
            try:
                self.server.breaker.undecided()
                line.drop()
            finally:
                self.server.pool.give(line)

    @property
    def _connection(self) -> Connection:
        if self._line is None:
            raise StoreError("nothing was taken")
        return self._line

    def _failed(self, error: Exception) -> None:
        server = self.server
        self.error = _explain(error, server.text)
        line, self._line = self._line, None
        if line is not None:
            line.drop()
            server.pool.give(line)
        if isinstance(error, ANSWERED):
            server.breaker.succeeded()
        elif self._says_nothing(error, line):
            server.breaker.undecided()
        else:
            server.count("failures")
            server.breaker.failed(str(error) or type(error).__name__)

    def _says_nothing(self, error: Exception, line: Connection | None) -> bool:
        """Whether this failure may be anybody's but the server's."""
        if isinstance(error, BusyError):
            self.server.count("busy")
            return True
        if isinstance(error, TimeoutError):
            return monotonic() - self._since < self.server.fair
        # An idle connection that was closed: the first thing that is heard of a restart.
        return isinstance(error, ConnectionError) and line is not None and line.reused


def _explain(error: Exception, server: str) -> StoreError:
    if isinstance(error, TimeoutError):
        reason = "did not answer in time"
    elif isinstance(error, StoreError | OSError):
        reason = f"cannot be used: {error}"
    elif isinstance(error, ANSWERED):
        reason = f"answered with an error: {error}"
    else:
        what = type(error).__name__ if isinstance(error, MemcacheError) else error
        reason = f"answered what is no answer ({what})"
    explained = StoreError(f"memcached {server} {reason}")
    explained.__cause__ = error
    return explained
