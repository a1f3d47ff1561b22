"""Runs of the replay: each variant on a fresh copy of the database, in turns, round by round."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from .client import Answer, Run, replay, signed_in
from .judging import Found, compared, is_hit, judged
from .mix import Place, Step, sequences
from .serving import Server, Variant, cores, load_database, place_of, serving

_FORWARDED: Final = re.compile(rb"\r\ncache-status:[^\r]*; *fwd=([^\r]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it. ``warm_up``: requests before those that are measured; they are judged, too.
    ``users``: visitors at one time.
    """

    rounds: int
    warm_up: int
    requests: int
    users: int
    seed: int = 8


class Figures(NamedTuple):
    """One run of one variant. Times in milliseconds; ``busy`` is the client's share of a core.

    ``unkept``: reads that were forwarded and not stored.
    """

    per_second: float
    p50: float
    p99: float
    write_p50: float
    queries: float
    renderings: float
    hits: float
    unkept: int
    busy: float
    extra: int
    found: Found


def rounds(
    variants: Sequence[Variant], plan: Plan, tell: Callable[[str], None]
) -> dict[str, list[Figures]]:
    """The figures of each variant, by name, one for each round."""
    found: dict[str, list[Figures]] = {variant.name: [] for variant in variants}
    with TemporaryDirectory(prefix="replay-") as folder:
        database = load_database(Path(folder))
        place = place_of(database)
        warm_up, steps = sequences(place, (plan.warm_up, plan.requests), plan.seed)
        for number in range(plan.rounds):
            for variant in reversed(variants) if number % 2 else variants:
                tell(f"round {number + 1} of {plan.rounds}: {variant.name}")
                with serving(variant, database) as server:
                    one = _measured(server, variant, place, plan, warm_up, steps)
                found[variant.name].append(one)
    return found


def _measured(
    server: Server,
    variant: Variant,
    place: Place,
    plan: Plan,
    warm_up: Sequence[Step],
    steps: Sequence[Step],
) -> Figures:
    cpus = cores()[1]
    jar = signed_in(server.port, place.users)
    before = replay(server.port, warm_up, visitors=plan.users, jar=jar, cpus=cpus)
    began = server.counted()
    run = replay(server.port, steps, visitors=plan.users, jar=jar, cpus=cpus)
    ended = server.counted()
    found = judged([*before.answers, *run.answers])
    if variant.store:
        found = found.plus(compared(server, [*warm_up, *steps], plan.users))
    number = len(run.answers)
    return _figures(
        run,
        (ended.queries - began.queries) / number,
        (ended.renderings - began.renderings) / number,
        found,
    )


def _figures(run: Run, queries: float, renderings: float, found: Found) -> Figures:
    reads = [answer for answer in run.answers if answer.step.method == "GET"]
    writes = [answer for answer in run.answers if answer.step.method == "POST"]
    all_of_them = _milliseconds(run.answers)
    return Figures(
        per_second=len(run.answers) / run.seconds,
        p50=all_of_them[49],
        p99=all_of_them[98],
        write_p50=_milliseconds(writes)[49],
        queries=queries,
        renderings=renderings,
        hits=sum(map(is_hit, reads)) / len(reads),
        unkept=sum(map(_is_unkept, reads)),
        busy=run.busy,
        extra=run.extra,
        found=found,
    )


def _is_unkept(answer: Answer) -> bool:
    forwarded = _FORWARDED.search(answer.head)
    return forwarded is not None and b"stored" not in forwarded[1]


def _milliseconds(answers: Sequence[Answer]) -> list[float]:
    """Percentiles 1 to 99."""
    taken = [(answer.answered - answer.sent) / 1e6 for answer in answers]
    return quantiles(taken, n=100, method="inclusive")
