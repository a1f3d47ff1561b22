"""Names inside a shared store: short, plain, apart, and the same in every process and version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen.stores import names
from pagegen.stores.names import Names, derive

SLOT = bytes(range(20))
NAMESPACE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=512)


def all_of(named: Names, slot: bytes = SLOT, namespace: str = "item:7") -> tuple[bytes, ...]:
    return named.page(slot), named.lease(slot), named.token(namespace)


@given(st.text(max_size=40), st.text(max_size=40), st.binary(min_size=20, max_size=20), NAMESPACE)
def test_every_name_is_a_key_that_every_store_takes(
    site: str, site_key: str, slot: bytes, namespace: str
) -> None:
    for name in all_of(Names(site, site_key), slot, namespace):
        assert len(name) <= 50
        assert all(0x21 <= byte <= 0x7E for byte in name)


def test_names_are_those_that_other_versions_and_processes_use() -> None:
    """If these change, nobody finds what is stored, and an invalidation misses other versions."""
    assert all_of(Names("default")) == (
        b"pg1:i4CzJiPK9aYf:p:AAECAwQFBgcICQoLDA0ODxAREhM",
        b"pg1:i4CzJiPK9aYf:l:AAECAwQFBgcICQoLDA0ODxAREhM",
        b"pg1:i4CzJiPK9aYf:t:UynvEtLldWubZ29HuyGW01eD",
    )
    assert all_of(Names("default", "secret")) == (
        b"pg1:inIYBLyKRxyu:p:Cp8eLBXmbbJPzaMstXJhKT6pqps",
        b"pg1:inIYBLyKRxyu:l:Cp8eLBXmbbJPzaMstXJhKT6pqps",
        b"pg1:inIYBLyKRxyu:t:1B0HibZ4B9hUX8FkypHpXlQi",
    )


def test_sites_keys_kinds_slots_and_namespaces_are_apart() -> None:
    found = [
        name
        for site in ("default", "Default", "default ", "", "Übersicht")
        for site_key in ("", "a", "b", "a\0")
        for slot in (SLOT, SLOT[:-1] + b"\0", bytes(20), b"\xff" * 20)
        for name in all_of(Names(site, site_key), slot, slot.hex())
    ]
    assert len(set(found)) == len(found) == 5 * 4 * 4 * 3


def test_one_site_has_one_prefix_that_no_other_begins_with() -> None:
    prefixes = [Names(site).prefix for site in ("a", "b", "ab", "a:b")]
    assert len({len(prefix) for prefix in prefixes}) == 1
    assert len(set(prefixes)) == 4
    for prefix in prefixes:
        assert prefix.startswith(b"pg1:")
    named = Names("a")
    assert all(name.startswith(named.prefix) for name in all_of(named))


def test_without_the_site_key_nobody_can_tell_a_tokens_namespace() -> None:
    guessed = {
        Names("site", key).token("user:42")[-24:] for key in ("", "guess", "secre", "secret ")
    }
    assert Names("site", "secret").token("user:42")[-24:] not in guessed


def test_namespaces_that_differ_a_little_have_other_tokens() -> None:
    named = Names("site")
    alike = ["a", "A", "a ", "aa", "a/", "a" * 511, "a" * 512, "ä", "a\u0308", "\ud800"]
    assert len({named.token(namespace) for namespace in alike}) == len(alike)


def test_a_remembered_name_is_the_same_and_the_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "REMEMBERED_BYTES", 10_000)
    named, fresh = Names("site", "key"), Names("site", "key")
    for turn in range(3):
        for number in range(25):
            namespace = f"item:{number}"
            assert named.token(namespace) == Names("site", "key").token(namespace), turn
            assert named.token(namespace) == fresh.token(namespace)
            assert len(named._tokens) < 20
    assert named.statistics()["names_evicted"] > 25


def test_each_purpose_has_a_key_of_its_own_and_no_key_is_none() -> None:
    keys = {derive(secret, purpose) for secret in ("a", "b") for purpose in (b"x", b"y")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}
    assert derive("", b"x") == b""
    assert derive("\ud800", b"x") != derive("\ud801", b"x")
