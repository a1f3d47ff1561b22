"""The canonical query: what a rule keys of ``?…``, and what the handler sees of it.

``?start=0&end=20``, ``?end=20&start=00`` and no query at all are one page when 0 and 20 are the
defaults. The handler sees the canonical text with its defaults written out, so a page depends on
the rule's defaults and never on the handler's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from .rules import Rule

#: Longer queries are a bypass. (nginx refuses request lines over 8 kB.)
MAX_LENGTH: Final = 8192
#: More parameters are a bypass. (Django refuses over 1,000, PHP reads 1,000.)
MAX_PARAMETERS: Final = 256

# Browsers leave most punctuation as it is, and escape what RFC 3986 wants escaped. A semicolon is
# a separator to some parsers and a character to others: a doubt.
_RAW: Final = re.compile(r"(?:[!-$&-:<-~]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class Query:
    """``values``: per declared parameter its canonical values; ``text``: the same as a query."""

    values: tuple[tuple[str, tuple[str, ...]], ...]
    text: str


def decode(text: str) -> str | None:
    """A percent-decoded name or value with ``+`` as space; None when it is not UTF-8."""
    if "%" not in text:
        return text.replace("+", " ")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _pairs(raw: str) -> list[tuple[str, str]] | None:
    """Name and value of each parameter in order; None for a query that leaves a doubt."""
    if len(raw) > MAX_LENGTH or not _RAW.fullmatch(raw) or raw.count("&") >= MAX_PARAMETERS:
        return None
    found = []
    for part in raw.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        decoded = decode(name), decode(value)
        if decoded[0] is None or decoded[1] is None:
            return None
        found.append((decoded[0], decoded[1]))
    return found


def _verbatim(raw: str) -> Query | None:
    """A query that is keyed as it came, and that the handler sees so."""
    if len(raw) > MAX_LENGTH or not raw.isascii() or not raw.isprintable():
        return None
    return Query((("", (raw,)),), raw)


def canonical(raw: str, rule: Rule) -> Query | None:
    """The canonical query of a request under a rule, None when the request is a bypass."""
    if rule.other_query == "key" and not rule.parameters and not rule.drop_query:
        return _verbatim(raw)
    pairs = _pairs(raw)
    if pairs is None:
        return None
    given: dict[str, list[str]] = {name: [] for name in rule.parameters}
    others = []
    for name, value in pairs:
        if name in given:
            given[name].append(value)
        elif rule.drops(name):
            continue
        elif rule.other_query == "key":
            others.append((name, value))
        else:
            return None
    values = []
    for name, parameter in rule.parameters.items():
        read = parameter.canonical(given[name])
        if read is None:
            return None
        values.append((name, read))
    text = _text((*values, *((name, (value,)) for name, value in others)))
    # All declared ones stand in front, absent or not: so no other one is taken for one of them.
    values += [(f"&{name}", (value,)) for name, value in others]
    return Query(tuple(values), text) if len(text) <= MAX_LENGTH else None


def _text(values: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    return "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, many in values for value in many
    )
