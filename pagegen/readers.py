"""Reading what a rule says: each reader raises ``ConfigError`` with the field and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .errors import ConfigError, NamespaceError
from .fields import TOKEN, host
from .identities import names_the_request
from .messages import CACHED_METHODS, PARTS, SAFE_METHODS
from .namespaces import Template, parse
from .units import DURATION_REMEDY, SIZE_REMEDY, parse_duration, parse_size

#: XFetch's beta where a rule says nothing: e^(1/2), some 1.65 renderings are expected for each
#: expiry where no lease makes them one (Vattani et al., VLDB 2015, theorem 1).
EARLY_BETA: Final = 2.0
MAX_BETA: Final = 100.0

#: Query parameters that tell where a visitor came from and that no page depends on.
QUERY_PRESETS: Final[Mapping[str, tuple[str, ...]]] = {
    "@tracking": (
        "utm_*", "fbclid", "gclid", "gbraid", "wbraid", "dclid", "gclsrc", "msclkid", "twclid",
        "ttclid", "li_fat_id", "igshid", "yclid", "mc_cid", "mc_eid", "_ga", "_gl", "srsltid",
    ),
}  # fmt: skip


#: What stands in front of a domain whose subdomains are meant, as in Django and in Starlette.
_BELOW: Final = re.compile(r"(\.|\*\.)(.+)")
HOST_REMEDY: Final = (
    'Write "example.com" (any port), "example.com:8443" (this port), ".example.com" (with its '
    'subdomains), "*.example.com" (its subdomains alone) or "*" (any), as browsers send it'
)


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts that pages are kept for: names and suffixes, each with its port ("" for any)."""

    names: frozenset[tuple[str, str]] = frozenset()
    suffixes: tuple[tuple[str, str], ...] = ()
    any: bool = True

    def allow(self, value: str | None) -> bool:
        """Whether pages of this ``Host`` value are kept: it can be read, and is one of these."""
        found = host(value)
        if found is None or self.any:
            return found is not None
        name, port = found[0].removesuffix("."), found[1]
        return not self.names.isdisjoint(((name, ""), (name, port))) or any(
            name.endswith(suffix) and only in ("", port) for suffix, only in self.suffixes
        )


def hosts(given: object) -> Hosts:
    """The ``allowed_hosts``; none are any. Raises ``ConfigError``."""
    names, suffixes = set(), []
    entries = texts(given, "allowed_hosts")
    for entry in entries:
        below = _BELOW.fullmatch(entry)
        found = host(below[2] if below else entry)
        if entry == "*":
            continue
        if found is None or (below and found[0].startswith("[")) or found[0].endswith("."):
            raise ConfigError(f"{entry!r} is no host", HOST_REMEDY, field="allowed_hosts")
        if below:
            suffixes.append((f".{found[0]}", found[1]))
        if below is None or below[1] == ".":
            names.add(found)
    return Hosts(frozenset(names), tuple(suffixes), any=not entries or "*" in entries)


def texts(values: object, place: str) -> tuple[str, ...]:
    """A tuple of strings from any sequence of them; raises ``ConfigError`` (field ``place``)."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ConfigError(f"{values!r} is no list", 'Write a list such as ["a"]', field=place)
    for value in values:
        if not isinstance(value, str):
            raise ConfigError(f"{value!r} is not text", "Put it in quotes", field=place)
    return tuple(values)


def methods(given: object, *, safe: bool) -> tuple[str, ...]:
    """Methods of a rule (``safe``) or of an entry that invalidates; raises ``ConfigError``."""
    found = texts(given, "methods")
    for method in found:
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
    if not found:
        raise ConfigError("no method", "List at least one, or leave the key out", field="methods")
    return found


def passthrough(given: object) -> tuple[str, ...]:
    """Headers, environ and scope keys that pass unkeyed; raises ``ConfigError``."""
    for entry in (names := texts(given, "passthrough")):
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


def dropped(entries: Iterable[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Exact names and prefixes of dropped query parameters; raises ``ConfigError``."""
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


def duration(value: object, place: str) -> float:
    """Seconds; raises ``ConfigError`` (field ``place``)."""
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ConfigError(str(error), DURATION_REMEDY, field=place) from None


def maybe(value: object, place: str) -> float | None:
    """Seconds, or None where nothing is said; raises ``ConfigError`` (field ``place``)."""
    return None if value is None else duration(value, place)


def beta(value: object) -> float:
    """XFetch's beta, 0 for off; raises ``ConfigError``."""
    if isinstance(value, bool):
        return EARLY_BETA if value else 0.0
    if not isinstance(value, int | float) or not 0 <= value <= MAX_BETA:
        raise ConfigError(
            f"{value!r} is no factor",
            f"Write true, false or a number from 0 to {MAX_BETA:g}: 2 suits most, more is earlier",
            field="early",
        )
    return float(value)


def size(value: object, place: str) -> int:
    """Bytes; raises ``ConfigError`` (field ``place``)."""
    try:
        return parse_size(value)
    except ValueError as error:
        raise ConfigError(str(error), SIZE_REMEDY, field=place) from None


def _ttl(value: object, place: str) -> float:
    seconds = duration(value, place)
    if seconds == 0:
        raise ConfigError(
            "a ttl of 0 stores nothing", "Write cache = false, or leave the status out", field=place
        )
    return seconds


def lifetimes(ttl: object) -> dict[int, float | None]:
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
        if int(text) in PARTS:
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


def choice(value: object, place: str, choices: tuple[str, ...]) -> None:
    """Raise ``ConfigError`` unless the value is one of these."""
    if value not in choices:
        raise ConfigError(f"{value!r} is no choice", f"Choose {' or '.join(choices)}", field=place)


def switch(value: object, place: str) -> None:
    """Raise ``ConfigError`` unless the value is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{value!r} is neither true nor false", "Write one", field=place)


def templates(
    names: Sequence[str], known: Mapping[str, Sequence[str]], what: str
) -> tuple[Template, ...]:
    """Namespaces, their references resolved among what is ``known``; raises ``ConfigError``."""
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
