"""What the handler of a cacheable request may see: its keyed inputs, and nothing else.

Made only when a handler really runs. Method, path, scheme and mount point are keyed too and need no
mention here; the fronts make their environ or scope from a :class:`View`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from .fields import cookies, tokens
from .identities import Source
from .law.vary import visible
from .messages import Fields, Request
from .verdicts import Plan
from .wrote import others

#: Members of a ``tracestate`` (W3C Trace Context §3.3.1.2); one with more is hidden.
MAX_TRACE_MEMBERS: Final = 32
#: W3C Trace Context §3.2.2; of versions to come the part that is known today.
_TRACE: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
#: §3.3.1.3, but of values the characters alone that no markup, script or template is made of: a
#: page that prints them is shown to everybody.
_TRACE_MEMBER: Final = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[A-Za-z0-9_.:;~+*/@|-]{1,256}")


@dataclass(frozen=True, slots=True)
class View:
    """``query`` is the canonical one; ``fields`` hold host, keyed and passed-through headers and
    one ``cookie`` line; ``context`` names scope or environ keys (dotted paths split) that an
    identity reveals or that pass through; ``identities`` are the values that the page is keyed by.
    """

    host: str
    query: str
    fields: Fields = ()
    context: tuple[tuple[str, ...], ...] = ()
    identities: tuple[tuple[str, str | int | None], ...] = ()


def authority(host: str, scheme: str) -> tuple[str, str]:
    """Name and port of a Host value; without one the default of the scheme (RFC 9110 §4.2)."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal():
        return name, port
    return host, "443" if scheme == "https" else "80"


def view(plan: Plan, request: Request) -> View:
    """The view of this request's handler."""
    if plan.rule.open:
        return _open_view(plan, request)
    inputs = plan.inputs
    shown = [source for who in inputs.people for source in who.shown]
    fields = {"host": inputs.host}
    fields.update((name, value) for name, value in inputs.headers if value is not None)
    names = [source.target for source in shown if source.kind == "header"]
    fields |= _sent(request, (name for name in names if name not in fields))
    passing = (name for name in plan.passing if ":" not in name and name not in fields)
    fields |= {name: value for name, value in _sent(request, passing) if _passes(name, value)}
    if jar := "; ".join(_cookies(plan, request, shown)):
        fields["cookie"] = jar
    return View(
        inputs.host,
        inputs.query,
        tuple(fields.items()),
        tuple(_context(shown, plan.passing)),
        tuple((who.name, who.value) for who in inputs.people),
    )


def _sent(request: Request, names: Iterable[str]) -> list[tuple[str, str]]:
    found = ((name, request.fields.get(name)) for name in names)
    return [(name, value) for name, value in found if value is not None]


def _passes(name: str, value: str) -> bool:
    """Whether an unkeyed field may be seen: one that is to name a trace has to do so."""
    if name == "traceparent":
        return _TRACE.fullmatch(value) is not None
    if name == "tracestate":
        members = value.split(",", MAX_TRACE_MEMBERS)
        texts = filter(None, (member.strip(" \t") for member in members))
        return len(members) <= MAX_TRACE_MEMBERS and all(map(_TRACE_MEMBER.fullmatch, texts))
    return True


def shown(plan: Plan, name: str, nominated: Collection[str]) -> bool:
    """Whether an open rule's handler sees a request field, so that it may select a response.

    ``nominated``: names in the request's ``Connection``, which belong to it (RFC 9110 §7.6.1).
    """
    # Behind an ASGI server may stand what reads "_" as "-", as WSGI applications do: nginx takes
    # such fields out too.
    seen = visible(name, nominated) and "_" not in name
    return seen or name in plan.passing


def _without_ours(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Request fields without the cookie that pagegen itself has set."""
    for name, value in pairs:
        left = others(value) if name == "cookie" else value
        if left is not None:
            yield name, left


def _open_view(plan: Plan, request: Request) -> View:
    """All that may select a response, which its ``Vary`` then has to say."""
    inputs = plan.inputs
    nominated = tokens(request.fields.get("connection"))
    fields = {"host": inputs.host}
    fields.update(
        (name, value)
        # In our order: no Vary says that a page depends on the client's.
        for name, value in sorted(_without_ours(request.fields.pairs()))
        if name not in fields and shown(plan, name, nominated)
    )
    fields.update((name, value) for name, value in inputs.headers if value is not None)
    context = tuple(_context((), plan.passing))
    return View(inputs.host, inputs.query, tuple(fields.items()), context)


def _cookies(plan: Plan, request: Request, shown: Iterable[Source]) -> Iterator[str]:
    """The keyed cookies, and of the client's those that an identity shows."""
    keyed = dict(plan.inputs.cookies)
    yield from (f"{name}={value}" for name, value in keyed.items() if value is not None)
    named = (source.target for source in shown if source.kind == "cookie")
    wanted = [name for name in dict.fromkeys(named) if name not in keyed]
    if wanted:
        # In our order: the client's is in no key.
        jar = cookies(request.fields.get("cookie"))
        yield from (f"{name}={value}" for name in wanted for key, value in jar if key == name)


def _context(shown: Iterable[Source], passing: Iterable[str]) -> Iterator[tuple[str, ...]]:
    for source in shown:
        if source.kind in ("scope", "environ"):
            yield (source.target, *source.path)
    for name in passing:
        if name.startswith(("environ:", "scope:")):
            yield tuple(name.partition(":")[2].split("."))
