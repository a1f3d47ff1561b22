"""What a response causes is done before its client has all of it: the next request may come then.

A client has the whole of a response with its last byte, with its head where there is no body, and
with the end of the stream where nothing told the length. Servers send a head as soon as they are
given it, and an empty piece makes some of them send it too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from pagegen import Invalidates, Rule
from pagegen.testing import PATIENCE, Answer, Reply, Scenario, Seen, call_asgi, call_wsgi
from pagegen.testing import environ as make_environ
from pagegen.testing import scope as make_scope
from tests.conftest import MakeScenario

OPEN = Rule(path="/page", share="public")
FRESH = ("Cache-Control", "max-age=60")
TAG = ("ETag", '"v1"')
SIZED = ("Content-Length", "5")
NOTHING = ("Content-Length", "0")
BODILESS = (204, 304)


class Receiving:
    """A client that does something the moment it has the whole of a response."""

    def __init__(self, method: str, then: Callable[[], Any]) -> None:
        self._method = method
        self._then = then
        self._left: int | None = None
        self.done = False

    def head(self, status: int, fields: Mapping[str, str]) -> None:
        length = fields.get("content-length")
        if self._method == "HEAD" or status in BODILESS:
            length = "0"
        self._left = None if length is None else int(length)
        self._look()

    def piece(self, data: bytes) -> None:
        if self._left is not None:
            self._left -= len(data)
            self._look()

    def end(self) -> None:
        self._left = 0
        self._look()

    def _look(self) -> None:
        if not self.done and self._left == 0:
            self.done = True
            self._then()


def receive(
    stage: Scenario,
    then: Callable[[], Any],
    method: str = "GET",
    fields: Mapping[str, str] | None = None,
    target: str = "/page",
) -> None:
    """Send a request, and run ``then`` the moment that its client has the whole answer."""
    client = Receiving(method, then)
    if stage._loop is None:
        _receive_wsgi(stage, client, make_environ(method, target, fields))
    else:
        stage._loop.run(receive_asgi(stage, client, make_scope(method, target, fields)))
    assert client.done


def _receive_wsgi(stage: Scenario, client: Receiving, made: Any) -> None:
    started: list[tuple[int, dict[str, str]]] = []
    left: list[bool] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        started.append((int(status[:3]), {name.lower(): value for name, value in headers}))
        return write

    def write(data: bytes) -> None:
        if not left:
            left.append(True)
            client.head(*started[-1])
        client.piece(data)

    response = stage.wsgi(made, start_response)
    for chunk in response:
        write(chunk)
    write(b"")  # as servers do whose applications yield nothing
    client.end()
    getattr(response, "close", lambda: None)()


async def receive_asgi(stage: Scenario, client: Receiving, made: Any) -> None:
    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            lines = ((n.decode("latin-1"), v.decode("latin-1")) for n, v in message["headers"])
            client.head(message["status"], dict(lines))
            return
        client.piece(message.get("body", b""))
        if not message.get("more_body", False):
            client.end()

    asked = asyncio.Event()

    async def receive() -> Any:
        if asked.is_set():
            await asyncio.Event().wait()
        asked.set()
        return {"type": "http.request", "body": b"", "more_body": False}

    await stage.asgi(made, receive, send)


class Shape(NamedTuple):
    """A way to give a body of five bytes, or none."""

    id: str
    body: Any
    fields: tuple[tuple[str, str], ...] = ()
    status: int = 200


SHAPES = [
    Shape("no-content", b"", (), 204),
    Shape("no-content-in-no-piece", [], (), 204),
    Shape("no-content-in-an-empty-piece", [b""], (), 204),
    Shape("at-once", b"hello"),
    Shape("at-once-sized", b"hello", (SIZED,)),
    Shape("in-pieces", [b"hel", b"lo"]),
    Shape("in-pieces-sized", [b"hel", b"lo"], (SIZED,)),
    Shape("empty-pieces", [b"", b"hel", b"", b"lo", b""]),
    Shape("empty-pieces-sized", [b"", b"hel", b"", b"lo", b""], (SIZED,)),
    Shape("nothing", b"", (NOTHING,)),
    Shape("nothing-in-an-empty-piece", [b""], (NOTHING,)),
    Shape("nothing-in-no-piece", [], (NOTHING,)),
    Shape("nothing-of-unknown-length", []),
]
UNSIZED = ("in-pieces", "empty-pieces", "nothing-of-unknown-length")
WRITTEN = [
    *SHAPES,
    Shape("redirect", b"", (NOTHING, ("Location", "/page")), 303),
]


def replying(shape: Shape, *fields: tuple[str, str]) -> Reply:
    return Reply(shape.body, shape.status, [*shape.fields, *fields])


def state(stage: Scenario, target: str = "/page") -> str:
    return stage.cache.inspect(target, host="testserver").state


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.id)
def test_a_page_is_admitted_before_its_client_has_all_of_it(
    scenario: MakeScenario, shape: Shape
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: replying(shape, FRESH)
    seen: list[str] = []
    receive(stage, lambda: seen.append(state(stage)))
    # Whether such a stream is whole, an ASGI application says by returning.
    late = stage.front == "asgi" and shape.id in UNSIZED
    assert seen == ["absent" if late else "fresh"]
    assert state(stage) == "fresh"


@pytest.mark.parametrize("written", WRITTEN, ids=lambda shape: shape.id)
@pytest.mark.parametrize("how", ["own-url", "declared", "named"])
def test_a_write_has_forgotten_before_its_client_has_all_of_its_answer(
    scenario: MakeScenario, written: Shape, how: str
) -> None:
    rule = Rule(path="/page", share="public", ttl=60, namespaces=["page"], own_url=how == "own-url")
    write = Invalidates(path="/page", namespaces=["page"]) if how == "declared" else None
    stage = scenario(rule, invalidates=[write] if write else [])
    named = (("Cache-Group-Invalidation", '"page"'),) if how == "named" else ()

    def handler(seen: Seen) -> Reply:
        return Reply(b"page") if seen.method == "GET" else replying(written, *named)

    stage.handler = handler
    stage.get("/page")
    assert state(stage) == "fresh"
    seen: list[str] = []
    receive(stage, lambda: seen.append(state(stage)), "POST")
    assert seen == ["invalidated"]


@pytest.mark.parametrize("written", WRITTEN, ids=lambda shape: shape.id)
def test_what_a_handler_forgets_before_its_commit_is_forgotten_again_before_its_last_byte(
    scenario: MakeScenario, written: Shape
) -> None:
    rule = Rule(path="/page", share="public", ttl=60, namespaces=["page"], own_url=False)
    stage = scenario(rule)

    def handler(seen: Seen) -> Reply:
        if seen.method == "POST":
            stage.cache.invalidate("page")
            with ThreadPoolExecutor(1) as other:  # reads before the commit
                other.submit(stage.get, "/page").result(PATIENCE)
            assert state(stage) == "fresh"
            return replying(written)
        return Reply(b"page")

    stage.handler = handler
    stage.get("/page")
    seen: list[str] = []
    receive(stage, lambda: seen.append(state(stage)), "POST")
    assert seen == ["invalidated"]


@pytest.mark.parametrize("fields", [(), (SIZED,)], ids=["", "sized"])
def test_what_was_rendered_between_the_head_of_a_write_and_its_end_is_forgotten_too(
    scenario: MakeScenario, fields: tuple[tuple[str, str], ...]
) -> None:
    """The handler may commit between the two."""
    stage = scenario(OPEN)

    def pieces() -> Any:
        yield b"hel"
        with ThreadPoolExecutor(1) as other:
            other.submit(stage.get, "/page").result(PATIENCE)
        assert state(stage) == "fresh"
        yield b"lo"

    def handler(seen: Seen) -> Reply:
        if seen.method == "GET":
            return Reply(b"page", fields=[FRESH])
        return Reply(pieces(), fields=list(fields))

    stage.handler = handler
    seen: list[str] = []
    receive(stage, lambda: seen.append(state(stage)), "POST")
    assert seen == ["invalidated"]


@pytest.mark.parametrize("known", [False, True], ids=["unknown to the client", "known to it"])
def test_a_page_is_freshened_before_its_client_has_all_of_it(
    scenario: MakeScenario, *, known: bool
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(b"page", fields=[FRESH, TAG])
    stage.get("/page")
    stage.clock.advance(61)
    assert state(stage) == "stale"
    stage.handler = lambda seen: Reply(b"", 304, [FRESH, TAG])
    seen: list[str] = []
    fields = {"if-none-match": '"v1"'} if known else None
    receive(stage, lambda: seen.append(state(stage)), fields=fields)
    assert seen == ["fresh"]
    assert stage.renders == 2


@pytest.mark.parametrize(("tag", "expect"), [('"v1"', "fresh"), ('"v2"', "absent")])
def test_what_a_head_request_tells_of_a_page_is_used_before_its_answer_is_there(
    scenario: MakeScenario, tag: str, expect: str
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(b"page", fields=[FRESH, TAG])
    stage.get("/page")
    stage.clock.advance(61)
    stage.handler = lambda seen: Reply(b"", fields=[FRESH, ("ETag", tag)])
    seen: list[str] = []
    receive(stage, lambda: seen.append(state(stage)), "HEAD")
    assert seen == [expect]


def test_a_page_that_was_just_rendered_and_is_known_to_its_client_is_admitted_before_its_304(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(b"page", fields=[FRESH, TAG])
    seen: list[str] = []
    receive(stage, lambda: seen.append(state(stage)), fields={"if-none-match": '"v1"'})
    assert seen == ["fresh"]


def test_an_answer_that_forgets_several_urls_has_forgotten_them_all(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/**", share="public"))
    named = [("Location", "/b"), ("Content-Location", "/c"), NOTHING]
    stage.handler = lambda seen: (
        Reply(b"page", fields=[FRESH]) if seen.method == "GET" else Reply(b"", 201, named)
    )
    for target in ("/a", "/b", "/c"):
        stage.get(target)
    seen: list[str] = []
    receive(
        stage,
        lambda: seen.extend(state(stage, target) for target in ("/a", "/b", "/c")),
        "PUT",
        target="/a",
    )
    assert seen == ["invalidated"] * 3


def test_the_head_of_a_write_leaves_with_its_first_piece(scenario: MakeScenario) -> None:
    """Not when all of it is there: somebody may read a stream that answers a POST."""
    stage = scenario(OPEN)
    arrived = threading.Event()

    def pieces() -> Any:
        yield b"first"
        assert arrived.wait(PATIENCE)
        yield b"second"

    stage.handler = lambda seen: Reply(pieces())
    got: list[bytes] = []

    def start_response(*_: Any) -> Any:
        return got.append

    if stage._loop is None:
        for chunk in stage.wsgi(make_environ("POST", "/page"), start_response):
            got.append(chunk)
            arrived.set()
        assert got == [b"first", b"second"]
        return

    async def send(message: Any) -> None:
        got.append(message.get("body", message["type"].encode()))
        if message.get("body"):
            arrived.set()

    async def nothing() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    stage._loop.run(stage.asgi(make_scope("POST", "/page"), nothing, send))
    assert got == [b"http.response.start", b"first", b"second", b""]


@pytest.mark.parametrize("front", ["asgi"])
def test_a_write_that_fails_after_its_head_is_the_applications_own_failure(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)

    def pieces() -> Any:
        raise LookupError("no more")
        yield b""

    stage.handler = lambda seen: Reply(pieces(), fields=[("X-Mark", "1")])
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def nothing() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    assert stage._loop is not None
    with pytest.raises(LookupError, match="no more"):
        stage._loop.run(stage.asgi(make_scope("POST", "/page"), nothing, send))
    assert sent == ["http.response.start"]


def test_the_moment_a_client_has_its_page_the_same_client_gets_it_from_the_cache(
    scenario: MakeScenario,
) -> None:
    """The whole way, and not only what the store holds: asked as the last byte is received."""
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply([b"hel", b"lo"], fields=[SIZED, FRESH])
    answers: list[Answer] = []

    def again() -> None:
        if stage._loop is None:
            answers.append(call_wsgi(stage.wsgi, make_environ("GET", "/page")))
            return
        # The memory store never suspends, so a hit is answered in one step.
        asking = call_asgi(stage.asgi, make_scope("GET", "/page"))
        with pytest.raises(StopIteration) as ended:
            asking.send(None)
        answers.append(ended.value.value)

    receive(stage, again)
    assert [(answer.trace, answer.body) for answer in answers] == [("hit", b"hello")]


@pytest.mark.parametrize("control", ["no-store", "max-age=60"])
@pytest.mark.parametrize("written", WRITTEN, ids=lambda shape: shape.id)
def test_a_get_that_forgets_pages_has_done_so_before_its_client_has_all(
    scenario: MakeScenario, written: Shape, control: str
) -> None:
    """Logging out by a link, say: under a rule, and whether it is stored or not."""
    rule = Rule(path="/page", share="public", ttl=60, namespaces=["page"], own_url=False)
    stage = scenario(rule, Rule(path="/write", share="public"))

    def handler(seen: Seen) -> Reply:
        if seen.path == "/page":
            return Reply(b"page")
        stage.cache.invalidate("page")
        with ThreadPoolExecutor(1) as other:  # reads before the commit
            other.submit(stage.get, "/page").result(PATIENCE)
        assert state(stage) == "fresh"
        return replying(written, ("Cache-Control", control))

    stage.handler = handler
    stage.get("/page")
    seen: list[str] = []
    receive(stage, lambda: seen.append(state(stage)), target="/write")
    assert seen == ["invalidated"]
