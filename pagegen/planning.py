"""From a request to a plan: rule, key, slot, namespaces, and the handler's view. Or a bypass.

Rule of this file: any doubt is a bypass. The plan of a request whose rule keys neither headers,
cookies nor identities depends only on its target and host, so those are remembered; what a request
costs then does not depend on rules, patterns or parameters.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from . import queries
from .fields import cookies
from .identification import DoubtError, Identified, Identifier, one_cookie
from .identities import Source
from .keys import KEY_FORMAT, encode, slot
from .messages import Request
from .namespaces import MAX_LENGTH as MAX_NAMESPACE
from .patterns import Values
from .queries import Query
from .rulebook import RuleBook
from .rules import Rule
from .verdicts import Bypass, Plan, Reason, View

log = logging.getLogger("pagegen.planning")

#: Longer paths are a bypass. (nginx refuses request lines over 8 kB.)
MAX_PATH: Final = 4096
#: Targets remembered; when they are so many, the memory starts anew.
MEMO_ENTRIES: Final = 8192
#: Targets longer than this are worked out each time, so the memory stays within 16 MiB or so.
MEMO_LENGTH: Final = 512

# No percent sign, no semicolon, no backslash, no empty or dot segment, no control characters.
_PLAIN_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9\-._~!$&'()*+,=:@|^`\[\]{}]+)*/?")
# What RFC 3986 lets stand in a path unescaped; WSGI servers and clients agree on the rest.
_UNESCAPED: Final = "/!$&'()*+,:=@~"
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)

_BYPASS: Final = {reason: Bypass(reason) for reason in Reason}


def bypass(reason: Reason) -> Bypass:
    """The verdict of this reason (they are made once)."""
    return _BYPASS[reason]


def path_is_sure(path: str, raw_path: str | None) -> bool:
    """Whether everybody between client and handler reads this path the same way.

    Refused are escaped slashes and dots, empty and dot segments, ``;`` and backslashes, control
    characters, text that is not UTF-8, and a raw path that does not decode to the path (some
    middleware rewrote one of them).
    """
    if len(path) > MAX_PATH:
        return False
    if _PLAIN_PATH.fullmatch(path):
        return raw_path is None or raw_path == path or _decodes(raw_path, path)
    *segments, last = path.split("/")
    if segments[:1] != [""] or any(
        part in ("", ".", "..") for part in (*segments[1:], last or "x")
    ):
        return False
    if not path.isprintable() or any(character in path for character in ";\\%\ufffd?#"):
        return False
    return raw_path is None or _decodes(raw_path, path)


def _decodes(raw_path: str, path: str) -> bool:
    if len(raw_path) > 3 * MAX_PATH or not raw_path.isascii() or ";" in raw_path:
        return False
    for match in _ESCAPE.finditer(raw_path):
        # An escaped slash, dot, backslash or NUL is read differently by different software.
        if match[1] is None or match[1].upper() in ("2F", "2E", "5C", "00"):
            return False
    try:
        return unquote_to_bytes(raw_path).decode("utf-8") == path
    except UnicodeDecodeError:
        return False


def _spelling(request: Request) -> str | None:
    """The raw path where it says more than the path: when it is not spelled the usual way."""
    raw = request.raw_path
    usual = raw in (None, request.path) or raw == quote(request.path, safe=_UNESCAPED)
    return None if usual else raw


@dataclass(frozen=True, slots=True)
class _Target:
    """What follows from target and host alone."""

    rule: Rule
    host: str
    head: bytes
    query: Query
    values: Mapping[str, str]


class Planner:
    """Plans requests under one rule book. Immutable but for its memory; thread-safe."""

    def __init__(
        self, book: RuleBook, *, site: str, release: str, passthrough: tuple[str, ...]
    ) -> None:
        self._book = book
        ours = encode(("pagegen", KEY_FORMAT, site, release))
        self._rule_heads = {
            rule.name: ours + encode((rule.name, rule.fingerprint)) for rule in book.rules
        }
        self._passthrough = passthrough
        self._identifiers = {name: Identifier(i) for name, i in book.identities.items()}
        self._memo: dict[tuple[str, ...], Plan | _Target | Bypass] = {}
        self._complained = False

    def plan(self, request: Request) -> Plan | Bypass:
        """The plan of this request. Never raises: what breaks the planner is a bypass."""
        try:
            return self._plan(request)
        except Exception:
            if not self._complained:
                self._complained = True
                log.exception("a request could not be planned and bypasses; this is said once")
            return _BYPASS[Reason.MALFORMED]

    def _plan(self, request: Request) -> Plan | Bypass:
        if request.method not in ("GET", "HEAD"):
            return _BYPASS[Reason.METHOD]
        get = request.fields.get
        memo_key = (
            request.path,
            request.query,
            get("host") or "",
            request.raw_path or "",
            request.scheme,
            request.root,
        )
        target = self._memo.get(memo_key)
        if target is None:
            target = self._remember(memo_key, request)
        if isinstance(target, Bypass):
            return target
        body = get("content-length")
        if (body is not None and body.strip() != "0") or get("transfer-encoding") is not None:
            return _BYPASS[Reason.BODY]
        if request.method not in target.rule.methods:
            return _BYPASS[Reason.METHOD]
        if isinstance(target, Plan):
            if get("authorization") is not None:
                return _BYPASS[Reason.AUTHORIZATION]
            return target
        return self._complete(target, request)

    def _remember(self, memo_key: tuple[str, ...], request: Request) -> Plan | _Target | Bypass:
        target: Plan | _Target | Bypass = self._target(request)
        if isinstance(target, _Target) and not self._depends_on_client(target.rule):
            target = self._compose(target, (), (), ())
        if sum(map(len, memo_key)) <= MEMO_LENGTH:
            if len(self._memo) >= MEMO_ENTRIES:
                self._memo = {}
            self._memo[memo_key] = target
        return target

    @staticmethod
    def _depends_on_client(rule: Rule) -> bool:
        return bool(rule.keyed_headers or rule.keyed_cookies or rule.identities)

    def _target(self, request: Request) -> _Target | Bypass:
        if not path_is_sure(request.path, request.raw_path):
            return _BYPASS[Reason.PATH]
        position = self._book.rule_index.first(request.path)
        if position is None:
            return _BYPASS[Reason.NO_RULE]
        rule = self._book.rules[position]
        if not rule.cache:
            return _BYPASS[Reason.RULE]
        host = request.fields.get("host")
        if host is None or not _HOST.fullmatch(host):
            return _BYPASS[Reason.HOST]
        query = queries.canonical(request.query, rule)
        if query is None:
            return _BYPASS[Reason.QUERY]
        values = self._book.rule_index.values(position, request.path)
        return _Target(
            rule,
            host.lower(),
            self._key_head(request, rule, host.lower(), query),
            query,
            _named(values, query),
        )

    def _key_head(self, request: Request, rule: Rule, host: str, query: Query) -> bytes:
        """The key's part that target and host give. Encodings end by themselves, so they join."""
        place = (request.scheme, host, request.root, request.path, _spelling(request))
        return self._rule_heads[rule.name] + encode(place) + encode(query.values)

    def _complete(self, target: _Target, request: Request) -> Plan | Bypass:
        """Add what the client's headers, cookies and identity say."""
        rule = target.rule
        headers = []
        for name, keyed in rule.keyed_headers.items():
            sure, value = keyed.read(name, request.fields.get(name))
            if not sure:
                return _BYPASS[Reason.HEADER]
            headers.append((name, value))
        try:
            jar = [
                (name, keyed.read(name, one_cookie(request, name)))
                for name, keyed in rule.keyed_cookies.items()
            ]
        except DoubtError:
            return _BYPASS[Reason.COOKIE]
        if not all(sure for _, (sure, _) in jar):
            return _BYPASS[Reason.COOKIE]
        try:
            people = tuple(self._identifiers[name].ask(request) for name in rule.identities)
        except DoubtError:
            return _BYPASS[Reason.IDENTITY]
        plan = self._compose(
            target, tuple(headers), tuple((name, value) for name, (_, value) in jar), people
        )
        return self._reveal(plan, people, request)

    def _compose(
        self,
        target: _Target,
        headers: tuple[tuple[str, str | None], ...],
        jar: tuple[tuple[str, str | None], ...],
        people: tuple[Identified, ...],
    ) -> Plan | Bypass:
        rule = target.rule
        key = target.head + encode(
            (headers, jar, tuple((who.name, who.position, who.value) for who in people))
        )
        values = dict(target.values)
        for who in people:
            values[f"identity.{who.name}"] = "" if who.value is None else str(who.value)
        namespaces = tuple(template.render(values) for template in rule.templates)
        if any(len(name) > MAX_NAMESPACE for name in namespaces):
            return _BYPASS[Reason.PATH]
        lines = [("host", target.host)]
        lines.extend((name, value) for name, value in headers if value is not None)
        pairs = [f"{name}={value}" for name, value in jar if value is not None]
        if pairs:
            lines.append(("cookie", "; ".join(pairs)))
        view = View(
            target.host,
            target.query.text,
            tuple(lines),
            (),
            tuple((who.name, who.value) for who in people),
        )
        keyed = frozenset(("host", *rule.keyed_headers, *(("cookie",) if jar else ())))
        return Plan(rule, key, slot(key), namespaces, view, keyed)

    def _reveal(
        self, plan: Plan | Bypass, people: tuple[Identified, ...], request: Request
    ) -> Plan | Bypass:
        """Show the handler the sources that answered, and what the identity reveals besides."""
        if isinstance(plan, Bypass):
            return plan
        shown: list[Source] = []
        for who in people:
            if who.source is not None:
                shown.extend((who.source, *self._identifiers[who.name].identity.reveal))
        headers = {source.target for source in shown if source.kind == "header"}
        if request.fields.get("authorization") is not None and "authorization" not in headers:
            return _BYPASS[Reason.AUTHORIZATION]
        lines = dict(plan.view.fields)
        for name in headers:
            value = request.fields.get(name)
            if value is not None:
                lines[name] = value
        wanted = {source.target for source in shown if source.kind == "cookie"}
        if wanted:
            pairs = [p for p in (lines.get("cookie"),) if p]
            pairs += [f"{k}={v}" for k, v in cookies(request.fields.get("cookie")) if k in wanted]
            if pairs:
                lines["cookie"] = "; ".join(pairs)
        context = tuple(
            (source.target, *source.path) for source in shown if source.kind in ("scope", "environ")
        )
        keyed = plan.keyed | headers | ({"cookie"} if wanted else set())
        view = View(
            plan.view.host, plan.view.query, tuple(lines.items()), context, plan.view.identities
        )
        return Plan(plan.rule, plan.key, plan.slot, plan.namespaces, view, keyed)

    def view(self, plan: Plan, request: Request) -> View:
        """What the handler sees, what passes through unkeyed included: made only to run it."""
        names = (*self._passthrough, *plan.rule.passthrough)
        view = plan.view
        present = {name for name, _ in view.fields}
        lines = [
            (name, value)
            for name in names
            if name not in present and (value := request.fields.get(name)) is not None
        ]
        context = [
            tuple(name.partition(":")[2].split("."))
            for name in names
            if name.startswith(("environ:", "scope:"))
        ]
        return View(
            view.host,
            view.query,
            (*view.fields, *lines),
            (*view.context, *context),
            view.identities,
        )


def _named(values: Values, query: Query) -> dict[str, str]:
    named = {f"path.{name}": value for name, value in values}
    for name, read in query.values:
        if len(read) == 1:
            named[f"query.{name}"] = read[0]
    return named
