"""Locks that a child after ``fork`` finds open, whoever held them in its parent at that moment."""

from __future__ import annotations

import os
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

_owners: Final[WeakKeyDictionary[object, str]] = WeakKeyDictionary()


def fork_safe_lock(owner: object, attribute: str = "_lock") -> Lock:
    """A lock to be kept as this attribute of ``owner``; a child gets a new one in its place.

    What the lock guards may be half done in the child. So it is for counts and tables where a lost
    entry costs a miss, as everywhere in pagegen.
    """
    _owners[owner] = attribute
    return Lock()


def _renew() -> None:
    for owner, attribute in list(_owners.items()):
        setattr(owner, attribute, Lock())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
