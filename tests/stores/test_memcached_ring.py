"""What the memcached store decides without a server: addresses, the ring, parts, inspection."""

from __future__ import annotations

import logging
from collections import Counter
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagegen import ConfigError
from pagegen.errors import StoreError
from pagegen.stores.memcached import parts
from pagegen.stores.memcached.addresses import choose, parse_address, parse_addresses
from pagegen.stores.memcached.inspection import Inspector
from pagegen.stores.memcached.ring import MAX_REMEMBERED, Ring

NAMES = [b"pg1:site:t:%d" % number for number in range(3000)]


def places(servers: list[str]) -> dict[bytes, str]:
    ring = Ring(servers)
    return {name: servers[ring.server(name)] for name in NAMES}


def test_the_order_of_the_list_does_not_matter() -> None:
    assert places(["a:1", "b:1", "c:1"]) == places(["c:1", "a:1", "b:1"])


def test_names_are_shared_out_evenly() -> None:
    shares = Counter(places(["a:1", "b:1", "c:1"]).values())
    assert all(850 < share < 1150 for share in shares.values())


def test_one_more_server_takes_its_share_and_moves_nothing_else() -> None:
    before, after = places(["a:1", "b:1", "c:1"]), places(["a:1", "b:1", "c:1", "d:1"])
    moved = {after[name] for name in NAMES if before[name] != after[name]}
    assert moved == {"d:1"}
    assert 600 < sum(before[name] != after[name] for name in NAMES) < 900


def test_the_ring_is_the_same_in_every_version() -> None:
    # Two versions that run side by side must find each other's tokens: this never changes.
    ring = Ring(["10.0.0.1:11211", "10.0.0.2:11211", "/run/mc.sock"])
    found = [ring.server(b"pg1:site:t:%d" % number) for number in range(16)]
    assert found == [2, 0, 1, 1, 0, 0, 2, 2, 1, 0, 0, 1, 1, 1, 2, 0]


def test_what_the_ring_remembers_is_bounded() -> None:
    ring = Ring(["a:1", "b:1"])
    for number in range(MAX_REMEMBERED + 10):
        ring.server(b"%d" % number)
    assert len(ring._known) <= MAX_REMEMBERED


@pytest.mark.parametrize(
    ("given_", "text", "host", "port", "path"),
    [
        ("h1", "h1:11211", "h1", 11211, ""),
        (" H1:11212 ", "h1:11212", "h1", 11212, ""),
        ("10.0.0.1", "10.0.0.1:11211", "10.0.0.1", 11211, ""),
        ("::1", "[::1]:11211", "::1", 11211, ""),
        ("[0:0::1]:5", "[::1]:5", "::1", 5, ""),
        ("[::1]", "[::1]:11211", "::1", 11211, ""),
        ("/run/mc.sock", "/run/mc.sock", "", 0, "/run/mc.sock"),
        ("unix:/run/mc.sock", "/run/mc.sock", "", 0, "/run/mc.sock"),
    ],
)
def test_one_server_has_one_text(given_: str, text: str, host: str, port: int, path: str) -> None:
    address = parse_address(given_)
    assert (address.text, address.host, address.port, address.path) == (text, host, port, path)


@pytest.mark.parametrize(
    "wrong",
    ["", " ", "h:", "h:x", "h:0", "h:65536", "h:1:2", "[::1", "[::1]x", "[h]:1", "user@h", "ä",
     "run/mc.sock", "h:" + "9" * 5000, "h:²"],
)  # fmt: skip
def test_what_is_no_server_is_refused_with_a_remedy(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"store: .*HOST:PORT"):
        parse_address(wrong)


@pytest.mark.parametrize("wrong", [[], ["a", "b", "a:11211"], ["::1", "[0::1]:11211"]])
def test_no_server_at_all_and_one_named_twice_are_refused(wrong: list[str]) -> None:
    with pytest.raises(ConfigError):
        parse_addresses(wrong)


def resolved(family: int, host: str) -> Any:
    return family, SOCK_STREAM, IPPROTO_TCP, "", (host, 11211)


def test_a_name_is_one_place_and_ipv4_before_ipv6() -> None:
    both = [resolved(AF_INET6, "::1"), resolved(AF_INET, "127.0.0.1")]
    assert choose(both)[4][0] == "127.0.0.1"
    assert choose([*both, *both])[4][0] == "127.0.0.1"
    assert choose(both[:1])[4][0] == "::1"


def test_a_name_of_several_machines_is_no_server() -> None:
    with pytest.raises(StoreError, match=r"several servers \(10\.0\.0\.1, 10\.0\.0\.2\)"):
        choose([resolved(AF_INET, "10.0.0.2"), resolved(AF_INET, "10.0.0.1")])
    with pytest.raises(StoreError, match="no address"):
        choose([])


@given(st.binary(min_size=1, max_size=40_000), st.integers(4096, 9000))
def test_parts_make_the_page_again(page: bytes, part: int) -> None:
    manifest = parts.divide(len(page), part + parts.OVERHEAD, b"w" * 16)
    assert manifest is not None
    pieces = manifest.cut(page, b"pg1:s:")
    assert all(len(piece) <= part for piece in pieces.values())
    stored = manifest.encode()
    read = parts.parse(stored)
    assert read == manifest
    assert read is not None
    assert read.join(pieces, b"pg1:s:") == page


def test_a_page_with_a_part_missing_or_of_another_length_is_none() -> None:
    manifest = parts.divide(10_000, 4096 + parts.OVERHEAD, b"w" * 16)
    assert manifest is not None
    pieces = manifest.cut(b"x" * 10_000, b"p:")
    assert len(pieces) == 3
    for name, piece in pieces.items():
        assert manifest.join({**pieces, name: piece[:-1]}, b"p:") is None
        assert manifest.join({**pieces, name: piece + b"x"}, b"p:") is None
        assert manifest.join({n: p for n, p in pieces.items() if n != name}, b"p:") is None


def test_parts_of_two_writings_have_nothing_in_common() -> None:
    first = parts.divide(10_000, 5000, b"a" * 16)
    second = parts.divide(10_000, 5000, b"b" * 16)
    assert first is not None
    assert second is not None
    assert not set(first.names(b"p:")) & set(second.names(b"p:"))
    assert max(map(len, first.names(b"pg1:" + b"s" * 12 + b":"))) < 250


def test_pages_of_too_many_parts_or_too_small_ones_are_not_cut() -> None:
    part = 4096
    assert parts.divide(part * parts.MAX_PARTS, part + parts.OVERHEAD, b"w" * 16) is not None
    assert parts.divide(part * parts.MAX_PARTS + 1, part + parts.OVERHEAD, b"w" * 16) is None
    assert parts.divide(10, part + parts.OVERHEAD - 1, b"w" * 16) is None


@given(st.binary(max_size=40))
def test_a_hostile_manifest_is_none_or_asks_for_little(rest: bytes) -> None:
    manifest = parts.parse(parts.MAGIC + rest)
    if manifest is not None:
        assert len(manifest.names(b"p:")) <= parts.MAX_PARTS


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"item_size_max": "much"},
        {"item_size_max": "1048576", "memory_file": "/var/lib/mc"},
    ],
)
def test_a_server_that_brings_old_tokens_back_or_may_is_refused_and_named_once(
    settings: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    inspector = Inspector(parse_addresses(["h1", "h2"]))
    with caplog.at_level(logging.ERROR, "pagegen.stores"):
        for _ in range(3):
            with pytest.raises(StoreError):
                inspector(1, settings)
        assert [record.getMessage()[:28] for record in caplog.records] == [
            "memcached h2:11211 is not us"
        ]
        inspector(1, {"item_size_max": "1048576", "memory_file": "(null)"})
        with pytest.raises(StoreError):
            inspector(1, settings)
    assert len(caplog.records) == 2


def test_the_largest_item_is_what_all_servers_take() -> None:
    inspector = Inspector(parse_addresses(["h1", "h2"]))
    assert inspector.largest_item == 2**20
    inspector(0, {"item_size_max": str(2**23)})
    assert inspector.largest_item == 2**23
    inspector(1, {"item_size_max": str(2**16)})
    assert inspector.largest_item == 2**16
    inspector(1, {"item_size_max": str(2**21)})
    assert inspector.largest_item == 2**21
