"""Stored pages in hostile hands: what is not whole, ours, and of this very place is a miss."""

from __future__ import annotations

import gzip
import hmac
import os
import pickle
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random
from struct import Struct
from typing import Any, Final
from zlib import compress, crc32

import pytest

from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores import Codec, Keyring, codec
from pagegen.stores.codec import _HEAD, FORMAT, MAGIC
from pagegen.testing import FakeClock, Front
from pagegen.testing.promises.samples import page
from tests.security.vault import KEY, Hands, Site, of_kind, read_page

SEALED: Final = Keyring((KEY,), encrypt="all")
PROTECTED: Final = pytest.mark.parametrize("keys", [KEY, SEALED], ids=["signed", "sealed"])
SLOT: Final = bytes(range(20))
SMALL: Final = page(b"body", (("ETag", '"1"'),), key=b"k", namespaces=("n",), generation=(b"t",))


def stored(hands: Hands, keys: Any, site: str, given: StoredResponse = SMALL) -> tuple[Any, bytes]:
    """A store with one page in it, and the page's name."""
    store = hands.open(keys, site, FakeClock())
    before = set(hands.names())
    assert step(store.write_page(SLOT, given, 3600.0))
    (name,) = set(hands.names()) - before
    assert read_page(store, SLOT) is not None
    return store, name


@PROTECTED
def test_every_byte_that_is_changed_makes_a_page_a_miss(hands: Hands, site: str, keys: Any) -> None:
    store, name = stored(hands, keys, site)
    whole, random = hands.get(name), Random(7)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= random.randint(1, 255)
        hands.put(name, bytes(changed))
        assert read_page(store, SLOT) is None, at
    hands.put(name, whole)
    assert read_page(store, SLOT) is not None
    store.close()


@PROTECTED
def test_a_page_that_is_cut_or_longer_is_a_miss(hands: Hands, site: str, keys: Any) -> None:
    store, name = stored(hands, keys, site)
    whole = hands.get(name)
    for other in (*(whole[:end] for end in range(len(whole))), whole + b"\0", whole * 2):
        hands.put(name, other)
        assert read_page(store, SLOT) is None, len(other)
    store.close()


@PROTECTED
def test_pages_of_two_people_that_are_swapped_are_nobodys(
    hands: Hands, site: str, keys: Any, front: Front
) -> None:
    """Whole, signed, and under the very tokens that they were rendered under: but another's."""
    with Site(hands, keys=keys, site=site + front, front=front) as stage:
        before = set(of_kind(hands, b"p"))
        for user in ("ann", "ben"):
            stage.look("/twin/a", user)
        one, other = set(of_kind(hands, b"p")) - before
        first, second = hands.get(one), hands.get(other)
        hands.put(one, second)
        hands.put(other, first)
        for user in ("ann", "ben"):
            assert stage.look("/twin/a", user) == f"/twin/a of {user}: first"
        assert stage.renders == 4


@PROTECTED
def test_a_page_of_another_site_with_the_same_key_is_a_miss(
    hands: Hands, site: str, keys: Any
) -> None:
    with Site(hands, keys=keys, site=f"{site}'s neighbour") as other:
        before = set(of_kind(hands, b"p"))
        other.version = "the neighbour's"
        other.look("/open/a")
        (theirs,) = set(of_kind(hands, b"p")) - before
    with Site(hands, keys=keys, site=site) as stage:
        before = set(of_kind(hands, b"p"))
        stage.look("/open/a")
        (ours,) = set(of_kind(hands, b"p")) - before
        hands.put(ours, hands.get(theirs))
        assert stage.look("/open/a") == "/open/a of nobody: first"
        assert stage.renders == 2


class Trap:
    """Leaves a trace where somebody unpickles it."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._trace),)


def strangers(trace: Path) -> Iterator[bytes]:
    """What somebody may have left in the place of a page."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.dumps(Trap(trace), protocol)
    bomb = gzip.compress(bytes(50_000_000))
    yield bomb
    yield MAGIC + bytes((FORMAT,)) + b"C" + bomb
    yield compress(bytes(1_000_000))
    yield b"\x28\xb5\x2f\xfd" + bytes(64)  # zstd's magic
    yield b'{"status": 200, "body": "<script>"}'
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    yield b""
    yield b"\0" * 4096
    for number in (0, 1, 3, 255):
        yield MAGIC + bytes((number,)) + b"K" + bytes(200)
    yield from (MAGIC, MAGIC + bytes((FORMAT,)) + b"E", MAGIC + bytes((FORMAT,)) + b"E" + bytes(28))
    yield b"PGM\x01" + b"w" * 16 + Struct("<II").pack(4096, 4096 * 64)  # memcached's manifests
    yield b"PGM\x01" + b"w" * 16 + Struct("<II").pack(2**32 - 1, 2**32 - 1)


@pytest.mark.parametrize("keys", ["", KEY, SEALED], ids=["checked", "signed", "sealed"])
def test_what_is_no_page_is_a_miss_and_is_neither_run_nor_unpacked(
    hands: Hands, site: str, keys: Any, tmp_path: Path
) -> None:
    store, name = stored(hands, keys, site)
    trace = tmp_path / "trace"
    bombs = list(strangers(trace))
    for value in bombs:
        hands.put(name, value)
        tracemalloc.start()
        found = read_page(store, SLOT)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found is None, value[:20]
        assert peak < 1_000_000, value[:20]
    assert not trace.exists()
    store.close()


def lying(**said: int) -> bytes:
    """A page that passes the check of those who have no key, with these numbers in its head."""
    names = ("namespaces", "tokens", "fields", "codings", "key", "sizes", "text")
    numbers = [said.get(name, 0) for name in names]
    rest = _HEAD.pack(*[1.0] * 8, 200, False, 0, *numbers) + b"200 OK\n\n\n" + b"x" * 100
    return MAGIC + bytes((FORMAT,)) + b"C" + Struct("<I").pack(crc32(rest)) + rest


@pytest.mark.parametrize(
    "said",
    [
        {"key": 2**32 - 1}, {"sizes": 2**32 - 1}, {"text": 2**32 - 1}, {"tokens": 65_535},
        {"fields": 65_535}, {"codings": 65_535}, {"namespaces": 65_535, "text": 9},
        {"codings": 65_535, "fields": 65_535, "namespaces": 65_535, "text": 2**32 - 1},
    ],
    ids=str,
)  # fmt: skip
def test_lengths_that_lie_make_a_miss_and_take_no_memory(
    hands: Hands, site: str, said: dict[str, int]
) -> None:
    store, name = stored(hands, "", site)
    hands.put(name, lying(text=9))
    assert read_page(store, SLOT) is not None  # but for its numbers it is a page
    hands.put(name, lying(**said))
    tracemalloc.start()
    assert read_page(store, SLOT) is None
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    store.close()


def test_who_lacks_the_key_plants_no_page_and_who_has_another_none_either(
    hands: Hands, site: str, front: Front
) -> None:
    """The attacker runs pagegen itself over the same names, and signs with nothing, or a guess."""
    with Site(hands, site=site, front=front) as stage:
        before = set(of_kind(hands, b"p"))
        assert stage.look("/open/a") == "/open/a of nobody: first"
        (name,) = set(of_kind(hands, b"p")) - before
        planted = Codec(KEY).decode(hands.get(name))
        assert planted is not None
        planted.body = b"planted"
        for keys in ("", "a guess at the key of this site", Keyring(("x" * 20,), encrypt="all")):
            hands.put(name, Codec(keys).encode(planted, name))
            assert stage.look("/open/a") == "/open/a of nobody: first"
        assert stage.renders == 4
        hands.put(name, Codec(KEY).encode(planted, name))
        assert stage.look("/open/a") == "planted"  # nothing but the key was missing


def test_keyed_checks_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison that stops at the first difference tells a forger how far it came."""
    asked = []

    def compared(given: Any, right: Any) -> bool:
        asked.append(len(right))
        return hmac.compare_digest(given, right)

    monkeypatch.setattr(codec, "compare_digest", compared)
    whole = Codec(KEY).encode(SMALL)
    for at in range(5, 21):
        wrong = bytearray(whole)
        wrong[at] ^= 1
        assert Codec(KEY).decode(bytes(wrong)) is None
    assert asked == [16] * 16
    assert Codec(KEY).decode(whole) is not None
    monkeypatch.setattr(codec, "compare_digest", lambda given, right: False)
    assert Codec(KEY).decode(whole) is None  # and nothing else decides
