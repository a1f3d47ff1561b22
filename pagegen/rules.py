"""Rules: what the user says about families of URLs. Frozen values, checked when they are built.

The same values come from TOML (:mod:`pagegen.config`) and from Python. A rule checks itself; what
rules say about each other and about identities is checked by :mod:`pagegen.rulebook`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any, Final, Literal

from .errors import ConfigError, NamespaceError
from .fields import TOKEN
from .identities import names_the_request
from .namespaces import Template, parse
from .parameters import KeyedField, Parameter, declared
from .patterns import PathPattern, parse_pattern
from .units import DURATION_REMEDY, SIZE_REMEDY, parse_duration, parse_size

PUBLIC: Final = "public"
#: Methods whose pages are cached, and those whose answers never invalidate (RFC 9110 §9.2.1).
CACHED_METHODS: Final = ("GET", "HEAD")
SAFE_METHODS: Final = frozenset((*CACHED_METHODS, "OPTIONS", "TRACE", "QUERY"))
UNSAFE_METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")
# A page over this size costs more to keep than most are worth; memcached's items end here too.
DEFAULT_MAX_BODY: Final = 2**20

#: Query parameters that tell where a visitor came from and that no page depends on.
QUERY_PRESETS: Final[Mapping[str, tuple[str, ...]]] = {
    "@tracking": (
        "utm_*", "fbclid", "gclid", "gbraid", "wbraid", "dclid", "gclsrc", "msclkid", "twclid",
        "ttclid", "li_fat_id", "igshid", "yclid", "mc_cid", "mc_eid", "_ga", "_gl", "srsltid",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What becomes of one family of URLs. The first rule whose path and method match decides.

    path: pattern (:mod:`pagegen.patterns`).  name: unique; the path when absent.
    cache: False sends these requests to the application untouched.
    share: required for cached pages. ``"public"``, or the identities that are part of the slot.
    methods: GET, HEAD or both.
    namespaces: templates over path, query and identity values. A name that two of these have is
        written ``{path.user}``, ``{query.user}`` or ``{identity.user}``.
    ttl: seconds, text such as ``"7d"``, or a table from status to these. None: the response's own
        headers decide. Only listed statuses are stored; without a table only 200.
    swr, sie: how long past its ttl an expired (never an invalidated) page may be served while one
        refresh runs behind it, or when the application fails (RFC 5861). Same forms as ttl.
    max_body: larger bodies pass through unstored.
    query, headers, cookies: what the page depends on; the handler sees nothing else.
    other_query: ``"bypass"`` or ``"drop"`` (out of key and request) for undeclared parameters.
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
    ttl: str | float | Mapping[Any, str | float] | None = None
    swr: str | float = 0.0
    sie: str | float = 0.0
    max_body: str | int = DEFAULT_MAX_BODY
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    cookies: Mapping[str, Any] = field(default_factory=dict)
    other_query: Literal["bypass", "drop"] = "bypass"
    drop_query: Sequence[str] = ()
    passthrough: Sequence[str] = ()
    set_cookie: Literal["refuse", "drop"] = "refuse"

    pattern: PathPattern = field(init=False, repr=False, compare=False)
    identities: tuple[str, ...] = field(init=False, repr=False, compare=False)
    templates: tuple[Template, ...] = field(init=False, repr=False, compare=False)
    lifetimes: Mapping[int, float | None] = field(init=False, repr=False, compare=False)
    stale_while_revalidate: float = field(init=False, repr=False, compare=False)
    stale_if_error: float = field(init=False, repr=False, compare=False)
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

    def drops(self, name: str) -> bool:
        """Whether an undeclared query parameter of this name is taken out of key and request."""
        exact, prefixes = self.dropped
        return self.other_query == "drop" or name in exact or name.startswith(prefixes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalidates:
    """Writes that forget namespaces with no code in the handler.

    When the application answers one of ``methods`` on ``path`` with a status below 400, the
    namespaces are invalidated before the answer leaves. All entries that match take part.
    """

    path: str
    namespaces: Sequence[str]
    methods: Sequence[str] = UNSAFE_METHODS
    name: str = ""

    pattern: PathPattern = field(init=False, repr=False, compare=False)
    templates: tuple[Template, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = _setter(self)
        try:
            put("pattern", parse_pattern(self.path))
            put("methods", _methods(self.methods, safe=False))
            names = texts(self.namespaces, "namespaces")
            if not names:
                raise ConfigError("forgets nothing", "List at least one", field="namespaces")
            known = {"path": self.pattern.parameters}
            put("templates", _templates(names, known, "a path parameter"))
        except ConfigError as error:
            raise error.at(where=f'invalidates "{self.name or self.path}"') from None


def _setter(target: Any) -> Any:
    return lambda name, value: object.__setattr__(target, name, value)


def _build_rule(rule: Rule) -> None:
    put = _setter(rule)
    if not isinstance(rule.name, str):
        raise ConfigError(f"{rule.name!r} is not text", "Put it in quotes", field="name")
    put("pattern", parse_pattern(rule.path))
    put("name", rule.name or rule.path)
    put("methods", _methods(rule.methods, safe=True))
    put("parameters", declared(Parameter, "query", rule.query))
    put("keyed_headers", declared(KeyedField, "headers", rule.headers))
    put("keyed_cookies", declared(KeyedField, "cookies", rule.cookies))
    put("passthrough", _passthrough(rule))
    put("drop_query", texts(rule.drop_query, "drop_query"))
    put("dropped", _dropped(rule.drop_query))
    put("lifetimes", _lifetimes(rule.ttl))
    put("stale_while_revalidate", _duration(rule.swr, "swr"))
    put("stale_if_error", _duration(rule.sie, "sie"))
    put("body_limit", _size(rule.max_body, "max_body"))
    put("identities", _share(rule))
    _choice(rule, "other_query", ("bypass", "drop"))
    _choice(rule, "set_cookie", ("refuse", "drop"))
    put("namespaces", texts(rule.namespaces, "namespaces"))
    put("templates", _rule_templates(rule))
    if not isinstance(rule.cache, bool):
        raise ConfigError(f"{rule.cache!r} is neither true nor false", "Write one", field="cache")
    put("fingerprint", _fingerprint(rule))


def texts(values: object, place: str) -> tuple[str, ...]:
    """A tuple of strings from any sequence of them; raises ``ConfigError`` (field ``place``)."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f"{values!r} is no list", 'Write a list such as ["a"]', field=place)
    for value in values:
        if not isinstance(value, str):
            raise ConfigError(f"{value!r} is not text", "Put it in quotes", field=place)
    return tuple(values)


def _methods(given: object, *, safe: bool) -> tuple[str, ...]:
    methods = texts(given, "methods")
    for method in methods:
        if safe and method not in CACHED_METHODS:
            raise ConfigError(
                f"{method!r} is not cached",
                "Only GET and HEAD are; writes belong into [[invalidates]]",
                field="methods",
            )
        if not safe and (method.upper() in SAFE_METHODS or not TOKEN.fullmatch(method)):
            raise ConfigError(
                f"{method!r} is no unsafe method",
                "List methods that write, such as POST, PUT, PATCH, DELETE",
                field="methods",
            )
        if method != method.upper():
            raise ConfigError(
                f"{method!r} is not in capitals", f'Write "{method.upper()}"', field="methods"
            )
    if not methods:
        raise ConfigError("no method", "List at least one, or leave the key out", field="methods")
    return methods


def _passthrough(rule: Rule) -> tuple[str, ...]:
    for entry in (names := texts(rule.passthrough, "passthrough")):
        context, _, key = entry.partition(":")
        if context in ("environ", "scope") and key and not names_the_request(key):
            continue
        if (
            not TOKEN.fullmatch(entry)
            or entry != entry.lower()
            or entry in ("cookie", "authorization", "range", "host")
        ):
            raise ConfigError(
                f"{entry!r} cannot pass through",
                'Name a header in lower case, "environ:KEY" or "scope:KEY"; what a page depends '
                "on belongs into headers, cookies or an identity",
                field="passthrough",
            )
    return names


def _dropped(entries: Iterable[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    exact: set[str] = set()
    prefixes: set[str] = set()
    for entry in entries:
        if entry.startswith("@") and entry not in QUERY_PRESETS:
            known = ", ".join(QUERY_PRESETS)
            raise ConfigError(f"no preset {entry!r}", f"There is {known}", field="drop_query")
        for name in QUERY_PRESETS.get(entry, (entry,)):
            stem = name.removesuffix("*")
            if not stem or "*" in stem:
                raise ConfigError(
                    f"{entry!r} cannot be read",
                    'Write a name, "prefix*" or a preset; other_query = "drop" drops all',
                    field="drop_query",
                )
            (prefixes if name.endswith("*") else exact).add(stem)
    return frozenset(exact), tuple(sorted(prefixes))


def _duration(value: object, place: str) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ConfigError(str(error), DURATION_REMEDY, field=place) from None


def _size(value: object, place: str) -> int:
    try:
        return parse_size(value)
    except ValueError as error:
        raise ConfigError(str(error), SIZE_REMEDY, field=place) from None


def _ttl(value: object, place: str) -> float:
    seconds = _duration(value, place)
    if seconds == 0:
        raise ConfigError(
            "a ttl of 0 stores nothing", "Write cache = false, or leave the status out", field=place
        )
    return seconds


def _lifetimes(ttl: object) -> dict[int, float | None]:
    """Storable statuses, each with its lifetime; None where the response's own headers decide."""
    if not isinstance(ttl, Mapping):
        return {200: None if ttl is None else _ttl(ttl, "ttl")}
    found: dict[int, float | None] = {}
    for status, value in ttl.items():
        text = str(status)
        if not text.isascii() or not text.isdigit() or not 200 <= int(text) <= 599:
            raise ConfigError(
                f"{status!r} is no status", "Write one from 200 to 599", field=f"ttl.{status}"
            )
        if int(text) in (206, 304):
            raise ConfigError(
                f"a {status} is part of a page or none",
                "Leave it out: pagegen answers these itself from the whole page",
                field=f"ttl.{status}",
            )
        found[int(text)] = _ttl(value, f"ttl.{status}")
    if not found:
        raise ConfigError(
            "no status", 'Write a duration, or a table such as { 200 = "7d" }', field="ttl"
        )
    return found


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
    names = texts(rule.share, "share")
    if not names or len(set(names)) != len(names):
        raise ConfigError(
            "an empty list, or a name twice", 'Write share = "public" or ["user"]', field="share"
        )
    return names


def _choice(rule: Rule, place: str, choices: tuple[str, ...]) -> None:
    if getattr(rule, place) not in choices:
        raise ConfigError(
            f"{getattr(rule, place)!r} is no choice", f"Choose {' or '.join(choices)}", field=place
        )


def _rule_templates(rule: Rule) -> tuple[Template, ...]:
    known = {
        "path": rule.pattern.parameters,
        "query": tuple(rule.parameters),
        "identity": rule.identities,
    }
    templates = _templates(
        rule.namespaces, known, "a path or query parameter or an identity that share lists"
    )
    for position, template in enumerate(templates):
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
    return templates


def _templates(
    names: Sequence[str], known: Mapping[str, Sequence[str]], what: str
) -> tuple[Template, ...]:
    found = []
    for position, text in enumerate(names):
        place = f"namespaces[{position}]"
        try:
            template = parse(text)
        except NamespaceError as error:
            raise ConfigError(
                str(error).rstrip("."), 'Write a name such as "item:{id}"', field=place
            ) from None
        references = tuple(_resolve(r, known, text, what, place) for r in template.references)
        found.append(Template(text, template.literals, references))
    if len({template.text for template in found}) != len(found):
        raise ConfigError("a namespace stands twice", "Remove one", field="namespaces")
    return tuple(found)


def _resolve(
    reference: str, known: Mapping[str, Sequence[str]], text: str, what: str, place: str
) -> str:
    kind, dot, name = reference.partition(".")
    if dot and name in known.get(kind, ()):
        return reference
    kinds = [kind for kind, names in known.items() if reference in names]
    if len(kinds) == 1:
        return f"{kinds[0]}.{reference}"
    if kinds:
        choices = " or ".join(f"{{{kind}.{reference}}}" for kind in kinds)
        raise ConfigError(
            f"{text!r} names {{{reference}}}, which is more than one thing here",
            f"Write {choices}",
            field=place,
        )
    names = sorted({name for group in known.values() for name in group})
    raise ConfigError(
        f"{text!r} names {{{reference}}}, which is not {what} of this rule",
        f"Known here: {', '.join(names)}" if names else "There is none: add it, or use plain text",
        field=place,
    )


def _fingerprint(rule: Rule) -> bytes:
    """A digest of all the rule says: a changed rule never meets pages of its former self."""
    derived = ("lifetimes", "identities", "parameters", "keyed_headers", "keyed_cookies")
    spelled = {"query", "headers", "cookies", "ttl", "share"}
    names = [f.name for f in fields(Rule) if f.init and f.name not in spelled]
    said = [(name, repr(getattr(rule, name))) for name in (*names, *derived)]
    return blake2b(repr(said).encode("utf-8", "surrogatepass"), digest_size=16).digest()
