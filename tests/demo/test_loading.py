"""The data files become one database: once, the same each time, whoever else is at it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Barrier

import pytest

from demo_app import load
from demo_app.schema import metadata, open_engine
from tests.demo.reading import rows
from tests.serving import ROOT


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the database is wanted; there is none yet, nor the folder for it."""
    wanted = tmp_path / "new" / "catalogue.sqlite"
    monkeypatch.setenv("DEMO_DATABASE", str(wanted))
    return wanted


def files_beside(path: Path) -> list[str]:
    """Names of the files in the database's folder."""
    return sorted(entry.name for entry in path.parent.iterdir())


def content(path: Path) -> dict[str, tuple[int, str]]:
    """Rows and their digest by table."""
    engine = open_engine(path)
    found = {}
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            many = connection.execute(table.select().order_by(*table.primary_key)).all()
            found[table.name] = (len(many), sha256(repr(many).encode()).hexdigest())
    engine.dispose()
    return found


def test_loading_twice_gives_the_same_database(path: Path, database: Path) -> None:
    assert load.ensure_database() == path
    loaded = content(path)
    assert loaded == content(database)
    assert {name: count for name, (count, _) in loaded.items()} == {
        "category": 92,
        "favourite": 1198,
        "package": len(rows()),
        "snapshot": 71_990,
        "user": 60,
        "write": 0,
    }


def test_a_database_that_is_there_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"precious")
    assert load.ensure_database() == path
    assert path.read_bytes() == b"precious"
    assert files_beside(path) == [path.name]


def test_the_first_of_two_that_load_at_once_wins(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build: Callable[[Path], int] = load._build
    both_built = Barrier(2)

    def build_and_wait(fresh: Path) -> int:
        count = build(fresh)
        both_built.wait(60)
        return count

    monkeypatch.setattr(load, "_build", build_and_wait)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: load.ensure_database(), range(2)))
    assert found == [path, path]
    assert capsys.readouterr().err.count("another process was quicker") == 1
    assert files_beside(path) == [path.name]


def test_processes_that_load_at_once_share_one_database(path: Path, database: Path) -> None:
    command = [sys.executable, "-m", "demo_app.load"]
    loading = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1] for process in loading]
    assert [process.returncode for process in loading] == [0, 0], said
    assert sum("734 packages in" in words for words in said) == 1, said
    assert content(path) == content(database)
    # Reading it left SQLite's own files beside it, but no loader's folder is there.
    assert all(name.startswith(path.name) for name in files_beside(path))


def test_a_load_that_fails_leaves_nothing_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "HISTORY", path)
    with pytest.raises(FileNotFoundError):
        load.ensure_database()
    assert files_beside(path) == []
