"""What the cache holds for a request, asked without changing anything."""

from __future__ import annotations

from .law import reuse, softness
from .law.reuse import Fitness
from .messages import Request
from .state import State
from .stores.base import Store
from .verdicts import Bypass, Inspection


async def inspect(request: Request, state: State, store: Store) -> Inspection:
    """Read the slot of a request and judge it as a look-up would. Raises what the store raises."""
    plan = state.planner.plan(request)
    if isinstance(plan, Bypass):
        return Inspection("uncacheable", reason=plan.reason)
    plan, page, tokens, _ = await state.reader.read(store, plan, request)
    writing = await state.written(store, plan) if plan.rule.strict else ()
    moment = state.sources.now()
    fitness = reuse.fitness(page, plan.key, tokens, moment)
    if page is None or fitness is Fitness.FOREIGN:
        names = softness.declared(plan.namespaces)
        return Inspection("absent", plan.rule.name, names, writing=writing)
    return Inspection(
        fitness,
        plan.rule.name,
        softness.declared(page.namespaces),
        softness.declared(reuse.changed(page, tokens, fitness)),
        page.current_age(moment),
        page.render_seconds,
        writing=writing,
    )
