"""What a rule lets a page depend on: typed query parameters, headers and cookies.

Each type turns what a client sent into one canonical text, or into None: then the request is a
bypass, and the application itself decides what to say of ``?start=abc``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeVar, get_args

from .errors import ConfigError
from .fields import TOKEN
from .negotiation import MAX_MEMBERS, NEGOTIATED, preferred

ParameterType = Literal["str", "int", "bool", "enum"]
Repeat = Literal["no", "list", "set"]

_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
_TRUTH: Final = {
    **dict.fromkeys(("1", "true", "on", "yes"), "1"),
    **dict.fromkeys(("0", "false", "off", "no"), "0"),
}
#: Characters of a negotiated header that are read: longer ones are no browser's.
MAX_NEGOTIATED: Final = 512
# Header fields that a rule cannot key: they have their own place, or are about one message only.
_NOT_KEYED: Final = frozenset(
    (
        "*", "authorization", "connection", "content-length", "cookie", "host", "if-match",
        "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range",
        "transfer-encoding", "upgrade",
    )
)  # fmt: skip


def _require(holds: bool, field: str, problem: str, remedy: str) -> None:
    if not holds:
        raise ConfigError(problem, remedy, field=field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter that is part of the key.

    ``type``: ``str``, ``int``, ``bool`` (canonical ``1``/``0``) or ``enum`` (one of ``values``).
    ``default`` stands in when the parameter is absent, and the handler sees it; without a default
    absent stays absent, which is another page than empty. ``min`` and ``max`` bound an ``int``,
    ``max_length`` a ``str`` (characters). ``repeat``: ``no`` (twice is a bypass), ``list`` (order
    counts) or ``set`` (sorted, duplicates dropped), at most ``max_repeats`` times.
    """

    type: ParameterType = "str"
    default: str | int | bool | None = None
    min: int | None = None
    max: int | None = None
    values: tuple[str, ...] = ()
    repeat: Repeat = "no"
    max_repeats: int = 16
    max_length: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _texts(self.values, "values"))
        _require(
            self.type in get_args(ParameterType),
            "type",
            f"{self.type!r} is no type of a parameter",
            f"Choose one of {', '.join(get_args(ParameterType))}",
        )
        _require(
            self.repeat in get_args(Repeat),
            "repeat",
            f"{self.repeat!r} is no way to repeat a parameter",
            'Choose "no", "list" or "set"',
        )
        self._check_bounds()
        self._check_default()

    def _check_bounds(self) -> None:
        for name in ("min", "max"):
            bound = getattr(self, name)
            _require(
                bound is None or (self.type == "int" and type(bound) is int),
                name,
                f"{bound!r} bounds a parameter of type {self.type}",
                'Only type = "int" has min and max, and they are whole numbers',
            )
        if self.min is not None and self.max is not None:
            _require(
                self.min <= self.max,
                "min",
                f"min {self.min} is above max {self.max}",
                "Swap or correct them",
            )
        for name in ("max_repeats", "max_length"):
            limit = getattr(self, name)
            _require(
                type(limit) is int and limit > 0,
                name,
                f"{limit!r} is no limit",
                "Give a whole number above 0",
            )
        _require(
            bool(self.values) == (self.type == "enum"),
            "values",
            "values and type do not fit",
            'Give values with type = "enum", and only with it',
        )

    def _check_default(self) -> None:
        if self.default is None:
            return
        _require(
            isinstance(self.default, (str, int)),
            "default",
            f"{self.default!r} is neither text, number nor truth value",
            "Give one value; a parameter that may be repeated is absent by default",
        )
        text = (
            str(int(self.default))
            if isinstance(self.default, bool) and self.type == "bool"
            else str(self.default)
        )
        value = self.read(text)
        _require(
            value is not None,
            "default",
            f"{self.default!r} is not a value of this parameter itself",
            "Give a default that the parameter's type, range and values allow",
        )
        object.__setattr__(self, "default", value)

    def read(self, text: str) -> str | None:
        """One canonical value, None when the text is not of this type or out of its range."""
        if self.type == "str":
            return text if len(text) <= self.max_length and text.isprintable() else None
        if self.type == "bool":
            return _TRUTH.get(text.lower())
        if self.type == "enum":
            return text if text in self.values else None
        if not _INTEGER.fullmatch(text):
            return None
        number = int(text)
        if (self.min is not None and number < self.min) or (
            self.max is not None and number > self.max
        ):
            return None
        return str(number)

    def canonical(self, texts: Sequence[str]) -> tuple[str, ...] | None:
        """All values of this parameter in one query; empty when absent, None for a bypass."""
        if not texts:
            return () if self.default is None else (str(self.default),)
        if len(texts) > (1 if self.repeat == "no" else self.max_repeats):
            return None
        values = [self.read(text) for text in texts]
        if any(value is None for value in values):
            return None
        known = [value for value in values if value is not None]
        return tuple(sorted(set(known))) if self.repeat == "set" else tuple(known)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedField:
    """A header or cookie that is part of the key.

    With ``values`` the handler sees one of them: the exact value that the client sent, or for
    ``Accept``, ``Accept-Language``, ``Accept-Encoding`` and ``Accept-Charset`` the one it prefers
    (RFC 9110 §12.5). ``default`` stands in for an absent value, and for one outside ``values``;
    without a default absent stays absent, and a value outside the set is a bypass.
    """

    values: tuple[str, ...] = ()
    default: str | None = None
    max_length: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _texts(self.values, "values"))
        _require(
            self.default is None or isinstance(self.default, str),
            "default",
            f"{self.default!r} is not text",
            "Put it in quotes",
        )
        _require(
            type(self.max_length) is int and self.max_length > 0,
            "max_length",
            f"{self.max_length!r} is no limit",
            "Give a whole number above 0",
        )
        for value in (*self.values, *(() if self.default is None else (self.default,))):
            _require(
                all(" " <= character <= "~" for character in value),
                "values",
                f"{value!r} cannot stand in a header",
                "Use printable ASCII",
            )

    def read(self, name: str, value: str | None) -> tuple[bool, str | None]:
        """Whether the request may be answered from the cache, and the value it is keyed by."""
        if value is None:
            return True, self.default
        if not self.values:
            readable = len(value) <= self.max_length and value.isprintable()
            return readable, value
        chosen: str | None
        if name in NEGOTIATED:
            chosen = preferred(name, value[:MAX_NEGOTIATED], self.values)
            # Accept-Encoding that accepts none of ours still accepts the page uncompressed.
            if chosen is None and self.default is None:
                return name == "accept-encoding", None
        else:
            chosen = value if value in self.values else None
        if chosen is None:
            chosen = self.default
        return chosen is not None, chosen

    def is_unread(self, name: str, value: str | None) -> bool:
        """Whether the end of this value of a negotiated header ``name`` is not read."""
        if value is None or not self.values or name not in NEGOTIATED:
            return False
        return len(value) > MAX_NEGOTIATED or value.count(",") >= MAX_MEMBERS


def _texts(values: object, field: str) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f"{values!r} is no list", 'Write a list such as ["a", "b"]', field)
    for value in values:
        _require(isinstance(value, str), field, f"{value!r} is not text", "Put it in quotes")
    _require(len(set(values)) == len(values), field, "a value stands twice", "Remove one")
    return tuple(values)


_Declared = TypeVar("_Declared", Parameter, KeyedField)


def declared(kind: type[_Declared], field: str, table: object) -> dict[str, _Declared]:
    """The members of a ``query``, ``headers`` or ``cookies`` table, built and checked."""
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"{table!r} is no table", f'Write [rule.{field}] and a line "name = {{ … }}"', field
        )
    found = {}
    for name, value in table.items():
        place = f"{field}.{name}"
        _check_name(field, name)
        if isinstance(value, kind):
            found[name] = value
            continue
        if not isinstance(value, Mapping):
            raise ConfigError(f"{value!r} declares nothing", "Write { type = … } or { }", place)
        check_keys(value, {f.name for f in fields(kind)}, place)
        try:
            found[name] = kind(**dict(value))
        except ConfigError as error:
            raise error.inside(place) from None
    return found


def _check_name(field: str, name: object) -> None:
    fits = isinstance(name, str) and bool(name)
    if field != "query":
        fits = fits and TOKEN.fullmatch(str(name)) is not None
    if field == "headers":
        fits = fits and str(name) == str(name).lower() and name not in _NOT_KEYED
    _require(
        fits,
        f"{field}.{name}",
        f"{name!r} is no name here",
        "Header names are written in lower case. Cookies are keyed under cookies, Authorization by "
        "an identity; the host always is; conditions, ranges and lengths never are",
    )


def check_keys(table: Mapping[Any, Any], known: set[str], field: str | None) -> None:
    """Refuse keys that nobody reads, with the nearest known one as the remedy."""
    for key in table:
        if key in known:
            continue
        near = difflib.get_close_matches(str(key), known, n=1)
        remedy = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(sorted(known))}"
        place = f"{field}.{key}" if field else str(key)
        raise ConfigError(f"unknown key {key!r}", remedy, field=place)
