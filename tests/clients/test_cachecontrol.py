"""requests with CacheControl: the cache in pip, which reads HTTP a little its own way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from cachecontrol import CacheControlAdapter
from cachecontrol.heuristics import LastModified

from tests.clients.conftest import NewItem
from tests.clients.programs import Origin
from tests.processes import PATIENCE


class Client:
    """A session with an empty cache; ``guessing`` where it may guess from ``Last-Modified``."""

    def __init__(self, origin: Origin, *, guessing: bool = False) -> None:
        self._url = origin.url
        self.session = requests.Session()
        self.session.trust_env = False
        heuristic = LastModified() if guessing else None
        self.session.mount("http://", CacheControlAdapter(heuristic=heuristic))

    def seen(self, path: str, **fields: str) -> tuple[str, bool]:
        """What it shows, and whether that comes from its own cache, validated or not."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        response = self.session.get(self._url + path, headers=headers, timeout=PATIENCE)
        assert response.status_code == 200
        return response.text, bool(response.from_cache)  # type: ignore[attr-defined]

    def write(self, path: str) -> None:
        """Change an item through this client."""
        assert self.session.put(self._url + path, timeout=PATIENCE).status_code == 204


@pytest.fixture(params=["strict", "guessing"])
def client(request: pytest.FixtureRequest, origin: Origin) -> Iterator[Client]:
    """A client as it is, and one that guesses how long a page without a lifetime stays fresh."""
    made = Client(origin, guessing=request.param == "guessing")
    with made.session:
        yield made


@pytest.mark.parametrize("kind", ["items", "old", "packed"])
def test_a_namespaced_page_is_validated_each_time_and_new_after_a_write(
    kind: str, client: Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item(kind)
    first, own = client.seen(page)
    assert ("version 0" in first, own) == (True, False)
    assert [client.seen(page) for _ in range(2)] == [(first, True)] * 2
    assert origin.answers(page) == ["GET 200", "GET 304", "GET 304"]
    origin.change(page)
    second, own = client.seen(page)
    assert ("version 1" in second, own) == (True, False)
    assert client.seen(page) == (second, True)
    assert origin.renderings(page) == 2


@pytest.mark.parametrize("kind", ["timed", "dated"])
def test_a_page_for_a_minute_is_not_asked_for_again(
    kind: str, client: Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item(kind)
    first, _ = client.seen(page)
    assert [client.seen(page) for _ in range(3)] == [(first, True)] * 3
    assert origin.answers(page) == ["GET 200"]


@pytest.mark.parametrize("kind", ["spoken", "heard"])
def test_two_languages_are_kept_apart(
    kind: str, client: Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item(kind)
    for _ in range(2):
        assert client.seen(page, accept_language="de")[0] == "Fassung 0"
        assert client.seen(page, accept_language="en")[0] == "version 0"
    assert origin.renderings(page) == 2


def test_a_write_through_it_empties_its_own_cache_too(
    client: Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item("timed")
    first, _ = client.seen(page)
    assert client.seen(page) == (first, True)
    client.write(page)
    second, own = client.seen(page)
    assert (second != first, own) == (True, False)


@pytest.mark.parametrize(("kind", "renderings"), [("items", 2), ("calm", 1)])
@pytest.mark.parametrize("wish", ["max-age=0", "no-cache"])
def test_who_asks_for_a_new_page_gets_a_304_when_it_is_the_same(
    wish: str, kind: str, renderings: int, client: Client, origin: Origin, new_item: NewItem
) -> None:
    page = new_item(kind)
    first, _ = client.seen(page)
    origin.pass_time(1)
    assert client.seen(page, cache_control=wish)[0] == first
    assert origin.answers(page)[0] == "GET 200"
    assert origin.renderings(page) == renderings
