"""Noticing that a second process keeps pages of the same site in its own memory.

Such processes do not hear of each other's invalidations: what one forgets, the other serves on.
The first writer of a site takes a lock file; who finds it taken by another living process warns,
once. The lock dies with its holder, and a child after ``fork`` asks anew.
"""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

fcntl: Any = None
with suppress(ImportError):  # Windows has none
    import fcntl

log = logging.getLogger("pagegen.stores")

#: Lock files of this process by path: closing one would give the lock away.
_held: Final[dict[Path, int]] = {}
_asked: Final[set[tuple[int, str]]] = set()


def lock_path(site: str) -> Path:
    """The lock file of a site: one per user, site and working directory."""
    owner = f"{os.getuid() if hasattr(os, 'getuid') else 0}\0{site}\0{Path.cwd()}"
    digest = blake2b(owner.encode("utf-8", "replace"), digest_size=12).hexdigest()
    return Path(tempfile.gettempdir()) / f"pagegen-{digest}.lock"


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
    """Whether the lock is ours now. Where files cannot be locked, nobody is accused."""
    if fcntl is None:
        return True
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError:
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _held[path] = descriptor
    return True
