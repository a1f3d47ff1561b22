"""The judge itself: what it must find, and what it must let pass. Times are in seconds here."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from pagegen.testing.check import (
    Event,
    HistoryError,
    Judge,
    Mark,
    Promise,
    Read,
    Recovery,
    Terms,
    Write,
    judge,
    read_events,
    read_terms,
    write_events,
    write_terms,
)
from pagegen.testing.check.excuses import MAX_OPEN
from pagegen.testing.check.judging import SECOND
from pagegen.testing.check.timelines import MAX_STEPS, Timeline
from pagegen.testing.check.verdict import MAX_EXAMPLES


def read(sent: float, version: int, answered: float | None = None, **more: Any) -> Read:
    """Client 1 sees this version of item a."""
    answered = sent + 0.1 if answered is None else answered
    more = {"client": 1, "page": "items/a", "versions": (("a", version),), **more}
    return Read(sent=int(sent * SECOND), answered=int(answered * SECOND), **more)


def write(sent: float, answered: float, version: int | None, **more: Any) -> Write:
    """Client 2 writes item a."""
    more = {"client": 2, "item": "a", **more}
    return Write(sent=int(sent * SECOND), answered=int(answered * SECOND), version=version, **more)


class Row(NamedTuple):
    """``broken``: the promises that this history breaks; ``checked``: those it says something of
    and keeps.
    """

    id: str
    history: list[Event]
    broken: tuple[Promise, ...] = ()
    checked: tuple[Promise, ...] = ()
    terms: Terms = Terms()


P = Promise
WRITTEN = write(10, 11, 2)
OLD = replace(WRITTEN, version=1, sent=0, answered=1 * SECOND)
SOFT = Terms(soft=30)
LAX = Terms(strict=False, breaks=True)
BREAKS = Terms(breaks=True)
#: A write whose connection broke.
GONE: dict[str, Any] = {"outcome": "lost", "status": -1}

ROWS = [
    Row("nothing", []),
    # No resurrection
    Row("newer-or-equal", [WRITTEN, read(12, 2), read(13, 3)], (), (P.RESURRECTION,)),
    Row("older", [WRITTEN, read(12, 1)], (P.RESURRECTION,)),
    Row("older-asked-before-the-answer", [WRITTEN, read(10.9, 1)]),
    Row("older-asked-at-the-same-moment", [WRITTEN, read(11, 1)]),
    Row("older-long-after", [WRITTEN, read(5000, 0)], (P.RESURRECTION,)),
    Row("order-of-events-is-nothing", [read(12, 1), WRITTEN], (P.RESURRECTION,)),
    Row("answers-cross", [write(1, 9, 5), write(2, 4, 6), read(5, 5)], (P.RESURRECTION,)),
    Row("answers-cross-kept", [write(1, 9, 5), write(2, 4, 6), read(10, 6)], (), (P.RESURRECTION,)),
    Row("another-item", [replace(WRITTEN, item="b"), read(12, 1)]),
    Row("lost-write-promises-nothing", [write(10, 11, 2, **GONE), read(12, 1)], (), (), BREAKS),
    Row("owed-binds-nobody-else",
        [write(10, 11, 2, outcome="owed", worker=7), read(12, 1, worker=8)]),
    Row("owed-binds-its-worker",
        [write(10, 11, 2, outcome="owed", worker=7), read(12, 1, worker=7)], (P.RESURRECTION,)),
    Row("answers-cross-later", [write(1, 9, 5), write(2, 4, 6), read(10, 5)], (P.RESURRECTION,)),
    Row("soft-of-several",
        [write(10, 11, 2), write(11.5, 12.5, 3), write(20, 21, 4), read(42, 1)],
        (P.RESURRECTION,), (), SOFT),
    # Groups: the same, of pages that a write reaches by a group
    Row("old-list", [WRITTEN, read(12, 1, group=True)], (P.GROUPS,)),
    Row("new-list", [WRITTEN, read(12, 2, group=True)], (), (P.GROUPS,)),
    Row("one-of-a-list", [WRITTEN, read(12, 0, group=True, versions=(("b", 9), ("a", 1)))],
        (P.GROUPS,)),
    # Read your writes
    Row("own", [replace(WRITTEN, client=1), read(12, 1)], (P.RESURRECTION, P.OWN_WRITES)),
    Row("own-kept", [replace(WRITTEN, client=1), read(12, 2)], (), (P.RESURRECTION, P.OWN_WRITES)),
    Row("soft-spares-others", [WRITTEN, read(40, 1)], (), (), SOFT),
    Row("soft-spares-not-the-writer", [replace(WRITTEN, client=1), read(40, 1)], (P.OWN_WRITES,),
        (), SOFT),
    Row("soft-is-over", [WRITTEN, read(42, 1)], (P.RESURRECTION,), (), SOFT),
    # Writes that tell no version made a higher one than was there
    Row("untold", [read(1, 7), write(10, 11, None), read(12, 7)],
        (P.RESURRECTION, P.MONOTONIC)[:1], (P.MONOTONIC,), LAX),
    Row("untold-kept", [read(1, 7), write(10, 11, None), read(12, 8)], (),
        (P.RESURRECTION, P.MONOTONIC), LAX),
    Row("untold-twice", [read(1, 7), write(10, 11, None), write(11.1, 11.2, None), read(12, 8)],
        (P.RESURRECTION,), (), LAX),
    Row("untold-at-the-same-time",
        [read(1, 7), write(10, 11, None), write(10.5, 11.5, None), read(12, 8)], (),
        (P.RESURRECTION,), LAX),
    Row("untold-and-nothing-known", [write(10, 11, None), read(12, 0)], (), (), LAX),
    Row("untold-and-seen-meanwhile",
        [read(1, 7), write(10, 11, None), read(10.2, 8), read(12, 8)], (), (P.RESURRECTION,), LAX),
    # Monotonic
    Row("back", [read(1, 5), read(2, 4)], (P.MONOTONIC,)),
    Row("forth", [read(1, 4), read(2, 5)], (), (P.MONOTONIC,)),
    Row("back-on-another-page", [read(1, 5), read(2, 4, page="lists/1")]),
    Row("back-for-another-client", [read(1, 5), read(2, 4, client=3)]),
    Row("back-while-the-write-goes-on", [write(0, 9, 5), read(1, 5), read(2, 4)]),
    Row("back-after-the-write", [write(0, 1.5, 5), read(1, 5), read(2, 4)],
        (P.MONOTONIC, P.RESURRECTION)),
    Row("back-over-a-lost-write", [write(0, 1.5, 5, **GONE), read(1, 5), read(2, 4)], (), (),
        BREAKS),
    Row("back-over-an-untold-lost-write",
        [write(0, 1.5, None, **GONE), read(1, 5), read(2, 4)], (), (), BREAKS),
    Row("a-later-write-is-no-excuse", [write(1.5, 9, 5), read(1, 5), read(2, 4)], (P.MONOTONIC,)),
    Row("another-write-is-no-excuse", [write(0, 9, 6), read(1, 5), read(2, 4)], (P.MONOTONIC,)),
    Row("further-back-than-the-write", [write(0, 9, 4), read(1, 5), read(2, 4)], (P.MONOTONIC,)),
    Row("a-refused-write-is-no-excuse",
        [write(0, 1.5, 5, outcome="refused", status=409), read(1, 5), read(2, 4)],
        (P.MONOTONIC,), (), LAX),
    Row("back-within-soft", [write(0, 1.5, 5), read(1, 5), read(20, 4)], (), (), SOFT),
    Row("both-at-the-same-time", [read(1, 5, answered=3), read(2, 4)]),
    # Pages that say for how long they may be old
    Row("soft-page", [WRITTEN, read(40, 1, soft=30.0)]),
    Row("soft-page-is-over", [WRITTEN, read(42, 1, soft=30.0)], (P.RESURRECTION,)),
    Row("soft-page-of-the-writer", [replace(WRITTEN, client=1), read(12, 1, soft=30.0)],
        (P.OWN_WRITES,)),
    Row("soft-page-is-new", [WRITTEN, read(42, 2, soft=30.0)], (), (P.RESURRECTION,)),
    Row("another-page-is-not-soft", [WRITTEN, read(12, 1, soft=30.0), read(13, 1, page="b")],
        (P.RESURRECTION,)),
    Row("soft-page-of-who-owes",
        [write(10, 11, 2, outcome="owed", worker=7), read(12, 1, worker=7, soft=30.0)],
        (P.RESURRECTION,)),
    Row("soft-page-after-a-hard-write", [replace(WRITTEN, hard=True), read(12, 1, soft=30.0)],
        (P.RESURRECTION,)),
    Row("soft-page-after-a-soft-write-after-a-hard-one",
        [replace(OLD, hard=True), WRITTEN, read(12, 1, soft=30.0)], (), (P.RESURRECTION,)),
    Row("lagging-page", [replace(WRITTEN, client=1), read(12, 1, lag=2.0)]),
    Row("lagging-page-of-who-owes",
        [write(10, 11, 2, outcome="owed", worker=7), read(12, 1, worker=7, lag=2.0)]),
    Row("lagging-page-for-too-long", [WRITTEN, read(13.1, 1, lag=2.0)], (P.RESURRECTION,)),
    Row("lagging-page-for-too-long-of-the-writer",
        [replace(WRITTEN, client=1), read(13.1, 1, lag=2.0)], (P.RESURRECTION, P.OWN_WRITES)),
    Row("lagging-page-of-who-owes-for-too-long",
        [write(10, 11, 2, outcome="owed", worker=7), read(13.1, 1, worker=7, lag=2.0)],
        (P.RESURRECTION,)),
    Row("lagging-and-soft", [WRITTEN, read(42, 1, soft=30.0, lag=2.0)]),
    Row("back-within-lag", [write(0, 1.5, 5), read(1, 5, lag=2.0), read(3, 4, lag=2.0)]),
    Row("back-after-lag", [write(0, 1.5, 5), read(1, 5, lag=2.0), read(3.6, 4, lag=2.0)],
        (P.MONOTONIC, P.RESURRECTION)),
    # Bounded age
    Row("aged", [read(10, 1, made=4 * SECOND, bound=5.0)], (P.AGE,)),
    Row("young", [read(10, 1, made=6 * SECOND, bound=5.0)], (), (P.AGE,)),
    Row("no-bound", [read(10, 1, made=1)]),
    Row("an-old-version-for-too-long",
        [read(1, 5, page="x"), read(12, 4)], (P.AGE,), (), Terms(age=10)),
    Row("an-old-version-for-a-while", [read(1, 5, page="x"), read(11, 4)], (), (), Terms(age=10)),
    Row("a-new-version-in-time", [read(1, 5, page="x"), read(12, 5)], (), (P.AGE,), Terms(age=10)),
    Row("one-of-several-versions-for-too-long",
        [read(1, 5, page="x"), read(2, 6, page="x"), read(12, 4)], (P.AGE,), (), Terms(age=10)),
    # Isolation, transparency
    Row("somebody-else", [read(1, 1, stranger="bob")], (P.ISOLATION,), (P.TRANSPARENT,)),
    Row("torn", [read(1, 1, flaw="half a page")], (P.TRANSPARENT,)),
    Row("torn-tells-nothing", [WRITTEN, read(12, 1, flaw="half a page")], (P.TRANSPARENT,)),
    Row("whole", [read(1, 1)], (), (P.TRANSPARENT, P.ISOLATION)),
    # Answers
    Row("answered", [read(1, 1), WRITTEN], (), (P.ANSWERS,)),
    Row("owed-is-honest", [write(1, 2, 1, outcome="owed", status=503)], (), (P.ANSWERS,)),
    Row("a-failure-is-not", [write(1, 2, None, outcome="lost", status=500)], (P.ANSWERS,)),
    Row("a-page-that-fails", [read(1, 1, status=500)], (P.ANSWERS,)),
    Row("a-page-that-is-none", [read(1, 1, status=404)], (P.ANSWERS,)),
    Row("your-page-that-is-none", [read(1, 1, status=404)], (), (P.ANSWERS,), LAX),
    Row("your-page-that-fails", [read(1, 1, status=503)], (P.ANSWERS,), (), LAX),
    Row("no-answer", [read(1, 1, status=0)], (P.ANSWERS,)),
    Row("no-answer-ever", [read(1, 1, status=0)], (P.ANSWERS,), (), LAX),
    Row("broken-off", [read(1, 1, status=-1)], (P.ANSWERS,)),
    Row("broken-off-by-a-kill", [read(1, 1, status=-1)], (), (P.ANSWERS,), Terms(breaks=True)),
    # Recovery
    Row("well-again", [Recovery(well=True)], (), (P.RECOVERY,)),
    Row("never-well", [Recovery(well=False, said="no hits")], (P.RECOVERY,)),
    # One regeneration
    Row("rendered-twice", [read(1, 1, rendering="x"), read(2, 1, rendering="y")],
        (P.HERD,), (), Terms(herd=1.5)),
    Row("rendered-twice-allowed", [read(1, 1, rendering="x"), read(2, 1, rendering="y")], (),
        (P.HERD,), Terms(herd=2)),
    Row("rendered-twice-not-judged", [read(1, 1, rendering="x"), read(2, 1, rendering="y")]),
    Row("rendered-twice-while-it-was-written",
        [WRITTEN, read(12, 2, rendering="x", made=int(10.9 * SECOND)),
         read(12, 2, rendering="y", made=int(11.1 * SECOND))], (), (P.HERD,), Terms(herd=1)),
    Row("rendered-twice-when-it-was-written",
        [WRITTEN, read(12, 2, rendering="x", made=int(11.1 * SECOND)),
         read(12, 2, rendering="y", made=int(11.2 * SECOND))], (P.HERD,), (), Terms(herd=1.5)),
    Row("rendered-twice-with-an-earlier-write-that-lasts",
        [WRITTEN, replace(OLD, answered=20 * SECOND), read(12, 2, rendering="x", made=12 * SECOND),
         read(13, 2, rendering="y", made=13 * SECOND)], (), (), Terms(herd=1)),
    Row("a-list-rendered-twice",
        [read(12, 2, rendering="x", group=True), read(13, 2, rendering="y", group=True)], (), (),
        Terms(herd=1)),
    Row("rendered-for-each-version", [read(1, 1, rendering="x"), read(2, 2, rendering="y")], (),
        (P.HERD,), Terms(herd=1)),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_a_history_breaks_what_it_breaks_and_nothing_else(row: Row) -> None:
    found = judge(row.history, row.terms)
    assert {f.promise for f in found.findings if f.broken} == set(row.broken)
    for promise in row.checked:
        assert found[promise].state == "kept", promise
    assert all(found[promise].examples for promise in row.broken)


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_judged_as_it_comes_or_at_its_end_is_the_same(row: Row) -> None:
    """Events in the order in which they are told, with a mark after each."""
    whole = judge(row.history, row.terms)
    judging = Judge(row.terms)
    told = [e for e in row.history if isinstance(e, (Read, Write))]
    told.sort(key=lambda event: event.answered)
    for number, event in enumerate(told):
        later = [other.sent for other in told[number + 1 :]]
        judging.add([event, Mark(before=min(later, default=0))])
    judging.add(e for e in row.history if isinstance(e, Recovery))
    assert judging.verdict().table() == whole.table()


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_a_written_history_is_judged_alike(row: Row) -> None:
    file = io.StringIO()
    write_terms(file, row.terms)
    write_events(file, row.history)
    file.seek(0)
    terms = read_terms(file)
    assert terms == row.terms
    assert judge(read_events(file), terms).table() == judge(row.history, row.terms).table()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nonsense", "line 2 is no JSON"),
        ("[]", "line 2 is no object"),
        ('{"is":"xyzzy"}', "line 2 is no event"),
        ('{"is":"read","client":1}', "line 2: .*page"),
        ('{"is":"read","client":"one","page":"p","sent":1,"answered":2}', "client cannot be 'one'"),
        ('{"is":"read","client":1,"page":"p","sent":1,"answered":2,"versions":[1]}', "line 2: "),
        ('{"is":"mark","before":1,"more":2}', "line 2: .*more"),
    ],
)
def test_what_is_no_history_is_named(line: str, complaint: str) -> None:
    file = io.StringIO('{"pagegen-history": 1}\n' + line)
    read_terms(file)
    with pytest.raises(HistoryError, match=complaint):
        list(read_events(file))


def test_a_file_of_something_else_is_no_history() -> None:
    with pytest.raises(HistoryError, match="does not say"):
        read_terms(io.StringIO('{"form": 1}'))


def test_an_empty_history_is_no_success() -> None:
    found = judge([])
    assert found.state == "unchecked"
    assert {Promise.RESURRECTION, Promise.OWN_WRITES, Promise.GROUPS} <= set(found.missing)


def test_a_counter_example_tells_what_when_and_how() -> None:
    (said,) = judge([WRITTEN, read(12, 1, how="hit")])[Promise.RESURRECTION].examples
    assert said == (
        "item a: version 1 on items/a (hit), asked for 1000.00 ms after version 2 was acknowledged"
    )


def test_a_counter_example_has_the_requests_that_show_it() -> None:
    late = read(12, 1)
    verdict = judge([OLD, WRITTEN, read(11.5, 2), late])
    assert verdict[Promise.RESURRECTION].requests == [(WRITTEN, late)]
    assert verdict[Promise.MONOTONIC].requests == [(read(11.5, 2), late)]
    assert verdict.began == 0
    (shown,) = verdict.table()[Promise.RESURRECTION]["requests"]
    assert [one["is"] for one in shown] == ["write", "read"]
    assert shown[1]["sent"] == 12 * SECOND


def test_old_pages_that_may_be_old_are_counted() -> None:
    judging = Judge()
    judging.add([WRITTEN, *(read(12 + n, 1, soft=2.0) for n in range(3)), read(12, 2, soft=2.0)])
    assert judging.verdict()[Promise.RESURRECTION].broken == 1
    assert judging.counts["spared"] == 3


def test_breaches_are_counted_and_the_first_are_shown() -> None:
    found = judge([WRITTEN, *(read(12 + n, 1) for n in range(20))])[Promise.RESURRECTION]
    assert (found.broken, len(found.examples)) == (20, MAX_EXAMPLES)


def hour(judging: Judge, steps: int) -> int:
    """Two clients for a long time; the most that the judge had to keep, in things."""
    most = 0
    for n in range(steps):
        outcome = "owed" if n % 3 == 0 else "kept"
        judging.add(
            [
                write(n, n + 0.2, n, outcome=outcome, worker=n),
                write(n + 0.3, n + 0.4, n, item="b", **GONE),
                read(n + 0.5, n, worker=n, rendering=str(n)),
                read(n + 0.5, n, page=f"lists/{n % 5}", versions=(("b", n),), rendering=str(n)),
                Mark(before=(n + 1) * SECOND),
            ]
        )
        most = max(most, size_of(judging))
    return most


def size_of(judging: Judge) -> int:
    kept = sum(map(len, judging._kept.values())) + len(judging._kept)
    seen = sum(map(len, judging._seen.values())) + len(judging._seen)
    excuses = sum(map(len, judging._excuses._open.values()))
    return kept + seen + excuses + judging.pending + len(judging._last)


def test_a_long_history_needs_no_more_memory_than_a_short_one() -> None:
    judging = Judge(BREAKS)
    assert hour(judging, 3 * MAX_OPEN) <= MAX_OPEN + 40
    verdict = judging.verdict()
    assert not any(finding.broken for finding in verdict.findings)
    assert verdict[Promise.RESURRECTION].checks > MAX_OPEN


def test_a_timeline_forgets_only_what_makes_it_milder() -> None:
    line: Timeline[int] = Timeline()
    for n in range(3 * MAX_STEPS):
        line.add(n, n, n)
    assert len(line) <= MAX_STEPS
    for n in range(1, 3 * MAX_STEPS, 97):
        found = line.before(n)
        assert found is None or found[0] < n
    assert line.before(3 * MAX_STEPS) == (3 * MAX_STEPS - 1, 3 * MAX_STEPS - 1)
