"""What one visitor can learn of another's pages by asking: nothing, by answer or by waiting.

Public pages are another matter: whether one is stored shows in its age and its time, which is said
in the threat model and not promised.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from pagegen import Identity, Rule
from pagegen.testing import PATIENCE, Answer, Front, Reply, Scenario, Seen
from tests.conftest import MakeScenario

WHO: Final = Identity(name="user", sources=["header:x-user"], anonymous="bypass")
OPTIONS: Final[dict[str, Any]] = {"identities": [WHO], "cache_status": False}
MINE: Final = Rule(
    path="/mine/{page}", share=["user"], namespaces=["user:{identity.user}"], ttl=60, swr=60, sie=60
)
#: Without namespaces, the slot alone keeps people apart; above each has tokens of their own, too.
PLAIN: Final = Rule(path="/plain/{page}", share=["user"], ttl=60, swr=60, sie=60)

QUESTIONS: list[dict[str, str]] = [
    {},
    {"if-none-match": "*"},
    {"if-match": "*"},
    {"range": "bytes=0-1"},
    {"range": "bytes=900-"},
    {"cache-control": "only-if-cached"},
    {"cache-control": "max-stale"},
    {"cache-control": "no-cache"},
    {"cache-control": "max-age=0"},
    {"cache-control": "min-fresh=999"},
    {"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    {"if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT"},
    {"accept-encoding": "gzip"},
    {"cookie": "x=1"},
]


def page(seen: Seen) -> Reply:
    who = seen.fields.get("x-user", "nobody")
    fields = [("Cache-Control", "max-age=60"), ("Last-Modified", "Fri, 01 Jan 2021 00:00:00 GMT")]
    return Reply(f"page of {who}".encode() * 20, fields=fields)


def asked(
    stage: Scenario,
    user: str,
    question: dict[str, str],
    method: str = "GET",
    target: str = "/mine/1",
) -> Answer:
    return stage.request(method, target, {"x-user": user, **question})


def told(answer: Answer) -> tuple[Any, ...]:
    """Everything of an answer."""
    return answer.status, answer.fields, answer.chunks


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("target", "past"),
    [("/mine/1", "fresh"), ("/mine/1", "forgotten"), ("/plain/1", "fresh"), ("/plain/1", "stale")],
)
def test_whether_anothers_page_is_stored_changes_nothing(
    front: Front, question: dict[str, str], method: str, target: str, past: str
) -> None:
    """Two worlds: in one Ada was here before. Eve gets the same, byte for byte, in both."""
    worlds = []
    for ada_was_here in (False, True):
        with Scenario(front, [MINE, PLAIN], **OPTIONS) as stage:
            stage.handler = page
            if ada_was_here:
                asked(stage, "ada", {}, target=target)
            stage.clock.advance(90 if past == "stale" else 1)
            if past == "forgotten":
                stage.cache.invalidate("user:ada")
            before = stage.renders
            first = told(asked(stage, "eve", question, method, target))
            again = told(asked(stage, "eve", question, target=target))
            worlds.append((first, again, stage.renders - before))
    assert worlds[0] == worlds[1]


@pytest.mark.parametrize("field", ["if-none-match", "if-match", "if-range"])
def test_anothers_validator_says_nothing(scenario: MakeScenario, field: str) -> None:
    """A tag that somebody guessed or found is compared with one's own page alone."""
    stage = scenario(PLAIN, **OPTIONS)
    stage.handler = page
    adas = str(asked(stage, "ada", {}, target="/plain/1").get("etag"))
    more = {"range": "bytes=0-3"} if field == "if-range" else {}
    first = asked(stage, "eve", {field: adas, **more}, target="/plain/1")
    again = asked(stage, "eve", {field: adas, **more}, target="/plain/1")
    other = asked(stage, "eve", {field: '"never"', **more}, target="/plain/1")
    assert {first.status, again.status, other.status} == {412 if field == "if-match" else 200}
    assert told(again) == told(other)
    assert b"ada" not in first.body + again.body
    own = str(asked(stage, "eve", {}, target="/plain/1").get("etag"))
    assert own != adas
    mine = asked(stage, "eve", {field: own, **more}, target="/plain/1")
    assert mine.status == {"if-none-match": 304, "if-match": 200, "if-range": 206}[field]


def test_a_304_is_of_ones_own_page_where_all_have_one_tag(scenario: MakeScenario) -> None:
    """An application whose tag names a version and not a person."""
    stage = scenario(PLAIN, **OPTIONS)
    stage.handler = lambda seen: Reply(
        str(seen.fields["x-user"]).encode(), fields=[("ETag", '"v1"')]
    )
    asked(stage, "ada", {}, target="/plain/1")
    assert asked(stage, "eve", {}, target="/plain/1").text == "eve"
    before = stage.renders
    assert asked(stage, "bob", {"if-none-match": '"v1"'}, target="/plain/1").status == 304
    assert stage.renders == before + 1  # from Bob's own rendering: Ada's and Eve's said nothing
    assert asked(stage, "bob", {}, target="/plain/1").text == "bob"


def test_nobody_waits_for_anothers_rendering(scenario: MakeScenario) -> None:
    """By waiting, Eve would learn that Ada asks at this moment, and for how long."""
    stage = scenario(PLAIN, **OPTIONS)
    entered, gate = threading.Event(), threading.Event()

    def handler(seen: Seen) -> Reply:
        if seen.fields["x-user"] == "ada":
            entered.set()
            assert gate.wait(PATIENCE)
        return page(seen)

    stage.handler = handler
    with ThreadPoolExecutor(2) as pool:
        ada = pool.submit(asked, stage, "ada", {}, target="/plain/1")
        assert entered.wait(PATIENCE)
        try:
            # While Ada's page is being made.
            eve = pool.submit(asked, stage, "eve", {}, target="/plain/1").result(PATIENCE)
            assert not ada.done()
            assert "wait" not in stage.cache.statistics()
        finally:
            gate.set()
        assert b"eve" in eve.body
        assert b"ada" in ada.result(PATIENCE).body


def test_the_stored_key_of_a_page_tells_whose_it_is_and_is_never_sent(
    scenario: MakeScenario,
) -> None:
    """One's own page of one site has one slot for all who hold the debug header; others' have
    others.
    """
    stage = scenario(MINE, site_key="a secret of the site", **OPTIONS)
    stage.handler = page
    name, value = stage.cache.debug_header()
    slots = {str(asked(stage, user, {name: value}).get("cache-status")) for user in ("ada", "eve")}
    assert len(slots) == 2
    assert not any("ada" in slot or "eve" in slot for slot in slots)
