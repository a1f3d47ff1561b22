"""Rules: what the user says about families of URLs. Frozen values, checked when they are built.

The same values come from TOML (:mod:`pagegen.config`) and from Python. A rule checks itself; what
rules say about each other and about identities is checked by :mod:`pagegen.rulebook`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any, Final, Literal

from . import readers as read
from .errors import ConfigError
from .messages import CACHED_METHODS, ERRORS_OF_PATHS, PARTS
from .namespaces import Template
from .parameters import KeyedField, Parameter, declared
from .patterns import PathPattern, parse_pattern

PUBLIC: Final = "public"
UNSAFE_METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")
#: Content codings that pages may be kept in, best first.
CODINGS: Final = ("zstd", "br", "gzip")
# A page over this size costs more to keep than most are worth; memcached's items end here too.
DEFAULT_MAX_BODY: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What becomes of one family of URLs. The first rule whose path and method match decides.

    path: pattern (:mod:`pagegen.patterns`).  name: unique; the path when absent.
    cache: False sends these requests to the application untouched.
    share: required for cached pages. ``"public"``, or the identities that are part of the slot.
    methods: GET, HEAD or both.
    namespaces: templates over path, query and identity values. A name that two of these have is
        written ``{path.user}``, ``{query.user}`` or ``{identity.user}``.
    mode: ``"keyed"``: the handler sees what the page is keyed by, and nothing else. ``"http"``: a
        plain shared cache (RFC 9111): the handler sees the request's fields, and the response's own
        ``Vary`` says which of them select. Absent, a public rule without ttl, namespaces, query,
        headers, cookies, other_query, drop_query and passthrough is ``http``, others ``keyed``.
    ttl: seconds, text such as ``"7d"``, or a table from status to these. None: the response's own
        headers decide. Only listed statuses are stored; without a table only 200. In mode ``http``
        all that RFC 9111 lets be stored, but of errors those that are about a path alone.
    swr, sie: how long past its ttl an expired (never an invalidated) page may be served while one
        refresh runs behind it, or when the application fails (RFC 5861). Same forms as ttl. None:
        the response's own headers decide.
    early: renewing before the lifetime ends, by chance and by how long the page takes to render
        (XFetch, :mod:`pagegen.law.early`). A number is its beta; True is 2, False is 0: never.
    soft: whether ``invalidate(..., soft=True)`` leaves the old page to others for ``swr``, which
        the rule then states. Costs a token more for each namespace it declares.
    replica_lag: how far behind the database may be that the handler reads. Pages are not stored for
        so long after a namespace of theirs was forgotten. None: not at all.
    strict: whether pages are not stored while somebody writes rows of their namespaces with
        ``cache.writing``: from its commit on nobody who asks gets the old row. Costs each miss a
        read more, and hits nothing.
    heuristic: the longest time for which a page that says nothing of its lifetime is taken to be
        fresh, by a tenth of the age of its ``Last-Modified`` (RFC 9111 §4.2.2). None: never.
    client_reload: ``"honour"`` what requests say in ``Cache-Control`` (RFC 9111 §5.2.1), such as
        reloading browsers, or ``"ignore"`` it.
    own_url: whether successful writes forget the page by its URL (RFC 9111 §4.4): ``"target"``
        those to this very URL, True also those whose answer names it in ``Location`` or
        ``Content-Location``. False saves a token per URL. Absent: ``"target"`` for a rule that
        declares namespaces, else True.
    groups: whether a page may name further namespaces that it belongs to, with ``Cache-Groups``
        (RFC 9875) or ``cache.tag``. Otherwise such a page is not stored. Absent: in mode ``http``.
    compress: content codings that pages are also kept in: ``"gzip"``, ``"br"``, ``"zstd"``.
    max_body: larger bodies pass through unstored.
    query, headers, cookies: what the page depends on; the handler sees nothing else.
    other_query: what becomes of undeclared parameters: ``"bypass"``, ``"drop"`` (out of key and
        request) or ``"key"`` (as they came). Absent: ``"key"`` in mode ``http``, else ``"bypass"``.
    drop_query: names, ``prefix*`` or presets (``@tracking``) that are dropped in any case.
    passthrough: headers (or ``environ:KEY``, ``scope:KEY``) the handler sees although they are not
        keyed. They must not change the page.
    set_cookie: ``"refuse"`` to store such responses, or ``"drop"`` the field from the stored page.
    """

    path: str
    name: str = ""
    cache: bool = True
    share: str | Sequence[str] | None = None
    methods: Sequence[str] = CACHED_METHODS
    namespaces: Sequence[str] = ()
    mode: Literal["keyed", "http"] | None = None
    ttl: str | float | Mapping[Any, str | float] | None = None
    swr: str | float | None = None
    sie: str | float | None = None
    early: bool | float = True
    soft: bool = False
    replica_lag: str | float | None = None
    strict: bool = False
    heuristic: str | float | None = None
    client_reload: Literal["honour", "ignore"] = "honour"
    own_url: bool | Literal["target"] | None = None
    groups: bool | None = None
    compress: Sequence[str] = ()
    max_body: str | int = DEFAULT_MAX_BODY
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    cookies: Mapping[str, Any] = field(default_factory=dict)
    other_query: Literal["bypass", "drop", "key"] | None = None
    drop_query: Sequence[str] = ()
    passthrough: Sequence[str] = ()
    set_cookie: Literal["refuse", "drop"] = "refuse"

    pattern: PathPattern = field(init=False, repr=False, compare=False)
    identities: tuple[str, ...] = field(init=False, repr=False, compare=False)
    templates: tuple[Template, ...] = field(init=False, repr=False, compare=False)
    lifetimes: Mapping[int, float | None] = field(init=False, repr=False, compare=False)
    open: bool = field(init=False, repr=False, compare=False)
    heuristic_limit: float | None = field(init=False, repr=False, compare=False)
    stale_while_revalidate: float | None = field(init=False, repr=False, compare=False)
    stale_if_error: float | None = field(init=False, repr=False, compare=False)
    early_beta: float = field(init=False, repr=False, compare=False)
    lag: float = field(init=False, repr=False, compare=False)
    learns: bool = field(init=False, repr=False, compare=False)
    body_limit: int = field(init=False, repr=False, compare=False)
    parameters: Mapping[str, Parameter] = field(init=False, repr=False, compare=False)
    keyed_headers: Mapping[str, KeyedField] = field(init=False, repr=False, compare=False)
    keyed_cookies: Mapping[str, KeyedField] = field(init=False, repr=False, compare=False)
    dropped: tuple[frozenset[str], tuple[str, ...]] = field(init=False, repr=False, compare=False)
    fingerprint: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            _build_rule(self)
        except ConfigError as error:
            raise error.at(where=f'rule "{self.name or self.path}"') from None

    def stores(self, status: int) -> bool:
        """Whether pages of this status are stored at all; the law may still refuse them."""
        if status in self.lifetimes or not self.open or status in PARTS:
            return status in self.lifetimes
        return 200 <= status < 400 or status in ERRORS_OF_PATHS

    def drops(self, name: str) -> bool:
        """Whether an undeclared query parameter of this name is taken out of key and request."""
        exact, prefixes = self.dropped
        return self.other_query == "drop" or name in exact or name.startswith(prefixes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalidates:
    """Writes that forget namespaces with no code in the handler.

    When the application answers one of ``methods`` on ``path`` with a status below 400, the
    namespaces are invalidated before the answer leaves. All entries that match take part. ``soft``
    leaves old pages to others for a while, where their rules allow it.
    """

    path: str
    namespaces: Sequence[str]
    methods: Sequence[str] = UNSAFE_METHODS
    name: str = ""
    soft: bool = False

    pattern: PathPattern = field(init=False, repr=False, compare=False)
    templates: tuple[Template, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = _setter(self)
        try:
            put("pattern", parse_pattern(self.path))
            put("methods", read.methods(self.methods, safe=False))
            names = read.texts(self.namespaces, "namespaces")
            if not names:
                raise ConfigError("forgets nothing", "List at least one", field="namespaces")
            known = {"path": self.pattern.parameters}
            put("templates", read.templates(names, known, "a path parameter"))
            read.switch(self.soft, "soft")
        except ConfigError as error:
            raise error.at(where=f'invalidates "{self.name or self.path}"') from None


_Put = Callable[[str, object], None]


def _setter(target: object) -> _Put:
    return lambda name, value: object.__setattr__(target, name, value)


def _build_rule(rule: Rule) -> None:
    put = _setter(rule)
    if not isinstance(rule.name, str):
        raise ConfigError(f"{rule.name!r} is not text", "Put it in quotes", field="name")
    put("pattern", parse_pattern(rule.path))
    put("name", rule.name or rule.path)
    put("methods", read.methods(rule.methods, safe=True))
    put("parameters", declared(Parameter, "query", rule.query))
    put("keyed_headers", declared(KeyedField, "headers", rule.headers))
    put("keyed_cookies", declared(KeyedField, "cookies", rule.cookies))
    put("passthrough", read.passthrough(rule.passthrough))
    put("drop_query", read.texts(rule.drop_query, "drop_query"))
    put("dropped", read.dropped(rule.drop_query))
    _build_storing(rule, put)
    _build_mode(rule, put)
    put("namespaces", read.texts(rule.namespaces, "namespaces"))
    put("templates", _rule_templates(rule))
    _build_forgetting(rule, put)
    put("fingerprint", _fingerprint(rule))


def _build_storing(rule: Rule, put: _Put) -> None:
    """What of its pages is kept, for whom and for how long."""
    put("lifetimes", read.lifetimes(rule.ttl))
    put("stale_while_revalidate", read.maybe(rule.swr, "swr"))
    put("stale_if_error", read.maybe(rule.sie, "sie"))
    put("heuristic_limit", read.maybe(rule.heuristic, "heuristic"))
    put("early_beta", read.beta(rule.early))
    put("lag", read.maybe(rule.replica_lag, "replica_lag") or 0.0)
    put("compress", read.texts(rule.compress, "compress"))
    for coding in rule.compress:
        read.choice(coding, "compress", CODINGS)
    put("body_limit", read.size(rule.max_body, "max_body"))
    put("identities", _share(rule))


def _build_mode(rule: Rule, put: _Put) -> None:
    """What the handler sees, and what follows where the rule leaves that open."""
    read.choice(rule.client_reload, "client_reload", ("honour", "ignore"))
    put("open", _is_open(rule))
    put("groups", rule.open if rule.groups is None else rule.groups)
    put("other_query", rule.other_query or ("key" if rule.open else "bypass"))
    read.choice(rule.other_query, "other_query", ("bypass", "drop", "key"))
    read.choice(rule.set_cookie, "set_cookie", ("refuse", "drop"))


def _build_forgetting(rule: Rule, put: _Put) -> None:
    """By what its pages are forgotten."""
    if rule.own_url is None:
        put("own_url", "target" if rule.namespaces else True)
    if not isinstance(rule.own_url, bool) and rule.own_url != "target":
        raise ConfigError(
            f"{rule.own_url!r} is no choice", 'Write true, false or "target"', field="own_url"
        )
    for name in ("cache", "groups", "soft", "strict"):
        read.switch(getattr(rule, name), name)
    if rule.soft and not rule.stale_while_revalidate:
        raise ConfigError(
            "needs swr: without, nothing is left to others for a while",
            "Add swr, or remove soft",
            field="soft",
        )
    if rule.soft and not rule.namespaces:
        raise ConfigError(
            "needs namespaces: URLs and groups found while rendering are never forgotten softly",
            "Add namespaces, or remove soft",
            field="soft",
        )
    if rule.strict:
        _check_strict(rule)
    # Whether its pages have more to them than the rule can say: variants, or late namespaces.
    put("learns", rule.open or bool(rule.groups))


def _check_strict(rule: Rule) -> None:
    """Raises ``ConfigError`` for what a strict rule cannot be besides."""
    remedies = {
        "namespaces": "Add namespaces, or remove strict: nobody can say what is written",
        "soft": "Remove soft or strict: one leaves old pages to others, the other one never does",
        "replica_lag": "Remove strict: handlers that read a replica show the old row themselves",
        "groups": "Say groups = false and declare all namespaces: whether one that is found while "
        "rendering is being written can only be asked too late",
    }
    for name in ("namespaces", "soft", "replica_lag", "groups"):
        if bool(getattr(rule, name)) is (name != "namespaces"):
            problem = "needs namespaces" if name == "namespaces" else f"cannot go with {name}"
            raise ConfigError(problem, remedies[name], field="strict")


def _is_open(rule: Rule) -> bool:
    """Whether the handler sees the whole request: stated, or nothing else is."""
    keyed = [name for name in ("query", "headers", "cookies", "namespaces") if getattr(rule, name)]
    if rule.mode is None:
        states = (*keyed, rule.ttl is not None, rule.other_query, rule.drop_query, rule.passthrough)
        return rule.cache and rule.share == PUBLIC and not any(states)
    read.choice(rule.mode, "mode", ("keyed", "http"))
    if rule.mode == "http" and (rule.share != PUBLIC or rule.cookies):
        raise ConfigError(
            "mode http keeps visitors apart by the Vary of the response alone",
            'Write share = "public" and no cookies, or mode = "keyed"',
            field="mode",
        )
    return rule.mode == "http"


def _share(rule: Rule) -> tuple[str, ...]:
    if not rule.cache:
        for name in ("share", "namespaces", "ttl", "query", "headers", "cookies"):
            if getattr(rule, name):
                raise ConfigError(
                    f"{name} of a rule that says cache = false",
                    f"Remove {name}, or cache = false",
                    field=name,
                )
        return ()
    if rule.share is None:
        raise ConfigError(
            "does not say who may see the same page",
            'Write share = "public", or the identities that get pages of their own, '
            'such as share = ["user"]',
            field="share",
        )
    if rule.share == PUBLIC:
        return ()
    if isinstance(rule.share, str):
        raise ConfigError(
            f"{rule.share!r} is not public",
            f'Write share = ["{rule.share}"] if that is an identity',
            field="share",
        )
    names = read.texts(rule.share, "share")
    if not names or len(set(names)) != len(names):
        raise ConfigError(
            "an empty list, or a name twice", 'Write share = "public" or ["user"]', field="share"
        )
    return names


def _rule_templates(rule: Rule) -> tuple[Template, ...]:
    known = {
        "path": rule.pattern.parameters,
        "query": tuple(rule.parameters),
        "identity": rule.identities,
    }
    found = read.templates(
        rule.namespaces, known, "a path or query parameter or an identity that share lists"
    )
    for position, template in enumerate(found):
        for reference in template.references:
            kind, _, name = reference.partition(".")
            if kind != "query":
                continue
            parameter = rule.parameters[name]
            if parameter.default is None or parameter.repeat != "no":
                raise ConfigError(
                    f"{template.text!r} names the query parameter {name!r}, which may be absent "
                    "or come more than once",
                    f"Give query.{name} a default and no repeat, or leave it out of the namespace",
                    field=f"namespaces[{position}]",
                )
    return found


def _fingerprint(rule: Rule) -> bytes:
    """A digest of all the rule says: a changed rule never meets pages of its former self."""
    derived = ("open", "lifetimes", "identities", "parameters", "keyed_headers", "keyed_cookies")
    spelled = {"query", "headers", "cookies", "ttl", "share", "mode"}
    names = [f.name for f in fields(Rule) if f.init and f.name not in spelled]
    said = [(name, repr(getattr(rule, name))) for name in (*names, *derived)]
    return blake2b(repr(said).encode("utf-8", "surrogatepass"), digest_size=16).digest()
