"""Path patterns and the index that finds the first matching one.

A pattern is a path whose segments are text, ``{name}``, ``{name:type}``, text around one of these
(``{slug}.html``), ``*`` (any one segment), or, as the last one, ``**`` (any number of segments,
none included) or ``{name:path}`` (the rest of the path, slashes included).

The index is a tree over segments, so that what a match costs depends on the path's length and not
on the number of rules. It finds the pattern that was added *first*, whatever its shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from .errors import ConfigError

Values = tuple[tuple[str, str], ...]

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER: Final = re.compile(r"([^{}*]*)\{([^{}:]*)(?::([^{}]*))?\}([^{}*]*)")
# <int:id>, :id and [0-9]+ would be literal text here, and match nothing.
_FOREIGN: Final = re.compile(r"[<>\[\]^|]")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SLUG: Final = re.compile(r"[A-Za-z0-9_-]+")
# A 64-bit id has at most 19 digits.
_MAX_DIGITS: Final = 19
#: Segments of a pattern. Matching goes one call deeper with each, and Python allows some 1,000 in
#: all, those of server and frameworks included. (A name in DNS has at most 127 labels.)
MAX_SEGMENTS: Final = 128

PATH_REMEDY: Final = (
    'Write a path such as "/users/{user:int}/favorites", "/files/{rest:path}" or "/admin/**"'
)


def _any(text: str) -> str | None:
    return text or None


def _integer(text: str) -> str | None:
    # Frameworks accept any Unicode digits, so this does too: a write to /users/４２ is one to 42.
    if not text.isdecimal() or len(text.lstrip("0")) > _MAX_DIGITS:
        return None
    return str(int(text))


def _slug(text: str) -> str | None:
    return text if _SLUG.fullmatch(text) else None


def _uuid(text: str) -> str | None:
    return text.lower() if _UUID.fullmatch(text) else None


_TYPES: Final = {"str": _any, "int": _integer, "slug": _slug, "uuid": _uuid}
# What each type accepts is also accepted by these.
_WIDER: Final = {
    "str": {"str"},
    "int": {"int", "str"},
    "slug": {"slug", "str"},
    "uuid": {"uuid", "slug", "str"},
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: literal text, or a typed value between a prefix and a suffix.

    ``type`` is None for literal text (then ``prefix`` is all of it), and ``path`` for a rest.
    """

    prefix: str
    type: str | None = None
    suffix: str = ""

    def read(self, text: str) -> str | None:
        """The canonical value in this segment, None when it does not match."""
        end = len(text) - len(self.suffix)
        if end < len(self.prefix) or not text.startswith(self.prefix):
            return None
        if not text.endswith(self.suffix):
            return None
        return _TYPES[self.type or "str"](text[len(self.prefix) : end])

    def covers(self, other: Segment) -> bool:
        """Whether this segment matches everything that the other one matches."""
        if self.type is None:
            return self == other
        if other.type is None:
            return self.read(other.prefix) is not None
        plain = not self.prefix and not self.suffix
        if plain and self.type == "str":
            return True
        same_affixes = (self.prefix, self.suffix) == (other.prefix, other.suffix)
        return same_affixes and self.type in _WIDER[other.type]


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A parsed pattern. ``names`` has one member a typed segment, None for ``*``.

    ``rest`` is None, ``**``, or the name of a ``{name:path}`` parameter.
    """

    text: str
    segments: tuple[Segment, ...]
    names: tuple[str | None, ...]
    rest: str | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the values that a match yields, in order."""
        named = tuple(name for name in self.names if name)
        return named + ((self.rest,) if self.rest not in (None, "**") else ())

    def covers(self, other: PathPattern) -> bool:
        """Whether every path that the other pattern matches is matched by this one.

        May say False of a pair that only their types' details make covering, never True wrongly.
        """
        if self.rest is None and (
            other.rest is not None or len(other.segments) != len(self.segments)
        ):
            return False
        if len(other.segments) < len(self.segments):
            return False
        if (
            self.rest not in (None, "**")
            and len(other.segments) == len(self.segments)
            and other.rest in (None, "**")
        ):
            return False
        return all(
            mine.covers(theirs) for mine, theirs in zip(self.segments, other.segments, strict=False)
        )


def _problem(text: str, what: str) -> ConfigError:
    return ConfigError(f"{text!r} {what}", PATH_REMEDY, field="path")


def _parse_segment(pattern: str, text: str) -> tuple[Segment, str | None]:
    if text == "*":
        return Segment("", "str"), None
    match = _PARAMETER.fullmatch(text)
    if match is None:
        if any(character in text for character in "{}*"):
            raise _problem(pattern, f"has a segment that cannot be read: {text!r}")
        return Segment(text), None
    prefix, name, kind, suffix = match[1], match[2], match[3], match[4]
    if not _IDENTIFIER.fullmatch(name):
        raise _problem(pattern, f"has a parameter whose name is no identifier: {{{name}}}")
    if kind is None:
        kind = "str"
    if kind == "path":
        raise _problem(pattern, f"has {text!r} where only the last segment may be a rest")
    if kind not in _TYPES:
        known = ", ".join((*_TYPES, "path"))
        raise _problem(pattern, f"has a parameter of unknown type {kind!r} (there are {known})")
    return Segment(prefix, kind, suffix), name


def parse_pattern(text: object) -> PathPattern:
    """Parse a pattern; raises ``ConfigError`` (field ``path``) that says what is wrong with it."""
    if not isinstance(text, str) or not text.startswith("/"):
        raise _problem(str(text), "does not start with a slash")
    if "//" in text or any(part in (".", "..") for part in text.split("/")):
        raise _problem(text, "has an empty or dot segment: such paths are never cached")
    if any(character in text for character in "?#%;\\\ufffd") or not text.isprintable():
        raise _problem(
            text, "has a character that no pattern can hold (patterns are decoded paths)"
        )
    parts = text[1:].split("/")
    if len(parts) > MAX_SEGMENTS:
        raise _problem(f"{text[:40]}…", f"has {len(parts)} segments; {MAX_SEGMENTS} is the most")
    if any(part.startswith(":") or _FOREIGN.search(part) for part in parts):
        raise _problem(text, "has a parameter in another framework's spelling")
    rest: str | None = None
    if parts[-1] == "**":
        rest = "**"
    elif (last := re.fullmatch(r"\{([^{}:]*):path\}", parts[-1])) is not None:
        rest = last[1]
        if not _IDENTIFIER.fullmatch(rest):
            raise _problem(text, f"has a parameter whose name is no identifier: {{{rest}}}")
    if rest is not None:
        parts.pop()
    parsed = [_parse_segment(text, part) for part in parts]
    segments = tuple(segment for segment, _ in parsed)
    names = tuple(name for segment, name in parsed if segment.type is not None)
    pattern = PathPattern(text, segments, names, rest)
    if len(set(pattern.parameters)) != len(pattern.parameters):
        raise _problem(text, "names a parameter twice")
    return pattern


@dataclass(slots=True)
class _Node:
    """A place in the tree. ``lowest`` is the first pattern below it: what cannot win is skipped.

    ``affixed`` finds the typed segments that a text may be one of, by how long its prefix and
    suffix are, and then by these: ten thousand of them cost no more than a few.
    """

    lowest: int
    literals: dict[str, _Node] = field(default_factory=dict)
    typed: dict[Segment, _Node] = field(default_factory=dict)
    affixed: dict[tuple[int, int], dict[tuple[str, str], list[Segment]]] = field(
        default_factory=dict
    )
    ends: list[int] = field(default_factory=list)
    rests: list[int] = field(default_factory=list)


class PathIndex:
    """Patterns in the order they were added; matching returns their positions."""

    __slots__ = ("_patterns", "_root")

    def __init__(self, patterns: Iterator[PathPattern] | tuple[PathPattern, ...] = ()) -> None:
        self._patterns: list[PathPattern] = []
        self._root = _Node(0)
        for pattern in patterns:
            self.add(pattern)

    def add(self, pattern: PathPattern) -> None:
        """Append a pattern behind those already there."""
        position = len(self._patterns)
        self._patterns.append(pattern)
        node = self._root
        for segment in pattern.segments:
            if segment.type is None:
                node = node.literals.setdefault(segment.prefix, _Node(position))
            else:
                if segment not in node.typed:
                    node.typed[segment] = _Node(position)
                    affixes = segment.prefix, segment.suffix
                    alike = node.affixed.setdefault((len(affixes[0]), len(affixes[1])), {})
                    alike.setdefault(affixes, []).append(segment)
                node = node.typed[segment]
        (node.ends if pattern.rest is None else node.rests).append(position)

    def first(self, path: str) -> int | None:
        """Position of the first pattern that matches, None when none does."""
        best = [len(self._patterns)]
        parts = path[1:].split("/")

        def visit(node: _Node, depth: int) -> None:
            if node.lowest >= best[0]:
                return
            for position in self._here(node, depth, parts):
                best[0] = min(best[0], position)
            for child in self._below(node, depth, parts):
                visit(child, depth + 1)

        if path.startswith("/"):
            visit(self._root, 0)
        return best[0] if best[0] < len(self._patterns) else None

    def all(self, path: str) -> list[int]:
        """Positions of all patterns that match, in the order they were added."""
        found: list[int] = []
        parts = path[1:].split("/")

        def visit(node: _Node, depth: int) -> None:
            found.extend(self._here(node, depth, parts))
            for child in self._below(node, depth, parts):
                visit(child, depth + 1)

        if path.startswith("/"):
            visit(self._root, 0)
        return sorted(found)

    def _here(self, node: _Node, depth: int, parts: list[str]) -> Iterator[int]:
        if depth == len(parts):
            yield from node.ends
        for position in node.rests:
            # {rest:path} stands behind a slash; ** also matches where the path just ends.
            if depth < len(parts) or self._patterns[position].rest == "**":
                yield position

    @staticmethod
    def _below(node: _Node, depth: int, parts: list[str]) -> Iterator[_Node]:
        if depth == len(parts):
            return
        part = parts[depth]
        if (child := node.literals.get(part)) is not None:
            yield child
        for (before, behind), alike in node.affixed.items():
            affixes = part[:before], part[len(part) - behind :] if behind <= len(part) else ""
            for segment in alike.get(affixes, ()):
                if segment.read(part) is not None:
                    yield node.typed[segment]

    def values(self, position: int, path: str) -> Values:
        """The values that the matching pattern at this position reads from the path."""
        pattern = self._patterns[position]
        parts = path[1:].split("/")
        names = iter(pattern.names)
        found: list[tuple[str, str]] = []
        for segment, part in zip(pattern.segments, parts, strict=False):
            if segment.type is None:
                continue
            name, value = next(names), segment.read(part)
            if name is not None and value is not None:
                found.append((name, value))
        if pattern.rest not in (None, "**"):
            rest = "/".join(parts[len(pattern.segments) :])
            found.append((pattern.rest or "", rest))
        return tuple(found)
