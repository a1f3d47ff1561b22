"""What was found, as tables in the style of ``benchmarks.report``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from benchmarks.report import Cell, Table
from benchmarks.timing import Spread, spread

from .client import loop_name
from .mix import ACTIONS, counts, shares
from .run import Figures, Plan
from .serving import Variant, cores

#: Share of its core from which on the client, not the server, may be what is measured.
MAX_BUSY: Final = 0.8

_COLUMNS: Final = (
    *("the demo", "requests/s", "× off", "noise", "p50 ms", "p99 ms", "write p50 ms"),
    *("queries/req", "rendered/req", "hits %", "old", "of checks"),
)


def tables(
    variants: Sequence[Variant], found: Mapping[str, Sequence[Figures]], plan: Plan
) -> Iterator[Table]:
    """The figures, and the mix that they are of."""
    yield Table(
        "replay",
        "The demo under the request mix of lobste.rs, without pagegen and with it",
        f"{plan.requests:,} requests after a warm-up of {plan.warm_up:,}, the same ones in the "
        f"same order for each row, by {plan.users} visitors at a time, who ask again as soon as "
        "they have their answer. The times are those of a server that has all that it can do.",
        _COLUMNS,
        tuple(_row(variant, variants, found) for variant in variants),
        tuple(_notes(found, plan)),
    )
    yield _mix(plan)


def _row(
    variant: Variant, variants: Sequence[Variant], found: Mapping[str, Sequence[Figures]]
) -> tuple[Cell, ...]:
    figures = found[variant.name]
    speed = spread([one.per_second for one in figures])
    ratio = _ratio(figures, found.get(Variant(workers=variant.workers).name))
    return (
        variant.name,
        speed,
        ratio if variant.store else None,
        f"{max(speed.noise, ratio.noise if ratio else 0.0):.0%}",
        *(spread([getattr(one, name) for one in figures]) for name in ("p50", "p99", "write_p50")),
        *(spread([getattr(one, name) for one in figures]) for name in ("queries", "renderings")),
        spread([100 * one.hits for one in figures]) if variant.store else None,
        sum(one.found.stale for one in figures),
        sum(one.found.checks for one in figures),
    )


def _ratio(figures: Sequence[Figures], off: Sequence[Figures] | None) -> Spread | None:
    """Against the demo without pagegen in the same round."""
    if off is None:
        return None
    pairs = zip(figures, off, strict=True)
    return spread([one.per_second / other.per_second for one, other in pairs])


def _notes(found: Mapping[str, Sequence[Figures]], plan: Plan) -> Iterator[str]:
    servers, client = cores()
    where = "with the client on a core of its own" if client else "beside the client, on one core"
    yield (
        f"Medians over {plan.rounds} rounds in turns, each on a fresh copy of the database; "
        f"uvicorn {where}; the client on {loop_name()}."
    )
    if servers and max(int(name.rpartition(", ")[2].split()[0]) for name in found) > len(servers):
        yield f"Cores for the server: {len(servers)}, fewer than workers."
    yield (
        "Queries are all statements that the processes sent, those of writes and of the demo's "
        "board among them. Old: pages that were older than a write answered before they were "
        "asked for, or are not what the demo makes of the database when all is quiet."
    )
    for name, figures in found.items():
        yield from _troubles(name, figures)


def _troubles(name: str, figures: Sequence[Figures]) -> Iterator[str]:
    if (busy := max(one.busy for one in figures)) > MAX_BUSY:
        yield f"{name}: the client used {busy:.0%} of its core and may be what was measured."
    if unkept := sum(one.unkept for one in figures):
        yield (
            f"{name}: {unkept} pages were rendered and not stored, in all rounds together: the "
            "store answered too late in a process that is full, or a write came meanwhile."
        )
    if extra := sum(one.extra for one in figures):
        yield f"{name}: {extra} more requests, of users who had signed out and signed in again."
    if wrong := sum(one.found.wrong for one in figures):
        yield f"{name}: {wrong} ANSWERS WERE FAILURES."
    for one in figures:
        yield from (f"{name}: {said}" for said in one.found.said)


def _mix(plan: Plan) -> Table:
    there, sent = counts(), shares(plan.requests)
    whole = sum(there.values())
    return Table(
        "replay-mix",
        "What a request of the trace becomes",
        "Packages are asked for as stories were voted for, and those that are discussed as stories "
        "were; users act, and are looked at, as users voted.",
        ("in the trace", "percent", "sent", "the demo's", ""),
        tuple(
            (name, f"{100 * count / whole:.3f}", sent[name], action.route, action.stands_in)
            for name, count in there.items()
            for action in (ACTIONS[name],)
        ),
        ("Trace: jonhoo/trawler, MIT or Apache-2.0; 2.9 million requests of lobste.rs in 2018.",),
    )


def raw(found: Mapping[str, Sequence[Figures]]) -> dict[str, Any]:
    """Every single run, for the JSON."""
    return {
        name: [
            {**one._asdict(), "found": {"checks": one.found.checks, "stale": one.found.stale}}
            for one in figures
        ]
        for name, figures in found.items()
    }
