"""``python -m pagegen.testing.check``: what it refuses and tells, and an application of yours."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pagegen.testing.check import Promise
from pagegen.testing.check.__main__ import main
from pagegen.testing.check.report import Progress
from pagegen.testing.check.running import Outcome, Terms
from pagegen.testing.check.targets import reader
from tests.serving import ROOT

pytestmark = pytest.mark.timeout(60)

#: Seconds for what must happen.
PATIENCE = 30.0


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pagegen.testing.check", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def within(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and what it told, in this process."""
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--json"])
    told = capsys.readouterr()
    assert not told.err
    return int(str(caught.value.code)), json.loads(told.out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What it complains about."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


# Workers of its own ----------------------------------------------------------------------------


def test_a_run_is_bounded_recorded_and_judged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = str(tmp_path / "history")
    status, told = within(
        capsys, "--requests", "500", "--seconds", "600", "--workers", "1", "--record", history
    )
    assert (status, told["state"], told["exit"]) == (0, "kept", 0)
    assert 400 < told["requests"] < 10_000
    assert told["seconds"] < 60
    assert not told["faults"]
    again, judged = within(capsys, "--judge", history)
    assert again == 0
    assert judged["promises"] == told["promises"]
    strict, herd = within(capsys, "--judge", history, "--herd", "1")
    assert strict == (1 if herd["promises"][Promise.HERD]["broken"] else 0)
    assert herd["promises"][Promise.HERD]["state"] != "reported"
    assert [path.name for path in tmp_path.iterdir()] == ["history"]


def test_memory_that_is_not_shared_is_found_out_and_told(tmp_path: Path) -> None:
    given = ("--store", "memory://", "--workers", "2", "--requests", "800", "--record", "a b")
    with start(tmp_path, *given) as process:
        told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert re.search(r"^BROKEN +no resurrection +\d+ of \d+ ", told, re.MULTILINE)
    shown = re.search(
        r"item (\d+): version (\d+) on .*\(hit.*asked for .* ms after version (\d+) was ack.*\n"
        r" +sent \(s\) +answered +client +worker\n"
        r" +write +\d+\.\d{6} +\d+\.\d{6} +\d +\d+  item (\d+): version (\d+); kept\n"
        r" +read +\d+\.\d{6} +\d+\.\d{6} +\d +\d+  \S.*; hit; made at -?\d+\.\d{6} by \d+-\d+\n",
        told,
    )
    assert shown
    assert (shown[1], shown[3]) == (shown[4], shown[5])
    assert int(shown[2]) < int(shown[3])
    assert told.endswith("\n  python -m pagegen.testing.check --judge 'a b'\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_ctrl_c_and_a_plain_kill_judge_what_there_is(
    number: signal.Signals, tmp_path: Path
) -> None:
    given = ("--seconds", "100", "--workers", "1", "--record", "history", "--json")
    with start(tmp_path, *given) as process:
        history = tmp_path / "history"
        done = threading.Event()
        for _ in range(int(PATIENCE / 0.05)):
            if history.exists() and history.stat().st_size > 30_000:
                break
            done.wait(0.05)
        process.send_signal(number)
        told, complaints = process.communicate(timeout=PATIENCE)
    assert not complaints
    found = json.loads(told)
    assert (process.returncode, found["state"], found["interrupted"]) == (0, "kept", True)
    assert found["requests"] == len(re.findall('"is":"(?:read|write)"', history.read_text()))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--store", "xyzzy://"], "names a kind of store that is not known"),
        (["--store", "redis://127.0.0.1:1/0"], "the store does not answer"),
        (["--store", "memory://", "--near", "1MiB"], "in the process already"),
        (["--store", "memory://", "--faults", "network"], "needs a store behind a network"),
        (["--faults", "rain"], "invalid choice"),
        (["--seconds", "0"], "is not between"),
        (["--workers", "1000"], "is not between"),
        (["--clients", "many"], "is no number"),
        (["--judge", "/nowhere/history"], "No such file"),
        (["--read", "/items/{id}"], "say --url"),
    ],
)
def test_a_mistake_in_what_was_asked_for_is_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in refused(capsys, *arguments)


def test_a_server_that_is_not_installed_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pagegen.testing.check.options.find_spec", lambda name: None)
    complaint = refused(capsys, "--server", "gunicorn")
    assert "gunicorn is not installed: pip install 'pagegen-middleware[check]'" in complaint


# Yours -----------------------------------------------------------------------------------------


class Shop:
    """An application that is not ours: items with counters behind a cache of its own making.

    ``mistake``: "forgets" serves its copies after a write; "soft" too, but not to the writer, whom
    it knows by a cookie.
    """

    def __init__(self, mistake: str = "") -> None:
        self.mistake = mistake
        self.lock = threading.Lock()
        self.rows = {str(n): 1 for n in range(1, 4)}
        self.copies = dict(self.rows)
        self.asked: list[str] = []

    def write(self, item: str, body: str) -> None:
        with self.lock:
            self.rows[item] = int(body.partition("=")[2]) if body else self.rows[item] + 1
            if not self.mistake:
                self.copies[item] = self.rows[item]

    def seen(self, cookie: str) -> dict[str, int]:
        with self.lock:
            return self.rows if self.mistake == "soft" and "wrote=1" in cookie else self.copies


def handler_of(shop: Shop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            seen = shop.seen(self.headers.get("Cookie", ""))
            shop.asked.append(self.path)
            name = self.path.rpartition("/")[2]
            if self.path.startswith("/json/"):
                body = json.dumps({"item": [{"version": seen[name]}]})
            elif self.path == "/list":
                body = " ".join(f"<{n} v{v}>" for n, v in seen.items())
            elif name in seen and self.path.startswith("/items/"):
                body = f"<p>version {seen[name]}</p>"
            else:
                self.send_error(404)
                return
            self.reply(200, body)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            shop.write(self.path.rpartition("/")[2], self.rfile.read(length).decode())
            self.reply(303, "", ("Set-Cookie", "wrote=1; Path=/"))

        def reply(self, status: int, body: str, *fields: tuple[str, str]) -> None:
            self.send_response(status)
            for name, value in fields:
                self.send_header(name, value)
            if self.path == "/list":  # in pieces
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body.encode()))
                return
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def shop(mistake: str = "") -> Iterator[tuple[Shop, str]]:
    made = Shop(mistake)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(made))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ITEM = ("--read", "/items/{id}", "--write", "POST /items/{id}", "--version", "version ([0-9]+)")


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    return within(
        capsys,
        "--requests",
        "300",
        "--seconds",
        "30",
        "--ids",
        "1-3",
        "--writes",
        "0.2",
        *arguments,
    )


def test_your_application_keeps_its_promises(capsys: pytest.CaptureFixture[str]) -> None:
    with shop() as (_, url):
        status, told = ask(capsys, "--url", url, *ITEM)
    assert (status, told["state"]) == (0, "kept")
    assert told["promises"][Promise.RESURRECTION]["checks"] > 20
    assert told["writes"] > 5


def test_your_application_forgets_to_forget(capsys: pytest.CaptureFixture[str]) -> None:
    with shop("forgets") as (_, url):
        status, told = ask(capsys, "--url", url, *ITEM)
    assert (status, told["state"]) == (1, "broken")
    assert told["promises"][Promise.RESURRECTION]["broken"]
    assert told["promises"][Promise.OWN_WRITES]["broken"]


def test_lists_of_yours_are_judged_as_groups(capsys: pytest.CaptureFixture[str]) -> None:
    both = ("--version", r"(?:<(?P<id>[0-9]+) v|version )(?P<version>[0-9]+)")
    for mistake, broken in (("", False), ("forgets", True)):
        with shop(mistake) as (made, url):
            status, told = ask(capsys, "--url", url, "--read", "/list", *ITEM[:4], *both)
        assert status == broken
        found = told["promises"][Promise.GROUPS]
        assert found["checks"] > 5
        assert bool(found["broken"]) == broken
        assert {"/list", "/items/3"} <= set(made.asked)


def test_versions_that_the_checker_writes_itself(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--read", "/json/{id}", *ITEM[2:4], "--version", "$.item[0].version")
    for mistake, expected in (("", 0), ("forgets", 1)):
        with shop(mistake) as (made, url):
            status, told = ask(capsys, "--url", url, *given, "--body", "version={version}")
        assert (status, bool(told["promises"][Promise.RESURRECTION]["broken"])) == (
            expected,
            bool(expected),
        )
        assert max(made.rows.values()) > 2


def test_soft_spares_others_for_a_while_and_the_writer_not_at_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for mistake, broken in (("soft", 0), ("forgets", 1)):
        with shop(mistake) as (_, url):
            status, told = ask(capsys, "--url", url, *ITEM, "--soft", "1h")
        found = told["promises"]
        assert not found[Promise.RESURRECTION]["broken"]
        assert bool(found[Promise.OWN_WRITES]["broken"]) == bool(broken)
        assert status in (1, 2)  # within an hour nothing is old for others, so nothing was checked


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://192.0.2.1:8000", "only applications on this machine"),
        ("http://example.com", "only applications on this machine"),
        ("http://localhost.example.com", "only applications on this machine"),
        ("http://127.0.0.1@example.com:80", "only applications on this machine"),
        ("https://127.0.0.1", "is written http://"),
        ("http://127.0.0.1:8000/shop", "is written http://"),
        ("http://127.0.0.1:many", "127.0.0.1:many"),
        ("127.0.0.1:8000", "is written http://"),
    ],
)
def test_only_this_machine_is_asked(
    url: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in refused(capsys, "--url", url, *ITEM)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (["--faults", "workers"], "nothing is started"),
        (["--version", "version ([0-9]+"], "is no regular expression"),
        (["--version", "version [0-9]+"], "must have one group"),
        (["--version", "$.a..b"], "is no JSON path"),
        (["--write", "/items/{id}"], "no method and target"),
        (["--read", "items"], "a target with {id} in it"),
        (["--ids", ""], "--ids names 0 items"),
        (["--ids", "1-100000"], "1 to 1000 are possible"),
        (["--header", "nonsense"], "NAME: VALUE"),
        (["--soft", "soon"], "is not a duration"),
    ],
)
def test_what_cannot_be_asked_of_yours_is_status_2(
    changed: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in refused(capsys, "--url", "http://127.0.0.1:1", *ITEM, *changed)


def test_what_is_not_there_is_said_before_anything_is_judged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "nobody listens" in refused(capsys, "--url", "http://127.0.0.1:1", *ITEM)
    with shop() as (made, url):
        assert "GET /items/9: status 404" in refused(capsys, "--url", url, *ITEM, "--ids", "1,9")
        other = ("--version", "edition ([0-9]+)")
        assert "no version in" in refused(capsys, "--url", url, *ITEM, *other, "--ids", "1")
        assert set(made.rows.values()) == {1}, "nothing was written"


@pytest.mark.parametrize("name", ["read", "write", "version"])
def test_what_is_missing_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    at = ITEM.index(f"--{name}")
    given = [*ITEM[:at], *ITEM[at + 2 :]]
    assert f"--url needs --{name}" in refused(capsys, "--url", "http://127.0.0.1:1", *given)


def test_readers_find_versions() -> None:
    assert reader("v([0-9]+)")(b"<v12>", "7") == (("7", 12),)
    assert reader("v([0-9]+)")(b"none", "7") == ()
    assert reader("$.a[1].b-c")(b'{"a": [0, {"b-c": "5"}]}', "7") == (("7", 5),)
    both = reader("(?P<id>[a-z]+)=(?P<version>[0-9]+)")
    assert both(b"x=1 y=22", "7") == (("x", 1), ("y", 22))


class Screen:
    def __init__(self, terminal: bool) -> None:
        self.text, self._terminal = "", terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_terminals(terminal: bool) -> None:
    screen: Any = Screen(terminal)
    progress = Progress(screen)
    progress(Outcome(Terms(), seconds=12.0))
    progress.end()
    assert ("12 s  0 requests" in screen.text) == terminal
    assert bool(screen.text) == terminal
