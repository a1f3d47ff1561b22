"""Files where others may write: what they put in their place is neither used nor harmed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest

from pagegen import ConfigError
from pagegen.stores import alone
from pagegen.stores.lmdb import LmdbStore, place
from tests.processes import PATIENCE

#: Somebody else (Linux calls it nobody).
SOMEBODY: Final = 65_534
ROOT: Final = Path(__file__).parents[2]


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file another user's; who is not root becomes another user instead."""
    if os.geteuid() == 0:
        os.lchown(path, SOMEBODY, -1)
    else:
        mine = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        LmdbStore(path, "4MiB").close()
    assert caught.value.field == "store"
    assert caught.value.remedy
    return str(caught.value)


# The directory of an LMDB store.


def test_a_link_that_somebody_else_put_there_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    link = tmp_path / "store"
    link.symlink_to(tmp_path / "private")
    LmdbStore(link, "4MiB").close()  # our own is followed
    for entry in sorted((tmp_path / "private").rglob("*"), reverse=True):
        entry.rmdir() if entry.is_dir() else entry.unlink()
    give_away(link, monkeypatch)
    assert "is a link of another user's" in refusal(link)
    assert list((tmp_path / "private").iterdir()) == []


@pytest.mark.parametrize("what", ["about", "lock", "0123456789abcdef", "about.0123456789abcdef"])
def test_what_was_planted_while_a_group_could_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whoever planted a generation may still have its files open, and cut or fill them."""
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(0o770)
    planted = folder / what
    if what.isalnum() and what != "about" and what != "lock":
        planted.mkdir()
    else:
        planted.write_bytes(b"pagegen-lmdb 1\n")
    root = os.geteuid() == 0
    give_away(planted, monkeypatch)
    if root:
        said = refusal(folder)
    else:  # the directory is another's, too: ask for what stands in it alone
        with pytest.raises(ConfigError) as caught:
            place._refuse_planted(folder)
        said = str(caught.value)
    assert "holds what another user put there" in said
    assert what in said
    assert planted.exists()


def test_a_directory_that_a_group_may_write_to_is_closed_before_it_is_looked_into(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(0o770)
    LmdbStore(folder, "4MiB").close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    made = list(folder.rglob("*"))
    assert made
    assert not any(stat.S_IMODE(entry.stat().st_mode) & 0o077 for entry in made)


def test_no_directory_that_is_made_is_open_to_others_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        LmdbStore(tmp_path / "var" / "cache" / "store", "4MiB").close()
    finally:
        os.umask(before)
    for entry in (tmp_path / "var").rglob("*"):
        assert not stat.S_IMODE(entry.stat().st_mode) & 0o022, entry
    assert not stat.S_IMODE((tmp_path / "var").stat().st_mode) & 0o022
    assert stat.S_IMODE((tmp_path / "var" / "cache" / "store").stat().st_mode) == 0o700


def test_a_directory_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(0o1777)
    assert "is open to everybody" in refusal(folder)


# The lock file by which two processes with memory stores find each other.


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for temporary files of the test's own, with all of its processes."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(alone, "_held", {})
    monkeypatch.setattr(alone, "_asked", set())
    return folder


def lock(site: str = "site") -> tuple[bool, Path]:
    """Whether the lock of a site could be had or cannot be known, and where its file is."""
    path = alone.lock_path(site)
    return alone._take(path), path


def give_back(path: Path) -> None:
    _, descriptor = alone._held.pop(path)
    os.close(descriptor)


def test_the_lock_file_is_in_a_directory_of_this_user_alone(temporary: Path) -> None:
    taken, path = lock()
    assert taken
    assert path.parent.parent == temporary
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not os.get_inheritable(alone._held[path][1])
    give_back(path)


def test_a_directory_that_somebody_else_made_first_is_not_used(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = alone.lock_path("site").parent
    folder.mkdir(mode=0o700)
    folder.chmod(0o755 if os.geteuid() == 0 else 0o700)
    give_away(folder, monkeypatch)
    monkeypatch.setattr(alone, "lock_path", lambda site: folder / "site.lock")
    assert lock() == (True, folder / "site.lock")  # and nobody is accused
    assert list(folder.iterdir()) == []
    assert alone._held == {}


def test_a_directory_that_others_may_enter_is_not_used(temporary: Path) -> None:
    folder = alone.lock_path("site").parent
    folder.mkdir()
    folder.chmod(0o711)
    assert lock()[0]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "dangling", "file"])
def test_what_stands_in_the_place_of_the_directory_is_not_followed(
    temporary: Path, tmp_path: Path, kind: str
) -> None:
    folder = alone.lock_path("site").parent
    victim = tmp_path / "victim"
    if kind == "file":
        folder.write_text("mine")
    else:
        if kind == "link":
            victim.mkdir(mode=0o700)
        folder.symlink_to(victim)
    assert lock()[0]
    assert not victim.exists() or list(victim.iterdir()) == []
    assert kind != "file" or folder.read_text() == "mine"


def test_a_link_in_the_place_of_the_lock_file_is_not_followed(
    temporary: Path, tmp_path: Path
) -> None:
    path = alone.lock_path("site")
    path.parent.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    path.symlink_to(victim)
    assert lock()[0]
    assert not victim.exists()
    assert alone._held == {}


WORKER: Final = """
import os, sys
from pagegen.stores.alone import _held, lock_path, warn_of_company
print(warn_of_company("site"), flush=True)
if sys.argv[1] == "fork":
    child = os.fork()
    if child == 0:
        sys.exit(0)  # as servers' workers end
    os.waitpid(child, 0)
    print(lock_path("site").exists(), flush=True)
sys.stdin.read()
"""


def worker(how: str = "stay") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, how],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def line(process: subprocess.Popen[Any]) -> str:
    assert process.stdout is not None
    return str(process.stdout.readline()).strip()


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_a_process_removes_its_lock_file_and_no_childs_end_does(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    path = alone.lock_path("site")
    first = worker("fork")
    assert (line(first), line(first)) == ("False", "True")
    second = worker()
    assert line(second) == "True"  # it is company
    end(second)
    assert path.exists()
    end(first)
    assert list(path.parent.iterdir()) == []


def test_the_file_of_a_process_that_was_killed_keeps_nobody_out(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    first = worker()
    assert line(first) == "False"
    first.kill()
    first.communicate(timeout=PATIENCE)
    assert alone.lock_path("site").exists()
    second = worker()
    assert line(second) == "False"
    end(second)
    assert not alone.lock_path("site").exists()


@pytest.mark.parametrize("anew", [False, True], ids=["removed", "made anew by another"])
def test_who_locks_a_file_that_is_no_more_takes_the_next_one(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    path = alone.lock_path("site")
    real, times = os.open, []

    def opened(name: Any, *more: Any, **others: Any) -> int:
        descriptor = real(name, *more, **others)
        if name == path.name and len(times) < 3:
            times.append(name)
            path.unlink()
            if anew:
                path.touch()
        return descriptor

    monkeypatch.setattr(os, "open", opened)
    assert lock() == (True, path)
    assert len(times) == 3
    assert os.path.samestat(path.stat(), os.fstat(alone._held[path][1]))
    give_back(path)
