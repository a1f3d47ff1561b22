"""The replay sends what its trace says, and finds an old page where there is one."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from benchmarks.replay import __main__ as command
from benchmarks.replay import client, mix, run, tables
from benchmarks.replay.client import Answer, Jar, replay, signed_in
from benchmarks.replay.judging import Found, compared, is_hit, judged
from benchmarks.replay.mix import ACTIONS, Place, Step, counts, sequences, shares, weights
from benchmarks.replay.run import Figures, Plan
from benchmarks.replay.serving import MISTAKES, Server, Variant, load_database, place_of, serving

PLACE = Place([f"p{n}" for n in range(200)], ["testing", "forms"], range(1, 61))
RULES = ",".join(MISTAKES[1:])


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return load_database(tmp_path_factory.mktemp("replay"))


# What is sent


@pytest.mark.parametrize("number", [200, 1_000, 6_001, 100_000])
def test_a_sequence_has_the_shares_of_the_trace(number: int) -> None:
    there, [steps] = counts(), sequences(PLACE, [number], 1)
    sent = Counter(step.action for step in steps)
    assert len(steps) == number
    assert set(sent) <= set(there)
    for name, count in there.items():
        assert abs(sent[name] - number * count / sum(there.values())) < 1, name


def test_the_shares_are_those_that_the_trace_states() -> None:
    sent = shares(100_000)
    for line in (mix.DATA / "lobsters-requests.dat").read_text(encoding="ascii").splitlines():
        _, percent, method, path = line.split()
        assert abs(sent[f"{method} {path}"] / 1000 - float(percent.rstrip("%"))) <= 0.0015
    writes = sum(number for name, number in sent.items() if name.startswith("POST"))
    assert writes == pytest.approx(1_710, abs=2)


def test_every_kind_of_the_trace_has_a_route_and_is_sent_there() -> None:
    assert set(ACTIONS) == set(counts())
    [steps] = sequences(PLACE, [40_000], 1)
    for step in steps:
        method, _, route = ACTIONS[step.action].route.partition(" ")
        pattern = re.sub(r"\\\{\w+\\\}", "[a-z0-9-]+", re.escape(route))
        assert (step.method, bool(re.match(pattern, step.target))) == (method, True)


def test_the_same_seed_sends_the_same_and_another_one_something_else() -> None:
    assert sequences(PLACE, [300, 300], 1) == sequences(PLACE, [300, 300], 1)
    assert sequences(PLACE, [300], 1) != sequences(PLACE, [300], 2)
    first, second = sequences(PLACE, [4_000, 4_000], 1)
    names = [step.body for step in (*first, *second) if step.target == "/submit"]
    assert len(names) == len(set(names)) > 2


@pytest.mark.parametrize(
    ("name", "width"),
    [("votes_per_story", 10), ("comments_per_story", 10), ("votes_per_user", 100)],
)
def test_what_is_popular_is_spread_as_in_the_files(name: str, width: int) -> None:
    lines = (mix.DATA / f"lobsters-{name}.dat").read_text(encoding="ascii").splitlines()
    bins = [(int(low), int(count)) for low, count in map(str.split, lines)]
    whole = sum(count for _, count in bins)
    found = weights(name, 20_000)
    said = sum((low + width / 2) * count for low, count in bins) / whole
    assert mean(found) == pytest.approx(said, rel=0.01)
    among = Counter(int(weight // width) * width for weight in found)
    for low, count in bins:
        assert among[low] / 20_000 == pytest.approx(count / whole, abs=1e-4)


def test_who_votes_much_acts_much_and_what_is_voted_for_is_read() -> None:
    [steps] = sequences(PLACE, [60_000], 1)
    users = Counter(step.user for step in steps)
    votes = weights("votes_per_user", 60)
    assert max(users.values()) / 60_000 == pytest.approx(max(votes) / sum(votes), rel=0.1)
    reads = Counter(step.target for step in steps if step.action == "GET /stories/X")
    stories = weights("votes_per_story", 200)
    share = max(stories) / sum(stories)
    assert max(reads.values()) / sum(reads.values()) == pytest.approx(share, rel=0.15)


# Whether a page was old


def read(target: str, user: int, sent: int, version: int, status: int = 200) -> Answer:
    head = f"HTTP/1.1 {status} OK\r\nX-Replayed-Version: package:p={version}\r\n"
    head += "Cache-Status: pagegen; hit; ttl=9\r\n"
    return Answer(Step("", "GET", target, user), sent, sent + 5, status, head.encode(), b"")


def vote(user: int, sent: int, status: int = 303) -> Answer:
    step = Step("", "POST", "/packages/p/vote", user, b"", ("package:p", "catalogue"))
    return Answer(step, sent, sent + 5, status, b"", b"")


def test_a_page_from_before_a_write_that_was_answered_is_old() -> None:
    good = judged([vote(1, 10), read("/packages/p", 2, 20, 1)])
    assert (good.stale, good.wrong) == (0, 0)
    assert good.checks > 0
    # Asked for while the write was under way: it may have come first.
    assert judged([vote(1, 10), read("/packages/p", 2, 12, 0)]).stale == 0
    old = judged([vote(1, 10), read("/packages/p", 2, 20, 0)])
    assert old.stale == 1
    assert "package:p: version 0 on /packages/p (hit)" in old.said[0]
    assert judged([vote(1, 10), vote(1, 20), read("/packages/p", 2, 30, 1)]).stale == 1
    assert judged([read("/packages/p", 2, 10, 3), read("/packages/p", 2, 20, 2)]).stale == 1


def test_an_answer_that_is_a_failure_is_told() -> None:
    assert judged([read("/packages/p", 2, 20, 0, status=500)]).wrong == 1
    assert judged([vote(1, 10, status=422)]).wrong == 1


# The real demo

LISTS = ["/", "/?sort=newest", "/packages/flask", "/users/7/favorites"]
WRITES = [
    Step("", "POST", "/packages/flask/vote", 7, b"next=/users", ("package:flask", "catalogue")),
    Step(
        *("", "POST", "/users/me/favorites/flask", 7, b"next=/users"),
        writes=("package:flask", "list:7"),
        needs_user=True,
    ),
]
READS = [Step("", "GET", target, 7) for target in LISTS]
NEW = Step(
    *("", "POST", "/submit", 7),
    b"name=Replayed&url=https://example.org/&category=testing&licence=MIT",
    writes=("catalogue",),
)
BY_HAND = [*READS, *WRITES, *READS]


def test_no_page_of_the_demo_is_old_without_pagegen_and_with_it(database: Path) -> None:
    whole = place_of(database)
    place = Place(whole.packages[:8], whole.categories[:4], whole.users[:6])
    [steps] = sequences(place, [200], 1)
    rendered = {}
    for variant in (Variant(), Variant("memory"), Variant("LMDB", 2)):
        with serving(variant, database) as server:
            jar = signed_in(server.port, place.users)
            began = server.counted()
            done = replay(server.port, steps, visitors=6, jar=jar)
            ended = server.counted()
            found = judged(done.answers)
            if variant.store:
                found = found.plus(compared(server, steps, 6))
        assert (found.stale, found.wrong, found.said) == (0, 0, [])
        assert found.checks > 200
        assert Counter(answer.step for answer in done.answers) == Counter(steps)
        rendered[variant.store] = ended.renderings - began.renderings
        assert ended.queries - began.queries > rendered[variant.store]
        hits = sum(map(is_hit, done.answers))
        assert hits + rendered[variant.store] <= len(done.answers)
        assert bool(hits) is bool(variant.store)
    assert rendered[""] == sum(step.method == "GET" for step in steps)
    assert rendered["memory"] < rendered[""] / 2
    assert rendered["LMDB"] < rendered[""]  # a busy machine's store is late, and keeps less


@pytest.fixture(scope="module")
def sound(database: Path) -> Iterator[Server]:
    with serving(Variant("memory"), database) as server:
        yield server


def test_a_cache_that_is_right_is_not_accused(sound: Server) -> None:
    jar = signed_in(sound.port, [7])
    # The favourite comes and goes.
    steps = [*BY_HAND, *WRITES[1:] * 2, NEW, *READS]
    done = replay(sound.port, steps, visitors=1, jar=jar)
    found = judged(done.answers).plus(compared(sound, steps, 1))
    assert (found.stale, found.wrong) == (0, 0)
    assert found.checks > 2 * len(LISTS)


@pytest.mark.parametrize("mistake", ["deaf", RULES])
def test_a_cache_that_is_wrong_is_found_out(mistake: str, database: Path) -> None:
    with serving(Variant("memory", 1, mistake), database) as server:
        jar = signed_in(server.port, [7])
        done = replay(server.port, BY_HAND, visitors=1, jar=jar)
        live, after = judged(done.answers), compared(server, BY_HAND, 1)
    assert live.wrong == 0
    assert {re.split(r" on | \(", said)[1] for said in live.said} == set(LISTS)
    # The newest packages are others than the hottest, and a vote does not show there.
    shown = [target for target in LISTS if "newest" not in target]
    assert [said.partition(" ")[0] for said in after.said] == shown
    assert (after.stale, after.checks) == (len(shown), len(LISTS))


def test_who_has_signed_out_signs_in_again_before_what_needs_it(sound: Server) -> None:
    out = Step("", "POST", "/sign-out", 7)
    jar = signed_in(sound.port, [7, 8])
    done = replay(sound.port, [out, *WRITES, *WRITES], visitors=1, jar=jar)
    assert [answer.status for answer in done.answers] == [303] * 6
    assert done.extra == 1
    assert jar[7].startswith("demo_user=7; demo_name=")


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A server that gives one connection these answers, and hangs up."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                for said in answers:
                    connection.recv(65_536)
                    connection.sendall(said)
                connection.recv(65_536)

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


class Wire(asyncio.Transport):
    """Swallows what is sent over it."""

    def write(self, data: object) -> None:
        pass


def test_answers_in_pieces_of_any_size_are_put_together() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

    async def fed(size: int) -> list[tuple[int, bytes]]:
        queue = client._Queue(iter(READS[:2]), Jar(), bodies=True)
        queue.over = asyncio.get_running_loop().create_future()
        visitor = client._Visitor(queue, asyncio.get_running_loop().create_future())
        visitor.connection_made(Wire())
        queue.busy = 1
        visitor.go_on()
        for answer in (said, said):
            for at in range(0, len(answer), size):
                visitor.data_received(answer[at : at + size])
        await queue.over
        return [(answer.status, answer.body) for answer in queue.run.answers]

    for size in range(1, len(said) + 1):
        assert asyncio.run(asyncio.wait_for(fed(size), 10.0)) == [(200, b"hello")] * 2


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"nonsense\r\ncontent-length: 0\r\n\r\n"]
)
def test_a_connection_that_breaks_ends_the_run(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 10.0)
    with answering(*([said] if said else [])) as port, pytest.raises(ConnectionError):
        replay(port, READS[:2], visitors=1, jar=Jar())


# What is told


def figures(*, stale: int = 0, wrong: int = 0, busy: float = 0.2, speed: float = 100.0) -> Figures:
    found = Found(500, stale, wrong, ["/ is old"] if stale else [])
    return Figures(speed, 1.0, 9.0, 2.0, 0.5, 0.25, 0.7, 0, busy, 0, found)


def stub(monkeypatch: pytest.MonkeyPatch, on: Figures) -> None:
    made = {"off, 1 worker": [figures(speed=50.0)] * 2}
    made |= {name: [on] * 2 for name in ("memory, 1 worker", "LMDB, 1 worker")}
    monkeypatch.setattr(command, "rounds", lambda *_: made)


def test_the_figures_are_printed_and_written_as_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(monkeypatch, figures())
    file = tmp_path / "figures.json"
    assert command.main(["--quick", "--json", str(file)]) == 0
    said = json.loads(file.read_text(encoding="utf-8"))
    off, memory, _ = said["tables"][0]["rows"]
    assert (off[2], memory[2]["median"], memory[9]["median"]) == (None, 2.0, 70.0)
    assert memory[-2:] == [0, 1000]
    assert said["plan"]["requests"] == command.QUICK.requests
    assert len(said["runs"]["memory, 1 worker"]) == 2
    assert sum(row[2] for row in said["tables"][1]["rows"]) == command.QUICK.requests
    assert "too noisy" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("on", "note"),
    [
        (figures(stale=2), "memory, 1 worker: / is old"),
        (figures(wrong=1), "memory, 1 worker: 2 ANSWERS WERE FAILURES"),
    ],
    ids=["old", "failed"],
)
def test_an_old_page_or_a_failure_is_the_exit_status(
    on: Figures, note: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub(monkeypatch, on)
    assert command.main(["--quick"]) == 1
    assert note in capsys.readouterr().out


def test_a_client_that_is_the_bottleneck_is_told_of() -> None:
    made = {"off, 1 worker": [figures(busy=tables.MAX_BUSY + 0.1)] * 2}
    [notes, _] = [table.notes for table in tables.tables([Variant()], made, command.QUICK)]
    assert any("may be what was measured" in note for note in notes)
    made = {"off, 1 worker": [figures()] * 2}
    [notes, _] = [table.notes for table in tables.tables([Variant()], made, command.QUICK)]
    assert not any("may be what was measured" in note for note in notes)


def test_all_variants_take_turns_on_the_same_requests(
    monkeypatch: pytest.MonkeyPatch, database: Path
) -> None:
    seen: list[tuple[str, tuple[Step, ...]]] = []

    @contextmanager
    def served(variant: Variant, _: Path) -> Iterator[Server]:
        yield Server(0, Path(variant.name))

    def measured(server: Server, *given: Any) -> Figures:
        warm_up, steps = given[3:]
        assert (len(warm_up), len(steps)) == (50, 70)
        seen.append((str(server.folder), (*warm_up, *steps)))
        return figures()

    monkeypatch.setattr(run, "load_database", lambda _: database)
    monkeypatch.setattr(run, "serving", served)
    monkeypatch.setattr(run, "_measured", measured)
    variants = [Variant(), Variant("memory"), Variant("LMDB", 4)]
    found = run.rounds(variants, Plan(rounds=2, warm_up=50, requests=70, users=2), lambda _: None)
    names = [variant.name for variant in variants]
    assert [name for name, _ in seen] == [*names, *reversed(names)]
    assert len({steps for _, steps in seen}) == 1
    assert {name: len(figures) for name, figures in found.items()} == dict.fromkeys(names, 2)
