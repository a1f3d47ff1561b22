"""Stored responses as bytes, for stores that other processes share. Stored bytes are hostile.

Format 2, little-endian, no padding::

    PGN         magic
    2           number of the format: another number is unreadable, that is, a miss
    C, K or E   what comes next: CRC-32 (4 bytes), BLAKE2b keyed with the site key (16 bytes), or
                all the rest encrypted (see sealing.py)
    check       of all bytes that follow
    head        times, status, counts and lengths (see _HEAD)
    key         the whole key
    generation  one byte of length for each token, then the tokens
    text        Latin-1: status line, ETag, Date, Pagegen-Cache-Control, content codings (each with
                the length of its body), namespaces, field names, field values, LF between them
    bodies      those of the codings, then the page's own: the rest

A reader with a site key takes K alone and one without takes C alone, so nobody who lacks the key
can plant a page. The CRC finds every flipped bit and every cut; it is no protection against people.
Where pages are to be encrypted it takes those as E alone, and the others as K alone: nobody turns
encryption off by storing a page in clear.
What each front sends is made from ``text`` when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest
from importlib import import_module
from math import isfinite
from struct import Struct
from typing import Any, Final
from zlib import crc32

from ..errors import ConfigError
from ..keys import personal
from ..law.validation import not_modified_fields
from ..messages import Codings, StoredResponse, wire_form
from .keyring import Keyring
from .names import derive_all

MAGIC: Final = b"PGN"
FORMAT: Final = 2
_KEYED_BYTES: Final = 16
_CRC: Final = Struct("<I")
#: stored_at, initial_age, fresh_until, render_seconds, the three stale windows, last_modified
#: (seconds; NaN: none), status, whether there is an ETag, own_fields, and the numbers of
#: namespaces, of tokens, of fields and of codings, then the lengths of key, tokens and text in
#: bytes.
_HEAD: Final = Struct("<8dH?5HIII")
#: Lines of text before the codings.
_BEFORE: Final = 4


class Codec:
    """Encodes and decodes the pages of one site. Immutable; thread-safe.

    ``keys``: a keyring, or the only site key. Raises ``ConfigError`` where that wants pages
    encrypted and ``cryptography`` is missing.
    """

    def __init__(self, keys: str | Keyring = "") -> None:
        ring = Keyring.of(keys)
        self._keys = derive_all(ring.secrets, b"pagegen page")
        self._start = _start(b"K" if self._keys else b"C")
        self._after = len(self._start) + (_KEYED_BYTES if self._keys else _CRC.size)
        self._all = ring.encrypt == "all"
        self._sealer: Any = sealing().Sealer(ring.secrets) if ring.encrypt else None

    def encode(self, page: StoredResponse, place: bytes = b"") -> bytes:
        """The bytes of a page, to be stored under the name ``place``; raises ``ValueError`` for one
        that has no such form.
        """
        rest = _form(page)
        if self._sealer is not None and self._seals(page.key):
            sealed: bytes = self._sealer.seal(rest, _SEALED + place)
            return _SEALED + sealed
        check = _keyed(rest, self._keys[0]) if self._keys else _plain(rest)
        return b"".join((self._start, check, rest))

    def decode(self, stored: bytes | memoryview, place: bytes = b"") -> StoredResponse | None:
        """The page in these bytes; None when they are not whole, not ours or of another format, or
        were encrypted under another name than ``place``.

        Never raises. Copies the body once (twice where it is encrypted) and keeps nothing of
        ``stored``.
        """
        try:
            return self._decode(memoryview(stored), place)
        except Exception:
            # What the check let through and is no page all the same: nobody's page.
            return None

    def _decode(self, view: memoryview, place: bytes) -> StoredResponse | None:
        sealer, sealed = self._sealer, False
        if view[: len(self._start)] == self._start:
            rest = view[self._after :]
            if not self._good(view[len(self._start) : self._after], rest):
                return None
        elif sealer is not None and view[: len(_SEALED)] == _SEALED:
            opened = sealer.open(view[len(_SEALED) :], _SEALED + place)
            if opened is None:
                return None
            rest, sealed = memoryview(opened), True
        else:
            return None
        page = _page(rest)
        if page is not None and sealer is not None and sealed != self._seals(page.key):
            return None
        return page

    def _good(self, check: memoryview, rest: memoryview) -> bool:
        if not self._keys:
            return check == _plain(rest)
        return any(compare_digest(check, _keyed(rest, key)) for key in self._keys)

    def _seals(self, key: bytes) -> bool:
        return self._all or personal(key)


def sealing() -> Any:
    """The module that encrypts; raises ``ConfigError`` where its library is missing."""
    try:
        return import_module(".sealing", __package__)
    except ImportError as error:
        raise ConfigError(
            f"needs a library that is not installed ({error})",
            "Run: pip install 'pagegen-middleware[encryption]'",
            field="encrypt",
        ) from error


def _start(kind: bytes) -> bytes:
    return MAGIC + bytes((FORMAT,)) + kind


_SEALED: Final = _start(b"E")


def _form(page: StoredResponse) -> bytes:
    """What stands behind the check; raises ``ValueError`` for a page that has no such form."""
    raw = _text(page)
    sizes = bytes(map(len, page.generation))
    tokens = b"".join(page.generation)
    modified = page.last_modified
    try:
        head = _HEAD.pack(
            page.stored_at,
            page.initial_age,
            page.fresh_until,
            page.render_seconds,
            page.stale_while_revalidate,
            page.stale_if_error,
            page.stale_if_unreachable,
            float("nan") if modified is None else modified,
            page.status,
            page.etag is not None,
            page.own_fields,
            len(page.namespaces),
            len(sizes),
            len(page.fields),
            len(page.codings),
            len(page.key),
            len(tokens),
            len(raw),
        )
    except Exception as error:
        raise ValueError(f"this page has no stored form: {error}") from None
    bodies = [body for _, body in page.codings]
    return b"".join((head, page.key, sizes, tokens, raw, *bodies, page.body))


def _page(rest: memoryview) -> StoredResponse | None:
    """The page in bytes that are whole; raises anything for what is none."""
    (stored_at, age, until, render, behind, error, unreachable, modified, status, tagged,
     own, namespaces, tokens, fields, codings, key_size, tokens_size,
     text_size) = _HEAD.unpack_from(rest)  # fmt: skip
    if not isfinite(stored_at + age + until + render + behind + error + unreachable):
        return None
    at = _HEAD.size
    page = _Decoded.__new__(_Decoded)
    page.key = bytes(rest[at : at + key_size])
    at += key_size
    sizes = bytes(rest[at : at + tokens])
    at += tokens
    page.generation = _cut(bytes(rest[at : at + tokens_size]), sizes)
    at += tokens_size
    text = bytes(rest[at : at + text_size])
    lines = text.decode("latin-1").split("\n")
    at += text_size
    if len(lines) != _BEFORE + codings + namespaces + 2 * fields or at > len(rest):
        return None
    page.codings, at = _codings(lines[_BEFORE : _BEFORE + codings], rest, at)
    page.body = bytes(rest[at:])
    page.text, page.lines = text, lines
    page.status, page.status_line = status, lines[0]
    page.etag = lines[1] if tagged else None
    page.date, page.control = lines[2], lines[3]
    first = _BEFORE + codings
    page.namespaces = tuple(lines[first : first + namespaces])
    page.last_modified = None if modified != modified else modified
    page.stored_at, page.initial_age, page.fresh_until = stored_at, age, until
    page.render_seconds, page.own_fields = render, own
    page.stale_while_revalidate, page.stale_if_error = behind, error
    page.stale_if_unreachable = unreachable
    return page


def _text(page: StoredResponse) -> bytes:
    """The lines of a page; raises ``ValueError`` where they would be read as others."""
    names = [name for name, _ in page.fields]
    values = [value for _, value in page.fields]
    codings = [f"{coding} {len(body)}" for coding, body in page.codings]
    first = (page.status_line, page.etag or "", page.date, page.control)
    lines = [*first, *codings, *page.namespaces, *names, *values]
    text = "\n".join(lines)
    if text.count("\n") != len(lines) - 1:
        raise ValueError("a field with a line break cannot be stored")
    return text.encode("latin-1")


def _plain(rest: bytes | memoryview) -> bytes:
    return _CRC.pack(crc32(rest))


def _keyed(rest: bytes | memoryview, key: bytes) -> bytes:
    return blake2b(rest, digest_size=_KEYED_BYTES, key=key).digest()


def _cut(joined: bytes, sizes: bytes) -> tuple[bytes, ...]:
    if len(joined) != sum(sizes):
        raise ValueError("lengths that do not add up")
    cut = []
    at = 0
    for size in sizes:
        cut.append(joined[at : at + size])
        at += size
    return tuple(cut)


def _codings(lines: list[str], rest: memoryview, at: int) -> tuple[Codings, int]:
    """The coded bodies that begin at ``at``, and where the page's own does."""
    found = []
    for line in lines:
        coding, _, size = line.partition(" ")
        end = at + int(size)
        if not at <= end <= len(rest):
            raise ValueError("lengths that do not add up")
        found.append((coding, bytes(rest[at:end])))
        at = end
    return tuple(found), at


class _Decoded(StoredResponse):
    """A stored response whose field tuples are made when somebody asks for them."""

    __slots__ = ("lines", "text")

    text: bytes
    lines: list[str]

    def __getattr__(self, name: str) -> Any:
        """Make a slot's value that is not there yet; any other name is an error as usual."""
        maker = _MAKERS.get(name)
        if maker is None:
            raise AttributeError(name)
        value = maker(self)
        setattr(self, name, value)
        return value


def _fields(page: _Decoded) -> tuple[tuple[str, str], ...]:
    at = _BEFORE + len(page.codings) + len(page.namespaces)
    middle = (at + len(page.lines)) // 2
    return tuple(zip(page.lines[at:middle], page.lines[middle:], strict=True))


def _wire_fields(page: _Decoded) -> tuple[tuple[bytes, bytes], ...]:
    lines = page.text.split(b"\n")
    at = _BEFORE + len(page.codings) + len(page.namespaces)
    middle = (at + len(lines)) // 2
    names = [name.lower() for name in lines[at:middle]]
    return tuple(zip(names, lines[middle:], strict=True))


_MAKERS: Final[dict[str, Callable[[_Decoded], Any]]] = {
    "fields": _fields,
    "forms": lambda _page: {},
    "wire_fields": _wire_fields,
    "not_modified_fields": lambda page: not_modified_fields(page.fields),
    "not_modified_wire_fields": lambda page: wire_form(page.not_modified_fields),
}
