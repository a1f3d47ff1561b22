"""What each kind of request costs on each store: hit, 304, miss, bypass; and ``invalidate``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from pagegen import PageCache

from .bare import Ground
from .faces import KILO, STEM, Open, answer, ask, batch_ns_of, rule_cache, timed_call
from .floors import TYPE, WSGI, Ask, Front, numbers, receive, send
from .report import Cell, Table
from .timing import Spread, spread
from .turns import Group, Turns, take_turns

#: kB of the page.
SIZE: Final = 10
FLOOR: Final = "floor"
INVALIDATE: Final = "invalidate"
#: A namespace of pages that are not asked for here.
NOBODY: Final = "item:5"


class Kind(NamedTuple):
    """A kind of request, and what the cache must count and answer. ``fresh``: it asks for another
    page each time.
    """

    name: str
    ask: Ask
    counts: str = "hit"
    status: int = 200
    kilobytes: int = SIZE
    fresh: bool = False


KINDS: Final = (
    Kind("hit", ask(SIZE)),
    Kind("304", ask(SIZE).with_header("if-none-match", "*"), status=304, kilobytes=0),
    Kind("miss", Ask(STEM), "admitted", fresh=True),
    Kind("bypass", Ask("/other/7"), "bypass:no-rule"),
)


class Subject(NamedTuple):
    """A store with or without near: a cache for its hits, and one for all else."""

    name: str
    found: Open
    hits: PageCache
    others: PageCache

    def cache(self, kind: Kind) -> PageCache:
        """The cache that a kind of request is for. Misses would else make hits of it stray."""
        return self.hits if kind.counts == "hit" else self.others


def subjects(found: Open) -> Iterator[Subject]:
    """Both, each proven to do what is measured."""
    for cache in found.caches():
        settings = cache.configuration.settings
        near = {"near": settings.near} if cache is found.near else {}
        others = rule_cache(settings.store, **near)
        _close_later(found.ground, others)
        name = f"{found.face.name}{', near' if near else ''}"
        subject = Subject(name, found, cache, others)
        for kind in KINDS:
            prove(subject, kind)
        yield subject


def _close_later(ground: Ground, cache: PageCache) -> None:
    async def close() -> None:
        cache.close()

    ground.stack.callback(lambda: ground.runner.run(close()))


def prove(subject: Subject, kind: Kind) -> None:
    """Raise ``AssertionError`` unless a request of this kind does what it says."""
    front, cache = subject.found.face.front, subject.cache(kind)
    app = front.wrap(front.app(b"x" * (SIZE * KILO), TYPE), cache)
    wanted = Ask(f"{STEM}{next(_numbers)}") if kind.fresh else kind.ask
    before = cache.statistics().get(kind.counts, 0)
    status, length = answer(subject.found.ground, front, app, wanted)
    counted = cache.statistics().get(kind.counts, 0) - before
    if (counted, status, length) != (1, kind.status, kind.kilobytes * KILO):
        raise AssertionError(f"{subject.name}, {kind.name}: {counted=} {status=} {length=}")


#: Never asked for twice, in whatever store.
_numbers: Final = numbers()


def call(front: Front, app: Any, kind: Kind) -> Callable[[], Any]:
    """A request of this kind; under ASGI what it gives has to be awaited."""
    if front is WSGI:
        if kind.fresh:
            return front.numbered_call(app, kind.ask, _numbers)
        return front.call(app, kind.ask)
    scope = front.context(kind.ask)
    if not kind.fresh:
        return lambda: app(scope, receive, send)

    def fresh() -> Any:
        front.renumber(scope, f"{STEM}{next(_numbers)}")
        return app(scope, receive, send)

    return fresh


def group(subject: Subject) -> Group:
    """What is compared on one store: every kind with the application alone."""
    found, front = subject.found, subject.found.face.front
    floor = front.app(b"x" * (SIZE * KILO), TYPE)
    calls = {FLOOR: call(front, floor, KINDS[0])}
    calls |= {k.name: call(front, front.wrap(floor, subject.cache(k)), k) for k in KINDS}
    others = subject.others
    forget: Callable[[], Any] = others.invalidate if front is WSGI else others.ainvalidate
    calls[INVALIDATE] = lambda: forget(NOBODY)
    timed = {name: timed_call(found, each) for name, each in calls.items()}
    pairs = tuple((kind.name, FLOOR) for kind in KINDS)
    return Group(subject.name, timed, pairs, batch_ns_of(found.face))


def table(front: Front, found: list[Open], rounds: int) -> Table:
    """One row for each store, with and without near."""
    both = [subject for each in found for subject in subjects(each)]
    results = take_turns([group(subject) for subject in both], rounds)
    return Table(
        f"stores-{front.name.lower()}-verbs",
        f"{front.name}: each kind of request on each store",
        f"What pagegen adds to a request for a page of {SIZE} kB with three namespaces, in µs of "
        "this machine over the application alone beside it; and what invalidate takes.",
        ("store", *(f"{kind.name} +µs" for kind in KINDS), f"{INVALIDATE} µs"),
        tuple((subject.name, *_cells(results[subject.name])) for subject in both),
        (
            "A miss is of a page that never was: its three tokens are minted, and it is stored. "
            "A bypass has no rule and asks no store.",
            "A store whose room is full evicts for each miss.",
        ),
    )


def _cells(turns: Turns) -> tuple[Cell, ...]:
    return (*(_extra(turns, kind.name) for kind in KINDS), turns.us(INVALIDATE))


def _extra(turns: Turns, name: str) -> Spread:
    """Microseconds over the floor, round by round; noise is judged against the whole."""
    taken = turns.taken
    found = [(a - b) / 1000 for a, b in zip(taken[name], taken[FLOOR], strict=True)]
    return spread(found, turns.us(name).median)
