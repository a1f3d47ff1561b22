"""The benchmark of the stores compares like with like, and says what it could not measure."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bare, faces, filling, invalidate, servers, stores, verbs
from benchmarks.bare import Ground, Pipeline
from benchmarks.faces import BARE, FACES, HIT, Face, Open, Places
from benchmarks.floors import WSGI
from benchmarks.report import text
from benchmarks.timing import QUICK, Effort
from benchmarks.turns import Group, Turns, take_turns
from pagegen.stepping import step

SIZES = (10,)
#: As little as can be: whether a table can be made, not what it says.
TINY = Effort(rounds=3, batch_ns=2_000, quick=True)
#: The stores as they are without an event loop.
BLOCKING = ("memory", "LMDB", "memcached", "Redis")
FACE = pytest.mark.parametrize("face", FACES, ids=lambda face: f"{face.front.name} {face.name}")


@pytest.fixture
def ground() -> Iterator[Ground]:
    with ExitStack() as stack:
        yield Ground(stack)


def opened(ground: Ground, face: Face) -> Open:
    return faces.opened(ground, Places(ground.stack), face, SIZES)


@pytest.mark.alone
@FACE
def test_a_hit_and_a_bare_get_of_the_same_keys_can_be_called(ground: Ground, face: Face) -> None:
    found = opened(ground, face)  # proves itself
    for many in (False, True) if face.front is not WSGI else (False,):
        for timed in faces.group(found, 10, many=many).timed.values():
            assert timed(3) > 0
    for part in faces.split(found, 10):
        for each in part.timed.values():
            assert each(3) > 0
    for subject in verbs.subjects(found):  # proves itself
        timed = verbs.group(subject).timed
        for name in (verbs.FLOOR, verbs.INVALIDATE):
            assert timed[name](3) > 0
        for kind in verbs.KINDS:
            before = subject.cache(kind).statistics()[kind.counts]
            assert timed[kind.name](3) > 0
            assert subject.cache(kind).statistics()[kind.counts] == before + 3
    assert found.strayed(found.cache) == 0.0


def test_a_kind_of_request_that_does_something_else_stops_the_benchmark(ground: Ground) -> None:
    subject = next(verbs.subjects(opened(ground, FACES[0])))
    with pytest.raises(AssertionError, match="304: counted=1 status=304"):
        verbs.prove(subject, verbs.KINDS[1]._replace(status=200))
    with pytest.raises(AssertionError, match="miss: counted=0"):
        verbs.prove(subject, verbs.KINDS[2]._replace(ask=verbs.KINDS[3].ask, fresh=False))


def test_parts_of_a_hit_and_other_requests_have_tables(ground: Ground) -> None:
    found = [opened(ground, FACES[0]), opened(ground, FACES[1])]
    rounds = verbs.table(WSGI, found, 3)
    parts = stores._split(TINY, WSGI, found)
    for table in (rounds, parts):
        assert [row[0] for row in table.rows] == ["memory", "LMDB", "LMDB, near"]
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert text([table]).startswith(table.title)


def test_what_a_hit_takes_is_split_into_the_get_the_store_and_the_rest() -> None:
    turns = Turns({BARE: [1000.0] * 4, faces.READ: [3000.0] * 4, HIT: [8000.0] * 4})
    hit, get, besides, rest, share = stores._parts(turns)
    assert [cell.median for cell in (hit, get, besides, rest)] == [8.0, 1.0, 2.0, 5.0]
    assert share == "62%"


def test_forgetting_a_group_is_tried_on_every_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invalidate, "QUICK_SIZES", (10, 30))
    monkeypatch.setattr(invalidate, "_GLANCE", 2)
    table = invalidate._stores(TINY)
    names = [f"{name}, {size}" for name in BLOCKING for size in (10, 30)]
    assert [row[0] for row in table.rows] == names
    assert {row[-1] for row in table.rows} == {"10 of 10"}
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_a_group_that_its_store_has_no_room_for_stops_the_benchmark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(invalidate, "_ROOM", "100KiB")
    with ExitStack() as stack, pytest.raises(AssertionError, match="10 pages: the sample is"):
        invalidate.grouped(FACES[0], Places(stack), stack, (10, 1_000))


@pytest.mark.parametrize("face", FACES[2:4], ids=lambda face: str(face.name))
def test_pages_that_fill_a_server_are_pages_to_their_store(
    ground: Ground, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(ground, face)
    page, _ = faces.page_of(found.cache, 10)
    slots = [b"%20d" % number for number in range(3)]
    monkeypatch.setattr(filling, "_slots", iter(slots))
    monkeypatch.setattr(filling, "CHUNK", 2)
    place = found.cache.configuration.settings.store.partition("//")[2].partition("?")[0]
    filling.fill(found.cache, page, 3, face.program, place.partition("/")[0])
    for slot in slots:
        kept = step(found.cache.engine.store.read(slot, ())).page
        assert kept is not None
        assert (kept.key, kept.body) == (page.key, page.body)


def test_a_bare_get_that_finds_nothing_stops_the_benchmark(ground: Ground) -> None:
    face = FACES[0]._replace(floor=lambda ground, place, held: bare.memory(ground, place, {}))
    with pytest.raises(AssertionError, match="finds something else"):
        opened(ground, face)


def test_requests_that_are_no_hits_stop_the_benchmark(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(ground, FACES[0])
    step(found.cache.engine.store.replace_tokens({"item:10": b"another"}, 60.0))
    with pytest.raises(AssertionError, match="counted=0"):
        faces.prove(found, 10)


def test_a_store_that_fails_while_it_is_measured_gets_no_figure(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(ground, FACES[0])

    async def failing(*_: Any) -> Any:
        raise OSError("late")

    turns = Turns({BARE: [1000.0] * 4, HIT: [2000.0] * 4})
    row = stores.Row(found, Group("row", {}, ((HIT, BARE),), 1), turns)
    bare_us, hit_us, ratio = stores._cells(row, turns.us)[:3]
    assert (bare_us, hit_us, ratio.median) == (1.0, 2.0, 2.0)
    monkeypatch.setattr(found.cache.engine.glance, "_read", None)
    monkeypatch.setattr(found.cache.engine.store, "read", failing)
    faces.call_of(WSGI, found.cache, 10)()
    assert found.strayed(found.cache) > stores.MAX_STRAYS
    assert stores._cells(row, turns.us)[1:3] == ("no hits", "no hits")
    [note] = stores._strays([found])
    assert note.startswith("memory: 25.00% of the requests")


def test_a_server_that_is_not_installed_is_missed_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers.shutil, "which", lambda _: None)
    monkeypatch.setattr(faces, "FACES", FACES[:1] + FACES[2:3])
    monkeypatch.setattr(stores, "_GLANCE", (2, 2))
    table = next(stores.tables(QUICK))
    assert [row[0] for row in table.rows] == ["memory, 10 kB", "memcached: NOT MEASURED"]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert "apt-get install memcached" in table.notes[0]


@pytest.mark.parametrize("program", ["memcached", "redis-server"])
def test_a_server_ends_with_the_benchmark(program: str) -> None:
    with servers.serving(program) as place:
        host, _, port = place.partition(":")
        socket.create_connection((host, int(port)), 5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 5)


def test_a_port_that_is_taken_is_not_mistaken_for_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(servers._COMMANDS, "memcached", ("false",))
    with pytest.raises(RuntimeError, match="does not start"), servers.serving("memcached"):
        pytest.fail("nothing runs")


def test_replies_come_out_whole_wherever_they_are_cut(ground: Ground) -> None:
    replies = b"VALUE a 0 5\r\nEND\r\n\r\nVALUE b 0 0\r\n\r\nEND\r\nEND\r\n"

    class Quiet:
        def write(self, _line: bytes) -> None: ...

    async def asked(at: int) -> list[Any]:
        pipeline = Pipeline()
        pipeline.connection_made(Quiet())
        waiting = [pipeline.get(b""), pipeline.get(b"")]
        pipeline.data_received(replies[:at])
        pipeline.data_received(replies[at:])
        return [future.result() for future in waiting]

    for at in range(len(replies)):
        assert ground.runner.run(asked(at)) == [{b"a": b"END\r\n", b"b": b""}, {}]


def test_ratios_are_of_the_same_round_and_noisy_ones_are_measured_again() -> None:
    # One call to find a batch's size, two in each round; the second time all rounds are alike.
    speeds = iter([50.0, *[50.0, 50.0, 450.0, 450.0] * 2, *[150.0] * 9])

    def floor(_times: int) -> float:
        return next(speeds)

    calm = Group("calm", {"hit": lambda _: 30.0, "bare": lambda _: 10.0}, (("hit", "bare"),), 100)
    wild = Group("wild", {"bare": floor, "hit": lambda _: 100.0}, (("hit", "bare"),), 100)
    results = take_turns([calm, wild], 4)
    assert results["calm"].ratio("hit", "bare").median == 3.0
    assert results["calm"].per_second("bare").median == 1e8
    again = results["wild"].ratio("hit", "bare")
    assert (again.median, again.noise) == (pytest.approx(2 / 3), 0.0)
    assert next(speeds, None) is None
