"""``python -m benchmarks.peers.groups``: what forgetting a group of pages costs, for each peer.

A group of so many pages among as many others, on each store that the peer's mechanism supports,
beside pagegen's ``invalidate`` on the same store. Each figure is made by a process of its own, and
on servers of its own: see :mod:`benchmarks.peers.forgetting.cell`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from statistics import median
from threading import Thread
from typing import Any, Final, NamedTuple

from ..report import Cell, Table, text
from ..servers import MissingError, serving
from . import ROOT, interpreter, release

#: Numbers of pages, and those of ``--quick``.
PAGES: Final = (10, 1_000, 100_000)
QUICK_PAGES: Final = PAGES[:2]
#: Seconds that forgetting may take, and that filling may take: two hundred thousand pages that are
#: written one by one to a server take a minute where it is quiet.
FORGETTING: Final = 30.0
FILLING: Final = 300.0
#: Bytes of a page. Small: what is asked is how cost grows with their number, and twice a hundred
#: thousand of them have to fit.
BODY: Final = 100
#: Seconds that a process may take to end by itself.
_PATIENCE: Final = 5.0

PROGRAMS: Final = {"memcached": "memcached", "redis": "redis-server"}
_TITLES: Final = {"memory": "memory", "memcached": "memcached", "redis": "Redis"}


class Mechanism(NamedTuple):
    """What forgets a group: the call as a user writes it, where it can be had, and its class."""

    peer: str
    call: str
    stores: tuple[str, ...]
    target: str
    distribution: str
    venv: str | None = None


def _mechanism(
    peer: str, call: str, target: str, *stores: str, distribution: str = "", venv: str | None = None
) -> Mechanism:
    package = f"{__package__}.forgetting.{target}"
    return Mechanism(peer, call, stores, package, distribution or peer, venv)


MECHANISMS: Final = (
    _mechanism(
        "pagegen",
        "cache.invalidate(namespace)",
        "ours:Tokens",
        *("memory", "memcached", "redis"),
        distribution="pagegen-middleware",
    ),
    _mechanism(
        "Flask-Caching",
        "cache.delete_memoized(object.method)",
        "by_flask_caching:Memoized",
        *("memory", "memcached", "redis"),
    ),
    _mechanism("cashews", "cache.delete_tags(tag)", "by_cashews:Tags", "memory", "redis"),
    _mechanism("cashews", "cache.delete_match(pattern)", "by_cashews:Match", "memory", "redis"),
    _mechanism("aiocache", "cache.clear(namespace)", "by_aiocache:Namespaces", "memory", "redis"),
    _mechanism(
        "fastapi-cache2",
        "FastAPICache.clear(namespace)",
        "by_fastapi_cache:Namespaces",
        *("memory", "redis"),
        venv="fastapi-cache",
    ),
    _mechanism(
        "fast-cache-middleware",
        "CacheDropConfig(paths)",
        "by_fast_cache_middleware:Paths",
        *("memory", "redis"),
        venv="fast-cache-middleware",
    ),
)
#: Who cannot forget a group, and why.
WITHOUT: Final[Mapping[str, str]] = {
    "Django": "its cache middleware has no call that forgets pages. cache.clear() forgets all that "
    "is in the cache; keys have versions, but the middleware's keys are its own",
    "starlette-caches": "invalidate_cache_for(url) forgets one URL",
    "Litestar": "one store holds all responses. store.delete(key) forgets one of them, and "
    "delete_all() all of them",
    "aiocache on memcached": "clear(namespace) raises ValueError there",
    "fastapi-cache2 on memcached": "clear(namespace) raises NotImplementedError there",
}


class Found(NamedTuple):
    """What became of one figure: seconds, or a word in their place. ``why`` is for a note."""

    seconds: float | None
    word: str = ""
    why: str = ""


def measured(mechanism: Mechanism, store: str, pages: int) -> Found:
    """One figure, from a process and a server of its own. Raises ``MissingError``."""
    python = interpreter(mechanism.venv)
    if python is None:
        raise MissingError("has an environment of its own, which make bench makes")
    with ExitStack() as stack:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PAGEGEN_BENCH_BODY": str(BODY)}
        if store in PROGRAMS:
            place = stack.enter_context(serving(PROGRAMS[store]))
            environment[f"PAGEGEN_BENCH_{store.upper()}"] = place
        module = f"{__package__}.forgetting.cell"
        command = (str(python), "-m", module, mechanism.target, store, str(pages))
        return _judged(stack.enter_context(_lines(command, environment)))


def _judged(lines: SimpleQueue[str]) -> Found:
    """What a cell says, waited for as long as its next step may take."""
    seconds: list[float] = []
    patience, late = FILLING, f"not filled in {FILLING:.0f} s"
    while True:
        try:
            said: dict[str, Any] = json.loads(lines.get(timeout=patience) or '{"stage": "gone"}')
        except Empty:
            # A later round may be too late; then those before it count.
            return Found(median(seconds)) if seconds else Found(None, late)
        match said["stage"]:
            case "filled":
                patience, late = FORGETTING, f"> {FORGETTING:.0f} s"
            case "forgot":
                patience, late = FORGETTING, f"not proven in {FORGETTING:.0f} s"
            case "proven":
                seconds.append(said["seconds"])
                patience = FILLING
            case "done":
                return Found(median(seconds))
            case "missing":
                raise MissingError(said["why"])
            case _:
                return Found(None, "failed", said.get("why", "the process ended without a word"))


@contextmanager
def _lines(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[SimpleQueue[str]]:
    """The lines that a process prints, and an empty one at its end; it is ended with the block."""
    process = subprocess.Popen(
        command, env=dict(environment), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put("")

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        process.kill()
        process.wait(_PATIENCE)
        reader.join(_PATIENCE)
        process.stdout.close()


# The table ------------------------------------------------------------------------------------


def table(sizes: Sequence[int], only: Sequence[str] = ()) -> Table:
    """Milliseconds of each mechanism on each store; measures as it goes, and says so on stderr."""
    notes: dict[str, None] = {}
    rows = [
        _row(mechanism, store, sizes, notes)
        for store in _TITLES
        for mechanism in MECHANISMS
        if store in mechanism.stores and (not only or mechanism.peer in only)
    ]
    return Table(
        "groups",
        "Forgetting a group of pages, in milliseconds",
        f"The pages of one user, as many as the column says, among as many of another one's, of "
        f"{BODY} bytes each. Median of up to 5 times; before and after it is proven on a sample "
        "which pages are there. Each figure has a process and a server of its own.",
        ("store", "cache", "call", *(f"{size:,} pages" for size in sizes)),
        tuple(rows),
        (*notes, *(f"{name}: {why}." for name, why in WITHOUT.items() if not only)),
    )


def _row(
    mechanism: Mechanism, store: str, sizes: Sequence[int], notes: dict[str, None]
) -> tuple[Cell, ...]:
    cells: list[Cell] = []
    name = f"{mechanism.peer} on {_TITLES[store]}"
    for size in sizes:
        print(f"{name}, {mechanism.call}, {size:,} pages …", file=sys.stderr, flush=True)
        try:
            found = measured(mechanism, store, size)
        except MissingError as error:
            notes[f"{mechanism.peer}: {error}"] = None
            cells.append("not here")
            continue
        if found.why:
            notes[f"{name}, {mechanism.call}, {size:,} pages: {found.why}"] = None
        cells.append(found.word or 1000 * (found.seconds or 0.0))
        if found.seconds is None:  # more pages would be no quicker
            cells += [found.word] * (len(sizes) - len(cells))
            break
    return (_TITLES[store], mechanism.peer, mechanism.call, *cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a page, and write the same as JSON where that is asked for."""
    options = _options(arguments)
    found = table(options.pages or (QUICK_PAGES if options.quick else PAGES), options.only or ())
    print(text([found]))
    if options.json:
        said = {"versions": _versions(), "tables": [asdict(found)]}
        options.json.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.groups", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no large groups")
    parser.add_argument("--pages", type=_numbers, metavar="N,N", help="sizes of the group")
    peers = sorted({mechanism.peer for mechanism in MECHANISMS})
    parser.add_argument("--only", action="append", choices=peers, help="this one (repeatable)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(arguments)


def _numbers(said: str) -> tuple[int, ...]:
    return tuple(int(number) for number in said.split(","))


def _versions() -> dict[str, str | None]:
    return {each.distribution: release(each.distribution, each.venv) for each in MECHANISMS}


if __name__ == "__main__":
    sys.exit(main())
