"""One environment for each directory of this process, and none open while the process forks."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

from ...errors import ConfigError
from .environment import SHUTTING_PATIENCE, Environment
from .locks import fcntl

#: Environments, and how many stores use each. One that nobody closed goes with its last store.
_users: Final[WeakKeyDictionary[Environment, int]] = WeakKeyDictionary()
_lock: Final = Lock()
#: Forks under way: whether the lock is held for it, and what was closed.
_forking: Final[list[tuple[bool, list[Environment]]]] = []


def enter(place: Path, size: int) -> Environment:
    """The environment of a directory, by whatever name; the size of the first one counts.

    Raises ``ConfigError``. LMDB must not open the same files twice in a process.
    """
    if fcntl is None:
        raise ConfigError(
            "the LMDB store needs POSIX file locks, which this system does not have",
            "Use another store",
            field="store",
        )
    with _lock:
        for known in list(_users):
            if _same(known.place, place):
                known.remark_size(size)
                _users[known] += 1
                return known
        made = Environment(place, size)
        _users[made] = 1
        return made


def leave(environment: Environment) -> None:
    """A store closes; the last one closes the environment."""
    with _lock:
        _users[environment] -= 1
        if _users[environment] <= 0:
            del _users[environment]
            environment.close()


def _same(one: Path, other: Path) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    with suppress(OSError):
        return one.samefile(other)
    return False


def _before_fork() -> None:
    # One fork at a time; the wait for who opens a store just now has an end.
    held = _lock.acquire(timeout=SHUTTING_PATIENCE)
    environments = list(_users)
    for environment in environments:
        environment.before_fork()
    _forking.append((held, environments))


def _after_fork(in_child: bool) -> None:
    held, environments = _forking.pop()
    for environment in environments:
        if in_child:
            environment.after_fork_in_child()
        else:
            environment.after_fork_in_parent()
    if held or (in_child and _lock.locked()):
        _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(False),
        after_in_child=lambda: _after_fork(True),
    )
