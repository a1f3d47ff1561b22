"""The benchmark under web servers counts right, and says what it does not know."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.web import cores, cpu, parts, plot, proof, rounds, tables, wrk
from benchmarks.web.__main__ import main
from benchmarks.web.groups import Group, Opened, Ready
from benchmarks.web.rounds import Pace, Run
from benchmarks.web.subjects import (
    FLOOR,
    GOALS,
    SERVERS,
    UVICORN,
    Subject,
    all_of,
)
from benchmarks.web.tables import Measured

SAID = """Running 2s test @ http://127.0.0.1:16000/items/7
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.25ms    1.20ms  20.11ms   90.10%
    Req/Sec    14.54k   820.12    15.90k    80.00%
  Latency Distribution
     50%  843.00us
     75%    2.60ms
     90%    3.10ms
     99%    1.02s
  28931 requests in 2.00s, 285.31MB read
Requests/sec:  14460.05
Transfer/sec:    142.60MB
"""
MEMORY = "pagegen, memory"


# What wrk says ------------------------------------------------------------------------------


def test_what_wrk_prints_becomes_figures_in_milliseconds() -> None:
    assert wrk.parse(SAID) == wrk.Load(28931, 14460.05, 0.843, 1020.0)


@pytest.mark.parametrize(
    "line",
    ["  Non-2xx or 3xx responses: 3", "  Socket errors: connect 0, read 1, write 0, timeout 0"],
)
def test_a_run_with_one_wrong_answer_is_no_run(line: str) -> None:
    with pytest.raises(wrk.WrongAnswersError, match=line.strip()):
        wrk.parse(f"{SAID}{line}\n")


def test_words_that_say_nothing_are_no_run() -> None:
    with pytest.raises(wrk.WrongAnswersError, match="no word"):
        wrk.parse("")


def test_the_client_sends_what_a_browser_does_and_its_host_once() -> None:
    line = wrk.command("http://127.0.0.1:1/", 2.0, ())
    sent = [line[place + 1] for place, word in enumerate(line) if word == "-H"]
    assert "Host: shop.example" in sent  # in other letters, wrk would add its own
    assert len(sent) == len({each.partition(":")[0].lower() for each in sent}) == 12


def test_without_wrk_there_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wrk.shutil, "which", lambda _: None)
    assert main(["--quick"]) == 1
    assert "sudo apt-get install wrk" in capsys.readouterr().err


# Shares, noise and goals --------------------------------------------------------------------


def ready(name: str, group: Any = "pagegen", store: str = "memory") -> Ready:
    up: Any = SimpleNamespace(logged=lambda: "nothing")
    return Ready(Subject(name, group, store), up, ())


def run(per_second: float, cpu_us: float = 50.0) -> Run:
    return Run(wrk.Load(1000, per_second, 1.0, 2.0), cpu_us, 0.0)


def measured(
    others: list[Ready], turn: Callable[[str], Run], count: int = 3
) -> tuple[Measured, Opened]:
    opened = Opened([ready(FLOOR, "floor"), *others], {}, {})
    group = Group(UVICORN.name, UVICORN, ())
    results = rounds.measure(group, opened, Pace(1, count), lambda each: turn(each.subject.name))
    return Measured(group, results, opened.missing, opened.failed), opened


def test_a_share_is_of_the_floor_before_and_after() -> None:
    runs = iter([100.0, 90.0, 200.0] * 3)  # floor, subject, floor
    found, _ = measured([ready(MEMORY)], lambda _: run(next(runs)))
    result = found.result(MEMORY)
    assert result is not None
    assert result.shares == [0.6] * 3
    assert (result.share.median, result.share.noise) == (0.6, 0.0)


def test_the_share_by_processor_time_is_the_floors_over_the_subjects() -> None:
    times = iter([40.0, 100.0, 60.0] * 3)
    found, _ = measured([ready(MEMORY)], lambda _: run(100.0, next(times)))
    result = found.result(MEMORY)
    assert result is not None
    assert result.cpu_share is not None
    assert result.cpu_share.median == 0.5


def test_the_floor_runs_between_every_few_and_the_order_changes() -> None:
    seen: list[str] = []

    def turn(name: str) -> Run:
        seen.append(name)
        return run(100.0)

    others = [ready(f"s{number}") for number in range(6)]
    measured(others, turn, 2)
    assert len(seen) == rounds.runs_in(7, 2)
    first, second = seen[:9], seen[9:]
    floors_at = [place for place, name in enumerate(first) if name == FLOOR]
    assert floors_at == [0, 5, 8]
    assert sorted(first) == sorted(second)
    assert first != second


def test_a_share_that_is_too_noisy_is_measured_once_more() -> None:
    speeds = iter([50.0, 100.0, 150.0, 80.0, 80.0, 80.0])
    found, _ = measured([ready(MEMORY)], lambda n: run(100.0 if n == FLOOR else next(speeds)))
    result = found.result(MEMORY)
    assert result is not None
    assert (result.shares, result.share.noisy) == ([0.8] * 3, False)


def test_a_share_that_stays_too_noisy_is_no_figure_and_reaches_nothing() -> None:
    speeds = iter([90.0, 100.0, 150.0] * 2)
    found, _ = measured([ready(MEMORY)], lambda n: run(100.0 if n == FLOOR else next(speeds)))
    goals, table = tables.all_tables([found])
    assert table.rows[1][:3] == (MEMORY, "too noisy", "15.0%")
    assert goals.rows[0][-1] == "too noisy"
    [group] = tables.document([found])
    assert "median" not in group["subjects"][1]["share"]


def test_a_share_that_is_too_noisy_and_always_below_its_goal_misses_it() -> None:
    speeds = iter([40.0, 60.0, 90.0] * 2)
    found, _ = measured([ready(MEMORY)], lambda n: run(100.0 if n == FLOOR else next(speeds)))
    goals = tables.goals([found])
    assert goals is not None
    assert goals.rows[0][-1] == "NO"


@pytest.mark.parametrize(("speed", "reached"), [(95.0, "yes"), (94.9, "NO")])
def test_a_goal_is_reached_or_not(speed: float, reached: str) -> None:
    found, _ = measured([ready(MEMORY)], lambda n: run(100.0 if n == FLOOR else speed))
    goals = tables.goals([found])
    assert goals is not None
    assert [row[-1] for row in goals.rows] == [reached]


def test_pagegen_on_memcached_is_compared_with_the_best_peer_there() -> None:
    speeds = {FLOOR: 100.0, "pagegen, memcached + near": 60.0, "a": 10.0, "b": 25.0, "c": 90.0}
    peers = [ready("a", "peer", "memcached"), ready("b", "peer", "memcached")]
    others = [ready("pagegen, memcached + near", store="memcached"), *peers, ready("c", "peer")]
    found, _ = measured(others, lambda name: run(speeds[name]))
    goals = tables.goals([found])
    assert goals is not None
    name, goal, share, _, reached = goals.rows[-1]
    assert (name, goal, reached) == ("uvicorn, pagegen, memcached + near / b", "≥ 3.00", "NO")
    assert share.median == pytest.approx(2.4)  # type: ignore[union-attr]


def test_every_goal_is_about_something_that_is_measured() -> None:
    there = {(server.name, each.name) for server in SERVERS for each in all_of(server)}
    assert set(GOALS) <= there


def test_names_are_given_once_in_each_group() -> None:
    for group in parts.groups(parts.NAMES, ()):
        names = [subject.name for subject in group.subjects]
        assert len(names) == len(set(names)), group.title
        assert names[0] == FLOOR


def wrong_for(name: str) -> Callable[[str], Run]:
    def turn(asked: str) -> Run:
        if asked == name:
            raise proof.NoHitError("it ran")
        return run(100.0)

    return turn


def test_what_a_peer_does_wrong_is_said_and_the_others_are_measured() -> None:
    found, opened = measured([ready("peer", "peer"), ready(MEMORY)], wrong_for("peer"))
    assert [each.ready.subject.name for each in found.results] == [FLOOR, MEMORY]
    assert "it ran" in opened.failed["peer"]
    table = tables.table(found)
    assert table.rows[-1][:2] == ("peer", "missing")
    assert "it ran" in table.notes[0]


@pytest.mark.parametrize("name", [FLOOR, MEMORY])
def test_what_floor_or_pagegen_do_wrong_stops_the_run(name: str) -> None:
    with pytest.raises(proof.NoHitError, match=f"{name}: it ran; its log: nothing"):
        measured([ready(MEMORY)], wrong_for(name))


# The processor ------------------------------------------------------------------------------

# A child burns the processor and says what the kernel told it; its parent burns nothing.
BURN = """
import os, resource, sys
def burn():
    while sum((u := resource.getrusage(resource.RUSAGE_SELF))[:2]) < 0.3: pass
    print(u.ru_utime + u.ru_stime, flush=True)
child = os.fork()
if not child: burn()
sys.stdin.read()
if child: os.wait()
"""


def test_the_time_of_a_server_is_that_of_all_its_processes() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        burnt = float(process.stdout.readline())
        assert burnt <= cpu.seconds(process.pid) + 0.02  # two ticks of the kernel's clock
        assert cpu.seconds(process.pid) < burnt + 0.3
        process.stdin.close()
    assert cpu.seconds(process.pid) == 0.0


def test_nobody_elses_time_is_counted() -> None:
    everybody = {1: cpu._Process(0, 9.0), 5: cpu._Process(1, 1.0), 6: cpu._Process(5, 1.0)}
    assert cpu.family([5], everybody) == {5, 6}


@pytest.mark.parametrize(("ours", "server", "client"), [({3}, (), ()), ({2, 0, 5}, (0,), (5,))])
def test_server_and_client_are_never_on_one_core(
    monkeypatch: pytest.MonkeyPatch, ours: set[int], server: tuple[int], client: tuple[int]
) -> None:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: ours)
    chosen = cores.choose()
    assert (chosen.server, chosen.client) == (server, client)
    assert cores.pin(server) == (("taskset", "--cpu-list", "0") if server else ())
    assert ("Nothing is pinned" in chosen.said) is not bool(server)


# Picture and options ------------------------------------------------------------------------


def figures(*shares: dict[str, Any]) -> dict[str, Any]:
    subjects = [
        {"name": f"subject {number}", "group": "pagegen", "share": share}
        for number, share in enumerate(shares)
    ]
    group = {"part": "uvicorn", "server": "uvicorn", "title": "uvicorn", "subjects": subjects}
    machine = {"processor": "P", "python": "CPython"}
    circumstances = {"quick": False, "rounds": 5, "seconds": 2.0, "machine": machine}
    return {**circumstances, "groups": [group]}


def test_the_picture_has_a_bar_for_a_figure_and_words_for_noise(tmp_path: Path) -> None:
    steady = {"noisy": False, "noise": 0.01, "median": 0.914, "low": 0.9, "high": 0.92}
    said = figures(steady, {"noisy": True, "noise": 0.17})
    plot.draw(said, tmp_path / "one")
    plot.draw(said, tmp_path / "two")
    drawn = (tmp_path / "one.svg").read_text("utf-8")
    assert drawn == (tmp_path / "two.svg").read_text("utf-8")
    assert ">0.91<" in drawn
    assert ">too noisy (±17%)<" in drawn


def test_too_few_rounds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--rounds", "1"])
    assert "at least 2" in capsys.readouterr().err
