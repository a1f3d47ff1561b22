"""A forum's pages in either placement under either gateway, one request after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from tests.contrib.django.forum import writing
from tests.contrib.django.forum.models import Thread
from tests.contrib.django.forum.within import Within, forum

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@pytest.fixture(params=["wsgi", "asgi"])
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["inside", "around"])
def site(gateway: str, request: pytest.FixtureRequest) -> Iterator[Within]:
    with forum(gateway, request.param) as made:
        yield made


def standing(thread: int) -> int:
    found: int = Thread.objects.with_standing().get(pk=thread).standing
    return found


def test_a_form_with_a_token_is_nobody_elses_and_can_be_posted(site: Within) -> None:
    forms = [site.get("/threads/1/reply/", user) for user in ("ada", "bob", "ada", "")]
    tokens = {found[1] for form in forms if (found := TOKEN.search(form.text))}
    assert len(tokens) == 4
    assert not any(form.trace.startswith("hit") for form in forms)
    fields = {name.lower(): value for name, value in forms[0].fields}
    secret = fields["set-cookie"].partition("csrftoken=")[2].partition(";")[0]
    cookies = {"sessionid": site.sessions["ada"], "csrftoken": secret}
    assert site.get("/threads/1/?page=2").trace == "uri-miss, stored"
    refused = site.post("/threads/1/reply/", cookies, text="no token")
    assert refused.status == 403
    assert site.get("/threads/1/?page=2").trace == "hit"
    sent = TOKEN.search(forms[0].text)
    assert sent
    given = {"text": "bread & wine", "csrfmiddlewaretoken": sent[1]}
    posted = site.post("/threads/1/reply/", cookies, **given)
    assert posted.status == 302
    assert "bread &amp; wine" in site.get("/threads/1/?page=1").text


def test_pages_of_a_thread_and_of_a_list_are_told_apart(site: Within) -> None:
    with transaction.atomic():
        for _ in range(3):
            writing.reply(Thread.objects.get(pk=1), User.objects.get(username="bob"), "again")
    texts = [site.get(f"/threads/1/{page}").text for page in ("", "?page=1", "?page=2")]
    assert texts[0] == texts[1]
    assert ("page 1 of 2" in texts[0], "page 2 of 2" in texts[2]) == (True, True)
    assert site.get("/threads/1/?page=1").trace == "hit"
    lists = [site.get(f"/{part}").text for part in ("", "?start=1", "?start=1&end=2")]
    assert [text.count("<li>") for text in lists] == [3, 2, 1]


def test_own_pages_are_kept_for_each_and_strangers_have_none(site: Within) -> None:
    for user in ("ada", "bob", ""):
        first, second = site.get("/threads/2/mine/", user), site.get("/threads/2/mine/", user)
        assert f"for {user}<" in first.text
        assert first.text == second.text
        # A session says nothing of who has none; inside Django, all of them are nobody.
        assert (second.trace == "hit") == (bool(user) or site.placement == "inside")


def test_every_way_to_write_is_seen_on_every_page_at_once(site: Within) -> None:
    pages = [(page, "") for page in ("/threads/2/", "/", "/boards/1/", "/boards/2/", "/picks/")]
    pages += [("/threads/2/mine/", "ada"), ("/me/", "ada")]
    ada = User.objects.get(username="ada")
    for version, way in enumerate(writing.WAYS, start=standing(2) + 1):
        thread = Thread.objects.get(pk=2)
        boards = {f"/boards/{thread.board}/"}
        for page, user in pages:
            site.get(page, user)
            assert site.get(page, user).trace == "hit"
        with transaction.atomic():
            way(thread, ada)
        boards.add(f"/boards/{thread.board}/")
        assert standing(2) == version, way
        for page, user in pages:
            answer = site.get(page, user)
            if page in boards or "/boards/" not in page:
                assert answer.trace.startswith("stale"), (page, way)
            elsewhere = "/boards/" in page and page != f"/boards/{thread.board}/"
            assert (f"#2 v{version}" in answer.text) != elsewhere, (page, way)
