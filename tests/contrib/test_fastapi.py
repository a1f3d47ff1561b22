"""FastAPI and Starlette: installed once, and at hand in handlers, mounts and websockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pagegen import PageCache, Rule
from pagegen.contrib.fastapi import Pages, get_cache, install


def cache() -> PageCache:
    rule = Rule(path="/stock/{item}", share="public", ttl="1h", namespaces=["stock:{item}"])
    inner = Rule(path="/inner/stock/{item}", share="public", ttl="1h", namespaces=["stock:{item}"])
    return PageCache([rule, inner], cache_status=True)


router = APIRouter()


@router.get("/stock/{item}")
def show(item: str, request: Request) -> str:
    return f"{request.app.state.stock[item]} left"


@router.post("/stock/{item}")
async def sell(item: str, request: Request, pages: Pages) -> str:
    request.app.state.stock[item] -= 1
    await pages.ainvalidate(f"stock:{item}")
    return "sold"


@router.post("/threaded/{item}")
def sell_in_a_thread(item: str, request: Request, pages: Pages) -> str:
    request.app.state.stock[item] -= 1
    pages.invalidate(f"stock:{item}")
    return "sold"


def shop(**options: Any) -> FastAPI:
    app = FastAPI(**options)
    app.state.stock = {"lamp": 3}
    app.include_router(router)
    return app


def read(client: TestClient, path: str = "/stock/lamp") -> tuple[str, str]:
    answer = client.get(path)
    return answer.json(), answer.headers.get("Cache-Status", "")


@pytest.mark.parametrize("write", ["/stock/lamp", "/threaded/lamp"])
def test_a_handler_is_given_the_cache_and_forgets_its_page(write: str) -> None:
    app = shop()
    install(app, cache())
    client = TestClient(app)
    assert "stored" in read(client)[1]
    assert "hit" in read(client)[1]
    assert client.post(write).json() == "sold"
    assert read(client)[0] == "2 left"


def test_each_request_carries_the_cache_in_its_state() -> None:
    seen: list[object] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"own": "kept"}

    app = shop(lifespan=lifespan)

    @app.get("/look")
    def look(request: Request) -> None:
        seen.extend((request.state.pagegen, request.state.own))

    pages = install(app, cache())
    with TestClient(app) as client:
        client.get("/look")
    assert seen == [pages, "kept"]


def test_a_mounted_application_finds_the_outer_cache() -> None:
    outer, inner = FastAPI(), shop()
    outer.mount("/inner", inner)
    install(outer, cache())
    with TestClient(outer) as client:
        assert "stored" in read(client, "/inner/stock/lamp")[1]
        client.post("/inner/stock/lamp")
        assert read(client, "/inner/stock/lamp")[0] == "2 left"


def test_a_websocket_is_given_the_cache_too() -> None:
    app = shop()
    pages = install(app, cache())

    @app.websocket("/live")
    async def live(socket: WebSocket, given: Pages) -> None:
        await socket.accept()
        await socket.send_text(str(given is pages))
        await socket.close()

    with TestClient(app).websocket_connect("/live") as socket:
        assert socket.receive_text() == "True"


def test_a_plain_starlette_application_is_served_too() -> None:
    app = Starlette()
    assert install(app, (pages := cache())) is pages
    assert app.state.pagegen is pages


def test_a_test_may_put_another_cache_in_its_place() -> None:
    app = shop()
    install(app, cache())
    other = cache()
    app.dependency_overrides[get_cache] = lambda: other
    client = TestClient(app)
    read(client)
    client.post("/threaded/lamp")
    # Forgotten in the other one: this page is old.
    assert read(client)[0] == "3 left"
    assert other.statistics()["invalidation"] >= 1


def test_a_second_cache_for_one_application_is_refused() -> None:
    app = shop()
    install(app, cache())
    with pytest.raises(RuntimeError, match="install once"):
        install(app, cache())


def test_an_application_without_a_cache_is_told_so() -> None:
    client = TestClient(shop())
    with pytest.raises(RuntimeError, match="no page cache"):
        client.post("/stock/lamp")
