"""An event loop beside the test, and how long a test waits for anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: Seconds after which a request of a scenario, or a call of a store, is taken to hang.
PATIENCE: Final = 30.0
#: Handlers of one asynchronous scenario that may run at one time.
MAX_HANDLERS: Final = 128


class Loop:
    """An event loop in a thread, so that synchronous tests can drive asynchronous code."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        # Every handler of a crowd must find a thread, or barriers among them never open.
        self.loop.set_default_executor(ThreadPoolExecutor(MAX_HANDLERS))
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, run in the loop's thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def close(self) -> None:
        """Stop the loop and its thread."""
        self.run(self.loop.shutdown_asyncgens())
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()
