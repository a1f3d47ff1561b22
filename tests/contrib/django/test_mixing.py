"""Pairs of visitors against pages that print all they can see: nothing of one in the other's."""

from __future__ import annotations

from random import Random

import pytest

from tests.contrib.django.conftest import Settings
from tests.contrib.django.setting_up import MIDDLEWARE
from tests.contrib.django.site import Site, Visitor

PRINTS = ("user", "session", "cookies", "meta", "headers", "messages")
KINDS = ("shows", "mine", "session", "jar", "spoken", "old", "my/old")
#: Requests of each story.
LENGTH = 250


class Person:
    """A visitor whose every input carries a mark of its own."""

    def __init__(self, site: Site, mark: str) -> None:
        self.mark = mark
        self.visitor: Visitor = site.visitor(mark)
        self.visitor.cookies |= {"own": f"cookie-{mark}", "csrftoken": _token(mark)}
        self.fields = {
            "x_own": f"header-{mark}",
            "user_agent": f"agent-{mark}",
            "referer": f"http://testserver/{mark}",
            "accept_language": "en",
        }

    def secrets(self) -> set[str]:
        return {self.mark, *(v for k, v in self.visitor.cookies.items() if k != "messages")}


def _token(mark: str) -> str:
    return (mark * 32)[:32]


@pytest.mark.parametrize("csrf", [False, True])
def test_no_body_holds_anything_of_another_visitor(
    site: Site, pagegen_settings: Settings, csrf: bool
) -> None:
    people = [Person(site, mark) for mark in ("annxq", "bobzv")]
    if csrf:
        pagegen_settings(MIDDLEWARE=MIDDLEWARE)
        for person in people:
            person.visitor.site = Site(site.kind)
    random = Random(7)
    hits = 0
    for _ in range(LENGTH):
        person = random.choice(people)
        kind, what = random.choice(KINDS), ",".join(random.sample(PRINTS, random.randint(1, 2)))
        answer = person.visitor.get(f"/{kind}/{what}", **person.fields)
        assert answer.status == 200, answer.text
        hits += answer.trace == "hit"
        for other in people:
            if other is not person:
                found = {secret for secret in other.secrets() if secret in answer.text}
                assert not found, (kind, what, answer.trace)
    assert hits > LENGTH // 10


@pytest.mark.parametrize("what", ["meta", "headers"])
def test_who_looks_through_all_fields_finds_no_secret_and_is_shared(
    site: Site, pagegen_settings: Settings, what: str
) -> None:
    pagegen_settings(MIDDLEWARE=MIDDLEWARE)
    visitor, other = site.visitor(), site.visitor()
    visitor.cookies["csrftoken"] = _token("own")
    assert visitor.get(f"/shows/{what}").trace == "uri-miss, stored"
    assert _token("own") not in other.get(f"/shows/{what}").text
    shown = visitor.get("/shows/secret")
    assert _token("own") in shown.text and shown.trace == "refused-private"
