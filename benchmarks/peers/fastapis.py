"""The smallest FastAPI application, for peers that need one."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from .pages import CALLS


def fastapi() -> Any:
    """An application that answers ``/calls``, without the pages of its documentation."""
    app = FastAPI(openapi_url=None)

    @app.get("/calls", response_class=PlainTextResponse)
    async def calls() -> str:
        return CALLS.text()

    return app
