"""Worlds where all is well but for the order of steps: small, and each about one thing."""

from __future__ import annotations

from pagegen.testing.explorer import Asked, Process, Reply, Row, World
from tests.explorer.applications import (
    BY_URL,
    CHECKED,
    HASTY,
    HELD,
    HELD_LATE,
    LAG,
    LATE,
    LEASED,
    LEASED_STALE,
    ONE,
    SOFT,
    STALE,
    TWO,
    VARYING,
    checks,
    fails_at,
    lists,
    private,
    replicates,
    shows,
    slow,
    varies,
)  # fmt: skip


def plain(world: World) -> None:
    """Three visitors in one process, a writer in another."""
    row, home = world.row("item"), world.process("P", ONE)
    for name in ("F", "G"):
        world.visit(name, home, "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])


def crowd(world: World) -> None:
    """Visitors only, and the promise of one rendering in a process."""
    row, home = world.row("item"), world.process("P", ONE)
    world.once = "process"
    for name in ("F", "G", "H"):
        world.visit(name, home, "/item", shows(row))


def machines(world: World) -> None:
    """Two processes with a visitor each; the writer is in one of them, and writes twice."""
    row = world.row("item")
    one, other = world.process("P", ONE), world.process("Q", ONE)
    world.visit("F", one, "/item", shows(row))
    world.visit("G", other, "/item", shows(row))
    world.writer("W", one, row, ["item"], times=2)


def two_writers(world: World) -> None:
    """Two writers of two rows in one namespace."""
    one, other, home = world.row("a"), world.row("b"), world.process("P", ONE)

    async def both(asked: Asked) -> Reply:
        await asked.read(one)
        await asked.read(other)
        return Reply()

    world.visit("F", home, "/item", both)
    world.visit("G", world.process("Q", ONE), "/item", both)
    world.writer("W", home, one, ["item"])
    world.writer("V", world.process("R", ONE), other, ["item"])


def two_namespaces(world: World) -> None:
    """Two namespaces, whose tokens live on servers of their own: read, made and replaced apart."""
    row = world.row("item")
    world.visit("F", world.process("P", TWO, pieces=True), "/item", shows(row))
    world.visit("G", world.process("R", TWO), "/item", shows(row))
    world.writer("W", world.process("Q", TWO), row, ["shop"])


def two_replaced(world: World) -> None:
    """Both are replaced, one after the other, in any order."""
    row = world.row("item")
    world.visit("F", world.process("P", TWO), "/item", shows(row))
    world.visit("G", world.process("R", TWO), "/item", shows(row))
    world.writer("W", world.process("Q", TWO, pieces=True), row, ["shop", "item"])


def late_namespaces(world: World) -> None:
    """A page that names its namespace only when it is rendered, in two processes."""
    row = world.row("item")
    world.visit("F", world.process("P", LATE), "/list", lists(row, "item"))
    world.visit("G", world.process("Q", LATE), "/list", lists(row, "item"))
    world.writer("W", world.process("R", LATE), row, ["item"])


def late_flight(world: World) -> None:
    """The same in one process, where one may wait for the other."""
    row, home = world.row("item"), world.process("P", LATE)
    for name in ("F", "G"):
        world.visit(name, home, "/list", lists(row, "item"))
    world.writer("W", world.process("Q", LATE), row, ["item"])


def variants(world: World) -> None:
    """Visitors of two languages, and a writer that forgets the page by its address."""
    row, home = world.row("item"), world.process("P", VARYING)
    for name, language in (("F", "en"), ("G", "de")):
        world.visit(name, home, "/page", varies(row), fields={"accept-language": language})
    world.writer("W", world.process("Q", VARYING), row, ["url:h/page"])


def validation(world: World) -> None:
    """A page that is validated each time, by an application that answers 304 where it may."""
    row, home = world.row("item"), world.process("P", CHECKED)
    for name in ("F", "G"):
        world.visit(name, home, "/item", checks(row))
    world.writer("W", world.process("Q", CHECKED), row, ["item"])


def refreshing(world: World) -> None:
    """A page that expires, is served stale and refreshed, while somebody writes."""
    row, home = world.row("item"), world.process("P", STALE)
    world.visit("F", home, "/item", shows(row))
    world.event("T", lambda: world.passes(70.0))
    world.visit("G", home, "/item", shows(row))
    world.writer("W", world.process("Q", STALE), row, ["item"])


def near(world: World) -> None:
    """Pages near, in two processes."""
    row = world.row("item")
    one = world.process("P", ONE, near=100_000)
    world.visit("F", one, "/item", shows(row))
    world.visit("G", one, "/item", shows(row))
    world.writer("W", world.process("Q", ONE, near=100_000), row, ["item"])


def impatient(world: World) -> None:
    """Whoever waits may have waited long enough at any moment; and flights may be overdue."""
    row, home = world.row("item"), world.process("P", ONE)
    world.impatient = True
    for name in ("F", "G"):
        world.visit(name, home, "/item", shows(row))
    world.writer("W", world.process("Q", ONE), row, ["item"])


def posting(world: World) -> None:
    """A handler forgets its page, commits late, and is settled before its answer leaves."""
    row = world.row("item")
    home = world.process("P", ONE)

    async def writes(asked: Asked) -> Reply:
        await asked.process.invalidate("item")
        await world.commit(row)
        return Reply(303, owes=((row, row.version),))

    world.visit("F", home, "/item", shows(row))
    world.visit("G", world.process("Q", ONE), "/item", shows(row))
    world.visit("W", home, "/write", writes, method="POST")


def unsafe(world: World) -> None:
    """A write to the page's own address, with no code in the handler (RFC 9111 §4.4)."""
    row, home = world.row("item"), world.process("P", BY_URL)

    async def writes(_asked: Asked) -> Reply:
        await world.commit(row)
        return Reply(204, (), owes=((row, row.version),))

    world.visit("F", home, "/item", shows(row))
    world.visit("G", home, "/item", shows(row))
    world.visit("W", home, "/item", writes, method="POST")


def hit_for_miss(world: World) -> None:
    """Pages for one visitor each: nobody gets another's, nobody queues."""
    row, home = world.row("item"), world.process("P", ONE)
    for name in ("F", "G", "H"):
        world.visit(name, home, "/item", private(row))


def failing(world: World) -> None:
    """A handler that fails until somebody commits."""
    row, home = world.row("item"), world.process("P", ONE)
    for name in ("F", "G"):
        world.visit(name, home, "/item", fails_at(row, 0))
    world.writer("W", home, row, ["item"])


def hasty(world: World) -> None:
    """A handler slower than anybody waits for it."""
    row, home = world.row("item"), world.process("P", HASTY)
    for name in ("F", "G"):
        world.visit(name, home, "/item", slow(row, 30.0))
    world.writer("W", world.process("Q", HASTY), row, ["item"])


def leases(world: World) -> None:
    """Two processes and one rendering: who has no lease polls until the page is there."""
    row = world.row("item")
    world.once = "everywhere"
    for name in ("F", "G"):
        world.visit(name, world.process(f"P{name}", LEASED), "/item", shows(row))


def leases_and_writer(world: World) -> None:
    """The same with a writer: whoever waits begins anew under the new token."""
    row = world.row("item")
    home = world.process("P", LEASED)
    world.visit("F", home, "/item", shows(row))
    world.visit("G", world.process("Q", LEASED), "/item", shows(row))
    world.writer("W", home, row, ["item"])


def leases_refused(world: World) -> None:
    """Private pages over two processes: nobody gets another's, nobody waits for long."""
    row = world.row("item")
    for name in ("F", "G"):
        world.visit(name, world.process(f"P{name}", LEASED), "/item", private(row))


def leases_refreshing(world: World) -> None:
    """An expired page that may be served stale: one of two processes refreshes it."""
    row = world.row("item")
    one, other = world.process("P", LEASED_STALE), world.process("Q", LEASED_STALE)
    expired = []
    world.visit("F", one, "/item", shows(row))

    def expire() -> None:
        world.passes(70.0)
        expired.append(True)

    world.event("T", expire)
    world.visit("G", one, "/item", shows(row), after=lambda: bool(expired))
    world.visit("H", other, "/item", shows(row), after=lambda: bool(expired))


def early(world: World) -> None:
    """A page that takes long is renewed before it expires, or is not, as chance has it."""
    row, home = world.row("item"), world.process("P", LEASED)
    world.visit("F", home, "/item", slow(row, 10.0))
    filled = []
    world.event("T", lambda: (world.passes(30.0), filled.append(True)))
    world.visit("G", home, "/item", slow(row, 10.0), after=lambda: bool(filled))
    world.writer("W", world.process("Q", LEASED), row, ["item"], after=lambda: bool(filled))


def replica(world: World) -> None:
    """Handlers read a replica, which hears of the write within the lag that the rule states."""
    _replica(world)


def replica_by_flags(world: World) -> None:
    """The same where the writer's clock is behind, so that the stamps of its tokens say nothing."""
    _replica(world, skew=-10.0)


def replica_by_stamps(world: World) -> None:
    """The same where the flag is evicted at any moment: the stamps of tokens say it, too."""
    _replica(world)
    world.event("E", lambda: world.medium.evict_token("pagegen:hold:item"))


def replica_late(world: World) -> None:
    """The same with a namespace that is found while rendering, by flags."""
    row = world.row("item", lags=True)
    world.visit("F", world.process("P", HELD_LATE), "/list", replicates(row, "item"))
    world.visit("G", world.process("R", HELD_LATE), "/list", replicates(row, "item"))
    _writes_and_lags(world, world.process("Q", HELD_LATE), row, skew=-10.0)


def _replica(world: World, skew: float = 0.0) -> None:
    row = world.row("item", lags=True)
    world.visit("F", world.process("P", HELD), "/item", replicates(row))
    world.visit("G", world.process("R", HELD), "/item", replicates(row))
    _writes_and_lags(world, world.process("Q", HELD), row, skew=skew)


def _writes_and_lags(world: World, process: Process, row: Row, *, skew: float) -> None:
    process.skew = skew
    world.writer("W", process, row, ["item"])

    def hears() -> None:
        world.passes(LAG)
        row.replica = row.version

    world.event("L", hears)


def soft(world: World) -> None:
    """One writes softly, the other hard: after the hard one nobody sees what was before it."""
    row = world.row("item")
    home = world.process("P", SOFT)
    world.visit("F", home, "/item", shows(row))
    world.visit("G", world.process("R", SOFT), "/item", shows(row))
    other = world.process("Q", SOFT)
    world.writer("V", other, row, ["item"], soft=True)
    world.writer("W", other, row, ["item"])
