"""Planning: from requests as servers give them to keys, on both fronts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from pagegen.asgi.requests import read_request as read_scope
from pagegen.asgi.requests import view_scope
from pagegen.config import from_table
from pagegen.fields import cookies
from pagegen.messages import Request
from pagegen.planning import Planner
from pagegen.readers import hosts
from pagegen.testing.calling import environ, scope
from pagegen.verdicts import Bypass, Plan
from pagegen.views import view
from pagegen.wsgi.requests import read_request as read_environ
from pagegen.wsgi.requests import view_environ

from .targets import holds, target, text

#: Rules of every kind that has a key of its own.
TABLE: Final[dict[str, Any]] = {
    "identity": {
        "user": {"from": ["header:x-user", "cookie:session"]},
        "one": {"from": ["cookie:one"], "anonymous": "bypass"},
    },
    "rule": [
        {"path": "/open/**", "share": "public"},
        {"path": "/own/{x}", "share": ["user"], "ttl": "1h", "namespaces": ["u:{user}/{x}"]},
        {"path": "/two/**", "share": ["user", "one"], "ttl": "1h"},
        {"path": "/said/{x:int}", "share": "public", "ttl": "1h", "other_query": "drop",
         "headers": {"accept-language": {"values": ["de", "en"], "default": "en"}, "x-kind": {}},
         "cookies": {"theme": {"values": ["dark"], "default": "light"}},
         "query": {"start": {"type": "int", "default": 0}, "q": {}},
         "passthrough": ["traceparent"]},
        {"path": "/key/**", "share": "public", "ttl": "1h", "other_query": "key"},
        {"path": "/**", "share": "public", "ttl": "1h", "namespaces": ["all"]},
    ],
}  # fmt: skip
WORDS: Final = (
    "GET ", "HEAD ", "/open/a", "/own/a", "/two/a", "/said/7", "/key/a", "?", "start=1", "&", "q=x",
    "\n", "\n\n", "host: shop.example", "cookie: ", "session=a", "one=b", "theme=dark", "; ",
    "x-user: u", "accept-language: de", "x-kind: k", "x-forwarded-host: evil.example",
    "authorization: x", "%2F", "%C3%A4", "%c3%a4", "//", "traceparent: 1",
    "cache-control: no-cache", "x-original-url: /b", ".css",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as its client wrote it; ``lines`` are its fields, in order, names in lower case."""

    method: str
    target: str
    lines: tuple[tuple[str, str], ...]

    @property
    def fields(self) -> dict[str, str]:
        """Its fields, several lines of one name combined as servers do for WSGI."""
        found: dict[str, str] = {}
        for name, value in self.lines:
            joint = "; " if name == "cookie" else ","
            found[name] = found[name] + joint + value if name in found else value
        return found


def asked(said: str) -> Asked:
    """``METHOD TARGET``, then a field in each line; what cannot be one is left out."""
    first, *rest = said.split("\n")
    method, _, goal = first.partition(" ")
    lines = [("host", "shop.example")]
    for line in rest:
        name, colon, value = line.partition(":")
        name = name.strip(" ").lower()
        if colon and name.isascii() and name.replace("-", "").isalnum():
            if name == "host":
                lines = [pair for pair in lines if pair[0] != "host"]
            lines.append((name, value.strip(" \t")))
    goal = goal if goal.startswith("/") else f"/{goal}"
    return Asked(method if method.isascii() and method.isalpha() else "GET", goal, tuple(lines))


def environ_of(request: Asked) -> dict[str, Any]:
    """As gunicorn gives it."""
    return environ(request.method, request.target, request.fields)


def scope_of(request: Asked) -> dict[str, Any]:
    """As uvicorn gives it."""
    made = scope(request.method, request.target)
    made["headers"] = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in request.lines]
    return made


def _planner() -> Planner:
    book = from_table(TABLE).book
    ours = hosts(["shop.example", ".blog.example"])
    return Planner(book, site="s", release="r", passthrough=(), hosts=ours)


_PLANNER: Final = _planner()


def _plan(request: Request) -> Plan | Bypass:
    # Not `plan`: what it swallows is wanted here.
    return _PLANNER._plan(request)


def _seen(plan: Plan, request: Asked) -> tuple[str, str]:
    """What handlers see on both fronts, as text that can be compared."""
    made, other = environ_of(request), scope_of(request)
    ours = view_environ(made, view(plan, read_environ(made)))
    theirs = view_scope(other, view(plan, read_scope(other)), {})
    texts = {k: v for k, v in ours.items() if isinstance(v, str | dict)}
    return repr(sorted(texts.items(), key=repr)), repr(sorted(theirs.items(), key=repr))


@target(*WORDS, length=800)
def plans(data: bytes) -> None:
    """Two requests: equal keys, equal views, whatever else they say; and both fronts agree."""
    pair = [asked(part) for part in [*text(data).split("\n\n"), "", ""][:2]]
    found = []
    for request in pair:
        by_wsgi = _plan(read_environ(environ_of(request)))
        by_asgi = _plan(read_scope(scope_of(request)))
        sure = isinstance(by_wsgi, Plan) and isinstance(by_asgi, Plan)
        if sure and len({name for name, _ in request.lines}) == len(request.lines):
            holds(by_wsgi.namespaces == by_asgi.namespaces, "fronts differ", request)
        found.append((by_wsgi, by_asgi))
    if pair[0].method != pair[1].method:
        return  # a HEAD is answered from the page, and makes none
    for number in (0, 1):
        first, second = found[0][number], found[1][number]
        if isinstance(first, Plan) and isinstance(second, Plan) and not first.rule.open:
            same = first.key == second.key
            holds(same == (first.slot == second.slot), "slot", pair)
            unkeyed = first.passing or second.passing
            if same and not unkeyed and first.inputs.host == second.inputs.host:
                views = [_seen(first, pair[0])[number], _seen(second, pair[1])[number]]
                holds(views[0] == views[1], "one key, two views", pair, views)


@target(*WORDS, length=600)
def views(data: bytes) -> None:
    """One request: a handler of a keyed rule sees its keyed inputs, and not a line more."""
    request = asked(text(data))
    plan = _plan(read_environ(environ_of(request)))
    if not isinstance(plan, Plan):
        return
    inputs = plan.inputs
    seen = dict(view(plan, read_environ(environ_of(request))).fields)
    if plan.rule.open:
        holds(
            not any(name.startswith(("x-forwarded-", "x-original-")) for name in seen),
            "steers",
            request,
        )
        return
    people = {source.target for who in inputs.people for source in who.shown}
    allowed = {"host", "cookie", *people, *plan.passing, *(name for name, _ in inputs.headers)}
    holds(seen.keys() <= allowed, "more than is keyed", request, seen)
    keyed = {name for name, _ in inputs.cookies} | people
    jar = cookies(seen.get("cookie"))
    holds({name for name, _ in jar} <= keyed, "more cookies", request, jar)
    for name, value in inputs.cookies:
        holds(
            [v for n, v in jar if n == name] == ([] if value is None else [value]), "jar", request
        )
    for who in inputs.people:
        read = [v for s in who.shown for n, v in jar if s.kind == "cookie" and n == s.target]
        holds(not read or read == [who.value], "another person", request, read, who.value)
    holds(json.dumps(inputs.query) != "", "query", request)
