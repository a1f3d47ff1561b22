"""Encryption at rest: what a shared store holds says nothing, and nobody can turn it off."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from pagegen import ConfigError, PageCache, Rule
from pagegen.config import Settings
from pagegen.keys import Encodable, encode, personal
from pagegen.stepping import step
from pagegen.stores import Codec, Keyring, MemoryStore, open_store
from pagegen.stores.near import NearStore
from pagegen.stores.sealing import Sealer
from pagegen.testing import FakeClock, Front, Reply, Scenario
from pagegen.testing.promises.samples import ODD, differences, page
from tests.security.vault import (
    KEY,
    NEXT,
    RULES,
    USER,
    Hands,
    Site,
    hands_on,
    of_kind,
    read_page,
)

ALL: Final = Keyring((KEY,), encrypt="all")
BY_IDENTITY: Final = Keyring((KEY,), encrypt="identity")
BOTH: Final = pytest.mark.parametrize("keys", [ALL, BY_IDENTITY], ids=["all", "identity"])
PLACE: Final = b"pg1:site:p:slot"
#: What must not be found: of keys, namespaces, headers and bodies.
TELLING: Final = (
    b"ann@",
    b"mine",
    b"diagnosis",
    b"user:",
    b"X-Ward",
    b"oncology",
    b"text/html",
    b"200",
)


@BOTH
def test_a_persons_page_tells_whoever_reads_the_store_nothing(
    hands: Hands, site: str, front: Front, keys: Keyring
) -> None:
    with Site(hands, keys=keys, site=site, front=front) as stage:
        stage.handler = lambda seen: Reply(
            b"diagnosis of ann@example.com: " + b"benign " * 500,
            fields=[("Content-Type", "text/html"), ("X-Ward", "oncology")],
        )
        before = set(hands.names())
        for _ in range(2):
            answer = stage.get("/mine/diagnosis", {"x-user": "ann@example.com"})
        assert answer.trace == "hit"
        assert answer.body.startswith(b"diagnosis of ann@")
        new = set(hands.names()) - before
        assert len(of_kind(hands, b"p")) >= 1
        for name in new:
            seen = name + hands.get(name)
            assert not [word for word in TELLING if word in seen], name


def test_by_identity_the_pages_of_everybody_are_left_as_they_are(hands: Hands, site: str) -> None:
    with Site(hands, keys=BY_IDENTITY, site=site) as stage:
        before = set(of_kind(hands, b"p"))
        stage.look("/open/a", "ann")
        (name,) = set(of_kind(hands, b"p")) - before
        assert b"/open/a of" in hands.get(name)
        # Whom no source knows is a person, too: the page is not everybody's.
        before |= {name}
        stage.look("/mine/a")
        (name,) = set(of_kind(hands, b"p")) - before
        assert b"/mine/a of" not in hands.get(name)


@BOTH
def test_a_page_in_clear_is_no_page_where_it_is_to_be_encrypted(
    hands: Hands, site: str, front: Front, keys: Keyring
) -> None:
    """A process that does not encrypt yet, or somebody who has the key of signatures' own."""
    clock = FakeClock()
    with (
        Site(hands, site=site, front=front, clock=clock) as old,
        Site(hands, keys=keys, site=site, front=front, clock=clock) as new,
    ):
        assert old.get("/mine/a", {"x-user": "ann"}).trace == "uri-miss, stored"
        assert new.get("/mine/a", {"x-user": "ann"}).trace == "uri-miss, stored"
        assert new.get("/mine/a", {"x-user": "ann"}).trace == "hit"
        assert old.get("/mine/a", {"x-user": "ann"}).trace == "uri-miss, stored"
        assert new.get("/mine/a", {"x-user": "ann"}).trace == "uri-miss, stored"


def test_an_encrypted_page_is_none_where_it_is_to_be_in_clear() -> None:
    parts: tuple[Encodable, ...] = (("site",), ("rule",), (), ("place",), (), ((), (), ()))
    public = replace(page(b"body"), key=b"".join(map(encode, parts)))
    sealed = Codec(ALL).encode(public, PLACE)
    assert Codec(ALL).decode(sealed, PLACE) is not None
    assert Codec(BY_IDENTITY).decode(sealed, PLACE) is None
    assert Codec(KEY).decode(sealed, PLACE) is None
    assert Codec().decode(sealed, PLACE) is None


def test_a_sealed_page_opens_in_its_own_place_alone() -> None:
    codec = Codec(ALL)
    sealed = codec.encode(page(b"body"), PLACE)
    assert codec.decode(sealed, PLACE) is not None
    for place in (b"", b"pg1:site:p:slo", PLACE + b"t", b"pg1:sitf:p:slot"):
        assert codec.decode(sealed, place) is None


@pytest.mark.parametrize("what", ODD)
def test_every_odd_page_comes_back_as_it_was(what: str) -> None:
    for codec in (Codec(ALL), Codec(BY_IDENTITY)):
        assert differences(codec.decode(codec.encode(ODD[what], PLACE), PLACE), ODD[what]) == []


def test_no_two_writings_share_salt_or_nonce_or_key_stream() -> None:
    sealer = Sealer((KEY,))
    found = [sealer.seal(bytes(32), b"") for _ in range(2000)]
    for cut in (slice(0, 16), slice(16, 28), slice(28, 60)):
        assert len({sealed[cut] for sealed in found}) == 2000


def test_each_page_is_sealed_with_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were all nonces the same, two pages would still have nothing in common."""
    chance = iter([b"s" * 16, b"n" * 12, b"S" * 16, b"n" * 12])
    monkeypatch.setattr("pagegen.stores.sealing.urandom", lambda _: next(chance))
    sealer = Sealer((KEY,))
    one, other = (sealer.seal(bytes(64), b"") for _ in range(2))
    assert one[16:28] == other[16:28]
    assert one[28:60] != other[28:60]


def test_one_bit_anywhere_and_it_does_not_open() -> None:
    sealer = Sealer((KEY,))
    sealed = bytearray(sealer.seal(b"content", b"around"))
    for at in range(len(sealed)):
        for bit in range(8):
            sealed[at] ^= 1 << bit
            assert sealer.open(memoryview(bytes(sealed)), b"around") is None
            sealed[at] ^= 1 << bit
    assert sealer.open(memoryview(sealed), b"around") == b"content"
    assert all(
        sealer.open(memoryview(sealed)[:end], b"around") is None for end in range(len(sealed))
    )


def test_each_key_opens_and_the_first_one_seals() -> None:
    old, new, both = Sealer((KEY,)), Sealer((NEXT,)), Sealer((NEXT, KEY))
    assert both.open(memoryview(old.seal(b"x", b"")), b"") == b"x"
    assert new.open(memoryview(both.seal(b"x", b"")), b"") == b"x"
    assert old.open(memoryview(both.seal(b"x", b"")), b"") is None


def test_a_page_that_memcached_gets_in_parts_is_sealed_as_a_whole(tmp_path: Path) -> None:
    with hands_on("memcached", tmp_path) as hands:
        store = hands.open(ALL, "shop", FakeClock())
        body = b"diagnosis" * 300_000
        assert step(store.write_page(bytes(20), page(body), 60.0))
        assert read_page(store, bytes(20)).body == body
        parts = of_kind(hands, b"x")
        assert len(parts) > 2
        assert not any(b"diagnosis" in hands.get(part) for part in parts)
        store.close()


def test_near_copies_are_in_the_process_and_no_others(hands: Hands, site: str) -> None:
    behind = hands.open(ALL, site, FakeClock())
    near = NearStore(behind, 2**20)
    assert step(near.write_page(bytes(20), page(b"diagnosis"), 60.0))
    assert read_page(near, bytes(20)).body == b"diagnosis"
    assert not any(b"diagnosis" in hands.get(name) for name in of_kind(hands, b"p"))
    near.close()


# Who is a person.


def test_keys_of_rules_that_share_by_identity_are_a_persons_and_others_are_not() -> None:
    from pagegen.cache import _imagined

    rules = [
        *RULES,
        Rule(path="/keyed", share="public", headers={"x-a": {}}, ttl=1),
        Rule(path="/varies", share="public", mode="http"),
        Rule(path="/two", share=["user", "user2"], ttl=1),
        Rule(path="/l0:", name="l0:l0:", share=["user"], ttl=1, query={"l0:": {}}),
    ]
    with Scenario("wsgi", rules, identities=[USER, replace(USER, name="user2")]) as stage:
        plan = stage.cache.engine._state.planner.plan
        for path, expected in (
            ("/mine/l0:", True), ("/open/a", False), ("/keyed", False), ("/varies", False),
            ("/two", True), ("/l0:", True),
        ):  # fmt: skip
            for user in ({}, {"x-user": "l0:"}):
                found: Any = plan(_imagined(path, headers=user))
                assert personal(found.key) is expected, path


@pytest.mark.parametrize(
    "key",
    [
        b"", b"x", b"s3:ab", b"s99:", b"l1:", b"l2:nnl1:n", b"s-1:", b"s+1:x", b"s1_0:",
        b"l-1:nnl0:", b"s" + b"9" * 5000 + b":", b"l" + b"9" * 4000 + b":", b"nns0:", b"nnn",
        b"nn", b"::::", b"\xff",
    ],
    ids=lambda key: repr(key[:12]),
)  # fmt: skip
def test_what_is_no_key_of_ours_is_taken_for_a_persons(key: bytes) -> None:
    assert personal(key) is True


# What is refused at start.


def mistake(**settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        open_store(Settings(**settings))
    assert caught.value.field == "encrypt"
    return str(caught.value)


def test_encryption_needs_a_key_and_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "needs a site_key" in mistake(encrypt="all")
    assert 'Choose "identity", "all" or false' in mistake(encrypt="yes", site_key=KEY)
    assert 'Choose "identity"' in mistake(encrypt=True, site_key=KEY)
    monkeypatch.delitem(sys.modules, "pagegen.stores.sealing", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    said = mistake(encrypt="identity", site_key=KEY)
    assert "pip install 'pagegen-middleware[encryption]'" in said
    with pytest.raises(ConfigError, match="not installed"):
        Codec(ALL)
    with pytest.raises(ValueError, match="without a site key"):
        Keyring(encrypt="all")


def test_a_store_that_is_there_already_cannot_be_told_to_encrypt(tmp_path: Path) -> None:
    with hands_on("lmdb", tmp_path) as hands:
        store = hands.open(KEY, "shop", FakeClock())
        with pytest.raises(ConfigError, match="cannot be told to a store") as caught:
            PageCache(RULES, identities=[USER], store=store, site_key=KEY, encrypt="all")
        assert (caught.value.where, caught.value.field) == ("[pagegen]", "encrypt")
        store.close()
    # In one process nothing leaves it.
    PageCache(RULES, identities=[USER], store=MemoryStore(), site_key=KEY, encrypt="all").close()
    PageCache(RULES, identities=[USER], site_key=KEY, encrypt="all").close()


def test_the_setting_reaches_every_kind_of_store(hands: Hands, site: str) -> None:
    url = hands.url
    settings = Settings(store=url, site=site, site_key=[KEY], names_key=NEXT, encrypt="identity")
    store = open_store(settings)
    before = set(of_kind(hands, b"p"))
    assert step(store.write_page(bytes(20), page(b"diagnosis"), 60.0))
    (name,) = set(of_kind(hands, b"p")) - before
    assert b"diagnosis" not in hands.get(name)
    other = hands.open(Keyring((KEY,), NEXT, "identity"), site, FakeClock())
    assert read_page(other, bytes(20)).body == b"diagnosis"
    other.close()
    store.close()
