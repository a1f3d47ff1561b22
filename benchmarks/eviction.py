"""Hit ratios of the memory store's S3-FIFO on the requests of a real shop."""

from __future__ import annotations

import lzma
import sys
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Final

from pagegen.stores import s3fifo
from pagegen.stores.s3fifo import S3Fifo

from .report import Cell, Table
from .timing import Effort

TRACE: Final = Path(__file__).parent / "data" / "web07.trace.xz"
SHARES: Final = (0.01, 0.1, 0.5)
#: Percent, as those who handed the trace on say of all of it: LRU at these shares, and infinite.
SAID_LRU: Final = (39.2, 55.7, 69.2)
SAID_INFINITE: Final = 73.1
PROMOTIONS: Final = (2, 1)
#: A glance looks at so many requests only.
QUICK_REQUESTS: Final = 15_000


def trace() -> array[int]:
    """The keys, in order."""
    keys = array("i")
    keys.frombytes(lzma.decompress(TRACE.read_bytes()))
    if sys.byteorder == "big":
        keys.byteswap()
    return keys


def lru(keys: array[int], capacity: int) -> float:
    """Percent of hits of the least-recently-used cache."""
    kept: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for key in keys:
        if key in kept:
            hits += 1
            kept.move_to_end(key)
        else:
            kept[key] = None
            if len(kept) > capacity:
                kept.popitem(last=False)
    return 100 * hits / len(keys)


def s3(keys: array[int], capacity: int, promotion: int) -> float:
    """Percent of hits of pagegen's S3-FIFO, every key of size 1."""
    with promoting_after(promotion):
        kept: S3Fifo[int, bool] = S3Fifo(capacity)
        hits = 0
        for key in keys:
            if kept.get(key, 0.0):
                hits += 1
            else:
                kept.put(key, True, 1, inf)
    return 100 * hits / len(keys)


@contextmanager
def promoting_after(hits: int) -> Iterator[None]:
    """Within this block, so many hits in the small queue earn a place in the main one."""
    kept = s3fifo.PROMOTION
    s3fifo.PROMOTION = hits  # type: ignore[misc]
    try:
        yield
    finally:
        s3fifo.PROMOTION = kept  # type: ignore[misc]


def infinite(keys: array[int]) -> float:
    """Percent of hits of a cache that forgets nothing."""
    return 100 * (1 - len(set(keys)) / len(keys))


def tables(effort: Effort) -> Iterator[Table]:
    """The one table. Nothing here is timed: it is the same on every machine."""
    keys = trace()[:QUICK_REQUESTS] if effort.quick else trace()
    distinct = len(set(keys))
    rows: list[tuple[Cell, ...]] = []
    for share in SHARES:
        capacity = max(1, round(share * distinct))
        found = [lru(keys, capacity), *(s3(keys, capacity, p) for p in PROMOTIONS)]
        rows.append((f"{share:.0%}", capacity, *map(percent, found)))
    whole = percent(infinite(keys))
    rows.append(("all", distinct, *[whole] * (1 + len(PROMOTIONS))))
    columns = [f"S3-FIFO, {n} hits to stay" for n in PROMOTIONS]
    columns[PROMOTIONS.index(s3fifo.PROMOTION)] += " (pagegen)"
    yield Table(
        "eviction",
        "Eviction: hits in percent of the requests for a shop's product pages",
        f"The trace web07: {len(keys):,} requests for {distinct:,} pages, in order, all of one "
        "size. Capacity is a share of the distinct pages; the last row forgets nothing.",
        ("capacity", "pages", "LRU", *columns),
        tuple(rows),
        (_comparison(rows, effort), "Trace: cache2k-benchmark, headissue GmbH, CC BY 4.0."),
    )


def percent(value: float) -> str:
    """A percentage as tables show it."""
    return f"{value:.1f}"


def _comparison(rows: list[tuple[Cell, ...]], effort: Effort) -> str:
    """Whether the figures that are known of this trace came out again."""
    if effort.quick:
        return "Only the beginning of the trace (--quick): not comparable with other figures."
    said = [percent(value) for value in (*SAID_LRU, SAID_INFINITE)]
    found = [row[2] for row in rows]
    verdict = "reproduced" if said == found else "NOT reproduced"
    return f"Known of this trace: LRU {', '.join(said[:-1])}, infinite {said[-1]}: {verdict}."
