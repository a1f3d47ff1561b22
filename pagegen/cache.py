"""The object that applications hold: one cache with its rules and its store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import import_module
from os import PathLike
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, TypeVar

from . import config, looseness, namespaces
from .compression import check as check_coders
from .config import Configuration, Settings
from .debugging import DEFAULT_VALIDITY
from .engine import Engine
from .errors import ConfigError
from .exchange import current
from .identities import Identity
from .logs import logger
from .messages import GivenFields, Request
from .parameters import check_keys
from .planning import spelled
from .rulebook import RuleBook
from .rules import Invalidates, Rule
from .sources import Sources
from .stepping import step
from .stores import Store, open_store
from .stores.threads import for_loop
from .verdicts import Inspection, Invalidation
from .writing import DEFAULT_TERM, DEFAULT_WAIT, AsyncWriting, Writing

if TYPE_CHECKING:
    from .contrib.outbox import Outbox

log = logger("pagegen.cache")

_Given = TypeVar("_Given", Rule, Invalidates, Identity)


class PageCache:
    """Rules, a store, and the hook that handlers call after a write.

    Build it once per process, from a file or from values, and give it to the middleware of
    :mod:`pagegen.wsgi` or :mod:`pagegen.asgi` (or to both). ``store`` is a URL or a store object.
    ``sources`` replaces clocks and randomness in tests. All mistakes in rules and settings raise
    ``ConfigError`` here.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        store: str | Store = "memory://",
        invalidates: Iterable[Invalidates] = (),
        identities: Iterable[Identity] = (),
        sources: Sources | None = None,
        **settings: Any,
    ) -> None:
        given = _all(rules, Rule, "rules")
        writes = _all(invalidates, Invalidates, "invalidates")
        who = _all(identities, Identity, "identities")
        try:
            check_keys(settings, {f.name for f in fields(Settings) if f.init}, None)
        except ConfigError as error:
            raise error.at(where="PageCache()") from None
        for identity in who:
            if sum(other.name == identity.name for other in who) > 1:
                raise ConfigError(
                    "declared twice",
                    "Give each identity a name of its own",
                    where=f"[identity.{identity.name}]",
                )
        book = RuleBook(given, writes, {i.name: i for i in who})
        url = store if isinstance(store, str) else "memory://"
        self._build(
            Configuration(Settings(store=url, **settings), book),
            None if isinstance(store, str) else store,
            sources,
        )

    @classmethod
    def from_toml(
        cls,
        path: str | PathLike[str],
        *,
        store: Store | None = None,
        sources: Sources | None = None,
    ) -> Self:
        """Build from a file; raises ``ConfigError``. ``store`` replaces the one it names."""
        configuration = config.load(path)
        try:
            return cls.from_configuration(configuration, store=store, sources=sources)
        except ConfigError as error:
            raise error.at(file=str(path)) from None

    @classmethod
    def from_configuration(
        cls,
        configuration: Configuration,
        *,
        store: Store | None = None,
        sources: Sources | None = None,
    ) -> Self:
        """Build from a configuration that is read already; raises ``ConfigError``."""
        self = cls.__new__(cls)
        self._build(configuration, store, sources)
        return self

    def _build(
        self, configuration: Configuration, store: Store | None, sources: Sources | None
    ) -> None:
        for rule in configuration.book.rules:
            try:
                check_coders(rule.compress)
            except ConfigError as error:
                raise error.at(where=f'rule "{rule.name}"') from None
            _check_soft(rule, configuration.settings)
            _check_strict(rule, configuration.settings)
        try:
            opened = open_store(
                configuration.settings,
                store=store,
                directory=configuration.directory,
                now=(sources or Sources()).now,
            )
        except ConfigError as error:
            raise error.at(where="[pagegen]") from None
        self.configuration = configuration
        looseness.warn(configuration)
        self.engine = Engine(configuration, opened, sources)
        self._on_loop: Engine | None = None
        self._facing = Lock()

    @property
    def on_loop(self) -> Engine:
        """The engine to await on an event loop; ``engine`` is the one to step without."""
        with self._facing:
            if self._on_loop is None:
                self._on_loop = self.engine.over(for_loop(self.engine.store))
            return self._on_loop

    def invalidate(self, *names: str, soft: bool = False) -> Invalidation:
        """Forget every page of these namespaces, in all processes that share the store.

        Call it after the commit and before the client is answered. Called while a request is
        handled it acts at once, and once more when the handler has ended. Raises
        ``NamespaceError`` (nothing is forgotten) and ``InvalidationError`` (pages may still be
        served).

        ``soft``: pages of rules that say ``soft`` are left to others within ``swr`` while one
        refreshes them; pages of other rules are forgotten at once. The client that is answered gets
        a cookie and no old page. Where it cannot get one, because its page is cached or its
        answer has begun, all are forgotten at once.
        """
        return step(self.engine.invalidate(names, soft=soft))

    async def ainvalidate(self, *names: str, soft: bool = False) -> Invalidation:
        """:meth:`invalidate` without blocking an event loop."""
        return await self.on_loop.invalidate(names, soft=soft)

    def writing(
        self,
        *names: str,
        term: str | float = DEFAULT_TERM,
        wait: str | float = DEFAULT_WAIT,
        soft: bool = False,
    ) -> Writing:
        """A block that commits rows of these namespaces: ``with cache.writing("item:7"): …``.

        From its beginning to its end pages of rules with ``strict`` are neither served from before
        nor stored: nobody who asks after the commit gets the old row. At its end, however it ends,
        the namespaces are forgotten as :meth:`invalidate` does, ``soft`` or not.

        term: for how long at most, a duration. A block that takes longer is not strict to its end,
            which is logged; a process that dies in it leaves its readers without stored pages for
            so long. wait: how long to wait while four others write the same namespace.

        Raises ``ValueError`` and ``NamespaceError`` at once, ``WritingError`` before the block runs
        (the store does not answer, or others write for longer than ``wait``), and
        ``InvalidationError`` after it.
        """
        return Writing(self.engine, names, term=term, wait=wait, soft=soft)

    def awriting(
        self,
        *names: str,
        term: str | float = DEFAULT_TERM,
        wait: str | float = DEFAULT_WAIT,
        soft: bool = False,
    ) -> AsyncWriting:
        """:meth:`writing` without blocking an event loop: ``async with cache.awriting(...)``."""
        return AsyncWriting(self.on_loop, names, term=term, wait=wait, soft=soft)

    def outbox(self, connection: object) -> Outbox:
        """Invalidations that are part of a database transaction: not lost with a worker that dies.

        ``connection``: a ``Session``, ``AsyncSession`` or ``Connection`` of SQLAlchemy, an alias or
        connection of Django, or one of ``sqlite3``, psycopg or psycopg2; ``TypeError`` for others.
        See :class:`pagegen.contrib.outbox.Outbox`.
        """
        # By name: what stands above is imported by who uses it, and by nobody else.
        opened: Outbox = import_module("pagegen.contrib.outbox").open_outbox(self, connection)
        return opened

    def tag(self, *names: str) -> None:
        """Say while rendering that the page also belongs to these namespaces.

        Rules with ``groups`` allow that; under others a page tagged with namespaces that the rule
        does not declare is *not stored*. Where no request is handled, as in a thread that does not
        carry the request's context, it can do nothing, and warns.
        """
        checked = [namespaces.check(name) for name in names]
        exchange = current(self.engine.realm)
        if exchange is not None:
            exchange.tags.update(dict.fromkeys(checked))
            return
        log.warning(
            "cache.tag(%s) was called where no request is handled: nothing is tagged. A thread of "
            "your own needs the context of its request (contextvars.copy_context)",
            self.engine.shown(checked),
        )

    def inspect(self, path: str, query: str = "", **request: Any) -> Inspection:
        """What the cache holds for a GET of this path, asked without changing anything.

        ``path`` is decoded, ``query`` raw; ``host``, ``scheme`` (default ``http``), ``root`` (mount
        point), ``raw_path``, ``headers`` (a mapping) and ``context`` (an environ or scope, for
        identities that look into it) complete the request. Raises what the store raises, and
        ``ValueError`` for a path with a query.
        """
        return step(self.engine.inspect(_imagined(path, query, **request)))

    async def ainspect(self, path: str, query: str = "", **request: Any) -> Inspection:
        """:meth:`inspect` without blocking an event loop."""
        return await self.on_loop.inspect(_imagined(path, query, **request))

    def debug_header(self, seconds: float | str = DEFAULT_VALIDITY) -> tuple[str, str]:
        """Name and value of a request header whose answer carries ``Cache-Status`` with the page's
        key, whatever ``cache_status`` says. Signed with the site key; good for at most a day.

        Raises ``ConfigError`` without a site key, ``ValueError`` for another time.
        """
        return self.engine.debug_header(seconds)

    def statistics(self) -> Mapping[str, int]:
        """Counters of this process since its start, by name."""
        return self.engine.statistics()

    def close(self) -> None:
        """Pay what is owed if the store answers, and give back what it holds open."""
        self.engine.close()


def _all(values: object, kind: type[_Given], name: str) -> tuple[_Given, ...]:
    """A tuple of values of this kind; raises ``ConfigError``."""
    if not isinstance(values, Iterable):
        raise ConfigError(
            f"{values!r} is no list", "Put it into brackets", field=name, where="PageCache()"
        )
    for value in (found := tuple(values)):
        if not isinstance(value, kind):
            raise ConfigError(
                f"{value!r} is no {kind.__name__}",
                f"Build it with pagegen.{kind.__name__}(...)",
                field=name,
                where="PageCache()",
            )
    return found


def _check_soft(rule: Rule, settings: Settings) -> None:
    """Raises ``ConfigError`` for a soft rule where nobody can tell writers from others."""
    if rule.soft and not settings.secret:
        raise ConfigError(
            "needs a site_key: who writes is told from others by a signed cookie",
            "Give [pagegen] a site_key, the same to all processes, or remove soft",
            field="soft",
            where=f'rule "{rule.name}"',
        )


def _check_strict(rule: Rule, settings: Settings) -> None:
    """Raises ``ConfigError`` for a strict rule whose tokens may be some seconds old."""
    if rule.strict and settings.near_staleness:
        raise ConfigError(
            "cannot go with near_max_staleness, which uses tokens again after they were replaced",
            "Remove near_max_staleness, or strict",
            field="strict",
            where=f'rule "{rule.name}"',
        )


def _imagined(
    path: str,
    query: str = "",
    *,
    host: str = "localhost",
    scheme: str = "http",
    root: str = "",
    raw_path: str | None = None,
    headers: Mapping[str, str] | None = None,
    context: Mapping[str, Any] | None = None,
) -> Request:
    if "?" in path:
        raise ValueError(f"{path!r} holds a query: give it as query=")
    headers = {"host": host, **{name.lower(): value for name, value in (headers or {}).items()}}
    fields = GivenFields(headers)
    raw_path = raw_path and spelled(root) + raw_path
    return Request("GET", scheme, root, path, raw_path, query, fields, context or {})
