"""The forum's pages, asked which rows they were made from: none would outlive them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pagegen.contrib.django.reads import ReadsMiddleware
from pagegen.testing.reads import Missing, ReadRecorder
from tests.contrib.django.forum.within import Within, forum

#: Every page that is cached, and who asks for it.
PAGES = (
    ("/", ""),
    ("/?start=1&end=2", ""),
    ("/boards/1/", "ada"),
    ("/picks/", ""),
    ("/threads/1/", "bob"),
    ("/threads/1/?page=2", ""),
    ("/threads/2/mine/", "ada"),
    ("/me/", "ada"),
    ("/me/", "bob"),
)


@pytest.fixture(params=["wsgi", "asgi"])
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["inside", "around"])
def read(gateway: str, request: pytest.FixtureRequest) -> Iterator[Within]:
    with forum(gateway, request.param, reads=True) as site:
        recorder().clear()
        yield site


def recorder() -> ReadRecorder:
    assert ReadsMiddleware.recorder is not None
    return ReadsMiddleware.recorder


def test_the_pages_of_the_forum_lack_nothing(read: Within) -> None:
    for target, user in PAGES:
        answer = read.get(target, user)
        assert answer.status == 200
        assert "stored" in answer.trace, target
        assert read.get(target, user).trace == "hit"
    recorder().check()


def test_a_view_that_forgot_its_posts_is_found(read: Within) -> None:
    assert "stored" in read.get("/careless/2/").trace
    found = {Missing("/careless/2/", "Post", 2, ("thread:2/posts", "posts"))}
    assert set(recorder().missing) == found


def test_an_asynchronous_view_that_forgot_its_list_is_found(read: Within) -> None:
    assert "stored" in read.get("/careless/").trace
    assert set(recorder().missing) == {Missing("/careless/", "Thread", 3, ("threads",))}
