"""Says which process answers: the outermost layer, for hits too."""

from __future__ import annotations

import os
from typing import Any, Final

_FIELD: Final = "X-Worker"


def wsgi(application: Any) -> Any:
    """A WSGI application whose answers are signed."""

    def signed(environ: Any, start_response: Any) -> Any:
        def start(status: str, fields: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*fields, (_FIELD, str(os.getpid()))], *more)

        return application(environ, start)

    return signed


def asgi(application: Any) -> Any:
    """An ASGI application whose answers are signed."""

    async def signed(scope: Any, receive: Any, send: Any) -> None:
        async def sign(message: Any) -> None:
            if message["type"] == "http.response.start":
                field = (_FIELD.lower().encode(), str(os.getpid()).encode())
                message = {**message, "headers": [*message.get("headers", ()), field]}
            await send(message)

        await application(scope, receive, sign)

    return signed
