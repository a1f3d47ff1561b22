"""The log, and what an inspection tells: what no other test told from a small change
(docs/reference/mutation-check.md).
"""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from pagegen import Invalidates
from pagegen import owed as debts
from pagegen.errors import InvalidationError, LateError, NamespaceError, StoreError
from pagegen.law.storing import Refusal
from pagegen.messages import StoredResponse
from pagegen.owed import Owed
from pagegen.remarks import MAX_DOUBTED, REPEAT, Remarks, declared
from pagegen.rulebook import RuleBook
from pagegen.stepping import step
from pagegen.verdicts import Inspection
from tests.engine.driving import PAGE, Process, asking, fail

NEW = StoreError("no route")
OWN = "url:testserver/page"


def remarks(*invalidates: Invalidates) -> Remarks:
    return Remarks(RuleBook((PAGE,), invalidates))


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Level and text of what was logged since the last time."""
    found = [(record.levelno, record.getMessage()) for record in caplog.records]
    caplog.clear()
    return found


def failure(times: str, error: str = "StoreError: no route") -> str:
    return (
        f"the store failed; such requests go to the application ({times}; said at most once a "
        f"minute): {error}"
    )


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


# The store ------------------------------------------------------------------------------------


def test_a_store_that_goes_on_failing_is_counted_and_named_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours = remarks()
    ours.store_failed(NEW, 0.5)  # the machine has just started
    assert said(caplog) == [(logging.ERROR, failure("the first time"))]
    for moment in (1.0, 2.0, 0.4 + REPEAT):
        ours.store_failed(NEW, moment)
    assert said(caplog) == []
    ours.store_failed(NEW, 0.5 + REPEAT)
    assert said(caplog) == [(logging.ERROR, failure("4 times since this was last said"))]
    for moment in (1.0 + REPEAT, 0.5 + 2 * REPEAT):
        ours.store_failed(NEW, moment)
    assert said(caplog) == [(logging.ERROR, failure("2 times since this was last said"))]


@pytest.mark.parametrize(
    ("error", "level", "text", "traced"),
    [
        (NEW, logging.ERROR, "StoreError: no route", False),
        (LateError("too late"), logging.WARNING, "LateError: too late", False),
        (KeyError("x"), logging.ERROR, "KeyError: 'x'", True),
    ],
    ids=["the store", "late", "a defect"],
)
def test_only_an_error_that_no_store_may_raise_is_traced(
    caplog: pytest.LogCaptureFixture, error: Exception, level: int, text: str, traced: bool
) -> None:
    remarks().store_failed(error, 100.0)
    (record,) = caplog.records
    assert record.name == "pagegen.engine"
    assert (record.levelno, record.getMessage()) == (level, failure("the first time", text))
    assert (record.exc_info is not None and record.exc_info[1] is error) is traced


def test_each_late_invalidation_that_failed_is_said(caplog: pytest.LogCaptureFixture) -> None:
    ours, error = remarks(), InvalidationError(("100%s",), "no route")
    ours.not_acknowledged(error)
    ours.not_acknowledged(error)
    assert said(caplog) == [(logging.ERROR, str(error))] * 2


# Debts ----------------------------------------------------------------------------------------


def test_a_cache_that_ends_with_debts_names_five_of_them(
    caplog: pytest.LogCaptureFixture, unpaid: None
) -> None:
    owed = Owed(lambda names: fail())
    owed.owe("gfedcba")
    owed.close()
    assert said(caplog) == [
        (
            logging.ERROR,
            "ended with 7 namespaces whose invalidation the store never acknowledged: "
            "a, b, c, d, e … Other processes may serve their old pages until those expire",
        )
    ]


def test_more_debts_than_can_be_remembered_are_said_once(
    caplog: pytest.LogCaptureFixture, unpaid: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debts, "MAX_OWED", 2)
    Owed(lambda names: fail()).owe("abcd")
    assert said(caplog) == [
        (
            logging.ERROR,
            "more than 2 namespaces wait for the store to acknowledge their invalidation: "
            "nothing is served from the cache until this process is started anew",
        )
    ]


# What is not stored ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "level", "remedy"),
    [
        (Refusal.PRIVATE, logging.WARNING, ". The application says private: it has the last word"),
        (Refusal.STATUS, logging.INFO, ""),
    ],
)
def test_a_refusal_is_said_once_with_what_to_do(
    caplog: pytest.LogCaptureFixture, refusal: Refusal, level: int, remedy: str
) -> None:
    ours = remarks()
    for _ in range(2):
        ours.not_stored("/page", refusal)
    text = f"rule '/page': a response was not stored: {refusal} (said once){remedy}"
    assert said(caplog) == [(level, text)]


# Slips of the pen ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "called"), [("", "/write/{x}"), ("saving", "saving")])
def test_a_write_that_forgets_what_no_page_has_is_named(
    caplog: pytest.LogCaptureFixture, name: str, called: str
) -> None:
    names = ["page", "pages", "page:{x}"]
    remarks(Invalidates(path="/write/{x}", namespaces=names, name=name, soft=True)).started()
    unknown = "no rule of this cache has pages of namespace"
    assert said(caplog) == [
        (
            logging.WARNING,
            f"invalidates {called!r} says soft, but no rule does: it forgets at once",
        ),
        (logging.WARNING, f"invalidates {called!r}: {unknown} 'pages'"),
        (logging.WARNING, f"invalidates {called!r}: {unknown} 'page:{{x}}'"),
    ]


def test_what_stands_for_a_value_may_be_in_a_rules_namespaces_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    number = {"id": {"type": "int", "default": 1}}
    rule = replace(PAGE, namespaces=["item:{id}"], query=number)
    writes = Invalidates(path="/write/{x}", namespaces=["item:{x}"])
    Remarks(RuleBook((rule,), (writes,))).started()
    assert said(caplog) == []


def test_names_that_no_page_has_are_doubted_once_and_not_without_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours = remarks()
    ours.invalidated(["page", "a", "page", "a", "b"])
    unknown = "no rule of this cache has pages of namespace {!r}: is it a slip?"
    assert said(caplog) == [(logging.WARNING, unknown.format(name)) for name in "ab"]
    ours.invalidated(["b:7", "b:8", "8"])  # of one shape, and of none
    assert said(caplog) == [(logging.WARNING, unknown.format(name)) for name in ("b:…", "…")]
    names = ["x" * number for number in range(1, 2 * MAX_DOUBTED)]
    ours.invalidated(names)
    expect = [(logging.WARNING, unknown.format(name)) for name in names[: MAX_DOUBTED - 4]]
    assert said(caplog) == expect


def test_names_that_rows_declare_are_no_slips(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pagegen.remarks._declared", {})
    declared(["shop:{number}:{color}", "a.b"])
    declared(["shop:{number}:{color}"])
    ours = remarks()
    ours.invalidated(["shop:7:red", "a.b", "shop:7", "shop::red", "a-b"])
    unknown = "no rule of this cache has pages of namespace {!r}: is it a slip?"
    names = ["shop:…", "a-b"]
    assert said(caplog) == [(logging.WARNING, unknown.format(name)) for name in names]
    with pytest.raises(NamespaceError):
        declared(["{"])


def test_a_strict_write_of_what_no_strict_rule_has_is_said_once_and_not_without_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    strict = replace(PAGE, path="/strict", name="strict", namespaces=["strict"], strict=True)
    ours = Remarks(RuleBook((PAGE, strict)))
    names = ["x" * number for number in range(1, 2 * MAX_DOUBTED)]
    ours.writes(["strict", "page", "page", "other"])
    ours.writes(names)
    warning = (
        "cache.writing({!r}): no rule of this cache that says strict has pages of this namespace, "
        "so readers may still get the old row before the block has ended"
    )
    expect = ["page", "other", *names[: MAX_DOUBTED - 2]]
    assert said(caplog) == [(logging.WARNING, warning.format(name)) for name in expect]


def test_of_a_cache_without_rules_no_strict_write_is_doubted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Remarks(RuleBook()).writes(["page"])
    assert said(caplog) == []


def test_marks_that_were_lost_are_said_each_time(caplog: pytest.LogCaptureFixture) -> None:
    ours = remarks()
    ours.marks_lost(["a", "b"], 2.5)
    ours.marks_lost(["a", "b"], 2.5)
    text = (
        "the marks of a strict write of a, b were gone before its block had ended: it took longer "
        "than its term of 2.5 s (raise term), or the store lost them. What was stored meanwhile is "
        "forgotten now"
    )
    assert said(caplog) == [(logging.ERROR, text)] * 2


# Inspections ----------------------------------------------------------------------------------


def inspected(process: Process, target: str = "/page") -> Inspection:
    return step(process.engine.inspect(asking(target)))


def test_an_inspection_tells_why_a_request_has_no_page(process: Process) -> None:
    assert inspected(process, "/other") == Inspection("uncacheable", reason="no-rule")


def test_an_inspection_tells_the_rule_of_a_page_that_is_not_there(process: Process) -> None:
    assert inspected(process) == Inspection("absent", "/page", ("page", OWN))


def test_an_inspection_tells_the_page(process: Process) -> None:
    forward = process.leads()
    process.clock.time += 2
    process.answer(forward)
    process.clock.time += 3
    assert inspected(process) == Inspection("fresh", "/page", ("page", OWN), (), 5.0, 2.0)


def test_another_keys_page_in_the_slot_is_none(process: Process) -> None:
    stored = process.stores()
    assert inspected(process).state == "fresh"
    other: StoredResponse = replace(stored, key=b"another")
    plan = process.leads(asking(Cache_Control="no-cache")).ticket.plan
    assert step(process.store.write_page(plan.slot, other, 60))
    assert inspected(process) == Inspection("absent", "/page", ("page", OWN))
