"""What a write forgets unasked: its own URL, and those that its answer names (RFC 9111 §4.4)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from pagegen import Identity, Invalidates, Rule, parse_source
from pagegen.stores import MemoryStore
from pagegen.testing import PATIENCE, Answer, Reply, Scenario, Seen, call_asgi, call_wsgi
from pagegen.testing import environ as make_environ
from pagegen.testing import scope as make_scope
from tests.conftest import MakeScenario

OPEN = Rule(path="/**", share="public")
KEYED = Rule(path="/items/{id:int}", share="public", ttl="1h", query={"page": {"type": "int"}})
FRESH = ("Cache-Control", "max-age=3600")


def answering(stage: Scenario, status: int = 200, *fields: tuple[str, str]) -> None:
    """GET gets a page, everything else this status with these fields."""

    def handler(seen: Seen) -> Reply:
        if seen.method in ("GET", "HEAD"):
            return Reply(f"page {stage.renders}".encode(), fields=[FRESH])
        return Reply(b"done", status=status, fields=list(fields))

    stage.handler = handler


def is_kept(stage: Scenario, target: str = "/items/7", **request: Any) -> bool:
    state = stage.cache.inspect(target, host="testserver", **request).state
    assert state in ("fresh", "invalidated"), state
    return state == "fresh"


def request(stage: Scenario, root: str, method: str, target: str) -> Answer:
    """A request to an application that is mounted at ``root``, which is decoded."""
    whole = quote(root) + target
    if stage._loop is None:
        mount = {"SCRIPT_NAME": root.encode().decode("latin-1"), "RAW_URI": whole}
        return call_wsgi(stage.wsgi, make_environ(method, target) | mount)
    made = make_scope(method, whole) | {"root_path": root}
    return stage._loop.run(call_asgi(stage.asgi, made))


class Counting(MemoryStore):
    """Counts what it is asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[str] = []
        self.replaced: list[set[str]] = []

    async def read(self, *arguments: Any) -> Any:
        self.asked.append("read")
        return await super().read(*arguments)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self.asked.append("replace_tokens")
        self.replaced.append(set(tokens))
        await super().replace_tokens(tokens, ttl)


@pytest.mark.parametrize("rule", [OPEN, KEYED], ids=["http", "keyed"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PURGE", "X-NEW", "post"])
def test_a_write_of_any_name_forgets_its_own_url_and_no_other(
    scenario: MakeScenario, method: str, rule: Rule
) -> None:
    stage = scenario(rule)
    answering(stage)
    for target in ("/items/7", "/items/8"):
        stage.get(target)
    assert stage.request(method, "/items/7").body == b"done"
    again = stage.get("/items/7")
    assert (again.body, again.trace) == (b"page 4", "stale, stored")
    assert stage.get("/items/8").trace == "hit"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "get", "options"])
def test_a_safe_method_forgets_nothing_whatever_its_answer_names(
    scenario: MakeScenario, method: str
) -> None:
    stage = scenario(OPEN)
    answering(stage)
    stage.get("/items/7")
    stage.handler = lambda seen: Reply(b"x", fields=[("Location", "/items/7"), ("Vary", "*")])
    stage.request(method, "/items/7", {"content-length": "1"})
    stage.request(method, "/other", {"content-length": "1"})
    assert stage.renders == 3
    assert is_kept(stage)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 205, 300, 302, 303, 304, 307, 399])
def test_any_answer_that_is_no_error_forgets(scenario: MakeScenario, status: int) -> None:
    stage = scenario(OPEN)
    answering(stage, status, ("Location", "/items/8"), ("Content-Location", "/items/9"))
    targets = ("/items/7", "/items/8", "/items/9")
    for target in targets:
        stage.get(target)
    stage.post("/items/7")
    assert [is_kept(stage, target) for target in targets] == [False] * 3


@pytest.mark.parametrize("status", [400, 401, 404, 409, 412, 499, 500, 502, 503, 599])
def test_an_error_forgets_nothing(scenario: MakeScenario, status: int) -> None:
    stage = scenario(OPEN)
    answering(stage, status, ("Location", "/items/8"), ("Content-Location", "/items/9"))
    targets = ("/items/7", "/items/8", "/items/9")
    for target in targets:
        stage.get(target)
    stage.post("/items/7")
    assert [stage.get(target).trace for target in targets] == ["hit"] * 3


def test_a_write_that_raises_forgets_nothing(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    answering(stage)
    stage.get("/items/7")

    def fail(seen: Seen) -> str:
        raise LookupError("no such item")

    stage.handler = fail
    with pytest.raises(LookupError):
        stage.post("/items/7")
    assert is_kept(stage)


class Named(NamedTuple):
    """What a write to ``/items/7`` at http://testserver names: is ``/items/8`` forgotten?"""

    id: str
    value: str
    expect: bool


NAMED = [
    Named("path", "/items/8", True),
    Named("relative", "8", True),
    Named("dots", "./../items/8", True),
    Named("with-query", "/items/8?saved=1", True),
    Named("with-fragment", "/items/8#top", True),
    Named("escaped", "/items/%38", True),
    Named("whole", "http://testserver/items/8", True),
    Named("default-port", "http://testserver:80/items/8", True),
    Named("capitals", "HTTP://TestServer/items/8", True),
    Named("same-scheme", "//testserver/items/8", True),
    Named("spaces", " /items/8 ", True),
    Named("other-page", "/items/80", False),
    Named("other-host", "http://elsewhere.example/items/8", False),
    Named("other-port", "http://testserver:8080/items/8", False),
    Named("other-scheme", "https://testserver/items/8", False),
    Named("other-host-without-scheme", "//elsewhere.example/items/8", False),
    Named("longer-host", "http://testserver.example/items/8", False),
    Named("user", "http://testserver@elsewhere.example/items/8", False),
    Named("no-authority", "http:/items/8", False),
    Named("script", "javascript:/items/8", False),
    Named("backslash", "/\\elsewhere.example/items/8", False),
    Named("empty", "", False),
]


@pytest.mark.parametrize("field", ["Location", "Content-Location"])
@pytest.mark.parametrize("named", NAMED, ids=lambda named: named.id)
def test_what_an_answer_names_is_forgotten_on_its_own_origin_alone(
    scenario: MakeScenario, named: Named, field: str
) -> None:
    stage = scenario(OPEN)
    answering(stage, 201, (field, named.value))
    stage.get("/items/8")
    stage.get("/items/8?page=2")
    stage.post("/items/7")
    assert is_kept(stage, "/items/8") is not named.expect
    assert is_kept(stage, "/items/8", query="page=2") is not named.expect


def test_both_fields_and_the_target_go_in_one_trip(scenario: MakeScenario) -> None:
    store = Counting()
    stage = scenario(OPEN, store=store)
    answering(stage, 201, ("Location", "/b"), ("Content-Location", "/c"))
    store.replaced.clear()
    stage.post("/a")
    (names,) = [names for names in store.replaced if "url:testserver/a" in names]
    assert {"url:testserver/b", "url:testserver/c"} <= names


def test_all_queries_of_a_url_are_forgotten(scenario: MakeScenario) -> None:
    for rule in (OPEN, KEYED):
        stage = scenario(rule)
        answering(stage)
        targets = ("/items/7", "/items/7?page=1", "/items/7?page=2")
        for target in targets:
            stage.get(target)
        stage.request("DELETE", "/items/7?page=1&sure=yes")
        assert [stage.get(target).trace for target in targets] == ["stale, stored"] * 3


def test_all_variants_of_a_url_are_forgotten(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    languages: list[dict[str, str]] = [{"accept-language": one} for one in ("de", "en", "fr")]

    def handler(seen: Seen) -> Reply:
        spoken = seen.fields.get("accept-language", "")
        return Reply(spoken.encode(), fields=[FRESH, ("Vary", "Accept-Language")])

    stage.handler = handler
    for one in languages:
        stage.get("/items/7", one)
    assert [stage.get("/items/7", one).trace for one in languages] == ["hit"] * 3
    stage.request("PUT", "/items/7", {"accept-language": "it"})
    assert [stage.get("/items/7", one).trace for one in languages] == ["stale, stored"] * 3


def test_everybodys_page_of_a_url_is_forgotten(scenario: MakeScenario) -> None:
    who = Identity(name="user", sources=(parse_source("cookie:session"),))
    rule = Rule(path="/items/{id}", share=["user"], ttl="1h")
    stage = scenario(rule, identities=[who])
    answering(stage)
    visitors = [{"cookie": f"session={name}"} for name in ("ada", "bob")]
    for visitor in visitors:
        stage.get("/items/7", visitor)
    stage.post("/items/7", visitors[0])
    assert [stage.get("/items/7", one).trace for one in visitors] == ["stale, stored"] * 2


def test_hosts_have_urls_of_their_own(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    answering(stage)
    for host in ("a.example", "b.example:8080"):
        stage.get("/items/7", {"host": host})
    stage.post("/items/7", {"host": "B.example:8080"})
    assert stage.get("/items/7", {"host": "a.example"}).trace == "hit"
    assert stage.get("/items/7", {"host": "b.example:8080"}).trace == "stale, stored"


@pytest.mark.parametrize("root", ["/shop", "/sh\u00f6p", "/a/b"])
def test_under_a_mount_point_urls_are_whole(scenario: MakeScenario, root: str) -> None:
    stage = scenario(OPEN)
    answering(stage, 303, ("Location", f"{quote(root)}/items/8"), ("Content-Location", "9"))
    for target in ("/items/7", "/items/8", "/items/9"):
        request(stage, root, "GET", target)
        request(stage, "", "GET", target)
    request(stage, root, "POST", "/items/7")
    for target in ("/items/7", "/items/8", "/items/9"):
        assert request(stage, root, "GET", target).trace == "stale, stored"
        assert request(stage, "", "GET", target).trace == "hit"


def test_what_lies_outside_of_the_mount_point_is_another_application(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    answering(stage, 303, ("Location", "/items/8"), ("Content-Location", "/shopping/items/8"))
    request(stage, "/shop", "GET", "/items/8")
    request(stage, "/shop", "POST", "/items/7")
    assert request(stage, "/shop", "GET", "/items/8").trace == "hit"


@pytest.mark.parametrize("front", ["asgi"])
def test_a_server_that_leaves_the_mount_point_out_of_the_path_forgets_the_same(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    answering(stage, 303, ("Location", "/shop/items/8"))
    assert stage._loop is not None

    def call(method: str, target: str) -> Answer:
        made = make_scope(method, target) | {"root_path": "/shop"}
        assert stage._loop is not None
        return stage._loop.run(call_asgi(stage.asgi, made))

    for target in ("/items/7", "/items/8", "/items/9"):
        call("GET", target)
    call("POST", "/items/7")
    traces = [call("GET", f"/items/{number}").trace for number in (7, 8, 9)]
    assert traces == ["stale, stored", "stale, stored", "hit"]


@pytest.mark.parametrize(
    ("own_url", "namespaces", "target", "named"),
    [
        (None, [], True, True),
        (None, ["item:{id}"], True, False),
        ("target", [], True, False),
        (True, ["item:{id}"], True, True),
        (False, [], False, False),
    ],
)
def test_a_rule_says_which_writes_forget_its_pages_by_their_url(
    scenario: MakeScenario, own_url: Any, namespaces: list[str], *, target: bool, named: bool
) -> None:
    rule = Rule(path="/items/{id}", share="public", ttl="1h", own_url=own_url,
                namespaces=namespaces)  # fmt: skip
    stage = scenario(rule)
    answering(stage, 303, ("Location", "/items/8"), ("Content-Location", "/items/9"))
    for one in ("/items/7", "/items/8", "/items/9"):
        stage.get(one)
    stage.post("/items/7")
    forgotten = [not is_kept(stage, one) for one in ("/items/7", "/items/8", "/items/9")]
    assert forgotten == [target, named, named]


def test_a_write_whose_answer_names_its_own_target_is_one_to_it(scenario: MakeScenario) -> None:
    stage = scenario(Rule(path="/items/{id}", share="public", ttl="1h", own_url="target"))
    answering(stage, 303, ("Location", "/items/7"))
    stage.get("/items/7")
    stage.post("/items/7")
    assert not is_kept(stage)


def test_a_rule_may_do_without_its_own_url(scenario: MakeScenario) -> None:
    store = Counting()
    rule = Rule(path="/items/{id}", share="public", ttl="1h", namespaces=["item:{id}"],
                own_url=False)  # fmt: skip
    write = Invalidates(path="/items/{id}/votes", namespaces=["item:{id}"])
    stage = scenario(rule, store=store, invalidates=[write])
    answering(stage)
    stage.get("/items/7")
    stage.post("/items/7")
    assert stage.get("/items/7").trace == "hit"
    stage.post("/items/7/votes")
    assert stage.get("/items/7").trace == "stale, stored"


def test_a_page_that_is_rendered_while_its_url_is_written_is_dead(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    has_read, may_answer = threading.Event(), threading.Event()
    value = "old"

    def handler(seen: Seen) -> Reply:
        nonlocal value
        if seen.method == "POST":
            value = "new"
            return Reply(b"done")
        read = value
        if read == "old":
            has_read.set()
            assert may_answer.wait(PATIENCE)
        return Reply(read.encode(), fields=[FRESH])

    stage.handler = handler
    with ThreadPoolExecutor(1) as reader:
        late = reader.submit(stage.get, "/items/7")
        assert has_read.wait(PATIENCE)
        stage.post("/items/7")
        may_answer.set()
        assert late.result(PATIENCE).text == "old"
    assert [stage.get("/items/7").text, stage.get("/items/7").trace] == ["new", "hit"]


def test_a_write_through_one_process_is_seen_in_all_that_share_its_store(
    scenario: MakeScenario,
) -> None:
    one = scenario(OPEN)
    other = scenario(OPEN, store=one.cache.engine.store, clock=one.clock)
    for stage in (one, other):
        answering(stage, 303, ("Location", "/items/8"))
    for target in ("/items/7", "/items/8"):
        assert one.get(target).trace == "uri-miss, stored"
        assert other.get(target).trace == "hit"
    other.post("/items/7")
    for target in ("/items/7", "/items/8"):
        assert one.get(target).trace == "stale, stored"
        assert other.get(target).trace == "hit"


@pytest.mark.parametrize("rules", [(), (KEYED, Rule(path="/admin/**", cache=False))])
def test_a_write_where_nothing_is_cached_costs_the_store_nothing(
    scenario: MakeScenario, rules: tuple[Rule, ...]
) -> None:
    store = Counting()
    stage = scenario(*rules, store=store)
    answering(stage, 303, ("Location", "/admin/users"))
    store.asked.clear()
    for target in ("/admin/users", "/elsewhere", "/items/ada"):
        assert stage.post(target).body == b"done"
    assert store.asked == []


def test_a_write_that_the_store_does_not_acknowledge_is_owed_and_answered(
    scenario: MakeScenario,
) -> None:
    class Refusing(MemoryStore):
        async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
            raise OSError("no route to host")

    stage = scenario(OPEN, store=Refusing())
    answering(stage)
    stage.get("/items/7")
    assert stage.post("/items/7").status == 200
    # Nobody knows what is stored there now, so nobody gets it.
    assert stage.get("/items/7").trace == "bypass: owed"
