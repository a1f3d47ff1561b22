"""What pagegen tests itself with: scenarios on both fronts, and the contract of a store."""

from .calling import Answer, call_asgi, call_wsgi, environ, scope
from .clock import FakeClock
from .contract import StoreContract
from .loop import MAX_HANDLERS, PATIENCE, Loop
from .scenario import Front, Handler, Reply, Scenario, Seen

__all__ = [
    "MAX_HANDLERS",
    "PATIENCE",
    "Answer",
    "FakeClock",
    "Front",
    "Handler",
    "Loop",
    "Reply",
    "Scenario",
    "Seen",
    "StoreContract",
    "call_asgi",
    "call_wsgi",
    "environ",
    "scope",
]
