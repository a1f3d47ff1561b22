"""Stored pages as bytes: whole, ours and of this format, or nobody's page."""

from __future__ import annotations

import dataclasses
import gc
import tracemalloc
from collections.abc import Iterator
from struct import Struct
from typing import Any
from zlib import crc32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pagegen.law.validation import not_modified_fields
from pagegen.messages import StoredResponse, wire_form
from pagegen.stores.codec import FORMAT, MAGIC, Codec
from pagegen.testing.promises.samples import ODD, differences, page

PLAIN = Codec()
KEYED = Codec("a secret of this site")
CODECS = pytest.mark.parametrize("codec", [PLAIN, KEYED], ids=["crc", "keyed"])
SMALL = page(b"body", (("ETag", '"1"'),), key=b"k", namespaces=("n",), generation=(b"t" * 16,))

ATTRIBUTES = [field.name for field in dataclasses.fields(StoredResponse)]
LINE = st.text(st.characters(max_codepoint=255, exclude_characters="\n"), max_size=20)
NAME = st.from_regex(r"[!#-'*+.0-9A-Z^-z|~-]{1,12}", fullmatch=True)
SECONDS = st.floats(min_value=-1e300, max_value=1e300, width=64)
COUNT = st.integers(0, 2**16 - 1)


@st.composite
def pages(draw: st.DrawFn) -> StoredResponse:
    fields = tuple(draw(st.lists(st.tuples(NAME, LINE), max_size=6)))
    names = tuple(draw(st.lists(LINE, max_size=4)))
    return page(
        draw(st.binary(max_size=300)),
        fields,
        key=draw(st.binary(max_size=60)),
        namespaces=names,
        generation=tuple(draw(st.lists(st.binary(max_size=255), max_size=4))),
        status=draw(COUNT),
        status_line=draw(LINE),
        etag=draw(st.none() | LINE),
        last_modified=draw(st.none() | SECONDS),
        stored_at=draw(SECONDS),
        initial_age=draw(SECONDS),
        fresh_until=draw(SECONDS),
        render_seconds=draw(SECONDS),
        own_fields=draw(COUNT),
    )


def checked(rest: bytes) -> bytes:
    """Bytes that pass the check whatever they are."""
    return MAGIC + bytes((FORMAT,)) + b"C" + Struct("<I").pack(crc32(rest)) + rest


def look_at_all(found: StoredResponse) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ATTRIBUTES}


@CODECS
@given(pages())
def test_a_page_comes_back_as_it_was(codec: Codec, given: StoredResponse) -> None:
    assert differences(codec.decode(codec.encode(given)), given) == []


@CODECS
@pytest.mark.parametrize("what", ODD)
def test_every_odd_page_comes_back_as_it_was(codec: Codec, what: str) -> None:
    assert differences(codec.decode(codec.encode(ODD[what])), ODD[what]) == []


@given(pages())
def test_what_fronts_send_is_what_admission_would_have_made(given: StoredResponse) -> None:
    found = PLAIN.decode(PLAIN.encode(given))
    assert found is not None
    # In the order in which nothing has been made yet.
    assert found.not_modified_wire_fields == wire_form(not_modified_fields(given.fields))
    assert found.not_modified_fields == not_modified_fields(given.fields)
    assert found.wire_fields == wire_form(given.fields)
    assert found.fields == given.fields
    assert found.from_application() == given.from_application()
    assert found.size() == given.size()


def test_a_decoded_page_can_be_changed_and_stored_again() -> None:
    found = PLAIN.decode(PLAIN.encode(SMALL))
    assert found is not None
    longer = dataclasses.replace(found, fresh_until=5e9)
    again = PLAIN.decode(PLAIN.encode(longer))
    assert differences(again, dataclasses.replace(SMALL, fresh_until=5e9)) == []
    assert "body" in repr(found)
    with pytest.raises(AttributeError):
        found.nonsense  # type: ignore[attr-defined]  # noqa: B018


@CODECS
def test_every_one_bit_flip_is_a_miss(codec: Codec) -> None:
    stored = bytearray(codec.encode(SMALL))
    assert codec.decode(stored) is not None
    for position in range(len(stored)):
        for bit in range(8):
            stored[position] ^= 1 << bit
            assert codec.decode(stored) is None, (position, bit)
            stored[position] ^= 1 << bit
    assert codec.decode(stored) is not None


@CODECS
def test_every_truncation_is_a_miss(codec: Codec) -> None:
    stored = codec.encode(SMALL)
    assert all(codec.decode(stored[:end]) is None for end in range(len(stored)))
    assert all(codec.decode(stored[start:]) is None for start in range(1, len(stored)))


@CODECS
def test_bytes_before_between_or_after_are_a_miss(codec: Codec) -> None:
    stored = codec.encode(SMALL)
    for at in range(len(stored) + 1):
        assert codec.decode(stored[:at] + b"\0" + stored[at:]) is None


@CODECS
def test_two_pages_that_are_mixed_are_a_miss(codec: Codec) -> None:
    one = codec.encode(SMALL)
    other = codec.encode(dataclasses.replace(SMALL, body=b"BODY"))
    assert len(one) == len(other)
    for at in range(1, len(one)):
        mixed = one[:at] + other[at:]
        assert mixed in (one, other) or codec.decode(mixed) is None


def test_another_format_is_a_miss() -> None:
    stored = PLAIN.encode(SMALL)
    rest = stored[5:]
    assert stored == MAGIC + bytes((FORMAT,)) + b"C" + rest
    for number in set(range(256)) - {FORMAT}:
        assert PLAIN.decode(MAGIC + bytes((number,)) + b"C" + rest) is None
    assert PLAIN.decode(b"PGM" + stored[3:]) is None


def test_only_who_has_the_key_reads_and_only_what_the_key_has_written() -> None:
    codecs = [PLAIN, KEYED, Codec("a secret of this site "), Codec("x"), Codec("x" * 500)]
    for reader in codecs:
        for writer in codecs:
            found = reader.decode(writer.encode(SMALL))
            assert (found is not None) == (reader is writer)
    assert Codec("x").decode(Codec("x").encode(SMALL)) is not None


def test_nobody_without_the_key_can_plant_a_page() -> None:
    stored = KEYED.encode(SMALL)
    for forged in (
        checked(stored[21:]),
        stored[:4] + b"K" + checked(stored[21:])[5:9] + stored[21:],
        stored[:4] + b"K" + bytes(16) + stored[21:],
        stored[:4] + b"C" + stored[5:],
    ):
        assert KEYED.decode(forged) is None


@CODECS
@given(st.binary(max_size=200))
@example(b"")
@example(MAGIC)
@example(MAGIC + bytes((FORMAT,)) + b"C")
@example(MAGIC + bytes((FORMAT,)) + b"K" + bytes(16))
@example(checked(b""))
def test_garbage_is_a_miss(codec: Codec, garbage: bytes) -> None:
    assert codec.decode(garbage) is None
    assert codec.decode(memoryview(garbage)) is None


@pytest.mark.parametrize("nothing", [None, 7, "text", [], {}, 1.5])
def test_what_is_not_even_bytes_is_a_miss(nothing: Any) -> None:
    assert PLAIN.decode(nothing) is None


@settings(max_examples=400)
@given(st.data())
def test_a_liar_who_knows_the_check_raises_nothing(data: st.DataObject) -> None:
    rest = bytearray(PLAIN.encode(SMALL)[9:])
    for _ in range(data.draw(st.integers(1, 6))):
        rest[data.draw(st.integers(0, len(rest) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(rest)))
    for liar in (bytes(rest), bytes(rest[:cut]), bytes(rest) + b"more"):
        found = PLAIN.decode(checked(liar))
        if found is not None:
            look_at_all(found)
            found.from_application()
            found.size()


@pytest.mark.parametrize("length", ["key", "tokens", "text"])
@pytest.mark.parametrize("more", [-1, 1, 2**31])
def test_lengths_that_do_not_add_up_are_a_miss(length: str, more: int) -> None:
    rest = bytearray(PLAIN.encode(dataclasses.replace(SMALL, body=b""))[9:])
    lengths = Struct("<III")
    at = 64 + 2 + 1 + 10
    numbers = dict(zip(("key", "tokens", "text"), lengths.unpack_from(rest, at), strict=True))
    assert numbers == {"key": 1, "tokens": 16, "text": 26}
    numbers[length] += more
    lengths.pack_into(rest, at, *numbers.values())
    found = PLAIN.decode(checked(bytes(rest)))
    # A shorter text leaves its end to the body: that is another page, and adds up.
    assert (found is None) == ((length, more) != ("text", -1))


@pytest.mark.parametrize(
    "impossible",
    [
        page(fields=(("X-Split", "a\nSet-Cookie: b"),)),
        page(fields=(("X\nY", "a"),)),
        page(status_line="200 OK\nX"),
        page(etag='"a\n"'),
        page(namespaces=("a\nb",)),
        page(etag="\u0100"),
        page(generation=(b"t" * 256,)),
        page(status=70_000),
        page(own_fields=-1),
        page(stored_at=None),
        page(namespaces=("n",) * 65_536),
    ],
    ids=lambda page: "",
)
def test_a_page_without_a_stored_form_is_refused(impossible: StoredResponse) -> None:
    with pytest.raises(ValueError):
        PLAIN.encode(impossible)


@CODECS
def test_reading_copies_the_body_once(codec: Codec) -> None:
    length = 2**20
    stored = codec.encode(page(b"x" * length))
    view = memoryview(stored)
    gc.collect()
    tracemalloc.start()
    try:
        found = codec.decode(view)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is not None
    assert length <= peak < length + 20_000


def broken_and_whole(codec: Codec) -> Iterator[bytes]:
    stored = codec.encode(SMALL)
    yield stored
    yield stored[:-1]
    yield stored[:30]
    yield b"PGN"
    yield checked(b"not a head")
    yield checked(PLAIN.encode(SMALL)[9:-20])


@CODECS
def test_nothing_of_the_stored_bytes_is_kept(codec: Codec) -> None:
    for stored in broken_and_whole(codec):
        source = bytearray(stored)
        view = memoryview(source)
        found = codec.decode(view)
        view.release()  # raises BufferError while a part of it is in use
        source.clear()  # the same, for a store's own buffer
        if found is not None:
            assert look_at_all(found)["body"] == SMALL.body
            assert all(type(value) is not memoryview for value in look_at_all(found).values())


def test_the_format_is_what_other_versions_have_written() -> None:
    """A page of format 2. Where this has to change, FORMAT counts up: old pages are misses then."""
    assert PLAIN.encode(SMALL) == OF_FORMAT_2
    assert PLAIN.decode(OF_FORMAT_2) is not None
    assert KEYED.encode(SMALL)[:21] == KEYED_OF_FORMAT_2
    assert KEYED.encode(SMALL)[21:] == OF_FORMAT_2[9:]


OF_FORMAT_2 = bytes.fromhex(
    "50474e0243 9fff8666"
    "00001059fc54d941 0000000000000840 0000080065cded41 000000000000c03f"
    "0000000000000000 0000000000000000 0000000000000000 00000040fc54d941"
    "c800 01 0300 0100 0100 0100 0000"
    "01000000 10000000 1a000000"
    "6b 10 74747474747474747474747474747474"
    "323030204f4b0a2234663565220a0a0a6e0a455461670a223122626f6479"
)
KEYED_OF_FORMAT_2 = bytes.fromhex("50474e024b fb4fbe2381b1bf08cc7637624499a2e8")
