"""Which rows a page was made from, held against the namespaces that it belongs to.

Pages declare their namespaces, and rows declare theirs. A page that reads a row and belongs to none
of the row's namespaces stays as it is when the row is written. :class:`ReadRecorder` stands between
cache and application while you develop and test, and reports such pages::

    recorder = ReadRecorder(cache)
    app = PageCacheMiddleware(recorder.wsgi(app), cache=cache)      # or recorder.asgi(app)
    note_reads(Session)                              # pagegen.contrib.sqlalchemy.reads, or django's
    ...                                              # the tests of your pages
    recorder.check()
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from ..cache import PageCache
from ..exchange import Exchange
from ..exchange import current as current_exchange
from ..fields import strings
from ..logs import logger

log = logger("pagegen.testing.reads")

#: Rows of one class that are looked at for one page, and findings that are kept.
MAX_ROWS: Final = 10_000
MAX_MISSING: Final = 1_000

# What a value becomes in a namespace: see namespaces.escape.
_VALUE: Final = "[A-Za-z0-9._~%-]+"
_REFERENCE: Final = re.compile(r"\\\{[^{}]*\\\}")


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of rows: its name, the templates that it declares, and those of them that refer to
    its primary key alone, so that each row has a namespace of its own.
    """

    label: str
    templates: tuple[str, ...]
    single: frozenset[str]

    def touches(self, names: Iterable[str]) -> bool:
        """Whether one of these namespaces may be that of some row."""
        return any(
            _pattern(template).fullmatch(name) for template in self.templates for name in names
        )

    def gathers(self, names: Iterable[str]) -> bool:
        """Whether one of these namespaces may be that of a row that is yet to be written."""
        wide = [template for template in self.templates if template not in self.single]
        return any(_pattern(template).fullmatch(name) for template in wide for name in names)


@dataclass(frozen=True, slots=True)
class Missing:
    """A page that stays as it is when what it read is written.

    rows: how many rows of the class it read that none of its namespaces is of; 0 where it belongs
    to the rows it read, or read columns only, and to no namespace that a *new* row would forget.
    lacks: namespaces of which one would do.
    """

    path: str
    label: str
    rows: int
    lacks: tuple[str, ...]

    def __str__(self) -> str:
        lacks = " or ".join(self.lacks)
        if self.rows:
            return f"page {self.path} read {self.rows} {self.label} rows but lacks {lacks}"
        return (
            f"page {self.path} lists {self.label} rows, and a new one would not forget it: it "
            + (
                f"lacks {lacks}"
                if lacks
                else f"lacks a namespace of all {self.label} rows, and they declare none"
            )
        )


class Rendering:
    """What one handler has read so far."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._rows: dict[Kind, Counter[tuple[str, ...]]] = {}
        self._lists: dict[Kind, Counter[object]] = {}
        self._listed: set[Kind] = set()
        self._asked: dict[object, Kind] = {}
        self._wider: dict[object, Kind] = {}

    def row(self, kind: Kind, names: tuple[str, ...], statement: object) -> None:
        """A row of these namespaces was read by a statement, which is told from others by value."""
        seen = self._rows.setdefault(kind, Counter())
        if len(seen) < MAX_ROWS or names in seen:
            seen[names] += 1
        if self._asked.get(statement) in (kind, self._wider.get(statement)):
            self._asked.pop(statement, None)
        lists = self._lists.setdefault(kind, Counter())
        lists[statement] += 1
        if lists[statement] > 1:
            self._listed.add(self._wider.get(statement, kind))

    def table(self, kind: Kind) -> None:
        """Columns or counts of a class's rows were read: which ones, nobody knows."""
        self._listed.add(kind)

    def asked(self, kind: Kind, statement: object, wider: Kind | None = None) -> None:
        """A statement asks for a class's rows, maybe as columns. Where no :meth:`row` comes of it
        that is :meth:`table`. ``wider``: the class and those that a relation between them says
        which rows by; whose row a page belongs to is told of what comes and goes by it.
        """
        self._asked[statement] = wider or kind
        if wider is not None:
            self._wider[statement] = wider

    def missing(self, page: frozenset[str]) -> Iterator[Missing]:
        """What a page of these namespaces lacks."""
        for kind, seen in self._rows.items():
            lost = {names: count for names, count in seen.items() if page.isdisjoint(names)}
            if lost:
                yield Missing(self.path, kind.label, sum(lost.values()), _lacking(kind, lost))
        for kind in self._listed.union(self._asked.values()):
            rows: Iterable[tuple[str, ...]] = self._rows.get(kind, ())
            if any(page.isdisjoint(names) for names in rows):
                continue  # said above
            if not (kind.gathers(page) if rows else kind.touches(page)):
                wide = tuple(t for t in kind.templates if t not in kind.single)
                yield Missing(self.path, kind.label, 0, wide)


_rendering: Final[ContextVar[Rendering | None]] = ContextVar("pagegen_rendering", default=None)


def rendering() -> Rendering | None:
    """What the handler that this code runs in has read; None where no page is rendered."""
    return _rendering.get()


class ReadRecorder:
    """Collects what the pages of one cache lack. Thread-safe; for development and tests.

    ``warn``: also log each finding, once.
    """

    def __init__(self, cache: PageCache, *, warn: bool = True) -> None:
        self._cache = cache
        self._warn = warn
        self._missing: dict[Missing, None] = {}

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What was found so far, each once."""
        return tuple(self._missing)

    def check(self) -> None:
        """Raises ``AssertionError`` that lists what was found."""
        if self._missing:
            raise AssertionError("\n".join(map(str, self.missing)))

    def clear(self) -> None:
        """Forget what was found."""
        self._missing.clear()

    def wsgi(self, app: Callable[..., Any]) -> Callable[..., Any]:
        """A WSGI application, recorded. The cache goes around it."""

        def recorded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            page = self._page(environ.get("PATH_INFO", ""))
            if page is None:
                return app(environ, start_response)
            with page.reading():
                iterable = app(environ, page.watch(start_response))
            return _Watched(iterable, page)

        return recorded

    def asgi(self, app: Callable[..., Any]) -> Callable[..., Any]:
        """An ASGI application, recorded. The cache goes around it."""

        async def recorded(scope: Any, receive: Any, send: Any) -> None:
            page = self._page(scope.get("path", "")) if scope["type"] == "http" else None
            if page is None:
                await app(scope, receive, send)
                return

            async def watched(message: Any) -> None:
                if message["type"] == "http.response.start":
                    page.names(
                        (name.decode("latin-1"), value.decode("latin-1"))
                        for name, value in message.get("headers", ())
                    )
                await send(message)

            with page.reading():
                await app(scope, receive, watched)
            page.end()

        return recorded

    @contextmanager
    def page(self, path: str) -> Iterator[Page | None]:
        """Record what runs inside; for middleware of frameworks. None where no page is rendered."""
        page = self._page(path)
        if page is None:
            yield None
            return
        with page.reading():
            yield page
        page.end()

    def _page(self, path: str) -> Page | None:
        # Asked each time: a framework has another cache when its settings have changed.
        exchange = current_exchange(self._cache.engine.realm)
        if exchange is None or exchange.leading is None:
            return None  # it is not to be stored
        return Page(self, exchange, Rendering(path))

    def found(self, missing: Iterable[Missing]) -> None:
        """Take note of what a page lacks."""
        for one in missing:
            if one not in self._missing and len(self._missing) < MAX_MISSING:
                self._missing[one] = None
                if self._warn:
                    log.warning("%s", one)


class Page:
    """One page from its handler's start to its end. ``groups``: namespaces that its head names."""

    def __init__(self, recorder: ReadRecorder, exchange: Exchange, rendering: Rendering) -> None:
        self._recorder = recorder
        self._exchange = exchange
        self._rendering = rendering
        self.groups: tuple[str, ...] = ()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read inside is this page's."""
        token = _rendering.set(self._rendering)
        try:
            yield
        finally:
            _rendering.reset(token)

    def names(self, headers: Iterable[tuple[str, str]]) -> None:
        """Learn what a response's head names."""
        lines = [value for name, value in headers if name.lower() == "cache-groups"]
        self.groups = strings(", ".join(lines))

    def watch(self, start_response: Callable[..., Any]) -> Callable[..., Any]:
        """A ``start_response`` that learns the head that passes through it."""

        def watched(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            self.names(headers)
            return start_response(status, headers, *more)

        return watched

    def end(self) -> None:
        """It is rendered: tell what it lacks."""
        names = frozenset((*self._exchange.declared, *self._exchange.tags, *self.groups))
        self._recorder.found(self._rendering.missing(names))


class _Watched:
    """A response's pieces; making them may read rows too."""

    def __init__(self, iterable: Any, page: Page) -> None:
        self._close = getattr(iterable, "close", None)
        self._page = page
        with page.reading():
            self._pieces = iter(iterable)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with self._page.reading():
                piece: bytes = next(self._pieces)
        except StopIteration:
            self._page.end()  # some test clients close a response when they are told to
            raise
        return piece

    def close(self) -> None:
        with self._page.reading():
            if self._close is not None:
                self._close()
        self._page.end()


def _lacking(kind: Kind, lost: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The namespaces that all these rows have; where there is none, those of the first."""
    first, *others = (frozenset(names) for names in lost)
    common = first.intersection(*others)
    order = next(iter(lost))
    return tuple(name for name in order if name in (common or first)) or kind.templates


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(_REFERENCE.sub(lambda _: _VALUE, re.escape(template)))
