"""Where the server is and how it is asked: the URL of a Redis store.

::

    redis://[USER:PASSWORD@]HOST[:PORT][/DB]?timeout=50ms&pool=32
    rediss://…?ca=FILE&cert=FILE&key=FILE            the same over TLS, always verified
    redis+unix://[USER:PASSWORD@]/run/redis.sock?db=0

User and password are percent-encoded and shown nowhere. Relative paths start at the directory of
the configuration.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import unquote

from ...errors import ConfigError
from ...units import DURATION_REMEDY, parse_duration
from ..options import Options

#: Redis' own port.
DEFAULT_PORT: Final = 6379
#: Seconds for a verb, connecting included (the issue's figure; redis-py: 5 s per receive, 10
#: retries).
DEFAULT_TIMEOUT: Final = 0.05
#: Connections of a process, and of each event loop; who finds all in use waits within the timeout
#: (redis-py's BlockingConnectionPool: 50, waiting 20 s).
DEFAULT_POOL: Final = 32
MAX_POOL: Final = 1000
#: Seconds that a verb may be allowed.
MAX_TIMEOUT: Final = 60.0
SCHEMES: Final = ("redis", "rediss", "redis+unix")
REMEDY: Final = (
    'Write "redis://HOST:PORT/DB" or "redis+unix:///run/redis.sock", and percent-encode '
    "what is special in a password"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server: ``host`` and ``port``, or the ``path`` of a unix socket.

    ``name`` is what logs and errors call it; ``timeout`` in seconds.
    """

    name: str
    host: str = ""
    port: int = 0
    path: str = ""
    db: int = 0
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    timeout: float = DEFAULT_TIMEOUT
    pool: int = DEFAULT_POOL


def parse_server(
    url: str,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    pool: int = DEFAULT_POOL,
    directory: Path | None = None,
) -> Server:
    """The server that a URL names, its options over the defaults given here.

    Raises ``ConfigError`` (field ``store``), which never tells the password.
    """
    return _Reader(url, directory or Path()).server(timeout, pool)


def _portless(place: str) -> str:
    """A place as people may see it: what is no number where the port is may be a password."""
    authority, slash, rest = place.partition("/")
    host, colon, port = authority.rpartition(":")
    hide = colon and "]" not in port and not port.partition("?")[0].isdecimal()
    return f"{host}:***{slash}{rest}" if hide else place


class _Reader:
    def __init__(self, url: str, directory: Path) -> None:
        self.scheme, _, rest = url.partition("://")
        head, asked, query = rest.partition("?")
        self.secret, self.has_secret, self.place = head.rpartition("@")
        # What stands before the last @ may be a password, however badly it was written.
        _, hidden, shown = rest.rpartition("@")
        self.shown = f"{self.scheme}://{'***@' if hidden else ''}{_portless(shown)}"
        self.clean = f"{self.scheme}://{self.place}{asked}{query}"
        self.directory = directory

    def server(self, timeout: float, pool: int) -> Server:
        if self.scheme not in SCHEMES:
            self.refuse("is no Redis server")
        path, host, port, db = "", "", 0, 0
        if self.scheme == "redis+unix":
            path = self.file(unquote(self.place))
        else:
            host, port, db = self.address()
        options = Options(self.clean)
        if path:
            db = options.take("db", _number(0, 2**31 - 1), 0, "Write a number")
        timeout = options.take("timeout", _positive, timeout, DURATION_REMEDY)
        pool = options.take("pool", _number(1, MAX_POOL), pool, f"Write 1 to {MAX_POOL}")
        tls = self.tls(options) if self.scheme == "rediss" else None
        options.finish()
        if not (0 < timeout <= MAX_TIMEOUT and 1 <= pool <= MAX_POOL):
            self.refuse(
                "has no time, too much of it, or no connection",
                f"Give a timeout of at most {MAX_TIMEOUT:g} s, and a pool of 1 to {MAX_POOL}",
            )
        shown = f"[{host}]" if ":" in host else host
        user, colon, password = self.secret.partition(":")
        return Server(
            name=f"{path or f'{shown}:{port}'}/{db}",
            host=host,
            port=port,
            path=path,
            db=db,
            user=unquote(user) or None,
            password=unquote(password) if colon else None,
            tls=tls,
            timeout=timeout,
            pool=pool,
        )

    def address(self) -> tuple[str, int, int]:
        place, _, db = self.place.partition("/")
        if place.startswith("["):
            host, closed, port = place[1:].partition("]")
            bad = not closed or (port and not port.startswith(":"))
            port = port.removeprefix(":")
        else:
            host, _, port = place.partition(":")
            bad = ":" in port
        if bad or not host or not host.isascii() or set(host) & set(" \\#@%"):
            self.refuse("names no host")
        try:
            at = _number(1, 65_535)(port) if port else DEFAULT_PORT
            return host.lower(), at, _number(0, 2**31 - 1)(db) if db else 0
        except ValueError:  # its text would tell what may be half a password
            self.refuse("has a port or a database that is no number, or none that can be")

    def tls(self, options: Options) -> ssl.SSLContext:
        files = {
            name: options.take(name, self.file, "", "Write the path of a PEM file")
            for name in ("ca", "cert", "key")
        }
        try:
            context = ssl.create_default_context(cafile=files["ca"] or None)
            if files["cert"] or files["key"]:
                context.load_cert_chain(files["cert"], files["key"] or None)
        except (OSError, ValueError) as error:
            self.refuse(f"names certificates that cannot be used: {error}", "Name PEM files")
        return context

    def file(self, text: str) -> str:
        if not text or "\0" in text:
            self.refuse("names no file")
        return str(self.directory / text)

    def refuse(self, problem: str, remedy: str = REMEDY) -> NoReturn:
        raise ConfigError(f"{self.shown!r} {problem}", remedy, field="store") from None


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text[:12]) <= most):
            raise ValueError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return read


def _positive(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError(f"{text!r} is no time at all")
    return seconds
