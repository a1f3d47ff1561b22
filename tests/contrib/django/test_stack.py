"""Inside Django's stack: what comes from the cache, what goes past it, and what comes out."""

from __future__ import annotations

import asyncio
from typing import Any

from django.test import AsyncClient, Client

from tests.contrib.django.conftest import Settings
from tests.contrib.django.site import Site, journal


def test_a_page_is_rendered_once_and_served_from_the_cache(site: Site) -> None:
    visitor = site.visitor()
    first, second = visitor.get("/plain"), visitor.get("/plain")
    assert (first.trace, second.trace) == ("uri-miss, stored", "hit")
    assert first.text == second.text
    assert second.get("etag") == first.get("etag") is not None
    assert second.get("content-type") == "text/html; charset=utf-8"


def test_a_condition_is_answered_from_the_cache(site: Site) -> None:
    visitor = site.visitor()
    tag = visitor.get("/plain").get("etag")
    assert tag is not None
    answer = visitor.get("/plain", if_none_match=tag)
    assert (answer.status, answer.body, answer.trace) == (304, b"", "hit")


def test_a_part_and_a_head_are_answered_from_the_cache(site: Site) -> None:
    visitor = site.visitor()
    whole = visitor.get("/plain").body
    part = visitor.get("/plain", range="bytes=0-3")
    assert (part.status, part.body) == (206, whole[:4])
    head = visitor.send("HEAD", "/plain", {})
    assert (head.status, head.body, head.get("content-length")) == (200, b"", str(len(whole)))


def test_a_write_goes_past_and_forgets_before_its_answer_leaves(site: Site) -> None:
    visitor = site.visitor()
    before = visitor.get("/plain").text
    answer = visitor.post("/writes")
    assert (answer.text, answer.trace) == ("True False", "bypass: method")
    assert visitor.get("/plain").text != before


def test_the_cookie_that_tells_a_writer_is_sent_beside_the_views_own(
    site: Site, pagegen_settings: Settings
) -> None:
    soft = {"path": "/plain", "share": "public", "ttl": "1h", "swr": "1h", "soft": True}
    table = {
        "pagegen": {"cache_status": True, "site_key": "a key of sixteen and more"},
        "rule": [{**soft, "namespaces": ["things"]}],
    }
    pagegen_settings(PAGEGEN=table)
    writer, reader = site.visitor(), site.visitor()
    before = reader.get("/plain").text
    writer.post("/writes-softly")
    assert writer.cookies["own"] == "value" and len(writer.cookies) == 2
    assert reader.get("/plain").text == before
    assert writer.get("/plain").text != before


def test_what_a_view_tags_is_forgotten_by_its_name(site: Site) -> None:
    from pagegen.contrib.django import cache

    visitor = site.visitor()
    first = visitor.get("/tags")
    assert visitor.get("/tags").text == first.text
    cache.invalidate("found")
    assert visitor.get("/tags").text != first.text


def test_the_never_sent_field_of_our_own_is_never_sent(site: Site) -> None:
    visitor = site.visitor()
    answer = visitor.get("/shows/user")
    assert answer.trace == "refused-private"
    assert answer.get("pagegen-cache-control") is None


def test_a_page_of_an_exception_is_not_stored(site: Site) -> None:
    visitor = site.visitor()
    journal.append("breaks")
    assert visitor.get("/breaks").status == 500
    journal.clear()
    assert visitor.get("/breaks").status == 200


def test_a_page_that_is_not_there_is_not_stored(site: Site) -> None:
    answer = site.visitor().get("/nowhere")
    assert (answer.status, answer.trace) == (404, "refused-status")


def test_djangos_own_test_clients_see_what_they_are_used_to(site: Site) -> None:
    client: Any = Client() if site.kind == "wsgi" else AsyncClient()

    def get(path: str) -> Any:
        answer = client.get(path)
        return answer if site.kind == "wsgi" else asyncio.run(_wait(answer))

    first, second = get("/plain"), get("/plain")
    assert first.content == second.content
    assert (first.status_code, first.reason_phrase) == (200, "OK")
    assert second.headers["Content-Type"] == "text/html; charset=utf-8"
    assert first.resolver_match.func.__name__ == "plain"
    cookie = get("/visits").cookies["sessionid"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"


async def _wait(answer: Any) -> Any:
    return await answer
