"""The explorer: the real engine and real stores, driven through all short interleavings.

Build a :class:`World` of processes, visitors and writers, and let :func:`explore` run every
schedule of it up to a bound, or :func:`explore_randomly` a great many beyond. Each complete run is
held to the promises of :mod:`.promises`. A breach prints as a timeline and replays.
"""

from .front import Application, ApplicationError, Asked, Reply
from .history import Forgetting, History, How, Rendering, Visit
from .medium import Face, Medium
from .process import Process
from .promises import PROMISES, Promise
from .run import StuckError, point, until
from .search import CounterExample, Report, explore, explore_randomly, replay
from .world import Row, World

__all__ = [
    "PROMISES",
    "Application",
    "ApplicationError",
    "Asked",
    "CounterExample",
    "Face",
    "Forgetting",
    "History",
    "How",
    "Medium",
    "Process",
    "Promise",
    "Rendering",
    "Reply",
    "Report",
    "Row",
    "StuckError",
    "Visit",
    "World",
    "explore",
    "explore_randomly",
    "point",
    "replay",
    "until",
]
