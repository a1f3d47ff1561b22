"""SQLAlchemy at home: what a session writes is forgotten when its outermost commit is done.

Needs SQLAlchemy 2.0 or newer. Errors: ``ConfigError`` (a declaration that cannot be right, when it
is first seen), :class:`UnseenWriteError` (a write whose rows nobody can tell, before it is done or
before it is committed). A store that does not acknowledge after a commit is logged
(``pagegen.contrib.sqlalchemy``), and owed.
"""

from .connections import Pending, aforgetting, forgetting
from .guard import UnseenWriteError
from .watching import Watch, pending, watch

__all__ = [
    "Pending",
    "UnseenWriteError",
    "Watch",
    "aforgetting",
    "forgetting",
    "pending",
    "watch",
]
