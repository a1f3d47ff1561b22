"""Strict writes: ``with cache.writing("item:7"): …commit…``.

From before the commit on, pages of rules with ``strict`` are not stored, and those that were stored
are dead, until the new tokens are there: nobody who asks after the commit gets the old row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Iterator
from random import random
from types import TracebackType
from typing import Any, Final, Self

from .engine import Engine
from .errors import InvalidationError, WritingError
from .marking import Marked
from .stepping import step
from .units import DURATION_REMEDY, parse_duration

#: Seconds for which marks are up when nothing is said: longer than transactions of a web request
#: take (gunicorn ends a worker that takes 30 s), and how long readers do without a dead writer.
DEFAULT_TERM: Final = 30.0
#: Seconds between which a term may be: memcached counts whole ones, and a page that is not stored
#: for an hour has another problem.
SHORTEST_TERM: Final = 1.0
LONGEST_TERM: Final = 3600.0
#: Seconds that a writer waits for a free mark when nothing is said, and at most.
DEFAULT_WAIT: Final = 5.0
LONGEST_WAIT: Final = 60.0
#: Seconds between two looks for a free mark: the first pause, the factor by which they grow, and
#: the longest. Each is drawn between half and one and a half times that.
FIRST_PAUSE: Final = 0.01
GROWTH: Final = 1.5
LONGEST_PAUSE: Final = 0.25


# A loop keeps tasks only as long as somebody else does.
_giving_back: Final[set[asyncio.Future[bool | None]]] = set()


class _Terms:
    """What both forms share: what was asked for, checked, and what is held."""

    def __init__(
        self,
        engine: Engine,
        names: Iterable[str],
        *,
        term: str | float,
        wait: str | float,
        soft: bool,
    ) -> None:
        self._engine = engine
        self.names = engine.marking.names(names)
        self._term = _seconds(term, "term", SHORTEST_TERM, LONGEST_TERM)
        self._wait = _seconds(wait, "wait", 0.0, LONGEST_WAIT)
        self._soft = soft
        self._marked: Marked | None = None
        self._used = False
        #: Whether the marks were up until the end of the block; None until then.
        self.kept: bool | None = None

    def _begin(self) -> Coroutine[Any, Any, Marked | None]:
        return self._engine.marking.begin(self.names, self._term, soft=self._soft)

    def _tries(self) -> Iterator[float]:
        """Pauses before each try, none before the first. Raises ``WritingError`` when patience is
        over, and ``RuntimeError`` the second time that a block is entered.
        """
        if self._used:
            raise RuntimeError("it was entered before: call writing() for each block")
        self._used = True
        if not self.names:
            return
        yield 0.0
        until, pause = time.monotonic() + self._wait, FIRST_PAUSE
        while (left := until - time.monotonic()) > 0:
            yield min(left, pause * (0.5 + random()))  # noqa: S311 - jitter, no secret
            pause = min(LONGEST_PAUSE, pause * GROWTH)
        self._engine.marking.busy()
        raise WritingError(
            self.names,
            f"others write there, and went on for longer than the {self._wait:g} s of wait",
            self._engine.shown(self.names),
        )

    def _ended(self, raised: BaseException | None, error: InvalidationError) -> None:
        """The store did not acknowledge. Where the block raised, that is what its caller hears."""
        if raised is None:
            raise error
        self._engine.marking.tell(error)


class Writing(_Terms):
    """The block of ``with cache.writing(...)``. ``names``: its namespaces. ``kept``: whether it was
    strict to its end; None before, and where the store did not acknowledge.
    """

    def __enter__(self) -> Self:
        for pause in self._tries():
            time.sleep(pause)
            self._marked = step(self._begin())
            if self._marked is not None:
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._marked is None:
            return
        try:
            self.kept = step(self._engine.marking.end(self._marked))
        except InvalidationError as error:
            self._ended(raised, error)


class AsyncWriting(_Terms):
    """The block of ``async with cache.awriting(...)``; see :class:`Writing`."""

    async def __aenter__(self) -> Self:
        for pause in self._tries():
            await asyncio.sleep(pause)
            # A task of its own: the store may have the marks already of who is cancelled here.
            beginning = asyncio.ensure_future(self._begin())
            try:
                self._marked = await asyncio.shield(beginning)
            except asyncio.CancelledError:
                beginning.add_done_callback(self._given_up)
                raise
            if self._marked is not None:
                break
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._marked is None:
            return
        # A task of its own: who is cancelled here may have committed.
        ending = asyncio.ensure_future(self._engine.marking.end(self._marked))
        try:
            self.kept = await asyncio.shield(ending)
        except asyncio.CancelledError:
            ending.add_done_callback(self._left)
            raise
        except InvalidationError as error:
            self._ended(raised, error)

    def _given_up(self, beginning: asyncio.Future[Marked | None]) -> None:
        """The block will not run: take down what was put up for it."""
        if beginning.cancelled() or beginning.exception() is not None:
            return
        if (marked := beginning.result()) is not None:
            giving = asyncio.ensure_future(self._engine.marking.give_back(marked.marks))
            _giving_back.add(giving)
            giving.add_done_callback(_giving_back.discard)

    def _left(self, ending: asyncio.Future[bool]) -> None:
        """What became of an end that nobody waits for any more."""
        error = None if ending.cancelled() else ending.exception()
        if isinstance(error, InvalidationError):
            self._engine.marking.tell(error)


def _seconds(value: str | float, name: str, least: float, most: float) -> float:
    """Seconds in a duration; raises ``ValueError`` for one that is none or out of bounds."""
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}. {DURATION_REMEDY}") from None
    if not least <= seconds <= most:
        raise ValueError(f"{name} = {value!r} is not between {least:g} and {most:g} s")
    return seconds
