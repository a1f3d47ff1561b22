"""Floods of one kind each, in a process of their own: ``python -m tests.security.floods KIND``.

What is wanted of a process under such a flood: it grows by the store and by what is remembered, and
the flood is counted. :func:`flood` runs one, under a limit of the data that the process may have.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.patterns import parse_pattern
from pagegen.testing.calling import environ
from pagegen.wsgi import PageCacheMiddleware
from tests.security.memory import LONGEST, ROOT, _said, resident

#: Bytes of the store, and of data that a process may have beside what it begins with.
STORE: Final = 4 * 2**20
DATA: Final = 40 * 2**20
_LONG: Final = "x" * 200
#: Fields that a handler answers with, of a request's number.
Answering = Callable[[int], list[tuple[str, str]]]


def _rule(**more: Any) -> Rule:
    return Rule(**{"path": "/{rest:path}", "share": "public", "ttl": "1h", **more})


class Flooded:
    """A site, and how it is asked for the page of a number."""

    def __init__(
        self,
        rule: Rule,
        ask: Callable[[int], dict[str, str]],
        answering: Answering = lambda _number: [],
        length: int = 1_000,
    ) -> None:
        self._length = length
        self.cache = PageCache([rule], store=f"memory://?size={STORE}")
        self._front = PageCacheMiddleware(self._app, cache=self.cache)
        self._base = environ("GET", "/page")
        self._ask = ask
        self._answering = answering
        self._number = 0

    def _app(self, _made: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", self._answering(self._number))
        return [b"%020d" % self._number * (self._length // 20)]

    def __call__(self, number: int) -> None:
        """One request."""
        self._number = number
        response = self._front({**self._base, **self._ask(number)}, lambda *_: lambda _: None)
        for _ in response:
            pass
        getattr(response, "close", lambda: None)()


def _invalidating(number: int) -> dict[str, str]:
    return {"PATH_INFO": f"/{number % 7}", "RAW_URI": f"/{number % 7}"}


def _namespaces(site: Flooded) -> Callable[[int], object]:
    return lambda number: site.cache.invalidate(f"n:{number:0200}")


def _patterns(_site: Flooded) -> Callable[[int], object]:
    longest = "/" + "/".join(f"{{p{n}}}-x" for n in range(128))
    return lambda number: parse_pattern(f"{longest[:-1]}{number}")


_PLAIN: Final = _rule()
KINDS: Final[dict[str, Callable[[], Flooded]]] = {
    "queries": lambda: Flooded(
        _rule(other_query="key"), lambda n: {"QUERY_STRING": f"a={n}{_LONG}"}
    ),
    "dropped queries": lambda: Flooded(
        _rule(other_query="drop"), lambda n: {"QUERY_STRING": f"a={n}{_LONG}"}
    ),
    "headers": lambda: Flooded(
        _rule(headers={"x-kind": {}}), lambda n: {"HTTP_X_KIND": f"{n}{_LONG}"}
    ),
    "cookies": lambda: Flooded(
        _rule(cookies={"c": {}}), lambda n: {"HTTP_COOKIE": f"c={n}{_LONG}"}
    ),
    "names of headers": lambda: Flooded(_PLAIN, lambda n: {f"HTTP_X_{n}{_LONG.upper()}": "v"}),
    "huge headers": lambda: Flooded(
        _rule(mode="http"), lambda n: {"HTTP_X_A": f"{n}" + "x" * 60_000}
    ),
    "values that select": lambda: Flooded(
        _rule(mode="http"), lambda n: {"HTTP_ACCEPT": f"a/b{n}{_LONG}"},
        lambda _: [("Vary", "accept")],
    ),
    "names that select": lambda: Flooded(
        _rule(mode="http"), lambda n: {"PATH_INFO": f"/{n}", "RAW_URI": f"/{n}"},
        lambda n: [("Vary", f"x-{n}-{_LONG}")],
    ),
    "preferences": lambda: Flooded(
        _rule(headers={"accept-language": {"values": ["en", "de"], "default": "en"}}),
        lambda n: {"HTTP_ACCEPT_LANGUAGE": f"x{n}-{_LONG}"},
    ),
    "wishes": lambda: Flooded(_PLAIN, lambda n: {"HTTP_CACHE_CONTROL": f"x={n}{_LONG}"}),
    "ranges": lambda: Flooded(
        _PLAIN, lambda n: {"HTTP_RANGE": "bytes=" + ",".join(f"{i}-{i + n}" for i in range(500))}
    ),
    "groups": lambda: Flooded(
        _rule(groups=True),
        lambda n: {"PATH_INFO": f"/{n}", "RAW_URI": f"/{n}"},
        lambda n: [("Cache-Groups", ", ".join(f'"g{n}-{i}"' for i in range(20)))],
    ),
    "heads of pages": lambda: Flooded(
        _PLAIN,
        lambda n: {"PATH_INFO": f"/{n}", "RAW_URI": f"/{n}"},
        lambda n: [("X-A", f"{n}" + "x" * 20_000)],
    ),
    "bodies": lambda: Flooded(
        _PLAIN, lambda n: {"PATH_INFO": f"/{n}", "RAW_URI": f"/{n}"}, length=200_000
    ),
    "namespaces": lambda: Flooded(_PLAIN, _invalidating),
    "patterns": lambda: Flooded(_PLAIN, _invalidating),
}  # fmt: skip
_INSTEAD: Final = {"namespaces": _namespaces, "patterns": _patterns}


def run(kind: str, number: int) -> dict[str, Any]:
    """Flood a site in this process: bytes by which it grew, and what was counted."""
    site = KINDS[kind]()
    one = _INSTEAD[kind](site) if kind in _INSTEAD else site
    one(0)
    before = resident()
    data = _said("VmData") + DATA
    resource.setrlimit(resource.RLIMIT_DATA, (data, data))
    for each in range(1, number):
        one(each)
    return {"grown": resident() - before, "counts": dict(site.cache.statistics())}


def flood(kind: str, number: int) -> tuple[int, dict[str, int]]:
    """The same in a process of its own; raises when it does not end well."""
    command = [sys.executable, "-m", "tests.security.floods", kind, str(number)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=LONGEST)
    if done.returncode:
        raise AssertionError(done.stderr.decode())
    found = json.loads(done.stdout)
    return found["grown"], found["counts"]


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]))))
