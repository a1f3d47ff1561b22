"""The addresses of a host, within a deadline.

The system's resolver knows none: with a silent name server it takes many seconds. So names are
looked up in a thread of their own, one look-up at a time, and whoever waits for it waits no longer
than he can. What was found is never kept: a name that follows a failover has to be asked each time.
"""

from __future__ import annotations

import socket
from concurrent.futures import Future
from contextlib import suppress
from ipaddress import ip_address
from threading import Lock, Thread

Addresses = list[tuple[int, str]]


class Lookup:
    """Addresses of one host, as pairs of address family and literal address. Thread-safe."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._literal = _literal(host)
        self._lock = Lock()
        self._running: Future[Addresses] | None = None

    def start(self) -> Future[Addresses]:
        """The look-up that runs, or a new one. It fails with ``OSError``."""
        if self._literal:
            done: Future[Addresses] = Future()
            done.set_result(self._literal)
            return done
        with self._lock:
            running = self._running
            if running is None or running.done():
                running = self._running = Future()
                running.set_running_or_notify_cancel()
                self._begin(running)
            return running

    def after_fork(self) -> None:
        """In the child: the thread is not there, and the lock may be somebody's who is not."""
        self._lock = Lock()
        self._running = None

    def _begin(self, future: Future[Addresses]) -> None:
        thread = Thread(target=self._run, args=(future,), name="pagegen-lookup", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no thread can be started
            future.set_exception(OSError(f"the host {self._host} cannot be looked up: {error}"))

    def _run(self, future: Future[Addresses]) -> None:
        try:
            found = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
            future.set_result([(int(family), str(place[0])) for family, *_, place in found])
        except Exception as error:
            future.set_exception(OSError(f"the host {self._host} cannot be found: {error}"))


def _literal(host: str) -> Addresses:
    with suppress(ValueError):
        version = ip_address(host).version
        return [(int(socket.AF_INET6 if version == 6 else socket.AF_INET), host)]
    return []
