"""What the cache holds for a request, asked without changing anything."""

from __future__ import annotations

from collections.abc import Callable

from .law import reuse
from .law.reuse import Fitness
from .stores.base import Store
from .verdicts import Bypass, Inspection, Plan


async def inspect(plan: Plan | Bypass, store: Store, now: Callable[[], float]) -> Inspection:
    """Read the slot of a plan and judge it as a look-up would. Raises what the store raises."""
    if isinstance(plan, Bypass):
        return Inspection("uncacheable", reason=plan.reason)
    page, tokens = await store.read(plan.slot, plan.namespaces)
    moment = now()
    fitness = reuse.fitness(page, plan.key, tokens, moment)
    if page is None or fitness is Fitness.FOREIGN:
        return Inspection("absent", plan.rule.name, plan.namespaces)
    return Inspection(
        fitness,
        plan.rule.name,
        plan.namespaces,
        reuse.changed(page, tokens, fitness),
        page.initial_age + moment - page.stored_at,
        page.render_seconds,
    )
