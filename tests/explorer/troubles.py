"""Worlds in which something befalls the store, a process or a clock, at any moment."""

from __future__ import annotations

from pagegen.leasing import FIRST_TERM, LONGEST_PAUSE
from pagegen.testing.explorer import Process, Row, World, point, until
from tests.explorer.applications import LATE, LATE_LEASED, LEASED, ONE, lists, shows


def eviction(world: World) -> None:
    """The token is evicted, and all pages are, at any moment."""
    row, home = world.row("item"), world.process("P", ONE)
    world.visit("F", home, "/item", shows(row))
    world.visit("G", world.process("R", ONE), "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])
    world.event("E", lambda: world.medium.evict_token("item"))
    world.event("X", world.medium.evict_pages)


def expiry(world: World) -> None:
    """Everything expires at any moment, tokens too."""
    row, home = world.row("item"), world.process("P", ONE)
    world.visit("F", home, "/item", shows(row))
    world.visit("G", home, "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])
    world.event("T", lambda: world.passes(100.0 * 86_400))


def clocks(world: World) -> None:
    """The wall clocks of two processes step, forward and back, whenever they are read."""
    row = world.row("item")
    one, other = world.process("P", ONE), world.process("Q", ONE)
    one.jumps, other.jumps = [90.0, -180.0], [-3600.0]
    world.tolerance = 3780.0
    world.visit("F", one, "/item", shows(row))
    world.visit("G", one, "/item", shows(row))
    world.writer("W", other, row, ["item"])


def restart(world: World) -> None:
    """The store loses everything."""
    row = world.row("item")
    world.visit("F", world.process("P", ONE), "/item", shows(row))
    world.visit("G", world.process("R", ONE), "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])
    world.event("X", world.medium.restart)


def failover(world: World) -> None:
    """A replica that stopped listening takes over: old tokens return, under another identity."""
    world.store(world.medium.store, labelled=True)
    row = world.row("item")
    world.visit("F", world.process("P", ONE), "/item", shows(row))
    world.visit("G", world.process("R", ONE), "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])
    copied = []
    world.event("C", lambda: copied.append(world.medium.copy()))
    world.event("X", world.medium.fail_over, after=lambda: bool(copied))


def crash(world: World) -> None:
    """A process that renders dies at any moment; another one has to get by."""
    row = world.row("item")
    doomed, home = world.process("D", ONE), world.process("P", ONE)
    world.visit("F", doomed, "/item", shows(row))
    world.visit("G", home, "/item", shows(row))
    world.writer("W", home, row, ["item"])
    world.event("X", doomed.crash)


def partition(world: World) -> None:
    """The writer's process loses the store and finds it again; what it owes is paid then."""
    row = world.row("item")
    world.visit("F", world.process("P", ONE), "/item", shows(row))
    other = world.process("Q", ONE)
    world.visit("G", other, "/item", shows(row))
    world.writer("W", other, row, ["item"])
    _cut(world, other, row)


def partition_late(world: World) -> None:
    """The same with a namespace that is found while rendering, and with leases."""
    row = world.row("item")
    world.visit("F", world.process("P", LATE_LEASED), "/list", lists(row, "item"))
    other = world.process("Q", LATE_LEASED)
    world.visit("G", other, "/list", lists(row, "item"))
    world.writer("W", other, row, ["item"])
    _cut(world, other, row)


def paid_behind(world: World) -> None:
    """What is owed may be paid while the answer to a read is under way."""
    row, home = world.row("item"), world.process("P", LATE, replies=True)

    def indebted() -> bool:
        return bool(home.owed.names)

    world.visit("F", home, "/list", lists(row, "item"))
    world.visit("G", home, "/list", lists(row, "item"), after=indebted)
    world.writer("W", home, row, ["item"])
    _cut(world, home, row)


def _cut(world: World, process: Process, row: Row) -> None:
    """A process does not reach the store for a while, and pays what it owes when it does."""
    back = []

    async def cut() -> None:
        process.cut_off()
        await point("reach the store again")
        process.come_back()
        back.append(True)

    async def pays() -> None:
        await until(lambda: bool(back) and bool(process.owed.names), "wait for a debt")
        version = row.version
        if process.pay():
            world.owes(row, version)

    world.actor("X", cut())
    world.actor("O", pays(), home=process, optional=True)


def lease_of_the_dead(world: World) -> None:
    """The holder of a lease dies: nobody waits for longer than its term."""
    row = world.row("item")
    doomed, home = world.process("D", LEASED), world.process("P", LEASED)
    world.longest_wait = FIRST_TERM + LONGEST_PAUSE
    world.visit("F", doomed, "/item", shows(row))
    world.visit("G", home, "/item", shows(row))
    world.event("X", doomed.crash)


def turns(world: World) -> None:
    """A process without its store: who comes after a write shares no rendering from before it."""
    row, home = world.row("item"), world.process("P", ONE)
    home.cut_off()
    for name in ("F", "G", "H"):
        world.visit(name, home, "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])


def turns_and_return(world: World) -> None:
    """The same, and the store is found again in the middle of it."""
    row, home = world.row("item"), world.process("P", ONE)
    home.cut_off()
    for name in ("F", "G"):
        world.visit(name, home, "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])
    world.event("Y", home.come_back)
