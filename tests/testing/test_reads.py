"""The recorder: which pages lack a namespace of what they were made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as Asgi
from pagegen.testing import Front, Loop, call_asgi, call_wsgi, environ, scope
from pagegen.testing.reads import Kind, Missing, ReadRecorder, rendering
from pagegen.wsgi import PageCacheMiddleware as Wsgi

ITEM = Kind("Item", ("item:{id}", "shop:{shop_id}/items"), frozenset(("item:{id}",)))
LONE = Kind("Note", ("note:{id}",), frozenset(("note:{id}",)))

Read = Callable[[], None]


def row(number: int, shop: int = 7, statement: object = "one") -> None:
    page = rendering()
    assert page is not None
    page.row(ITEM, (f"item:{number}", f"shop:{shop}/items"), statement)


def note(number: int) -> None:
    page = rendering()
    assert page is not None
    page.row(LONE, (f"note:{number}",), "notes")


def count() -> None:
    page = rendering()
    assert page is not None
    page.table(ITEM)


class Site:
    """One application that reads what a test says, behind its cache."""

    def __init__(self, front: Front, namespaces: list[str], **rule: Any) -> None:
        self.front = front
        self.cache = PageCache(
            [Rule(path="/shops/{shop}", share="public", ttl=60, namespaces=namespaces, **rule)]
        )
        self.recorder = ReadRecorder(self.cache, warn=False)
        self.read: Read = lambda: None
        self.late: Read = lambda: None
        self.headers: list[tuple[str, str]] = []
        self._loop = Loop() if front == "asgi" else None
        if front == "asgi":
            self.app: Any = Asgi(self.recorder.asgi(self._asgi), cache=self.cache)
        else:
            self.app = Wsgi(self.recorder.wsgi(self._wsgi), cache=self.cache)

    def _wsgi(self, _environ: Any, start_response: Any) -> Iterator[bytes]:
        self.read()
        start_response("200 OK", self.headers)
        return self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        yield b"shop"
        self.late()

    async def _asgi(self, _scope: Any, _receive: Any, send: Any) -> None:
        self.read()
        headers = [(name.encode(), value.encode()) for name, value in self.headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self.late()
        await send({"type": "http.response.body", "body": b"shop"})

    def get(self, target: str = "/shops/7", method: str = "GET") -> None:
        if self._loop is None:
            call_wsgi(self.app, environ(method, target))
        else:
            self._loop.run(call_asgi(self.app, scope(method, target)))

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()


@pytest.fixture
def site(front: Front) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(namespaces: list[str], **rule: Any) -> Site:
        made.append(Site(front, namespaces, **rule))
        return made[-1]

    yield make
    for one in made:
        one.close()


def rows(*numbers: int) -> Read:
    return lambda: [row(number) for number in numbers] and None


@pytest.mark.parametrize(
    ("namespaces", "read", "found"),
    [
        (["shop:{shop}/items"], rows(1, 2, 3), []),
        (["item:1"], rows(1), []),
        ([], rows(1, 2), [Missing("/shops/7", "Item", 2, ("shop:7/items",))]),
        ([], rows(1), [Missing("/shops/7", "Item", 1, ("item:1", "shop:7/items"))]),
        (["item:1"], rows(1, 2), [Missing("/shops/7", "Item", 1, ("item:2", "shop:7/items"))]),
        (
            ["item:1", "item:2"],
            rows(1, 2),
            [Missing("/shops/7", "Item", 0, ("shop:{shop_id}/items",))],
        ),
        (["shop:8/items"], rows(1), [Missing("/shops/7", "Item", 1, ("item:1", "shop:7/items"))]),
        (["shop:{shop}/items"], count, []),
        (["shops"], count, [Missing("/shops/7", "Item", 0, ("shop:{shop_id}/items",))]),
        (["note:1", "note:2"], lambda: [note(1), note(2)], [Missing("/shops/7", "Note", 0, ())]),
        ([], lambda: None, []),
    ],
    ids=[
        "group", "row", "rows without", "row without", "one of two", "list by rows alone",
        "another group", "counted", "counted without", "nothing gathers", "nothing read",
    ],
)  # fmt: skip
def test_a_page_that_would_outlive_what_it_read_is_found(
    site: Callable[..., Site], namespaces: list[str], read: Read, found: list[Missing]
) -> None:
    shop = site(namespaces)
    shop.read = read
    shop.get()
    assert list(shop.recorder.missing) == found


def test_the_finding_is_a_sentence() -> None:
    assert str(Missing("/shops/7", "Item", 2, ("shop:7/items",))) == (
        "page /shops/7 read 2 Item rows but lacks shop:7/items"
    )
    assert "a new one would not forget it" in str(Missing("/shops/7", "Item", 0, ("items",)))
    assert "they declare none" in str(Missing("/shops/7", "Note", 0, ()))


def test_what_is_read_while_pieces_are_made_counts(site: Callable[..., Site]) -> None:
    shop = site([])
    shop.late = rows(1)
    shop.get()
    assert [one.rows for one in shop.recorder.missing] == [1]


def test_namespaces_found_while_rendering_count(site: Callable[..., Site]) -> None:
    shop = site([], groups=True)
    shop.read = lambda: (row(1), shop.cache.tag("item:1"))  # type: ignore[assignment,return-value]
    shop.get()
    shop.headers = [("Cache-Groups", '"shop:7/items"')]
    shop.read = rows(1, 2)
    shop.get("/shops/8")
    assert shop.recorder.missing == ()


@pytest.mark.parametrize("request_of", [("/elsewhere", "GET"), ("/shops/7", "POST")])
def test_what_is_no_page_is_not_looked_at(
    site: Callable[..., Site], request_of: tuple[str, str]
) -> None:
    shop = site([])
    seen: list[object] = []
    shop.read = lambda: seen.append(rendering())
    shop.get(*request_of)
    assert seen == [None]
    assert rendering() is None


def test_a_page_found_twice_is_told_once_and_check_lists_all(
    site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    shop = site([])
    recorder = ReadRecorder(shop.cache)
    missing = Missing("/shops/7", "Item", 1, ("item:1",))
    recorder.found([missing, missing])
    assert [record.getMessage() for record in caplog.records] == [str(missing)]
    with pytest.raises(AssertionError, match="lacks item:1"):
        recorder.check()
    recorder.clear()
    recorder.check()
