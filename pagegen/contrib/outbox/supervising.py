"""The sweeper as a program's only work, for supervisors and management commands."""

from __future__ import annotations

import json as encoder
import signal
import sys
from dataclasses import asdict
from types import FrameType

from ...logs import escaped
from .sweeper import Sweeper, Swept

#: Exit codes: all is applied; a round failed or left rows; a mistake in what was asked for.
DONE, FAILED, MISTAKE = 0, 1, 2


def supervise(sweeper: Sweeper, *, once: bool = False, json: bool = False) -> int:
    """Sweep until SIGTERM or SIGINT, or once; returns the exit code of the program.

    Signals end it between two batches. Each round that did anything is a line on standard output.
    Call it in the main thread.
    """

    def end(number: int, frame: FrameType | None) -> None:
        sweeper.end()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        if once:
            swept = sweeper.sweep()
            _say(swept, json)
            return DONE if swept.error is None else FAILED
        sweeper.loop(lambda swept: _say(swept, json) if swept.rows or swept.error else None)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sweeper.stop()
    return DONE


def _say(swept: Swept, json: bool) -> None:
    values = asdict(swept)
    text = encoder.dumps(values) if json else ", ".join(f"{k} {v}" for k, v in values.items())
    sys.stdout.write(f"{escaped(text)}\n")
    sys.stdout.flush()
