"""Pages with content codings as bytes: each coding with its own body, and no liar gets further."""

from __future__ import annotations

import dataclasses
from struct import Struct
from zlib import crc32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pagegen.law.codings import representation
from pagegen.messages import StoredResponse
from pagegen.rules import CODINGS
from pagegen.stores.codec import FORMAT, MAGIC, Codec
from pagegen.testing.promises.samples import HOSTILE, differences, page

PLAIN = Codec()
KEYED = Codec("a secret of this site")
CODECS = pytest.mark.parametrize("codec", [PLAIN, KEYED], ids=["crc", "keyed"])
BODY = b"<p>line</p>\n" * 50
BOTH = page(BODY, codings=(("br", b"as brotli has it"), ("gzip", b"as gzip does")))
#: Where the text ends and the bodies begin, in what stands behind the check.
TEXT = PLAIN.encode(BOTH)[9:].index(b"br 16")

BODIES = st.binary(max_size=200) | st.just(HOSTILE)
CODED = st.lists(st.sampled_from(CODINGS), unique=True).flatmap(
    lambda names: st.tuples(*(st.tuples(st.just(name), BODIES) for name in names))
)


def checked(rest: bytes) -> bytes:
    """Bytes that pass the check whatever they are."""
    return MAGIC + bytes((FORMAT,)) + b"C" + Struct("<I").pack(crc32(rest)) + rest


def use(found: StoredResponse) -> None:
    """All that a front does with a page."""
    for coding in (None, *(name for name, _ in found.codings)):
        form = representation(found, coding)
        assert isinstance(form.body, bytes)
        assert len(form.wire_fields) == len(form.fields)
        assert len(form.not_modified_wire_fields) == len(form.not_modified_fields)
    found.from_application()
    found.size()


@CODECS
@given(body=BODIES, codings=CODED)
@example(body=b"", codings=(("br", b""), ("gzip", b"")))
@example(body=b"gzip 3", codings=(("br", b"br 9"),))
def test_a_page_comes_back_with_every_body_in_its_place(
    codec: Codec, body: bytes, codings: tuple[tuple[str, bytes], ...]
) -> None:
    stored = page(body, codings=codings)
    found = codec.decode(codec.encode(stored))
    assert differences(found, stored) == []
    assert found is not None
    use(found)
    for coding, coded in codings:
        assert representation(found, coding).body == coded
        assert representation(found, coding).fields == representation(stored, coding).fields
    assert representation(found, None).body == body
    assert found.size() == stored.size()


def test_what_was_made_for_clients_is_not_stored() -> None:
    used = dataclasses.replace(BOTH)
    use(used)
    assert PLAIN.encode(used) == PLAIN.encode(BOTH)
    found = PLAIN.decode(PLAIN.encode(used))
    assert found is not None
    assert found.forms == {}


@CODECS
def test_every_one_bit_flip_and_every_cut_is_a_miss(codec: Codec) -> None:
    stored = bytearray(codec.encode(page(b"body", codings=(("br", b"coded"),))))
    assert codec.decode(stored) is not None
    for position in range(len(stored)):
        assert codec.decode(stored[:position]) is None
        for bit in range(8):
            stored[position] ^= 1 << bit
            assert codec.decode(stored) is None, (position, bit)
            stored[position] ^= 1 << bit


@pytest.mark.parametrize(
    "line",
    ["br -1", "br -6", "br 9999999", "br", "br ", "br x", "br 1e1", "br 0x1", "br " + "9" * 30,
     "br 16 1"],
)  # fmt: skip
def test_a_length_that_lies_is_a_miss(line: str) -> None:
    """Behind a right check: a liar who knows how it is made."""
    rest = PLAIN.encode(BOTH)[9:]
    head, text = rest[:TEXT], rest[TEXT:]
    changed = text.replace(b"br 16", line.encode(), 1)
    lengths = Struct("<I")
    at = 64 + 2 + 1 + 10 + 8
    (size,) = lengths.unpack_from(head, at)
    told = bytearray(head)
    lengths.pack_into(told, at, size + len(changed) - len(text))
    assert PLAIN.decode(checked(rest)) is not None
    assert PLAIN.decode(checked(bytes(told) + changed)) is None


@pytest.mark.parametrize("number", [0, 1, 3, 65_535])
def test_a_wrong_number_of_codings_is_a_miss(number: int) -> None:
    rest = bytearray(PLAIN.encode(BOTH)[9:])
    count = Struct("<H")
    at = 64 + 2 + 1 + 8
    assert count.unpack_from(rest, at) == (2,)
    count.pack_into(rest, at, number)
    assert PLAIN.decode(checked(bytes(rest))) is None


@settings(max_examples=400)
@given(st.data())
def test_a_liar_who_knows_the_check_raises_nothing(data: st.DataObject) -> None:
    rest = bytearray(PLAIN.encode(BOTH)[9:])
    near = st.integers(TEXT - 40, TEXT + 40) | st.integers(0, len(rest) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        rest[data.draw(near)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(rest)))
    for liar in (bytes(rest), bytes(rest[:cut]), bytes(rest) + b"more"):
        found = PLAIN.decode(checked(liar))
        if found is not None:
            use(found)


@pytest.mark.parametrize(
    "codings", [(("b\nr", b"x"),), (("\u0100", b"x"),), (("br", b"x"),) * 65_536]
)
def test_codings_without_a_stored_form_are_refused(codings: tuple[tuple[str, bytes], ...]) -> None:
    with pytest.raises(ValueError):
        PLAIN.encode(page(codings=codings))
