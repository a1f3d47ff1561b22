"""From a request to a plan: rule, key, slot and namespaces. Or a bypass.

Rule of this file: any doubt is a bypass. What follows from target and host alone is remembered, and
so are plans composed with headers, cookies and identities; what a request costs then does not
depend on rules, patterns or parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from . import queries
from .identification import DoubtError, Identifier, one_cookie
from .keys import KEY_FORMAT, encode, slot
from .law.softness import registers
from .law.unsafe import url_namespace
from .logs import kind, logger
from .messages import CACHED_METHODS, Request, Target
from .namespaces import is_name
from .patterns import Values
from .queries import Query
from .readers import Hosts
from .rulebook import RuleBook
from .rules import Rule
from .stores.s3fifo import HITS, MAX_FREQUENCY, S3Fifo
from .verdicts import Bypass, Inputs, Plan, Reason

log = logger("pagegen.planning")

#: Longer paths are a bypass. (nginx refuses request lines over 8 kB.)
MAX_PATH: Final = 4096
#: Bytes of targets remembered, and of plans composed of them: some 1,700 and 1,200 of usual length.
#: They are kept as pages are (:mod:`pagegen.stores.s3fifo`), so that no flood of addresses takes
#: away what visitors ask for.
TARGET_BYTES: Final = 3 * 2**20
PLAN_BYTES: Final = 2 * 2**20
#: Targets longer than this (characters), and keys (bytes), are worked out each time.
MEMO_LENGTH: Final = 512
#: Measured: what an entry weighs besides its text, without a plan and with one, and a namespace.
_ENTRY_OVERHEAD: Final = 640
_PLAN_OVERHEAD: Final = 600
_NAME_OVERHEAD: Final = 60

# No percent sign, no semicolon, no backslash, no empty or dot segment, no control characters.
_PLAIN_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9\-._~!$&'()*+,=:@|^`\[\]{}]+)*/?")
# What RFC 3986 lets stand in a path unescaped; WSGI servers and clients agree on the rest.
_UNESCAPED: Final = "/!$&'()*+,:=@~"
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")

_ANY_HOST: Final = Hosts()
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


def spelled(path: str) -> str:
    """The one usual spelling of a decoded path."""
    return quote(path, safe=_UNESCAPED, errors="surrogatepass")


def below(root: str, raw_path: str | None) -> str | None:
    """A raw path below the mount point; itself where a proxy or server has left that out."""
    return raw_path.removeprefix(spelled(root)) if raw_path and root else raw_path


def _spelling(request: Request) -> str | None:
    """The raw path where it says more than root and path: when it is spelled another way.

    Of several spellings that decode to one path only one can go unsaid. Handlers see the raw path,
    and one that writes it into its page unescaped would show everybody the markup of whoever asked
    without escapes, as no browser does.
    """
    raw = request.raw_path
    return None if raw is None or raw == spelled(request.root + request.path) else raw


def _routed(request: Request, host: str) -> bool:
    """Whether a router in front may have read the host in capitals, which the key has not."""
    return host != host.lower() and bool(request.context.get("path_params"))


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
        self,
        book: RuleBook,
        *,
        site: str,
        release: str,
        passthrough: tuple[str, ...],
        hosts: Hosts = _ANY_HOST,
        count: Callable[[str], object] = lambda _event: None,
    ) -> None:
        self._book = book
        self._hosts = hosts
        self._count = count
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
        self._memo: S3Fifo[Target, Plan | _Target | Bypass] = S3Fifo(TARGET_BYTES)
        self._targets = self._memo.entries
        self._composed: S3Fifo[tuple[object, ...], Plan | Bypass] = S3Fifo(PLAN_BYTES)
        self._complained = False

    def statistics(self) -> dict[str, int]:
        """``targets_…`` and ``plans_…`` that are remembered: count, bytes, budget, evicted."""
        kinds = (("targets", self._memo), ("plans", self._composed))
        return {f"{kind}_{k}": v for kind, memo in kinds for k, v in memo.statistics().items()}

    def recall(self, target: Target) -> Plan | None:
        """The remembered plan of a request with this ``target`` and none of the fields that
        :meth:`plan` asks it for; None where it is not remembered, or depends on who asks.
        """
        entry = self._targets.get(target)
        if entry is None:
            return None
        found, _, _, cell = entry  # as S3Fifo.get has it
        if cell[HITS] < MAX_FREQUENCY:
            cell[HITS] += 1
        return found if found.__class__ is Plan else None

    def plan(self, request: Request) -> Plan | Bypass:
        """The plan of this request. Never raises: what breaks the planner is a bypass."""
        try:
            return self._plan(request)
        except Exception as error:
            if not self._complained:
                self._complained = True
                # Without its text, which may hold what was asked for.
                log.error(
                    "a request could not be planned and bypasses (%s); this is said once",
                    kind(error),
                )
            return _BYPASS[Reason.MALFORMED]

    def _plan(self, request: Request) -> Plan | Bypass:
        if request.method not in CACHED_METHODS:
            return _BYPASS[Reason.METHOD]
        get = request.fields.get
        memo_key = request.target or (
            request.method,
            request.path,
            request.query,
            get("host") or "",
            request.raw_path,
            request.scheme,
            request.root,
        )
        target = self._memo.get(memo_key, 0.0)
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

    def _remember(self, memo_key: Target, request: Request) -> Plan | _Target | Bypass:
        target: Plan | _Target | Bypass = self._target(request)
        if isinstance(target, _Target) and not self._depends_on_client(target.rule):
            target = self._compose(target, Inputs(target.host, target.query))
        length = sum(len(part or "") for part in memo_key)
        if length <= MEMO_LENGTH:
            self._memo.put(memo_key, target, _weight(length, target), inf)
        return target

    @staticmethod
    def _depends_on_client(rule: Rule) -> bool:
        return bool(rule.keyed_headers or rule.keyed_cookies or rule.identities)

    def _target(self, request: Request) -> _Target | Bypass:
        raw_path = below(request.root, request.raw_path)
        if "\ufffd" in request.root or not path_is_sure(request.path, raw_path):
            return _BYPASS[Reason.PATH]
        match = self._book.match(request.method, request.path)
        if match is None:
            return _BYPASS[Reason.NO_RULE]
        rule, values = match
        if not rule.cache:
            return _BYPASS[Reason.RULE]
        host = request.fields.get("host")
        if host is None or not self._hosts.allow(host) or _routed(request, host):
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
            said = request.fields.get(name)
            sure, value = keyed.read(name, said)
            if keyed.is_unread(name, said):
                self._count("unread:accept")
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
        plan = self._composed.get(memo_key, 0.0)
        if plan is None:
            plan = self._compose(target, inputs)
            values = (value for _, value in (*inputs.headers, *inputs.cookies))
            said = sum(len(value or "") for value in values)
            said += sum(len(str(person.value)) for person in inputs.people)
            if (length := len(target.head) + said) <= MEMO_LENGTH:
                self._composed.put(memo_key, plan, _weight(length, plan), inf)
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


def _weight(length: int, found: Plan | _Target | Bypass) -> int:
    """Bytes of what is remembered under so many characters, Python's overhead counted."""
    weight = _ENTRY_OVERHEAD + 2 * length
    if isinstance(found, Bypass):
        return weight
    names = found.namespaces if isinstance(found, Plan) else (found.own,)
    key = found.key if isinstance(found, Plan) else found.head
    return weight + _PLAN_OVERHEAD + len(key) + sum(len(name) + _NAME_OVERHEAD for name in names)


def _named(values: Values, query: Query) -> dict[str, str]:
    named = {f"path.{name}": value for name, value in values}
    for name, read in query.values:
        if len(read) == 1 and name[:1] not in ("", "&"):
            named[f"query.{name}"] = read[0]
    return named
