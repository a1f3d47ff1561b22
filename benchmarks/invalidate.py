"""What forgetting a group of pages costs, by the number of pages that are in it, on each store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

from pagegen import PageCache, Rule
from pagegen.errors import ConfigError
from pagegen.messages import GivenFields, Request, ResponseHead, StoredResponse
from pagegen.stepping import step
from pagegen.stores import MemoryStore, Reading
from pagegen.verdicts import Forward, Hit

from .faces import FACES, Face, Places
from .filling import fill
from .floors import WSGI
from .report import Cell, Table
from .servers import MissingError
from .timing import Case, Effort, batch, measure
from .turns import Group, take_turns

Row = tuple[Cell, ...]

USER: Final = 42
GROUP: Final = f"user:{USER}/favorites"
SIZES: Final = (10, 100, 1_000, 10_000, 100_000)
QUICK_SIZES: Final = SIZES[:3]
#: Pages of a group that are asked for before and after.
SAMPLE: Final = 10
#: The same on every store, where groups of all sizes stand beside each other.
STORE_SIZES: Final = (*SIZES, 1_000_000)
_GLANCE, _FULL = 20, 60
#: Nanoseconds of a batch: an invalidation on a server takes about a tenth of it.
_BATCH_NS: Final = 1_000_000
#: Room for all pages: what the stores themselves take is a tenth of it.
_ROOM: Final = "8GiB"

RULE: Final = Rule(
    path="/users/{user:int}/favorites",
    share="public",
    ttl="7d",
    namespaces=["user:{user}/favorites"],
    query={"start": {"type": "int", "default": 0}, "end": {"type": "int", "default": 20}},
)


class CountingStore(MemoryStore):
    """A memory store that counts the calls of its verbs."""

    calls: int = 0

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        """See :meth:`Store.read`."""
        self.calls += 1
        return await super().read(slot, namespaces)

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        """See :meth:`Store.add_tokens`."""
        self.calls += 1
        return await super().add_tokens(tokens, ttl)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        """See :meth:`Store.replace_tokens`."""
        self.calls += 1
        await super().replace_tokens(tokens, ttl)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        """See :meth:`Store.write_page`."""
        self.calls += 1
        return await super().write_page(slot, page, ttl)

    async def delete_page(self, slot: bytes) -> None:
        """See :meth:`Store.delete_page`."""
        self.calls += 1
        await super().delete_page(slot)


def path_of(user: int) -> str:
    """Where a user's slices are."""
    return f"/users/{user}/favorites"


def admit(cache: PageCache, numbers: Iterable[int], user: int = USER) -> None:
    """Admit these slices of one user's list, all in one group."""
    head = ResponseHead(200, (("Content-Type", "text/plain"),))
    path, fields = path_of(user), GivenFields({"host": "shop.example"})
    for number in numbers:
        query = f"start={number}&end={number + 20}"
        verdict = step(
            cache.engine.look_up(Request("GET", "http", "", path, path, query, fields, {}))
        )
        assert isinstance(verdict, Forward)
        step(cache.engine.admit(verdict.ticket, head, b"slice %d" % number))


def filled(pages: int, store: MemoryStore) -> PageCache:
    """A cache that holds this many slices of one list, all in one group."""
    cache = PageCache([RULE], store=store)
    admit(cache, range(pages))
    assert cache.statistics()["store_pages_count"] == pages
    return cache


def operations(cache: PageCache, store: CountingStore) -> int:
    """Calls to the store that one invalidation makes."""
    before = store.calls
    cache.invalidate(GROUP)
    return store.calls - before


def forgotten(cache: PageCache, pages: int, user: int = USER) -> int:
    """How many of a sample of the pages are invalidated."""
    return states(cache, range(0, pages, pages // SAMPLE), user).count("invalidated")


def states(cache: PageCache, numbers: Iterable[int], user: int = USER) -> list[str]:
    """What the cache would make of these slices."""
    path = path_of(user)
    return [
        str(cache.inspect(path, f"start={n}&end={n + 20}", host="shop.example").state)
        for n in numbers
    ]


def tables(effort: Effort) -> Iterator[Table]:
    """Two tables: operations and time in memory, and time on each store."""
    yield _operations(effort)
    yield _stores(effort)


def _operations(effort: Effort) -> Table:
    sizes = QUICK_SIZES if effort.quick else SIZES
    stores = {size: CountingStore("2GiB") for size in sizes}
    caches = {size: filled(size, store) for size, store in stores.items()}
    counted = {size: operations(caches[size], store) for size, store in stores.items()}
    gone = {size: forgotten(cache, size) for size, cache in caches.items()}
    small = caches[sizes[0]]
    cases = [
        Case(str(n), lambda: small.invalidate(GROUP), lambda cache=cache: cache.invalidate(GROUP))  # type: ignore[misc]
        for n, cache in caches.items()
    ]
    results = measure(cases, effort)
    rows: list[tuple[Cell, ...]] = []
    for size in sizes:
        ratio = results[str(size)].ratio
        sample = f"{gone[size]} of {SAMPLE}"
        rows.append((f"{size:,}", counted[size], ratio, f"{ratio.noise:.0%}", sample))
    flat = {counted[size] for size in sizes} == {1}
    return Table(
        "invalidate",
        f'cache.invalidate("{GROUP}")',
        f"Slices of one list in one group. Time is a multiple of that with {sizes[0]} slices; a "
        "cache that deletes page by page would need as many operations as there are slices.",
        ("slices", "store operations", f"× {sizes[0]} slices", "noise", "sample forgotten"),
        tuple(rows),
        ("One operation, however many pages." if flat else "NOT FLAT: see the operations above.",),
    )


def grouped(face: Face, places: Places, stack: ExitStack, sizes: Sequence[int]) -> PageCache:
    """A cache over a store with a group of each size: ``user:SIZE/favorites``. Proven: a sample of
    each is fresh. Raises ``MissingError`` and ``ConfigError`` for what is not here.
    """
    place = places.of(face.program)
    if face.url.startswith("memory:"):
        cache = PageCache([RULE], store=MemoryStore(_ROOM))
    else:
        url = face.url.replace("64MiB", _ROOM).format(place)
        cache = PageCache([RULE], store=url, max_delay="1s")
    stack.callback(cache.close)
    for size in sizes:
        admit(cache, range(SAMPLE), user=size)
        fill(cache, _slice(cache, size), size - SAMPLE, face.program, place)
    for size in sizes:
        found = states(cache, range(SAMPLE), user=size)
        if found != ["fresh"] * SAMPLE:
            raise AssertionError(f"{face.name}, {size} pages: the sample is {found}")
    return cache


def _slice(cache: PageCache, user: int) -> StoredResponse:
    path, fields = path_of(user), GivenFields({"host": "shop.example"})
    request = Request("GET", "http", "", path, path, "start=0&end=20", fields, {})
    verdict = step(cache.engine.look_up(request))
    assert isinstance(verdict, Hit)
    return verdict.page


def _stores(effort: Effort) -> Table:
    sizes = QUICK_SIZES if effort.quick else STORE_SIZES
    rows: list[tuple[Cell, ...]] = []
    missing: list[str] = []
    for face in (face for face in FACES if face.front is WSGI):
        with ExitStack() as stack:
            try:
                places = Places(stack, roomy=True)
                cache = grouped(face, places, stack, sizes)
            except (ConfigError, MissingError) as error:
                why = " ".join(str(error).split())
                rows.append((f"{face.name}: NOT MEASURED", *[None] * 4))
                missing.append(f"{face.name}: NOT MEASURED, {why}")
            else:
                rows += _rows(face, cache, sizes, effort)
    return Table(
        "invalidate-stores",
        "cache.invalidate on each store",
        f"Groups of so many pages in one store. Time is a multiple of that of the group with "
        f"{sizes[0]} pages beside it, batch by batch. Of each group {SAMPLE} pages were fresh "
        "before.",
        ("store, pages of the group", f"× {sizes[0]} pages", "noise", "≈ µs here", "forgotten"),
        tuple(rows),
        (
            *missing,
            f"1 over 1 is the same thing twice: what differs from 1 in the rows of {sizes[0]} is "
            "the harness's error.",
            "Pages that nobody asks for are copies of one that somebody does, under other slots; "
            "a store sees no difference.",
        ),
    )


def _rows(face: Face, cache: PageCache, sizes: Sequence[int], effort: Effort) -> list[Row]:
    names = {size: f"user:{size}/favorites" for size in sizes}
    timed = {str(n): partial(batch, partial(cache.invalidate, name)) for n, name in names.items()}
    floor = "floor"
    timed[floor] = timed[str(sizes[0])]
    groups = [Group(face.name, timed, tuple((str(n), floor) for n in sizes), _BATCH_NS)]
    turns = take_turns(groups, _GLANCE if effort.quick else _FULL)[face.name]
    rows: list[Row] = []
    for size in sizes:
        ratio, taken = turns.ratio(str(size), floor), turns.us(str(size))
        gone = states(cache, range(SAMPLE), user=size).count("invalidated")
        rows.append(
            (
                f"{face.name}, {size:,}",
                ratio,
                f"{ratio.noise:.0%}",
                taken if ratio.noisy else taken.median,
                f"{gone} of {SAMPLE}",
            )
        )
    return rows
