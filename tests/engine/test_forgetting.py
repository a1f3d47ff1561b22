"""What is written to forget, in which order, and that no order of two writers revives a page."""

from __future__ import annotations

import random
import types
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from pagegen import Rule
from pagegen.forgetting import Forgetting
from pagegen.groups import SEQUENCE
from pagegen.law import softness
from pagegen.messages import StoredResponse
from pagegen.rulebook import RuleBook
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.stores.base import Reading

TTL = 1000.0


def book(**options: Any) -> RuleBook:
    """One rule, with these options."""
    return RuleBook((Rule(path="/a", share="public", namespaces=["n"], ttl=60, swr=30, **options),))


SOFT = book(soft=True)


@types.coroutine
def _turn() -> Generator[None, None, None]:
    yield


class Slow(MemoryStore):
    """Notes what it is sent, in order. Stepped, it does one name at a time, as many servers do."""

    def __init__(self, *, stepped: bool = False, backwards: bool = False) -> None:
        super().__init__("4MiB")
        self.stepped = stepped
        self.backwards = backwards
        self.sent: list[tuple[tuple[str, ...], float]] = []
        self.was_read: list[tuple[str, ...]] = []

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.was_read.append(tuple(namespaces))
        found = []
        for name in namespaces:
            found += (await super().read(None, [name])).tokens
            if self.stepped:
                await _turn()  # the answer is under way
        return Reading(None, tuple(found))

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self.sent.append((tuple(tokens), ttl))
        order = reversed(tokens.items()) if self.backwards else tokens.items()
        for name, token in order:
            if self.stepped:
                await _turn()  # the token is under way
            await super().replace_tokens({name: token}, ttl)


def forgetting(rules: RuleBook, now: Callable[[], float] = lambda: 100.0) -> Forgetting:
    """One that mints numbers."""
    numbers = count(1)
    return Forgetting(lambda: b"%024d" % next(numbers), now, TTL, rules)


def test_where_no_rule_is_soft_there_are_tokens_and_nothing_else() -> None:
    store = Slow()
    for soft in ((), ("n",)):
        step(forgetting(book()).forget(store, ["n", "url:a/b"], soft=soft))
    assert store.sent == [(("n", "url:a/b"), TTL)] * 2
    assert store.was_read == []


def test_a_hard_one_replaces_hard_registers_too_and_at_once() -> None:
    store = Slow()
    step(forgetting(SOFT).forget(store, ["n", "url:a/b"]))
    assert store.sent == [(("n", "url:a/b", "pagegen:hard:n"), TTL)]


def test_a_soft_one_leaves_the_hard_register_alone_and_remembers() -> None:
    store = Slow()
    one = forgetting(SOFT)
    step(one.forget(store, ["n", "m", "url:a/b"]))
    before = step(store.read(None, ["n", "m", "url:a/b", "pagegen:hard:n"])).tokens
    step(one.forget(store, ["n", "m", "url:a/b"], soft=["n", "url:a/b"]))
    after = step(store.read(None, ["n", "m", "url:a/b", "pagegen:hard:n"])).tokens
    assert store.sent[-1] == (("n", "m", "url:a/b", "pagegen:hard:m"), TTL)
    said = [
        softness.superseded(old or b"", new or b"") for old, new in zip(before, after, strict=True)
    ]
    assert said == [100.0, None, None, None]
    assert before[3] == after[3] is not None


def test_a_cache_without_rules_writes_all_that_others_may_need() -> None:
    store = Slow()
    one = forgetting(RuleBook())
    step(one.forget(store, ["n"]))
    step(one.forget(store, ["n"], soft=["n"]))
    assert [names for names, _ in store.sent] == [
        (SEQUENCE,),
        ("n", "pagegen:hard:n"),
        (SEQUENCE,),
        ("n",),
    ]


def test_flags_for_replicas_that_lag_are_written_first_and_live_as_long_as_the_lag() -> None:
    store = Slow()
    lagging = book(soft=True, replica_lag=2, groups=True)
    step(forgetting(lagging).forget(store, ["n", "url:a/b"], soft=["n"]))
    assert store.sent == [
        (("pagegen:hold:n", "pagegen:hold:url:a/b", f"pagegen:hold:{SEQUENCE}"), 2.0),
        ((SEQUENCE,), TTL),
        (("n", "url:a/b"), TTL),
    ]


def test_a_hard_register_that_is_minted_has_the_flag_of_its_namespace() -> None:
    store = Slow()
    step(forgetting(book(replica_lag=2)).hold(store, ["pagegen:hard:n", "n"]))
    step(forgetting(book()).hold(store, ["n"]))
    assert store.sent == [(("pagegen:hold:n",), 2.0)]


# Two writers and those who fill, in all orders --------------------------------------------------


@dataclass
class World:
    """One namespace; a database whose version counts writes; pages that were made of it.

    Time passes by a second with each step. ``acknowledged``: of each version, how it was forgotten
    and when that had ended.
    """

    backwards: bool = False
    time: float = 1000.0
    version: int = 0
    acknowledged: dict[int, tuple[bool, float]] = field(default_factory=dict)
    pages: list[tuple[StoredResponse, int]] = field(default_factory=list)
    left: int = 0

    def __post_init__(self) -> None:
        self.store = Slow(backwards=self.backwards)
        self.forgetting = forgetting(SOFT, lambda: self.time)
        self.names = ("n", softness.hard("n"))
        step(self.forgetting.forget(self.store, ["n"]))
        step(self.fill())
        self.store.stepped = True

    async def write(self, *, soft: bool) -> None:
        self.version += 1
        mine = self.version
        await _turn()
        await self.forgetting.forget(self.store, ["n"], soft=["n"] if soft else ())
        self.acknowledged[mine] = soft, self.time

    async def fill(self) -> None:
        names = self.names[::-1] if self.backwards else self.names
        found = dict(zip(names, (await self.store.read(None, names)).tokens, strict=True))
        seen = self.version
        tokens = tuple([found[name] or b"" for name in self.names])
        page = StoredResponse(
            *(b"k", self.names, tokens, 200, "", b"", None, None, 0.0, 0.0, 1e9, 0.0),
            *((), (), (), ()),
        )
        page.stale_while_revalidate = 30.0
        self.pages.append((page, seen))

    def check(self) -> None:
        """What a request that comes now may get of each page."""
        present = step(MemoryStore.read(self.store, None, self.names)).tokens
        for page, seen in self.pages:
            unseen = [said for version, said in self.acknowledged.items() if version > seen]
            if page.generation == present:
                assert not unseen, "a page is fresh that an acknowledged write made old"
            elif (since := softness.since(page, present)) is not None:
                assert all(soft for soft, _ in unseen), "a page outlives a hard invalidation"
                first = min((ended for _, ended in unseen), default=since)
                self.left += bool(unseen)
                assert since <= first, "its window begins later than its first invalidation ended"


Actor = Callable[[World], Coroutine[Any, Any, None]]


def soft(world: World) -> Coroutine[Any, Any, None]:
    """Writes, and forgets softly."""
    return world.write(soft=True)


def hard(world: World) -> Coroutine[Any, Any, None]:
    """Writes, and forgets hard."""
    return world.write(soft=False)


def fill(world: World) -> Coroutine[Any, Any, None]:
    """Renders and stores."""
    return world.fill()


def run(actors: Sequence[Actor], choose: Callable[[int], int], world: World) -> None:
    """Let the actors take turns: ``choose`` says which of so many is next."""
    going = [actor(world) for actor in actors]
    while going:
        chosen = going[choose(len(going))]
        world.time += 1.0
        try:
            chosen.send(None)
        except StopIteration:
            going.remove(chosen)
        world.check()


def orders() -> Iterator[Callable[[int], int]]:
    """A chooser for each order there is: back to the last choice that has another way."""
    taken: list[tuple[int, int]] = []
    while True:
        at = iter(range(1 << 30))

        def choose(ways: int, at: Iterator[int] = at) -> int:
            place = next(at)
            if place == len(taken):
                taken.append((0, ways))
            return taken[place][0]

        yield choose
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        way, ways = taken.pop()
        taken.append((way + 1, ways))


CROWDS = {
    "soft-fill": ((soft, fill), False),
    "hard-fill": ((hard, fill), False),
    "soft-hard": ((soft, hard, fill), False),
    "soft-hard-backwards": ((soft, hard, fill), True),
    "soft-soft": ((soft, soft, fill), False),
}


@pytest.mark.parametrize(("actors", "backwards"), CROWDS.values(), ids=CROWDS)
def test_in_no_order_does_a_page_outlive_what_it_should(
    actors: Sequence[Actor], backwards: bool
) -> None:
    worlds = []
    for choose in orders():
        worlds.append(World(backwards))
        run(actors, choose, worlds[-1])
    assert len(worlds) >= 35
    assert any(world.left for world in worlds) is (soft in actors)


def test_nor_do_more_of_them_at_random() -> None:
    draw = random.Random(5)
    for _ in range(1500):
        actors = [soft, hard, *draw.choices((soft, soft, hard, fill), k=4), fill]
        run(actors, draw.randrange, World(draw.random() < 0.5))
