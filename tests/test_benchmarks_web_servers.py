"""The benchmark under web servers starts real ones, proves them, and leaves none behind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from benchmarks.web import cores, cpu, groups, proof, versions
from benchmarks.web.__main__ import main
from benchmarks.web.groups import Ground, Group, Opened
from benchmarks.web.pages import Calls
from benchmarks.web.processes import NotStartedError, started
from benchmarks.web.subjects import (
    FLOOR,
    GUNICORN,
    UVICORN,
    Subject,
    floors,
    pagegens,
    proxies,
)

MEMORY = "pagegen, memory"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def opened(stack: ExitStack, *subjects: Subject, server: Any = UVICORN, size: int = 10) -> Opened:
    ground = Ground(stack, cores.Cores())
    return groups.opened(ground, stack, Group(server.name, server, subjects, size))


def test_an_application_that_runs_for_every_request_is_refused_as_no_hit(stack: ExitStack) -> None:
    liar = Subject("pagegen, liar", "pagegen", "memory", target="benchmarks.web.pages:asgi_counted")
    with pytest.raises(proof.NoHitError, match=r"liar: /items/7 is no hit .* ran 1 times more"):
        opened(stack, liar)


def test_an_application_that_cannot_be_imported_is_refused_with_its_log(stack: ExitStack) -> None:
    wrong = Subject("floor", "floor", target="benchmarks.web.pages:nothing")
    with pytest.raises(NotStartedError, match='Attribute "nothing" not found'):
        opened(stack, wrong)


def test_others_that_do_not_start_are_left_out_with_their_log(stack: ExitStack) -> None:
    peer = Subject("peer", "peer", target="benchmarks.web.pages:nothing")
    absent = Subject("absent", "peer", target="x:y", distribution="no-such-distribution")
    floor, _ = floors("wsgi")
    found = opened(stack, floor, peer, absent, server=GUNICORN)
    assert [each.subject for each in found.ready] == [floor]
    assert "nothing" in found.failed["peer"]
    assert found.missing["absent"].startswith("no-such-distribution is not installed")


def test_proxies_are_proven_and_end_with_all_their_processes() -> None:
    with ExitStack() as stack:
        found = opened(stack, floors("asgi")[0], *proxies(), size=1)
        assert len(found.ready) == 3
        pids = cpu.family([pid for each in found.ready for pid in each.pids], cpu._all())
        assert len(pids) >= 7  # nginx and varnishd have children, and a server behind them
    until(lambda: not any(runs(str(pid)) for pid in pids))


@pytest.mark.parametrize("server", [UVICORN, GUNICORN], ids=lambda server: str(server.name))
def test_a_hit_has_the_header_lines_of_the_floor(server: Any, stack: ExitStack) -> None:
    memory = next(pagegens(server.kind))
    found = opened(stack, floors(server.kind)[0], memory, server=server)
    sent = [proof.page(each.up.port, 10_000) for each in found.ready]
    assert len(sent) == 2
    with pytest.raises(proof.NoHitError, match="change HIT"):
        groups.same_as_floor(memory, {FLOOR: ["age"], MEMORY: ["age", "vary"]})


def test_what_a_server_started_and_left_behind_ends_with_it(tmp_path: Path) -> None:
    with started(("sh", "-c", "sleep 600 & echo $!; wait"), 1, tmp_path, {}) as up:
        until(lambda: up.logged().isdigit())
        pid = up.logged()
        until(lambda: runs(pid))
    until(lambda: not runs(pid))


def runs(pid: str) -> bool:
    """Whether it runs; one that waits to be reaped has no command line any more."""
    try:
        return bool(Path("/proc", pid, "cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(happened: Callable[[], bool]) -> None:
    end = monotonic() + 10
    while not happened():
        assert monotonic() < end


def test_a_page_of_another_size_is_refused(stack: ExitStack) -> None:
    found = opened(stack, floors("asgi")[0])
    with pytest.raises(proof.NoHitError, match="10000 bytes, not 1000"):
        proof.page(found.ready[0].up.port, 1000)


def test_more_misses_than_one_in_a_hundred_are_no_hits() -> None:
    proof.stayed(5, 15, 1000)
    with pytest.raises(proof.NoHitError, match="11 of 1000"):
        proof.stayed(5, 16, 1000)


def test_processes_that_count_in_one_file_count_together(tmp_path: Path) -> None:
    one, other = (Calls(str(tmp_path / "calls")) for _ in range(2))
    child = os.fork()
    if not child:
        one.add()
        os._exit(0)
    os.waitpid(child, 0)
    other.add()
    assert (one.number, other.number, Calls("").number) == (2, 2, 0)


# The whole ----------------------------------------------------------------------------------


@pytest.mark.alone
def test_a_tiny_run_prints_writes_and_draws_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, picture = tmp_path / "more" / "figures.json", tmp_path / "picture"
    little = ("--only", "uvicorn", "--subject", MEMORY, "--seconds", "0.3", "--rounds", "2")
    assert main([*little, "--json", str(file), "--plot", str(picture)]) == 0
    page = capsys.readouterr().out
    assert "To reach" in page
    assert MEMORY in page
    said = json.loads(file.read_text("utf-8"))
    assert said["versions"]["wrk"] == versions._program("wrk") != ""
    [group] = said["groups"]
    floor, subject = group["subjects"]
    assert (floor["name"], subject["name"], subject["goal"]) == (FLOOR, MEMORY, 0.95)
    for each in (floor, subject):
        assert len(each["runs"]) >= 2
        assert all(one["requests"] > 0 and one["cpu_us"] > 0 for one in each["runs"])
    assert all(share > 0 for share in subject["shares"])
    assert picture.with_suffix(".png").stat().st_size > 10_000
