"""Stored bytes and what servers answer: pages, parts of pages, replies, all of them hostile."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from math import isfinite
from struct import pack
from typing import Any, Final
from zlib import crc32

from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from pagegen.errors import StoreError
from pagegen.keys import encode
from pagegen.law.validation import not_modified_fields
from pagegen.messages import StoredResponse, wire_form
from pagegen.stores.codec import MAGIC, Codec
from pagegen.stores.keyring import Keyring
from pagegen.stores.memcached import parts, wire
from pagegen.stores.redis import packets
from pagegen.stores.redis.identity import Identity

from .targets import Reader, holds, target

_SECRET: Final = "a secret of the site"
_PLACE: Final = b"pg1:site:p:slot"
#: What is taken apart here; the forms that are made from it follow.
_TOLD: Final = (
    "key", "namespaces", "generation", "status", "status_line", "body", "etag", "last_modified",
    "stored_at", "initial_age", "fresh_until", "render_seconds", "fields", "wire_fields", "codings",
    "not_modified_fields", "not_modified_wire_fields", "own_fields", "date", "control",
    "stale_while_revalidate", "stale_if_error", "stale_if_unreachable",
)  # fmt: skip


@cache
def _codec(kind: str) -> Codec:
    keyring = Keyring((_SECRET,), encrypt="all" if kind == "E" else False)
    return Codec() if kind == "C" else Codec(keyring)


def _line(reader: Reader) -> str:
    return reader.some().decode("latin-1").replace("\n", " ")


def page_of(data: bytes) -> StoredResponse:
    """A page made of bytes."""
    reader = Reader(data)
    fields = tuple((_line(reader), _line(reader)) for _ in range(reader.number(4)))
    codings = tuple((f"c{n}", reader.some()) for n in range(reader.number(3)))
    lesser = not_modified_fields(fields)
    modified = reader.number(3)
    return StoredResponse(
        key=encode((reader.some(), reader.number(2**16))),
        namespaces=tuple(_line(reader) for _ in range(reader.number(4))),
        generation=tuple(reader.some(256) for _ in range(reader.number(4))),
        status=200 + reader.number(300),
        status_line=_line(reader),
        etag=_line(reader) if reader.number(2) else None,
        last_modified=None if modified == 0 else float(modified),
        stored_at=float(reader.number(2**16)),
        initial_age=1.5,
        fresh_until=float(reader.number(2**16)),
        render_seconds=0.25,
        own_fields=reader.number(4),
        date=_line(reader),
        control=_line(reader),
        stale_while_revalidate=float(reader.number(9)),
        fields=fields,
        wire_fields=wire_form(fields),
        not_modified_fields=lesser,
        not_modified_wire_fields=wire_form(lesser),
        codings=codings,
        body=reader.rest,
    )


def told(page: StoredResponse) -> list[Any]:
    """All that a page says; makes the forms that are made when somebody asks."""
    return [getattr(page, name) for name in _TOLD]


@target("\x01", "\x02\x03abc", "\x00" * 4, "\xff", length=700)
def codec_round(data: bytes) -> None:
    """Pages: stored and read they are equal, and no damage to them is one."""
    reader = Reader(data)
    place, change, cut = reader.number(2**16), 1 + reader.number(255), reader.number(2**16)
    page = page_of(reader.rest)
    for kind in "CKE":
        codec = _codec(kind)
        stored = codec.encode(page, _PLACE)
        read = codec.decode(stored, _PLACE)
        holds(read is not None and told(read) == told(page), "another page", kind, told(page))
        damaged = bytearray(stored)
        damaged[place % len(stored)] ^= change
        holds(codec.decode(bytes(damaged), _PLACE) is None, "damage is a page", kind, place, change)
        holds(codec.decode(stored[: cut % len(stored)], _PLACE) is None, "a cut page", kind, cut)
        holds(codec.decode(stored + b"\0", _PLACE) is None, "a longer page", kind)
        others = [_codec(other).decode(stored, _PLACE) for other in "CKE" if other != kind]
        holds(others == [None, None], "another kind", kind)
    holds(_codec("E").decode(_codec("E").encode(page, _PLACE), b"elsewhere") is None, "moved", data)


@target(
    "PGN\x02", "PGN\x02C", "PGN\x02K", "\x01\x00\x00\x00", "\x00" * 8, "a\nb", "\xf0?", length=900,
)  # fmt: skip
def codec_hostile(data: bytes) -> None:
    """Bytes of who knows the format: none raise, and what they make is a page in every form."""
    for kind in "CKE":
        holds(_codec(kind).decode(data, _PLACE) is None or kind == "C", "planted", kind)
    stored = MAGIC + b"\x02C" + pack("<I", crc32(data)) + data
    holds(_codec("K").decode(stored) is None, "planted", data)
    page = _codec("C").decode(stored)
    if page is None:
        return
    said = told(page)
    numbers = (page.stored_at, page.fresh_until, page.initial_age, page.stale_if_error)
    holds(all(map(isfinite, numbers)), "no time", numbers)
    sizes = [page.key, page.body, *page.generation, *(body for _, body in page.codings)]
    holds(sum(map(len, sizes)) <= len(data), "larger than it is", data)
    holds(page.size() < 10_000 + 600 * len(data), "heavier than it is", data)
    again = _codec("C").decode(_codec("C").encode(page))
    holds(again is not None and told(again) == said, "not stored as it was read", data)


_KEYS: Final = (b"k1", b"k2", b"k3")


def _questions(reader: Reader) -> list[wire.Question]:
    made: list[wire.Question] = []
    for _ in range(1 + reader.number(3)):
        kind = reader.number(6)
        if kind == 0:
            made.append(wire.Get(_KEYS[: 1 + reader.number(3)]))
        elif kind == 1:
            made.append(wire.Get(_KEYS[:1], unique=True))
        elif kind == 2:
            made.append(wire.storing(b"set", dict.fromkeys(_KEYS[:2], b"v"), 5))
        elif kind == 3:
            made.append(wire.swapping(b"k1", b"v", 7, 5))
        else:
            made.append(wire.deleting(_KEYS[:1]) if kind == 4 else wire.Settings())
    return made


def _replies(head: bytes, pieces: list[bytes]) -> tuple[int, bool, list[Any]]:
    """How many were answered, whether it ended as rubbish, and what the answers are."""
    asked = _questions(Reader(head))
    replies, answered = wire.Replies(), 0
    for question in asked:
        replies.expect(question)
    try:
        for piece in pieces:
            answered += replies.feed(piece)
    except wire.Rubbish:
        return 0, True, []
    names = ("values", "numbers", "done", "found", "refusal")
    return answered, False, [[getattr(q, n, None) for n in names] for q in asked[:answered]]


@target(
    "VALUE k1 0 3\r\nabc\r\n", "END\r\n", "STORED\r\n", "NOT_STORED\r\n", "DELETED\r\n",
    "EXISTS\r\n", "SERVER_ERROR x\r\n", "ERROR\r\n", "STAT a b\r\n", "VALUE k1 0 1 7\r\n", "\r\n",
)  # fmt: skip
def memcached_replies(data: bytes) -> None:
    """memcached's answers: the same however they are cut, and values that were asked for."""
    head, size, stream = data[:6], 1 + (data[6] if len(data) > 6 else 0) % 9, data[7:]
    whole = _replies(head, [stream])
    cut = _replies(head, [stream[n : n + size] for n in range(0, len(stream), size)])
    holds(whole == cut, "by its cuts another answer", data, whole, cut)
    for values, *_ in whole[2]:
        if isinstance(values, dict):
            holds(values.keys() <= set(_KEYS), "not asked for", values)
            holds(sum(map(len, values.values())) <= len(stream), "longer than it came", values)


@target("PGM\x01", "\x00\x10\x00\x00", "\xff\xff\xff\xff", length=64)
def manifests(data: bytes) -> None:
    """Manifests of pages in parts: few parts, and the page only where all of them fit."""
    for stored in (data, b"PGM\x01" + data[:24].ljust(24, b"\0")):
        manifest = parts.parse(stored)
        if manifest is None:
            continue
        names = manifest.names(b"pg1:s:")
        holds(0 < len(names) <= parts.MAX_PARTS, "many parts", manifest)
        holds(all(len(name) <= 250 and len(name.split()) == 1 for name in names), "no names", names)
        holds(manifest.join({}, b"pg1:s:") is None, "of nothing", manifest)
        holds(parts.parse(manifest.encode()) == manifest, "round", manifest)
        if manifest.whole < 2**16:
            page = bytes(manifest.whole)
            pieces = manifest.cut(page, b"pg1:s:")
            holds(manifest.join(pieces, b"pg1:s:") == page, "another page", manifest)
            pieces[names[-1]] += b"x"
            holds(manifest.join(pieces, b"pg1:s:") is None, "longer", manifest)


def _reply(reader: Reader, depth: int = 0) -> Any:
    kind = reader.number(10)
    made: list[Any] = [
        None, reader.some(64), reader.number(2**16), ResponseError(repr(reader.some(9))),
        ReadOnlyError("x"), OutOfMemoryError("x"), b"OK", True, reader.rest if depth else b"",
    ]  # fmt: skip
    if kind < len(made):
        return made[kind]
    return [] if depth > 2 else [_reply(reader, depth + 1) for _ in range(reader.number(5))]


@target(
    "\r\nrole:master\r\n", "\nmaster_replid:abc\r\n", "\nrun_id:", "role:slave", "\x09\x02",
    length=300,
)  # fmt: skip
def redis_replies(data: bytes) -> None:
    """Redis's answers: what is none raises a ``StoreError``, and nothing else does."""
    reader = Reader(data)
    count = reader.number(4)
    reply = _reply(reader)
    with suppress(StoreError):
        found = packets.values(reply, count)
        holds(len(found) == count, "count", reply)
        holds(all(v is None or isinstance(v, bytes) for v in found), "no values", reply)
    with suppress(StoreError):
        holds(isinstance(packets.number(reply), int), "no number", reply)
    with suppress(StoreError):
        kept = packets.stored(reply)
        holds(reply in (b"OK", None) and kept == (reply is not None), "OK", reply)
    with suppress(StoreError):
        packets.has_room(reply)
    identity = Identity("here")
    for info in (reply, data):
        with suppress(StoreError):
            process = identity.meet(info)
            label = identity.label(process, info)
            holds(len(label) == 8 and b"master" in info and process != b"", "believed", info)
    packed = packets.pack((b"GET", data), (b"SET", data, b""))
    holds(packed.endswith(b"$%d\r\n%b\r\n$0\r\n\r\n" % (len(data), data)), "pack", data)
