"""Validating and giving up: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pagegen import Rule
from pagegen.exchange import Exchange, handling
from pagegen.flights import Outcome
from pagegen.law.storing import Refusal
from pagegen.leasing import Mark
from pagegen.messages import ResponseHead, StoredResponse
from pagegen.stepping import step
from pagegen.testing import FakeClock
from pagegen.verdicts import Admitted, Course, Forward, Refused, Stale
from tests.engine.driving import GROUPS, LONG, OPEN, PAGE, Hooked, Process, asking, fail, mark

TAGGED = ("ETag", '"a"')
SIE = replace(PAGE, ttl=60, sie=60)
GOOD = ResponseHead(304, (TAGGED,))


def expired(
    process: Process, *fields: tuple[str, str], **more: str
) -> tuple[StoredResponse, Forward]:
    """A page that is over its lifetime, and the ticket to ask the application about it."""
    page = process.stores(asking(**more), TAGGED, *fields)
    process.clock.advance(61)
    request = asking(**more)
    forward = process.leads(request)
    process.engine.view(forward.ticket, request)
    assert forward.ticket.validating == page
    process.store.asked.clear()  # type: ignore[attr-defined]
    return page, forward


# A 304 ----------------------------------------------------------------------------------------


def test_a_page_that_is_still_good_keeps_its_namespaces_and_gets_those_of_its_handler(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(GROUPS, ttl=60))
    _, forward = expired(process, ("Cache-Groups", '"late"'))
    exchange = Exchange(process.engine.realm)
    exchange.tags["tagged"] = None
    with handling(exchange):
        fresh = step(process.engine.freshen(forward.ticket, ResponseHead(304, ())))
    assert isinstance(fresh, Admitted)
    assert (fresh.refusal, fresh.kept) == (None, True)
    assert set(fresh.page.namespaces) >= {"page", "late", "tagged"}
    assert process.count("validated") == 1


def test_a_304_of_another_page_freshens_nothing(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, SIE)
    _, forward = expired(process)
    other = ResponseHead(304, (("ETag", '"b"'),))
    assert step(process.engine.freshen(forward.ticket, other)) is None
    assert store.asked == []
    assert not forward.ticket.settled


@pytest.mark.parametrize(
    ("said", "refusal"), [("no-store", Refusal.NO_STORE), ("private", Refusal.PRIVATE)]
)
def test_what_a_304_forbids_is_not_stored_and_is_its_clients_all_the_same(
    clock: FakeClock, store: Hooked, said: str, refusal: Refusal
) -> None:
    process = Process(clock, store, OPEN)
    page, forward = expired(process, ("Cache-Control", "max-age=60"))
    fields = [("Cache-Control", f'{said}, no-cache="X-Mine"'), ("X-Mine", "1"), ("X-Other", "2")]
    head = ResponseHead(304, (*fields, ("Set-Cookie", "you=1")))
    fresh = step(process.engine.freshen(forward.ticket, head))
    assert isinstance(fresh, Admitted)
    assert (fresh.page.body, fresh.refusal, fresh.kept) == (page.body, refusal, False)
    assert dict(fresh.withheld) == {"X-Mine": "1", "Set-Cookie": "you=1"}
    assert "delete_page" in store.asked


def test_what_one_visitor_was_told_deletes_nobodys_page(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, OPEN)
    public = ("Cache-Control", "public, max-age=60")
    _, forward = expired(process, public, cookie="you=1")
    assert forward.ticket.credentials == {"cookie"}
    private = ResponseHead(304, (("Cache-Control", "private"),))
    fresh = step(process.engine.freshen(forward.ticket, private))
    assert isinstance(fresh, Admitted)
    assert fresh.refusal is Refusal.PRIVATE
    assert "delete_page" not in store.asked


def test_what_a_304_says_of_its_moment_deletes_nothing(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, SIE)
    _, forward = expired(process)
    cookie = ResponseHead(304, (("Set-Cookie", "you=1"),))
    fresh = step(process.engine.freshen(forward.ticket, cookie))
    assert isinstance(fresh, Admitted)
    assert (fresh.refusal, fresh.kept) == (Refusal.SET_COOKIE, False)
    assert "delete_page" not in store.asked


def test_a_page_that_cannot_be_deleted_is_counted(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, OPEN)
    _, forward = expired(process, ("Cache-Control", "max-age=60"))
    store.on["delete_page"] = fail
    no_store = ResponseHead(304, (("Cache-Control", "no-store"),))
    assert isinstance(step(process.engine.freshen(forward.ticket, no_store)), Admitted)
    assert process.count("store-failed") == 1


# A HEAD ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "counted", "deleted", "freshened"),
    [
        (ResponseHead(200, (TAGGED,)), "validated", False, True),
        (ResponseHead(200, (("ETag", '"b"'),)), "refused:partial", True, False),
        (ResponseHead(200, ()), "refused:status", False, False),
        (ResponseHead(404, (TAGGED,)), "refused:status", False, False),
    ],
)
def test_what_a_head_says_of_a_page(
    clock: FakeClock,
    store: Hooked,
    head: ResponseHead,
    counted: str,
    deleted: bool,
    freshened: bool,
) -> None:
    process = Process(clock, store, SIE)
    process.stores(asking(), TAGGED)
    clock.advance(61)
    forward = process.leads(asking(method="HEAD"))
    store.asked.clear()
    step(process.engine.consult(forward.ticket, head))
    assert process.count(counted) == 1
    assert ("delete_page" in store.asked) is deleted
    assert ("write_page" in store.asked) is freshened


def test_what_a_head_tells_one_visitor_deletes_nobodys_page(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, OPEN)
    _, forward = expired(process, ("Cache-Control", "public, max-age=60"), cookie="you=1")
    step(process.engine.consult(forward.ticket, ResponseHead(200, (("ETag", '"b"'),))))
    assert process.count("refused:partial") == 1
    assert "delete_page" not in store.asked


def test_a_head_that_nothing_was_stored_for_tells_nothing(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store)
    forward = process.leads()
    step(process.engine.consult(forward.ticket, ResponseHead(200, (TAGGED,))))
    assert process.count("refused:status") == 1
    assert forward.ticket.settled


# Giving up ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(None, Outcome.RESCUED), (OSError("gone"), Outcome.UNREACHABLE)],
)
def test_those_who_wait_are_told_how_the_application_failed(
    clock: FakeClock, store: Hooked, error: Exception | None, outcome: Outcome
) -> None:
    process = Process(clock, store, SIE)
    _, forward = expired(process)
    follower = process.waits()
    assert isinstance(process.engine.rescue(forward.ticket, error), Stale)
    assert follower.flight.result is outcome
    assert isinstance(process.ask(after=follower), Stale)
    assert process.count("refused:failed") == 1


def test_an_error_that_stands_for_an_answer_is_one(clock: FakeClock, store: Hooked) -> None:
    class NotFoundError(Exception):
        code = 404

    process = Process(clock, store, SIE)
    _, forward = expired(process)
    assert process.engine.rescue(forward.ticket, NotFoundError()) is None
    assert not forward.ticket.settled
    assert process.count("refused:failed") == process.count("stale") == 0


def test_who_is_declined_is_counted_and_ends_its_flight(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store)
    forward, follower = process.leads(), process.waits()
    process.engine.decline(forward.ticket)
    assert process.count("declined") == 1
    assert follower.flight.result is Outcome.DECLINED


@pytest.mark.parametrize("refusal", list(Refusal))
def test_a_refusal_is_said_and_those_who_wait_try_again_or_go_alone(
    clock: FakeClock, store: Hooked, refusal: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(clock, store)
    forward, follower = process.leads(), process.waits()
    assert step(process.engine.abandon(forward.ticket, refusal)) == Refused(refusal)
    fleeting = (Refusal.CROWDED, Refusal.FAILED, Refusal.INCOMPLETE, Refusal.SEQUENCE)
    failed = refusal in (*fleeting, Refusal.STORE)
    assert follower.flight.result is (Outcome.FAILED if failed else Outcome.REFUSED)
    assert process.count(f"refused:{refusal}") == 1
    assert mark(process, forward) is (None if failed else Mark.REFUSED)
    assert process.state.is_large(forward.ticket.plan.slot) is (refusal is Refusal.TOO_LARGE)
    if refusal is Refusal.VARY:
        assert "'/page'" in caplog.text


@pytest.mark.parametrize("leases", [True, False])
def test_only_who_has_a_lease_tells_other_processes(
    clock: FakeClock, store: Hooked, leases: bool
) -> None:
    process = Process(clock, store, leases=leases)
    forward = process.leads()
    step(process.engine.abandon(forward.ticket, Refusal.PRIVATE))
    assert mark(process, forward) is (Mark.REFUSED if leases else None)


def late(store: Hooked, forward: Forward) -> None:
    forward.ticket.spent = LONG


def away(store: Hooked, forward: Forward) -> None:
    store.on["mark"] = fail


@pytest.mark.parametrize("trouble", [late, away])
def test_a_mark_that_cannot_be_left_is_counted(
    clock: FakeClock, store: Hooked, trouble: object
) -> None:
    process = Process(clock, store)
    forward = process.leads()
    trouble(store, forward)  # type: ignore[operator]
    step(process.engine.abandon(forward.ticket, Refusal.PRIVATE))
    assert process.count("store-failed") == 1
    assert mark(process, forward) is None


@pytest.mark.parametrize(
    ("rule", "since", "status", "error", "served"),
    [
        (SIE, 0.0, 500, None, True),
        (SIE, 59.5, 500, None, True),
        (SIE, 60.0, 500, None, False),
        (SIE, 0.0, 404, None, False),
        (replace(SIE, sie=None), 0.0, 500, None, False),
        (replace(SIE, sie=None), 60.0, 0, OSError("gone"), True),
        (SIE, 60.0, 0, OSError("gone"), False),
    ],
)
def test_how_long_an_expired_page_stands_in_for_its_application(
    clock: FakeClock,
    store: Hooked,
    rule: Rule,
    since: float,
    status: int,
    error: Exception | None,
    served: bool,
) -> None:
    process = Process(clock, store, rule)
    process.stores()
    clock.advance(60 + since)
    ticket = process.leads().ticket
    if error is None:
        course = process.engine.course(ticket, asking(), ResponseHead(status, ()))
        assert (course is Course.REPLACE) is served
    if status != 404:
        assert (process.engine.rescue(ticket, error) is not None) is served
