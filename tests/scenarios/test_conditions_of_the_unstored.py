"""Conditions on responses that are not stored: their handlers do not see them, so the cache answers
them from the head (RFC 9110 §13.1).
"""

from __future__ import annotations

from typing import Any

import pytest

from pagegen import Rule
from pagegen.testing import Reply
from tests.conftest import MakeScenario

OPEN = Rule(path="/**", share="public")
KEYED = Rule(path="/**", share="public", ttl=60, namespaces=["all"], max_body=1000)
KNOWN = {"if-none-match": '"1"'}
PRIVATE = [("Cache-Control", "private"), ("ETag", '"1"'), ("Content-Type", "text/plain")]

RULES = pytest.mark.parametrize("rule", [OPEN, KEYED], ids=["http", "keyed"])
PIECES = pytest.mark.parametrize(
    "body", [b"mine", [b"mi", b"ne"], [b"", b"mine"], b""], ids=["one", "two", "late", "none"]
)


@RULES
@PIECES
def test_a_client_that_has_the_response_gets_a_304(
    scenario: MakeScenario, rule: Rule, body: Any
) -> None:
    stage = scenario(rule)
    stage.handler = lambda seen: Reply(body, fields=[*PRIVATE, ("Set-Cookie", "a=1")])
    answer = stage.get("/me", KNOWN)
    assert (answer.status, answer.body, answer.trace) == (304, b"", "refused-private")
    assert (answer.get("etag"), answer.get("set-cookie")) == ('"1"', "a=1")
    assert answer.get("content-type") is None
    assert answer.get("content-length") is None
    whole = stage.get("/me", {"if-none-match": '"2"'})
    assert (whole.status, whole.get("content-type")) == (200, "text/plain")
    assert stage.renders == 2


@pytest.mark.parametrize("length", [True, False], ids=["declared", "found"])
def test_a_page_too_large_to_keep_is_not_sent_again(scenario: MakeScenario, length: bool) -> None:
    stage = scenario(KEYED)
    fields = [("ETag", '"1"')] + ([("Content-Length", "2000")] if length else [])
    stage.handler = lambda seen: Reply(b"x" * 2000, fields=fields)
    assert len(stage.get("/large").body) == 2000
    answer = stage.get("/large", KNOWN)
    assert (answer.status, answer.body) == (304, b"")


def test_a_date_is_a_condition_too(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    made = "Sun, 06 Nov 1994 08:49:37 GMT"
    fields = [("Cache-Control", "no-store"), ("Last-Modified", made)]
    stage.handler = lambda seen: Reply(b"mine", fields=fields)
    assert stage.get("/me", {"if-modified-since": made}).status == 304
    before = "Sun, 06 Nov 1994 08:49:36 GMT"
    assert stage.get("/me", {"if-modified-since": before}).text == "mine"


@pytest.mark.parametrize("status", [404, 500, 301])
def test_errors_and_redirects_have_no_conditions(scenario: MakeScenario, status: int) -> None:
    stage = scenario(OPEN)
    stage.handler = lambda seen: Reply(b"no", status, [*PRIVATE])
    assert stage.get("/me", KNOWN).status == status


def test_nothing_is_owed_behind_a_304(scenario: MakeScenario) -> None:
    stage = scenario(KEYED)

    def handler(seen: object) -> Reply:
        stage.cache.invalidate("all")
        return Reply([b"mi", b"ne"], fields=[*PRIVATE])

    stage.handler = handler
    assert stage.get("/me", KNOWN).status == 304
    assert stage.cache.statistics()["owed"] == 0
