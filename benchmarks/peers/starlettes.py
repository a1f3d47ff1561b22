"""The smallest Starlette application around a handler, for peers that are decorators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .pages import CALLS


def starlette(page: Callable[[int], Awaitable[Any]]) -> Any:
    """An application that answers ``/items/{number}`` with the response that ``page`` gives."""

    async def item(request: Request) -> Response:
        response: Response = await page(request.path_params["number"])
        return response

    async def calls(_request: Request) -> Response:
        return PlainTextResponse(CALLS.text())

    return Starlette(routes=[Route("/items/{number:int}", item), Route("/calls", calls)])
