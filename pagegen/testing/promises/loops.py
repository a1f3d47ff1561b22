"""What a store promises on event loops, through its twin or in threads."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Sequence
from functools import partial

from ...stores.base import Store
from ..loop import Loop
from .ground import LONG, Ground, again, end_tasks, holds, mint, same
from .samples import differences, page

#: Tasks at one time, and calls that are cancelled.
TASKS = 48
CANCELLED = 200


class LoopPromises(Ground):
    """The store to await sees the same pages and tokens, on any loop, for any number of tasks."""

    def test_both_faces_are_one_store(self) -> None:
        """What one face replaces or writes, the other has at once."""
        one = self.handle()
        run, twin = self.loop.run, one.twin
        slot, name = self.slot(), self.name()
        (first,) = one.give(name)
        same(run(_tokens(twin, (name,))), (first,), "the twin reads what the store added")
        run(again(lambda: twin.replace_tokens({name: mint()}, LONG)))
        (second,) = one.tokens(name)
        holds(second not in (None, first), "the store sees what its twin replaced")
        one.replace(name)
        holds(run(_tokens(twin, (name,)))[0] not in (None, first, second), "and the other way")
        (third,) = one.tokens(name)
        same(set(run(twin.remove_tokens({name: third or b""}))), {name}, "the twin removes it")
        same(one.tokens(name), (None,), "and the store sees so")
        run(again(lambda: twin.write_page(slot, page(), LONG)))
        same(differences(one.page(slot), page()), [], "a page that the twin wrote is there")
        run(again(lambda: twin.delete_page(slot)))
        same(one.page(slot), None, "and gone when the twin deletes it")

    def test_each_of_many_tasks_gets_its_own_answers(self) -> None:
        """All begun before any of them has ended."""
        twin = self.handle().twin

        async def work(number: int) -> None:
            names, slot = self.names(3), self.slot()
            wanted = page(b"%d " % number * (1 + 300 * (number % 7)))
            minted = {name: mint() for name in names}
            present = await again(lambda: twin.add_tokens(minted, LONG))
            await again(lambda: twin.write_page(slot, wanted, LONG))
            for _ in range(5):
                found = await again(lambda: twin.read(slot, names))
                same(differences(found.page, wanted), [], "each task reads its own page")
                same(found.tokens, tuple(present[name] for name in names), "and its own tokens")

        async def crowd() -> None:
            await asyncio.gather(*[work(number) for number in range(TASKS)])

        self.loop.run(crowd())

    def test_a_cancelled_call_answers_nobody_else(self) -> None:
        """Reads are cancelled at every point of their way; those beside them are right."""
        one = self.handle()
        twin = one.twin
        names = self.names(10)
        known = dict(zip(names, one.give(*names), strict=True))

        async def work() -> None:
            for number in range(CANCELLED):
                name, kept = names[number % 10], names[number * 3 % 10]
                victim = asyncio.ensure_future(twin.read(self.slot(), (name,)))
                beside = asyncio.ensure_future(again(partial(twin.read, None, (kept,))))
                for _ in range(number % 8):
                    await asyncio.sleep(0)
                victim.cancel()
                answers = await asyncio.gather(victim, beside, return_exceptions=True)
                same(answers[1], (None, (known[kept],)), "each call gets its own answer")
                if not isinstance(answers[0], BaseException):
                    same(answers[0].tokens, (known[name],), "so does one cancelled too late")
            same(await _tokens(twin, names), tuple(known.values()), "so do all later ones")

        self.loop.run(work())

    def test_one_twin_serves_several_loops(self) -> None:
        """In turn, at the same time, and after one of them has ended."""
        one = self.handle()
        twin = one.twin
        name = self.name()
        tokens = one.give(name)
        first = self.loop
        with warnings.catch_warnings():
            # A loop that ends first leaves its connections to the collector, who complains.
            warnings.simplefilter("ignore", ResourceWarning)
            for _ in range(3):
                second = Loop()
                for loop in (first, second, first, second):
                    same(loop.run(_tokens(twin, (name,))), tokens, "every loop sees the tokens")
                second.run(end_tasks())
                second.close()
            same(first.run(_tokens(twin, (name,))), tokens, "a loop outlives its neighbours")
            one.store.close()
            gc.collect()

    def test_close_ends_what_runs_on_a_loop(self) -> None:
        """The store is closed by another thread, and leaves no task behind."""
        one = self.handle()
        self.loop.run(_tokens(one.twin, (self.name(),)))
        one.store.close()
        self.eventually(lambda: self.loop.run(_others()) == 0, "close leaves no task on a loop")


async def _tokens(store: Store, names: Sequence[str]) -> tuple[bytes | None, ...]:
    return (await again(lambda: store.read(None, names))).tokens


async def _others() -> int:
    return len(asyncio.all_tasks()) - 1
