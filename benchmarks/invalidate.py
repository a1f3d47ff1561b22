"""What forgetting a group of pages costs, by the number of pages that are in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pagegen import PageCache, Rule
from pagegen.messages import Request, ResponseHead, StoredResponse
from pagegen.stepping import step
from pagegen.stores import MemoryStore, Reading
from pagegen.verdicts import Forward

from .report import Cell, Table
from .timing import Case, Effort, measure

GROUP: Final = "user:42/favorites"
PATH: Final = "/users/42/favorites"
SIZES: Final = (10, 100, 1_000, 10_000, 100_000)
QUICK_SIZES: Final = SIZES[:3]
SAMPLE: Final = 10

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


def filled(pages: int, store: MemoryStore) -> PageCache:
    """A cache that holds this many slices of one list, all in one group."""
    cache = PageCache([RULE], store=store)
    head = ResponseHead(200, (("Content-Type", "text/plain"),))
    for number in range(pages):
        query = f"start={number}&end={number + 20}"
        request = Request("GET", "http", "", PATH, PATH, query, {"host": "shop.example"}, {})
        verdict = step(cache.engine.look_up(request))
        assert isinstance(verdict, Forward)
        step(cache.engine.admit(verdict.ticket, head, b"slice %d" % number))
    assert cache.statistics()["store_pages_count"] == pages
    return cache


def operations(cache: PageCache, store: CountingStore) -> int:
    """Calls to the store that one invalidation makes."""
    before = store.calls
    cache.invalidate(GROUP)
    return store.calls - before


def forgotten(cache: PageCache, pages: int) -> int:
    """How many of a sample of the pages are invalidated."""
    numbers = range(0, pages, pages // SAMPLE)
    states = (cache.inspect(PATH, f"start={n}&end={n + 20}", host="shop.example") for n in numbers)
    return sum(state.state == "invalidated" for state in states)


def tables(effort: Effort) -> Iterator[Table]:
    """The table; all caches are filled before the clock runs."""
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
    yield Table(
        "invalidate",
        f'cache.invalidate("{GROUP}")',
        f"Slices of one list in one group. Time is a multiple of that with {sizes[0]} slices; a "
        "cache that deletes page by page would need as many operations as there are slices.",
        ("slices", "store operations", f"× {sizes[0]} slices", "noise", "sample forgotten"),
        tuple(rows),
        ("One operation, however many pages." if flat else "NOT FLAT: see the operations above.",),
    )
