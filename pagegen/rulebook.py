"""All rules of one cache, checked against each other and indexed by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Final

from .errors import ConfigError
from .identities import Identity
from .messages import CACHED_METHODS
from .namespaces import OF_URLS, Template
from .patterns import PathIndex, Segment, Values
from .rules import Invalidates, Rule

#: Tokens live at least this long (seconds). One that goes before its pages makes them misses.
MIN_TOKEN_TTL: Final = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules and identities of one cache, checked against each other.

    Raises ``ConfigError`` on a name used twice, an identity that nobody declared, and a rule that
    can never match because one before it takes all its requests.
    """

    rules: tuple[Rule, ...] = ()
    invalidates: tuple[Invalidates, ...] = ()
    identities: Mapping[str, Identity] = field(default_factory=dict)
    write_index: PathIndex = field(init=False, repr=False, compare=False)
    _by_method: Mapping[str, tuple[PathIndex, tuple[Rule, ...]]] = field(
        init=False, repr=False, compare=False
    )
    _shapes: frozenset[tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        earlier = _Earlier()
        for rule in self.rules:
            where = f'rule "{rule.name}"'
            self._check_identities(rule, where)
            self._check_reachable(rule, earlier, where)
            earlier.add(rule)
        put = object.__setattr__
        put(self, "write_index", PathIndex(tuple(entry.pattern for entry in self.invalidates)))
        by_method = {}
        for method in CACHED_METHODS:
            rules = tuple(rule for rule in self.rules if method in rule.methods)
            by_method[method] = (PathIndex(tuple(rule.pattern for rule in rules)), rules)
        put(self, "_by_method", by_method)
        put(
            self,
            "_shapes",
            frozenset(t.literals for rule in self.rules for t in rule.templates),
        )

    def match(self, method: str, path: str) -> tuple[Rule, Values] | None:
        """The first rule for this method whose path matches, and what it reads from the path."""
        index, rules = self._by_method[method]
        position = index.first(path)
        if position is None:
            return None
        return rules[position], index.values(position, path)

    def has(self, namespace: str) -> bool:
        """Whether a page of any rule can have this namespace; each has that of its URL, and what
        pages name while they are rendered may be any.
        """
        return (
            self.late
            or namespace.startswith(OF_URLS)
            or any(_fits(literals, namespace) for literals in self._shapes)
        )

    def template(self, namespace: str) -> Template | None:
        """The first template, of a rule or a write, that can render to this namespace."""
        of_rules = (template for rule in self.rules for template in rule.templates)
        of_writes = (template for entry in self.invalidates for template in entry.templates)
        fitting = (t for t in chain(of_rules, of_writes) if _fits(t.literals, namespace))
        return next(fitting, None)

    def is_strict(self, namespace: str) -> bool:
        """Whether a page of any rule with ``strict`` can have this namespace."""
        strict = (rule for rule in self.rules if rule.strict)
        return any(_fits(t.literals, namespace) for rule in strict for t in rule.templates)

    @property
    def late(self) -> bool:
        """Whether pages of any rule may name namespaces while they are rendered."""
        return any(rule.groups for rule in self.rules)

    @property
    def soft_window(self) -> float:
        """The longest time that any rule leaves softly invalidated pages to others, in seconds.

        0 for none.
        """
        return max((r.stale_while_revalidate or 0.0 for r in self.rules if r.soft), default=0.0)

    @property
    def longest_lag(self) -> float:
        """The longest ``replica_lag`` of any rule, in seconds; 0 for none."""
        return max((rule.lag for rule in self.rules), default=0.0)

    def token_ttl(self) -> float:
        """Seconds for tokens to live: twice as long as any rule lets a page be served."""
        stays = (
            (ttl or 0.0) + max(rule.stale_while_revalidate or 0.0, rule.stale_if_error or 0.0)
            for rule in self.rules
            for ttl in rule.lifetimes.values()
        )
        return max(MIN_TOKEN_TTL, 2 * max(stays, default=0.0))

    def _check_identities(self, rule: Rule, where: str) -> None:
        for name in rule.identities:
            if name not in self.identities:
                known = ", ".join(self.identities) or "none is declared"
                raise ConfigError(
                    f"unknown identity {name!r}",
                    f"Declare [identity.{name}] with its sources, or use a known one ({known})",
                    field="share",
                    where=where,
                )

    @staticmethod
    def _check_reachable(rule: Rule, earlier: _Earlier, where: str) -> None:
        if rule.name in earlier.names:
            raise ConfigError(
                "this name is taken by an earlier rule",
                "Give each rule a name of its own, or another path: a rule without a name is "
                "called by its path",
                field="name",
                where=where,
            )
        other = earlier.covering(rule)
        if other is not None:
            raise ConfigError(
                f'can never match: rule "{other.name}" ({other.path}) comes first and takes '
                f"every path of {rule.path}",
                "Move this rule above it, or remove one of them",
                field="path",
                where=where,
            )


class _Node:
    """A place in the tree of rules: those whose patterns end here, and what comes next."""

    __slots__ = ("below", "rules", "typed")

    def __init__(self) -> None:
        self.below: dict[Segment, _Node] = {}
        #: Those of them that are not literal.
        self.typed: list[Segment] = []
        self.rules: list[tuple[int, Rule]] = []


class _Earlier:
    """The rules before one, by the segments of their patterns: ten thousand rules are read in
    seconds, where comparing each to all would take minutes.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._root = _Node()

    def add(self, rule: Rule) -> None:
        """One more rule, behind the others."""
        node = self._root
        for segment in rule.pattern.segments:
            child = node.below.get(segment)
            if child is None:
                child = node.below[segment] = _Node()
                if segment.type is not None:
                    node.typed.append(segment)
            node = child
        node.rules.append((len(self.names), rule))
        self.names.add(rule.name)

    def covering(self, rule: Rule) -> Rule | None:
        """The first rule that takes all requests of this one."""
        found: list[tuple[int, Rule]] = []
        nodes = [self._root]
        for segment in (*rule.pattern.segments, None):
            found += (each for node in nodes for each in node.rules)
            if segment is not None:
                nodes = [child for node in nodes for child in self._next(node, segment)]
        taking = [
            (position, other)
            for position, other in found
            if other.pattern.covers(rule.pattern) and set(rule.methods) <= set(other.methods)
        ]
        return min(taking, key=itemgetter(0))[1] if taking else None

    @staticmethod
    def _next(node: _Node, segment: Segment) -> Iterator[_Node]:
        """The places behind a segment that covers this one."""
        if segment.type is None and (same := node.below.get(segment)) is not None:
            yield same
        for other in node.typed:
            if other.covers(segment):
                yield node.below[other]


def _fits(literals: tuple[str, ...], name: str) -> bool:
    """Whether a template with these literals can render to a name; linear, unlike a pattern."""
    first, *middle = literals
    if not middle:
        return name == first
    last = middle.pop()
    if not name.startswith(first) or not name.endswith(last):
        return False
    position, end = len(first), len(name) - len(last)
    for literal in middle:
        found = name.find(literal, position, end)
        if found < 0:
            return False
        position = found + len(literal)
    return position <= end
