"""Glances: what is answered without a look-up is what a look-up would answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

from pagegen import Identity, InvalidationError, PageCache, Rule
from pagegen.asgi.requests import combined
from pagegen.asgi.requests import target as asgi_target
from pagegen.errors import StoreError
from pagegen.glancing import WEIGHED
from pagegen.messages import Target
from pagegen.stores import MemoryStore
from pagegen.stores.base import Glimpse, Reading, glance_of
from pagegen.stores.near import NearStore
from pagegen.stores.threads import Threaded, for_loop
from pagegen.testing import FakeClock, Front, Reply, Scenario, Seen
from pagegen.testing.calling import Answer, environ, scope
from pagegen.wsgi.requests import target as wsgi_target

HOST = {"host": "shop.example"}
RULES = (
    Rule(path="/items/{id}", share="public", ttl="60s", namespaces=["item:{id}"], sie="60s"),
    Rule(
        path="/lists/{id}",
        share="public",
        ttl="60s",
        namespaces=["list:{id}", "lists"],
        query={"page": {"type": "int", "default": 1}},
        headers={"x-lang": {"values": ["en", "de"], "default": "en"}},
    ),
    Rule(path="/mine/{id}", share=["user"], ttl="60s", namespaces=["mine:{identity.user}"]),
    Rule(
        path="/coded/{id}", share="public", ttl="60s", namespaces=["item:{id}"], compress=["gzip"]
    ),
    Rule(path="/law/{id}", mode="http", share="public"),
)
USER = Identity(name="user", sources=["cookie:session"])


class Asked(MemoryStore):
    """A store that wants to be asked: whoever replaces ``read`` has no glances."""

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        return await super().read(slot, namespaces)


class Glanced(MemoryStore):
    """A store that counts what is found at a glance."""

    found = 0

    def glance(self, slot: bytes | None, namespaces: Sequence[str]) -> Glimpse:
        glimpse = super().glance(slot, namespaces)
        self.found += glimpse[0] is not None
        return glimpse


def handler(seen: Seen) -> Reply:
    seen_of = [seen.fields.get(name) for name in ("host", "x-lang", "cookie")]
    body = f"{seen.path}?{seen.query} {seen_of} " * 40
    fields = [("Content-Type", "text/html")]
    if seen.path.startswith("/law/"):
        tagged = [("Cache-Groups", '"late"')] if seen.path.endswith("2") else []
        varied = [("Vary", "X-Lang")] if seen.path.endswith("3") else []
        fields += [("Cache-Control", "public, max-age=60"), *tagged, *varied]
    return Reply(body.encode(), fields=fields)


@contextmanager
def staged(front: Front, clock: FakeClock, store: MemoryStore, told: bool) -> Iterator[Scenario]:
    made = Scenario(
        front,
        RULES,
        clock=clock,
        store=store,
        identities=[USER],
        cache_status=told,
        site_key="k" * 32,
        date="send",
    )
    with made as stage:
        stage.handler = handler
        yield stage


def same(glanced: Answer, asked: Answer) -> None:
    assert glanced.status == asked.status
    assert glanced.fields == asked.fields
    assert glanced.body == asked.body


# Fields that a request may have, each with values; without the last ones most are plain.
SAID = {
    "x-lang": ["de", "en", "xx"],
    "cookie": ["session=ann", "session=bob", "theme=dark", ""],
    "accept-encoding": ["gzip", "br", "gzip;q=0"],
    "sec-fetch-mode": ["navigate", "cors"],
    "if-none-match": ["*", '"other"'],
    "if-match": ["*", '"other"'],
    "range": ["bytes=0-9", "bytes=5-", "bytes=9999-"],
    "cache-control": ["no-cache", "max-age=0", "only-if-cached", "max-stale=9"],
    "pragma": ["no-cache"],
    "authorization": ["Basic YTpi"],
    "content-length": ["0", "3", ""],
    "transfer-encoding": ["chunked"],
    "upgrade": ["websocket", "h2c"],
    "pagegen-debug": ["1.abc"],
}
KINDS = ("items", "lists", "mine", "coded", "law")
LENGTH = 400


def asks(chance: Random) -> tuple[str, str, dict[str, str]]:
    """A request: method, target and fields."""
    said = chance.sample(list(SAID), chance.choice([0, 0, 0, 1, 1, 2, 3]))
    host = {"host": chance.choice(["shop.example", "shop.example", "shop.test"])}
    fields = {**host, **{name: chance.choice(SAID[name]) for name in said}}
    path = f"/{chance.choice(KINDS)}/{chance.choice('123')}"
    query = chance.choice(["", "", "", "?page=2", "?page=02", "?other=1"])
    return chance.choice(["GET", "GET", "GET", "GET", "HEAD", "POST"]), path + query, fields


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("told", [False, True], ids=["silent", "told"])
def test_a_glance_answers_what_a_look_up_would(front: Front, told: bool, seed: int) -> None:
    chance, clock = Random(seed), FakeClock()
    glanced, asked = Glanced(now=clock), Asked(now=clock)
    with staged(front, clock, glanced, told) as one, staged(front, clock, asked, told) as two:
        for _ in range(LENGTH):
            if chance.random() < 0.05:
                clock.advance(chance.choice([1.0, 30.0, 59.5, 61.0]))
            elif chance.random() < 0.05:
                name = chance.choice(["item:1", "item:2", "lists", "mine:ann", "late"])
                one.cache.invalidate(name)
                two.cache.invalidate(name)
            method, path, fields = asks(chance)
            body = b"x=1" if method == "POST" else b""
            same(*(stage.request(method, path, fields, body) for stage in (one, two)))
            assert one.renders == two.renders
        assert counted(one.cache) == counted(two.cache)
    assert glanced.found > LENGTH / 5  # else this compares look-ups with look-ups


def counted(cache: PageCache) -> Mapping[str, int]:
    numbers = cache.statistics()
    return {name: n for name, n in numbers.items() if not name.startswith("remembered_")}


def plain(front: Front, clock: FakeClock, store: MemoryStore | NearStore, **rule: Any) -> Scenario:
    made = Rule(
        **{"path": "/page", "share": "public", "ttl": "60s", "namespaces": ["page"], **rule}
    )
    return Scenario(front, [made], clock=clock, store=store, cache_status=False)


class Failing(Glanced):
    """A store that can be told to fail."""

    invalidates = glances = True

    def glance(self, slot: bytes | None, namespaces: Sequence[str]) -> Glimpse:
        if not self.glances:
            raise StoreError("not now")
        return super().glance(slot, namespaces)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        if not self.invalidates:
            raise StoreError("not now")
        await super().replace_tokens(tokens, ttl)


def test_what_is_owed_is_not_seen_at_a_glance(front: Front) -> None:
    clock = FakeClock()
    store = Failing(now=clock)
    with plain(front, clock, store) as stage:
        stage.get("/page")
        store.invalidates = False
        with pytest.raises(InvalidationError):
            stage.cache.invalidate("another")
        assert stage.get("/page").text == "page 1"  # by a look-up, which knows whose debt it is
        with pytest.raises(InvalidationError):
            stage.cache.invalidate("page")
        assert stage.get("/page").text == "page 2"
        store.invalidates = True


def test_a_glance_that_fails_is_a_look_up_that_does(front: Front) -> None:
    clock = FakeClock()
    store = Failing(now=clock)
    with plain(front, clock, store) as stage:
        stage.get("/page")
        store.glances = False
        assert stage.get("/page").text == "page 2"
        assert stage.cache.statistics()["store-failed"] == 1


def test_who_renews_before_the_end_does_not_glance(front: Front) -> None:
    clock = FakeClock()
    with plain(front, clock, Glanced(now=clock), early=1) as stage:
        stage.get("/page")
        glance = stage.cache.engine.glance
        (page,) = (page for _, page, _ in stage.cache.engine.store._pages.items())  # type: ignore[attr-defined]
        (plan,) = (plan for _, plan, _ in stage.cache.engine._state.planner._memo.items())
        page.render_seconds = 1.0
        clock.advance(page.fresh_until - clock() - 12.5)
        assert glance.page(plan) is page  # type: ignore[arg-type]
        clock.advance(1)
        assert glance.page(plan) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(WEIGHED))
def test_what_a_look_up_weighs_is_not_glanced_over(front: Front, name: str) -> None:
    clock = FakeClock()
    with plain(front, clock, MemoryStore(now=clock)) as stage:
        stage.get("/page", HOST)
        engines = (stage.cache.engine, stage.cache.on_loop)
        glances: list[object] = []
        for engine in engines:
            read = engine.glance._read
            assert read is not None
            engine.glance._read = lambda *asked, read=read: glances.append(asked) or read(*asked)  # type: ignore[misc, func-returns-value]
        stage.get("/page", HOST)
        assert len(glances) == 1
        stage.get("/page", {**HOST, name: "1"})
        assert len(glances) == 1


def test_a_long_page_leaves_in_pieces_at_a_glance_too() -> None:
    clock = FakeClock()
    with plain("asgi", clock, MemoryStore(now=clock)) as stage:
        stage.handler = lambda _seen: b"x" * 300_000
        assert stage.get("/page").body == stage.get("/page").body
        assert [len(chunk) for chunk in stage.get("/page").chunks] == [131_072, 131_072, 37_856]
        assert stage.cache.statistics()["hit"] == 2


def test_who_replaces_read_is_asked() -> None:
    assert glance_of(MemoryStore()) is not None
    assert glance_of(Asked()) is None
    assert glance_of(NearStore(Asked(), 2**20)) is not None  # it has pages of its own
    assert glance_of(Threaded(MemoryStore())) is not None
    assert glance_of(Threaded(Asked())) is None
    assert glance_of(for_loop(Asked())) is None


@pytest.mark.parametrize(("behind", "sees"), [(MemoryStore, True), (Asked, False)])
def test_a_near_store_glances_where_the_store_behind_it_does(
    front: Front, behind: type[MemoryStore], sees: bool
) -> None:
    clock = FakeClock()
    near = NearStore(behind(now=clock), 2**20, now=clock)
    with plain(front, clock, near) as stage:
        for _ in range(3):
            assert stage.get("/page").text == "page 1"
        numbers = stage.cache.statistics()
        assert (numbers["hit"], numbers["store_near_hits"]) == (2, 2)
        ((slot, page, _),) = near._shelf._pages.items()
        glimpse = near.glance(slot, page.namespaces)
        assert (glimpse is not None) is sees
        stage.cache.invalidate("page")
        assert near.glance(slot, page.namespaces) is None
        assert stage.get("/page").text == "page 2"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("REQUEST_METHOD", "HEAD"),
        ("PATH_INFO", "/other"),
        ("QUERY_STRING", "b=2"),
        ("HTTP_HOST", "other.example"),
        ("RAW_URI", "/%61"),
        ("REQUEST_URI", "/%61"),
        ("wsgi.url_scheme", "https"),
        ("SCRIPT_NAME", "/mount"),
    ],
)
def test_an_environ_with_another_target_has_another_target(name: str, other: str) -> None:
    made = environ("GET", "/a?b=1", HOST)
    assert wsgi_target({**made, name: other}) != wsgi_target(made)
    assert wsgi_target({**made, "HTTP_USER_AGENT": "x"}) == wsgi_target(made)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("method", "HEAD"),
        ("path", "/other"),
        ("query_string", b"b=2"),
        ("headers", [(b"host", b"other.example")]),
        ("raw_path", b"/%61"),
        ("scheme", "https"),
        ("root_path", "/mount"),
    ],
)
def test_a_scope_with_another_target_has_another_target(name: str, other: object) -> None:
    def of(made: Mapping[str, Any]) -> Target:
        return asgi_target(dict(made), combined(made["headers"]))

    made = scope("GET", "/a?b=1", HOST)
    assert of({**made, name: other}) != of(made)
    assert of({**made, "client": ("192.0.2.1", 1)}) == of(made)
