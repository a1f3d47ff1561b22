"""Known-bad variants: the real engine and stores with one fault each, which has to be caught.

They are switched in here and in strict.py. Each is a world that plays with the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pagegen.admitting import Admission
from pagegen.errors import StoreError
from pagegen.flights import OVERDUE, Flights
from pagegen.messages import StoredResponse
from pagegen.stores import MemoryStore
from pagegen.stores.base import Reading, Store
from pagegen.testing.explorer import Process, World, point
from tests.explorer import strict
from tests.explorer.applications import HELD, LAG, LATE, ONE, SOFT, lists, replicates, shows
from tests.explorer.troubles import lease_of_the_dead, paid_behind


@dataclass(frozen=True)
class Fault:
    """A variant, how it is told, and the promises of which one has to break."""

    name: str
    build: Callable[[World], object]
    breaks: Collection[str]
    preemptions: int = 2


OLD = ("no_resurrection", "nothing_poisoned")


def _memory(world: World, kind: type[MemoryStore]) -> None:
    world.store(kind(site="explorer", now=world.wall))


class _Counters(MemoryStore):
    """Tokens count up from 1, and begin anew when they were evicted."""

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        return await super().add_tokens(dict.fromkeys(tokens, b"\x01"), ttl)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        _, present = await self.read(None, tuple(tokens))
        counted = {
            name: bytes((token[0] + 1,)) if token else b"\1"
            for name, token in zip(tokens, present, strict=True)
        }
        await super().replace_tokens(counted, ttl)


class _Constant(MemoryStore):
    """Who finds no token writes always the same one; to forget is to take it away."""

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        await super().replace_tokens(dict.fromkeys(tokens, b"\x01"), ttl)
        return dict.fromkeys(tokens, b"\x01")

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        for name in tokens:
            self._tokens.discard(name)


class _Ring(MemoryStore):
    """Two servers. Names move to the second one while the first is away, and back with it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.second = MemoryStore(**options)
        self.away = False
        self.moves = True

    def _place(self) -> MemoryStore | None:
        if self.away and not self.moves:
            raise StoreError("the server is away")
        return self.second if self.away else None

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        place = self._place()
        return await (super().read if place is None else place.read)(slot, namespaces)

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        place = self._place()
        return await (super().add_tokens if place is None else place.add_tokens)(tokens, ttl)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        place = self._place()
        await (super().replace_tokens if place is None else place.replace_tokens)(tokens, ttl)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        place = self._place()
        return await (super().write_page if place is None else place.write_page)(slot, page, ttl)


class _ReadsTokensLate(Admission):
    """The tokens are read when the page is stored."""

    async def admit(self, ticket: Any, *given: Any, **more: Any) -> Any:
        _, tokens = await self._store.read(None, ticket.plan.namespaces)
        ticket.generation = tuple(token or b"" for token in tokens)
        return await super().admit(ticket, *given, **more)


class _SequenceFirst(Admission):
    """The sequence is read before the late tokens, not after them."""

    async def _belong(self, ticket: Any, late: tuple[str, ...], hurry: Any) -> Any:
        _, (before,) = await self._store.read(None, ("pagegen:sequence",))
        present, state = ticket.sequence, self._state
        if before != present:
            return await super()._belong(ticket, late, hurry)
        _, tokens = await self._store.read(None, late)
        ticket.late = dict(zip(late, await state.complete(self._store, late, tokens), strict=True))
        return None


def _admits(process: Process, kind: type[Admission]) -> Process:
    engine: Any = process.engine
    admission = kind(engine._state, engine.store)
    for verb in ("admit", "freshen", "consult"):
        setattr(engine, verb, getattr(admission, verb))
    return process


def token_when_storing(world: World) -> None:
    row = world.row("item")
    world.visit("F", _admits(world.process("P", ONE), _ReadsTokensLate), "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])


def counter_tokens(world: World) -> None:
    _memory(world, _Counters)
    row = world.row("item")
    world.visit("F", world.process("P", ONE), "/item", shows(row))
    world.visit("G", world.process("R", ONE), "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])
    world.event("E", lambda: world.medium.evict_token("item"))


def timestamp_tokens(world: World) -> None:
    """Tokens are the time in whole seconds: two in one second are one."""
    now = world.wall
    world.mint = lambda: int(now()).to_bytes(16, "big")  # type: ignore[method-assign]
    row = world.row("item")
    world.visit("F", world.process("P", ONE), "/item", shows(row))
    world.visit("G", world.process("R", ONE), "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])


def invalidate_before_commit(world: World) -> None:
    row, other = world.row("item"), world.process("Q", ONE)
    world.visit("F", world.process("P", ONE), "/item", shows(row))

    async def writes() -> None:
        await other.invalidate("item")
        await world.commit(row)
        world.owes(row, row.version)

    world.actor("W", writes(), home=other)


def constant_token(world: World) -> None:
    _memory(world, _Constant)
    row = world.row("item")
    world.visit("F", world.process("P", ONE), "/item", shows(row))
    world.visit("G", world.process("R", ONE), "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])


class _BySlot(Flights):
    """Requests wait for each other on equal slot, whatever tokens they read."""

    def join(self, slot: bytes, generation: Any, sequence: Any = None, limit: Any = OVERDUE) -> Any:
        return super().join(slot, (), sequence, limit)


def collapse_by_slot(world: World) -> None:
    row, home = world.row("item"), world.process("P", ONE)
    flights: Any = home.engine._state.flights
    flights.__class__ = _BySlot
    world.visit("F", home, "/item", shows(row))
    world.visit("G", home, "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])


def _sequence_last(process: Process) -> Process:
    """Forgets with the tokens first and the sequence after them."""
    forgetting: Any = process.engine._state.forgetting

    async def forget(store: Store, names: Sequence[str], *, soft: Collection[str] = ()) -> None:
        ttl = forgetting._token_ttl
        await store.replace_tokens({name: forgetting._mint() for name in names}, ttl)
        await store.replace_tokens({"pagegen:sequence": forgetting._mint()}, ttl)

    process.engine._state.forgetting = _Shadow(forgetting, forget)
    invalidator: Any = process.engine.invalidate
    invalidator.__self__._forgetting = process.engine._state.forgetting
    return process


class _Shadow:
    """Another ``forget`` in front of the real one."""

    def __init__(self, forgetting: Any, forget: Any) -> None:
        self._forgetting = forgetting
        self.forget = forget

    def __getattr__(self, name: str) -> Any:
        return getattr(self._forgetting, name)


def sequence_after_tokens(world: World) -> None:
    """What is written last is read last: a page slips through between the two."""
    row = world.row("item")
    world.visit("F", world.process("P", LATE), "/list", lists(row, "item"))
    world.visit("G", world.process("R", LATE), "/list", lists(row, "item"))
    world.writer("W", _sequence_last(world.process("Q", LATE)), row, ["item"])


def sequence_read_first(world: World) -> None:
    row = world.row("item")
    home = _admits(world.process("P", LATE), _SequenceFirst)
    world.visit("F", home, "/list", lists(row, "item"))
    world.writer("W", world.process("Q", LATE), row, ["item"])


def rehash(world: World) -> None:
    """Names move to another server while theirs is away: their old tokens return with it."""
    _ring(world, moves=True)


def no_rehash(world: World) -> None:
    """The same where they stay: no fault, so that it is the moving that is caught."""
    _ring(world, moves=False)


def _ring(world: World, *, moves: bool) -> None:
    ring = _Ring(site="explorer", now=world.wall)
    ring.moves = moves
    world.store(ring)
    row = world.row("item")
    world.visit("F", world.process("P", ONE), "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])

    async def comes_and_goes() -> None:
        ring.away = True
        await point("come back")
        ring.away = False

    world.actor("X", comes_and_goes())


def endless_lease(world: World) -> None:
    """A lease without a term: who dies with it keeps everybody waiting."""
    acquire = world.medium.acquire

    async def for_ever(slot: bytes, owner: bytes, _term: float) -> bool:
        return await acquire(slot, owner, 1e9)

    world.medium.acquire = for_ever  # type: ignore[method-assign]
    lease_of_the_dead(world)


def near_reuses_tokens(world: World) -> None:
    """``near_max_staleness``: what the setting gives up on purpose."""
    row = world.row("item")
    one = world.process("P", ONE, near=100_000, near_staleness=10.0)
    world.visit("F", one, "/item", shows(row))
    world.visit("G", one, "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])


def failover_without_identity(world: World) -> None:
    row = world.row("item")
    world.visit("F", world.process("P", ONE), "/item", shows(row))
    world.visit("G", world.process("R", ONE), "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])
    copied: list[object] = []
    world.event("C", lambda: copied.append(world.medium.copy()))
    world.event("X", world.medium.fail_over, after=lambda: bool(copied))


def _held(world: World, process: Callable[[str], Process]) -> None:
    row = world.row("item", lags=True)
    world.visit("F", process("P"), "/item", replicates(row))
    writer = world.process("Q", HELD)
    writer.skew = -10.0  # the stamps of its tokens say nothing: flags have to do it alone
    world.writer("W", writer, row, ["item"])

    def hears() -> None:
        world.passes(LAG)
        row.replica = row.version

    world.event("L", hears)


def hold_off_read_first(world: World) -> None:
    """The flag is read before the tokens."""

    def process(name: str) -> Process:
        made = world.process(name, HELD)
        engine: Any = made.engine
        state, face = engine._state, engine.store
        read = face.read
        seen: dict[str, bool] = {}

        async def flag_first(slot: bytes | None, namespaces: Sequence[str]) -> Reading:
            flags = await read(None, ["pagegen:hold:item"])
            seen["held"] = flags.tokens[0] is not None
            return await read(slot, namespaces)

        async def as_seen(*_: object) -> bool:
            return seen["held"]

        face.read, state.held = flag_first, as_seen
        return made

    _held(world, process)


def hold_off_read_when_storing(world: World) -> None:
    """The flag is read when the page is stored, and may be over by then."""

    class Late(Admission):
        async def admit(self, ticket: Any, *given: Any, **more: Any) -> Any:
            ticket.stores = not await held(self._store, ticket.plan, ticket.generation)
            return await super().admit(ticket, *given, **more)

    held: Any = None

    def process(name: str) -> Process:
        nonlocal held
        made = world.process(name, HELD)
        state: Any = made.engine._state
        held = state.held

        async def never(*_: object) -> bool:
            return False

        state.held = never
        return _admits(made, Late)

    _held(world, process)


def soft_without_hard_register(world: World) -> None:
    """Soft tokens alone: a hard invalidation vanishes in the records of a soft one."""
    row = world.row("item")
    home, other = world.process("P", SOFT), world.process("Q", SOFT)
    third = world.process("R", SOFT)
    world.visit("F", home, "/item", shows(row))
    world.writer("V", other, row, ["item"], soft=True)
    world.writer("W", third, row, ["item"])
    for process in (other, third):
        forgetting: Any = process.engine._state.forgetting
        tokens = forgetting._tokens

        async def soft_only(*given: Any, tokens: Any = tokens) -> dict[str, bytes]:
            made: dict[str, bytes] = await tokens(*given)
            return {name: t for name, t in made.items() if not name.startswith("pagegen:hard:")}

        forgetting._tokens = soft_only


def payments_unnoticed(world: World) -> None:
    """Whether something was paid behind a read is not asked."""
    paid_behind(world)
    owed = world.processes["P"].owed
    paid = owed.paid

    def quietly(*given: Any) -> None:
        paid(*given)
        owed.payments = 0

    owed.paid = quietly  # type: ignore[method-assign]


FAULTS = (
    Fault("token read when storing", token_when_storing, OLD),
    Fault("counter tokens", counter_tokens, OLD),
    Fault("timestamp tokens", timestamp_tokens, OLD),
    Fault("invalidate before commit", invalidate_before_commit, OLD),
    Fault("blind set of a constant token", constant_token, OLD),
    Fault("collapse by slot alone", collapse_by_slot, OLD),
    Fault("late namespaces with sequence after tokens", sequence_after_tokens, OLD),
    Fault("late namespaces with sequence read first", sequence_read_first, OLD),
    Fault("rehash on failure", rehash, OLD),
    Fault("lease without expiry", endless_lease, ("everybody_is_answered",)),
    Fault("near store reusing tokens", near_reuses_tokens, OLD),
    Fault("failover without identity", failover_without_identity, OLD),
    Fault("hold-off flag read before the token", hold_off_read_first, OLD),
    Fault("hold-off flag read when storing", hold_off_read_when_storing, OLD),
    Fault("soft invalidation without hard register", soft_without_hard_register, OLD),
    Fault("payments behind a read unnoticed", payments_unnoticed, ("what_is_owed_is_not_served",)),
    *(Fault(name, build, ("strict",), bound) for name, build, bound in strict.FAULTS),
)
