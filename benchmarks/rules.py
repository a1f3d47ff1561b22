"""What the number of rules costs: a hit, and a planning whose target is not remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pagegen import PageCache, Rule
from pagegen.asgi.requests import read_request

from .floors import ASGI, Ask, asgi_app
from .phases import forgetting, planner_of
from .report import Cell, Table
from .timing import Action, Case, Effort, Measured, Spread, in_loops, measure

SIZES: Final = (1, 100, 1000)
QUICK_SIZES: Final = (1, 100)
#: Rules that are checked, all in all, to see what a start takes.
STARTED: Final = 3000


class Family(NamedTuple):
    """A way of writing many rules. The request is always for the last one: the worst placed."""

    name: str
    pattern: Callable[[int], str]
    path: Callable[[int], str]


FAMILIES: Final = (
    Family("/part-N/{id:int}", lambda n: f"/part-{n}/{{id:int}}", lambda n: f"/part-{n}/7"),
    Family(
        "/shop/{a:int}/part-N", lambda n: f"/shop/{{a:int}}/part-{n}", lambda n: f"/shop/7/part-{n}"
    ),
    Family(
        "/shop/{a:int}/{b}-N", lambda n: f"/shop/{{a:int}}/{{b}}-{n}", lambda n: f"/shop/7/x-{n}"
    ),
)


class Built(NamedTuple):
    """A cache with many rules, and the two things that a request for the last of them does."""

    start: Spread
    hit: Action
    planning: Action


def build(family: Family, size: int) -> Built:
    """Rules of a family. Each has one namespace, like the request that is asked for."""
    rules = [
        Rule(path=family.pattern(n), share="public", ttl="1h", namespaces=["all"])
        for n in range(size)
    ]
    start = in_loops(lambda: PageCache(rules), min(30, STARTED // size))
    cache = PageCache(rules)
    app = ASGI.wrap(asgi_app(b"x" * 10_000), cache)
    context = ASGI.context(Ask(family.path(size - 1)))
    ASGI.run(app, context)
    hit = ASGI.call(app, Ask(family.path(size - 1)))
    hit()
    assert cache.statistics()["hit"] == 1
    planner, request = planner_of(cache), read_request(context)
    return Built(start, hit, forgetting(lambda: planner.plan(request)))


def cases(family: Family, built: dict[int, Built]) -> list[Case]:
    """Each size over one rule."""
    one = built[1]
    return [
        case
        for size, many in built.items()
        for case in (
            Case(f"hit {size}", one.hit, many.hit),
            Case(f"plan {size}", one.planning, many.planning),
        )
    ]


def tables(effort: Effort) -> Iterator[Table]:
    """One table of all families."""
    rows: list[tuple[Cell, ...]] = []
    for family in FAMILIES:
        built = {size: build(family, size) for size in (QUICK_SIZES if effort.quick else SIZES)}
        results = measure(cases(family, built), effort)
        rows.extend(_row(family, size, many, results) for size, many in built.items())
    yield Table(
        "rules",
        "The number of rules",
        "A request for the last of many rules, as a multiple of one for the only rule. The hit's "
        "target is remembered, as any but the first request's; planning anew is that first one's.",
        ("rules", "number", "hit × 1 rule", "noise", "plan × 1 rule", "noise", "start, loops"),
        tuple(rows),
        (
            "1 over 1 is the same thing twice: what differs from 1 there is the harness's error.",
            "Literal segments are looked up; typed ones are tried one by one, so the third family, "
            "whose segments are all typed and all different, is the worst that can be written.",
            "Start is building the cache: each rule is checked against all before it.",
        ),
    )


def _row(family: Family, size: int, built: Built, results: dict[str, Measured]) -> tuple[Cell, ...]:
    hit, plan = results[f"hit {size}"].ratio, results[f"plan {size}"].ratio
    return (family.name, size, hit, f"{hit.noise:.0%}", plan, f"{plan.noise:.0%}", built.start)
