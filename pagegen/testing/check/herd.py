"""How often a page was rendered for each of its versions."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from .events import Read

#: Pages and versions that are watched at one time, and renderings that are told apart of each.
MAX_WATCHED: Final = 4096
MAX_RENDERINGS: Final = 64


class Herd:
    """Counts distinct renderings of each page and version. Give it what was asked for when all
    writes up to it were over: a row is committed before old pages are forgotten, and who renders
    meanwhile does so in vain.
    """

    def __init__(self) -> None:
        self._watched: OrderedDict[tuple[str, object], set[str]] = OrderedDict()
        self.checks = 0
        self._renderings = 0
        self._most = 0

    def add(self, read: Read) -> None:
        """Take what a page says of its rendering, if it tells versions."""
        if not read.rendering or not read.versions:
            return
        key = (read.page, read.versions)
        known = self._watched.get(key)
        if known is None:
            known = self._watched[key] = set()
            self.checks += 1
            if len(self._watched) > MAX_WATCHED:
                self._watched.popitem(last=False)
        if read.rendering not in known and len(known) < MAX_RENDERINGS:
            known.add(read.rendering)
            self._renderings += 1
            self._most = max(self._most, len(known))

    @property
    def ratio(self) -> float:
        """Renderings per page and version."""
        return self._renderings / self.checks if self.checks else 0.0

    def __str__(self) -> str:
        if not self.checks:
            return ""
        return f"{self.ratio:.2f} renderings per page and version, at most {self._most}"
