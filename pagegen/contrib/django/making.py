"""From the routes of a URLconf to rules: those of views with ``@page``, and guards of the others.

What the rules of :mod:`.views` promise is kept here. ``covers`` may miss that one pattern takes all
that another one does, and ``meets`` may take two for overlapping that are apart; neither errs the
other way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from ...errors import ConfigError, NamespaceError
from ...messages import CACHED_METHODS
from ...namespaces import escape, parse
from ...patterns import PathPattern, Segment
from ...rules import Rule
from .routes import IN_SETTINGS, Route

_ABSENT: Final = object()


class Said(Protocol):
    """What one ``@page`` says: the keys of its rule."""

    @property
    def said(self) -> Mapping[str, Any]:
        """The keys and their values."""


class Maker:
    """The rules of these routes, in Django's order.

    errors: everything that was found to be wrong.  origins: the view of each rule, by its name.
    """

    def __init__(
        self,
        routes: tuple[Route, ...],
        before: tuple[Rule, ...],
        declaration: Callable[[object], Said | None],
    ) -> None:
        self.rules: list[Rule] = []
        self.errors: list[ConfigError] = []
        self.origins: dict[str, str] = {}
        self._routes = _in_order(routes)
        self._before = before
        self._pages = [self._declared(route, declaration) for route in self._routes]
        #: For each route, its paths if pages are declared there.
        self._paths = [
            None if page is None else route.pattern
            for route, page in zip(self._routes, self._pages, strict=True)
        ]
        for position, page in enumerate(self._pages):
            self._make(position, page)

    def _make(self, position: int, page: Said | None) -> None:
        route = self._routes[position]
        missing: tuple[str, ...] = CACHED_METHODS
        if page is not None:
            try:
                rule = self._rule(position, page)
            except ConfigError as error:
                self._fail(error, route)
                return
            self._add(rule, route)
            missing = tuple(method for method in CACHED_METHODS if method not in rule.methods)
        if missing and route.pattern is not None and self._is_met(position):
            self._guard(route, route.pattern, missing)

    def _add(self, rule: Rule, route: Route) -> None:
        # What it has made of the path by itself takes other paths, too.
        object.__setattr__(rule, "pattern", route.pattern)
        self.rules.append(rule)
        self.origins[rule.name] = route.label

    def _declared(self, route: Route, declaration: Callable[[object], Said | None]) -> Said | None:
        try:
            return declaration(route.view)
        except ConfigError as error:
            self._fail(error, route)
            return None

    def _fail(self, error: ConfigError, route: Route) -> None:
        """Remember an error, once for all languages that a path may begin with."""
        error = error.at(where=_place(route))
        if str(error) not in map(str, self.errors):
            self.errors.append(error)

    def _is_met(self, position: int) -> bool:
        """Whether a page that is declared behind this route may have a path of it."""
        mine, later = self._routes[position].pattern, self._paths[position + 1 :]
        return mine is not None and any(path is not None and meets(mine, path) for path in later)

    def _guard(self, route: Route, pattern: PathPattern, methods: tuple[str, ...]) -> None:
        """Leave these paths to their own view, uncached."""
        for rule in (*self._before, *self.rules):
            if rule.pattern.covers(pattern) and set(methods) <= set(rule.methods):
                return
        name = f"{pattern.text} (not cached)"
        self._add(Rule(path=pattern.text, name=name, cache=False, methods=methods), route)

    def _rule(self, position: int, page: Said) -> Rule:
        route = self._routes[position]
        if route.barred is not None:
            raise route.barred
        if route.pattern is None:
            raise ConfigError(
                f"{route.written!r} has an empty or dot segment: such paths are never cached",
                "Write the path without it",
                field="path",
            )
        self._check_loose(position, route)
        said = {**page.said, "namespaces": tuple(_namespaces(page.said, route))}
        if said.get("name") and self._pages.count(page) > 1:
            said["name"] = f"{said['name']} {route.pattern.text}"
        if not said["namespaces"]:
            del said["namespaces"]
        rule = Rule(path=route.pattern.text, **said)
        self._check_reached(rule, route.pattern)
        return rule

    def _check_loose(self, position: int, route: Route) -> None:
        """Refuse a rule that takes paths which its route leaves to a later one."""
        if route.loose is None:
            return
        for later in self._routes[position + 1 :]:
            if later.view is route.view or later.pattern is None or route.pattern is None:
                continue
            if meets(route.pattern, later.pattern):
                raise ConfigError(
                    f"a rule takes more paths than {route.loose}, and {later.written!r} behind it "
                    f"leads to {later.label}",
                    f"Use a converter of Django's own, {IN_SETTINGS}",
                    field="path",
                )

    def _check_reached(self, rule: Rule, pattern: PathPattern) -> None:
        # Its own pattern, until it is added, is what the settings would make of the path.
        reached = [(other, rule.pattern) for other in self._before]
        for other, mine in (*reached, *((other, pattern) for other in self.rules)):
            if other.pattern.covers(mine) and set(rule.methods) <= set(other.methods):
                move = f"Move its path() before that one, {IN_SETTINGS}"
                raise ConfigError(
                    f"stands behind {other.path!r}, which may take every path of it",
                    move if other in self.rules else "Remove one of them: that one is in PAGEGEN",
                    field="path",
                )


def meets(one: PathPattern, other: PathPattern) -> bool:
    """Whether there may be a path that both patterns take."""
    shorter, longer = sorted((one, other), key=lambda pattern: len(pattern.segments))
    if len(shorter.segments) < len(longer.segments) and shorter.rest is None:
        return False
    return all(
        _meet(mine, theirs) for mine, theirs in zip(one.segments, other.segments, strict=False)
    )


def _meet(one: Segment, other: Segment) -> bool:
    if one.type is None and other.type is None:
        return one.prefix == other.prefix
    if one.type is None:
        return other.read(one.prefix) is not None
    if other.type is None:
        return one.read(other.prefix) is not None
    prefix, suffix = (one.prefix, other.prefix), (one.suffix, other.suffix)
    return (prefix[0].startswith(prefix[1]) or prefix[1].startswith(prefix[0])) and (
        suffix[0].endswith(suffix[1]) or suffix[1].endswith(suffix[0])
    )


def _in_order(routes: tuple[Route, ...]) -> tuple[Route, ...]:
    """Django's order, but that a path with an empty end stands before a rest that is as long: to
    pagegen a rest may be empty, to Django not.
    """
    ordered: list[Route] = []
    for route in routes:
        places = (
            number
            for number, earlier in enumerate(ordered)
            if route.pattern and earlier.pattern and _is_empty_rest(route.pattern, earlier.pattern)
        )
        ordered.insert(next(places, len(ordered)), route)
    return tuple(ordered)


def _is_empty_rest(pattern: PathPattern, rest: PathPattern) -> bool:
    return (
        rest.rest not in (None, "**")
        and pattern.rest is None
        and len(pattern.segments) == len(rest.segments) + 1
        and pattern.segments[-1] == Segment("")
        and meets(pattern, rest)
    )


def _place(route: Route) -> str:
    return f"page {route.label} at {route.written!r}"


def _namespaces(said: Mapping[str, Any], route: Route) -> Iterator[str]:
    """The templates, with the values of parameters that this path does not have filled in: those
    that the URLconf gives, else the view's own defaults. None names nothing.
    """
    templates = said.get("namespaces", ())
    if isinstance(templates, (str, bytes)):
        raise ConfigError(f"{templates!r} is no list", "Put it into brackets", field="namespaces")
    known = _constants(said, route)
    for template in templates:
        try:
            filled = _filled(template, known)
        except NamespaceError as error:
            raise ConfigError(str(error), "Correct the template", field="namespaces") from None
        if filled is not None:
            yield filled


def _filled(template: str, known: Mapping[str, object]) -> str | None:
    for reference in parse(template).references:
        value = known.get(reference.removeprefix("path."), _ABSENT)
        if value is None:
            return None
        if value is not _ABSENT:
            template = template.replace("{" + reference + "}", escape(value))
    return template


def _constants(said: Mapping[str, Any], route: Route) -> dict[str, object]:
    """Values by the name of the view's parameter that are the same for all paths of a route."""
    read = route.pattern.parameters if route.pattern else ()
    share = said.get("share")
    others = (*read, *said.get("query", ()), *(share if isinstance(share, (list, tuple)) else ()))
    defaults = {k: v for k, v in _defaults(route.view).items() if k not in others}
    return {**defaults, **route.given}


def _defaults(view: Callable[..., Any]) -> dict[str, object]:
    """Values of the view's parameters where a path does not give them."""
    try:
        parameters = inspect.signature(view).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}
