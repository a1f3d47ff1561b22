"""Inputs of a request that are easily overlooked: no handler of a cacheable page sees them."""

from __future__ import annotations

import asyncio
import copy
import io
from typing import Any, Final

import pytest

from pagegen import Identity, PageCache, Rule, parse_source
from pagegen.asgi import PageCacheMiddleware
from pagegen.testing import (
    Answer,
    Front,
    Reply,
    Scenario,
    Seen,
    call_asgi,
    call_wsgi,
    environ,
    scope,
)
from tests.conftest import MakeScenario

PAGE: Final = Rule(path="/{name}", share="public", ttl="1h")


def ask(stage: Scenario, made: dict[str, Any], body: bytes = b"") -> Answer:
    """The answer to an environ or scope of one's own."""
    if stage.front == "wsgi":
        return call_wsgi(stage.wsgi, made)
    assert stage._loop is not None
    return stage._loop.run(call_asgi(stage.asgi, made, body))


def made_for(front: Front, target: str, fields: dict[str, str] | None = None) -> dict[str, Any]:
    """An environ or scope as servers make it."""
    return environ("GET", target, fields) if front == "wsgi" else scope("GET", target, fields)


def raw_target(seen: Seen) -> str:
    """The raw path that the handler sees."""
    raw = seen.context.get("RAW_URI", seen.context.get("raw_path"))
    return raw.decode("latin-1") if isinstance(raw, bytes) else str(raw)


@pytest.mark.parametrize(
    ("odd", "usual"),
    [("/<b>", "/%3Cb%3E"), ('/"x', "/%22x"), ("/[a]", "/%5Ba%5D"), ("/a|b", "/a%7Cb")],
)
def test_markup_that_only_a_raw_target_holds_stays_with_who_sent_it(
    scenario: MakeScenario, odd: str, usual: str
) -> None:
    stage = scenario(PAGE)
    stage.handler = lambda seen: f"<a href={raw_target(seen)}>"
    assert odd in stage.get(odd).text
    assert stage.get(usual).text == f"<a href={usual}>"
    assert stage.get(odd).text == f"<a href={odd}>"


def test_a_mount_point_in_another_spelling_is_no_page_of_the_usual_one(
    scenario: MakeScenario,
) -> None:
    stage = scenario(PAGE)
    stage.handler = raw_target

    def below(root: str, raw: str) -> Answer:
        made = made_for(stage.front, raw)
        if stage.front == "wsgi":
            made |= {"SCRIPT_NAME": root, "PATH_INFO": "/a"}
        else:
            made |= {"root_path": root, "path": f"{root}/a"}
        return ask(stage, made)

    for root, raw in (("/<x>", "/%3Cx%3E/a"), ("/x", "/x/a")):
        usual = below(root, raw)
        assert (usual.trace, usual.text) == ("uri-miss, stored", raw)
        # Proxies that strip the mount point leave a target that is the path alone.
        stripped = below(root, "/a")
        assert (stripped.trace, stripped.text) == ("uri-miss, stored", "/a")
        assert below(root, raw).text == raw
    assert below("/<x>", "/<x>/a").trace == "bypass: path"
    assert below("/x", "/%78/a").trace == "bypass: path"


def test_capitals_that_a_router_has_read_in_the_host_reach_no_page_of_others() -> None:
    cache = PageCache([PAGE], cache_status=True)

    async def tenant(made: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": made["path_params"]["tenant"].encode()})

    inner = PageCacheMiddleware(tenant, cache=cache)

    async def outer(made: Any, receive: Any, send: Any) -> None:
        name = dict(made["headers"])[b"host"].decode().partition(".")[0]
        await inner({**made, "path_params": {"tenant": name}}, receive, send)

    def visit(host: str) -> Answer:
        return asyncio.run(call_asgi(outer, scope("GET", "/a", {"host": host})))

    odd = visit("EVIL.shop.example")
    assert (odd.trace, odd.text) == ("bypass: host", "EVIL")
    assert visit("evil.shop.example").text == "evil"
    assert visit("evil.shop.example").trace == "hit"


def test_what_a_handler_makes_when_it_has_heard_that_its_client_left_is_no_page() -> None:
    cache = PageCache([PAGE], cache_status=True)

    async def app(made: Any, receive: Any, send: Any) -> None:
        await receive()
        gone = made["path"] == "/hurried" and (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = b"half" if gone else b"whole"
        await send({"type": "http.response.body", "body": body[:2], "more_body": True})
        await send({"type": "http.response.body", "body": body[2:]})

    sent: list[Any] = []

    async def leave(path: str) -> None:
        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await PageCacheMiddleware(app, cache=cache)(scope("GET", path), receive, send)

    asyncio.run(leave("/hurried"))
    assert b"".join(m.get("body", b"") for m in sent) == b"half"
    assert cache.inspect("/hurried", host="testserver").state == "absent"
    # Who did not listen has made a page like any other.
    asyncio.run(leave("/calm"))
    assert cache.inspect("/calm", host="testserver").state == "fresh"


BYPASSED: Final = {
    "no rule": ("/a/b", {}),
    "method": ("/a", {}),
    "path": ("/a%2Fb", {}),
    "query": ("/a?x=1&x=2;%zz", {}),
    "host": ("/a", {"host": "me@shop.example/x"}),
    "authorization": ("/a", {"authorization": "Basic eDp5"}),
    "body": ("/a", {"content-length": "4"}),
    "chunks": ("/a", {"transfer-encoding": "chunked"}),
    "upgrade": ("/a", {"upgrade": "WebSocket"}),
}
HOSTILE: Final = {
    "x-forwarded-host": "evil.example",
    "forwarded": "host=evil.example",
    "x-http-method-override": "DELETE",
    "cookie": "a=1; a=2; =; b",
    "range": "bytes=0-1",
    "if-none-match": "*",
    "connection": "close, x-a",
    "x_a": "\xe9",
}


@pytest.mark.parametrize("reason", BYPASSED)
def test_a_request_that_bypasses_reaches_the_application_untouched(
    scenario: MakeScenario, reason: str
) -> None:
    stage = scenario(PAGE)
    target, fields = BYPASSED[reason]
    made = made_for(stage.front, target, {**HOSTILE, **fields})
    made["REQUEST_METHOD" if stage.front == "wsgi" else "method"] = (
        "BREW" if reason == "method" else "GET"
    )
    body, streams = b"fat!", ("wsgi.input", "wsgi.errors")
    if stage.front == "wsgi":
        made["wsgi.input"] = io.BytesIO(body)
    before = copy.deepcopy({key: made[key] for key in made if key not in streams})
    seen: list[Seen] = []

    def handler(request: Seen) -> str:
        seen.append(request)
        return "x"

    stage.handler = handler
    ask(stage, made, body)
    assert seen[0].context is made
    assert {key: made[key] for key in made if key not in streams} == before
    assert seen[0].body == body


def test_the_order_in_which_a_client_says_things_is_not_seen(scenario: MakeScenario) -> None:
    user = Identity(
        name="user",
        sources=(parse_source("cookie:session"),),
        reveal=(parse_source("cookie:theme"), parse_source("cookie:cart")),
    )
    stage = scenario(
        Rule(path="/mine", share=["user"], ttl="1h"),
        Rule(path="/open", share="public"),
        identities=[user],
    )

    def handler(seen: Seen) -> Reply:
        # Never stored, so that each request is rendered.
        said = [("Cache-Control", "private")]
        return Reply(repr(list(seen.fields.items())).encode(), fields=said)

    stage.handler = handler
    jars = ("session=1; theme=2; cart=3", "cart=3; theme=2; session=1")
    one, two = (stage.get("/mine", {"cookie": jar}).text for jar in jars)
    assert one == two
    sent = ({"x-a": "1", "x-b": "2"}, {"x-b": "2", "x-a": "1"})
    one, two = (stage.get("/open", fields).text for fields in sent)
    assert one == two
    assert stage.renders == 4


def test_a_server_says_the_address_that_the_host_field_says(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)

    def address(seen: Seen) -> str:
        context = seen.context
        return repr(context.get("server", (context.get("SERVER_NAME"), context.get("SERVER_PORT"))))

    stage.handler = address
    for host, wsgi, asgi in (
        ("Shop.example", ("shop.example", "80"), ("shop.example", 80)),
        ("shop.example:8443", ("shop.example", "8443"), ("shop.example", 8443)),
        ("[::1]", ("[::1]", "80"), ("::1", 80)),
        ("[::1]:9", ("[::1]", "9"), ("::1", 9)),
    ):
        assert stage.get("/a", {"host": host}).text == repr(wsgi if stage.front == "wsgi" else asgi)
