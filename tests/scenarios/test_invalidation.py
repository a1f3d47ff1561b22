"""Forgetting: the hook, the table in the configuration, and the header of RFC 9875."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagegen import Invalidates, InvalidationError, NamespaceError, PageCache, Rule
from pagegen.stores import MemoryStore
from pagegen.testing import PATIENCE, Reply, Scenario, Seen, call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware as Middleware
from pagegen.wsgi.types import Environ, StartResponse
from tests.conftest import MakeScenario

ITEM = Rule(path="/items/{id}", share="public", namespaces=["item:{id}"], ttl="1h")
WRITE = Invalidates(path="/items/{id}", namespaces=["item:{id}"])


class BrokenStore(MemoryStore):
    """A memory store that can be told not to acknowledge."""

    broken = False

    async def replace_tokens(self, *args: object, **kwargs: object) -> None:
        if self.broken:
            raise OSError("the store is gone")
        await super().replace_tokens(*args, **kwargs)  # type: ignore[arg-type]


def warm(stage: Scenario, *targets: str) -> None:
    for target in targets:
        stage.get(target)
        assert stage.get(target).trace == "hit"


def test_the_hook_outside_of_a_request_acts_at_once_and_says_what_it_did(
    scenario: MakeScenario,
) -> None:
    stage = scenario(ITEM)
    warm(stage, "/items/1", "/items/2")
    done = stage.cache.invalidate("item:1", "item:1", "item:9")
    assert (done.namespaces, done.again) == (("item:1", "item:9"), False)
    assert stage.get("/items/1").trace == "stale, stored"
    assert stage.get("/items/2").trace == "hit"


def test_the_hook_inside_a_request_acts_twice(scenario: MakeScenario) -> None:
    stage = scenario(ITEM)
    said = []

    def handler(seen: Seen) -> str:
        if seen.method == "POST":
            said.append(stage.cache.invalidate("item:1"))
        return "x"

    stage.handler = handler
    before = stage.cache.statistics().get("invalidation", 0)
    stage.post("/elsewhere")
    assert said[0].again
    assert stage.cache.statistics()["invalidation"] >= before + 2


@pytest.mark.parametrize("name", ["", " item", "item:ä", "a\nb", "x" * 513, 7, None])
def test_what_is_no_name_is_an_error_and_forgets_nothing(
    scenario: MakeScenario, name: object
) -> None:
    stage = scenario(ITEM)
    warm(stage, "/items/1")
    with pytest.raises(NamespaceError, match="is no namespace"):
        stage.cache.invalidate("item:1", name)  # type: ignore[arg-type]
    assert stage.get("/items/1").trace == "hit"


def test_a_store_that_does_not_acknowledge_is_an_error_for_the_caller(
    scenario: MakeScenario,
) -> None:
    store = BrokenStore()
    stage = scenario(ITEM, store=store)
    store.broken = True
    with pytest.raises(InvalidationError, match=r"item:\{id\} .*OSError: the store") as caught:
        stage.cache.invalidate("item:1")
    assert caught.value.namespaces == ("item:1",)
    assert stage.cache.statistics()["invalidation-failed"] == 1


def test_a_late_invalidation_that_fails_does_not_break_the_response(
    scenario: MakeScenario, caplog: pytest.LogCaptureFixture
) -> None:
    store = BrokenStore()
    stage = scenario(ITEM, store=store, invalidates=[WRITE])
    store.broken = True
    assert stage.post("/items/1").text == "page 1"
    assert "did not acknowledge the invalidation of item:{id}, url:… " in caplog.text


FORGOTTEN = ("item:1", "url:testserver/items/1")


@pytest.mark.parametrize("status", [200, 201, 204, 303])
def test_a_successful_write_forgets_what_the_table_says(
    scenario: MakeScenario, status: int
) -> None:
    stage = scenario(ITEM, invalidates=[WRITE])
    warm(stage, "/items/1", "/items/2")
    stage.handler = lambda seen: Reply(b"", status)
    stage.post("/items/1")
    assert stage.cache.inspect("/items/1", host="testserver").changed == FORGOTTEN
    assert stage.cache.inspect("/items/2", host="testserver").state == "fresh"


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_a_failed_write_forgets_nothing(scenario: MakeScenario, status: int) -> None:
    stage = scenario(ITEM, invalidates=[WRITE])
    warm(stage, "/items/1")
    stage.handler = lambda seen: Reply(b"", status)
    stage.post("/items/1")
    assert stage.get("/items/1").trace == "hit"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_read_forgets_nothing(scenario: MakeScenario, method: str) -> None:
    stage = scenario(ITEM, invalidates=[WRITE])
    warm(stage, "/items/1")
    stage.handler = lambda seen: Reply(
        b"", fields=[("Cache-Group-Invalidation", '"item:1"'), ("Cache-Control", "no-store")]
    )
    stage.request(method, "/items/1?other")
    assert stage.get("/items/1").trace == "hit"


def test_values_of_a_path_cannot_steer_a_write_into_another_namespace(
    scenario: MakeScenario,
) -> None:
    stage = scenario(ITEM, invalidates=[WRITE])
    warm(stage, "/items/1")
    stage.post("/items/2,item:1")
    stage.post("/items/1%20")
    assert stage.get("/items/1").trace == "hit"


@pytest.mark.parametrize("status", [200, 303, 409, 500])
def test_the_response_header_forgets_groups_of_unsafe_requests(
    scenario: MakeScenario, status: int
) -> None:
    stage = scenario(ITEM)
    warm(stage, "/items/1", "/items/2", "/items/3")
    groups = '"item:1";why=x, "item:2", token, 7, "not\x7fa name"'
    stage.handler = lambda seen: Reply(
        b"", status, [("Cache-Group-Invalidation", groups.replace("\x7f", " "))]
    )
    stage.post("/any")
    stage.handler = lambda seen: "x"
    assert [stage.get(f"/items/{number}").trace for number in (1, 2, 3)] == [
        "stale, stored",
        "stale, stored",
        "hit",
    ]


def test_32_groups_of_32_characters_are_understood(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/{id}", share="public", namespaces=["{id}"], ttl="1h"))
    names = [f"{number:032}" for number in range(32)]
    warm(stage, *(f"/{name}" for name in names))
    groups = ", ".join(f'"{name}"' for name in names)
    stage.handler = lambda seen: Reply(b"", fields=[("Cache-Group-Invalidation", groups)])
    stage.request("DELETE", "/any")
    assert {stage.cache.inspect(f"/{name}", host="testserver").state for name in names} == {
        "invalidated"
    }


def test_a_write_that_streams_is_settled_before_its_first_byte_and_after_its_last(
    scenario: MakeScenario,
) -> None:
    """What the client can see of the response is never older than what it may read next."""
    stage = scenario(ITEM, invalidates=[WRITE])
    warm(stage, "/items/1")
    states = []

    def body() -> Iterator[bytes]:
        yield b"one"
        states.append(stage.cache.inspect("/items/1", host="testserver").state)
        with ThreadPoolExecutor(1) as other:  # somebody fills it again while we stream
            other.submit(stage.get, "/items/1").result(PATIENCE)
        yield b"two"

    stage.handler = lambda seen: Reply(body()) if seen.method == "POST" else Reply(b"x")
    assert stage.post("/items/1").body == b"onetwo"
    if stage.front == "wsgi":
        assert states == ["invalidated"]
    assert stage.cache.inspect("/items/1", host="testserver").state == "invalidated"


def test_a_page_tagged_with_what_its_rule_does_not_declare_is_not_stored(
    scenario: MakeScenario,
) -> None:
    stage = scenario(ITEM)

    def handler(seen: Seen) -> str:
        stage.cache.tag("item:1", *(["item:9"] if seen.path == "/items/2" else []))
        return "x"

    stage.handler = handler
    stage.get("/items/1")
    stage.get("/items/2")
    assert stage.get("/items/1").trace == "hit"
    assert stage.get("/items/2").trace != "hit"


def test_a_handler_that_writes_while_it_is_read_never_serves_its_own_page(
    scenario: MakeScenario,
) -> None:
    stage = scenario(ITEM)

    def handler(seen: Seen) -> str:
        stage.cache.invalidate("item:1")
        return "counted a visit"

    stage.handler = handler
    assert [stage.get("/items/1").trace for _ in range(2)] == ["uri-miss, stored", "stale, stored"]


def test_caches_that_stand_one_inside_the_other_keep_their_debts_apart() -> None:
    inner = PageCache([ITEM])
    outer = PageCache([Rule(path="/outer/**", share="public", namespaces=["o"], ttl="1h")])

    def app(made: Environ, start_response: StartResponse) -> list[bytes]:
        outer.invalidate("o")  # the inner middleware is nearer, but this is not its debt
        start_response("200 OK", [])
        return [b"x"]

    wrapped = Middleware(Middleware(app, cache=inner), cache=outer)
    call_wsgi(wrapped, environ("POST", "/elsewhere"))
    assert outer.statistics()["invalidation"] == 2
    assert "invalidation" not in inner.statistics()
