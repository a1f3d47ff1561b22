"""Whether what stands in the directory can be used, and beginning anew where it cannot."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Final

from ...errors import StoreError
from ...logs import logger
from .generation import make, whole
from .locks import LockFile
from .place import FORMAT, About, boot_id, sweep

log = logger("pagegen.stores")

#: Seconds between attempts to open what could not be opened, or to replace what was replaced.
RETRY: Final = 1.0
SIZE_NOTICE: Final = "has %d bytes, not %d: others use it with that size"


class Notices:
    """Warnings about one directory, each matter once."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._said: set[str] = set()

    def say(self, matter: str, text: str, *values: object) -> None:
        """Warn, unless this matter was warned of. The text goes on after the directory's name."""
        if matter not in self._said:
            self._said.add(matter)
            log.warning("the store in %s " + text, self._place, *values)


class Beginning:
    """Decides on generations. Every method but ``condemn`` needs the lock for opening.

    ``condemned`` names a generation that is to be replaced, though its files look whole.
    """

    def __init__(self, place: Path, size: int, notices: Notices) -> None:
        self.condemned = ""
        self._place = place
        self._size = size
        self._notices = notices
        self._boot = boot_id()
        self._why = ""
        self._replaced_at = -RETRY

    def condemn(self, generation: str, why: str) -> None:
        """Have this one replaced by the next who opens for writing."""
        self.condemned, self._why = generation, why

    def fit(self, locks: LockFile, *, starting: bool) -> About | None:
        """What is there, if it can be used; None when a new one is to be made.

        Raises ``StoreError`` for what is somebody else's. ``starting``: the size is our own, if
        nobody else is there.
        """
        try:
            about = About.read(self._place)
        except ValueError as error:
            self._say_empty(f"about is {error}")
            return None
        if about is None:
            return None
        why = self._unfit(about, locks)
        if not why and starting and about.size != self._size:
            if locks.alone():
                why = "it is given another size"
            else:
                self._notices.say("size", SIZE_NOTICE, about.size, self._size)
        if why:
            self._say_empty(why)
            return None
        return about

    def make(self) -> About:
        """A new generation, which is the truth from now on; raises ``OSError``, ``lmdb.Error``."""
        # Swept before, so that a full disk gets room and keeps no heap of failures.
        sweep(self._place)
        about = About(FORMAT, self._boot, token_hex(8), self._size)
        make(self._place, about.generation, about.size)
        about.write(self._place)
        if self.condemned:
            self._replaced_at = monotonic()
        return about

    def _unfit(self, about: About, locks: LockFile) -> str:
        if about.format != FORMAT or about.boot != self._boot:
            other = "format" if about.format != FORMAT else "run of the machine"
            if not locks.alone():
                raise StoreError(f"it is of another {other}, and somebody uses it")
            return f"what is there is of another {other}"
        if about.generation == self.condemned:
            if monotonic() < self._replaced_at + RETRY:
                raise StoreError(f"{self._why}, and it is a moment old")
            return self._why
        return "" if whole(self._place, about) else "the files are damaged"

    def _say_empty(self, why: str) -> None:
        self._notices.say(why, "starts empty: %s", why)
