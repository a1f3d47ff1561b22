"""The options of the command, and the mistakes in them."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from ...units import parse_duration
from .clients import CLIENTS, WRITES, Place
from .events import Terms
from .running import MAX_REQUESTS, Limits, Own, SetupError, Yours
from .sample.site import MISTAKES
from .targets import YourTargets

#: Bounds of what may be asked for.
MAX_SECONDS: Final = 7 * 86_400
MAX_WORKERS: Final = 64
MAX_CLIENTS: Final = 256
MAX_IDS: Final = 1000
#: Clients of an application that is not ours, and its items.
YOUR_CLIENTS: Final = 4
YOUR_IDS: Final = "1-10"

_EXAMPLES: Final = """\
examples:
  python -m pagegen.testing.check --faults all
  python -m pagegen.testing.check --store redis://127.0.0.1:6379/0 --faults network --seconds 3600
  python -m pagegen.testing.check --url http://127.0.0.1:8000 --read '/items/{id}' \\
      --write 'POST /items/{id}' --version 'version ([0-9]+)'

exit status: 0 all promises kept, 1 a promise broken, 2 a mistake in what was asked for, or nothing
that could be checked
"""
_RANGE: Final = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


def parser() -> ArgumentParser:
    """All options."""
    made = ArgumentParser(
        "python -m pagegen.testing.check",
        description="Holds what a cache serves against what was written.",
        epilog=_EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    _add_own(made)
    _add_yours(made)
    both = made.add_argument_group("both")
    both.add_argument("--seconds", type=_number(0.1, MAX_SECONDS), default=60.0)
    both.add_argument("--requests", type=_whole(1, MAX_REQUESTS), default=MAX_REQUESTS)
    both.add_argument("--clients", type=_whole(1, MAX_CLIENTS))
    both.add_argument("--writes", type=_number(0.001, 1), default=WRITES, metavar="SHARE")
    both.add_argument("--seed", type=int, default=0)
    both.add_argument(
        "--herd", type=_number(1, 1000), nargs="?", const=2.0, default=0.0, metavar="RATIO",
        help="judge renderings per page and version (2)",
    )  # fmt: skip
    both.add_argument("--record", metavar="FILE", help="write the history")
    both.add_argument("--judge", metavar="FILE", help="judge a written history, and run nothing")
    both.add_argument("--json", action="store_true", help="tell the result as JSON")
    return made


def _add_own(made: ArgumentParser) -> None:
    own = made.add_argument_group("workers that are started for it")
    own.add_argument("--store", default="", metavar="URL", help="without: LMDB in a new directory")
    own.add_argument("--near", default="", metavar="SIZE", help="a near store, such as 16MiB")
    own.add_argument("--server", choices=("gunicorn", "uvicorn"), default="gunicorn")
    own.add_argument("--workers", type=_whole(1, MAX_WORKERS), default=4)
    own.add_argument("--faults", choices=("none", "workers", "network", "all"), default="none")
    own.add_argument("--mistake", choices=sorted(MISTAKES), default="",
                     help="put a mistake into the application, to see it found")  # fmt: skip


def _add_yours(made: ArgumentParser) -> None:
    yours = made.add_argument_group("an application that runs already, on this machine")
    yours.add_argument("--url", help="such as http://127.0.0.1:8000")
    yours.add_argument("--host", metavar="NAME", help="what requests say in Host")
    yours.add_argument("--read", action="append", metavar="TARGET", help="such as /items/{id}")
    yours.add_argument("--write", metavar="WRITE", help="such as 'POST /items/{id}'")
    yours.add_argument("--body", default="", help="of writes; may name {id} and {version}")
    yours.add_argument("--content-type", default="application/x-www-form-urlencoded")
    yours.add_argument("--header", action="append", default=[], metavar="NAME: VALUE")
    yours.add_argument("--version", help="JSON path, or regular expression with one group")
    yours.add_argument("--ids", default=YOUR_IDS, help="such as 1-10, or a,b,c")
    yours.add_argument("--max-age", type=_duration, default=0.0, metavar="TIME",
                       help="ttl and windows of the rule, such as 65s")  # fmt: skip
    yours.add_argument("--soft", type=_duration, default=0.0, metavar="TIME",
                       help="for so long others may get old pages")  # fmt: skip


def own_of(wanted: Namespace) -> Own:
    """What to start. Raises ``SetupError``."""
    given = [name for name in ("read", "write", "version", "body", "header", "host")
             if getattr(wanted, name)]  # fmt: skip
    if given:
        raise SetupError(f"--{given[0]} is about an application of yours: say --url")
    if find_spec(wanted.server) is None:
        raise SetupError(
            f"{wanted.server} is not installed: pip install 'pagegen-middleware[check]'"
        )
    return Own(
        store=wanted.store, near=wanted.near, server=wanted.server, workers=wanted.workers,
        faults=wanted.faults, mistake=wanted.mistake, herd=wanted.herd,
    )  # fmt: skip


def yours_of(wanted: Namespace) -> Yours:
    """What to ask. Raises ``SetupError``."""
    if wanted.faults != "none" or wanted.store or wanted.near or wanted.mistake:
        raise SetupError("with --url nothing is started: no --store, --near, --faults, --mistake")
    for name in ("read", "write", "version"):
        if not getattr(wanted, name):
            raise SetupError(f"--url needs --{name}")
    fields = [(name.strip(), value.strip()) for name, mark, value in
              (line.partition(":") for line in wanted.header) if mark]  # fmt: skip
    if len(fields) != len(wanted.header) or any(c in "\r\n" for h in wanted.header for c in h):
        raise SetupError("--header is written 'NAME: VALUE'")
    try:
        targets = YourTargets(
            wanted.read, wanted.write, wanted.version, _ids(wanted.ids), body=wanted.body,
            content_type=wanted.content_type, fields=fields,
        )  # fmt: skip
    except ValueError as error:
        raise SetupError(str(error)) from None
    terms = Terms(soft=wanted.soft, age=wanted.max_age, herd=wanted.herd, breaks=True, strict=False)
    return Yours(place=_place(wanted.url, wanted.host), targets=targets, terms=terms)


def _place(url: str, name: str | None) -> Place:
    """Loopback only: this is a load, and it writes. Raises ``SetupError``."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError as error:
        raise SetupError(f"--url {url!r}: {error}") from None
    if parts.scheme != "http" or not host or parts.path not in ("", "/") or parts.query:
        raise SetupError("--url is written http://127.0.0.1:PORT")
    if not _is_loopback(host):
        raise SetupError(
            f"--url names {host}: only applications on this machine are asked, by a loopback "
            "address such as 127.0.0.1, because this writes and loads"
        )
    return Place(port, "127.0.0.1" if host == "localhost" else host, name or parts.netloc)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _ids(text: str) -> Sequence[str]:
    ids: list[str] = []
    for part in text.split(","):
        if found := _RANGE.fullmatch(part.strip()):
            low, high = int(found[1]), int(found[2])
            ids += map(str, range(low, min(high, low + MAX_IDS) + 1))
        elif part.strip():
            ids.append(part.strip())
    if not 1 <= len(ids) <= MAX_IDS:
        raise ValueError(f"--ids names {len(ids)} items: 1 to {MAX_IDS} are possible")
    return ids


def limits_of(wanted: Namespace) -> Limits:
    """How long and how hard."""
    clients = wanted.clients or (YOUR_CLIENTS if wanted.url else CLIENTS)
    return Limits(
        seconds=wanted.seconds, requests=wanted.requests, clients=clients, writes=wanted.writes,
        seed=wanted.seed,
    )  # fmt: skip


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is no number") from None
        if not low <= value <= high:
            raise ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return read


def _whole(low: int, high: int) -> Callable[[str], int]:
    within = _number(low, high)
    return lambda text: int(within(text))


def _duration(text: str) -> float:
    try:
        return parse_duration(float(text) if text.isdigit() else text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
