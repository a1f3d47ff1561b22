"""What a store promises of itself: threads, processes, closing, capabilities, statistics."""

from __future__ import annotations

import os
import random
import select
import signal
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from unittest import SkipTest

from ...stepping import step
from ...stores.base import Capabilities, Leases, Store
from ..loop import PATIENCE
from .ground import LONG, Ground, Handle, holds, mint, patiently, same, together
from .samples import differences, page

#: Reads of parent and child at the same time after a fork.
READS = 100


class HandlePromises(Ground):
    """A handle serves many threads and both sides of a fork, and says truly what it can do."""

    def test_capabilities_agree_with_the_verbs(self) -> None:
        """Leases need their verbs, and compare-and-set."""
        store = self.handle().store
        can = store.capabilities
        holds(isinstance(can, Capabilities), "a store says what it can do")
        if can.leases:
            holds(isinstance(store, Leases), "a store with leases has acquire and release")
            holds(can.compare_and_set, "only compare-and-set gives a lease back safely")

    def test_no_verb_suspends(self) -> None:
        """Without an event loop, each ends in one step."""
        store = self.handle().store
        slot, name = self.slot(), self.name()
        step(store.add_tokens({name: mint()}, LONG))
        step(store.replace_tokens({name: mint()}, LONG))
        holds(step(store.write_page(slot, page(), LONG)), "there is room for a small page")
        found = step(store.read(slot, (name,)))
        same(differences(found.page, page()), [], "the page is there")
        holds(found.tokens != (None,), "the token is there")
        step(store.delete_page(slot))
        same(step(store.read(slot, ())).page, None, "the page is gone")
        if isinstance(store, Leases) and store.capabilities.leases:
            owner = mint()
            holds(step(store.acquire(slot, owner, LONG)), "a free lease is given")
            step(store.release(slot, owner))

    def test_each_of_many_threads_gets_its_own_answers(self) -> None:
        """Eight threads on two handles, each with a slot and names of its own."""
        handles = self.two()

        def work(number: int) -> None:
            handle, rng = handles[number % 2], random.Random(number)  # noqa: S311
            for turn in range(15):
                names, slot = self.names(rng.randrange(1, 6)), self.slot()
                tokens = handle.give(*names)
                wanted = page(b"%d %d " % (number, turn) * rng.randrange(1, 2_000))
                handle.write(slot, wanted)
                found = handle.read(slot, *names)
                same(differences(found.page, wanted), [], "each thread reads its own page")
                same(found.tokens, tokens, "each thread reads its own tokens")
                handle.replace(names[0])
                now = handle.tokens(*names)
                holds(now[0] != tokens[0], "each thread replaces its own token")
                same(now[1:], tokens[1:], "and no other")
                handle.delete(slot)
                same(handle.page(slot), None, "each thread deletes its own page")

        together(*[lambda number=number: work(number) for number in range(8)])

    def test_statistics_are_numbers_by_name_at_any_time(self) -> None:
        """Before anything was done, after it, and after the end."""
        one = self.handle()
        _check_statistics(one.store)
        one.give(self.name())
        one.write(self.slot(), page())
        one.read(self.slot(), self.name())
        _check_statistics(one.store)
        _check_statistics(one.twin)
        one.store.close()
        _check_statistics(one.store)

    def test_closing_twice_is_no_error_and_closes_nobody_else(self) -> None:
        """The other handle goes on, if it is another one; what was written stays."""
        one, other = self.two()
        slot, name = self.slot(), self.name()
        tokens = one.give(name)
        one.write(slot, page())
        other.read(slot, name)
        one.store.close()
        one.store.close()
        if other is not one:
            found = other.read(slot, name)
            same(differences(found.page, page()), [], "a page outlives its writer's handle")
            same(found.tokens, tokens, "so does a token")
            other.replace(name)
            holds(other.tokens(name) != tokens, "the other handle works on")

    def test_both_sides_of_a_fork_go_on(self) -> None:
        """Each gets its own answers; a shared store shows each what the other does."""
        one = self.handle()
        names, slot = self.names(12), self.slot()
        before = dict(zip(names, one.give(*names), strict=True))
        one.write(slot, page(b"parent"))
        shared = one.store.capabilities.shared
        known = {name: before[name] for name in names[1:]}  # the child replaces the first

        def child() -> None:
            _ask(one.store, known, seed=1)
            fresh = self.open()
            found = patiently(lambda: step(fresh.read(slot, names)))
            same(found.tokens, tuple(before.values()), "a child reads what its parent wrote")
            same(differences(found.page, page(b"parent")), [], "a child reads its parent's page")
            patiently(lambda: step(one.store.replace_tokens({names[0]: mint()}, LONG)))
            patiently(lambda: step(one.store.write_page(slot, page(b"child"), LONG)))
            now = patiently(lambda: step(fresh.read(slot, names[:1]))).tokens
            holds(now[0] not in (None, before[names[0]]), "a child sees what it has done itself")

        _beside(child, lambda: _ask(one.store, known, seed=2))
        found = one.read(slot, *names)
        same(found.tokens[1:], tuple(before.values())[1:], "what nobody replaced is as it was")
        if shared:
            holds(found.tokens[0] not in (None, before[names[0]]), "a parent sees its child's deed")
            same(differences(found.page, page(b"child")), [], "a parent sees its child's page")
        else:
            same(found.tokens[0], before[names[0]], "a store of one process is the parent's own")
        _check_still_good(one, names[1])


def _check_statistics(store: Store) -> None:
    for name, number in store.statistics().items():
        holds(isinstance(name, str), f"{name!r} names a number")
        holds(type(number) is int, f"{name} is a whole number, not {number!r}")


def _check_still_good(handle: Handle, name: str) -> None:
    (before,) = handle.tokens(name)
    handle.replace(name)
    holds(handle.tokens(name)[0] not in (None, before), "the parent can replace tokens after it")


def _ask(store: Store, known: dict[str, bytes], seed: int) -> None:
    """Many reads of names whose tokens are known, in the order of chance."""
    rng = random.Random(seed)  # noqa: S311
    for _ in range(READS):
        names = rng.sample(sorted(known), 3)
        tokens = patiently(partial(_tokens, store, names))
        same(tokens, tuple(known[name] for name in names), "each side of a fork gets its answers")


def _tokens(store: Store, names: Sequence[str]) -> tuple[bytes | None, ...]:
    return step(store.read(None, names)).tokens


def _beside(child: Callable[[], None], parent: Callable[[], None]) -> None:
    """Both at once, one in a child process; raises what either of them found."""
    if not hasattr(os, "fork"):
        raise SkipTest("this system cannot fork")
    receiver, sender = os.pipe()
    with warnings.catch_warnings():
        # From Python 3.12 on, forking beside other threads is warned of. It is what servers do.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        _end_as_child(child, sender)
    try:
        os.close(sender)
        parent()
        readable, _, _ = select.select([receiver], [], [], PATIENCE)
        said = os.read(receiver, 65_536) if readable else b"the child came to no end"
    finally:
        os.close(receiver)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    same(said.decode("utf-8", "replace"), "well", "what the child found")


def _end_as_child(work: Callable[[], None], sender: int) -> None:
    said = "well"
    try:
        work()
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    finally:
        os.write(sender, said.encode("utf-8", "replace")[:65_000])
        os._exit(0)
