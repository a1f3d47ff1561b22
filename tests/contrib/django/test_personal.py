"""What is one visitor's stays with that visitor, and works: users, sessions, tokens, messages."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from pagegen.contrib.django import cache
from tests.contrib.django.conftest import Settings
from tests.contrib.django.setting_up import MIDDLEWARE
from tests.contrib.django.site import Site


def test_pages_keyed_by_the_user_are_each_users_own(site: Site) -> None:
    ann, bob, nobody = site.visitor("ann"), site.visitor("bob"), site.visitor()
    pages = {}
    for who, visitor in (("ann", ann), ("bob", bob), ("AnonymousUser", nobody)):
        first, second = visitor.get("/mine/user"), visitor.get("/mine/user")
        assert (first.trace, second.trace) == ("uri-miss, stored", "hit"), who
        assert f'"{who}"' in first.text and first.text == second.text
        pages[who] = first.text
    assert len(set(pages.values())) == 3
    assert site.visitor("ann").get("/mine/user").text == pages["ann"]  # another browser of hers


def test_an_asynchronous_view_of_the_user_is_keyed_too(site: Site) -> None:
    ann, bob = site.visitor("ann"), site.visitor("bob")
    assert ann.get("/amine").text.endswith("ann")
    assert bob.get("/amine").text.endswith("bob")
    assert ann.get("/amine").trace == "hit"
    assert ann.get("/ashows").trace == "refused-private"


def test_a_public_page_that_names_its_user_is_never_shared(site: Site) -> None:
    ann, bob = site.visitor("ann"), site.visitor("bob")
    for _ in range(2):
        answer = ann.get("/shows/user")
        assert '"ann"' in answer.text and answer.trace == "refused-private"
        assert "Cookie" in (answer.get("vary") or "")
        assert '"bob"' in bob.get("/shows/user").text


def test_a_public_page_is_one_for_those_who_are_logged_in_and_others(site: Site) -> None:
    ann, nobody = site.visitor("ann"), site.visitor()
    first = ann.get("/plain")
    assert first.trace == "uri-miss, stored"
    assert nobody.get("/plain").text == first.text
    assert first.get("vary") is None and first.get("set-cookie") is None


def test_a_hit_of_a_public_page_asks_the_database_nothing(
    site: Site, django_queries: list[str]
) -> None:
    ann = site.visitor("ann")
    ann.get("/plain")
    django_queries.clear()
    assert ann.get("/plain").trace == "hit"
    assert django_queries == []
    assert '"ann"' in ann.get("/mine/user").text
    assert len(django_queries) == 2  # the session and the user


def test_a_view_that_writes_the_session_keeps_it(site: Site) -> None:
    visitor, other = site.visitor(), site.visitor()
    assert [visitor.get("/visits").text for _ in range(3)] == ["visit 1", "visit 2", "visit 3"]
    assert other.get("/visits").text == "visit 1"


@pytest.mark.parametrize("kind", ["session", "jar"])
def test_a_page_keyed_by_the_session_sees_it(site: Site, kind: str) -> None:
    visitor, other = site.visitor(), site.visitor()
    visitor.get("/visits")
    other.get("/visits")
    other.get("/visits")
    first = visitor.get(f"/{kind}/session")
    assert first.trace == "uri-miss, stored" and '{\\"visits\\": 1}' in first.text
    assert visitor.get(f"/{kind}/session").trace == "hit"
    assert '{\\"visits\\": 2}' in other.get(f"/{kind}/session").text


def test_who_logs_in_at_a_cacheable_page_is_logged_in(site: Site) -> None:
    site.visitor("ann")
    visitor = site.visitor()
    assert visitor.get("/login/ann").trace == "refused-private"
    assert '"ann"' in visitor.get("/shows/user").text


@pytest.mark.parametrize("sessions", [False, True])
def test_a_page_with_a_token_works_for_its_visitor_and_is_never_shared(
    site: Site, pagegen_settings: Settings, sessions: bool
) -> None:
    pagegen_settings(MIDDLEWARE=MIDDLEWARE, CSRF_USE_SESSIONS=sessions)
    visitor, other = site.visitor(), site.visitor()
    answer = visitor.get("/form")
    assert answer.trace == "refused-private"
    token = re.search(r'value="(\w+)"', answer.text)
    assert token is not None
    assert other.post("/form", csrfmiddlewaretoken=token[1]).status == 403
    assert visitor.post("/form", csrfmiddlewaretoken=token[1]).text == "posted"
    again = visitor.get("/form")
    assert again.trace == "refused-private"
    # Its secret is still the same: a form in another window works.
    assert visitor.post("/form", csrfmiddlewaretoken=token[1]).text == "posted"
    assert visitor.get("/plain").trace == "uri-miss, stored"


@pytest.mark.parametrize("behind", [True, False])
def test_messages_wait_for_a_page_that_is_not_shared(
    site: Site, pagegen_settings: Settings, behind: bool
) -> None:
    ours, theirs = MIDDLEWARE[-2:]
    order = [ours, theirs] if behind else [theirs, ours]
    pagegen_settings(MIDDLEWARE=[*MIDDLEWARE[:2], MIDDLEWARE[3], *order])
    visitor, other = site.visitor(), site.visitor()
    assert visitor.get("/says").trace.startswith("refused")
    shared = visitor.get("/shows/messages")
    assert '"shown": "[]"' in shared.text and shared.trace == "uri-miss, stored"
    assert other.get("/shows/messages").trace == "hit"
    assert "messages" in visitor.cookies
    assert "done" in visitor.post("/shows/messages").text
    assert "messages" not in visitor.cookies


def test_users_who_come_at_one_time_never_get_each_others_pages(site: Site) -> None:
    names = ["ann", "bob", "cid", "dot"]
    visitors = [site.visitor(name) for name in names]
    barrier = Barrier(len(names))

    def visit(number: int) -> list[str]:
        texts = []
        for turn in range(10):
            barrier.wait(20)
            texts.append(visitors[number].get("/mine/user").text)
            texts.append(visitors[number].get("/shows/user").text)
            if turn % 3 == number % 3:
                cache.invalidate("things")
        return texts

    with ThreadPoolExecutor(len(names)) as pool:
        for name, texts in zip(names, pool.map(visit, range(len(names))), strict=True):
            assert all(f'"{name}"' in text for text in texts)


def test_outer_middleware_sees_who_has_logged_in(site: Site, pagegen_settings: Settings) -> None:
    sessions, authentication, ours = MIDDLEWARE[0], MIDDLEWARE[3], MIDDLEWARE[4]
    outer = "tests.contrib.django.outer.Names"
    site.visitor("ann")
    pagegen_settings(MIDDLEWARE=[sessions, authentication, outer, ours])
    assert Site(site.kind).visitor().get("/login/ann").get("x-user") == "ann"
