"""What a hit costs on each store, against a bare get of the same keys with the same client; where
its time goes; and what other requests cost there (:mod:`benchmarks.verbs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Final, NamedTuple

from pagegen import PageCache
from pagegen.messages import StoredResponse
from pagegen.stores.codec import Codec

from . import verbs
from .bare import Ground
from .faces import BARE, HIT, READ, RULE, Open, Places, all_opened, call_of, group, page_of, split
from .floors import ASGI, FRONTS, WSGI, Front
from .report import COST_COLUMNS, Cell, Table, costs
from .timing import Case, Effort, Spread, measure, spread
from .turns import CROWD, Group, Turns, noise, take_turns

SIZES: Final = (1, 10, 100)
QUICK_SIZES: Final = (10,)
#: Rounds with one request at a time and with many, at a glance and in full.
_GLANCE, _FULL = (20, 8), (80, 25)
#: Share of requests that may be no hits, because the store was late, before a figure says nothing.
MAX_STRAYS: Final = 0.01

_COLUMNS: Final = (
    *("store, page", "bare ≈ {}", "hit ≈ {}", "× bare"),
    *("tokens ≈ {}", "near ≈ {}", "× tokens", "noise"),
)


def tables(effort: Effort) -> Iterator[Table]:
    """For both fronts one hit at a time, its parts, and other requests; many hits at a time under
    ASGI; and the codec alone.
    """
    sizes = QUICK_SIZES if effort.quick else SIZES
    for front in reversed(FRONTS):
        with ExitStack() as stack:
            ground, places = Ground(stack), Places(stack)
            found, missing = all_opened(ground, places, front, sizes)
            yield _alone(effort, front, found, missing, sizes)
            yield _split(effort, front, found)
            yield verbs.table(front, found, _GLANCE[0] if effort.quick else _FULL[0])
            if front is ASGI:
                yield _crowded(effort, found, missing, sizes)
    yield _codec(effort, sizes)


class Row(NamedTuple):
    """One line of a table: a page on a face, and what it took."""

    found: Open
    group: Group
    turns: Turns


def _measured(found: list[Open], sizes: tuple[int, ...], rounds: int, *, many: bool) -> list[Row]:
    rows = [(each, group(each, size, many=many)) for each in found for size in sizes]
    results = take_turns([group for _, group in rows], rounds)
    return [Row(each, group, results[group.name]) for each, group in rows]


def _alone(
    effort: Effort,
    front: Front,
    found: list[Open],
    missing: Mapping[str, str],
    sizes: tuple[int, ...],
) -> Table:
    rounds, _ = _GLANCE if effort.quick else _FULL
    measured = _measured(found, sizes, rounds, many=False)
    rows = [(row.group.name, *_cells(row, row.turns.us)) for row in measured]
    return Table(
        f"stores-{front.name.lower()}",
        f"{front.name}: a hit on each store, one request at a time",
        "A page with three namespaces through the whole middleware, beside a bare get: the same "
        "four keys, asked for with the same client and nothing around it. With a near store the "
        "page is in the process, and the bare get asks for the three tokens alone. Noise is of "
        "the ratios; the other figures are medians, for orientation.",
        tuple(column.format("µs") for column in _COLUMNS),
        (*rows, *_absent(missing)),
        (
            *_reasons(missing),
            *_strays(found),
            f"Medians over {rounds} rounds here.",
            *_FLOORS[front.name],
        ),
    )


def _crowded(
    effort: Effort, found: list[Open], missing: Mapping[str, str], sizes: tuple[int, ...]
) -> Table:
    _, rounds = _GLANCE if effort.quick else _FULL
    measured = _measured(found, sizes, rounds, many=True)
    rows = [(row.group.name, *_cells(row, row.turns.per_second)) for row in measured]
    return Table(
        "stores-asgi-many",
        f"ASGI: hits a second, {CROWD} requests at a time",
        "The same by as many tasks on one event loop. The ratio is one of times, as above: 2 says "
        "that the bare get does twice as many.",
        tuple(column.format("/s") for column in _COLUMNS),
        (*rows, *_absent(missing)),
        (*_reasons(missing), *_strays(found), f"Medians over {rounds} rounds here."),
    )


def _split(effort: Effort, front: Front, found: list[Open]) -> Table:
    size, rounds = QUICK_SIZES[0], (_GLANCE if effort.quick else _FULL)[0]
    groups = [(each, group) for each in found for group in split(each, size)]
    results = take_turns([group for _, group in groups], rounds)
    rows = [(group.name, *_parts(results[group.name])) for _, group in groups]
    return Table(
        f"stores-{front.name.lower()}-parts",
        f"{front.name}: where a hit's time goes on each store",
        f"A hit of {size} kB with three namespaces: the bare get of its keys, what the store's "
        "read takes besides (names, codec, deadline, breaker, the way off the event loop), and "
        "all that is not the store. Differences of batches of one round.",
        ("store", "hit ≈ µs", "bare get ≈ µs", "read besides ≈ µs", "rest ≈ µs", "rest, share"),
        tuple(rows),
        (
            "In memory the bare get is a dictionary's. With a near store it asks for the tokens "
            "alone, and the page is in the process.",
            "A hit need not call read where the store has the answer at hand: then the rest is "
            "less than what a hit takes besides a read, and may be below nothing.",
        ),
    )


def _parts(turns: Turns) -> tuple[Cell, ...]:
    hit = turns.us(HIT)
    if hit.noisy:
        return (hit, None, None, None, "too noisy")
    besides, rest = (_difference(turns, *pair) for pair in ((READ, BARE), (HIT, READ)))
    share = "too noisy" if rest.noisy else f"{rest.median / hit.median:.0%}"
    return (hit, turns.us(BARE), besides, rest, share)


def _difference(turns: Turns, whole: str, part: str) -> Spread:
    """Microseconds of one less the other, round by round; noise is judged against the hit."""
    taken = turns.taken
    found = [(a - b) / 1000 for a, b in zip(taken[whole], taken[part], strict=True)]
    return spread(found, turns.us(HIT).median)


def _cells(row: Row, figure: Callable[[str], Spread]) -> tuple[Cell, ...]:
    cells: list[Cell] = []
    for cache, (subject, floor) in zip(row.found.caches(), row.group.pairs, strict=True):
        ratio = row.turns.ratio(subject, floor)
        # For orientation; whatever else this machine does moves both sides of a ratio alike.
        ours, theirs = (f if ratio.noisy else f.median for f in (figure(subject), figure(floor)))
        lost = row.found.strayed(cache) > MAX_STRAYS
        cells += [theirs, *(["no hits"] * 2 if lost else [ours, ratio])]
    return (*cells, *[None] * (6 - len(cells)), f"{noise(row.group, row.turns):.0%}")


def _absent(missing: Mapping[str, str]) -> list[tuple[Cell, ...]]:
    return [(f"{name}: NOT MEASURED", *[None] * (len(_COLUMNS) - 1)) for name in missing]


def _reasons(missing: Mapping[str, str]) -> list[str]:
    return [f"{name}: NOT MEASURED, {why}" for name, why in missing.items()]


def _strays(found: list[Open]) -> Iterator[str]:
    for each in found:
        for cache in each.caches():
            if share := each.strayed(cache):
                near = ", near" if cache is each.near else ""
                yield (
                    f"{each.face.name}{near}: {share:.2%} of the requests were no hits: the "
                    "store was late, and the application answered."
                )


_FLOORS: Final = {
    "WSGI": (
        "Bare: a dictionary; an LMDB read transaction; PooledClient.get_many of pymemcache and "
        "mget of redis-py, as they come: without timeouts, and with pymemcache's small buffer.",
    ),
    "ASGI": (
        "Bare: a dictionary and an LMDB read transaction in a coroutine; for the native client a "
        "pipelined connection that checks nothing; get_many of pymemcache, one thread hop each; "
        "mget of redis.asyncio.",
    ),
}


def _codec(effort: Effort, sizes: tuple[int, ...]) -> Table:
    cases: list[Case] = []
    cache = PageCache([RULE])
    for size in sizes:
        call = call_of(WSGI, cache, size)
        call()
        page, _ = page_of(cache, size)
        for name, codec in (("CRC-32", Codec()), ("site key", Codec("a site key"))):
            cases += _codec_cases(f"{name}, {size} kB", codec, page)
    results = measure(cases, effort)
    return Table(
        "stores-codec",
        "The codec alone",
        "Pages to bytes and back. The floor is one copy of the same bytes.",
        ("step", *COST_COLUMNS),
        tuple((name, *costs(result)) for name, result in results.items()),
        ("CRC-32 finds damage; a site key (BLAKE2b) also finds who planted a page.",),
    )


def _codec_cases(name: str, codec: Codec, page: StoredResponse) -> Iterator[Case]:
    stored = codec.encode(page)
    assert codec.decode(stored) is not None
    view = memoryview(stored)
    yield Case(f"decode, {name}", lambda: bytes(view), lambda: codec.decode(stored))
    yield Case(f"encode, {name}", lambda: bytes(view), lambda: codec.encode(page))
