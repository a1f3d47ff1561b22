"""Holds what a cache serves against what was written: the judge, and the command that feeds it.

::

    python -m pagegen.testing.check --faults all          # workers of its own
    python -m pagegen.testing.check --url http://127.0.0.1:8000 …   # yours

``judge(events)`` does the same for a history of your own: :class:`Read` and :class:`Write`, with
the times of one monotonic clock. The command needs the extra ``check``, the judge nothing.
"""

from .events import (
    Event,
    HistoryError,
    Mark,
    Read,
    Recovery,
    Terms,
    Write,
    read_events,
    read_terms,
    write_events,
    write_terms,
)
from .judging import Judge, judge
from .verdict import Finding, Promise, Verdict

__all__ = [
    "Event",
    "Finding",
    "HistoryError",
    "Judge",
    "Mark",
    "Promise",
    "Read",
    "Recovery",
    "Terms",
    "Verdict",
    "Write",
    "judge",
    "read_events",
    "read_terms",
    "write_events",
    "write_terms",
]
