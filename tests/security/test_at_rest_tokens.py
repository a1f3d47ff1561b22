"""Hostile tokens, registers, flags, marks and leases: a miss, a bypass or an error that is owed.

Whatever stands in their place, no request fails or hangs, and no page outlives its invalidation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from struct import pack
from typing import Any, Final

import pytest

from pagegen import Rule
from pagegen.errors import StoreError, WritingError
from pagegen.law.marks import marks
from pagegen.law.softness import hold
from pagegen.leasing import lease_place
from pagegen.stepping import step
from pagegen.testing import Answer, FakeClock, Front, Reply
from tests.security.vault import KEY, Hands, OnLmdb, OnRedis, Site, hands_on, of_kind

RULES: Final = {
    rule.path.strip("/"): rule
    for rule in (
        Rule(path="/plain", share="public", namespaces=["t"], ttl="1h"),
        Rule(path="/groups", share="public", namespaces=["t"], ttl="1h", groups=True),
        Rule(path="/soft", share="public", namespaces=["t"], ttl="1h", swr="1m", soft=True),
        Rule(path="/strict", share="public", namespaces=["t"], ttl="1h", strict=True),
        Rule(path="/lag", share="public", namespaces=["t"], ttl="1h", replica_lag="2s"),
        Rule(path="/http", share="public", mode="http", groups=True),
    )
}
CHANCE: Final = b"r" * 16
HOSTILE: Final[Mapping[str, bytes]] = {
    "nothing": b"",
    "a byte": b"x",
    "no stamp": bytes(16),
    "zeros": bytes(24),
    "no moment": CHANCE + pack(">d", float("nan")),
    "without end": CHANCE + pack(">d", float("inf")),
    "before all": CHANCE + pack(">d", -1e300),
    "records of no moment": CHANCE + bytes(8) + pack(">8sd", b"n" * 8, float("nan")) * 8,
    "the longest that a page can carry": b"r" * 255,
    "longer": b"r" * 256,
    "a protocol's": b"\r\nEND\r\nVALUE x 0 1\r\n$-1\r\n",
    "far too long": b"r" * 15_000,
}


@pytest.fixture
def stage(hands: Hands, request: pytest.FixtureRequest, front: Front) -> Iterator[Site]:
    site = Site(
        hands,
        front=front,
        site=str(request.node.name),
        rules=list(RULES.values()),
        max_wait="100ms",
    )
    site.handler = lambda seen: Reply(
        site.version.encode(),
        fields=[("Cache-Control", "max-age=60"), ("Vary", "x-v"), ("Cache-Groups", '"late"')]
        if seen.path == "/http"
        else [],
    )
    with site:
        yield site


def good(answer: Answer, version: str) -> bool:
    return (answer.status, answer.text) == (200, version)


def spoil(hands: Hands, before: set[bytes], value: bytes) -> None:
    """Put this in the place of every token that came since."""
    for name in set(of_kind(hands, b"t")) - before:
        hands.put(name, value)


@pytest.mark.parametrize("kind", RULES)
def test_whatever_stands_in_the_place_of_tokens_pages_are_right_and_can_be_forgotten(
    hands: Hands, stage: Site, kind: str
) -> None:
    before = set(of_kind(hands, b"t"))
    for what, value in HOSTILE.items():
        stage.version = f"before {what}"
        stage.post("/http")
        stage.cache.invalidate("t", "late")
        for _ in range(2):
            assert good(stage.get(f"/{kind}"), stage.version), what
        spoil(hands, before, value)
        for _ in range(2):
            assert good(stage.get(f"/{kind}"), stage.version), what
        stage.version = f"after {what}"
        if kind == "http":
            stage.post("/http")
        else:
            stage.cache.invalidate("t")
        assert good(stage.get(f"/{kind}"), stage.version), what


def test_a_soft_invalidation_over_hostile_tokens_forgets_too(hands: Hands, stage: Site) -> None:
    before = set(of_kind(hands, b"t"))
    for value in HOSTILE.values():
        stage.version = "old"
        stage.cache.invalidate("t")
        assert good(stage.get("/soft"), "old")
        spoil(hands, before, value)
        stage.version = "new"
        stage.cache.invalidate("t", soft=True)
        assert good(stage.get("/soft"), "new")


@pytest.mark.parametrize("value", [b"", b"x" * 24], ids=["empty", "full"])
def test_flags_and_marks_that_nobody_takes_down_cost_pages_and_nothing_else(
    hands: Hands, stage: Site, value: bytes
) -> None:
    """Planted by somebody who has the names: then nothing is stored, and all is right."""
    store = stage.opened
    planted = dict.fromkeys((hold("t"), *marks(["t"])), value)
    for kind in ("lag", "strict"):
        stage.get(f"/{kind}")  # who mints tokens writes flags of their own
        stage.clock.advance(60.0)  # and is done with them by now
        step(store.replace_tokens(planted, 3600.0))
        for version in ("1", "2"):
            stage.version = version
            assert good(stage.get(f"/{kind}"), version)
    with (
        pytest.raises(WritingError, match="did not begin"),
        stage.cache.writing("t", wait="10ms"),
    ):
        raise AssertionError("the block must not run")
    assert stage.cache.invalidate("t")


def test_a_lease_that_is_planted_for_ever_costs_its_waiters_max_wait_once_more_and_no_longer(
    hands: Hands, stage: Site
) -> None:
    stage.version = "1"
    assert good(stage.get("/plain"), "1")
    stage.clock.advance(1e6)
    plan = stage.cache.engine._state.planner.plan(_request("/plain"))
    tokens: Any = step(stage.opened.read(None, plan.namespaces)).tokens
    place = lease_place(plan.slot, tokens)
    before = set(of_kind(hands, b"l"))
    assert step(stage.opened.acquire(place, b"somebody's", 3600.0))  # type: ignore[attr-defined]
    (name,) = set(of_kind(hands, b"l")) - before
    if isinstance(hands, OnLmdb):
        # That of a process which lives, and for ever.
        (number,) = {stage.opened._environment.number}  # type: ignore[attr-defined]
        hands.put(name, pack("<dQ", float("inf"), number) + b"x")
    stage.version = "2"
    began = time.monotonic()
    assert good(stage.get("/plain"), "2")
    # max_wait is 0.1 s; twice that is the promise, the rest is a machine that is busy.
    assert time.monotonic() - began < 3.0


def _request(path: str) -> Any:
    from pagegen.testing.calling import environ
    from pagegen.wsgi.requests import read_request

    return read_request(environ("GET", path, {}))


@pytest.mark.parametrize(
    "record",
    [
        b"", b"x", bytes(15), bytes(16), pack("<dQ", float("nan"), 1),
        pack("<dQ", float("inf"), 2**64 - 1), pack("<dQ", 1e300, 2**32),
    ],
)  # fmt: skip
def test_a_lease_of_nobody_in_lmdb_keeps_nobody_waiting(tmp_path: Path, record: bytes) -> None:
    with hands_on("lmdb", tmp_path) as hands:
        store: Any = hands.open(KEY, "shop", FakeClock())
        assert step(store.acquire(bytes(20), b"owner", 60.0))
        (name,) = of_kind(hands, b"l")
        hands.put(name, record)
        assert step(store.acquire(bytes(20), b"another", 60.0))
        store.close()


@pytest.mark.parametrize("letter", [b"p", b"t", b"l"], ids=["page", "tokens", "lease"])
def test_values_of_another_type_in_redis_are_no_values(
    tmp_path: Path, letter: bytes, front: Front
) -> None:
    with hands_on("redis", tmp_path) as hands, Site(hands, front=front, max_wait="50ms") as stage:
        assert isinstance(hands, OnRedis)
        assert stage.look("/open/a")
        for name in of_kind(hands, letter):
            hands.run("DEL", name)
            hands.run("LPUSH", name, "hostile")
        for _ in range(2):
            assert stage.look("/open/a") == "/open/a of nobody: first"
        stage.version = "second"
        assert stage.cache.invalidate("thing:a")
        assert stage.look("/open/a") == "/open/a of nobody: second"


@pytest.mark.parametrize("letter", [b"p", b"t"], ids=["page", "tokens"])
def test_in_lmdb_records_that_are_cut_are_missing_or_have_all_begin_anew(
    tmp_path: Path, letter: bytes
) -> None:
    for length in range(8):
        with hands_on("lmdb", tmp_path / str(length)) as hands, Site(hands) as stage:
            assert isinstance(hands, OnLmdb)
            assert stage.look("/open/a")
            for name in of_kind(hands, letter):
                hands.put_raw(name, b"\x7f" * length)
            assert stage.look("/open/a") == "/open/a of nobody: first"
            stage.version = "second"
            with suppress(StoreError):  # it may be owed, and then nothing is served
                stage.cache.invalidate("thing:a")
            assert stage.look("/open/a") == "/open/a of nobody: second"


# What remains to who writes to the store: the page's own lifetime bounds it.


def test_an_old_page_that_is_put_back_under_a_new_token_is_a_miss(
    hands: Hands, front: Front
) -> None:
    with Site(hands, site=f"alone {front}", front=front) as stage:
        before = set(of_kind(hands, b"p"))
        stage.look("/open/a")
        (name,) = set(of_kind(hands, b"p")) - before
        old = hands.get(name)
        stage.version = "second"
        stage.cache.invalidate("thing:a")
        for _ in range(2):
            hands.put(name, old)
            assert stage.look("/open/a") == "/open/a of nobody: second"


def test_with_its_token_an_old_page_comes_back_until_its_lifetime_ends(
    hands: Hands, front: Front
) -> None:
    """Not promised, and said so: tokens and pages lie in the same store. The times are signed."""
    with Site(hands, site=f"replayed {front}", front=front) as stage:
        before = set(hands.names())
        stage.look("/open/a")
        old = {name: hands.get(name) for name in set(hands.names()) - before}
        stage.version = "second"
        stage.cache.invalidate("thing:a")
        assert stage.look("/open/a") == "/open/a of nobody: second"
        for name, value in old.items():
            hands.put(name, value)
        assert stage.look("/open/a") == "/open/a of nobody: first"
        stage.clock.advance(3600.0)
        for name, value in old.items():
            hands.put(name, value)
        assert stage.look("/open/a") == "/open/a of nobody: second"
