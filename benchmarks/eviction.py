"""Hit ratios of the S3-FIFO in memory and in LMDB on the requests of a real shop."""

from __future__ import annotations

import lzma
import sys
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pagegen.stores import s3fifo
from pagegen.stores.lmdb.eviction import Shelf
from pagegen.stores.lmdb.generation import Generation, make
from pagegen.stores.lmdb.place import FORMAT, About
from pagegen.stores.s3fifo import S3Fifo

from .report import Cell, Table
from .timing import Effort

TRACE: Final = Path(__file__).parent / "data" / "web07.trace.xz"
SHARES: Final = (0.01, 0.1, 0.5)
#: Percent, as those who handed the trace on say of all of it: LRU at these shares, and infinite.
SAID_LRU: Final = (39.2, 55.7, 69.2)
SAID_INFINITE: Final = 73.1
PROMOTIONS: Final = (2, 1)
#: Bytes of a page in LMDB: with what stands around it, one page of the map.
RECORD: Final = bytes(3_000)
#: What the queues and the index take beside it, measured; the table says what came of it.
OVERHEAD: Final = 1.135
MAP: Final = 128 * 2**20
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


def in_lmdb(keys: array[int], capacity: int) -> tuple[float, int]:
    """Percent of hits of pagegen's S3-FIFO in LMDB, and how many pages it held in the end."""
    about = About(FORMAT, "benchmark", "0" * 16, MAP)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        make(place, about.generation, MAP)
        (place / "lock").touch()
        about.write(place)
        opened = Generation(place, about, 0.0)
        budget = int((capacity * OVERHEAD + 4) * opened.unit)
        trees = opened.pages, opened.index, opened.queue
        shelf = Shelf(*trees, opened.marks, budget, opened.unit)
        hits = sum(_ask(opened, shelf, b"pg1:benchmarking:p:%027d" % key) for key in keys)
        with opened.env.begin() as txn:
            kept, _ = shelf.count(txn)
        opened.env.close()
    return 100 * hits / len(keys), kept


def _ask(opened: Generation, shelf: Shelf, name: bytes) -> bool:
    """Whether the page is there; it is after this."""
    with opened.env.begin(buffers=True) as reader:
        if reader.get(name, None, opened.pages) is not None:
            shelf.hit(name)
            return True
    with opened.env.begin(write=True) as writer:
        shelf.put(writer, name, RECORD, inf, 0.0)
    return False


def infinite(keys: array[int]) -> float:
    """Percent of hits of a cache that forgets nothing."""
    return 100 * (1 - len(set(keys)) / len(keys))


def tables(effort: Effort) -> Iterator[Table]:
    """The one table. Nothing here is timed: it is the same on every machine."""
    keys = trace()[:QUICK_REQUESTS] if effort.quick else trace()
    distinct = len(set(keys))
    rows: list[tuple[Cell, ...]] = []
    held: list[int] = []
    for share in SHARES:
        capacity = max(1, round(share * distinct))
        found = [lru(keys, capacity), *(s3(keys, capacity, p) for p in PROMOTIONS)]
        shared, kept = in_lmdb(keys, capacity)
        held.append(kept)
        rows.append((f"{share:.0%}", capacity, *map(percent, (*found, shared))))
    whole = percent(infinite(keys))
    rows.append(("all", distinct, *[whole] * (2 + len(PROMOTIONS))))
    columns = [f"S3-FIFO, {n} hits to stay" for n in PROMOTIONS]
    columns[PROMOTIONS.index(s3fifo.PROMOTION)] += " (pagegen)"
    yield Table(
        "eviction",
        "Eviction: hits in percent of the requests for a shop's product pages",
        f"The trace web07: {len(keys):,} requests for {distinct:,} pages, in order, all of one "
        "size. Capacity is a share of the distinct pages; the last row forgets nothing.",
        ("capacity", "pages", "LRU", *columns, "S3-FIFO in LMDB"),
        tuple(rows),
        (
            _comparison(rows, effort),
            f"LMDB counts map pages, not pages: it held {', '.join(f'{n:,}' for n in held)} of "
            "them.",
            "Trace: cache2k-benchmark, headissue GmbH, CC BY 4.0.",
        ),
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
