"""A transactional outbox: what a commit changes is forgotten, even if its worker dies after it."""

from .box import ManualOutbox, Outbox
from .opening import open_outbox
from .rows import Row
from .shelf import Batch, Shelf, Waiting
from .supervising import supervise
from .sweeper import Sweeper, Swept

__all__ = [
    "Batch",
    "ManualOutbox",
    "Outbox",
    "Row",
    "Shelf",
    "Sweeper",
    "Swept",
    "Waiting",
    "open_outbox",
    "supervise",
]
