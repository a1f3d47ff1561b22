"""What was measured, as tables for people and as JSON for machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..report import Cell, Table, value
from ..timing import Spread
from .groups import Group
from .rounds import Result, Run
from .subjects import FLOOR, GOALS, OVER_PEERS, UVICORN

_COLUMNS: Final = (
    *("subject", "× floor", "noise", "by CPU", "req/s", "p99 ms", "CPU µs", "store µs"),
)
_MEMCACHED_NEAR: Final = "pagegen, memcached + near"
_WORKERS: Final = (
    "All shares are of the floor with one worker. Without a core for each worker and one for the "
    "client, workers share cores: this then shows whether they get in each other's way, and not "
    "that they scale."
)
#: Share of the time for which the client may be busy before it is what is measured.
_BUSY: Final = 0.9


@dataclass(frozen=True, slots=True)
class Measured:
    """A group, what its subjects did, why others are missing, and what others did wrong."""

    group: Group
    results: Sequence[Result]
    missing: dict[str, str]
    failed: dict[str, str]

    @property
    def main(self) -> bool:
        """Whether the goals are about this group: the 10 kB page and one worker."""
        return self.group.part == self.group.server.name

    def result(self, name: str) -> Result | None:
        """That of one subject."""
        return next((each for each in self.results if each.ready.subject.name == name), None)


def table(measured: Measured) -> Table:
    """The table of one group."""
    group = measured.group
    rows = [_row(result) for result in measured.results]
    absent = {**measured.missing, **measured.failed}
    empty = [None] * (len(_COLUMNS) - 2)
    return Table(
        f"web-{group.part}-{group.server.name}-{group.size}kB",
        group.title,
        "× floor: throughput of hits, over that of an application that answers the same constant "
        "page and does nothing else; by CPU: the floor's processor time for a request over the "
        "subject's. 1.00 is as fast.",
        _COLUMNS,
        (*rows, *((name, "missing", *empty) for name in absent)),
        (
            *(f"{name}: NOT MEASURED: {why}" for name, why in absent.items()),
            *_busy(measured),
            *((_WORKERS,) if group.part == "workers" else ()),
        ),
    )


def _busy(measured: Measured) -> Iterator[str]:
    for result in measured.results:
        busy = result.figure(_FIGURES["client_busy"]).median
        if busy > _BUSY:
            name = result.ready.subject.name
            yield f"{name}: the client was busy for {busy:.0%} of the time; the server can do more."


def _row(result: Result) -> tuple[Cell, ...]:
    subject = result.ready.subject
    floor = subject.name == FLOOR
    share = None if floor else result.share
    # For orientation, with the machine's own speed in them: their noise is not the share's.
    rate, p99, cpu, store = (
        result.figure(_FIGURES[name]).median
        for name in ("requests_per_second", "p99_ms", "cpu_us", "store_cpu_us")
    )
    return (
        subject.name,
        1.0 if share is None else "too noisy" if share.noisy else share,
        None if share is None else f"{share.noise:.1%}",
        None if share is None else _short(result.cpu_share),
        *(round(rate), p99, cpu, store if subject.program else None),
    )


def _short(share: Spread | None) -> str:
    if share is None:
        return "–"
    return f"(±{share.noise:.0%})" if share.noisy else f"{share.median:.2f}"


_FIGURES: Final[dict[str, Callable[[Run], float]]] = {
    "requests_per_second": lambda run: run.load.per_second,
    "p50_ms": lambda run: run.load.p50_ms,
    "p99_ms": lambda run: run.load.p99_ms,
    "cpu_us": lambda run: run.cpu_us,
    "store_cpu_us": lambda run: run.store_us,
    "client_busy": lambda run: run.load.client_busy,
}


def all_tables(found: Sequence[Measured]) -> Iterator[Table]:
    """What was to reach first, then each group."""
    reached = goals(found)
    if reached is not None:
        yield reached
    yield from map(table, found)


def goals(found: Iterable[Measured]) -> Table | None:
    """What the figures were to reach, and whether they do; nothing where none was measured."""
    rows = [row for each in found if each.main for row in _goals(each)]
    if not rows:
        return None
    return Table(
        "web-goals",
        "To reach",
        "Shares of the floor with the 10 kB page and one worker. A figure that is too noisy "
        "reaches nothing, and misses what is above its upper quartile.",
        ("server, subject", "goal", "measured", "quartiles", "reached"),
        tuple(rows),
    )


def _goals(measured: Measured) -> Iterator[tuple[Cell, ...]]:
    server = measured.group.server.name
    for (name, subject), goal in GOALS.items():
        if name == server and (result := measured.result(subject)):
            yield _goal(f"{server}, {subject}", goal, result.share)
    ours = measured.result(_MEMCACHED_NEAR)
    if measured.group.server is UVICORN and ours:
        yield from _over_peers(ours, measured.results)


def _over_peers(ours: Result, results: Sequence[Result]) -> Iterator[tuple[Cell, ...]]:
    theirs = [
        result
        for result in results
        if (result.ready.subject.group, result.ready.subject.store) == ("peer", "memcached")
    ]
    if theirs:
        best = max(theirs, key=lambda result: result.share.median)
        name = f"{UVICORN.name}, {_MEMCACHED_NEAR} / {best.ready.subject.name}"
        factor = 1 / best.share.median
        yield _goal(name, OVER_PEERS, ours.share.times(factor))


def _goal(name: str, goal: float, share: Spread) -> tuple[Cell, ...]:
    reached = "too noisy"
    if share.high < goal or not share.noisy:
        reached = "yes" if share.median >= goal else "NO"
    return (name, f"≥ {goal:.2f}", share, f"{share.low:.3f}–{share.high:.3f}", reached)


def document(found: Iterable[Measured]) -> list[dict[str, Any]]:
    """Every group as JSON values: figures, and each run as it was."""
    return [
        {
            "part": each.group.part,
            "server": each.group.server.name,
            "title": each.group.title,
            "kilobytes": each.group.size,
            "subjects": [_subject(each, result) for result in each.results],
            "missing": each.missing,
            "failed": each.failed,
        }
        for each in found
    ]


def _subject(measured: Measured, result: Result) -> dict[str, Any]:
    subject = result.ready.subject
    said: dict[str, Any] = {
        "name": subject.name,
        "group": subject.group,
        "store": subject.store,
        "near": subject.near,
        "workers": subject.workers,
        "share": None if subject.name == FLOOR else value(result.share),
        "cpu_share": None if subject.name == FLOOR else value(result.cpu_share),
        "goal": GOALS.get((measured.group.server.name, subject.name)) if measured.main else None,
        "shares": [round(share, 4) for share in result.shares],
        "cpu_shares": [round(share, 4) for share in result.cpu_shares],
        "runs": [_run(run) for run in result.runs],
    }
    return said | {name: result.figure(of).median for name, of in _FIGURES.items()}


def _run(run: Run) -> dict[str, float]:
    figures = {name: round(of(run), 3) for name, of in _FIGURES.items()}
    return {"requests": run.load.requests, **figures}
