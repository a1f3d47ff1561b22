"""Pages to store: an ordinary one, and one for each oddity that a page can have."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from ...law.validation import not_modified_fields
from ...messages import Fields, StoredResponse, wire_form

FIELDS: Final[Fields] = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("ETag", '"4f5e"'),
    ("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ("Cache-Control", "no-cache"),
)


def page(body: bytes = b"<p>page</p>", fields: Fields = FIELDS, **others: Any) -> StoredResponse:
    """A page with this body and these fields; ``others`` are attributes of the page."""
    conditional = not_modified_fields(fields)
    given: dict[str, Any] = {
        "key": b"\x01key of the page",
        "namespaces": ("item:7", "items"),
        "generation": (b"\x01" * 16, b"\xff" * 16),
        "status": 200,
        "status_line": "200 OK",
        "etag": '"4f5e"',
        "last_modified": 1_700_000_000.0,
        "stored_at": 1_700_000_100.25,
        "initial_age": 3.0,
        "fresh_until": 4_000_000_000.25,
        "render_seconds": 0.125,
        "own_fields": 3,
        "wire_fields": wire_form(fields),
        "not_modified_fields": conditional,
        "not_modified_wire_fields": wire_form(conditional),
    }
    return StoredResponse(body=body, fields=fields, **{**given, **others})


#: What bodies are made of that a careless protocol or format takes for its own.
HOSTILE: Final = b"\r\nEND\r\nVALUE x 0 1\r\n$-1\r\n\x00PGN\x01C\xff\n\n"

ODD: Final[dict[str, StoredResponse]] = {
    "as usual": page(),
    "without a body": page(b""),
    "with a hostile body": page(HOSTILE),
    "with an empty key": page(key=b""),
    "with a long, hostile key": page(key=HOSTILE * 100),
    "without fields": page(fields=(), own_fields=0),
    "with fields of Latin-1, of nothing, and twice": page(
        fields=(
            ("X-Latin", "\xe4\xf6\xfc \xff\x80"),
            ("X-Empty", ""),
            ("Set-Cookie", "a=1; Path=/"),
            ("Set-Cookie", "b=2"),
            ("x-lower", " spaces  "),
        ),
        own_fields=5,
    ),
    "with a hundred fields": page(fields=tuple((f"X-{n}", "v" * n) for n in range(100))),
    "with a status of its own": page(status=599, status_line="599 Sch\xf6n"),
    "with an empty reason": page(status=204, status_line="204 "),
    "without validators": page(etag=None, last_modified=None),
    "with an empty ETag": page(etag=""),
    "of the year 1970": page(last_modified=0.0, stored_at=0.0, fresh_until=0.0),
    "from before 1970": page(last_modified=-86_400.0),
    "with large times": page(initial_age=2.0**31, fresh_until=2.0**53, render_seconds=1e-9),
    "without namespaces": page(namespaces=(), generation=()),
    "of sixteen namespaces": page(
        namespaces=tuple(f"n:{n}" for n in range(16)),
        generation=tuple(bytes((n,)) * 16 for n in range(16)),
    ),
    "with a namespace of 512 characters": page(namespaces=("n" * 512,), generation=(b"t" * 16,)),
    "with tokens of several lengths": page(
        namespaces=("a", "b", "c"), generation=(b"", b"\n", b"\0" * 64)
    ),
}

#: Lengths of bodies at which buffers, chunks and items end.
LENGTHS: Final = (1, 1023, 4096, 4097, 65_535, 65_536, 65_537, 500_000, 1_000_000, 2**20)


def differences(found: StoredResponse | None, wanted: StoredResponse) -> list[str]:
    """Names of the attributes that differ in value or in type."""
    if found is None:
        return ["all of it"]
    names = [field.name for field in fields(StoredResponse)]
    return [name for name in names if _told(found, name) != _told(wanted, name)]


def _told(page: StoredResponse, name: str) -> tuple[type, object]:
    value = getattr(page, name)
    return type(value), value
