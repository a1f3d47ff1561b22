"""The benchmark runs and says what it found in the shape that others read. Nothing is timed."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import eviction, faces, growth, hits, invalidate, memory, phases
from benchmarks.__main__ import PARTS, main
from benchmarks.faces import Places
from benchmarks.floors import FRONTS, Front
from benchmarks.report import Table, document, text
from benchmarks.timing import MAX_NOISE, QUICK, Effort, Measured, Spread
from pagegen.glancing import Glance

STEADY = Spread(median=2.0, low=1.9, high=2.1, scale=2.0)
#: As little as can be: whether a table can be made, not what it says.
TINY = Effort(rounds=3, batch_ns=2_000, quick=True)
WILD = Spread(median=2.0, low=1.0, high=4.0, scale=2.0)
NOISES = Table("t", "T", "lead", ("what", "figure"), (("calm", STEADY), ("wild", WILD)))


def test_a_part_is_printed_and_written_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    assert main(["--quick", "--only", "rules", "--json", str(file)]) == 0
    said = json.loads(file.read_text(encoding="utf-8"))
    assert said["quick"] is True
    assert said["max_noise"] == MAX_NOISE
    [table] = said["tables"]
    assert table["name"] == "rules"
    assert {row[1] for row in table["rows"]} == {1, 100}
    for row in table["rows"]:
        assert len(row) == len(table["columns"])
        for figure in (row[2], row[4], row[6]):
            assert figure["noisy"] is ("median" not in figure)
    assert table["title"] in capsys.readouterr().out


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "speed"])
    refusal = capsys.readouterr().err
    assert all(name in refusal for name in PARTS)


def test_a_figure_that_is_too_noisy_is_not_printed() -> None:
    page = text([NOISES])
    calm, wild = (line.split() for line in page.splitlines()[-2:])
    assert calm == ["calm", "2.00"]
    assert wild == ["wild", "too", "noisy", "(±75%)"]


def test_a_figure_that_is_too_noisy_has_no_median_in_json() -> None:
    [table] = document([NOISES], QUICK, STEADY)["tables"]
    (_, calm), (_, wild) = table["rows"]
    assert calm == {"noise": 0.05, "noisy": False, "median": 2.0, "low": 1.9, "high": 2.1}
    assert wild == {"noise": 0.75, "noisy": True}


@pytest.mark.parametrize("front", FRONTS, ids=lambda front: str(front.name))
@pytest.mark.parametrize("variant", hits.VARIANTS, ids=lambda variant: str(variant.name))
def test_each_request_that_is_measured_does_what_its_row_says(
    front: Front, variant: hits.Variant
) -> None:
    measured = hits.case(front, variant)  # proves itself
    measured.floor()
    measured.subject()


def test_a_row_that_does_something_else_stops_the_benchmark() -> None:
    lying = hits.VARIANTS[0]._replace(counts="admitted")
    with pytest.raises(AssertionError, match="counted=0"):
        hits.case(FRONTS[0], lying)


@pytest.mark.parametrize("front", FRONTS, ids=lambda front: str(front.name))
def test_each_step_of_a_hit_can_be_called_by_itself(front: Front) -> None:
    prepared = phases.parts(front)
    for case in (*phases.steps(prepared), *phases.beside(prepared)):
        case.floor()
        case.subject()


def test_a_hit_that_takes_other_steps_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Glance, "page", lambda *_: None)
    with pytest.raises(AssertionError, match="no hit at a glance"):
        phases.parts(FRONTS[0])


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (STEADY, "Reached here: 2.00 µs, which are 2.00 loops of 1000 ns"),
        (STEADY.times(2.5), "NOT REACHED here: 5.00 µs"),
        (WILD, "NOT KNOWN: too noisy"),
    ],
    ids=["reached", "not reached", "noisy"],
)
def test_the_table_of_hits_says_whether_they_are_as_quick_as_they_should_be(
    extra: Spread, said: str
) -> None:
    assert said in hits.target(FRONTS[0], Measured(STEADY, extra, 1000.0))


@pytest.mark.parametrize("extra", [STEADY, WILD], ids=["steady", "noisy"])
def test_what_lies_between_the_steps_is_unknown_when_one_of_them_is(extra: Spread) -> None:
    names = ["one", phases.WHOLE, phases.AFRESH]
    results = {name: Measured(STEADY, STEADY, 1000.0) for name in names}
    results["one"] = Measured(STEADY, extra, 1000.0)
    rows = phases._rows(["one"], results)
    assert {len(row) for row in rows} == {5}
    assert rows[1][1] == ("too noisy" if extra is WILD else 0.0)


@pytest.mark.parametrize("what", [("pages", "WSGI", 1000, 1, 50), ("tokens", 200)], ids=str)
def test_what_is_counted_of_memory_is_about_what_is_taken(what: tuple[object, ...]) -> None:
    found = memory.weigh(*what)
    assert 0.5 < found["taken"] / found["counted"] < 1.5


def test_a_process_that_holds_pages_can_be_collected() -> None:
    assert memory.weigh("collection", 50)["tracked"] > 0


def test_forgetting_a_group_is_one_store_operation_for_any_number_of_slices() -> None:
    for slices in (10, 200):
        store = invalidate.CountingStore()
        cache = invalidate.filled(slices, store)
        assert invalidate.forgotten(cache, slices) == 0
        assert invalidate.operations(cache, store) == 1
        assert invalidate.forgotten(cache, slices) == invalidate.SAMPLE


def test_what_is_known_of_the_trace_comes_out_again() -> None:
    keys = eviction.trace()
    assert (len(keys), len(set(keys))) == (76_118, 20_484)
    assert round(eviction.infinite(keys), 1) == eviction.SAID_INFINITE
    assert round(eviction.lru(keys, 2_048), 1) == eviction.SAID_LRU[1]


def test_targets_of_the_lengths_that_are_weighed_are_remembered() -> None:
    from benchmarks.memory import TARGETS
    from benchmarks.weigh import targets

    for length in TARGETS:
        assert targets(length)["entries"] > 0


def test_the_tables_of_growth_have_a_row_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "QUICK_PAGES", (20, 60))
    monkeypatch.setattr(growth, "QUICK_ASKED", 30)
    found = {table.name: table for table in growth.tables(TINY)}
    assert {name: [row[0] for row in table.rows] for name, table in found.items()} == {
        "growth-namespaces": ["ASGI, 1", "ASGI, 16", "WSGI, 1", "WSGI, 16"],
        "growth-bodies": ["ASGI, 1 kB", "ASGI, 1,000 kB", "WSGI, 1 kB", "WSGI, 1,000 kB"],
        "growth-pages": ["memory, 20", "memory, 60", "LMDB, 20", "LMDB, 60"],
    }
    for table in found.values():
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert text([table]).startswith(table.title)


def test_a_store_with_fewer_pages_than_its_row_says_stops_the_benchmark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(growth, "fill", lambda *_: None)
    with ExitStack() as stack, pytest.raises(AssertionError, match="50 pages: kept=20"):
        growth.filled(faces.FACES[0], Places(stack), stack, 50, 20)


def test_misses_are_timed_with_the_collector_and_without() -> None:
    found = [memory.pauses(5_000, way) for way in ("off", "automatic")]
    assert found[0]["full"] == []
    assert found[1]["full"]
    for run in found:
        assert 0 < run["p50"] <= run["p99"] <= run["p999"] <= run["longest"]
        assert len(list(memory._waits([run, run]))) == 6
