"""What pagegen promises, one function each: the first breach in a history, in words, or None.

A promise looks at complete runs. Worlds say with ``world.owes`` from when on a version of a row is
owed to whoever comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ...law import softness
from .history import How, Owing, Visit

if TYPE_CHECKING:
    from .world import World

#: How pages are served that were not made for this very visit.
SERVED: Final = (How.HIT, How.COLLAPSED, How.STALE)

Promise = Callable[["World"], str | None]


def no_resurrection(world: World) -> str | None:
    """Who came after ``invalidate`` had returned sees what was committed before it, and no page
    whose handler started before the call.
    """
    return _resurrected(world, probes=False)


def nothing_poisoned(world: World) -> str | None:
    """The same of a probe after everything has stopped: what it would get, everybody would get
    until the page expires.
    """
    return _resurrected(world, probes=True)


def monotonic_generations(world: World) -> str | None:
    """Once a request was answered under a namespace's new token, none that came later is answered
    under an earlier one.
    """
    history = world.history
    served = sorted(
        (visit for visit in history.visits if visit.page is not None),
        key=lambda visit: visit.answered,
    )
    for at, later in enumerate(served):
        for earlier in served[:at]:
            if earlier.answered >= later.arrived:
                break
            if (name := _backwards(world, earlier, later)) is not None:
                return (
                    f"{later.name} was answered under an earlier token of {name!r} than "
                    f"{earlier.name} before it"
                )
    return None


def complete_metadata(world: World) -> str | None:
    """A page that is served carries all namespaces that its rule and its rendering name, each with
    a token.
    """
    for visit in world.history.visits:
        page, rendering = visit.page, visit.rendering
        if page is None or rendering is None:
            continue
        if visit.how is How.FORWARD or not page.generation:
            continue  # its own; or it was rendered without a store, and is kept nowhere
        missing = set(rendering.late) - set(page.namespaces)
        if len(page.namespaces) != len(page.generation) or not all(page.generation):
            return f"{visit.name} got a page whose namespaces have not a token each"
        if missing:
            return f"{visit.name} got a page that forgot its namespaces {sorted(missing)}"
    return None


def bounded_age(world: World) -> str | None:
    """A page is served within its lifetime, or within its stated windows past it: by the clock of
    the process that serves it, to within the steps that the clock made.
    """
    for visit in world.history.visits:
        page = visit.page
        if page is None or visit.how not in SERVED:
            continue
        window = 0.0 if visit.how is How.HIT else page.stale_while_revalidate
        if visit.how is How.STALE:
            window = max(
                page.stale_while_revalidate, page.stale_if_error, page.stale_if_unreachable
            )
        over = visit.wall - page.fresh_until - window
        if over >= world.tolerance and over >= 0 and (over > 0 or visit.how is How.HIT):
            return f"{visit.name} got a page {over:g} s over its time"
    return None


def fail_safe(world: World) -> str | None:
    """A request never fails because of the store; an invalidation that fails raises, and its
    namespaces are owed.
    """
    for visit in world.history.visits:
        if visit.error is not None:
            return f"{visit.name}: a verb of the engine raised {visit.error!r}"
    for forgetting in world.history.forgettings:
        if forgetting.unowed:
            return f"{forgetting.actor}: nobody owes {list(forgetting.unowed)}, which failed"
    return world.history.faults[0] if world.history.faults else None


def what_is_owed_is_not_served(world: World) -> str | None:
    """Whoever comes while a process owes an invalidation gets no page from before it there."""
    for visit in world.history.visits:
        page, rendering = visit.page, visit.rendering
        if page is None or rendering is None or visit.how not in SERVED:
            continue
        began = rendering.since(page.generation)
        for forgetting in world.history.forgettings:
            if forgetting.failed is None or forgetting.process != visit.process:
                continue
            owed = forgetting.paid is None or forgetting.paid > visit.arrived
            owed = owed and forgetting.failed < visit.arrived and began < forgetting.called
            if owed and not set(forgetting.namespaces).isdisjoint(page.namespaces):
                return f"{visit.name} got a page whose invalidation by {forgetting.actor} is owed"
    return None


def everybody_is_answered(world: World) -> str | None:
    """Every request ends, and none waits for others longer than ``max_wait``, twice at most."""
    for visit in world.history.visits:
        if visit.how is None and not world.is_dead(visit.process):
            return f"{visit.name} was never answered"
        longest = min(2 * world.patience, world.longest_wait)
        if visit.waited > longest + 1e-6:
            return f"{visit.name} waited {visit.waited:g} s for others, of {longest:g} s"
    return None


def private_pages_stay_private(world: World) -> str | None:
    """What could not be stored is given to nobody but the one whose request it was made for; and
    nobody gets a page that was made for another request's keyed inputs.
    """
    for visit in world.history.visits:
        rendering = visit.rendering
        if rendering is None:
            continue
        if rendering.private and rendering.actor != visit.name:
            return f"{visit.name} got the private page of {rendering.actor}"
        for name, value in rendering.inputs.items():
            if visit.inputs.get(name, "") != value:
                return f"{visit.name} got a page that was made for {name}: {value!r}"
    return None


def one_rendering(world: World) -> str | None:
    """While all is well, one rendering makes the page of a slot for one generation: in a process,
    and over all of them where the store has leases. Judged in worlds that say ``once``.
    """
    if not world.once:
        return None
    made: dict[tuple[object, ...], str] = {}
    for rendering in world.history.renderings:
        if not rendering.generation:
            continue
        home = "" if world.once == "everywhere" else world.home_of(rendering.actor)
        key = (home, rendering.slot, rendering.generation)
        if key in made:
            return f"{rendering.actor} rendered what {made[key]} had rendered for its generation"
        made[key] = rendering.actor
    return None


def strict(world: World) -> str | None:
    """From the commit of a strict writer on, nobody who comes gets the old row from a page of a
    strict rule; not even where the writer dies.
    """
    for visit in world.history.visits:
        rendering = visit.rendering
        if rendering is None or not world.processes[visit.process].is_strict:
            continue
        for owing in world.history.strict:
            seen = rendering.versions.get(owing.row)
            if seen is not None and seen < owing.version and owing.since < visit.arrived:
                return (
                    f"{visit.name} came after version {owing.version} of {owing.row!r} was "
                    f"committed strictly, at step {owing.since}, and saw version {seen}"
                )
    return None


#: All of them.
PROMISES: Final[tuple[Promise, ...]] = (
    no_resurrection,
    nothing_poisoned,
    monotonic_generations,
    complete_metadata,
    bounded_age,
    fail_safe,
    what_is_owed_is_not_served,
    everybody_is_answered,
    private_pages_stay_private,
    one_rendering,
    strict,
)


def _resurrected(world: World, *, probes: bool) -> str | None:
    history = world.history
    for visit in history.visits:
        rendering = visit.rendering
        if rendering is None or visit.probe is not probes:
            continue
        for owing in history.owing:
            seen = rendering.versions.get(owing.row)
            if seen is not None and seen < owing.version and _is_owed(world, visit, owing):
                return (
                    f"{visit.name} came after step {owing.since}, from when on {owing.row!r} is "
                    f"owed at version {owing.version}, and saw version {seen}"
                )
        if (message := _begun_before(world, visit)) is not None:
            return message
    return None


def _is_owed(world: World, visit: Visit, owing: Owing) -> bool:
    """Whether this visit has to see that; what is made from a replica shows what is there."""
    if owing.since >= visit.arrived:
        return False
    return not world.rows[owing.row].lags or visit.how in (How.HIT, How.STALE)


def _begun_before(world: World, visit: Visit) -> str | None:
    """Whether a page was made before it was forgotten, and served after that."""
    page, rendering = visit.page, visit.rendering
    if page is None or rendering is None:
        return None
    began = rendering.since(page.generation)
    for forgetting in world.history.forgettings:
        returned = forgetting.returned
        if returned is None or returned >= visit.arrived or began >= forgetting.called:
            continue
        if forgetting.soft:
            continue
        if not set(forgetting.namespaces).isdisjoint((*page.namespaces, *rendering.late)):
            return (
                f"{visit.name} came after {forgetting.actor} had forgotten "
                f"{list(forgetting.namespaces)}, and got the page that {rendering.actor} began to "
                "make before"
            )
    return None


def _backwards(world: World, earlier: Visit, later: Visit) -> str | None:
    """The namespace of which the later visit was answered under an earlier token."""
    if earlier.page is None or later.page is None:
        return None
    tokens = world.history.tokens
    before = dict(zip(earlier.page.namespaces, earlier.page.generation, strict=False))
    for name, token in zip(later.page.namespaces, later.page.generation, strict=False):
        known = tokens.get(name, {})
        if later.how is How.STALE and softness.hard(name) in before:
            continue  # softly forgotten: the old page is left to others for a while
        if name in before and known.get(token, 0) < known.get(before[name], 0):
            return name
    return None
