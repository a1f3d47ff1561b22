"""Conditional requests answered from a stored response (RFC 9111 §4.3.2, RFC 9110 §13)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from ..fields import entity_tag, entity_tags, http_date
from ..messages import Fields, RequestFields, StoredResponse

#: What a 304 carries of the stored response (RFC 9110 §15.4.5), and what cookies and policies
#: outlive the page if it were left out.
_KEPT: Final = frozenset(
    ("cache-control", "content-location", "etag", "expires", "last-modified", "vary")
)


def not_modified(fields: RequestFields, page: StoredResponse) -> bool:
    """Whether a GET or HEAD is answered 304 from this page (RFC 9110 §13.2.2).

    ``If-None-Match`` decides when it is there (weak comparison, §8.8.3.2), and only otherwise
    ``If-Modified-Since``, against the page's own ``Last-Modified``. Only a page with a status of
    2xx has anything to say about it (§13.2.1).
    """
    if not 200 <= page.status <= 299:
        return False
    wanted = fields.get("if-none-match")
    if wanted is not None:
        if wanted.strip() == "*":
            return True
        ours = entity_tag(page.etag)
        return ours is not None and any(t.opaque == ours.opaque for t in entity_tags(wanted))
    since = http_date(fields.get("if-modified-since"))
    return since is not None and page.last_modified is not None and page.last_modified <= since


def not_modified_fields(fields: Fields) -> Fields:
    """The fields of the 304 that stands for a response with these fields."""
    return tuple((name, value) for name, value in fields if name.lower() in _KEPT)


def strong_etag(body: bytes, fields: Fields) -> str:
    """A strong validator for a page that has none: it changes when body or coding change (§8.8.1).

    Two spellings of a page (its content type, its coding) are two representations, so those fields
    take part.
    """
    digest = blake2b(b"%d\0" % len(body), digest_size=16)
    digest.update(body)
    for name, value in fields:
        if name.lower() in ("content-type", "content-encoding", "content-language"):
            digest.update(f"\0{name.lower()}\0{value}".encode("utf-8", "replace"))
    return f'"{digest.hexdigest()}"'
