"""What pages, tokens and remembered targets weigh: run by ``memory``, in a process of its own.

``python -m benchmarks.weigh WHAT [ARGUMENT ...]`` prints one JSON object. A process of its own,
because neither resident memory nor a full garbage collection is clean in one that did other things.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.asgi.requests import read_request
from pagegen.law.tokens import HEAD_BYTES
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.stores.s3fifo import S3Fifo

from .floors import ASGI, FRONTS, Ask, Front, Pairs
from .invalidate import filled
from .phases import forgetful
from .timing import in_loops

#: What an application with the usual security headers says of its page; pagegen adds three.
FIELDS: Final[Pairs] = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Language", "en"),
    ("Last-Modified", "Tue, 01 Jul 2025 08:00:00 GMT"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; object-src 'none'"),
)
TEMPLATES: Final = ("item:{id}", "shelf:{id}/items", "owner:{id}/favorites")
HUGE: Final = "8GiB"
#: A store whose tokens are soon too many for it.
FULL_STORE: Final = "8MiB"
#: More targets than are remembered.
ENOUGH_TARGETS: Final = 8_192
#: Full collections timed with and without pages.
COLLECTIONS: Final = 9


def resident() -> int:
    """Bytes of this process in memory; Linux only."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def traced() -> int:
    """Bytes that Python's allocators have given out."""
    return tracemalloc.get_traced_memory()[0]


def grown(work: Callable[[], object], gauge: Callable[[], int]) -> int:
    """By how many bytes the work makes this process grow for good."""
    if gauge is traced:
        tracemalloc.start()
    gc.collect()
    before = gauge()
    work()
    gc.collect()
    return gauge() - before


def fill(front: Front, store: MemoryStore, body: int, namespaces: int, pages: int) -> PageCache:
    """Admit pages through a front. Each has a body of its own, as every application's have."""

    def app(*arguments: Any) -> Any:
        return front.app(b"x" * body, FIELDS)(*arguments)

    names = TEMPLATES[:namespaces]
    rule = Rule(path="/items/{id:int}", share="public", ttl="1h", namespaces=names)
    cache = PageCache([rule], store=store)
    wrapped = front.wrap(app, cache)
    with forgetful():  # the planner's memory is weighed by itself
        for number in range(pages):
            front.run(wrapped, front.context(Ask(f"/items/{1_000_000 + number}")))
    assert cache.statistics()["store_pages_count"] == pages
    return cache


def pages(front: str, body: int, namespaces: int, number: int) -> dict[str, float]:
    """Bytes of one page, as counted and as Python gave them out; tokens left out of both."""
    chosen = _front(front)
    store = MemoryStore(HUGE)

    def work() -> None:
        fill(chosen, store, body, namespaces, number)
        store._tokens = S3Fifo(1)

    taken = grown(work, traced)
    return {"counted": store.statistics()["pages_bytes"] / number, "taken": taken / number}


def whole(front: str, body: int, namespaces: int, number: int) -> dict[str, float]:
    """Bytes of one page and its tokens, as counted and as the process grew by them."""
    chosen = _front(front)
    store = MemoryStore(HUGE)
    taken = grown(lambda: fill(chosen, store, body, namespaces, number), resident)
    said = store.statistics()
    counted = said["pages_bytes"] + said["tokens_bytes"]
    return {"counted": counted / number, "taken": taken / number}


def _front(name: str) -> Front:
    front = next(known for known in FRONTS if known.name == name)
    fill(front, MemoryStore(HUGE), 1000, 1, 50)  # makes whatever is made only once
    return front


def tokens(number: int) -> dict[str, float]:
    """Bytes of one token with its namespace, as counted and as it is."""
    store = MemoryStore(HUGE)

    def work() -> None:
        for n in range(number):
            step(store.add_tokens({f"item:{n:07}": os.urandom(HEAD_BYTES)}, 60.0))

    taken = grown(work, traced)
    return {"counted": store.statistics()["tokens_bytes"] / number, "taken": taken / number}


def full(number: int) -> dict[str, float]:
    """Bytes of all tokens of a store that had to evict others, as counted and as it is."""
    store = MemoryStore(FULL_STORE)

    def work() -> None:
        for n in range(number):
            step(store.add_tokens({f"item:{n:07}": os.urandom(HEAD_BYTES)}, 60.0))

    taken = grown(work, traced)
    assert store.statistics()["tokens_evicted"] > store.statistics()["tokens_count"]
    return {"counted": store.statistics()["tokens_bytes"], "taken": taken}


def targets(length: int) -> dict[str, float]:
    """Bytes of the planner's memory when it is full of targets of this many characters."""
    rule = Rule(path="/items/{id}", share="public", ttl="1h", namespaces=TEMPLATES)
    planner = PageCache([rule]).engine._state.planner

    def work() -> None:
        for n in range(ENOUGH_TARGETS):
            # Path and raw path count both, and so do method, host and scheme: 20 characters here.
            ask = Ask(f"/items/{n:06}".ljust((length - 20) // 2, "x"))
            planner.plan(read_request(ASGI.context(ask)))

    taken = grown(work, traced)
    assert planner._memo, "no target of this length is remembered"
    return {"entries": len(planner._memo), "taken": taken}


def collection(number: int) -> dict[str, Any]:
    """Reference loops that a full garbage collection takes without pages and with them."""
    gc.collect()
    before, objects = in_loops(gc.collect, COLLECTIONS), len(gc.get_objects())
    with forgetful():
        cache = filled(number, MemoryStore(HUGE))
    for _ in range(3):  # it stops tracking tuples of text only as it meets them
        gc.collect()
    after, tracked = in_loops(gc.collect, COLLECTIONS), len(gc.get_objects()) - objects
    cache.close()
    return {"before": list(astuple(before)), "after": list(astuple(after)), "tracked": tracked}


MODES: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "pages": pages,
    "whole": whole,
    "tokens": tokens,
    "full": full,
    "targets": targets,
    "collection": collection,
}


def main(what: str, *arguments: str) -> None:
    """Print what one of the modes finds."""
    values = [int(text) if text.isdigit() else text for text in arguments]
    print(json.dumps(MODES[what](*values)))


if __name__ == "__main__":
    main(*sys.argv[1:])
