"""The sweeper: everything that was left is applied, in batches, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import create_engine

from pagegen import ConfigError
from pagegen.contrib.outbox import Sweeper, Swept, opening, sweeper
from pagegen.contrib.outbox.rows import encode
from tests.contrib.outbox.conftest import Cache, break_store
from tests.contrib.outbox.databases import Place

ROOT = Path(__file__).resolve().parents[3]


_made: list[Sweeper] = []


def sweeping(*given: Any, **options: Any) -> Sweeper:
    """A sweeper that gives back its connection when the test ends."""
    _made.append(Sweeper(*given, **options))
    return _made[-1]


@pytest.fixture(autouse=True)
def _stop() -> Iterator[None]:
    yield
    while _made:
        _made.pop().stop()


def leave(
    place: Place, *names: str, site: str = "default", age: float = 100.0, first: str = ""
) -> None:
    """Rows of a worker that died, one for each name. ``first``: how their ids begin."""
    connection = place.connect()
    now = "unixepoch()" if place.file else "extract(epoch FROM clock_timestamp())"
    mark = place.mark
    connection.cursor().executemany(
        "INSERT INTO pagegen_outbox (id, site, names, created) "
        f"VALUES ({mark}, {mark}, {mark}, {now} - {mark})",
        [((first + encode([name])[0][0])[:32], site, json.dumps([name]), age) for name in names],
    )
    connection.commit()
    connection.close()


def test_old_rows_are_applied_and_young_ones_and_those_of_others_left(
    place: Place, cache: Cache
) -> None:
    leave(place, "item:1", "item:1", "item:2")
    leave(place, "item:3", age=0)
    leave(place, "item:4", site="another")
    swept = sweeping(cache, place.sync_url).sweep()
    assert (swept.rows, swept.applied, swept.names, swept.waiting) == (3, 3, 2, 1)
    assert {name for names, _ in cache.told for name in names} == {"item:1", "item:2"}
    assert 0 <= swept.oldest < 60
    assert place.rows() == 2


def test_rows_that_nobody_can_read_are_set_aside_and_starve_nobody(
    place: Place, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    leave(place, *(f"item:{number}" for number in range(7)))
    with closing(place.connect()) as connection:
        # Before all others, and more than a batch; the last has a good name, too.
        hostile = {f"!{number}": '["item:x", 1' for number in range(9)} | {"!x": '["item:y", 1]'}
        for identifier, names in hostile.items():
            connection.execute(
                "INSERT INTO pagegen_outbox "
                f"VALUES ({place.mark}, 'default', {place.mark}, 0, NULL)",
                (identifier, names),
            )
        connection.commit()
    swept = sweeping(cache, place.sync_url, batch=3).sweep()
    assert (swept.applied, swept.aside, swept.waiting) == (7, 10, 0)
    assert "set aside" in caplog.text
    assert place.rows("problem IS NOT NULL") == 10
    assert any("item:y" in names for names, _ in cache.told)
    assert sweeping(cache, place.sync_url).sweep().rows == 0


def test_a_store_that_acknowledges_nothing_ends_the_round_and_loses_no_row(
    place: Place, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(place, *(f"item:{number}" for number in range(9)))
    made = sweeping(cache, place.sync_url, batch=3)
    with monkeypatch.context() as patch:
        break_store(cache, patch)
        swept = made.sweep()
        assert (swept.applied, swept.left, swept.waiting) == (0, 3, 9)
        assert "gone" in (swept.error or "")
        delays = [made.delay()]
        for _ in range(8):
            made.sweep()
            delays.append(made.delay())
    assert max(delays) > 3 * min(delays)
    assert all(0.5 <= delay <= 1.5 * sweeper.LONGEST_PAUSE for delay in delays)
    while made.sweep().waiting:
        pass
    assert (place.rows(), made.delay()) == (0, 1.0)


def test_names_of_a_silent_server_hold_up_no_others(
    place: Place, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(place, *(f"item:{number}" for number in range(20)), "item:bad")
    break_store(cache, monkeypatch, "item:bad")
    made = sweeping(cache, place.sync_url, batch=5)
    for _ in range(3):
        swept = made.sweep()
    assert (swept.waiting, place.rows("names LIKE '%bad%'")) == (1, 1)


def test_a_whole_batch_of_a_silent_server_holds_up_no_others(
    place: Place, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(place, *["item:bad"] * 5, first="!")
    leave(place, *(f"item:{number}" for number in range(20)))
    break_store(cache, monkeypatch, "item:bad")
    made = sweeping(cache, place.sync_url, batch=5)
    assert made.sweep().applied == 0
    assert (made.sweep().applied, place.rows()) == (20, 5)
    assert made.sweep().left == 5  # and from the beginning again


def test_a_backlog_of_a_hundred_thousand_rows_is_swept_in_bounded_batches(
    tmp_path: Path, cache: Cache, postgresql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.contrib.outbox.databases import make

    place = make("sqlite", tmp_path, postgresql)
    leave(place, *(f"item:{number % 300}" for number in range(100_000)))
    largest = 0
    real = type(cache).invalidate

    def measure(self: Cache, *names: str, soft: bool = False) -> Any:
        nonlocal largest
        largest = max(largest, len(names))
        return real(self, *names, soft=soft)

    monkeypatch.setattr(type(cache), "invalidate", measure)
    swept = sweeping(cache, place.sync_url, batch=1000).sweep()
    assert (swept.applied, swept.waiting) == (100_000, 0)
    assert largest <= 300


def test_several_sweepers_at_once_are_harmless(place: Place, cache: Cache) -> None:
    leave(place, *(f"item:{number}" for number in range(200)))
    met: list[Swept] = []

    async def together() -> None:
        made = [sweeping(cache, place.sync_url, batch=7) for _ in range(3)]
        met.extend(await asyncio.gather(*(asyncio.to_thread(one.sweep) for one in made)))
        for one in made:
            one.stop()

    asyncio.run(together())
    assert [swept.error for swept in met] == [None] * 3
    assert place.rows() == 0
    if not place.file:  # each row was given to one of them
        assert sum(swept.rows for swept in met) == 200


def test_a_lost_connection_is_survived(place: Place, cache: Cache) -> None:
    opened: list[Any] = []

    def connect() -> Any:
        opened.append(
            sqlite3.connect(place.file, check_same_thread=False) if place.file else place.connect()
        )
        return opened[-1]

    made = sweeping(cache, connect)
    leave(place, "item:1")
    opened[-1].close()
    swept = made.sweep()
    assert swept.error
    assert (made.sweep().applied, len(opened)) == (1, 2)
    made.stop()


def test_the_thread_sweeps_until_it_is_stopped(place: Place, cache: Cache) -> None:
    rounds = [Event(), Event()]

    def pause(ended: Event, seconds: float) -> None:
        next(event for event in rounds if not event.is_set()).set()
        ended.wait(0.01 if not rounds[1].is_set() else 30)

    made = sweeping(cache, place.sync_url, every=0.01, pause=pause)
    leave(place, "item:1")
    made.start()
    made.start()
    assert all(event.wait(30) for event in rounds)
    made.stop()
    assert (place.rows(), made.statistics()["applied"]) == (0, 1)
    leave(place, "item:2")
    assert made.sweep().applied == 1  # by hand it still works
    made.stop()


@pytest.mark.untraced
def test_a_child_after_fork_has_no_thread_but_may_start_one(place: Place, cache: Cache) -> None:
    waits = Event()
    made = sweeping(cache, place.sync_url, pause=lambda ended, _: (waits.set(), ended.wait(30)))
    made.start()
    assert waits.wait(30)
    with made._sweeping:  # as if in the middle of a round
        child = os.fork()
    if child == 0:
        code = 1
        try:
            leave(place, "item:1")
            made.stop()
            code = 0 if made.sweep().applied == 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    made.stop()
    assert place.rows() == 0


def test_the_task_sweeps_until_it_is_cancelled(place: Place, cache: Cache) -> None:
    leave(place, "item:1")

    async def serve() -> None:
        engine = create_engine(place.sync_url)
        made = sweeping(cache, engine, every=0.01)
        task = asyncio.create_task(made.run())
        async with asyncio.timeout(30):
            while not made.statistics()["applied"]:  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        engine.dispose()

    asyncio.run(serve())
    assert place.rows() == 0


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"grace": -1}, {"batch": 0}, {"batch": 1001}, {"every": float("nan")}]
)
def test_numbers_out_of_range_are_refused(cache: Cache, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        sweeping(cache, "sqlite:///app.db", **options)


@pytest.mark.parametrize("what", [7, "app.db", "sqlite://", "sqlite:///:memory:", None, Sweeper])
def test_what_is_no_database_is_refused(what: object) -> None:
    with pytest.raises(TypeError):
        opening.open_shelf(what, "default")


@pytest.fixture
def config(tmp_path: Path) -> Iterator[str]:
    file = tmp_path / "pagegen.toml"
    file.write_text('[pagegen]\nstore = "lmdb://pages"\n')
    yield str(file)


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "pagegen.contrib.outbox", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def url_of(place: Place) -> str:
    return place.sync_url.replace("postgresql+psycopg:", "postgresql:")


def test_the_command_sweeps_once_and_says_what_it_did(place: Place, config: str) -> None:
    leave(place, "item:1", "item:2")
    with command("--config", config, "--url", url_of(place), "--once", "--json") as program:
        said, logged = program.communicate(timeout=60)
    assert (program.returncode, json.loads(said)["applied"]) == (0, 2), logged
    assert place.rows() == 0


def test_the_command_ends_in_order_at_sigterm(place: Place, config: str) -> None:
    leave(place, "item:1")
    with command("--config", config, "--url", url_of(place), "--every", "0.05") as program:
        assert program.stdout
        assert "applied 1" in program.stdout.readline()
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=60)
    assert program.returncode == 0


def test_the_command_tells_mistakes_and_failures_apart(tmp_path: Path, config: str) -> None:
    gone = f"sqlite:///{tmp_path}/no-such-file.sqlite"
    for arguments, code in (
        (("--config", config, "--url", gone, "--once"), 1),
        (("--config", config, "--url", "app.db", "--once"), 2),
        (("--config", "nowhere.toml", "--url", gone), 2),
    ):
        with command(*arguments) as program:
            program.communicate(timeout=60)
        assert program.returncode == code, arguments
    assert not (tmp_path / "no-such-file.sqlite").exists()
