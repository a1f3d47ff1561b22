"""Noticing that a second process keeps pages of the same site in its own memory.

Such processes do not hear of each other's invalidations: what one forgets, the other serves on.
The first writer of a site takes a lock file; who finds it taken by another living process warns,
once. The lock dies with its holder, and a child after ``fork`` asks anew.

The files are in a directory of this user's own below the one for temporary files, where everybody
may write: what somebody else has put in its place is not used, and then nobody is warned. A process
removes its files when it ends; who locked one that was removed meanwhile takes the next one.
"""

from __future__ import annotations

import atexit
import os
import stat
import tempfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from ..logs import logger

fcntl: Any = None
with suppress(ImportError):  # Windows has none
    import fcntl

log = logger("pagegen.stores")

#: Attempts to lock a file that is still there when it is locked.
_ATTEMPTS: Final = 8

#: Lock files by path, each with its process and its descriptor: closing one would give the lock
#: away.
_held: Final[dict[Path, tuple[int, int]]] = {}
_asked: Final[set[tuple[int, str]]] = set()


def lock_path(site: str) -> Path:
    """The lock file of a site: one per user, site and working directory."""
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    digest = blake2b(f"{site}\0{Path.cwd()}".encode("utf-8", "replace"), digest_size=12).hexdigest()
    return Path(tempfile.gettempdir()) / f"pagegen-{user}" / f"{digest}.lock"


def warn_of_company(site: str) -> bool:
    """Ask once per process and site; True (and a warning) when another process is there too."""
    asking = (os.getpid(), site)
    if asking in _asked:
        return False
    _asked.add(asking)
    path = lock_path(site)
    if _take(path):
        return False
    log.warning(
        "another process keeps pages of site %r in its own memory (%s): an invalidation in one is "
        "not seen by the other, which serves old pages. Name a shared store, such as lmdb://DIR, "
        "or run one process",
        site,
        path,
    )
    return True


def _take(path: Path) -> bool:
    """Whether nobody else has the lock: it is ours now, or files cannot be locked here."""
    if fcntl is None:
        return True
    try:
        with suppress(FileExistsError):
            path.parent.mkdir(mode=0o700)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return True
    try:
        if not _is_ours_alone(folder):
            return True
        attempts = (_lock(folder, path) for _ in range(_ATTEMPTS))
        return next((locked for locked in attempts if locked is not None), True)
    except OSError:
        return True
    finally:
        os.close(folder)


def _is_ours_alone(folder: int) -> bool:
    found = os.fstat(folder)
    return found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _lock(folder: int, path: Path) -> bool | None:
    """Whether the lock could be had; None where the file was removed in this moment."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(path.name, flags, 0o600, dir_fd=folder)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    with suppress(FileNotFoundError):
        there = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        if os.path.samestat(there, os.fstat(descriptor)):
            _held[path] = os.getpid(), descriptor
            return True
    os.close(descriptor)
    return None


def _remove() -> None:
    """Remove what this process holds; its locks end with it, behind that."""
    for path, (process, _) in _held.items():
        if process == os.getpid():
            with suppress(OSError):
                path.unlink()


atexit.register(_remove)
