"""Running a coroutine that never suspends, without an event loop.

Engine and stores are written once, as coroutines whose only awaits are store calls. A store that
does not suspend lets the WSGI front run them to their end with a single ``send``.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def step(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; raises ``RuntimeError`` when it waits for an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("this store needs an event loop: use the asynchronous methods")
