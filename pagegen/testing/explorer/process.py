"""One process of a world: a real engine on its own face of the shared store, with its own clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...config import Configuration
from ...engine import Engine
from ...errors import InvalidationError
from ...planning import Planner
from ...sources import Sources
from ...stores import Store
from ...stores.near import NearStore
from .history import CALLING, COMING, Forgetting
from .medium import Direct, Face

if TYPE_CHECKING:
    from .world import World

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
        actor = run.current.name if run.current is not None else ""
        forgetting = Forgetting(actor, names, run.steps, self.name, soft)
        history.forgettings.append(forgetting)
        run.writes(CALLING)
        run.note(f"invalidate {', '.join(names)}{' softly' if soft else ''}")
        try:
            await self.engine.invalidate(names, soft=soft)
        except InvalidationError as error:
            forgetting.error, forgetting.failed = error, run.steps
            forgetting.unowed = tuple(name for name in names if name not in self.owed.names)
            run.note("invalidate raised")
            return forgetting
        except Exception as error:
            history.faults.append(f"invalidate raised {error!r}")
            raise
        forgetting.returned = run.steps
        self._settle_debts()
        run.reads(COMING)
        run.note("invalidate returned")
        return forgetting

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
