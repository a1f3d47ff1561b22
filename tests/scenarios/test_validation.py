"""A page over its lifetime is validated with the application's own validators (RFC 9111 §4.3)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pagegen import Rule
from pagegen.testing import Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_http_mode import OPEN, at, reply

CONDITIONS = ("if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range")
KEYED = Rule(path="/**", share="public", ttl=60)


class Origin:
    """An application with validators of its own, which it answers by.

    ``said`` are the fields of its responses, ``fresh`` those that a 304 has besides or instead.
    """

    def __init__(self, body: str = "page", **said: str) -> None:
        self.body = body
        self.said = {"cache_control": "max-age=60", "etag": '"1"', **said}
        self.fresh: dict[str, str] = {}
        self.asked: list[dict[str, str]] = []

    def __call__(self, seen: Seen) -> Reply:
        asked = {name: value for name, value in seen.fields.items() if name in CONDITIONS}
        self.asked.append(asked)
        said = {name: value for name, value in self.said.items() if value}
        known = asked.get("if-none-match") or asked.get("if-modified-since")
        if known is not None and known in (said.get("etag"), said.get("last_modified")):
            return reply("", 304, **{**said, **self.fresh})
        return reply(self.body, **said)


def staged(scenario: MakeScenario, rule: Rule = OPEN, **said: str) -> tuple[Scenario, Origin]:
    """A page that has just expired."""
    stage = scenario(rule)
    stage.handler = origin = Origin(**said)
    stage.get("/a")
    stage.clock.advance(60)
    origin.asked.clear()
    return stage, origin


def validated(stage: Scenario) -> int:
    return stage.cache.statistics().get("validated", 0)


TAG, SINCE = {"etag": '"1"'}, {"last_modified": at(-99)}
ASKED_TAG, ASKED_SINCE = {"if-none-match": '"1"'}, {"if-modified-since": at(-99)}


@pytest.mark.parametrize("rule", [OPEN, KEYED], ids=["http", "keyed"])
@pytest.mark.parametrize(
    ("validators", "asked"),
    [
        (TAG, ASKED_TAG),
        ({"etag": "", **SINCE}, ASKED_SINCE),
        ({**TAG, **SINCE}, {**ASKED_TAG, **ASKED_SINCE}),
        ({"etag": 'W/"1"'}, {"if-none-match": 'W/"1"'}),
    ],
    ids=["tag", "date", "both", "weak tag"],
)
def test_an_expired_page_is_validated_and_lives_again(
    scenario: MakeScenario, rule: Rule, validators: dict[str, str], asked: dict[str, str]
) -> None:
    stage, origin = staged(scenario, rule, **validators)
    answer = stage.get("/a")
    assert origin.asked == [asked]
    assert (answer.status, answer.text, answer.trace) == (200, "page", "stale, stored")
    assert "; fwd-status=304;" in str(answer.get("cache-status"))
    stage.clock.advance(59)
    assert (stage.get("/a").trace, stage.get("/a").get("age")) == ("hit", "59")
    stage.clock.advance(1)
    assert stage.get("/a").text == "page"
    assert (validated(stage), origin.asked) == (2, [asked, asked])


def test_a_304_updates_fields_age_date_and_lifetime_and_keeps_the_body(
    scenario: MakeScenario,
) -> None:
    stage, origin = staged(scenario, x_state="old", x_kept="yes", date=at(0))
    origin.fresh = {
        "x_state": "new",
        "x_added": "too",
        "date": at(50),
        "age": "10",
        "cache_control": "max-age=30",
        "content_length": "0",
    }
    for trace in ("stale, stored", "hit"):
        answer = stage.get("/a")
        assert (answer.trace, answer.text, answer.get("age")) == (trace, "page", "10")
        found = {name: answer.get(name) for name in ("x-state", "x-added", "x-kept")}
        assert found == {"x-state": "new", "x-added": "too", "x-kept": "yes"}
        assert (answer.get("cache-control"), answer.get("content-length")) == ("max-age=30", "4")
    stage.clock.advance(19)
    assert stage.get("/a").trace == "hit"
    stage.clock.advance(1)
    assert stage.get("/a").trace == "stale, stored"


def test_the_date_of_the_304_is_the_pages(scenario: MakeScenario) -> None:
    stage = scenario(OPEN, date="send")
    stage.handler = Origin()
    assert stage.get("/a").get("date") == at(0)
    stage.clock.advance(60)
    assert [stage.get("/a").get("date") for _ in range(2)] == [at(60), at(60)]


def test_codings_of_a_page_are_kept_when_it_is_validated(scenario: MakeScenario) -> None:
    rule = Rule(path="/**", share="public", mode="http", compress=["gzip"])
    stage = scenario(rule)
    stage.handler = Origin(body="word " * 400, content_type="text/plain")
    first = stage.get("/a", {"accept-encoding": "gzip"})
    assert first.get("content-encoding") == "gzip"
    stage.clock.advance(60)
    for trace in ("stale, stored", "hit"):
        again = stage.get("/a", {"accept-encoding": "gzip"})
        assert (again.trace, again.body, again.get("etag")) == (
            trace,
            first.body,
            first.get("etag"),
        )
    assert validated(stage) == 1


def test_a_full_answer_replaces_the_page(scenario: MakeScenario) -> None:
    stage, origin = staged(scenario)
    origin.said["etag"], origin.body = '"2"', "another"
    assert stage.get("/a").text == "another"
    answer = stage.get("/a")
    assert (answer.text, answer.trace, answer.get("etag")) == ("another", "hit", '"2"')
    assert origin.asked == [ASKED_TAG]


# --- The client's own conditions ----------------------------------------------------------------


def test_a_clients_condition_is_answered_from_the_validated_page(scenario: MakeScenario) -> None:
    stage, origin = staged(scenario)
    theirs = {"if-none-match": '"0", "1"', "if-modified-since": at(0)}
    answer = stage.get("/a", theirs)
    assert (answer.status, answer.body, answer.get("etag")) == (304, b"", '"1"')
    assert origin.asked == [ASKED_TAG]
    stage.clock.advance(60)
    answer = stage.get("/a", {"if-none-match": '"0"'})
    assert (answer.status, answer.text) == (200, "page")
    assert origin.asked == [ASKED_TAG] * 2


def test_the_handler_never_sees_a_clients_condition(scenario: MakeScenario) -> None:
    stage, origin = staged(scenario)
    theirs = dict.fromkeys(CONDITIONS, '"1"')
    stage.get("/elsewhere", theirs)
    assert origin.asked == [{}]
    stage.get("/a", {**theirs, "range": "bytes=0-0"})
    assert origin.asked == [{}, ASKED_TAG]


@pytest.mark.parametrize("status", [200, 404])
def test_a_page_without_validators_of_its_own_is_not_validated(
    scenario: MakeScenario, status: int
) -> None:
    """The tag that we made ourselves means nothing to the application; 304 stands for a 200."""
    stage = scenario(OPEN)
    asked: list[bool] = []

    def handler(seen: Seen) -> Reply:
        asked.append(any(name in seen.fields for name in CONDITIONS))
        tag = {"etag": '"1"'} if status != 200 else {}
        return reply("page", status, cache_control="max-age=60", **tag)

    stage.handler = handler
    assert stage.get("/a").get("etag") is not None
    stage.clock.advance(60)
    assert stage.get("/a", {"if-none-match": "*"}).trace == "stale, stored"
    assert asked == [False, False]


def test_an_invalidated_page_is_never_validated(scenario: MakeScenario) -> None:
    stage, origin = staged(scenario)
    origin.said["cache_control"] = "max-age=60, stale-if-error=600"
    stage.get("/a")
    stage.cache.invalidate("url:testserver/a")
    origin.asked.clear()
    assert stage.get("/a").trace == "stale, stored"
    assert (origin.asked, validated(stage)) == ([{}], 1)


def test_each_variant_is_validated_with_its_own_tag_and_stays_where_it_is(
    scenario: MakeScenario,
) -> None:
    stage = scenario(OPEN)
    asked: list[str | None] = []

    def handler(seen: Seen) -> Reply:
        language, known = seen.fields["accept-language"], seen.fields.get("if-none-match")
        asked.append(known)
        said = {"cache_control": "max-age=60", "etag": f'"{language}"'}
        if known == said["etag"]:
            return reply("", 304, **said)
        return reply(language, vary="Accept-Language", **said)

    stage.handler = handler
    languages = [{"accept-language": language} for language in ("de", "fr")]
    for language in languages:
        stage.get("/a", language)
    stage.clock.advance(60)
    for trace in ("stale, stored", "hit"):
        for language in languages:
            answer = stage.get("/a", language)
            assert (answer.text, answer.trace) == (language["accept-language"], trace)
    assert asked == [None, None, '"de"', '"fr"']


def test_a_part_of_a_validated_page_is_sent_from_it(scenario: MakeScenario) -> None:
    stage, origin = staged(scenario)
    answer = stage.get("/a", {"range": "bytes=1-2", "if-range": '"1"'})
    assert (answer.status, answer.text) == (206, "ag")
    assert origin.asked == [ASKED_TAG]


# --- Answers that may not be kept ---------------------------------------------------------------


@pytest.mark.parametrize("control", ["no-store", "private"])
def test_a_304_that_forbids_keeping_serves_its_client_and_nobody_else(
    scenario: MakeScenario, control: str
) -> None:
    stage, origin = staged(scenario, cache_control="max-age=60, stale-if-error=999")
    origin.fresh = {"cache_control": control, "x_for": "ada"}
    answer = stage.get("/a")
    assert (answer.status, answer.text, answer.get("x-for")) == (200, "page", "ada")
    assert answer.trace == f"refused-{control}"
    # What it says is said of the page itself: that is not served again either.
    stage.handler = lambda seen: reply("failed", 503)
    assert stage.get("/a").text == "failed"


def test_a_304_that_sets_a_cookie_reaches_its_client_whole_and_leaves_the_page(
    scenario: MakeScenario,
) -> None:
    stage, origin = staged(scenario)
    origin.fresh = {"set_cookie": "s=ada", "x_for": "ada"}
    for _ in range(2):
        answer = stage.get("/a")
        assert (answer.text, answer.trace) == ("page", "refused-set-cookie")
        assert (answer.get("set-cookie"), answer.get("x-for")) == ("s=ada", "ada")
    origin.fresh = {}
    answer = stage.get("/a")
    assert (answer.trace, answer.get("set-cookie"), answer.get("x-for")) == (
        "stale, stored",
        None,
        None,
    )
    assert origin.asked == [ASKED_TAG] * 3


@pytest.mark.parametrize("control", ["max-age=1, must-revalidate", "s-maxage=1", "no-cache"])
def test_a_304_that_is_not_kept_still_forbids_to_serve_the_page_stale(
    scenario: MakeScenario, control: str
) -> None:
    stage, origin = staged(scenario, cache_control="max-age=60, stale-if-error=999")
    origin.fresh = {"cache_control": control, "set_cookie": "s=ada"}
    assert stage.get("/a").trace == "refused-set-cookie"
    stage.handler = lambda seen: reply("failed", 503)
    assert stage.get("/a").text == "failed"


def test_a_304_to_a_visitor_with_cookies_leaves_the_page_for_others(
    scenario: MakeScenario,
) -> None:
    stage, origin = staged(scenario)
    assert stage.get("/a", {"cookie": "u=ada"}).trace == "refused-cookie"
    assert stage.get("/a").trace == "stale, stored"
    assert stage.get("/a", {"cookie": "u=ada"}).trace == "hit"
    assert origin.asked == [ASKED_TAG] * 2


# --- Failures -----------------------------------------------------------------------------------


def test_an_error_instead_of_a_validation_passes_unless_stale_is_allowed(
    scenario: MakeScenario,
) -> None:
    for control, text in (("", "failed"), (", stale-if-error=60", "page")):
        stage, _ = staged(scenario, cache_control=f"max-age=60{control}")
        stage.handler = lambda seen: reply("failed", 503)
        assert stage.get("/a").text == text
        stage.handler = origin = Origin()
        stage.get("/a")
        assert origin.asked == [ASKED_TAG]


@pytest.mark.parametrize(
    ("control", "seconds", "served"),
    [
        ("max-age=60", 3599, True),
        ("max-age=60", 3600, False),
        ("max-age=60, stale-if-error=10", 9, True),
        ("max-age=60, stale-if-error=10", 10, False),
        ("max-age=60, stale-if-error=0", 0, False),
        ("max-age=60, must-revalidate", 0, False),
        ("max-age=60, proxy-revalidate", 0, False),
        ("s-maxage=60", 0, False),
        ("no-cache", 0, False),
    ],
)
def test_an_application_that_raises_while_validating_cannot_be_reached(
    scenario: MakeScenario, control: str, seconds: int, served: bool
) -> None:
    stage, _ = staged(scenario, cache_control=control)
    stage.clock.advance(seconds)

    def fail(seen: Seen) -> Reply:
        assert seen.fields["if-none-match"] == '"1"'
        raise RuntimeError("away")

    stage.handler = fail
    if served:
        answer = stage.get("/a")
        assert (answer.text, answer.trace) == ("page", "stale hit")
    else:
        with pytest.raises(RuntimeError, match="away"):
            stage.get("/a")


def test_a_304_whose_body_breaks_off_is_an_application_that_raises(
    scenario: MakeScenario,
) -> None:
    stage, _ = staged(scenario)

    def body() -> Iterator[bytes]:
        yield b""
        raise RuntimeError("away")

    stage.handler = lambda seen: Reply(body(), 304, [("ETag", '"1"')])
    assert (stage.get("/a").text, stage.cache.statistics()["flights_flying"]) == ("page", 0)
