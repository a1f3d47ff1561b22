"""Content codings of stored pages: which are worth one, what it changes, who gets it.

A page is stored as the application gave it (RFC 9110 §8.4) and, where its rule lists codings, also
coded. What leaves is a *representation* of it (§3.2): the page itself or one of its codings.

1. All representations of a page that has codings say ``Vary: Accept-Encoding`` (§12.5.5).
2. Each has bytes of its own, so it has a length and a strong entity tag of its own (§8.8.3.3), and
   digests of other bytes are left out.
3. The representation is chosen first; conditions and ranges are then answered from it
   (§13.2.1, §14.2).
4. In doubt nothing is coded: every client reads the page itself.

Section numbers are RFC 9110's unless another is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from zlib import crc32

from ..fields import directives, tokens
from ..messages import Fields, RequestFields, ResponseHead, StoredResponse, wire_form
from ..negotiation import preferred
from . import validation
from .said import CACHE_CONTROL, TARGETS
from .wishes import wishes

#: Bytes of a body from which it is coded. nginx: 20, Starlette: 500, Caddy: 512. A shorter page
#: leaves in one packet either way.
MIN_CODED: Final = 512

#: Characters of ``Accept-Encoding`` that are read; Chromium sends 23. A longer one gets the page
#: itself.
MAX_ACCEPTED: Final = 512

#: Statuses whose pages are coded: those with a body worth it. nginx: 200, 403 and 404.
_STATUSES: Final = frozenset((200, 203, 403, 404, 410))

#: Media types that gain from coding, besides ``text/*`` and the suffixes below. Images, fonts of
#: the web, audio, video and archives are compressed already.
_TYPES: Final = frozenset(
    (
        "application/json", "application/javascript", "application/x-javascript",
        "application/ecmascript", "application/xml", "application/xml-dtd", "application/yaml",
        "application/toml", "application/rtf", "application/sql", "application/graphql",
        "application/x-ndjson", "application/jsonl", "application/wasm", "application/x-sh",
        "application/vnd.ms-fontobject", "application/vnd.google-earth.kml",
        "font/ttf", "font/otf", "font/collection",
        "image/bmp", "image/x-icon", "image/vnd.microsoft.icon",
        "model/obj", "model/stl",
    )
)  # fmt: skip
#: Structured syntaxes that are text (RFC 6839, RFC 9512).
_SUFFIXES: Final = ("+json", "+xml", "+yaml", "+json-seq")
#: Text that is read while it is written: no page.
_STREAMS: Final = frozenset(("text/event-stream",))

#: Fields of a response that nobody may recode: a signature may cover any of what changes
#: (RFC 9421 §2).
_SIGNED: Final = ("signature", "signature-input")
#: Where an application says ``no-transform``: for those caches that it aims at (RFC 9213), or all.
_CONTROLS: Final = (*TARGETS, CACHE_CONTROL)

#: What speaks of the bytes of one representation: they change with its coding (§8.6, RFC 9530 §2
#: and §3, RFC 3230 §4.3.2, RFC 2616 §14.15).
_OF_BYTES: Final = frozenset(
    ("content-length", "content-encoding", "content-digest", "repr-digest", "digest", "content-md5")
)


def worth_coding(head: ResponseHead, length: int | None) -> bool:
    """Whether a page with this head and a body of ``length`` bytes should be coded.

    ``length`` is None while the body is still on its way. No part of a page is coded, nothing that
    has a coding or forbids transformation (§7.7, RFC 9111 §5.2.2.6), and no type that is compressed
    already or unknown.
    """
    if head.status not in _STATUSES or (length is not None and length < MIN_CODED):
        return False
    if head.has("content-encoding") or head.has("content-range"):
        return False
    if any(map(head.has, _SIGNED)):
        return False
    if any("no-transform" in directives(head.get(name)) for name in _CONTROLS):
        return False
    return _compressible(head.get("content-type") or "")


def _compressible(content_type: str) -> bool:
    """Whether the bytes of this media type are text or the like (§8.3.1)."""
    essence = content_type.partition(";")[0].strip(" \t").lower()
    if "," in essence or essence in _STREAMS:
        return False
    return essence.startswith("text/") or essence in _TYPES or essence.endswith(_SUFFIXES)


def chosen(accept_encoding: str | None, codings: tuple[str, ...]) -> str | None:
    """The coding that a client gets by its ``Accept-Encoding`` (§12.5.3); None: the page itself.

    Its weights come first, then the order of ``codings``, the server's own preference; what the
    client names at the same weight as ``identity`` is sent coded. A client that says nothing may
    be sent any coding, and one that refuses all, ``identity`` too, is owed a refusal: both get the
    page itself, which everybody reads. ``x-gzip`` is ``gzip`` (§8.4.1.3).
    """
    if not accept_encoding or len(accept_encoding) > MAX_ACCEPTED:
        return None
    value = accept_encoding.lower().replace("x-gzip", "gzip")
    best = preferred("accept-encoding", value, (*codings, "identity"))
    return None if best == "identity" else best


def varied(fields: Fields, names: Sequence[str] = ("Accept-Encoding",)) -> Fields:
    """Fields whose ``Vary`` has these names (§12.5.5) too, once, in one line; ``*`` stays."""
    lines = [value for name, value in fields if name.lower() == "vary"]
    said = tokens(", ".join(lines))
    missing = [name for name in names if name.lower() not in said]
    if "*" in said or not missing:
        return fields
    # One line: some caches go by the last one alone (nginx before 1.23).
    merged = ("Vary", ", ".join((*filter(None, lines), *missing)))
    # In the place of the first line, where people look for it.
    place = next((i for i, (name, _) in enumerate(fields) if name.lower() == "vary"), len(fields))
    rest = (pair for pair in fields[place:] if pair[0].lower() != "vary")
    return (*fields[:place], merged, *rest)


def coded_fields(fields: Fields, coding: str, body: bytes) -> Fields:
    """The fields of a page's representation in this coding, whose bytes are ``body``.

    ``Accept-Ranges`` stays: parts of it are parts of the coded bytes (§14.1.2).
    """
    kept = (
        (name, coded_tag(value, coding, body) if name.lower() == "etag" else value)
        for name, value in fields
        if name.lower() not in _OF_BYTES
    )
    own = (("Content-Encoding", coding), ("Content-Length", str(len(body))))
    return varied((*kept, *own))


def coded_tag(tag: str, coding: str, body: bytes) -> str:
    """The entity tag of a page in this coding (§8.8.3.3).

    A strong one tells every two byte sequences apart, so it names the coding and a checksum: two
    releases of an encoder code one page differently. A weak one stays: it promises the same
    meaning, which a coding does not touch (§8.8.1). A tag without quotes, as some applications
    write it, is told apart too.
    """
    if tag.startswith("W/"):
        return tag
    bare = tag.removesuffix('"')
    return f"{bare}-{coding}-{crc32(body):08x}{tag[len(bare) :]}"


class Representation(StoredResponse):
    """What of a stored page one kind of client gets; its fields are made when somebody asks.

    It stands for the page wherever one is sent. All else it knows from the page.
    """

    __slots__ = ("coding", "page")

    page: StoredResponse
    coding: str | None

    def __getattr__(self, name: str) -> Any:
        """Make a slot's value that is not there yet; any other name is an error as usual."""
        if name in Representation.__slots__:
            raise AttributeError(name)
        maker = _MAKERS.get(name)
        value = getattr(self.page, name) if maker is None else maker(self)
        setattr(self, name, value)
        return value

    def from_application(self) -> Fields:
        """The fields that the application itself sent, untouched by the coding."""
        return self.page.from_application()


def _body(form: Representation) -> bytes:
    page = form.page
    return page.body if form.coding is None else dict(page.codings)[form.coding]


def _fields(form: Representation) -> Fields:
    page = form.page
    if form.coding is None:
        return varied(page.fields)
    return coded_fields(page.fields, form.coding, form.body)


def _etag(form: Representation) -> str | None:
    tag = form.page.etag
    return tag if tag is None or form.coding is None else coded_tag(tag, form.coding, form.body)


_MAKERS: Final[dict[str, Callable[[Representation], Any]]] = {
    "body": _body,
    "etag": _etag,
    "fields": _fields,
    "wire_fields": lambda form: wire_form(form.fields),
    "not_modified_fields": lambda form: validation.not_modified_fields(form.fields),
    "not_modified_wire_fields": lambda form: wire_form(form.not_modified_fields),
}


def representation(page: StoredResponse, coding: str | None) -> StoredResponse:
    """The page in one of its codings, None: in none; made once and remembered with the page.

    ``coding`` must be one of ``page.codings``. A page that has none is its own representation.
    """
    if not page.codings:
        return page
    form = page.forms.get(coding)
    if form is None:
        form = Representation.__new__(Representation)
        form.page, form.coding = page, coding
        page.forms[coding] = form
    return form


def selected(fields: RequestFields, page: StoredResponse) -> StoredResponse:
    """The representation of a page that a request with these fields gets (§12.1).

    A part is one of the page itself where the request does not say by a tag of which: a visitor
    whose first answer broke off got the page uncoded, and goes on from there. Who asks that nothing
    be transformed (RFC 9111 §5.2.1.6) gets it uncoded too.
    """
    if not page.codings:
        return page
    coding = chosen(fields.get("accept-encoding"), tuple(name for name, _ in page.codings))
    if coding is not None and (_goes_on(fields, page) or _untransformed(fields)):
        coding = None
    return representation(page, coding)


def _goes_on(fields: RequestFields, page: StoredResponse) -> bool:
    """Whether a part of the uncoded page is asked for (§13.1.5, §14.2)."""
    return fields.get("range") is not None and fields.get("if-range") in (None, page.etag)


def _untransformed(fields: RequestFields) -> bool:
    asked = wishes(fields, reloads=False)
    return asked is not None and asked.no_transform
