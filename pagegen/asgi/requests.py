"""Reading an ASGI scope, and making the one that the handler of a cacheable request may see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from ..identification import reveal
from ..messages import Request, Target
from ..views import View, authority
from .types import Message, Receive, Scope

# What a handler may see of the scope although it is not keyed: it follows from the server, the
# application or the path, never from who asks.
_KEPT: Final = (
    "type", "asgi", "method", "path", "raw_path", "root_path",
    "app", "app_root_path", "router", "route", "endpoint", "path_params",
)  # fmt: skip
# What a server can do for whoever asks. Pushes, trailers and early hints it offers to those alone
# who speak HTTP/2, and the version is no part of the key.
_OFFERED: Final = (
    "http.response.debug", "http.response.pathsend", "http.response.zerocopysend",
)  # fmt: skip
_NOBODY: Final = ("0.0.0.0", 0)  # noqa: S104 - an address that nobody has, not one to bind to
#: Names whose bytes are remembered: rules and laws ask for a few, applications' Vary for any.
MAX_NAMES: Final = 1024
_WIRE_NAMES: Final[dict[str, bytes]] = {}


class ScopeFields:
    """Request fields of an ASGI header list; see :class:`~pagegen.messages.RequestFields`.

    ``wire``: each name, in lower case, with its combined value.
    """

    __slots__ = ("wire",)

    def __init__(self, wire: Mapping[bytes, bytes]) -> None:
        self.wire = wire

    def get(self, name: str) -> str | None:
        """The combined value of a field (name in lower case)."""
        value = self.wire.get(_WIRE_NAMES.get(name) or _wire_name(name))
        return None if value is None else value.decode("latin-1")

    def pairs(self) -> Iterator[tuple[str, str]]:
        """See :class:`RequestFields`."""
        for name, value in self.wire.items():
            yield name.decode("latin-1"), value.decode("latin-1")


def combined(lines: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Header lines by name, each with its combined value."""
    if not isinstance(lines, list):
        lines = list(lines)
    once = dict(lines)
    return once if len(once) == len(lines) else _combined(lines)


def _combined(lines: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in lines:
        found.setdefault(name, []).append(value)
    # Joined once: to append each line to the ones before it would take the square of their number.
    return {
        name: (b"; " if name == b"cookie" else b", ").join(values) for name, values in found.items()
    }


def _wire_name(name: str) -> bytes:
    wire = name.encode("latin-1")
    return _WIRE_NAMES.setdefault(name, wire) if len(_WIRE_NAMES) < MAX_NAMES else wire


def target(scope: Scope, wire: Mapping[bytes, bytes]) -> Target:
    """What a scope says of what is asked for, as it stands there."""
    return (
        scope["method"],
        scope["path"],
        scope.get("query_string"),
        wire.get(b"host"),
        scope.get("raw_path"),
        scope.get("scheme"),
        scope.get("root_path"),
    )


def read_request(scope: Scope) -> Request:
    """The request of an ``http`` scope. Raises only for a scope that is none."""
    wire = combined(scope["headers"])
    return request_of(scope, target(scope, wire), wire)


def request_of(scope: Scope, asked: Target, wire: Mapping[bytes, bytes]) -> Request:
    """The request of a scope whose fields and target were read. Raises as :func:`read_request`."""
    path: str = scope["path"]
    raw: bytes | None = scope.get("raw_path")
    raw_path = None if raw is None else raw.decode("latin-1")
    root: str = scope.get("root_path") or ""
    if "?" in root:
        # One that is mounted below a pattern may end in what marks others below: a doubt.
        root = "\ufffd"
    elif root:
        if path.startswith(root) and path[len(root) :][:1] in ("", "/"):
            path = path[len(root) :]
        else:
            # Older servers leave the mount point out of the path. These requests share no page
            # with those below it.
            root += "?"
    return Request(
        scope["method"],
        scope.get("scheme") or "http",
        root,
        path,
        raw_path,
        scope.get("query_string", b"").decode("latin-1"),
        ScopeFields(wire),
        scope,
        asked,
    )


def view_scope(scope: Scope, view: View, lifespan_state: Mapping[str, Any]) -> Scope:
    """The scope as the handler of a cacheable request may see it."""
    seen: Scope = {key: scope[key] for key in _KEPT if key in scope}
    seen["http_version"] = "1.1"
    seen["client"] = _NOBODY
    seen["scheme"] = scope.get("scheme") or "http"
    # Which of its addresses a server was asked at is no part of the key.
    name, port = authority(view.host, seen["scheme"])
    seen["server"] = (name.strip("[]"), int(port))
    seen["query_string"] = view.query.encode("ascii")
    seen["headers"] = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in view.fields
    ]
    extensions = scope.get("extensions") or {}
    seen["extensions"] = {name: {} for name in _OFFERED if name in extensions}
    seen["pagegen.identities"] = dict(view.identities)
    if "state" in scope:
        # What the lifespan put there is the application's; what came since is the client's, that
        # something is no longer there too.
        seen["state"] = dict(lifespan_state)
    for path in view.context:
        reveal(scope, seen, path)
    return seen


class Silence:
    """``receive`` of a cacheable request: an empty body, then nothing until the client leaves.

    ``told`` is called when the handler hears of that. Nobody's key holds it, so what the handler
    makes from then on is no page for others.
    """

    __slots__ = ("_asked", "_receive", "_told")

    def __init__(self, receive: Receive, told: Callable[[], None]) -> None:
        self._receive = receive
        self._told = told
        self._asked = False

    async def __call__(self) -> Message:
        """The next message that the handler may see."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while (message := await self._receive())["type"] == "http.request":
            pass
        self._told()
        return message
