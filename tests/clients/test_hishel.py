"""httpx with hishel: a client's own cache that keeps to RFC 9111."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hishel import CacheOptions, SqliteStorage
from hishel.httpx import CacheClient

from tests.clients.conftest import NewItem
from tests.clients.programs import Origin
from tests.processes import PATIENCE


@pytest.fixture(params=["private", "shared"])
def client(request: pytest.FixtureRequest, origin: Origin, tmp_path: Path) -> Iterator[CacheClient]:
    """A client with an empty cache, once as a browser has it and once as a proxy has it."""
    rules = CacheOptions(shared=request.param == "shared")
    storage = SqliteStorage(database_path=tmp_path / "hishel.sqlite")
    options = {"base_url": origin.url, "trust_env": False, "verify": False, "timeout": PATIENCE}
    with CacheClient(storage=storage, rfc=rules, **options) as made:
        yield made


def seen(client: CacheClient, path: str, **fields: str) -> tuple[str, str]:
    """What the client shows, and where it has it from: network, validated, or its own cache."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    response = client.get(path, headers=headers)
    assert response.status_code == 200
    status = response.extensions["caching"]
    if not status["from_cache"]:
        return response.text, "network"
    return response.text, "validated" if status["revalidated"] else "own"


@pytest.mark.parametrize("kind", ["items", "old", "packed"])
def test_a_namespaced_page_is_validated_each_time_and_new_after_a_write(
    kind: str, client: CacheClient, origin: Origin, new_item: NewItem
) -> None:
    page = new_item(kind)
    first, how = seen(client, page)
    assert ("version 0" in first, how) == (True, "network")
    assert [seen(client, page) for _ in range(2)] == [(first, "validated")] * 2
    assert origin.answers(page) == ["GET 200", "GET 304", "GET 304"]
    origin.change(page)
    second, how = seen(client, page)
    assert ("version 1" in second, how) == (True, "network")
    # hishel keeps both and validates with either when they are of the same second; it is served
    # the right page in any case.
    assert [seen(client, page)[0] for _ in range(2)] == [second] * 2
    assert origin.renderings(page) == 2


def test_an_old_date_is_no_licence_to_guess(
    client: CacheClient, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("old")
    assert client.get(page).headers["last-modified"].endswith("2020 12:26:40 GMT")
    origin.change(page)
    text, how = seen(client, page)
    assert ("version 1" in text, how) == (True, "network")


@pytest.mark.parametrize("kind", ["timed", "dated"])
def test_a_page_for_a_minute_is_not_asked_for_again(
    kind: str, client: CacheClient, origin: Origin, new_item: NewItem
) -> None:
    page = new_item(kind)
    first, _ = seen(client, page)
    assert [seen(client, page) for _ in range(3)] == [(first, "own")] * 3
    assert origin.answers(page) == ["GET 200"]


def test_a_page_past_its_minute_here_is_validated_there_and_new_after_a_write(
    client: CacheClient, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    first, _ = seen(client, page)
    assert seen(client, page, cache_control="no-cache") == (first, "validated")
    origin.change(page)
    origin.pass_time(61)
    second, how = seen(client, page, cache_control="no-cache")
    assert (second != first, how) == (True, "network")


@pytest.mark.parametrize("kind", ["spoken", "heard"])
def test_two_languages_are_kept_apart(
    kind: str, client: CacheClient, origin: Origin, new_item: NewItem
) -> None:
    page = new_item(kind)
    for how in ("network", "own"):
        assert seen(client, page, accept_language="de") == ("Fassung 0", how)
        assert seen(client, page, accept_language="en") == ("version 0", how)


def test_a_write_through_it_empties_its_own_cache_too(
    client: CacheClient, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    first, _ = seen(client, page)
    assert seen(client, page) == (first, "own")
    assert client.put(page).status_code == 204
    second, how = seen(client, page)
    assert (second != first, how) == (True, "network")


def test_a_part_is_a_part_of_what_is_there(client: CacheClient, new_item: NewItem) -> None:
    page = new_item("timed")
    part = client.get(page, headers={"range": "bytes=0-9"})
    whole = client.get(page)
    assert whole.status_code == 200
    assert len(whole.content) == 5000
    assert part.content in (whole.content, whole.content[:10])
    assert client.get(page).content == whole.content
