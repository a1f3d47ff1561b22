"""The paths of a URLconf, in the order in which Django tries them, as pagegen reads paths.

Rules and routes are matched by two programs, and a rule must take no path that Django gives to
another view. So each route knows how far the two agree:

- Rule 1. ``pattern`` takes *at least* the paths that Django gives to the view. Numbers and UUIDs
  are read as Django reads them (:class:`Exact`): pagegen's own types take other spellings, too.
- Rule 2. Where it may take more, ``loose`` says by which converter.
- Rule 3. What can be no pattern at all (a regular expression, a path by language) is ``barred``
  from being a rule; its pattern is then only good to keep rules away from its paths.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.conf import settings
from django.urls import URLPattern, URLResolver, converters
from django.urls.resolvers import LocalePrefixPattern, RoutePattern

from ...errors import ConfigError
from ...patterns import PathPattern, Segment, parse_pattern

_TYPES: Final = {
    converters.IntConverter: "int",
    converters.StringConverter: "str",
    converters.SlugConverter: "slug",
    converters.UUIDConverter: "uuid",
    converters.PathConverter: "path",
}
_PARAMETER: Final = re.compile(r"<(?:([^>:]+):)?([^>]+)>")
#: The text that a regular expression begins with: letters, digits and escaped signs.
_LITERAL: Final = re.compile(r"\^((?:[\w\-/]|\\[^\w])*)")
_PIECE: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
_NEVER: Final = frozenset((".", ".."))

_UUID: Final = re.compile(converters.UUIDConverter.regex)

IN_SETTINGS: Final = "or declare the rule in PAGEGEN, where you write its path yourself"


@dataclass(frozen=True, slots=True)
class Exact(Segment):
    """A segment with a number or UUID (``kind``) as Django spells them, which is a slug. pagegen's
    own types also take capital letters, digits of other scripts, and at most 19 of them.
    """

    kind: str = ""

    def read(self, text: str) -> str | None:
        """See :class:`pagegen.patterns.Segment`."""
        value = text[len(self.prefix) : len(text) - len(self.suffix)]
        if f"{self.prefix}{value}{self.suffix}" != text:
            return None
        if self.kind == "uuid":
            return value if _UUID.fullmatch(value) else None
        if not (value.isascii() and value.isdigit()):
            return None
        try:
            return str(int(value))
        except ValueError:  # more digits than Python reads: no number to Django either
            return None

    def covers(self, other: Segment) -> bool:
        """See :class:`pagegen.patterns.Segment`."""
        return self == other or (other.type is None and self.read(other.prefix) is not None)


def _exactly(pattern: PathPattern) -> PathPattern:
    """The pattern as Django reads it."""
    return replace(pattern, segments=tuple(map(_exact, pattern.segments)))


def _exact(segment: Segment) -> Segment:
    if segment.type not in ("int", "uuid"):
        return segment
    return Exact(segment.prefix, "slug", segment.suffix, kind=segment.type)


@dataclass(frozen=True, slots=True)
class Route:
    """One way to a view.

    written: the path as the URLconf spells it.  label: the view's name.
    given: arguments that the URLconf gives to the view.
    pattern: the paths that may lead there; None where no page of them is ever cached.
    loose: the converter because of which ``pattern`` may take other paths too.
    barred: why no rule can be made of it.
    """

    written: str
    view: Callable[..., Any]
    label: str
    given: Mapping[str, object]
    pattern: PathPattern | None
    loose: str | None = None
    barred: ConfigError | None = None


@dataclass(frozen=True, slots=True)
class _Way:
    """The beginning of a path, down to an include. ``text`` ends where ``barred`` begins."""

    text: str = ""
    written: str = ""
    given: Mapping[str, object] | None = None
    converters: Mapping[str, object] | None = None
    barred: ConfigError | None = None
    open: bool = False


def walk(entries: Sequence[object]) -> Iterator[Route]:
    """All routes below these ``urlpatterns``, in Django's order."""
    return _walk(entries, _Way())


def _walk(entries: Sequence[object], way: _Way) -> Iterator[Route]:
    for entry in entries:
        if isinstance(entry, URLResolver):
            for further in _further(way, entry.pattern, entry.default_kwargs):
                yield from _walk(entry.url_patterns, further)
        elif isinstance(entry, URLPattern):
            for further in _further(way, entry.pattern, entry.default_args):
                yield _route(further, entry.callback, entry.lookup_str)


def _further(way: _Way, pattern: Any, given: Mapping[str, object]) -> Iterator[_Way]:
    """The way on through one piece of a path: one, or one for each language."""
    way = replace(
        way,
        written=way.written + str(pattern),
        given={**(way.given or {}), **given},
        converters={**(way.converters or {}), **pattern.converters},
    )
    if isinstance(pattern, LocalePrefixPattern):
        yield from _by_language(way, pattern)
    elif isinstance(pattern, RoutePattern) and isinstance(pattern._route, str):
        yield way if way.open else replace(way, text=way.text + pattern._route)
    elif isinstance(pattern, RoutePattern):
        yield _barred(way, "is a path that is translated", open=True)
    else:
        literal, whole = _begins_with(str(pattern))
        text = way.text if way.open else way.text + literal
        yield _barred(replace(way, text=text), "is a regular expression", open=not whole)


def _by_language(way: _Way, pattern: Any) -> Iterator[_Way]:
    """The way for each prefix that ``i18n_patterns`` may put before a path."""
    codes = dict.fromkeys((settings.LANGUAGE_CODE, *(code for code, _ in settings.LANGUAGES)))
    prefixes = [f"{code}/" for code in codes]
    if not pattern.prefix_default_language:
        prefixes.append("")
    for prefix in prefixes:
        text = way.text if way.open else way.text + prefix
        yield _barred(replace(way, text=text), "begins with the language (i18n_patterns)")


def _barred(way: _Way, why: str, *, open: bool = False) -> _Way:  # noqa: A002
    error = ConfigError(
        f"{way.written!r} {why}, which is no path of a rule",
        f"Write path() outside of i18n_patterns, {IN_SETTINGS}",
    )
    return replace(way, barred=way.barred or error, open=way.open or open)


def _begins_with(regex: str) -> tuple[str, bool]:
    """The text that all paths of a regular expression begin with, and whether it is all of them."""
    found = _LITERAL.match(regex)
    if found is None or "|" in regex:
        return "", False
    literal, rest = found[1], regex[found.end() :]
    if rest in ("$", r"\Z"):
        return re.sub(r"\\(.)", r"\1", literal), True
    if rest[:1] in ("?", "*", "{"):
        literal = re.sub(r"\\?.\Z", "", literal)
    return re.sub(r"\\(.)", r"\1", literal), False


def _route(way: _Way, view: Callable[..., Any], label: str) -> Route:
    reader = _Reader(way)
    pattern = reader.pattern()
    given = way.given or {}
    return Route(way.written, view, label, given, pattern, reader.loose, reader.barred)


class _Reader:
    """Reads a path of Django's as a pattern of pagegen's, and notes how far they agree."""

    def __init__(self, way: _Way) -> None:
        self.loose: str | None = None
        self.barred = way.barred
        self._way = way
        self._converters = way.converters or {}

    def pattern(self) -> PathPattern | None:
        """The pattern; None where a segment is empty or a dot: such paths are never cached."""
        parts = self._way.text.split("/")
        if "" in parts[:-1] or not _NEVER.isdisjoint(parts):
            return None
        segments: list[str] = []
        for position, part in enumerate(parts):
            last = position == len(parts) - 1
            if last and self._way.open:
                # The part may go on: it is taken for any.
                segments.append("**")
                break
            segments.append(self._segment(part, last=last))
            if segments[-1] == "**":
                break
        return self._parsed(segments)

    def _parsed(self, segments: list[str]) -> PathPattern:
        try:
            return _exactly(parse_pattern("/" + "/".join(segments)))
        except ConfigError as error:
            # Each segment is right by itself: a name stands in two of them.
            self._bar(error)
            return parse_pattern("/" + "/".join(re.sub(r".*\{.*", "*", s) for s in segments))

    def _segment(self, part: str, *, last: bool) -> str:
        """One segment as pagegen spells it; ``**`` where the rest of the path cannot be told."""
        found = list(_PARAMETER.finditer(part))
        if not found:
            return self._checked(part)
        kinds = [self._kind(self._converters[match[2]]) for match in found]
        whole = len(found) == 1 and found[0][0] == part
        if "path" in kinds and not (last and whole and not self._way.open):
            self._bar(_problem(f"{part!r} can hold slashes in the middle of a path"))
            return "**"
        if "path" in kinds and type(self._converters[found[0][2]]) not in _TYPES:
            self._bar(_problem(f"{part!r} has a converter of your own that can hold slashes"))
            return "**"
        if len(found) > 1:
            self._bar(_problem(f"{part!r} has two parameters between slashes"))
            return "*"
        match = found[0]
        name = "{" + f"{match[2]}:{kinds[0]}" + "}"
        return self._checked(part[: match.start()] + name + part[match.end() :])

    def _kind(self, converter: object) -> str:
        known = _TYPES.get(type(converter))
        if known is not None:
            return known
        regex = str(getattr(converter, "regex", ""))
        if not _within_a_segment(regex):
            return "path"
        self.loose = self.loose or type(converter).__name__
        return "str"

    def _checked(self, segment: str) -> str:
        try:
            parse_pattern(f"/{segment}")
        except ConfigError as error:
            self._bar(error)
            return "*"
        return segment

    def _bar(self, error: ConfigError) -> None:
        self.barred = self.barred or error


def _problem(what: str) -> ConfigError:
    return ConfigError(what, f"Use another path, {IN_SETTINGS}", field="path")


def _within_a_segment(regex: str) -> bool:
    """Whether nothing that a regular expression matches can hold a slash."""
    for piece in _PIECE.findall(regex):
        if piece == "/":
            return False
        if piece == "." or len(piece) > 1:
            try:
                if re.fullmatch(piece, "/"):
                    return False
            except re.error:  # a reference to what was matched before
                continue
    return True
