"""How the time of a hit splits: each step called by itself, as the fronts call it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import time
from typing import Any, Final

from pagegen import PageCache, planning
from pagegen.asgi import requests as asgi_requests
from pagegen.asgi.responses import send_hit as asgi_send_hit
from pagegen.boarding import Boarding
from pagegen.law import reuse
from pagegen.messages import Request, StoredResponse
from pagegen.planning import Planner
from pagegen.stepping import step
from pagegen.verdicts import Hit, Plan
from pagegen.wsgi import requests as wsgi_requests
from pagegen.wsgi.responses import send_hit as wsgi_send_hit

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
    request: Request
    plan: Plan
    page: StoredResponse
    tokens: tuple[bytes | None, ...]
    hit: Hit


def parts(front: Front) -> Parts:
    """A cache with one page in it, and what becomes of a request for that page."""
    cache = cache_for(TYPICAL)
    app = front.wrap(front.app(b"x" * BODY, TYPE), cache)
    context = front.context(Ask())
    front.run(app, context)
    request = _reader(front)(context)
    plan = planner_of(cache).plan(request)
    assert isinstance(plan, Plan)
    page, tokens = step(cache.engine.store.read(plan.slot, plan.namespaces))
    assert page is not None
    hit = step(cache.engine.look_up(request))
    assert isinstance(hit, Hit)
    return Parts(front, cache, app, context, request, plan, page, tokens, hit)


def _reader(front: Front) -> Any:
    return asgi_requests.read_request if front is ASGI else wsgi_requests.read_request


def nothing() -> None:
    """The floor of a step that is a function."""


async def _nothing() -> None:
    pass


def nothing_awaited() -> None:
    """The floor of a step that is a coroutine."""
    step(_nothing())


def steps(p: Parts) -> list[Case]:
    """The steps of a hit, in order."""
    read, context, request, plan = _reader(p.front), p.context, p.request, p.plan
    store, planner = p.cache.engine.store, planner_of(p.cache)
    verdicts = Boarding(p.cache.engine._state, store)
    page, key, tokens, now = p.page, plan.key, p.tokens, time()
    slot, names = plan.slot, plan.namespaces
    return [
        Case("read the request", nothing, lambda: read(context)),
        Case("plan, target remembered", nothing, lambda: planner.plan(request)),
        Case("read the store", nothing_awaited, lambda: step(store.read(slot, names))),
        Case("judge the page", nothing, lambda: reuse.fitness(page, key, tokens, now)),
        Case("count, make the verdict", nothing, lambda: verdicts.hit(page, now)),
        Case("make and send the response", *_sending(p)),
    ]


def _sending(p: Parts) -> tuple[Action, Action]:
    request, hit = p.request, p.hit
    if p.front is ASGI:
        return nothing_awaited, lambda: step(asgi_send_hit(send, request, hit, None, dated=False))
    return nothing, lambda: wsgi_send_hit(start_response, request, hit, None, dated=False)


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
                'Not called by themselves, so "between the steps": creating and ending the '
                "coroutines, choosing by verdict, one reading of the clock, and the server's side.",
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
