"""The peers' applications cache, and their groups are forgotten, or the benchmark does not start.

Run here is what the environment of the tests has: ``HERE`` says which peers these are, and a test
holds that list, so nothing goes unproven in silence. The other peers have environments that `make
bench` makes; it runs the same proof for each of them before it measures, and stops where one fails.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from benchmarks import servers
from benchmarks.peers import PEERS, ROOT, Peer, groups, interpreter, prove, release
from benchmarks.peers.forgetting import OURS, THEIRS, USERS, Group, cell
from benchmarks.peers.pages import TEXT, TYPE

PACKAGE = ROOT / "benchmarks" / "peers"
#: Peers that the tests' environment has to have: those that pagegen's own extras bring.
BROUGHT = {"Django"}
HERE = [peer for peer in PEERS if peer.venv is None and release(peer.distribution, None)]
MECHANISMS_HERE = [
    (mechanism, store)
    for mechanism in groups.MECHANISMS
    if mechanism.peer == "pagegen"
    or (mechanism.venv is None and release(mechanism.distribution, None))
    for store in mechanism.stores
]


def _id(value: Any) -> str:
    match value:
        case Peer():
            return f"{value.name}-{value.store}"
        case groups.Mechanism():
            return f"{value.peer}-{value.call}"
    return str(value)


# The list of peers ------------------------------------------------------------------------------


def test_every_peer_of_the_issue_has_an_application() -> None:
    assert {peer.name for peer in PEERS} == {
        *("Django", "Flask-Caching", "starlette-caches", "fastapi-cache2"),
        *("fast-cache-middleware", "cashews", "cashews, client side", "aiocache", "Litestar"),
    }


def test_the_peers_that_come_with_our_extras_are_proven_here() -> None:
    assert {peer.name for peer in HERE} >= BROUGHT


def test_no_peer_is_there_twice() -> None:
    assert len({(peer.name, peer.store) for peer in PEERS}) == len(PEERS)
    assert len({peer.target for peer in PEERS}) == len(PEERS)


@pytest.mark.parametrize("peer", PEERS, ids=_id)
def test_a_peer_names_what_its_module_builds(peer: Peer) -> None:
    module, _, name = peer.target.removeprefix("benchmarks.peers.").partition(":")
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    built = [
        ast.literal_eval(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "by_store"
        for argument in node.args[1:]
    ]
    assert name in built
    assert name.startswith(peer.store)


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.venv], ids=_id)
def test_an_environment_of_its_own_asks_for_the_peer_and_for_servers(peer: Peer) -> None:
    lines = (PACKAGE / f"{peer.venv}.txt").read_text(encoding="utf-8").splitlines()
    wanted = {line.split(">")[0].split("[")[0] for line in lines if not line.startswith("#")}
    assert wanted >= {peer.distribution, "uvicorn", "uvloop", "httptools", "granian"}


@pytest.mark.parametrize(
    "path",
    [path for path in PACKAGE.rglob("*.py") if path.name not in ("groups.py", "ours.py")],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_what_runs_in_a_peers_environment_imports_nothing_of_ours(path: Path) -> None:
    inside = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level <= inside, f"{ast.unparse(node)} leaves the package"
            assert node.level or (node.module or "").split(".")[0] not in ("pagegen", "benchmarks")
        elif isinstance(node, ast.Import):
            assert not {name.name.split(".")[0] for name in node.names} & {"pagegen", "benchmarks"}


def test_an_environment_that_was_not_made_has_no_interpreter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VENV_BENCH", str(tmp_path / "bench"))
    assert interpreter("litestar") is None
    assert release("litestar", "litestar") is None
    python = tmp_path / "bench-litestar" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert interpreter("litestar") == python


# The proof --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """What an application reads, with both servers behind it."""
    with servers.serving("memcached") as memcached, servers.serving("redis-server") as redis:
        yield {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PAGEGEN_BENCH_MEMCACHED": memcached,
            "PAGEGEN_BENCH_REDIS": redis,
        }


@pytest.mark.parametrize("peer", HERE, ids=_id)
def test_the_second_request_is_not_rendered(
    peer: Peer, environment: dict[str, str], tmp_path: Path
) -> None:
    command = (sys.executable, "-m", "benchmarks.peers.prove", peer.target, peer.kind)
    mine = {"PAGEGEN_BENCH_SITE": f"{peer.name}-{peer.store}".replace(" ", ""), "TMPDIR": tmp_path}
    run = subprocess.run(
        command, env={**environment, **mine}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


class _App:
    """A WSGI application that keeps pages, or does not."""

    def __init__(self, *, keep: bool = True, by_path: bool = True, body: str = TEXT) -> None:
        self._keep, self._by_path, self._body = keep, by_path, body.encode()
        self._pages: dict[str, bytes] = {}
        self._calls = 0

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", TYPE)])
        if environ["PATH_INFO"] == "/calls":
            return [b"%d" % self._calls]
        key = environ["PATH_INFO"] if self._by_path else ""
        if key not in self._pages or not self._keep:
            self._calls += 1
            self._pages[key] = self._body
        return [self._pages[key]]


def test_the_proof_accepts_an_application_that_keeps_pages() -> None:
    prove.prove(prove.wsgi_get(_App()))


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (_App(keep=False), "rendered 2 times, expected 1"),
        (_App(by_path=False), "rendered 1 times, expected 2"),
        (_App(body="another page"), "is not the page"),
    ],
    ids=["renders each time", "has one page for all", "has another body"],
)
def test_the_proof_refuses(app: _App, said: str) -> None:
    with pytest.raises(prove.ProofError, match=said):
        prove.prove(prove.wsgi_get(app))


def test_a_process_that_is_refused_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "uncached.py").write_text(
        "from benchmarks.peers.pages import CALLS, TYPE\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', TYPE)])\n"
        "    said = CALLS.text() if environ['PATH_INFO'] == '/calls' else CALLS.render()\n"
        "    return [said.encode()]\n"
    )
    path = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))}
    command = (sys.executable, "-m", "benchmarks.peers.prove", "uncached:app", "wsgi")
    run = subprocess.run(
        command, env={**environment, **path}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (
        1,
        "uncached:app: /items/7: rendered 2 times, expected 1\n",
    )


# Groups -----------------------------------------------------------------------------------------


def test_each_peer_can_forget_a_group_or_it_is_said_why_not() -> None:
    can = {(mechanism.peer, store) for mechanism in groups.MECHANISMS for store in mechanism.stores}
    for peer in PEERS:
        name = peer.name.partition(",")[0]
        if peer.store != "files" and (name, peer.store) not in can:
            assert {name, f"{name} on {peer.store}"} & set(groups.WITHOUT), (name, peer.store)


@pytest.mark.parametrize(("mechanism", "store"), MECHANISMS_HERE, ids=_id)
def test_a_group_is_forgotten_and_no_other(mechanism: groups.Mechanism, store: str) -> None:
    found = groups.measured(mechanism, store, 10)  # a cell proves both before it says "done"
    assert (found.word, found.why) == ("", "")
    assert found.seconds is not None and found.seconds > 0


def test_the_table_and_the_json_have_figures_and_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        ("memory", 10): groups.Found(0.25),
        ("memory", 20): groups.Found(0.5),
        ("memcached", 10): groups.Found(None, "> 30 s"),
        ("redis", 10): groups.Found(None, "failed", "lost pages"),
    }
    monkeypatch.setattr(groups, "measured", lambda _, store, pages: found[store, pages])
    file = tmp_path / "groups.json"
    assert groups.main(["--pages", "10,20", "--only", "pagegen", "--json", str(file)]) == 0
    (table,) = json.loads(file.read_text("utf-8"))["tables"]
    assert [[row[0], *row[3:]] for row in table["rows"]] == [
        ["memory", 250.0, 500.0],
        ["memcached", "> 30 s", "> 30 s"],  # more pages were not tried
        ["Redis", "failed", "failed"],
    ]
    page = capsys.readouterr().out
    assert "10 pages  20 pages" in page
    assert "pagegen on Redis, cache.invalidate(namespace), 10 pages: lost pages" in page


def test_a_peer_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VENV_BENCH", str(tmp_path / "bench"))
    table = groups.table((10,), ("fastapi-cache2",))
    assert {row[3] for row in table.rows} == {"not here"}
    assert any("fastapi-cache2" in note and "make bench" in note for note in table.notes)


class _Shelf(Group):
    """Pages of ``filled`` users in a set; ``forgotten`` says whose go."""

    def __init__(self, *forgotten: int, filled: tuple[int, ...] = USERS) -> None:
        super().__init__("memory")
        self._pages: set[tuple[int, int]] = set()
        self._forgotten, self._filled = forgotten, filled

    def fill(self, pages: int) -> None:
        self._pages |= {(user, number) for user in self._filled for number in range(pages)}

    def visit(self, user: int, number: int) -> None:
        if (user, number) not in self._pages:
            self.render()
            self._pages.add((user, number))

    def forget(self) -> None:
        self._pages -= {page for page in self._pages if page[0] in self._forgotten}


def test_a_cell_accepts_who_forgets_one_group() -> None:
    assert cell.measure(_Shelf(OURS), 10) > 0


@pytest.mark.parametrize(
    "group",
    [_Shelf(), _Shelf(*USERS), _Shelf(OURS, filled=(THEIRS,)), _Shelf(OURS, filled=(OURS,))],
    ids=["forgets nothing", "forgets all", "had no pages of ours", "had none of theirs"],
)
def test_a_cell_refuses_who_does_something_else(group: Group) -> None:
    with pytest.raises(prove.ProofError, match="rendered"):
        cell.measure(group, 10)


def _judged(*lines: dict[str, Any]) -> groups.Found:
    queue: SimpleQueue[str] = SimpleQueue()
    for line in lines:
        queue.put(json.dumps(line))
    return groups._judged(queue)


def test_the_figure_is_the_median_of_what_a_cell_said() -> None:
    rounds = [
        {"stage": "filled"}, {"stage": "forgot"}, {"stage": "proven", "seconds": 1.0},
        {"stage": "filled"}, {"stage": "forgot"}, {"stage": "proven", "seconds": 9.0},
        {"stage": "filled"}, {"stage": "forgot"}, {"stage": "proven", "seconds": 2.0},
    ]  # fmt: skip
    assert _judged(*rounds, {"stage": "done"}) == groups.Found(2.0)


def test_who_forgets_for_too_long_gets_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "FORGETTING", 0.01)
    assert _judged({"stage": "filled"}).word == "> 0 s"


def test_what_is_not_proven_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "FORGETTING", 0.01)
    assert _judged({"stage": "filled"}, {"stage": "forgot"}).word == "not proven in 0 s"


def test_rounds_before_one_that_hangs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "FILLING", 0.01)
    assert _judged({"stage": "filled"}, {"stage": "proven", "seconds": 1.0}) == groups.Found(1.0)


def test_who_cannot_be_filled_gets_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "FILLING", 0.01)
    assert _judged().word == "not filled in 0 s"


def test_a_process_that_ends_without_a_word_failed() -> None:
    with groups._lines((sys.executable, "-c", ""), os.environ) as lines:
        assert groups._judged(lines).word == "failed"


def test_a_process_that_hangs_is_ended() -> None:
    program = "import os, threading; print(os.getpid(), flush=True); threading.Event().wait()"
    before = threading.active_count()
    with groups._lines((sys.executable, "-c", program), os.environ) as lines:
        pid = int(lines.get(timeout=20))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert threading.active_count() == before
