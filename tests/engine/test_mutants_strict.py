"""Strict writes, as the engine sees them: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pagegen.exchange import Exchange, handling
from pagegen.invalidating import Invalidator
from pagegen.law import marks
from pagegen.status import of_forward
from pagegen.stepping import step
from pagegen.testing import FakeClock
from pagegen.verdicts import Forward, Stale
from tests.engine.driving import PAGE, SOFT, Hooked, Process, asking

STRICT = replace(PAGE, strict=True)


def begin(store: Hooked) -> None:
    """Somebody puts a mark up, and has given no new token yet."""
    step(store.add_tokens({marks.mark(1, "page"): b"somebody"}, 60))


def test_only_what_is_being_written_is_counted_and_kept_out(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, STRICT)
    assert process.leads().ticket.stores
    assert process.count("being-written") == 0
    begin(store)
    other = Process(clock, store, STRICT)
    assert not other.leads().ticket.stores
    assert other.count("being-written") == 1


@pytest.mark.parametrize("writing", [False, True])
def test_a_page_that_may_not_be_kept_is_not_asked_about(
    clock: FakeClock, store: Hooked, writing: bool
) -> None:
    process = Process(clock, store, replace(STRICT, ttl=60))
    page = process.stores(None, ("ETag", '"a"'))
    clock.advance(61)
    if writing:
        begin(store)
    assert process.leads().ticket.validating == (None if writing else page)


def test_an_inspection_tells_who_writes(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, STRICT)
    assert step(process.engine.inspect(asking())).writing == ()
    process.stores()
    begin(store)
    found = step(process.engine.inspect(asking()))
    assert (found.state, found.writing) == ("fresh", ("page",))
    step(process.store.replace_tokens({"page": b"new token"}, 60))
    found = step(process.engine.inspect(asking()))
    assert (found.state, found.changed, found.writing) == ("invalidated", ("page",), ("page",))


@pytest.mark.parametrize(
    ("strict", "cause", "said"),
    [
        (True, "stale", "writing"),
        (False, "stale", "replica-lag"),
        (True, "bypass", "store"),
        (False, "bypass", "store"),
    ],
)
def test_a_page_that_may_not_be_stored_says_why(
    clock: FakeClock, store: Hooked, strict: bool, cause: str, said: str
) -> None:
    ticket = Process(clock, store, STRICT if strict else PAGE).leads().ticket
    ticket.stores, ticket.cause = False, cause
    assert of_forward(ticket, None, stored=False) == f"pagegen; fwd={cause}; detail={said}"


@pytest.mark.parametrize(
    ("soft", "asked", "old"),
    [(True, False, True), (False, False, False), (True, True, False)],
    ids=["softly", "hard", "softly, by a client that nobody would know as a writer"],
)
def test_what_is_foretold_is_forgotten_as_softly_as_its_writer_is_known(
    clock: FakeClock, store: Hooked, soft: bool, asked: bool, old: bool
) -> None:
    process = Process(clock, store, SOFT, site_key="a secret of the site")
    process.stores()
    foretell = Invalidator(process.state, store).foretell
    if asked:
        # A handler whose answer is stored on its way: its client gets no cookie.
        with handling(Exchange(process.state.realm, leading=b"slot")):
            step(foretell(["page"], soft=soft))
    else:
        step(foretell(["page"], soft=soft))
    assert isinstance(process.ask(), Stale if old else Forward)
