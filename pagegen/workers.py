"""A few threads of this process for work that nobody may wait for on the spot.

Made when the first work comes; a child after ``fork`` gets its own. What waits for a thread is
bounded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Generic, TypeVar

from .forks import fork_safe_lock

T = TypeVar("T")


class Workers:
    """``threads`` of them; at most ``places`` pieces of work run or wait at one time."""

    def __init__(self, name: str, *, threads: int, places: int) -> None:
        self._name = name
        self._count = threads
        self._most = places
        self._lock = fork_safe_lock(self)
        self._process = 0
        self._threads: ThreadPoolExecutor | None = None
        self._places = BoundedSemaphore(places)

    def submit(self, work: Callable[[], T]) -> Future[T] | None:
        """Run work in a thread; None when too much waits already, or no thread can be had."""
        with self._lock:
            if self._threads is None or self._process != os.getpid():
                self._process = os.getpid()
                self._threads = ThreadPoolExecutor(self._count, self._name)
                self._places = BoundedSemaphore(self._most)
        places = self._places
        if not places.acquire(blocking=False):
            return None
        piece = _Piece(work, places)
        try:
            self._threads.submit(piece.run)
        except RuntimeError:  # no thread can be started, or the interpreter ends
            places.release()
            return None
        return piece.future


class _Piece(Generic[T]):
    """One piece of work. Given up, it keeps its place, for it is in the queue until a thread comes;
    but not what it was to work on.
    """

    def __init__(self, work: Callable[[], T], places: BoundedSemaphore) -> None:
        self._work: Callable[[], T] | None = work
        self._places = places
        self.future: Future[T] = Future()
        self.future.add_done_callback(self._forget)

    def _forget(self, _: Future[T]) -> None:
        self._work = None

    def run(self) -> None:
        """In the thread."""
        work = self._work
        if not self.future.set_running_or_notify_cancel() or work is None:
            self._places.release()
            return
        try:
            result = work()
        except BaseException as error:
            self._places.release()
            self.future.set_exception(error)
            del self  # error, frame and future would be a cycle
        else:
            self._places.release()
            self.future.set_result(result)
