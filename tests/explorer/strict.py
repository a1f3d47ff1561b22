"""Worlds of strict writers, and variants of what they and their readers do, each with one fault."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pagegen.law import marks
from pagegen.state import State
from pagegen.testing.explorer import Application, Asked, Process, Reply, Row, World, point, until
from tests.explorer.applications import STRICT, STRICT_LEASED, STRICT_STALE, shows

#: Seconds that marks are up where they may lapse.
TERM = 30.0


def strict(world: World) -> None:
    """A strict writer, and visitors of two processes."""
    row = world.row("item")
    world.visit("F", world.process("P", STRICT), "/item", shows(row))
    world.visit("G", world.process("R", STRICT), "/item", shows(row))
    world.strict_writer("W", world.process("Q", STRICT), row, ["item"])


def strict_flight(world: World) -> None:
    """Visitors of one process, who may wait for each other, before and behind the commit."""
    row, home = world.row("item"), world.process("P", STRICT)
    for name in ("F", "G"):
        world.visit(name, home, "/item", _renders(row))
    world.strict_writer("W", world.process("Q", STRICT), row, ["item"])


def _renders(row: Row) -> Application:
    """A handler that has something to do when it has read a row."""

    async def application(asked: Asked) -> Reply:
        await asked.read(row)
        await point("render")
        return Reply()

    return application


def strict_writers(world: World) -> None:
    """Two of them, overlapping, of two rows: the end of one does not unprotect the other."""
    one, other = world.row("a"), world.row("b")

    async def both(asked: Asked) -> Reply:
        await asked.read(one)
        await asked.read(other)
        return Reply()

    world.visit("F", world.process("P", STRICT), "/item", both)
    world.visit("G", world.process("R", STRICT), "/item", both)
    world.strict_writer("W", world.process("Q", STRICT), one, ["item"])
    world.strict_writer("V", world.process("S", STRICT), other, ["item"])


def strict_crash(world: World) -> None:
    """The writer dies at any moment, and its marks lapse."""
    row, doomed = world.row("item"), world.process("Q", STRICT)
    world.visit("F", world.process("P", STRICT), "/item", shows(row))
    world.strict_writer("W", doomed, row, ["item"], term=TERM)
    dead: list[object] = []
    world.event("X", lambda: dead.append(doomed.crash()))
    world.event("T", lambda: world.passes(TERM + 1), after=lambda: bool(dead))


def _up(world: World) -> bool:
    """Whether somebody has the first mark."""
    tokens: Any = world.medium._memory()._tokens
    return tokens.get(marks.mark(0, "item"), world.wall()) is not None


def strict_lapse(world: World) -> None:
    """A writer whose marks lapsed ends while another one writes, who has the same mark by then."""
    slow, row = world.process("Q", STRICT), world.row("item")

    late: list[object] = []
    ended: list[object] = []

    async def ends_late() -> None:
        marked = await slow.engine.marking.begin(("item",), TERM, soft=False)
        assert marked is not None
        late.append(world.passes(TERM + 1))
        await until(lambda: _up(world) or bool(row.version), "wait for the other writer")
        await slow.engine.marking.end(marked)
        ended.append(True)

    world.actor("W", ends_late(), home=slow)
    home = world.process("P", STRICT)
    world.visit("F", home, "/item", shows(row), after=lambda: bool(ended))
    world.visit("G", home, "/item", shows(row), after=lambda: bool(row.version))
    other = world.process("S", STRICT)
    world.strict_writer("V", other, row, ["item"], term=1000.0, after=lambda: bool(late))


def strict_and_stale(world: World) -> None:
    """A page that expires, which others may get while it is renewed."""
    row = world.row("item")
    world.visit("F", world.process("P", STRICT_STALE), "/item", shows(row))
    world.event("T", lambda: world.passes(70.0))
    world.visit("G", world.process("R", STRICT_STALE), "/item", shows(row))
    world.strict_writer("W", world.process("Q", STRICT_STALE), row, ["item"], term=1000.0)


def strict_leases(world: World) -> None:
    """Two processes that share a rendering: whoever waits looks at the marks again."""
    row = world.row("item")
    world.visit("F", world.process("P", STRICT_LEASED), "/item", shows(row))
    world.visit("G", world.process("R", STRICT_LEASED), "/item", shows(row))
    world.strict_writer("W", world.process("Q", STRICT_LEASED), row, ["item"])


def strict_and_cut(world: World) -> None:
    """The writer's process loses the store at any moment, and finds it again."""
    row, other = world.row("item"), world.process("Q", STRICT)
    world.visit("F", world.process("P", STRICT), "/item", shows(row))
    world.strict_writer("W", other, row, ["item"])
    cut: list[object] = []
    world.event("X", lambda: cut.append(other.cut_off()))
    world.event("Y", other.come_back, after=lambda: bool(cut))


# Faults -------------------------------------------------------------------------------------------


def no_marks(world: World) -> None:
    """The commit comes between two invalidations, and readers look at no marks."""
    _readers(world, _never)
    strict(world)


def no_tokens_before(world: World) -> None:
    """Marks alone: what was stored before them is found until the end."""
    strict(world)
    invalidator: Any = world.processes["Q"].engine.marking._invalidator

    async def nothing(*_: object, **__: object) -> None: ...

    invalidator.foretell = nothing


def tokens_before_marks(world: World) -> None:
    """New tokens first, and the marks after them."""
    strict(world)
    marking: Any = world.processes["Q"].engine.marking
    claim, foretell = marking._claim, marking._invalidator.foretell

    async def tokens_first(names: Sequence[str], *given: Any) -> bool:
        await foretell(names, soft=False)
        claimed: bool = await claim(names, *given)
        return claimed

    async def nothing(*_: object, **__: object) -> None: ...

    marking._claim, marking._invalidator.foretell = tokens_first, nothing


def marks_read_first(world: World) -> None:
    """Readers look at the marks before they read the tokens."""
    strict(world)
    for name in ("P", "R"):
        engine: Any = world.processes[name].engine
        _look_first(engine._state, engine.store)


def _look_first(state: Any, face: Any) -> None:
    read, written = face.read, state.written
    seen: list[tuple[str, ...]] = []

    async def marks_first(slot: bytes | None, names: Sequence[str]) -> Any:
        face.read = read
        if slot is not None:
            seen[:] = [await written(face, _Named(names))]
        found = await read(slot, names)
        face.read = marks_first
        return found

    async def as_seen(*_: object) -> tuple[str, ...]:
        return seen[0]

    face.read, state.written = marks_first, as_seen


class _Named:
    def __init__(self, namespaces: Sequence[str]) -> None:
        self.namespaces = namespaces


def one_flag(world: World) -> None:
    """One flag for all: whoever finds it up is content, and whoever has done takes it down."""
    row, other, home = world.row("item"), world.row("other"), world.process("P", STRICT)
    world.visit("F", home, "/item", shows(row), after=lambda: bool(other.version))
    world.visit("G", home, "/item", shows(row), after=lambda: bool(row.version))
    world.strict_writer("W", world.process("Q", STRICT), other, ["item"])
    world.strict_writer("V", world.process("S", STRICT), row, ["item"])
    for name in ("Q", "S"):
        marking: Any = world.processes[name].engine.marking

        async def claim(
            names: Sequence[str], term: float, mine: dict[str, bytes], marking: Any = marking
        ) -> bool:
            flags = {marks.mark(0, name): marking._state.token() for name in names}
            mine |= await marking._store.add_tokens(flags, term)
            return True

        marking._claim = claim


def removed_by_name(world: World) -> None:
    """Marks are removed by their names: who is late removes another's."""
    strict_lapse(world)

    async def remove(tokens: Mapping[str, bytes]) -> Collection[str]:
        world.run.writes(*tokens)
        for name in tokens:
            world.medium._memory()._tokens.discard(name)
        return tuple(tokens)

    world.medium.remove_tokens = remove  # type: ignore[method-assign]


def joined_unlooked(world: World) -> None:
    """Who finds a mark renders what is not stored, but others join that by their tokens."""
    row, home = world.row("item"), world.process("P", STRICT)
    world.visit("F", home, "/item", _renders(row), after=lambda: _up(world))
    world.visit("G", home, "/item", _renders(row), after=lambda: bool(row.version))
    world.strict_writer("W", world.process("Q", STRICT), row, ["item"])
    looking: Any = world.processes["P"].engine.look_up
    boarding: Any = looking.__self__._boarding
    embark = boarding.embark

    async def joins(ticket: Any, look: Any) -> Any:
        held, ticket.stores = not ticket.stores, True
        verdict = await embark(ticket, look)
        ticket.stores = not held
        if held and ticket.flight is not None:
            ticket.flight.followers += 1  # so that its page is handed over
        return verdict

    boarding.embark = joins


async def _never(*_: object) -> tuple[str, ...]:
    return ()


def _readers(world: World, written: Any) -> None:
    """Let all processes that are made from now on read marks so."""
    make = world.process

    def process(*given: Any, **options: Any) -> Process:
        made = make(*given, **options)
        state: State = made.engine._state
        state.written = written  # type: ignore[method-assign]
        return made

    world.process = process  # type: ignore[method-assign]


#: How they are told, and the preemptions that it takes to find them out.
FAULTS = (
    ("strict write without marks", no_marks, 2),
    ("strict write without new tokens before the commit", no_tokens_before, 2),
    ("new tokens before the marks", tokens_before_marks, 2),
    ("marks read before the tokens", marks_read_first, 3),
    ("one flag for all writers", one_flag, 3),
    ("marks removed by their names", removed_by_name, 2),
    ("flights joined past a mark", joined_unlooked, 3),
)
