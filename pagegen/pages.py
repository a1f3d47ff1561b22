"""Making the stored response of a slot: all that a hit will need, once, at admission."""

from __future__ import annotations

from http import HTTPStatus

from .fields import http_date
from .law import downstream, freshness, storing, validation
from .messages import Fields, ResponseHead, StoredResponse, wire_form
from .verdicts import Ticket


def stored_response(ticket: Ticket, head: ResponseHead, body: bytes, now: float) -> StoredResponse:
    """The page that this response becomes under its ticket's tokens; ``now`` in seconds."""
    plan = ticket.plan
    lifetime = freshness.lifetime(head, plan.rule, now) or 0.0
    age = freshness.initial_age(head)
    fields = downstream.page_fields(head, body, plan.namespaces)
    conditional = validation.not_modified_fields(fields)
    return StoredResponse(
        key=plan.key,
        namespaces=plan.namespaces,
        generation=ticket.generation,
        status=head.status,
        status_line=f"{head.status} {head.reason or _reason(head.status)}",
        body=body,
        etag=_first(fields, "etag"),
        last_modified=http_date(_first(fields, "last-modified")),
        stored_at=now,
        initial_age=age,
        fresh_until=now + lifetime - age,
        render_seconds=max(0.0, now - ticket.started),
        fields=fields,
        wire_fields=wire_form(fields),
        not_modified_fields=conditional,
        not_modified_wire_fields=wire_form(conditional),
        own_fields=len(storing.stored_fields(head)),
    )


def _first(fields: Fields, wanted: str) -> str | None:
    return next((value for name, value in fields if name.lower() == wanted), None)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
