"""How deep the worlds are explored: a fixed bound in ``make test``, more with more time.

``PAGEGEN_EXPLORER_SECONDS=600`` gives all worlds together so many seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from time import monotonic

from pagegen.testing.explorer import Report, World, explore
from tests.explorer import strict, troubles, worlds

#: All worlds, each with the preemptions up to which ``make test`` explores it completely.
BOUNDS = {
    worlds.plain: 2, worlds.crowd: 2, worlds.machines: 2, worlds.two_writers: 1,
    worlds.two_namespaces: 0, worlds.two_replaced: 0, worlds.late_namespaces: 1,
    worlds.late_flight: 2, worlds.variants: 2, worlds.validation: 2, worlds.refreshing: 1,
    worlds.near: 2, troubles.eviction: 0, troubles.expiry: 1, troubles.clocks: 1,
    troubles.restart: 1, troubles.failover: 0, troubles.crash: 1, troubles.partition: 0,
    worlds.posting: 2, worlds.unsafe: 2, worlds.hit_for_miss: 2, worlds.failing: 2,
    worlds.hasty: 2, worlds.leases: 2, worlds.leases_and_writer: 2, troubles.lease_of_the_dead: 2,
    worlds.leases_refused: 2, worlds.leases_refreshing: 0, worlds.early: 0, worlds.impatient: 2,
    troubles.partition_late: 0, troubles.turns: 1, troubles.turns_and_return: 1,
    troubles.paid_behind: 0, worlds.replica: 1, worlds.replica_by_flags: 1,
    worlds.replica_by_stamps: 0, worlds.replica_late: 1, worlds.soft: 1,
    strict.strict: 2, strict.strict_flight: 2, strict.strict_writers: 1, strict.strict_crash: 1,
    strict.strict_lapse: 1, strict.strict_and_stale: 1, strict.strict_and_cut: 1,
    strict.strict_leases: 2,
}  # fmt: skip
WORLDS = tuple(BOUNDS)
#: Seconds for all worlds together; 0 for the fixed bounds.
SECONDS = float(os.environ.get("PAGEGEN_EXPLORER_SECONDS", "0"))
#: Preemptions after which only all schedules are more.
MOST = 5


def explored(build: Callable[[World], object], seconds: float | None = None) -> Iterator[Report]:
    """Reports of one world: of its fixed bound, and of more while there is time."""
    bound = BOUNDS[build]
    yield explore(build, preemptions=bound)
    until = monotonic() + (SECONDS / len(BOUNDS) if seconds is None else seconds)
    for deeper in (*range(bound + 1, MOST + 1), None):
        if (left := until - monotonic()) <= 0:
            return
        report = explore(build, preemptions=deeper, seconds=left)
        yield report
        if report.found or not report.complete:
            return
