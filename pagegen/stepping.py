"""Running a coroutine that never suspends, without an event loop.

Engine and stores are written once, as coroutines whose only awaits are store calls. A store that
does not suspend lets the WSGI front run them to their end with a single ``send``.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class SuspendedError(RuntimeError):
    """A coroutine that has to run without an event loop waits for one."""


def step(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; raises ``SuspendedError`` when it waits for an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise SuspendedError("this store needs an event loop: use the asynchronous methods")
