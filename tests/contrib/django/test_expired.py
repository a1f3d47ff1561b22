"""Pages past their time inside Django's stack: refreshed behind a client's back, or standing in."""

from __future__ import annotations

import gc
import json
import logging
from typing import Any

import pytest
from django.core.wsgi import get_wsgi_application

from pagegen import PageCache
from pagegen.contrib.django import DjangoPageCache, cache, caches
from pagegen.sources import Sources
from pagegen.testing import FakeClock, environ
from tests.contrib.django.site import Site, journal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The time of the cache that is built in this test."""
    clock = FakeClock()

    def build(cls: Any, configuration: Any) -> PageCache:
        made: Any = PageCache.from_configuration.__func__  # type: ignore[attr-defined]
        return made(cls, configuration, sources=Sources(now=clock))

    monkeypatch.setattr(DjangoPageCache, "from_configuration", classmethod(build))
    caches.reset()
    return clock


def shown(answer: Any) -> Any:
    return json.loads(answer.text)["shown"]


def number(answer: Any) -> int:
    found: int = json.loads(answer.text)["n"]
    return found


def test_an_expired_page_is_refreshed_when_its_client_has_been_answered(
    site: Site, clock: FakeClock
) -> None:
    visitor = site.visitor()
    first = visitor.get("/old/prefix")
    clock.advance(60)
    stale = visitor.get("/old/prefix")
    assert (number(stale), stale.trace) == (number(first), "stale hit")
    fresh = visitor.get("/old/prefix")
    assert (number(fresh), fresh.trace) == (number(first) + 1, "hit")
    assert shown(fresh) == "/plain"


def test_a_refresh_uses_nothing_of_the_visitor_who_caused_it(site: Site, clock: FakeClock) -> None:
    ann = site.visitor("ann")
    ann.get("/visits")
    for what in ("messages", "cookies", "headers"):
        site.visitor().get(f"/old/{what}")
        clock.advance(60)
        assert ann.get(f"/old/{what}").trace == "stale hit"
        fresh = site.visitor().get(f"/old/{what}")
        assert fresh.trace == "hit"
        assert "sessionid" not in fresh.text and "ann" not in fresh.text


def test_a_refresh_of_a_users_page_is_that_users(site: Site, clock: FakeClock) -> None:
    ann, bob = site.visitor("ann"), site.visitor("bob")
    for visitor, name in ((ann, "ann"), (bob, "bob")):
        assert shown(visitor.get("/my/old/user")) == name
    clock.advance(60)
    assert ann.get("/my/old/user").trace == "stale hit"
    assert bob.get("/my/old/user").trace == "stale hit"
    for visitor, name in ((ann, "ann"), (bob, "bob")):
        answer = visitor.get("/my/old/user")
        assert (shown(answer), answer.trace) == (name, "hit")


@pytest.mark.parametrize("site", ["wsgi"], indirect=True)
def test_a_refresh_whose_answer_nobody_closes_is_given_back(site: Site, clock: FakeClock) -> None:
    first = site.visitor().get("/old/prefix")
    clock.advance(60)
    response: Any = get_wsgi_application()(environ("GET", "/old/prefix"), lambda *_: None)
    assert cache.statistics()["flights_flying"] == 1
    del response  # by a server that has lost its client
    gc.collect()
    assert cache.statistics()["flights_flying"] == 0
    assert site.visitor().get("/old/prefix").trace == "stale hit"
    assert number(site.visitor().get("/old/prefix")) == number(first) + 1


def test_an_expired_page_stands_in_for_an_exception(
    site: Site, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "django.request")
    visitor = site.visitor()
    first = visitor.get("/breaks")
    clock.advance(60)
    journal.append("break")
    answer = visitor.get("/breaks")
    assert (answer.status, answer.text, answer.trace) == (200, first.text, "stale hit")
    journal.clear()
    assert visitor.get("/breaks").text != first.text


# Django's own word under ASGI: it cannot iterate a generator without blocking.
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
def test_a_response_that_was_rendered_behind_its_clients_back_is_closed(
    site: Site, clock: FakeClock
) -> None:
    visitor = site.visitor()
    visitor.get("/old-streams/plain")
    clock.advance(60)
    visitor.get("/old-streams/plain")
    assert journal == ["begun", "ended", "closed"] * 2
