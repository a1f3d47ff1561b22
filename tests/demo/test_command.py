"""`python -m demo_app`: what it refuses, and that it says so before it says that it serves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from demo_app import __main__ as command

Said = pytest.CaptureFixture[str]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: Path) -> list[Any]:
    """What would be served, by servers that return at once."""
    found: list[Any] = []

    class Server:
        def __init__(self, *given: object, **_: object) -> None:
            found.append(given)

        def serve_forever(self) -> None: ...

    monkeypatch.setattr(command, "make_server", Server)
    monkeypatch.setattr("uvicorn.run", lambda app, **given: found.append((app, given["workers"])))
    monkeypatch.setenv("DEMO_DATABASE", str(database))
    monkeypatch.setenv("DEMO_STORE", "")  # the command sets it; this puts it back
    monkeypatch.chdir(tmp_path)
    return found


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """The command, in this process."""
    monkeypatch.setattr(sys, "argv", ["demo_app", *arguments])
    command.main()


NEEDED = (
    "--workers needs --store with a shared store, such as lmdb://.pagegen, "
    "and does not go with --wsgi"
)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--workers", "4"), NEEDED),
        (("--workers", "4", "--store", "memory://"), NEEDED),
        (("--workers", "4", "--store", "memory://?size=1MiB"), NEEDED),
        (("--workers", "4", "--store", "lmdb://pages", "--wsgi"), NEEDED),
        (("--workers", "0", "--store", "lmdb://pages"), "--workers is 1 or more"),
        (("--workers", "-1"), "--workers is 1 or more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_workers_that_cannot_work_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: Said,
    served: list[Any],
    arguments: tuple[str, ...],
    text: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *arguments)
    said = capsys.readouterr()
    assert (ended.value.code, said.out, served) == (2, "", [])
    assert said.err.endswith(f"error: {text}\n")


@pytest.mark.parametrize("more", [(), ("--workers", "2"), ("--wsgi",)], ids=" ".join)
@pytest.mark.parametrize("store", ["lmdb://pages?colour=red", "nothing://"])
def test_a_store_that_cannot_be_opened_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: Said,
    served: list[Any],
    store: str,
    more: tuple[str, ...],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--store", store, *more)
    said = capsys.readouterr()
    assert (ended.value.code, said.out, served) == (2, "", [])
    assert said.err.startswith("demo_app: [pagegen]: store: ")
    assert said.err.count("\n") == 1


def test_workers_with_a_shared_store_are_announced_and_served(
    monkeypatch: pytest.MonkeyPatch, capsys: Said, served: list[Any]
) -> None:
    run(monkeypatch, "--store", "lmdb://pages?size=4MiB", "--workers", "2")
    assert served == [("demo_app.asgi:app", 2)]
    assert "processes: 2" in capsys.readouterr().out
