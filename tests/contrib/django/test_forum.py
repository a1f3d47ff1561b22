"""A forum under gunicorn and uvicorn with four workers, judged by the live checker."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest

from pagegen.testing.check import Promise, Read, Terms
from pagegen.testing.check.__main__ import main
from pagegen.testing.check.clients import Place
from pagegen.testing.check.events import read_events, read_terms
from pagegen.testing.check.running import Limits, Outcome, Yours, run_yours
from tests.contrib.django.forum.serving import WORKERS, Forum, Kind, serving
from tests.contrib.django.forum.visiting import (
    BODY,
    LISTS,
    PUBLIC,
    VERSION,
    WRITE,
    Visitors,
    fields_of,
)
from tests.databases import Database, Postgresql

pytestmark = pytest.mark.timeout(120)

#: Seconds of load, and of each of the rounds in which a mistake must be noticed.
SECONDS: Final = 8.0
ROUND: Final = 2.0
ROUNDS: Final = 10
#: Nothing is soft here: after a second nobody gets what is older than what somebody has seen.
TERMS: Final = Terms(age=1.0)
STALE: Final = {Promise.RESURRECTION, Promise.OWN_WRITES, Promise.GROUPS}


@dataclass(frozen=True)
class Deployment:
    """``bound``: every request in a transaction, and invalidations in the outbox, too."""

    server: Kind
    placement: str
    postgresql: bool = False
    bound: bool = False


DEPLOYMENTS: Final = {
    "gunicorn, inside, SQLite": Deployment("gunicorn", "inside"),
    "uvicorn, around, SQLite": Deployment("uvicorn", "around"),
    "gunicorn, around, PostgreSQL, outbox": Deployment("gunicorn", "around", True, True),
    "uvicorn, inside, PostgreSQL": Deployment("uvicorn", "inside", True),
}


def run(forum: Forum, seconds: float, history: Path) -> Outcome:
    """A while of load, and what came of it."""
    yours = Yours(place=Place(forum.port), targets=Visitors(forum.sessions), terms=TERMS)
    with history.open("w", encoding="utf-8") as record:
        limits = Limits(seconds=seconds, clients=6, writes=0.07, record=record)
        return run_yours(yours, limits, lambda _: None)


def broken(outcome: Outcome) -> dict[Promise, list[str]]:
    assert outcome.verdict is not None
    return {f.promise: f.examples for f in outcome.verdict.findings if f.broken}


def reads(history: Path) -> list[Read]:
    with history.open(encoding="utf-8") as file:
        read_terms(file)
        return [event for event in read_events(file) if isinstance(event, Read)]


def kind(page: str) -> str:
    """The view that a page is of."""
    return "".join(c for c in page.partition("?")[0].partition(" ")[0] if not c.isdigit())


def outbox(database: Database) -> int:
    """Rows that were in the outbox; none is left."""
    with psycopg.connect(database.dsn) as connection:
        assert connection.execute("SELECT * FROM pagegen_outbox").fetchall() == []
        found = connection.execute(
            "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'pagegen_outbox'"
        ).fetchone()
    return int(found[0]) if found else 0


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_no_page_of_a_forum_outlives_what_it_was_made_from(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chosen, database = DEPLOYMENTS[name], None
    if chosen.postgresql:
        server: Postgresql = request.getfixturevalue("postgresql")
        database = server.fresh()
    more = {"FORUM_ATOMIC": "1", "FORUM_OUTBOX": "1"} if chosen.bound else None
    history = tmp_path / "history"
    with serving(
        chosen.server,
        tmp_path,
        placement=chosen.placement,
        database=database.django() if database is not None else None,
        more=more,
    ) as forum:
        outcome = run(forum, SECONDS, history)
        assert not broken(outcome)
        assert outcome.verdict is not None
        assert outcome.verdict.state == "kept", outcome.verdict.missing
    if chosen.bound:
        assert database is not None
        assert outbox(database) > outcome.counts["writes"]
    told = reads(history)
    hits = Counter(kind(read.page) for read in told if read.how.startswith("hit"))
    print(dict(outcome.counts), hits)
    assert set(hits) == {"/", "/boards//", "/picks/", "/threads//", "/threads//mine/", "/me/"}
    assert len({read.worker for read in told}) == WORKERS
    assert outcome.counts["writes"] > 20


@pytest.mark.parametrize("mistake", ["early", "undeclared"])
def test_a_mistake_in_the_forum_is_found(mistake: str, tmp_path: Path) -> None:
    with serving("gunicorn", tmp_path, more={"FORUM_MISTAKE": mistake}) as forum:
        for _ in range(ROUNDS):
            found = broken(run(forum, ROUND, tmp_path / "history"))
            print(found)
            if STALE & set(found):
                break
    assert STALE & set(found)
    assert Promise.ISOLATION not in found


def test_the_command_judges_a_forum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving("uvicorn", tmp_path) as forum:
        fields = [f"{name}: {value}" for name, value in fields_of(forum.sessions["ada"])]
        given = ["--url", f"http://127.0.0.1:{forum.port}", "--ids", "1-20", "--version", VERSION]
        given += ["--write", WRITE, "--body", BODY, "--max-age", "1s", "--writes", "0.2"]
        given += [word for target in (*PUBLIC, *LISTS, "/me/") for word in ("--read", target)]
        given += [word for field in fields for word in ("--header", field)]
        with pytest.raises(SystemExit) as ended:
            main([*given, "--seconds", "4", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (ended.value.code, told["state"]) == (0, "kept")
    assert told["hits"] > 10
    assert told["writes"] > 5
