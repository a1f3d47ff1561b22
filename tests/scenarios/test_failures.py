"""What breaks costs a page a little time, never its life."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from pagegen import ConfigError, Identity, PageCache, Rule, parse_source
from pagegen.stores import MemoryStore
from pagegen.testing import environ, scope
from tests.conftest import MakeScenario

PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl="1h")
MINE = Rule(path="/mine", share=["user"], ttl="1h")


class FailingStore(MemoryStore):
    """Fails in the verbs that are named."""

    def __init__(self, *verbs: str) -> None:
        super().__init__()
        for verb in verbs:
            setattr(self, verb, self._fail)

    async def _fail(self, *_: object, **__: object) -> None:
        raise OSError("no route to host")


class ForgetfulStore(MemoryStore):
    """Takes tokens and keeps none."""

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        return {}


@pytest.mark.parametrize("verbs", [["read"], ["add_tokens"], ["write_page"]])
def test_a_store_that_fails_is_a_miss_and_said_once(
    scenario: MakeScenario, caplog: pytest.LogCaptureFixture, verbs: list[str]
) -> None:
    stage = scenario(PAGE, store=FailingStore(*verbs))
    with caplog.at_level(logging.ERROR):
        assert [stage.get("/page").text for _ in range(3)] == ["page 1", "page 2", "page 3"]
    assert stage.cache.statistics()["store-failed"] == 3
    assert len([r for r in caplog.records if "the store failed" in r.message]) == 1


def test_a_store_that_keeps_no_tokens_is_a_bypass(scenario: MakeScenario) -> None:
    stage = scenario(PAGE, store=ForgetfulStore())
    assert stage.get("/page").trace == "bypass: store"


def test_another_keys_page_in_the_slot_is_a_miss(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    stage.get("/page")
    ((_, page, _),) = stage.cache.engine.store._pages.items()  # type: ignore[attr-defined]
    page.key = b"another key that has the same digest"
    assert stage.get("/page").trace == "uri-miss, stored"


def test_a_page_without_room_is_served_and_not_kept(scenario: MakeScenario) -> None:
    stage = scenario(PAGE, store=MemoryStore(30_000))
    stage.handler = lambda seen: b"x" * 30_000
    assert [stage.get("/page").trace for _ in range(2)] == ["uri-miss"] * 2
    assert stage.cache.statistics()["no-room"] == 2


def refuses(context: Mapping[str, Any]) -> str:
    """An identity function that fails."""
    raise LookupError("no session\x1b[31m table")


def from_header(context: Mapping[str, Any]) -> str | None:
    """An identity function that knows both fronts."""
    if "HTTP_X_USER" in context:
        return str(context["HTTP_X_USER"])
    return dict(context.get("headers", ())).get(b"x-user", b"").decode() or None


async def later(context: Mapping[str, Any]) -> str:
    """An identity function that a look-up cannot await."""
    return "me"


def calling(function: str) -> Identity:
    return Identity(name="user", sources=(parse_source(f"call:{__name__}:{function}"),))


def test_an_identity_function_that_raises_is_a_bypass_logged_once(
    scenario: MakeScenario, caplog: pytest.LogCaptureFixture
) -> None:
    stage = scenario(MINE, identities=[calling("refuses")])
    assert [stage.get("/mine").trace for _ in range(3)] == ["bypass: identity"] * 3
    said = [r.getMessage() for r in caplog.records if r.name == "pagegen.identity"]
    assert len(said) == 1
    assert "call:" in said[0]
    assert "\x1b" not in said[0]


def test_an_identity_function_names_the_visitor(scenario: MakeScenario) -> None:
    stage = scenario(MINE, identities=[calling("from_header")])
    assert stage.get("/mine", {"x-user": "ada"}).trace == "uri-miss, stored"
    assert stage.get("/mine", {"x-user": "ada", "x-other": "1"}).trace == "hit"
    assert stage.get("/mine", {"x-user": "eve"}).trace == "uri-miss, stored"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("call:no.such.module:f", "cannot be imported"),
        (f"call:{__name__}:missing", "is no function"),
        (f"call:{__name__}:later", "coroutine"),
        (f"call:{__name__}:PAGE", "is no function"),
    ],
)
def test_a_wrong_identity_function_stops_the_start(source: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        PageCache([MINE], identities=[Identity(name="user", sources=(parse_source(source),))])
    assert caught.value.where == "[identity.user]"


@pytest.mark.parametrize(
    "target",
    [
        "/page?%", "/page?a=%zz", "/page?\xff", "/page?" + "a=1&" * 3000, "/page/%ff", "/page;x",
        "/%", "//page", "/page/../page", "/" + "a" * 9000, "*", "http://h/page", "/page?a\x00",
        "/p%00age", "/page%3Fa=1", "/page%23", "/page\\x", "/p\u00e4ge", "/page/.", "/./page",
    ],
)  # fmt: skip
def test_malformed_targets_never_raise_and_are_never_stored(
    scenario: MakeScenario, target: str
) -> None:
    rule = Rule(path="/**", share="public", ttl="1h", other_query="drop")
    stage = scenario(rule)
    for _ in range(2):
        answer = stage.get(target)
        assert answer.status == 200
        assert answer.trace.startswith("bypass: ")
    assert stage.renders == 2


@pytest.mark.parametrize("front", ["asgi"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("scheme", 7), ("headers", [(b"host", b"h"), (b"HOST", b"\xff")]), ("path", "/p\ud800")],
)
def test_odd_scopes_are_a_bypass(scenario: MakeScenario, key: str, value: object) -> None:
    stage = scenario(PAGE)
    made = scope("GET", "/page")
    made[key] = value
    assert stage._loop is not None
    from pagegen.testing import call_asgi

    answer = stage._loop.run(call_asgi(stage.asgi, made))
    assert answer.status == 200


def test_environs_without_a_raw_target_are_read_by_their_path() -> None:
    from pagegen.wsgi.requests import read_request

    made = environ("GET", "/a%20b")
    del made["RAW_URI"]
    request = read_request(made)
    assert (request.path, request.raw_path) == ("/a b", None)


def test_the_counters_tell_what_happened(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    stage.get("/page")
    stage.get("/page")
    stage.get("/other")
    numbers = stage.cache.statistics()
    assert (numbers["forward"], numbers["admitted"], numbers["hit"]) == (1, 1, 1)
    assert numbers["bypass:no-rule"] == 1
    assert numbers["store_pages_count"] == 1
    assert numbers["store_pages_bytes"] > 0
