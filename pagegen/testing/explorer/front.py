"""What fronts do with the engine's verdicts, in one place and without a server.

The order is that of :mod:`pagegen.asgi`: a page is admitted and what the handler forgot is settled
before the answer counts as given. Applications are coroutines that are given an :class:`Asked`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from ...engine import Engine
from ...exchange import Exchange, handling
from ...law.storing import Refusal
from ...messages import Fields, Request, ResponseHead, StoredResponse
from ...verdicts import (
    Admitted,
    Bypass,
    Course,
    Forward,
    Hit,
    NotCached,
    Stale,
    Ticket,
    Verdict,
    Wait,
)
from .history import CALLING, How, Rendering, Visit
from .run import point, until

if TYPE_CHECKING:
    from .process import Process
    from .world import Row


class ApplicationError(Exception):
    """What applications raise here when they fail."""


@dataclass(slots=True, eq=False)
class Asked:
    """A request as a handler sees it, and what it may do."""

    process: Process
    request: Request
    fields: Mapping[str, str]
    rendering: Rendering
    exchange: Exchange

    async def read(self, row: Row, *, replica: bool = False) -> int:
        """The version of a row, as a step; ``replica``: what a replica has of it."""
        await point(f"read {row.name}")
        run = self.process.world.run
        version = row.replica if replica else row.version
        run.reads(("row", row.name))
        self.rendering.versions[row.name] = version
        run.note(f"handler of page #{self.rendering.number} reads {row.name}: version {version}")
        return version

    def tag(self, *names: str) -> None:
        """``cache.tag``."""
        self.rendering.late += names
        self.exchange.tags.update(dict.fromkeys(names))

    def header(self, name: str) -> str:
        """A request field that the page depends on; empty where there is none."""
        value = self.fields.get(name, "")
        self.rendering.inputs = {**self.rendering.inputs, name: value}
        return value


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers; the body is the number of its rendering.

    ``owes``: rows with the versions that are owed to whoever comes once this is answered.
    """

    status: int = 200
    fields: Fields = (("content-type", "text/plain"),)
    private: bool = False
    owes: tuple[tuple[Row, int], ...] = ()


Application = Callable[[Asked], Awaitable[Reply]]


async def visit(process: Process, came: Visit, request: Request, application: Application) -> None:
    """Answer one request, as a front does. Never raises: what should not be raised is on record."""
    try:
        await _answer(process, came, request, application)
    except ApplicationError:
        came.how = How.FAILED
    except Exception as error:
        came.how, came.error = How.FAILED, error


async def _answer(
    process: Process, came: Visit, request: Request, application: Application
) -> None:
    engine = process.engine
    verdict: Verdict = await engine.look_up(request)
    while isinstance(verdict, Wait):
        await _wait(process, came, verdict)
        verdict = await engine.look_up(request, verdict)
    if isinstance(verdict, Hit):
        came.how = How.COLLAPSED if verdict.collapsed else How.HIT
        _show(process, came, verdict.page)
        if verdict.ticket is not None:
            _refresh(process, came, request, application, verdict.ticket)
    elif isinstance(verdict, Stale):
        came.how = How.STALE
        _show(process, came, verdict.page)
        if verdict.ticket is not None:
            _refresh(process, came, request, application, verdict.ticket)
    elif isinstance(verdict, Forward):
        await _Forwarding(process, came, request, application, verdict.ticket).run()
    elif isinstance(verdict, Bypass):
        await _bypass(process, came, request, application)
    elif isinstance(verdict, NotCached):
        came.how = How.NOT_CACHED
    else:
        assert_never(verdict)


async def _wait(process: Process, came: Visit, wait: Wait) -> None:
    world, run = process.world, process.world.run
    began = run.time - world.passed
    # Who looks again and again for another process does so anywhere in what that process does.
    polls = wait.pause > 0 or world.impatient
    run.note(f"wait for {'another process' if wait.pause else 'a flight'}")
    await until(wait.flight.future.done, "wait", wait.until, anytime=polls)
    came.waited += run.time - world.passed - began


def _show(process: Process, came: Visit, page: StoredResponse) -> None:
    came.page = page
    came.rendering = process.world.history.renderings[int(page.body) - 1]


def _refresh(
    process: Process, came: Visit, request: Request, application: Application, ticket: Ticket
) -> None:
    world = process.world
    name = f"{came.name}~{world.run.steps}"
    shadow = Visit(name, process.name, world.run.steps, world.run.time, came.inputs)

    async def refresh() -> None:
        try:
            await _Forwarding(process, shadow, request, application, ticket).run()
        except ApplicationError:
            return
        except Exception as error:
            world.history.faults.append(f"a refresh raised {error!r}")

    world.run.spawn(name, refresh(), home=process)


class _Forwarding:
    """One run of the application for a ticket; twice where its 304 was about another page."""

    def __init__(
        self,
        process: Process,
        came: Visit,
        request: Request,
        application: Application,
        ticket: Ticket,
    ) -> None:
        self._process = process
        self._engine: Engine = process.engine
        self._came = came
        self._request = request
        self._application = application
        self._ticket = ticket
        plan = ticket.plan
        self._exchange = Exchange(self._engine.realm, plan.slot, plan.namespaces)

    async def run(self) -> None:
        ticket, engine = self._ticket, self._engine
        try:
            if not await self._once():
                ticket.validating = None
                await self._once()
        except ApplicationError as error:
            stale = engine.rescue(ticket, error)
            if stale is None:
                raise
            self._came.how = How.STALE
            _show(self._process, self._came, stale.page)
        finally:
            if not ticket.settled:
                await engine.abandon(ticket, Refusal.FAILED)
            await engine.settle(self._exchange)
            self._exchange.end()
            await engine.give_back(ticket)

    async def _once(self) -> bool:
        view = self._engine.view(self._ticket, self._request)
        rendering = _begin(self._process, self._came)
        rendering.slot = self._ticket.plan.slot
        rendering.generation = self._ticket.generation
        asked = Asked(self._process, self._request, dict(view.fields), rendering, self._exchange)
        with handling(self._exchange):
            reply = await self._application(asked)
            return await self._finish(reply, rendering)

    async def _finish(self, reply: Reply, rendering: Rendering) -> bool:
        """What becomes of the response; False when the application is to be asked again."""
        engine, ticket, came = self._engine, self._ticket, self._came
        head = ResponseHead(reply.status, reply.fields)
        body = b"%d" % rendering.number
        came.how, came.rendering = How.FORWARD, rendering
        rendering.private = reply.private
        course = engine.course(ticket, self._request, head)
        if course is Course.COLLECT:
            outcome = await engine.admit(ticket, head, body)
            if isinstance(outcome, Admitted):
                came.page = outcome.page
        elif course is Course.VALIDATE:
            if not await self._freshen(head, rendering):
                return False
        elif course is Course.REPLACE:
            stale = engine.rescue(ticket)
            if stale is not None:
                came.how = How.STALE
                _show(self._process, came, stale.page)
        elif course is Course.PASS:
            await engine.consult(ticket, head)
        elif isinstance(course, Refusal):
            await engine.abandon(ticket, course)
        else:
            assert_never(course)
        await engine.settle(self._exchange)
        _owe(self._process, reply, self._exchange)
        return True

    async def _freshen(self, head: ResponseHead, rendering: Rendering) -> bool:
        old = self._ticket.validating
        outcome = await self._engine.freshen(self._ticket, head)
        if outcome is None:
            return False
        self._came.how = How.VALIDATED
        _show(self._process, self._came, outcome.page)
        if old is not None and self._came.rendering is not None:
            found_good = self._came.rendering
            generation = outcome.page.generation
            known = found_good.confirmed.get(generation, 0)
            found_good.confirmed[generation] = max(known, rendering.began)
        return True


async def _bypass(
    process: Process, came: Visit, request: Request, application: Application
) -> None:
    engine = process.engine
    exchange = Exchange(engine.realm)
    rendering = _begin(process, came)
    asked = Asked(process, request, dict(request.fields.pairs()), rendering, exchange)
    try:
        with handling(exchange):
            reply = await application(asked)
            rendering.private = reply.private
            head = ResponseHead(reply.status, reply.fields)
            engine.answered(exchange, request, head if request.method != "GET" else None)
            await engine.settle(exchange)
            _owe(process, reply, exchange)
    finally:
        if exchange.unsettled:
            await engine.settle(exchange)
        exchange.end()
    came.how, came.rendering = How.BYPASS, rendering


def _owe(process: Process, reply: Reply, exchange: Exchange) -> None:
    """From here on the answer may be with its client. What failed is owed to nobody yet."""
    for row, version in () if exchange.told else reply.owes:
        process.world.owes(row, version)


def _begin(process: Process, came: Visit) -> Rendering:
    run, renderings = process.world.run, process.world.history.renderings
    rendering = Rendering(len(renderings) + 1, came.name, run.steps)
    renderings.append(rendering)
    run.reads(CALLING)
    run.note(f"forward: handler of page #{rendering.number} begins")
    return rendering
