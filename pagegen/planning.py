"""From a request to a plan: rule, key, slot and namespaces. Or a bypass.

Rule of this file: any doubt is a bypass. What follows from target and host alone is remembered, and
so are plans composed with headers, cookies and identities; what a request costs then does not
depend on rules, patterns or parameters.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from . import queries
from .identification import DoubtError, Identifier, one_cookie
from .keys import KEY_FORMAT, encode, slot
from .law.softness import registers
from .law.unsafe import url_namespace
from .messages import CACHED_METHODS, Request
from .namespaces import is_name
from .patterns import Values
from .queries import Query
from .rulebook import RuleBook
from .rules import Rule
from .verdicts import Bypass, Inputs, Plan, Reason

log = logging.getLogger("pagegen.planning")

#: Longer paths are a bypass. (nginx refuses request lines over 8 kB.)
MAX_PATH: Final = 4096
#: Targets remembered; when they are so many, the memory starts anew.
MEMO_ENTRIES: Final = 8192
#: Targets longer than this (characters), and keys (bytes), are worked out each time. So the two
#: memories together stay below 80 MB whatever comes, and around 20 MB with usual addresses.
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
    query: str
    values: Mapping[str, str]
    own: str


class Planner:
    """Plans requests under one rule book. Immutable but for its memory; thread-safe."""

    def __init__(
        self, book: RuleBook, *, site: str, release: str, passthrough: tuple[str, ...]
    ) -> None:
        self._book = book
        ours = encode(("pagegen", KEY_FORMAT, site, release))
        self._rule_heads = {
            rule.name: ours
            + encode((rule.name, rule.fingerprint))
            # Another declaration of an identity is another identity.
            + encode(tuple(repr(book.identities[name]) for name in rule.identities))
            for rule in book.rules
        }
        self._passthrough = passthrough
        self._identifiers = {name: Identifier(i) for name, i in book.identities.items()}
        self._memo: dict[tuple[str | None, ...], Plan | _Target | Bypass] = {}
        self._composed: dict[tuple[object, ...], Plan | Bypass] = {}
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
        if request.method not in CACHED_METHODS:
            return _BYPASS[Reason.METHOD]
        get = request.fields.get
        memo_key = (
            request.method,
            request.path,
            request.query,
            get("host") or "",
            request.raw_path,
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
        if "websocket" in (get("upgrade") or "").lower():
            return _BYPASS[Reason.UPGRADE]
        plan = target if isinstance(target, Plan) else self._complete(target, request)
        if get("authorization") is not None and isinstance(plan, Plan) and not _allows(plan):
            return _BYPASS[Reason.AUTHORIZATION]
        return plan

    def _remember(
        self, memo_key: tuple[str | None, ...], request: Request
    ) -> Plan | _Target | Bypass:
        target: Plan | _Target | Bypass = self._target(request)
        if isinstance(target, _Target) and not self._depends_on_client(target.rule):
            target = self._compose(target, Inputs(target.host, target.query))
        if sum(len(part or "") for part in memo_key) <= MEMO_LENGTH:
            if len(self._memo) >= MEMO_ENTRIES:
                self._memo = {}
            self._memo[memo_key] = target
        return target

    @staticmethod
    def _depends_on_client(rule: Rule) -> bool:
        return bool(rule.keyed_headers or rule.keyed_cookies or rule.identities)

    def _target(self, request: Request) -> _Target | Bypass:
        if "\ufffd" in request.root or not path_is_sure(request.path, request.raw_path):
            return _BYPASS[Reason.PATH]
        match = self._book.match(request.method, request.path)
        if match is None:
            return _BYPASS[Reason.NO_RULE]
        rule, values = match
        if not rule.cache:
            return _BYPASS[Reason.RULE]
        host = request.fields.get("host")
        if host is None or not _HOST.fullmatch(host):
            return _BYPASS[Reason.HOST]
        query = queries.canonical(request.query, rule)
        if query is None:
            return _BYPASS[Reason.QUERY]
        return _Target(
            rule,
            host.lower(),
            self._key_head(request, rule, host.lower(), query),
            query.text,
            _named(values, query),
            url_namespace(host, request.root + request.path),
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
        jar = []
        try:
            for name, keyed in rule.keyed_cookies.items():
                sure, value = keyed.read(name, one_cookie(request, name))
                if not sure:
                    return _BYPASS[Reason.COOKIE]
                jar.append((name, value))
        except DoubtError:
            return _BYPASS[Reason.COOKIE]
        try:
            people = tuple(self._identifiers[name].ask(request) for name in rule.identities)
        except DoubtError:
            return _BYPASS[Reason.IDENTITY]
        return self._recall(
            target, Inputs(target.host, target.query, tuple(headers), tuple(jar), people)
        )

    def _recall(self, target: _Target, inputs: Inputs) -> Plan | Bypass:
        """The plan of these inputs, composed once."""
        who = tuple((p.position, p.value, p.position is None and p.shown) for p in inputs.people)
        memo_key = (target.head, inputs.headers, inputs.cookies, who)
        plan = self._composed.get(memo_key)
        if plan is None:
            plan = self._compose(target, inputs)
            values = (value for _, value in (*inputs.headers, *inputs.cookies))
            said = sum(len(value or "") for value in values)
            said += sum(len(str(person.value)) for person in inputs.people)
            if len(target.head) + said <= MEMO_LENGTH:
                if len(self._composed) >= MEMO_ENTRIES:
                    self._composed = {}
                self._composed[memo_key] = plan
        return plan

    def _compose(self, target: _Target, inputs: Inputs) -> Plan | Bypass:
        rule, people = target.rule, inputs.people
        said = tuple((who.name, who.position, who.value) for who in people)
        key = target.head + encode((inputs.headers, inputs.cookies, said))
        values = dict(target.values)
        for who in people:
            values[f"identity.{who.name}"] = "" if who.value is None else str(who.value)
        namespaces = tuple(template.render(values) for template in rule.templates)
        if rule.own_url is not False:
            namespaces += (target.own,)
        if not all(map(is_name, namespaces)):
            # A page that nobody could forget by name.
            return _BYPASS[Reason.NAMESPACE]
        if rule.soft:
            # Behind the others, so that these keep their places; a URL has none of it.
            namespaces += registers(dict.fromkeys(namespaces))
        asked = [source for who in people for source in who.asked]
        keyed = {"host", *rule.keyed_headers, *(s.target for s in asked if s.kind == "header")}
        if inputs.cookies or any(source.kind == "cookie" for source in asked):
            keyed.add("cookie")
        passing = tuple(dict.fromkeys((*self._passthrough, *rule.passthrough)))
        return Plan(rule, key, slot(key), namespaces, frozenset(keyed), inputs, passing)


def _allows(plan: Plan) -> bool:
    """Whether an identity of this plan was found in, or reveals, the Authorization field; or the
    law decides by the response (RFC 9111 §3.5).
    """
    return plan.rule.open or any(
        source.kind == "header" and source.target == "authorization"
        for who in plan.inputs.people
        for source in who.shown
    )


def _named(values: Values, query: Query) -> dict[str, str]:
    named = {f"path.{name}": value for name, value in values}
    for name, read in query.values:
        if len(read) == 1 and name[:1] not in ("", "&"):
            named[f"query.{name}"] = read[0]
    return named
