"""How far it is: a bar on a terminal, plain lines elsewhere; both on the error stream."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from importlib import import_module
from types import TracebackType
from typing import Any


class Progress(AbstractContextManager["Progress"]):
    """Shows each run of ``total`` ones as it begins; noisy ones may come once more."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._last = total, 0, ""
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task: Any = self._bar.add_task("", total=total) if self._bar else None

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def step(self, what: str) -> None:
        """A run begins: ``group: subject``."""
        if self._bar:
            total = max(self._total, self._done + 1)
            self._bar.update(self._task, description=what, completed=self._done, total=total)
        elif (group := what.rpartition(": ")[0]) != self._last:
            self._last = group
            print(f"{group} … ({self._done} of {self._total} runs)", file=sys.stderr, flush=True)
        self._done += 1


def _bar() -> Any:
    try:
        rich = import_module("rich.progress")
        console = import_module("rich.console").Console(stderr=True)
    except ImportError:  # lines will do
        return None
    columns = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TimeRemainingColumn())
    description = rich.TextColumn("{task.description}")
    return rich.Progress(*columns, description, console=console, transient=True)
