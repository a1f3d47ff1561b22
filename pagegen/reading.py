"""Reading a slot with all that a page in it is judged by, in one trip where its past is known.

Pages of most rules lie where their plan says, under the namespaces that it names. Those of others
may vary (:mod:`pagegen.variants`) or have more namespaces (:mod:`pagegen.groups`): what was learned
of them is asked for at once, and what was not costs one trip more, once in each process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .groups import SEQUENCE, Groups
from .messages import Request, StoredResponse
from .stores.base import Store
from .variants import Variants
from .verdicts import Plan

Tokens = tuple[bytes | None, ...]


class Found(NamedTuple):
    """What a look finds. ``tokens`` are those of the page's namespaces, which begin with the
    plan's; of the plan's alone where there is no page. ``sequence`` is None where the rule has none
    or nobody set it yet.
    """

    plan: Plan
    page: StoredResponse | None
    tokens: Tokens
    sequence: bytes | None = None

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Those of the page, where it is this plan's; else those that the plan knows of."""
        page, own = self.page, self.plan.namespaces
        return own if page is None or len(self.tokens) == len(own) else page.namespaces


def _at_leisure() -> None:
    pass


class Reader:
    """Reads what pages of rules that learn are judged by."""

    def __init__(self, variants: Variants, groups: Groups) -> None:
        self._variants = variants
        self._groups = groups

    async def read(
        self, store: Store, plan: Plan, request: Request, hurry: Callable[[], None] = _at_leisure
    ) -> Found:
        """The page that a request selects, and its tokens. Raises what the store raises, and what
        ``hurry`` does before each trip but the first.
        """
        rule = plan.rule
        if rule.open:
            marking = self._variants.marking(plan)
            target = self._variants.selected(plan, marking, request)
            found = await self._read(store, target, hurry)
            if marking is None and (marking := self._variants.learn(found.page, plan)) is not None:
                hurry()
                target = self._variants.selected(plan, marking, request)
                found = await self._read(store, target, hurry)
            return found
        return await self._read(store, plan, hurry)

    async def _read(self, store: Store, plan: Plan, hurry: Callable[[], None]) -> Found:
        if not plan.rule.groups:
            page, tokens = await store.read(plan.slot, plan.namespaces)
            return Found(plan, page, tokens)
        names = (*plan.namespaces, *self._groups.of(plan.slot), SEQUENCE)
        page, tokens = await store.read(plan.slot, names)
        known = dict(zip(names, tokens, strict=True))
        sequence = known[SEQUENCE]
        own = len(plan.namespaces)
        if page is None or page.key != plan.key or page.namespaces[:own] != plan.namespaces:
            return Found(plan, page, tokens[:own], sequence)
        late = page.namespaces[own:]
        if rest := [name for name in late if name not in known]:
            hurry()
            known |= dict(zip(rest, (await store.read(None, rest)).tokens, strict=True))
        self._groups.learn(plan.slot, late)
        return Found(plan, page, tuple(known[name] for name in page.namespaces), sequence)
