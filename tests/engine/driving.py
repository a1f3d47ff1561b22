"""An engine driven as a front drives it, step by step and without threads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pagegen import PageCache, Rule
from pagegen.leasing import Mark
from pagegen.messages import Request, ResponseHead, StoredResponse
from pagegen.sources import Sources
from pagegen.stepping import step
from pagegen.stores import Reading
from pagegen.testing import FakeClock, environ
from pagegen.verdicts import Admitted, Forward, Plan, Refused, Verdict, Wait
from pagegen.wsgi.requests import read_request
from tests.scenarios.test_leases import SharedStore

PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl="1h", early=False)
GROUPS = replace(PAGE, groups=True)
OPEN = Rule(path="/page", share="public")
SOFT = replace(PAGE, soft=True, swr=60)
SWR = replace(PAGE, ttl=60, swr=60)
#: A page with it has a namespace that its rule does not know.
LATE = ("Cache-Groups", '"late"')
#: What soft rules need.
KEY = {"site_key": "0123456789" * 4}
HERE, THERE, ELSEWHERE = b"h" * 20, b"t" * 20, b"e" * 20
#: Longer than half of ``max_delay``, in seconds.
LONG = 1.0


class Hooked(SharedStore):
    """A shared store that waits for a network. ``on``: what happens when a verb is called."""

    capabilities = replace(SharedStore.capabilities, blocking_reads=True, blocking_writes=True)

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.on: dict[str, Callable[[], object]] = {}
        self.asked: list[str] = []
        #: Seconds for which each page was written.
        self.kept_for: list[float] = []

    def _hook(self, verb: str) -> None:
        self.asked.append(verb)
        if verb in self.on:
            self.on[verb]()

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self._hook("read" if slot is not None else "read tokens")
        return await super().read(slot, namespaces)

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        self._hook("add_tokens")
        return await super().add_tokens(tokens, ttl)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self._hook("replace_tokens")
        await super().replace_tokens(tokens, ttl)

    async def remove_tokens(self, tokens: Mapping[str, bytes]) -> Collection[str]:
        self._hook("remove_tokens")
        return await super().remove_tokens(tokens)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        self._hook("write_page" if page.status else "mark")
        self.kept_for.append(ttl)
        return await super().write_page(slot, page, ttl)

    async def release(self, slot: bytes, owner: bytes) -> None:
        self._hook("release")
        await super().release(slot, owner)

    async def delete_page(self, slot: bytes) -> None:
        self._hook("delete_page")
        await super().delete_page(slot)


def asking(target: str = "/page", method: str = "GET", **fields: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return read_request(environ(method, target, named))


class Process:
    """One process: an engine, on a clock that moves when it is told to."""

    def __init__(self, clock: FakeClock, store: SharedStore, *rules: Any, **settings: Any) -> None:
        self.clock, self.store = clock, store
        sources = Sources(now=clock, monotonic=clock)
        given = [rule for rule in rules or (PAGE,) if rule is not None]
        cache = PageCache(given, store=store, sources=sources, **settings)
        self.engine = cache.engine
        self.state = self.engine._state
        self._say, self.state.remarks.store_failed = self.state.remarks.store_failed, self._said

    def _said(self, error: Exception, now: float) -> None:
        assert isinstance(error, Exception)  # people have to know what failed
        self._say(error, now)

    def ask(self, request: Request | None = None, after: Wait | None = None) -> Verdict:
        return step(self.engine.look_up(request or asking(), after))

    def leads(self, request: Request | None = None, after: Wait | None = None) -> Forward:
        verdict = self.ask(request, after)
        assert isinstance(verdict, Forward)
        return verdict

    def waits(self, request: Request | None = None, after: Wait | None = None) -> Wait:
        verdict = self.ask(request, after)
        assert isinstance(verdict, Wait)
        return verdict

    def answer(
        self, forward: Forward, body: bytes = b"page", *fields: tuple[str, str], status: int = 200
    ) -> Admitted | Refused:
        """The handler has answered, and all of it is there."""
        return step(self.engine.admit(forward.ticket, ResponseHead(status, fields), body))

    def stores(self, request: Request | None = None, *fields: tuple[str, str]) -> StoredResponse:
        """Ask, render and store; ends the lease as a front does."""
        request = request or asking()
        forward = self.leads(request)
        self.engine.view(forward.ticket, request)
        admitted = self.answer(forward, b"page", *fields)
        step(self.engine.give_back(forward.ticket))
        assert isinstance(admitted, Admitted)
        assert admitted.kept
        return admitted.page

    def declines(self, forward: Forward) -> None:
        """There is no room to render it."""
        self.engine.decline(forward.ticket)
        step(self.engine.give_back(forward.ticket))

    def owes(self, *names: str) -> None:
        """These were forgotten in vain; nobody tries it again in the background."""
        self.state.owed._work = lambda: None  # type: ignore[method-assign]
        self.state.owed.owe(names)

    def count(self, name: str) -> int:
        return self.engine.statistics().get(name, 0)


def mark(process: Process, forward: Forward) -> Mark | None:
    """What other processes are told of this page."""
    leasing, plan = process.state.leasing, forward.ticket.plan
    return step(leasing.marked(process.store, plan, process.clock()))


def planned(process: Process, **fields: str) -> Plan:
    plan = process.state.planner.plan(asking(**fields))
    assert isinstance(plan, Plan)
    return plan


def fail() -> None:
    raise OSError("no route to host")
