"""Making the stored response of a slot: all that a hit will need, once, at admission."""

from __future__ import annotations

from http import HTTPStatus

from .fields import format_http_date, http_date
from .law import downstream, freshness, staleness, storing, validation
from .law.said import OWN
from .messages import Codings, Fields, ResponseHead, StoredResponse, wire_form
from .rules import Rule
from .verdicts import Plan, Ticket


def stored_response(
    plan: Plan,
    ticket: Ticket,
    head: ResponseHead,
    body: bytes,
    now: float,
    codings: Codings = (),
) -> StoredResponse:
    """The page that this response becomes in the slot of ``plan``, under its ticket's tokens;
    ``now`` in seconds.
    """
    age = freshness.initial_age(head, now, max(0.0, now - ticket.started))
    windows = staleness.windows(head, plan.rule)
    kept = storing.stored_fields(head)
    own = downstream.selected_by(head, plan.rule, plan.keyed, kept)
    fields = downstream.page_fields(own, head, body, plan.rule)
    conditional = validation.not_modified_fields(fields)
    return StoredResponse(
        key=plan.key,
        namespaces=(*plan.namespaces, *ticket.late),
        generation=(*ticket.generation, *ticket.late.values()),
        status=head.status,
        status_line=f"{head.status} {head.reason or _reason(head.status)}",
        body=body,
        etag=_first(fields, "etag"),
        last_modified=http_date(_first(fields, "last-modified")),
        stored_at=now,
        initial_age=age,
        fresh_until=_fresh_until(head, plan.rule, now, age),
        render_seconds=max(0.0, now - ticket.started),
        fields=fields,
        wire_fields=wire_form(fields),
        not_modified_fields=conditional,
        not_modified_wire_fields=wire_form(conditional),
        own_fields=len(own),
        date=_date(head, now),
        codings=codings,
        control=head.get(OWN) or "",
        stale_while_revalidate=windows.revalidate,
        stale_if_error=windows.error,
        stale_if_unreachable=windows.unreachable,
    )


def _fresh_until(head: ResponseHead, rule: Rule, now: float, age: float) -> float:
    """When the page expires. What says nothing of it has expired when it comes."""
    lifetime = freshness.lifetime(head, rule, now)
    if lifetime is None:
        return now
    if rule.lifetimes.get(head.status) is not None:
        # A rule's time counts from the storing: slow pages may have a short one.
        age = freshness.upstream_age(head, now)
    return now + lifetime - age


def _date(head: ResponseHead, now: float) -> str:
    """The application's ``Date``, or the moment its response came (RFC 9110 §6.6.1)."""
    said = head.get("date")
    return said if said is not None and http_date(said) is not None else format_http_date(now)


def _first(fields: Fields, wanted: str) -> str | None:
    return next((value for name, value in fields if name.lower() == wanted), None)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
