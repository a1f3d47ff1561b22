"""The checker itself: what it must find, and what it must let pass."""

from __future__ import annotations

import pytest

from tests.coherence.history import History, Read, Stale, Write


def test_an_empty_history_is_good() -> None:
    assert History().stale() == []


@pytest.mark.parametrize(
    ("version", "sent", "good"),
    [
        (1, 99, True),  # sent before the answer was there
        (1, 100, True),  # at the same moment: nobody can say which was first
        (1, 101, False),
        (2, 101, True),
        (3, 101, True),  # newer than anything acknowledged
        (0, 5000, False),
    ],
)
def test_a_page_is_held_against_what_was_acknowledged_before_it_was_asked_for(
    version: int, sent: int, good: bool
) -> None:
    write = Write(item=7, version=2, answered=100)
    read = Read(item=7, version=version, sent=sent)
    found = History([read], [write]).stale()
    assert found == ([] if good else [Stale(read, write)])


def test_the_newest_version_counts_whatever_the_order_of_the_answers() -> None:
    writes = [Write(1, 5, answered=200), Write(1, 6, answered=100), Write(1, 4, answered=300)]
    reads = [Read(1, 5, sent=150), Read(1, 5, sent=400), Read(1, 6, sent=400)]
    found = History(reads, writes).stale()
    assert [(stale.read.sent, stale.write.version) for stale in found] == [(150, 6), (400, 6)]


def test_items_have_nothing_to_do_with_each_other() -> None:
    assert History([Read(2, 1, sent=500)], [Write(1, 9, answered=1)]).stale() == []


def test_what_was_not_acknowledged_binds_the_worker_that_owes_it() -> None:
    writes = [Write(1, 2, answered=100, worker=11), Write(1, 3, answered=300)]
    reads = [
        Read(1, 1, sent=150, worker=11),
        Read(1, 2, sent=150, worker=11),
        Read(1, 1, sent=150, worker=12),
        Read(1, 2, sent=350, worker=12),  # the next write was acknowledged
    ]
    found = History(reads, writes).stale()
    assert [stale.read for stale in found] == [reads[0], reads[3]]
    assert str(found[0]).endswith("after version 2 was owed by the same worker")


def test_histories_of_several_clients_are_read_as_one() -> None:
    whole = History()
    whole.add(History([], [Write(1, 2, answered=10)]))
    whole.add(History([Read(1, 1, sent=11, how="hit")], []))
    (stale,) = whole.stale()
    assert str(stale) == (
        "item 1: version 1 (hit), asked for 0.00 ms after version 2 was acknowledged"
    )
