"""Whether a hit costs more with more namespaces, larger bodies, or more pages in the store.

Each row is a multiple of the smallest of its kind, which runs beside it. The other questions of
growth have tables of their own: ``rules``, ``invalidate``, and ``memory``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from typing import Any, Final, NamedTuple

from pagegen import PageCache
from pagegen.errors import ConfigError
from pagegen.stores import MemoryStore

from . import hits
from .faces import FACES, KILO, Face, Places, ask, page_of, rule_cache
from .filling import fill
from .floors import FRONTS, TYPE, WSGI, Ask, Front
from .report import Cell, Table
from .servers import MissingError
from .timing import Action, Case, Effort, Measured, measure

NAMESPACES: Final = (1, 4, 16)
BODIES: Final = (KILO, 10 * KILO, 100 * KILO, 1000 * KILO)
PAGES: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
QUICK_PAGES: Final = PAGES[:3]
#: Pages that are asked for in turn, where there are as many: more than the planner remembers
#: targets of, so that what it costs to work these out anew is in the figure.
ASKED: Final = 10_000
QUICK_ASKED: Final = 1_000
#: Room for all pages of the largest store.
_ROOM: Final = "8GiB"
#: The order in which pages are asked for is the same each time.
_SEED: Final = 8

Row = tuple[Cell, ...]


def tables(effort: Effort) -> Iterator[Table]:
    """Three tables."""
    yield _by_kind("namespaces", "The number of a page's namespaces", _of_namespaces, effort)
    yield _by_kind("bodies", "The size of a page's body", _of_bodies, effort)
    yield _pages(effort)


# Namespaces and bodies ----------------------------------------------------------------------


def _of_namespaces(effort: Effort) -> Iterator[tuple[str, hits.Variant]]:
    for number in NAMESPACES[:: 2 if effort.quick else 1]:
        variant = hits.Variant(f"{number}", hits.namespaces(number))
        yield str(number), variant


def _of_bodies(effort: Effort) -> Iterator[tuple[str, hits.Variant]]:
    for size in BODIES[:: 3 if effort.quick else 1]:
        yield f"{size // KILO:,} kB", hits.Variant(f"{size}", hits.namespaces(1), body=size)


def variants_over_the_first(
    front: Front, variants: Sequence[tuple[str, hits.Variant]]
) -> list[Case]:
    """A hit of each kind over one of the first, each checked to be one."""
    subjects = {name: hits.case(front, variant).subject for name, variant in variants}
    first = next(iter(subjects.values()))
    return [Case(f"{front.name}, {name}", first, subject) for name, subject in subjects.items()]


def _by_kind(
    name: str,
    title: str,
    kinds: Callable[[Effort], Iterator[tuple[str, hits.Variant]]],
    effort: Effort,
) -> Table:
    variants = list(kinds(effort))
    cases = [case for front in FRONTS for case in variants_over_the_first(front, variants)]
    first = variants[0][0]
    return Table(
        f"growth-{name}",
        title,
        f"A hit in the memory store, as a multiple of one with {first}. The extra is over that.",
        (name, f"× {first}", "noise", "extra loops", "≈ µs here"),
        tuple(_row(case.name, found) for case, found in _found(cases, effort)),
        ("1 over 1 is the same thing twice: what differs from 1 there is the harness's error.",),
    )


def _found(cases: list[Case], effort: Effort) -> Iterator[tuple[Case, Measured]]:
    results = measure(cases, effort)
    for case in cases:
        yield case, results[case.name]


def _row(name: str, found: Measured) -> Row:
    noise = max(found.ratio.noise, found.extra.noise)
    return (name, found.ratio, f"{noise:.0%}", found.extra, found.extra_us)


# Pages --------------------------------------------------------------------------------------


class Full(NamedTuple):
    """A store with so many pages: a hit on one of them, and one on another each time."""

    pages: int
    one: Action
    another: Action


def filled(face: Face, places: Places, stack: ExitStack, pages: int, asked: int) -> Full:
    """A cache over a store of its own that holds so many small pages, ``asked`` of them real."""
    cache = rule_cache(_store(face, places))
    stack.callback(cache.close)
    app = WSGI.wrap(WSGI.app(b"x" * KILO, TYPE), cache)
    real = min(pages, asked)
    for number in range(real):
        WSGI.run(app, WSGI.context(ask(number)))
    page, _ = page_of(cache, 0)
    fill(cache, page, pages - real, face.program, "")
    numbers = list(range(real))
    random.Random(_SEED).shuffle(numbers)
    _prove(app, cache, pages, numbers)
    targets = map(str, cycle(numbers))
    another = WSGI.numbered_call(app, Ask("/items/"), targets)
    return Full(pages, WSGI.call(app, ask(0)), another)


def _store(face: Face, places: Places) -> MemoryStore | str:
    if face.url.startswith("memory:"):
        return MemoryStore(_ROOM)
    return face.url.replace("64MiB", _ROOM).format(places.of(""))


def _prove(app: Any, cache: PageCache, pages: int, numbers: Sequence[int]) -> None:
    """Raise ``AssertionError`` unless all pages are there, and all that are asked for are hits."""
    before = cache.statistics().get("hit", 0)
    for number in numbers:
        WSGI.run(app, WSGI.context(ask(number)))
    after = cache.statistics()
    kept, counted = after.get("store_pages_count", after.get("store_pages")), after["hit"] - before
    if (kept, counted) != (pages, len(numbers)):
        raise AssertionError(f"{pages} pages: {kept=} {counted=} of {len(numbers)}")


def _pages(effort: Effort) -> Table:
    sizes = QUICK_PAGES if effort.quick else PAGES
    asked = QUICK_ASKED if effort.quick else ASKED
    rows: list[Row] = []
    missing: list[str] = []
    for face in (face for face in FACES[:2] if face.front is WSGI):
        with ExitStack() as stack:
            try:
                full = [filled(face, Places(stack), stack, size, asked) for size in sizes]
            except (ConfigError, MissingError) as error:
                why = " ".join(str(error).split())
                rows.append((f"{face.name}: NOT MEASURED", *[None] * 5))
                missing.append(f"{face.name}: NOT MEASURED, {why}")
            else:
                rows += _full_rows(face, full, effort)
    return Table(
        "growth-pages",
        "The number of pages in the store",
        f"A hit on one page, again and again, and on another page each time (at random, "
        f"{asked:,} different ones where there are as many), through the WSGI front. Each as a "
        f"multiple of the same with {sizes[0]} pages.",
        ("store, pages", "one page ×", "noise", "another ×", "noise", "≈ µs more here"),
        tuple(rows),
        (
            *missing,
            "Another page each time is another target for the planner, which remembers some "
            "thousands of them; what is not remembered is worked out anew. Its growth is that, and "
            "memory that the processor's caches do not hold, not the store's.",
            "Pages of 1 kB. Those that nobody asks for are copies of one under other slots.",
        ),
    )


def _full_rows(face: Face, full: Sequence[Full], effort: Effort) -> Iterator[Row]:
    first = full[0]
    cases = [
        case
        for each in full
        for case in (
            Case(f"one {each.pages}", first.one, each.one),
            Case(f"another {each.pages}", first.another, each.another),
        )
    ]
    results = measure(cases, effort)
    for each in full:
        one, another = (results[f"{kind} {each.pages}"] for kind in ("one", "another"))
        name = f"{face.name}, {each.pages:,}"
        noises = (f"{found.ratio.noise:.0%}" for found in (one, another))
        yield (name, one.ratio, next(noises), another.ratio, next(noises), another.extra_us)
