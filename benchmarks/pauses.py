"""How long misses wait for the garbage collector: run by ``memory``, in a process of its own.

``python -m benchmarks.pauses PAGES WHETHER`` prints one JSON object. WHETHER is ``automatic`` (the
collector as an application has it) or ``off``. The store grows from nothing to so many pages while
each miss is timed by itself, because that is when full collections happen.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles
from time import perf_counter_ns
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.stores import MemoryStore

from .floors import WSGI, Ask
from .weigh import FIELDS, HUGE

#: Bytes of a page's body: small, as the collector does not look at bodies.
BODY: Final = 100
#: Misses before the clock runs.
WARM: Final = 100
#: The oldest generation: its collections are the full ones.
_FULL: Final = 2


@contextmanager
def watched() -> Iterator[list[int]]:
    """Nanoseconds of each full collection that happens within this block."""
    found: list[int] = []
    started = 0

    def watch(phase: str, info: dict[str, int]) -> None:
        nonlocal started
        if phase == "start":
            started = perf_counter_ns()
        elif info["generation"] == _FULL:
            found.append(perf_counter_ns() - started)

    gc.callbacks.append(watch)
    try:
        yield found
    finally:
        gc.callbacks.remove(watch)


def misses(pages: int) -> list[int]:
    """Nanoseconds of each miss, one for each page that a store of its own comes to hold."""

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", list(FIELDS))
        return [b"x" * BODY]

    rule = Rule(path="/items/{id:int}", share="public", ttl="1h", namespaces=["item:{id}"])
    cache = PageCache([rule], store=MemoryStore(HUGE))
    wrapped = WSGI.wrap(app, cache)
    taken = []
    for number in range(pages):
        environ = WSGI.context(Ask(f"/items/{number}"))
        start = perf_counter_ns()
        WSGI.run(wrapped, environ)
        taken.append(perf_counter_ns() - start)
    kept = cache.statistics()["store_pages_count"]
    assert kept == pages, f"{kept} of {pages} pages were stored"
    return taken


def main(pages: int, whether: str) -> None:
    """Print percentiles of the misses in µs, and the full collections in ms."""
    misses(WARM)
    gc.collect()
    if whether == "off":
        gc.disable()
    with watched() as full:
        taken = [nanoseconds / 1000 for nanoseconds in misses(pages)]
    cuts = quantiles(taken, n=1000, method="inclusive")
    print(
        json.dumps(
            {
                "p50": cuts[499],
                "p99": cuts[989],
                "p999": cuts[998],
                "longest": max(taken),
                "full": [nanoseconds / 1e6 for nanoseconds in full],
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
