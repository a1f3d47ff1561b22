"""How the time of a hit splits: each step called by itself, as the fronts call it.

The hit is the usual one, found at a glance (:mod:`pagegen.glancing`). What stores differ in is
the table ``stores-…-parts``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import time
from typing import Any, Final

from pagegen import PageCache, planning
from pagegen.asgi import requests as asgi_requests
from pagegen.asgi.responses import plain_start
from pagegen.glancing import Glance
from pagegen.messages import Request, StoredResponse, Target
from pagegen.planning import Planner
from pagegen.status import Manner, Tell
from pagegen.stepping import step
from pagegen.stores.base import glance_of
from pagegen.verdicts import Plan
from pagegen.wsgi import requests as wsgi_requests
from pagegen.wsgi.responses import send_plain

from .floors import ASGI, FRONTS, TYPE, Ask, Front, send, start_response
from .hits import BODY, VARIANTS, cache_for
from .report import Cell, Table
from .timing import Action, Case, Effort, Measured, Spread, measure

#: The hit that is taken apart: a public page with one namespace.
TYPICAL: Final = VARIANTS[0]
WHOLE: Final = "the whole hit"
AFRESH: Final = "(plan, worked out anew)"


@contextmanager
def forgetful() -> Iterator[None]:
    """Within this block planners remember no target, so each plan is worked out anew."""
    kept = planning.MEMO_LENGTH
    planning.MEMO_LENGTH = -1  # type: ignore[misc]
    try:
        yield
    finally:
        planning.MEMO_LENGTH = kept  # type: ignore[misc]


def planner_of(cache: PageCache) -> Planner:
    """A planner under the cache's rules that remembers nothing yet."""
    settings = cache.configuration.settings
    return Planner(
        cache.configuration.book,
        site=settings.site,
        release=settings.release,
        passthrough=settings.passthrough,
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the steps of one hit hand to each other."""

    front: Front
    cache: PageCache
    app: Any
    context: dict[str, Any]
    asked: Target
    request: Request
    glance: Glance
    plan: Plan
    page: StoredResponse


def parts(front: Front) -> Parts:
    """A cache with one page in it, and what becomes of a request for that page.

    Raises ``AssertionError`` when that is no hit at a glance: then these are not its steps.
    """
    cache = cache_for(TYPICAL)
    app = front.wrap(front.app(b"x" * BODY, TYPE), cache)
    context = front.context(Ask())
    for _ in range(2):
        front.run(app, context)
    engine = cache.on_loop if front is ASGI else cache.engine
    asked, glance = _target(front)(context), engine.glance
    plan = glance.recall(asked)
    page = None if plan is None else glance.page(plan)
    if plan is None or page is None:
        raise AssertionError(f"{front.name}: a hit that is no hit at a glance")
    return Parts(front, cache, app, context, asked, _reader(front)(context), glance, plan, page)


def _reader(front: Front) -> Callable[[Any], Request]:
    return asgi_requests.read_request if front is ASGI else wsgi_requests.read_request


def _target(front: Front) -> Callable[[Any], Target]:
    if front is not ASGI:
        return wsgi_requests.target
    read, combined = asgi_requests.target, asgi_requests.combined
    return lambda scope: read(scope, combined(scope["headers"]))


def nothing() -> None:
    """The floor of a step that is a function."""


async def _nothing() -> None:
    pass


def nothing_awaited() -> None:
    """The floor of a step that is a coroutine."""
    step(_nothing())


def steps(p: Parts) -> list[Case]:
    """The steps of a hit, in order."""
    read, context, asked, glance, plan = _target(p.front), p.context, p.asked, p.glance, p.plan
    store = glance_of(p.cache.engine.store)
    assert store is not None, "the memory store answers at a glance"
    slot, names = plan.slot, plan.namespaces
    return [
        Case("read fields and target", nothing, lambda: read(context)),
        Case("recall the plan", nothing, lambda: glance.recall(asked)),
        Case("read the store", nothing, lambda: store(slot, names)),
        Case("judge the page", lambda: store(slot, names), lambda: glance.page(plan)),
        Case("count the hit", nothing, glance.count),
        Case("make and send the response", *_sending(p)),
    ]


def _sending(p: Parts) -> tuple[Action, Action]:
    page, context, manner, now = p.page, p.context, Manner(Tell.NOTHING, False), time()
    if p.front is not ASGI:
        return nothing, lambda: send_plain(start_response, context, page, now, manner)
    wire = asgi_requests.combined(context["headers"])

    async def sending() -> None:
        await send(plain_start(page, wire, now, manner))
        await send({"type": "http.response.body", "body": page.body})

    return nothing_awaited, lambda: step(sending())


def beside(p: Parts) -> list[Case]:
    """The whole hit, and the planning that only the first request for a target pays."""
    planner, request = planner_of(p.cache), p.request
    floor = nothing_awaited if p.front is ASGI else nothing
    return [
        Case(WHOLE, floor, p.front.call(p.app, Ask())),
        Case(AFRESH, forgetting(nothing), forgetting(lambda: planner.plan(request))),
    ]


def forgetting(action: Action) -> Action:
    """The action within :func:`forgetful`."""

    def forgetting_action() -> None:
        with forgetful():
            action()

    return forgetting_action


def tables(effort: Effort) -> Iterator[Table]:
    """One table a front."""
    for front in FRONTS:
        prepared = parts(front)
        found, others = steps(prepared), beside(prepared)
        results = measure([*found, *others], effort)
        yield Table(
            f"phases-{front.name.lower()}",
            f"{front.name}: where a hit's time goes",
            "Each step called by itself, less a call that does nothing. Share is of the whole hit.",
            ("step", "loops", "noise", "≈ µs here", "share"),
            _rows([case.name for case in found], results),
            (
                'Not called by themselves, so "between the steps": the coroutine, looking for '
                "fields that have to be weighed, one reading of the clock, and the server's side.",
            ),
        )


def _rows(names: list[str], results: dict[str, Measured]) -> tuple[tuple[Cell, ...], ...]:
    whole = results[WHOLE].extra.median
    rows = [_row(name, results[name], whole) for name in names]
    rows.append(_between([results[name].extra for name in names], results[WHOLE]))
    rows += [_row(name, results[name], whole) for name in (WHOLE, AFRESH)]
    return tuple(rows)


def _row(name: str, measured: Measured, whole: float) -> tuple[Cell, ...]:
    extra = measured.extra
    share = "" if extra.noisy or name == AFRESH else f"{extra.median / whole:.0%}"
    return (name, extra, f"{extra.noise:.0%}", measured.extra_us, share)


def _between(steps: list[Spread], whole: Measured) -> tuple[Cell, ...]:
    """What the steps leave of the whole; unknown as soon as one of them is."""
    name = "between the steps"
    if whole.extra.noisy or any(step.noisy for step in steps):
        return (name, "too noisy", "", "too noisy", "")
    rest = whole.extra.median - sum(step.median for step in steps)
    share = f"{rest / whole.extra.median:.0%}"
    return (name, rest, "", rest * whole.loop_ns / 1000, share)
