"""An application that raises is unreachable (RFC 9111 §4.2.4), one that answers 5xx has an error to
tell (RFC 5861 §4): each has a window of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from starlette.exceptions import HTTPException
from werkzeug.exceptions import Forbidden, ServiceUnavailable

from pagegen import Rule
from pagegen.testing import Answer, Reply, Scenario
from tests.conftest import MakeScenario

OPEN = Rule(path="/page", share="public")
HOUR = 3600


class Row(NamedTuple):
    """What a page says, and how many seconds past its lifetime it is served in each case."""

    id: str
    control: str
    error: int
    unreachable: int
    rule: Rule = OPEN


ROWS = [
    Row("silent", "max-age=10", 0, HOUR),
    Row("stale-if-error", "max-age=10, stale-if-error=60", 60, 60),
    Row("longer-than-an-hour", "max-age=10, stale-if-error=7200", 7200, 7200),
    Row("none-at-all", "max-age=10, stale-if-error=0", 0, 0),
    Row("must-revalidate", "max-age=10, stale-if-error=60, must-revalidate", 0, 0),
    Row("proxy-revalidate", "max-age=10, proxy-revalidate", 0, 0),
    Row("s-maxage", "s-maxage=10, stale-if-error=60", 0, 0),
    Row("rule", "max-age=10, stale-if-error=60", 30, 30,
        Rule(path="/page", share="public", mode="http", sie=30)),
    Row("rule-forbids", "max-age=10, stale-if-error=60", 0, 0,
        Rule(path="/page", share="public", mode="http", sie=0)),
    Row("rule-and-must-revalidate", "max-age=10, must-revalidate", 0, 0,
        Rule(path="/page", share="public", mode="http", sie=30)),
    Row("keyed", "", 0, HOUR, Rule(path="/page", share="public", ttl=10)),
    Row("keyed-with-sie", "", 30, 30, Rule(path="/page", share="public", ttl=10, sie=30)),
]  # fmt: skip
EVERY = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)


def staged(scenario: MakeScenario, row: Row, past: float) -> Scenario:
    """A page that is so many seconds past its lifetime of ten."""
    stage = scenario(row.rule)
    fields = [("Cache-Control", row.control)] if row.control else []
    stage.handler = lambda seen: Reply(b"page", fields=fields)
    assert stage.get("/page").trace == "uri-miss, stored"
    stage.clock.advance(10 + past)
    return stage


def raising(stage: Scenario, error: Exception) -> None:
    def handler(seen: Any) -> str:
        raise error

    stage.handler = handler


def outcome(stage: Scenario) -> Answer | Exception:
    try:
        return stage.get("/page")
    except Exception as error:
        return error


@EVERY
def test_a_page_stands_in_for_an_application_that_raises(scenario: MakeScenario, row: Row) -> None:
    for past in (0, row.unreachable - 1, row.unreachable):
        if past < 0:
            continue
        stage = staged(scenario, row, past)
        raising(stage, LookupError("no way there"))
        found = outcome(stage)
        if past < row.unreachable:
            assert isinstance(found, Answer), past
            assert (found.body, found.trace) == (b"page", "stale hit")
            assert "detail=stale-if-unreachable" in (found.get("cache-status") or "")
            assert found.get("age") == str(10 + past)
        else:
            assert isinstance(found, LookupError), past


@EVERY
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_page_stands_in_for_an_error_within_its_other_window(
    scenario: MakeScenario, row: Row, status: int
) -> None:
    for past in (0, row.error - 1, row.error):
        if past < 0:
            continue
        stage = staged(scenario, row, past)
        stage.handler = lambda seen: Reply(b"failed", status)
        found = stage.get("/page")
        if past < row.error:
            assert (found.status, found.body) == (200, b"page"), past
            assert f"fwd-status={status}" in (found.get("cache-status") or "")
        else:
            assert (found.status, found.body) == (status, b"failed"), past


@pytest.mark.parametrize("error", [HTTPException(404), HTTPException(429), Forbidden()], ids=str)
def test_an_exception_that_stands_for_a_client_error_is_an_answer(
    scenario: MakeScenario, error: Exception
) -> None:
    stage = staged(scenario, ROWS[1], 0)
    raising(stage, error)
    assert outcome(stage) is error


@pytest.mark.parametrize("error", [HTTPException(503), ServiceUnavailable(), TimeoutError()])
def test_any_other_exception_is_no_answer(scenario: MakeScenario, error: Exception) -> None:
    stage = staged(scenario, ROWS[0], 0)
    raising(stage, error)
    found = outcome(stage)
    assert isinstance(found, Answer)
    assert found.body == b"page"


def test_what_was_forgotten_stands_in_for_nothing(scenario: MakeScenario) -> None:
    stage = staged(scenario, ROWS[1], 0)
    stage.handler = lambda seen: Reply(b"done")
    stage.post("/page")
    raising(stage, LookupError("no way there"))
    assert isinstance(outcome(stage), LookupError)
    stage.handler = lambda seen: Reply(b"failed", 503)
    assert stage.get("/page").body == b"failed"


def test_a_failure_after_the_first_byte_is_the_applications_own(scenario: MakeScenario) -> None:
    stage = staged(scenario, ROWS[1], 0)

    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise LookupError("no more")

    stage.handler = lambda seen: Reply(pieces())
    assert isinstance(outcome(stage), LookupError)


def test_a_failure_before_the_first_byte_is_none_of_the_clients(scenario: MakeScenario) -> None:
    stage = staged(scenario, ROWS[1], 0)

    def pieces() -> Iterator[bytes]:
        raise LookupError("nothing")
        yield b""

    stage.handler = lambda seen: Reply(pieces(), fields=[("Cache-Control", "max-age=10")])
    found = outcome(stage)
    assert isinstance(found, Answer)
    assert found.body == b"page"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_page_that_could_be_validated_stands_in_too(scenario: MakeScenario, method: str) -> None:
    stage = scenario(OPEN)
    fields = [("Cache-Control", "max-age=10"), ("ETag", '"1"')]
    stage.handler = lambda seen: Reply(b"page", fields=fields)
    stage.get("/page")
    stage.clock.advance(11)
    raising(stage, ConnectionError("refused"))
    found = stage.request(method, "/page")
    assert (found.status, found.get("etag"), found.get("age")) == (200, '"1"', "11")
    assert stage.renders == 2


def test_a_page_without_a_lifetime_is_never_served_unvalidated(scenario: MakeScenario) -> None:
    stage = scenario(OPEN)
    fields = [("Cache-Control", "no-cache"), ("ETag", '"1"')]
    stage.handler = lambda seen: Reply(b"page", fields=fields)
    stage.get("/page")
    raising(stage, ConnectionError("refused"))
    assert isinstance(outcome(stage), ConnectionError)
