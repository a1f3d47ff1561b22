"""Configuration: from a TOML file, or from a table of the same shape, to rules.

Everything wrong with it is one :class:`~pagegen.errors.ConfigError` that names file, rule, field
and remedy, and stops the start.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from os import PathLike, environ
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from .errors import ConfigError
from .identities import Identity
from .parameters import check_keys
from .readers import Hosts, hosts
from .rulebook import RuleBook
from .rules import Invalidates, Rule
from .units import DURATION_REMEDY, SIZE_REMEDY, parse_duration, parse_size

_OF_A_RULE: Final = {"query", "headers", "cookies", "ttl"}
_SECTIONS: Final = {"pagegen", "identity", "rule", "invalidates"}
#: Seconds that a request may be told to wait; a client has long gone by then.
MAX_PATIENCE: Final = 300.0
#: Seconds that the store may be allowed to keep a request.
MAX_DELAY: Final = 10.0
#: Seconds for which tokens may be used again without being asked for.
MAX_STALENESS: Final = 60.0
_STALE_REMEDY: Final = "Give at most a minute: after a write every process serves old pages so long"
#: Characters of a site key.
MIN_SECRET: Final = 16
#: Site keys at one time: a rotation needs two, one that was overtaken by the next a third.
MAX_KEYS: Final = 4
_NAMES_REMEDY: Final = (
    "Set names_key to the site_key that was there before there were several, and leave it so"
)
_Entry = TypeVar("_Entry", Rule, Invalidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The ``[pagegen]`` table.

    store: URL of the store.  site: our name in a store shared with others.
    near: size of the pages kept in the process in front of a shared store; empty for none.
    near_max_staleness: how long its tokens may be used again, which serves pages that another
        process has invalidated for as long; 0 for never.
    site_key: secret that stored pages are signed with, text of 16 characters or more, or
        ``env:NAME`` for that of an environment variable. Several, the newest first: the first
        signs, all are believed.
    names_key: secret that names in the store are made with, which stays when site keys change; in
        the same form. Without it, the only site key.
    encrypt: which pages a shared store gets encrypted: those that may be one person's
        (``"identity"``), or ``"all"``. Needs a site key and ``cryptography``.
    max_delay: how long the store may keep a request in all, apart from its own timeout: a second
        verb is begun for it within the first half only.
    release: any text that changes with a deployment; pages of another release are not ours.
    cache_status: send a ``Cache-Status`` field (RFC 9211) with every response.
    log_names: write names of namespaces into the log as they are. They may say who somebody is;
        else the log has their shapes.
    date: ``"send"`` pages with the ``Date`` they were rendered at, ``"leave"`` the field to the
        server, or ``"auto"``: send it unless the server adds one of its own.
    passthrough: headers that every handler may see unkeyed; the default are those of W3C Trace
        Context, which name a request and not a page.
    allowed_hosts: hosts that pages are kept for; requests for others are a bypass. None are any.
    max_wait: how long a request waits for another one that renders its page (nginx: 5 s). Then one
        of those who wait begins anew, and the others wait for that, once more.
    max_waiters: requests of this process that may wait at one time; the others forward themselves.
    leases: whether processes that share the store also wait for each other's rendering; else each
        renders a page once.
    """

    store: str = field(default="memory://", repr=False)  # may hold a password
    near: str | int = ""
    near_max_staleness: str | float = 0.0
    site: str = "default"
    site_key: str | Sequence[str] = field(default="", repr=False)
    names_key: str = field(default="", repr=False)
    encrypt: Literal[False, "identity", "all"] = False
    max_delay: str | float = "60ms"
    release: str = ""
    cache_status: bool = False
    log_names: bool = False
    date: Literal["auto", "send", "leave"] = "auto"
    passthrough: tuple[str, ...] = ("traceparent", "tracestate")
    allowed_hosts: Sequence[str] = ()
    max_wait: str | float = 5.0
    max_waiters: int = 10_000
    leases: bool = True

    #: ``max_wait`` in seconds.
    patience: float = field(init=False, repr=False, compare=False)
    #: ``max_delay`` in seconds, ``near`` in bytes, ``near_max_staleness`` in seconds.
    delay: float = field(init=False, repr=False, compare=False)
    near_size: int = field(init=False, repr=False, compare=False)
    near_staleness: float = field(init=False, repr=False, compare=False)
    #: The site keys themselves, the one that signs first, and the secret that names are made with.
    secrets: tuple[str, ...] = field(init=False, repr=False, compare=False)
    naming: str = field(init=False, repr=False, compare=False)
    #: ``allowed_hosts``, ready to be asked.
    hosts: Hosts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        where = "[pagegen]"
        for name in ("store", "site", "release", "names_key"):
            _expect(isinstance(getattr(self, name), str), name, "is not text", "Put it in quotes")
        for name in ("cache_status", "log_names", "leases"):
            switch = isinstance(getattr(self, name), bool)
            _expect(switch, name, "is no switch", "Write true/false")
        _expect(
            self.date in ("auto", "send", "leave"),
            "date",
            "is no choice",
            'Choose "auto", "send" or "leave"',
        )
        put = partial(object.__setattr__, self)
        put("patience", self._duration("max_wait", MAX_PATIENCE, "Give at most 5 minutes"))
        put("near_staleness", self._duration("near_max_staleness", MAX_STALENESS, _STALE_REMEDY))
        put("delay", self._duration("max_delay", MAX_DELAY, "Give at most 10 seconds"))
        put("near_size", self._size())
        put("secrets", self._site_keys())
        put("naming", self._naming())
        if not isinstance(self.site_key, str):
            put("site_key", tuple(self.site_key))
        self._check_encryption()
        _expect(
            bool(self.near_size) or not self.near_staleness,
            "near_max_staleness",
            "is set where nothing is near",
            'Set near = "64MiB" too, or leave it out',
        )
        _expect(
            type(self.max_waiters) is int and self.max_waiters >= 0,
            "max_waiters",
            "is no number of requests",
            "Give a whole number, 0 for no waiting at all",
        )
        try:
            put("hosts", hosts(self.allowed_hosts))
            # A rule checks the same entries; borrow its words rather than writing them twice.
            Rule(path="/", cache=False, passthrough=self.passthrough)
        except ConfigError as error:
            raise error.at(where=where) from None
        put("passthrough", tuple(self.passthrough))
        put("allowed_hosts", tuple(self.allowed_hosts))

    def _duration(self, name: str, most: float, remedy: str) -> float:
        try:
            seconds = parse_duration(getattr(self, name))
        except ValueError as error:
            raise ConfigError(str(error), DURATION_REMEDY, field=name, where="[pagegen]") from None
        _expect(seconds <= most, name, "is too long", remedy)
        return seconds

    def _size(self) -> int:
        try:
            return parse_size(self.near or 0)
        except ValueError as error:
            raise ConfigError(str(error), SIZE_REMEDY, field="near", where="[pagegen]") from None

    def _check_encryption(self) -> None:
        choice = self.encrypt is False or self.encrypt in ("identity", "all")
        _expect(choice, "encrypt", "is no choice", 'Choose "identity", "all" or false')
        _expect(
            bool(self.secrets) or not self.encrypt,
            "encrypt",
            "needs a site_key, from which its keys are made",
            "Give [pagegen] a site_key, the same to all processes, or remove encrypt",
        )

    @property
    def secret(self) -> str:
        """The site key that signs; empty where there is none."""
        return self.secrets[0] if self.secrets else ""

    def _site_keys(self) -> tuple[str, ...]:
        given = self.site_key
        if isinstance(given, str):
            return (_secret("site_key", given),) if given else ()
        listed = isinstance(given, (list, tuple)) and all(isinstance(key, str) for key in given)
        _expect(listed, "site_key", "is neither text nor a list of texts", "Put it in quotes")
        _expect(
            1 <= len(given) <= MAX_KEYS,
            "site_key",
            "is a list of none, or of too many",
            f"Name 1 to {MAX_KEYS}: the one that signs first, and those still to be believed",
        )
        secrets = tuple(_secret("site_key", key) for key in given)
        _expect(len(set(secrets)) == len(secrets), "site_key", "names a key twice", "Name it once")
        return secrets

    def _naming(self) -> str:
        if self.names_key:
            _expect(bool(self.secrets), "names_key", "is set without a site_key", _NAMES_REMEDY)
            return _secret("names_key", self.names_key)
        _expect(
            len(self.secrets) <= 1,
            "site_key",
            "is a list, and nothing says which key names are made with, which must not change",
            _NAMES_REMEDY,
        )
        return self.secret


def _secret(field: str, given: str) -> str:
    """The secret that a text gives or names; raises ``ConfigError``."""
    secret = given
    if given.startswith("env:"):
        name = given[4:]
        _expect(name in environ, field, f"names {name}, which is not set", f"Set {name}")
        secret = environ[name]
    _expect(
        len(secret) >= MIN_SECRET,
        field,
        "is too short to keep anybody out",
        f"Give at least {MIN_SECRET} characters, to all processes",
    )
    return secret


def _expect(holds: bool, name: str, problem: str, remedy: str) -> None:
    if not holds:
        raise ConfigError(problem, remedy, field=name, where="[pagegen]")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything a :class:`~pagegen.cache.PageCache` is built from."""

    settings: Settings = field(default_factory=Settings)
    book: RuleBook = field(default_factory=RuleBook)
    directory: Path | None = None


def load(path: str | PathLike[str]) -> Configuration:
    """Read a TOML file; raises ``ConfigError`` for every mistake in it, its absence included."""
    file = Path(path)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})",
            f"Check the path and its rights; it stands for {file.absolute()}",
            file=str(file),
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            "is not UTF-8", "Save it in the encoding that TOML asks for", file=str(file)
        ) from None
    except RecursionError:
        raise ConfigError(
            "is nested too deep to be read", "Write tables side by side", file=str(file)
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"is not TOML: {error}", "Correct the line that is named", file=str(file)
        ) from None
    try:
        return from_table(table, file.resolve().parent)
    except ConfigError as error:
        raise error.at(file=str(file)) from None


def from_table(table: Mapping[str, Any], directory: Path | None = None) -> Configuration:
    """Build from a table shaped like the file; raises ``ConfigError``."""
    for name in table.keys() & _OF_A_RULE:
        raise ConfigError(
            f"[{name}] stands outside of a rule",
            f"Write [rule.{name}] below the [[rule]] that it belongs to",
            field=name,
        )
    check_keys(table, _SECTIONS, None)
    settings = _settings(_table(table.get("pagegen", {}), "[pagegen]"))
    identities = {
        name: _identity(name, _table(value, f"[identity.{name}]"))
        for name, value in _table(table.get("identity", {}), "[identity]").items()
    }
    rules = _entries(table, "rule", Rule)
    invalidates = _entries(table, "invalidates", Invalidates)
    return Configuration(settings, RuleBook(rules, invalidates, identities), directory)


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        # A text or a list in the place of settings may hold a key or a password.
        secret = where == "[pagegen]" and isinstance(value, str | list)
        told = f"a {type(value).__name__}" if secret else repr(value)
        raise ConfigError(f"{told} is no table", f"Write {where}", where=where)
    return value


def _settings(table: Mapping[str, Any]) -> Settings:
    try:
        check_keys(table, {f.name for f in fields(Settings) if f.init}, None)
    except ConfigError as error:
        raise error.at(where="[pagegen]") from None
    return Settings(**table)


def _identity(name: str, table: Mapping[str, Any]) -> Identity:
    try:
        check_keys(table, {"from", "anonymous", "reveal"}, None)
        return Identity(
            name=name,
            sources=table.get("from", ()),
            anonymous=table.get("anonymous", "share"),
            reveal=table.get("reveal", ()),
        )
    except ConfigError as error:
        raise error.at(where=f"[identity.{name}]") from None


def _entries(table: Mapping[str, Any], section: str, kind: type[_Entry]) -> tuple[_Entry, ...]:
    entries = table.get(section, [])
    if not isinstance(entries, list):
        raise ConfigError(
            f"[{section}] is one table", f"Write [[{section}]], which may stand many times"
        )
    found = []
    for number, entry in enumerate(entries, start=1):
        unnamed = f"{section} number {number}"
        entry = _table(entry, f"[[{section}]]")
        where = f'{section} "{entry.get("name") or entry.get("path") or unnamed}"'
        try:
            check_keys(entry, {f.name for f in fields(kind) if f.init}, None)
            for required in ("path", *(("namespaces",) if kind is Invalidates else ())):
                if required not in entry:
                    raise ConfigError(f"has no {required}", f"Add {required} = …", field=required)
            found.append(kind(**entry))
        except ConfigError as error:
            raise error.at(where=where) from None
    return tuple(found)
