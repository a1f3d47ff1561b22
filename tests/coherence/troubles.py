"""What happens to a store's server while clients write and read: only tests own one."""

from __future__ import annotations

from pagegen.testing.check.faults import Fault
from tests.coherence.backends import Backend


def of_server(backend: Backend) -> list[Fault]:
    """The server is stopped and continued; killed, and started with what it held some time ago."""
    server = backend.server
    return [
        Fault("saved", backend.save, lambda: None),
        Fault("stopped", server.stop, server.cont),
        Fault("killed", server.kill, server.restart),
    ]
