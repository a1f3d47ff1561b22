"""One process of a world: a real engine on its own face of the shared store, with its own clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...config import Configuration
from ...engine import Engine
from ...errors import InvalidationError, WritingError
from ...planning import Planner
from ...sources import Sources
from ...stores import Store
from ...stores.near import NearStore
from .history import CALLING, COMING, Forgetting, Owing
from .medium import Direct, Face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .world import Row, World

#: Wall clock at the beginning of a run, in seconds since the epoch.
EPOCH: Final = 1_700_000_000.0


class Process:
    """One process: an engine of its own on the shared store, with a clock of its own."""

    def __init__(
        self,
        world: World,
        name: str,
        configuration: Configuration,
        *,
        near: int = 0,
        near_staleness: float = 0.0,
        pieces: bool = False,
        replies: bool = False,
    ) -> None:
        self.world = world
        self.name = name
        self.place = ("process", name)
        self.is_cut = False
        self.is_dead = False
        self.skew = 0.0
        #: Steps that its wall clock will make, each at a moment when it is read.
        self.jumps: list[float] = []
        face: Store = Face(self, world.medium, pieces=pieces, replies=replies)
        if near:
            face = NearStore(
                face, near, max_staleness=near_staleness, now=self.now, passing=self.monotonic
            )
        sources = Sources(
            now=self.now, monotonic=self.monotonic, mint=world.mint, chance=self.chance
        )
        # What it owes is paid by actors, who ask the store directly: no thread of the engine's own
        # could be scheduled.
        engine = Engine(configuration, Direct(self, world.medium), sources)
        # Plans follow from configuration and request alone, and are shared between requests.
        known = _planners.setdefault(id(configuration), (configuration, engine._state.planner))
        engine._state.planner = known[1]
        self.engine = engine.over(face)
        self.owed = self.engine._state.owed
        self.owed._work = _no_thread  # type: ignore[method-assign]
        self.patience = configuration.settings.patience
        #: Whether strict writes keep old rows out of all pages that it serves.
        self.is_strict = all(rule.strict for rule in configuration.book.rules)

    def now(self) -> float:
        """Its wall clock, which may make a step just now."""
        if self.jumps and self.world.run.choose(2, cost=1):
            step = self.jumps.pop(0)
            self.skew += step
            self.world.run.note(f"the clock of {self.name} steps by {step:+g} s")
        return self.peek()

    def peek(self) -> float:
        """Its wall clock, read by nobody."""
        return EPOCH + self.world.run.time + self.skew

    def monotonic(self) -> float:
        """Its waiting clock."""
        return self.world.run.time

    def chance(self) -> float:
        """Either the one or the other: what is decided by it is decided both ways."""
        return 0.999_999 if self.world.run.choose(2) else 0.0

    async def invalidate(self, *names: str, soft: bool = False) -> Forgetting:
        """``cache.ainvalidate``, on record; what it raises is kept with it."""
        run, history = self.world.run, self.world.history
        forgetting = Forgetting(self._actor(), names, run.steps, self.name, soft)
        history.forgettings.append(forgetting)
        run.writes(CALLING)
        run.note(f"invalidate {', '.join(names)}{' softly' if soft else ''}")
        try:
            await self.engine.invalidate(names, soft=soft)
        except InvalidationError as error:
            self._failed(forgetting, error)
            return forgetting
        except Exception as error:
            history.faults.append(f"invalidate raised {error!r}")
            raise
        self._returned(forgetting)
        return forgetting

    def _actor(self) -> str:
        current = self.world.run.current
        return "" if current is None else current.name

    def _failed(self, forgetting: Forgetting, error: InvalidationError) -> None:
        forgetting.error, forgetting.failed = error, self.world.run.steps
        owed = self.owed.names
        forgetting.unowed = tuple(name for name in forgetting.namespaces if name not in owed)
        self.world.run.note("invalidate raised")

    def _returned(self, forgetting: Forgetting) -> None:
        run = self.world.run
        forgetting.returned = run.steps
        self._settle_debts()
        run.reads(COMING)
        run.note("invalidate returned")

    async def write(
        self, world: World, row: Row, namespaces: Sequence[str], term: float
    ) -> int | None:
        """``async with cache.awriting(...)`` around a commit, on record: what was committed, or
        None where that was not, or was not acknowledged to be forgotten.
        """
        run, marking = world.run, self.engine.marking
        began = run.time
        try:
            marked = await marking.begin(marking.names(namespaces), term, soft=False)
        except WritingError:
            marked = None
        if marked is None:
            run.note("the strict write does not begin")
            return None
        await world.commit(row)
        version = row.version
        if run.time - began < term:
            run.reads(COMING)
            world.history.strict.append(Owing(row.name, version, run.steps))
        forgetting = Forgetting(self._actor(), marked.namespaces, run.steps, self.name)
        world.history.forgettings.append(forgetting)
        run.writes(CALLING)
        try:
            await marking.end(marked)
        except InvalidationError as error:
            self._failed(forgetting, error)
            return None
        self._returned(forgetting)
        return version

    def pay(self) -> bool:
        """Try all that is owed, as one step; True when nothing is owed any more."""
        self.owed._try()
        self._settle_debts()
        self.world.run.note(f"what is owed is tried again: {len(self.owed.names)} left")
        return not self.owed.names

    def _settle_debts(self) -> None:
        """Note which calls that failed are made good."""
        for forgetting in self.world.history.forgettings:
            ours = forgetting.process == self.name and forgetting.failed is not None
            free = self.owed.names.keys().isdisjoint(forgetting.namespaces)
            if ours and free and forgetting.paid is None:
                forgetting.paid = self.world.run.steps

    def cut_off(self) -> None:
        """From now on it does not reach the store."""
        self._cut(True)

    def come_back(self) -> None:
        """It reaches the store again."""
        self._cut(False)

    def _cut(self, cut: bool) -> None:
        self.is_cut = cut
        self.world.run.writes(self.place)
        self.world.run.note(f"{self.name} {'is cut off' if cut else 'reaches the store again'}")

    def crash(self) -> None:
        """It ends here: none of its actors steps again, and nothing of them is cleaned up."""
        self.is_dead = True
        run = self.world.run
        run.writes(self.place)
        run.kill(actor for actor in run.actors if actor.home is self)
        run.note(f"{self.name} crashes")


#: By the identity of a configuration, which is kept with it so that no other one can have it.
_planners: Final[dict[int, tuple[Configuration, Planner]]] = {}


def _no_thread() -> None:
    pass
