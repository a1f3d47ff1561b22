"""Forgetting, and what is owed: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event, Thread

import pytest

from pagegen import Invalidates, InvalidationError
from pagegen import owed as debts
from pagegen.exchange import Exchange, handling
from pagegen.messages import ResponseHead
from pagegen.owed import FIRST_PAUSE, LONGEST_PAUSE, Owed
from pagegen.stepping import step
from pagegen.testing import PATIENCE, FakeClock, environ
from pagegen.verdicts import Invalidation
from pagegen.wrote import MARGIN
from pagegen.wsgi.requests import read_request
from tests.engine.driving import KEY, PAGE, SOFT, Hooked, Process, asking, fail

WRITES = Invalidates(path="/page", namespaces=["page"], soft=True)
DONE = ResponseHead(200, ())


def forget(process: Process, *names: str, soft: bool = False) -> Invalidation:
    return step(process.engine.invalidate(names, soft=soft))


# Softly or not --------------------------------------------------------------------------------


def test_what_invalidate_did_is_what_it_says(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, SOFT, **KEY)
    assert forget(process) == Invalidation(())
    assert step(process.engine.invalidate(["page"])) == Invalidation(("page",))
    assert forget(process, "page", "page", soft=True) == Invalidation(("page",), soft=True)
    with handling(Exchange(process.engine.realm)):
        again = forget(process, "page", soft=True)
    assert again == Invalidation(("page",), again=True, soft=True)
    assert process.count("invalidation") == 3


def test_where_no_rule_is_soft_nothing_is(clock: FakeClock, store: Hooked) -> None:
    assert forget(Process(clock, store, PAGE, **KEY), "page", soft=True) == Invalidation(("page",))


def promised(exchange: Exchange, clock: FakeClock) -> None:
    exchange.promised = clock() + 60


def promised_for_too_short(exchange: Exchange, clock: FakeClock) -> None:
    exchange.promised = clock() + 59


def without_a_cookie(exchange: Exchange, clock: FakeClock) -> None:
    exchange.promised = 0.0


def rendering(exchange: Exchange, clock: FakeClock) -> None:
    exchange.leading = b"slot"


@pytest.mark.parametrize(
    ("state", "soft"),
    [
        (promised, True),
        (promised_for_too_short, False),
        (without_a_cookie, False),
        (rendering, False),
    ],
)
def test_a_handler_forgets_softly_if_its_client_is_known_for_long_enough(
    clock: FakeClock, store: Hooked, state: Callable[[Exchange, FakeClock], None], soft: bool
) -> None:
    process = Process(clock, store, SOFT, **KEY)
    exchange = Exchange(process.engine.realm)
    state(exchange, clock)
    with handling(exchange):
        assert forget(process, "page", soft=True).soft is soft
    assert exchange.owed == {"page": soft}


def test_without_a_site_key_nobody_is_known(clock: FakeClock, store: Hooked) -> None:
    """Such a cache has no rules, and forgets for others that have."""
    process = Process(clock, store, None)
    assert forget(process, "page", soft=True).soft
    with handling(Exchange(process.engine.realm)):
        assert not forget(process, "page", soft=True).soft


def test_a_handler_whose_answer_goes_to_another_one_forgets_hard(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, SOFT, **KEY)
    outer, inner = Exchange(process.engine.realm), Exchange(process.engine.realm)
    with handling(outer), handling(inner):
        assert not forget(process, "page", soft=True).soft


# Answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS"])
def test_who_forgets_softly_gets_a_cookie_for_its_scheme(
    clock: FakeClock, store: Hooked, scheme: str
) -> None:
    process = Process(clock, store, SOFT, **KEY)
    exchange = Exchange(process.engine.realm)
    with handling(exchange):
        forget(process, "page", soft=True)
    made = environ("POST", "/elsewhere")
    made["wsgi.url_scheme"] = scheme
    ((name, value),) = process.engine.answered(exchange, read_request(made), DONE)
    assert name == "Set-Cookie"
    secure = scheme.lower() == "https"
    assert value.startswith("__Host-") is value.endswith("; Secure") is secure
    assert exchange.promised == clock() + 60 + MARGIN


@pytest.mark.parametrize(
    ("head", "soft", "owed"),
    [
        (None, True, {"page": True}),
        (DONE, False, {"page": False}),
    ],
)
def test_no_cookie_where_nothing_is_forgotten_softly_or_the_answer_may_be_stored(
    clock: FakeClock,
    store: Hooked,
    head: ResponseHead | None,
    soft: bool,
    owed: dict[str, bool],
) -> None:
    process = Process(clock, store, SOFT, **KEY)
    exchange = Exchange(process.engine.realm)
    with handling(exchange):
        forget(process, "page", soft=soft)
    request = asking("/elsewhere", method="POST", host="localhost")
    assert process.engine.answered(exchange, request, head) == ()
    assert exchange.promised == 0.0
    assert exchange.owed == owed


@pytest.mark.parametrize("leading", [None, b"slot"])
def test_what_an_answer_forgets_by_itself_is_soft_where_the_client_is_known(
    clock: FakeClock, store: Hooked, leading: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(clock, store, SOFT, invalidates=[WRITES], **KEY)
    exchange = Exchange(process.engine.realm, leading)
    head = ResponseHead(200, (("Cache-Group-Invalidation", '"nobody\'s"'),))
    with caplog.at_level(logging.WARNING):
        process.engine.answered(exchange, asking(method="POST", host="localhost"), head)
    assert exchange.owed == {
        "nobody's": False,
        "page": leading is None,
        "url:localhost/page": False,
    }
    assert 'no rule of this cache has pages of namespace "nobody\'s"' in caplog.text


# Late and in vain -----------------------------------------------------------------------------


def in_vain(process: Process, exchange: Exchange, *names: str) -> None:
    process.store.on["replace_tokens"] = fail  # type: ignore[attr-defined]
    with handling(exchange), pytest.raises(InvalidationError):
        forget(process, *names)


@pytest.mark.usefixtures("unpaid")
def test_what_was_not_acknowledged_is_not_tried_again_at_the_end_and_said_once(
    clock: FakeClock, store: Hooked, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(clock, store)
    exchange = Exchange(process.engine.realm)
    in_vain(process, exchange, "page")
    assert process.count("invalidation-failed") == 1
    store.asked.clear()
    before = process.state.owed.names["page"]
    for _ in range(2):
        step(process.engine.settle(exchange))
    assert store.asked == []
    assert process.state.owed.names["page"] > before  # what is on its way does not pay for it
    assert process.count("invalidation-failed") == 2
    assert caplog.text.count("it has not acknowledged the one before either") == 1
    assert exchange.told == {"page"}


@pytest.mark.usefixtures("unpaid")
def test_what_was_acknowledged_is_tried_though_something_else_is_owed(
    clock: FakeClock, store: Hooked, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(clock, store, replace(PAGE, namespaces=["page", "other"]))
    exchange = Exchange(process.engine.realm)
    with handling(exchange):
        forget(process, "other")
    in_vain(process, exchange, "page")
    store.asked.clear()
    step(process.engine.settle(exchange))
    assert store.asked == ["replace_tokens"]
    assert set(process.state.owed.names) == {"page", "other"}
    assert exchange.told == {"page", "other"}
    assert "other" in caplog.text
    assert not exchange.unsettled


@pytest.mark.usefixtures("unpaid")
def test_a_debt_that_the_store_has_heard_of_since_is_tried_at_the_end(
    clock: FakeClock, store: Hooked
) -> None:
    process = Process(clock, store, replace(PAGE, namespaces=["page", "other"]))
    exchange = Exchange(process.engine.realm)
    in_vain(process, exchange, "page")
    store.on.clear()
    forget(process, "other")
    assert set(process.state.owed.names) == {"page"}
    step(process.engine.settle(exchange))
    assert process.state.owed.names == {}
    assert process.count("invalidation") == 2


@pytest.mark.usefixtures("unpaid")
def test_what_is_owed_is_not_paid_softly(clock: FakeClock, store: Hooked) -> None:
    process = Process(clock, store, SOFT, **KEY)
    in_vain(process, Exchange(process.engine.realm), "page")
    store.on.clear()
    assert forget(process, "page", soft=True).soft
    assert set(process.state.owed.names) == {"page"}
    forget(process, "page")
    assert process.state.owed.names == {}


@pytest.mark.parametrize(("known", "spared"), [(True, True), (False, False)])
def test_what_was_soft_is_soft_at_the_end_if_the_client_knows(
    clock: FakeClock, store: Hooked, known: bool, spared: bool
) -> None:
    process = Process(clock, store, SOFT, **KEY)
    process.stores()
    exchange = Exchange(process.engine.realm)
    with handling(exchange):
        forget(process, "page", soft=True)
    if known:
        process.engine.answered(exchange, asking("/elsewhere", method="POST"), DONE)
    step(process.engine.settle(exchange))
    assert (type(process.ask()).__name__ == "Stale") is spared


def test_what_was_hard_is_hard_at_the_end_though_something_else_was_soft(
    clock: FakeClock, store: Hooked
) -> None:
    other = replace(SOFT, path="/other", name="other", namespaces=["other"])
    process = Process(clock, store, SOFT, other, **KEY)
    exchange = Exchange(process.engine.realm)
    with handling(exchange):
        forget(process, "page")
        forget(process, "other", soft=True)
    process.engine.answered(exchange, asking("/elsewhere", method="POST"), DONE)
    process.stores()
    process.stores(asking("/other"))
    step(process.engine.settle(exchange))
    asked = [type(process.ask(asking(target))).__name__ for target in ("/page", "/other")]
    assert asked == ["Forward", "Stale"]


# Paying ---------------------------------------------------------------------------------------


class Payer:
    """Pays debts, but for those that are ``refused``; remembers what was ``tried``."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.tried: list[tuple[str, ...]] = []

    def __call__(self, names: Sequence[str]) -> None:
        self.tried.append(tuple(names))
        if self.refused.intersection(names):
            raise OSError("no route to host")


def test_one_thread_pays_and_ends_when_all_is_paid() -> None:
    payer, threads, seconds = Payer(), list[Thread | None](), list[float]()
    payer.refused = {"a"}

    def pause(closed: Event, delay: float) -> None:
        threads.append(owed._thread)
        seconds.append(delay)
        assert not closed.is_set()
        if len(seconds) == 9:
            payer.refused.clear()

    owed = Owed(payer, pause)
    owed.owe(["a"])
    thread = owed._thread or threads[0]
    assert thread is not None
    assert (thread.name, thread.daemon) == ("pagegen-owed", True)
    thread.join(PATIENCE)
    assert (owed._thread, owed.names, owed.heard) == (None, {}, True)
    assert set(threads) == {thread}
    assert payer.tried == [("a",)] * 9
    assert owed.statistics() == {"owed": 0, "owed_retried": 9}
    for number, delay in enumerate(seconds):
        pause_of = min(LONGEST_PAUSE, FIRST_PAUSE * 2**number)
        assert 0.5 * pause_of <= delay <= 1.5 * pause_of


@pytest.mark.usefixtures("unpaid")
def test_names_are_tried_one_by_one_and_the_next_round_goes_on_where_time_was_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    time = FakeClock(0.0)
    monkeypatch.setattr(debts, "monotonic", time)
    payer = Payer()
    payer.refused = {"a", "b", "c"}
    owed = Owed(payer)
    owed.owe(["a", "b", "c"])
    pay = payer.__call__

    def slowly(names: Sequence[str]) -> None:
        time.advance(1.0)
        pay(names)

    owed._replace = slowly
    owed._try()
    assert payer.tried == [("a", "b", "c"), ("a",), ("b",)]
    payer.tried.clear()
    owed._try()
    assert payer.tried == [("a", "b", "c"), ("c",), ("a",)]
    payer.tried.clear()
    payer.refused = {"a"}
    owed._replace = pay
    owed._try()
    assert payer.tried == [("a", "b", "c"), ("b",), ("c",), ("a",)]
    assert set(owed.names) == {"a"}
    assert not owed.heard
    payer.tried.clear()
    owed._try()
    assert payer.tried == [("a",)]
    payer.refused.clear()
    owed._try()
    assert owed.heard
    owed._try()  # nothing is owed
    assert payer.tried == [("a",)] * 2


@pytest.mark.usefixtures("unpaid")
def test_only_what_began_after_a_failure_pays_for_it() -> None:
    owed = Owed(Payer())
    early = owed.mark()
    owed.owe(["a", "b"])
    paid = owed.payments
    owed.paid(["a"], early)
    assert set(owed.names) == {"a", "b"}
    owed.paid(["a", "never owed"], owed.mark())
    assert set(owed.names) == {"b"}
    assert owed.payments == paid + 2


@pytest.mark.usefixtures("unpaid")
@pytest.mark.parametrize(("tried", "heard"), [(True, False), (False, True)])
def test_what_was_not_tried_says_nothing_of_the_store(tried: bool, heard: bool) -> None:
    owed = Owed(Payer())
    owed.owe(["a"], tried=tried)
    assert owed.heard is heard
    owed.owe(["a"], tried=False)
    assert owed.heard is heard
    assert owed.touches(["b", "a"])
    assert not owed.touches(["b"])
