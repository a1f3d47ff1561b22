"""Nothing of cache, keys, paths and people leaves in headers, logs or counters unless asked for."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import Any

import pytest

from pagegen import InvalidationError
from pagegen.errors import StoreError, WritingError
from pagegen.testing import Answer, Front, Reply, Scenario, Seen
from tests.scenarios.test_collapse import until
from tests.security.silence import (
    FIELDS,
    FORGOTTEN,
    GROUPS,
    NAME,
    SENT,
    SESSION,
    WORDS,
    Moody,
    added,
    leaks,
    listening,
    site,
)

PAGE = f"/pages/{WORDS['path']}?q={WORDS['query']}"
TARGETS = [
    PAGE,
    f"/mine/{WORDS['path']}",
    f"/strict/{WORDS['path']}",
    f"/open/{WORDS['path']}",
    f"/short/{WORDS['path']}",
    f"/told/{WORDS['path']}",
    f"/nothing/{WORDS['path']}?{WORDS['query']}",
    f"/pages/{WORDS['path']}?undeclared={WORDS['query']}",
    f"/pages/..%2f{WORDS['path']}%0d%0a",
    f"/pages/{WORDS['path'] * 1000}",
]
CONDITIONS: list[dict[str, str]] = [
    {},
    {"if-none-match": f'"{WORDS["header"]}"'},
    {"if-none-match": "*"},
    {"range": "bytes=0-1"},
    {"range": "bytes=999-"},
    {"if-match": f'"{WORDS["header"]}"'},
    {"cache-control": "only-if-cached"},
    {"cache-control": "no-cache"},
    {"authorization": f"Basic {WORDS['identity']}"},
    {"host": f"{WORDS['host']}/{WORDS['path']}"},
    {"pagegen-debug": f"2000000000.{WORDS['header']}"},
    {"cookie": f"session={WORDS['identity']}; session={WORDS['cookie']}"},
]


def visits(stage: Scenario) -> list[Answer]:
    """Every verdict that the fields of a request bring about."""
    answers = []
    for target in TARGETS:
        answers += [stage.get(target, FIELDS | more) for more in CONDITIONS]
        answers += [stage.request(m, target, FIELDS) for m in ("HEAD", "OPTIONS", "POST", "PUT")]
        answers.append(stage.get(target, FIELDS))
    return answers


def with_groups(seen: Seen) -> Reply:
    if seen.method == "POST":
        return Reply(b"", 303, [*SENT, FORGOTTEN])
    return Reply(WORDS["body"].encode(), fields=[*SENT, GROUPS])


def failing(seen: Seen) -> Reply:
    raise RuntimeError("the application's own words")


def with_cookie(seen: Seen) -> Reply:
    return Reply(b"x", fields=[SESSION])


def troubles(stage: Scenario, store: Moody) -> list[Answer]:
    """Every failure, as often as it is told of anew."""
    answers = []
    for handler in (with_groups, with_cookie):
        stage.handler = handler
        answers += [stage.get(PAGE, FIELDS), stage.post(PAGE, FIELDS)]
    answers += stale_and_rescued(stage)
    for verbs in ({"read"}, {"write_page"}, {"replace_tokens"}, {"remove_tokens"}):
        store.away = frozenset(verbs)
        stage.clock.advance(120)
        answers += [stage.get(target, FIELDS) for target in TARGETS]
        answers += [stage.post(PAGE, FIELDS), stage.post(PAGE, FIELDS)]
        for soft in (False, True):
            with suppress(InvalidationError):
                stage.cache.invalidate(NAME, soft=soft)
        with suppress(InvalidationError, WritingError), stage.cache.writing(NAME, term=1):
            stage.clock.advance(2)
    store.away = frozenset({"replace_tokens"})
    with suppress(InvalidationError):
        stage.cache.invalidate(NAME)
    stage.cache.tag(NAME)
    return answers


def stale_and_rescued(stage: Scenario) -> list[Answer]:
    stage.handler = lambda seen: Reply(b"again", fields=[("Cache-Control", "max-age=60")])
    stage.clock.advance(300)
    answers = [stage.get(PAGE, FIELDS)]
    stage.clock.advance(70)
    stored = stage.cache.statistics()["admitted"]
    answers.append(stage.get(PAGE, FIELDS))  # within swr: old, and refreshed behind its client
    until(lambda: stage.cache.statistics()["admitted"] > stored)
    stage.handler = failing
    stage.clock.advance(100)
    answers.append(stage.get(PAGE, FIELDS))  # within sie: old, for the handler raised
    stage.handler = with_groups
    return answers


#: What was said, so that it was looked at.
TOLD = [
    "the store did not acknowledge the invalidation of",
    "namespaces whose invalidation the store never acknowledged",
    "the store failed; such requests go to the application",
    "the marks of a strict write of cart:…/things were gone",
    "failed (LookupError at ",
    "cache.tag(cart:…/things) was called where no request is handled",
    "an expired page was served in its place",
    "a response was not stored: set-cookie",
]


def test_no_word_of_a_visitor_is_in_a_header_a_line_or_a_counter(front: Front) -> None:
    with listening() as said:
        with site(front) as (stage, store):
            answers = [*visits(stage), *troubles(stage, store)]
            counted = "\n".join(stage.cache.statistics())
        lines = "\n".join(said)  # the end, where something is still owed, included
    assert leaks(added(answers)) == set()
    assert leaks(counted) == set()
    # The host stands in no line either, and what the application raised is its own.
    assert leaks(lines) == set()
    for told in TOLD:
        assert told in lines
    assert all(line.isprintable() for entry in said for line in entry.split("\n"))


def test_whole_names_are_logged_where_that_was_asked_for(front: Front) -> None:
    """And so the words above were looked for where they would have been."""
    with listening() as said, site(front, log_names=True) as (stage, store):
        store.away = frozenset({"replace_tokens"})
        with pytest.raises(InvalidationError) as caught:
            stage.cache.invalidate(NAME)
        stage.post(PAGE, FIELDS)
    assert NAME in str(caught.value)
    assert leaks("\n".join(said)) >= {"namespace", "path"}


def test_an_error_tells_its_names_to_code_and_not_to_logs(front: Front) -> None:
    with site(front) as (stage, store):
        store.away = frozenset({"replace_tokens"})
        with pytest.raises(InvalidationError) as caught:
            stage.cache.invalidate(NAME, f"page:{WORDS['path']}")
        store.away = frozenset({"read", "replace_tokens"})
        with pytest.raises(StoreError) as strict, stage.cache.writing(NAME):
            pass
    assert caught.value.namespaces == (NAME, f"page:{WORDS['path']}")
    assert NAME in strict.value.namespaces
    for error in (caught.value, strict.value):
        assert leaks(f"{error} {error!r}") == set()
        assert "cart:…/things" in str(error)
    assert "page:{page}" in str(caught.value)


#: What a response has that its handler did not send, unless somebody asked for more.
OURS = {
    *("accept-ranges", "age", "content-length", "content-range", "date", "etag", "set-cookie"),
    *("cache-control", "content-type", "vary"),
}


def test_a_response_tells_nothing_of_the_cache_but_what_http_asks_for(front: Front) -> None:
    """``Age`` is what a cache must say of what it stored (RFC 9111 §5.1), and ``Vary`` names what
    the rule keys, not by which field somebody is known.
    """
    with site(front) as (stage, store):
        answers = [*visits(stage), *troubles(stage, store)]
    assert {v for a in answers for n, v in a.fields if n.lower() == "vary"} <= {"X-Kind", "*"}
    names = {name.lower() for answer in answers for name, _ in answer.fields}
    assert names - {"cache-groups", "cache-group-invalidation"} <= OURS
    cookies = {v for a in answers for n, v in a.fields if n.lower() == "set-cookie"}
    mine = {value for value in cookies if WORDS["cookie"] not in value}
    assert mine
    assert all(re.match(r"pagegen_wrote_[0-9a-f]{8}=[0-9]+\.[0-9a-f]{32}; ", c) for c in mine)


def test_counters_have_names_of_ours_and_nobody_elses(front: Front) -> None:
    with site(front) as (stage, store):
        visits(stage)
        before = set(stage.cache.statistics())
        for number in range(50):
            stage.get(f"/pages/{number}?q={number}", FIELDS | {"cookie": f"session={number}"})
            stage.get(f"/mine/{number}", FIELDS | {"cookie": f"session={number}"})
        after = set(stage.cache.statistics())
        store.away = frozenset()
    assert after == before  # a flood makes no series
    assert all(re.fullmatch(r"[a-z][a-z_:-]+", name) for name in after)


@pytest.mark.parametrize("told", [False, True], ids=["silent", "cache_status"])
def test_no_page_is_kept_with_what_was_told_of_it(front: Front, told: bool) -> None:
    """Somebody who may asks first, and so makes the page that others get."""
    with site(front, cache_status=told) as (stage, _):
        name, value = stage.cache.debug_header()
        first = stage.get(PAGE, FIELDS | {name: value})
        second = stage.get(PAGE, FIELDS)
    assert 'key="' in (first.get("cache-status") or "")
    assert first.get("cache-control") == "max-age=60, no-store"  # no cache on the way keeps it
    assert ("no-store" in (second.get("cache-control") or ""), "key=" in str(second.fields)) == (
        False,
        False,
    )
    assert (second.get("cache-status") is not None) is told


def test_a_planner_that_breaks_tells_where_and_not_about_what(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(self: Any, request: Any) -> Any:
        raise KeyError(request.path)

    monkeypatch.setattr("pagegen.planning.Planner._plan", breaks)
    with listening() as said, site(front) as (stage, _):
        assert stage.get(PAGE, FIELDS).status == 200
    assert leaks("\n".join(said)) == set()
    assert any("KeyError at " in line for line in said)


def test_a_level_of_debugging_says_no_more(front: Front) -> None:
    """There is nothing to be switched on by accident in production."""
    with listening() as said, site(front) as (stage, _):
        visits(stage)
    assert {line.split()[1] for line in said} <= {"WARNING", "INFO", "ERROR"}
    assert logging.getLogger("pagegen").level == logging.NOTSET
