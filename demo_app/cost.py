"""What it costs to render one page: milliseconds and SQL statements, counted while it happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter

from sqlalchemy import Engine, event


@dataclass(slots=True)
class Cost:
    """A running bill. It belongs to one page being rendered in one thread."""

    queries: int = 0
    started: float = field(default_factory=perf_counter)

    @property
    def milliseconds(self) -> float:
        """Time since the handler began."""
        return (perf_counter() - self.started) * 1000


_bill: ContextVar[Cost | None] = ContextVar("bill", default=None)


@contextmanager
def measuring() -> Iterator[Cost]:
    """Count everything inside the block on one bill."""
    cost = Cost()
    reset = _bill.set(cost)
    try:
        yield cost
    finally:
        _bill.reset(reset)


def count_statements(engine: Engine) -> None:
    """Let every statement of `engine` appear on the bill of the page that caused it."""
    event.listen(engine, "before_cursor_execute", _count)


def _count(*_: object) -> None:
    cost = _bill.get()
    if cost is not None:
        cost.queries += 1
